"""What the front end makes of a torch module, and the converter completes with neurons."""

from __future__ import annotations

import enum
import json
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from spikewright.errors import SpikewrightError
from spikewright.files import read_npz, write_npz
from spikewright.network.arrays import Floats, finite
from spikewright.network.geometry import (
    Pair,
    Pool,
    Shape,
    check_chain,
    check_geometry,
    convolved,
)
from spikewright.network.input import InputSpec
from spikewright.network.neuron import NeuronSpec
from spikewright.network.saving import (
    SCHEMA,
    check_schema,
    geometry_from_json,
    geometry_to_json,
    input_from_json,
    input_to_json,
)

__all__ = ["Activation", "ActivationKind", "FloatLayer", "FloatNetwork", "FloatSynapse"]


class ActivationKind(enum.Enum):
    """The ANN's non-linearity behind a layer."""

    NONE = "none"
    """Linear: only the last layer, which becomes an integrator."""

    RELU = "relu"
    """Unbounded; its threshold comes from calibration."""

    CLIP = "clip"
    """``clip(z, 0, threshold)``, e.g. ReLU6 or Hardtanh(0, a)."""

    QCFS = "qcfs"
    """``threshold * clip(floor(z * levels / threshold + 0.5) / levels, 0, 1)`` (NQ Eq. 6)."""

    QRELU = "qrelu"
    """The same without the 0.5: it rounds down (HPC Eq. 8)."""


_LEVELLED = (ActivationKind.QCFS, ActivationKind.QRELU)


@dataclass(frozen=True)
class Activation:
    """`threshold`: positive, of shape ``(channels,)``, where the activation saturates; `levels`:
    QCFS's L, QReLU's T * Smax; `smax`: the Smax that a QReLU was trained for. None where unused.
    """

    kind: ActivationKind
    threshold: Floats | None = None
    levels: int | None = None
    smax: int | None = None

    def __post_init__(self) -> None:
        if self.threshold is not None:
            object.__setattr__(self, "threshold", finite(self.threshold, "activation threshold"))
            if self.threshold.ndim != 1 or not (self.threshold > 0).all():
                raise SpikewrightError("activation: thresholds must be positive, one a channel")
        needs = self.kind in (ActivationKind.CLIP, *_LEVELLED)
        if needs != (self.threshold is not None):
            raise SpikewrightError(
                f"activation {self.kind.value}: threshold is {'missing' if needs else 'not used'}"
            )
        if (self.kind in _LEVELLED) != (self.levels is not None):
            raise SpikewrightError(
                "activation: levels belong to qcfs and qrelu, and these need them"
            )
        if self.levels is not None and self.levels < 1:
            raise SpikewrightError(f"activation: {self.levels} levels; at least 1 is needed")
        if self.smax is not None and self.kind is not ActivationKind.QRELU:
            raise SpikewrightError("activation: only qrelu has an Smax")


@dataclass(frozen=True)
class FloatSynapse:
    """Real weights ``(out, in, kernel y, kernel x)`` on the averaged `source`, zero padded."""

    source: int
    weight: Floats
    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    pool: Pool = field(default_factory=Pool)

    def __post_init__(self) -> None:
        where = f"synapses from {self.source}"
        object.__setattr__(self, "weight", finite(self.weight, f"{where}, weight"))
        check_geometry(self.weight, self.stride, self.padding, where)

    def output_shape(self, source: Shape) -> Shape:
        pooled = self.pool.output_shape(source)
        return convolved(pooled, self.weight, self.stride, self.padding, f"from {self.source}")


