"""What the front end makes of a torch module, and the converter completes with neurons."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
from msgspec import Meta

from spikewright.errors import SpikewrightError
from spikewright.files import read_npz, shown, write_npz
from spikewright.network.arrays import Floats, finite
from spikewright.network.geometry import Convolution, Shape, check_chain
from spikewright.network.input import InputSpec
from spikewright.network.limits import ZMAX, Name
from spikewright.network.neuron import SMAX, NeuronSpec
from spikewright.records import SCHEMA, check_fields, from_json, to_json

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
    levels: Annotated[int, Meta(le=ZMAX)] | None = None
    smax: Annotated[int, Meta(ge=1, le=SMAX)] | None = None

    def __post_init__(self) -> None:
        if self.threshold is not None:
            object.__setattr__(self, "threshold", finite(self.threshold, "activation threshold"))
            if self.threshold.ndim != 1 or not (self.threshold > 0).all():
                raise SpikewrightError("activation: thresholds must be positive, one a channel")
        check_fields(self, "activation")
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
class FloatSynapse(Convolution):
    """Real weights ``(out, in, kernel y, kernel x)`` on the averaged `source`, zero padded."""

    weight: Floats

    def __post_init__(self) -> None:
        weight = finite(self.weight, f"synapses from {self.source}, weight")
        object.__setattr__(self, "weight", weight)
        super().__post_init__()


@dataclass(frozen=True)
class FloatLayer:
    """One layer of the ANN and, once converted, of the float SNN.

    `neuron`, `threshold` and `initial` (both ``(channels,)``, in units of the real potential) are
    None until :func:`.convert` sets them; the integrator has threshold None.
    """

    name: Name
    shape: Shape
    synapses: tuple[FloatSynapse, ...]
    bias: Floats
    activation: Activation
    neuron: NeuronSpec | None = None
    threshold: Floats | None = None
    initial: Floats | None = None

    def __post_init__(self) -> None:
        if len(self.shape) != 3:
            raise SpikewrightError(f"layer {self.name}: shape {self.shape} is no (c, y, x)")
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
        """Whether every layer has its neuron."""
        return all(layer.neuron is not None for layer in self.layers)

    def save(self, path: Any) -> None:
        """Write one ``.npz`` (arrays plus a JSON header, no pickles), atomically."""
        arrays: dict[str, npt.NDArray[Any]] = {}

        def stored(array: npt.NDArray[Any]) -> str:
            name = f"array_{len(arrays)}"
            arrays[name] = array
            return name

        header = to_json(_Saved(SCHEMA, "float", self), stored)
        write_npz(path, {"header": np.array(header), **arrays})

    @classmethod
    def load(cls, path: Any) -> FloatNetwork:
        """Read what :meth:`save` wrote; refuses other files and schemas."""
        arrays = read_npz(path)

        def array(_: type, name: Any) -> npt.NDArray[Any]:
            if not isinstance(name, str) or name not in arrays:
                raise ValueError(f"there is no array {name!r:.80}")
            if arrays[name].dtype != np.float64:
                raise ValueError(f"{name} holds {arrays[name].dtype} numbers, not float64")
            return arrays[name]

        header, remedy = arrays.get("header"), "write it again with spikewright compile"
        if header is None or header.shape or header.dtype.kind != "U":
            raise SpikewrightError(f"{shown(path)}: is not a saved float network; {remedy}")
        return from_json(str(header), _Saved, path, remedy=remedy, dec_hook=array).network


@dataclass(frozen=True)
class _Saved:
    """The header of the file; an array is the name of the one that stands beside it."""

    schema: int
    kind: Literal["float"]
    network: FloatNetwork