@dataclass(frozen=True)
class FloatLayer:
    """One layer of the ANN and, once converted, of the float SNN.

    `neuron`, `threshold` and `initial` (both ``(channels,)``, in units of the real potential) are
    None until :func:`.convert` sets them; the integrator has threshold None.
    """

    name: str
    shape: Shape
    synapses: tuple[FloatSynapse, ...]
    bias: Floats
    activation: Activation
    neuron: NeuronSpec | None = None
    threshold: Floats | None = None
    initial: Floats | None = None

    def __post_init__(self) -> None:
        for name in ("bias", "threshold", "initial"):
            value = getattr(self, name)
            if value is None:
                continue
            object.__setattr__(self, name, finite(value, f"layer {self.name}, {name}"))
            if getattr(self, name).shape != (self.shape[0],):
                raise SpikewrightError(
                    f"layer {self.name}: {name} of shape {getattr(self, name).shape} does not give "
                    f"one value for each of {self.shape[0]} channels"
                )
        if self.threshold is not None and not (self.threshold > 0).all():
            raise SpikewrightError(f"layer {self.name}: a threshold is not positive")


@dataclass(frozen=True)
class FloatNetwork:
    """A feed-forward network with real weights, batch norms folded, layers in execution order."""

    input: InputSpec
    layers: tuple[FloatLayer, ...]

    def __post_init__(self) -> None:
        check_chain(self.layers, self.input.shape)
        for layer in self.layers[:-1]:
            if layer.activation.kind is ActivationKind.NONE:
                raise SpikewrightError(f"layer {layer.name}: has no activation but is not the last")

    @property
    def converted(self) -> bool:
        return all(layer.neuron is not None for layer in self.layers)

    def save(self, path: Any) -> None:
        """Write one ``.npz`` (arrays plus a JSON header, no pickles), atomically."""
        arrays: dict[str, npt.NDArray[Any]] = {}
        layers = []
        for i, layer in enumerate(self.layers):
            entry: dict[str, Any] = {
                "name": layer.name,
                "shape": layer.shape,
                "activation": {
                    "kind": layer.activation.kind.value,
                    "levels": layer.activation.levels,
                    "smax": layer.activation.smax,
                },
                "neuron": layer.neuron.to_json() if layer.neuron else None,
                "synapses": [],
            }
            optional = {
                "bias": layer.bias,
                "threshold": layer.threshold,
                "initial": layer.initial,
                "activation": layer.activation.threshold,
            }
            arrays |= {f"{i}.{key}": value for key, value in optional.items() if value is not None}
            for j, synapse in enumerate(layer.synapses):
                arrays[f"{i}.{j}.weight"] = synapse.weight
                entry["synapses"].append(geometry_to_json(synapse))
            layers.append(entry)
        header = {
            "schema": SCHEMA,
            "kind": "float",
            "input": input_to_json(self.input),
            "layers": layers,
        }
        write_npz(path, {"header": np.array(json.dumps(header)), **arrays})

    @classmethod
    def load(cls, path: Any) -> FloatNetwork:
        """Read what :meth:`save` wrote; refuses other files and newer schemas."""
        arrays = read_npz(path)
        try:
            header = json.loads(str(arrays["header"]))
            check_schema(header, path)
            layers = []
            for i, entry in enumerate(header["layers"]):
                activation = Activation(
                    ActivationKind(entry["activation"]["kind"]),
                    arrays.get(f"{i}.activation"),
                    entry["activation"]["levels"],
                    entry["activation"].get("smax"),
                )
                synapses = tuple(
                    FloatSynapse(weight=arrays[f"{i}.{j}.weight"], **geometry_from_json(g))
                    for j, g in enumerate(entry["synapses"])
                )
                layers.append(
                    FloatLayer(
                        entry["name"],
                        tuple(entry["shape"]),
                        synapses,
                        arrays[f"{i}.bias"],
                        activation,
                        NeuronSpec.from_json(entry["neuron"]) if entry["neuron"] else None,
                        arrays.get(f"{i}.threshold"),
                        arrays.get(f"{i}.initial"),
                    )
                )
            return cls(input_from_json(header["input"]), tuple(layers))
        except (KeyError, TypeError, ValueError) as error:
            raise SpikewrightError(
                f"{path}: is not a saved float network ({type(error).__name__}: {error}); "
                "write it again with spikewright compile"
            ) from None
