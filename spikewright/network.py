"""The network contract: what a network is between the user's model and the hardware.

Two forms share their geometry. :class:`FloatNetwork` is what the front end makes of a torch module
and the converter completes with neurons; :class:`Network` holds integers only and is what the
golden model executes and the hardware computes. Both are immutable, checked on construction and
saved with a schema version.

A layer is `neurons <- synapses`: every synapse group reads one source (the input frame or an
earlier layer), optionally averages it over disjoint windows, and convolves it. A fully connected
layer is the convolution whose kernel covers its whole source. Positions are ``(channel, y, x)``
throughout.
"""

from __future__ import annotations

import enum
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from .errors import SpikewrightError
from .neuron import Negative, NeuronModel, NeuronSpec, Tie
from .ranges import Ranges, analyse, signed_bits

__all__ = [
    "INPUT",
    "SCHEMA",
    "Activation",
    "ActivationKind",
    "FloatLayer",
    "FloatNetwork",
    "FloatSynapse",
    "InputCode",
    "InputSpec",
    "Layer",
    "Network",
    "NeuronModel",
    "NeuronSpec",
    "Pool",
    "PoolKind",
    "Synapse",
    "Tie",
    "signed_bits",
]

SCHEMA = 2
"""Version of everything this module saves. A reader refuses a newer one."""

INPUT = -1
"""The source index that stands for the input frame."""

Shape = tuple[int, int, int]
Pair = tuple[int, int]
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


def _frozen(array: Any, dtype: Any) -> Any:
    result = np.array(array, dtype=dtype)
    result.setflags(write=False)
    return result


def _integers(array: Any, where: str) -> Ints:
    raw = np.asarray(array)
    if raw.size and not np.array_equal(raw, np.rint(np.asarray(raw, dtype=np.float64))):
        raise SpikewrightError(f"{where}: holds values that are not integers; quantise first")
    return _frozen(raw, np.int64)


def _finite(array: Any, where: str) -> Floats:
    result = _frozen(array, np.float64)
    bad = ~np.isfinite(result)
    if bad.any():
        place = tuple(int(i) for i in np.argwhere(bad)[0])
        raise SpikewrightError(
            f"{where}: {int(bad.sum())} value(s) are NaN or infinite, the first at index {place}; "
            "retrain or repair the weights"
        )
    return result


# ---------------------------------------------------------------------------------------- geometry


class PoolKind(enum.Enum):
    """How a window becomes one value."""

    AVERAGE = "average"
    """The mean. In integers it is summed: its 1/p² went into the weights."""
    MAX = "max"
    """The greatest. In a converted network only in front of max-pool neurons, which do the work."""


@dataclass(frozen=True)
class Pool:
    """Disjoint windows in front of a synapse group; rows and columns left over are dropped."""

    size: Pair = (1, 1)
    kind: PoolKind = PoolKind.AVERAGE

    def __post_init__(self) -> None:
        if min(self.size) < 1:
            raise SpikewrightError(f"pool: window {self.size} must be at least 1x1")

    @property
    def area(self) -> int:
        return self.size[0] * self.size[1]

    def output_shape(self, shape: Shape) -> Shape:
        c, h, w = shape
        if h < self.size[0] or w < self.size[1]:
            raise SpikewrightError(
                f"pool: window {self.size[0]}x{self.size[1]} is larger than its {h}x{w} source"
            )
        return c, h // self.size[0], w // self.size[1]


class InputCode(enum.Enum):
    """How the frame becomes events, on the chip."""

    DIRECT = "direct"
    """The signed digits of every pixel, integrated once; the current stays for all steps."""

    ISI = "isi"
    """N = T * pixel // max spikes, the n-th at step n * max // pixel (Ca-LIF 4.1)."""

    TSC = "tsc"
    """A pair of spikes that encloses n = pixel * (T - 1) // max steps: + at step 1, - at step n + 1
    (TSC Eq. 1, 2)."""

    BERNOULLI = "bernoulli"
    """In every step a spike with probability pixel / (max + 1), from a documented generator."""

    EVENTS = "events"
    """No code: the frame holds the spikes (0 or 1) of every step, step after step."""


ISI_STEPS = 256
"""The most steps of an ISI code: with more, no pixel of 8 bits would tell another."""


@dataclass(frozen=True)
class InputSpec:
    """The input frame: unsigned pixels of `bits` bits; the model sees ``(pixel - mean) * scale``.

    `scale` and `mean` hold one number per channel; `mean` is in pixel steps. `code` says how the
    frame enters the SNN, `seed` (1..2**32 - 1) starts the generator of the Bernoulli code.
    """

    shape: Shape
    bits: int = 8
    scale: tuple[float, ...] = ()
    mean: tuple[float, ...] = ()
    code: InputCode = InputCode.DIRECT
    seed: int = 1

    def __post_init__(self) -> None:
        c = self.shape[0]
        if len(self.shape) != 3 or min(self.shape) < 1:
            raise SpikewrightError(f"input: shape {self.shape} is not (channels, height, width)")
        if not 1 <= self.bits <= 8:
            raise SpikewrightError(f"input: {self.bits} bits a pixel; 1 to 8 are supported")
        if not self.scale:
            object.__setattr__(self, "scale", (1.0 / (2**self.bits - 1),) * c)
        if not self.mean:
            object.__setattr__(self, "mean", (0.0,) * c)
        if self.code is InputCode.EVENTS and self.bits != 1:
            raise SpikewrightError(f"input: raw events are 0 or 1, not {self.bits} bits")
        if not 1 <= self.seed < 2**32:
            raise SpikewrightError(f"input: seed {self.seed} is outside 1..2**32 - 1")
        for name in ("scale", "mean"):
            values = getattr(self, name)
            if len(values) != c or not all(math.isfinite(v) for v in values):
                raise SpikewrightError(f"input: {name} must hold {c} finite numbers, one a channel")

    @property
    def maximum(self) -> int:
        """Largest pixel value."""
        return 2**self.bits - 1

    def frame_shape(self, input_steps: int) -> Shape:
        """One frame as the host sends it: raw events are as many frames as steps, stacked."""
        c, h, w = self.shape
        return (c * input_steps if self.code is InputCode.EVENTS else c), h, w


def _convolved(shape: Shape, weight: Any, stride: Pair, padding: Pair, where: str) -> Shape:
    c, h, w = shape
    o, i, kh, kw = weight.shape
    if i != c:
        raise SpikewrightError(f"{where}: weights expect {i} channels, the source has {c}")
    oh, ow = (
        (n + 2 * p - k) // s + 1
        for n, p, k, s in zip((h, w), padding, (kh, kw), stride, strict=True)
    )
    if oh < 1 or ow < 1:
        raise SpikewrightError(
            f"{where}: kernel {kh}x{kw} does not fit its {h}x{w} source (padding {padding})"
        )
    return o, oh, ow


def _check_geometry(weight: Any, stride: Pair, padding: Pair, where: str) -> None:
    if weight.ndim != 4 or min(weight.shape) < 1:
        raise SpikewrightError(
            f"{where}: weights of shape {weight.shape} are not (out, in, kernel y, kernel x)"
        )
    if min(stride) < 1 or min(padding) < 0:
        raise SpikewrightError(f"{where}: stride {stride} and padding {padding} are impossible")
    if padding[0] >= weight.shape[2] or padding[1] >= weight.shape[3]:
        raise SpikewrightError(
            f"{where}: padding {padding} reaches a whole kernel {weight.shape[2:]}; outputs would "
            "see padding alone"
        )


# -------------------------------------------------------------------------------------- float form


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
            object.__setattr__(self, "threshold", _finite(self.threshold, "activation threshold"))
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
    pool: Pool = Pool()

    def __post_init__(self) -> None:
        where = f"synapses from {self.source}"
        object.__setattr__(self, "weight", _finite(self.weight, f"{where}, weight"))
        _check_geometry(self.weight, self.stride, self.padding, where)

    def output_shape(self, source: Shape) -> Shape:
        pooled = self.pool.output_shape(source)
        return _convolved(pooled, self.weight, self.stride, self.padding, f"from {self.source}")


@dataclass(frozen=True)
class FloatLayer:
    """One layer of the ANN and, once converted, of the float SNN.

    `neuron`, `threshold` and `initial` (both ``(channels,)``, in units of the real potential) are
    None until :func:`spikewright.sw.convert.convert` sets them; the integrator has threshold None.
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
            object.__setattr__(self, name, _finite(value, f"layer {self.name}, {name}"))
            if getattr(self, name).shape != (self.shape[0],):
                raise SpikewrightError(
                    f"layer {self.name}: {name} of shape {getattr(self, name).shape} does not give "
                    f"one value for each of {self.shape[0]} channels"
                )
        if self.threshold is not None and not (self.threshold > 0).all():
            raise SpikewrightError(f"layer {self.name}: a threshold is not positive")


def _check_chain(layers: tuple[Any, ...], input_shape: Shape) -> None:
    if not layers:
        raise SpikewrightError("network: has no layers")
    names = [layer.name for layer in layers]
    if len(set(names)) != len(names):
        raise SpikewrightError(f"network: layer names {names} are not unique")
    for index, layer in enumerate(layers):
        if not layer.synapses:
            raise SpikewrightError(f"layer {layer.name}: has no synapses")
        for synapse in layer.synapses:
            if not INPUT <= synapse.source < index:
                raise SpikewrightError(
                    f"layer {layer.name}: source {synapse.source} is not an earlier layer"
                )
            source = input_shape if synapse.source == INPUT else layers[synapse.source].shape
            try:
                got = synapse.output_shape(source)
            except SpikewrightError as error:
                raise SpikewrightError(f"layer {layer.name}: {error}") from None
            if got != layer.shape:
                raise SpikewrightError(
                    f"layer {layer.name}: declared shape {layer.shape}, its synapses give {got}"
                )


@dataclass(frozen=True)
class FloatNetwork:
    """A feed-forward network with real weights, batch norms folded, layers in execution order."""

    input: InputSpec
    layers: tuple[FloatLayer, ...]

    def __post_init__(self) -> None:
        _check_chain(self.layers, self.input.shape)
        for layer in self.layers[:-1]:
            if layer.activation.kind is ActivationKind.NONE:
                raise SpikewrightError(f"layer {layer.name}: has no activation but is not the last")

    @property
    def converted(self) -> bool:
        return all(layer.neuron is not None for layer in self.layers)

    def save(self, path: Any) -> None:
        """Write one ``.npz`` (arrays plus a JSON header, no pickles), atomically."""
        from .files import write_npz

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
        from .files import read_npz

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


# ------------------------------------------------------------------------------------ integer form


@dataclass(frozen=True)
class Synapse:
    """Integer weights; an event of value ``sign * 2**n`` adds ``sign * (weight << (n + shift))``.

    `shift` gives the membrane its fractional bits. A pool sums its window.
    """

    source: int
    weight: Ints
    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    pool: Pool = Pool()
    shift: int = 0

    def __post_init__(self) -> None:
        where = f"synapses from {self.source}"
        object.__setattr__(self, "weight", _integers(self.weight, f"{where}, weight"))
        _check_geometry(self.weight, self.stride, self.padding, where)
        if not 0 <= self.shift <= 15:
            raise SpikewrightError(f"{where}: shift {self.shift} is outside 0..15")

    def output_shape(self, source: Shape) -> Shape:
        pooled = self.pool.output_shape(source)
        return _convolved(pooled, self.weight, self.stride, self.padding, f"from {self.source}")


@dataclass(frozen=True)
class Layer:
    """One layer in integers; `threshold`, `bias` (added every step) and `initial` are per channel.

    `unit` is the real value of one membrane step, per channel: only reports read it. An integrator
    has threshold zero, which nothing reads.
    """

    name: str
    neuron: NeuronSpec
    shape: Shape
    synapses: tuple[Synapse, ...]
    threshold: Ints
    bias: Ints
    initial: Ints
    unit: Floats = field(default_factory=lambda: np.ones(0))

    def __post_init__(self) -> None:
        channels = self.shape[0]
        for name in ("threshold", "bias", "initial"):
            where = f"layer {self.name}, {name}"
            object.__setattr__(self, name, _integers(getattr(self, name), where))
        unit = self.unit if np.size(self.unit) else np.ones(channels)
        object.__setattr__(self, "unit", _finite(unit, f"layer {self.name}, unit"))
        for name in ("threshold", "bias", "initial", "unit"):
            if getattr(self, name).shape != (channels,):
                raise SpikewrightError(
                    f"layer {self.name}: {name} must hold one value for each of {channels} channels"
                )
        if self.neuron.fires and not (self.threshold > 0).all():
            raise SpikewrightError(f"layer {self.name}: a threshold is not positive")

    @property
    def reads_input(self) -> bool:
        return self.synapses[0].source == INPUT

    @property
    def kind(self) -> str:
        return (
            "dense" if self.shape[1:] == (1, 1) and self.synapses[0].padding == (0, 0) else "conv"
        )


@dataclass(frozen=True)
class Network:
    """The integer network, run over `steps` steps by the golden model and by the hardware.

    Input and bias are there in the first `input_steps` steps (0 stands for all): QFFS's settle
    phase is what follows. Where neurons have a rounding phase or decide after their window (TSC
    `per-layer`), the last step is that phase: ``steps = input_steps + 1``.
    """

    input: InputSpec
    steps: int
    weight_bits: int
    layers: tuple[Layer, ...]
    input_steps: int = 0

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise SpikewrightError(f"network: T is {self.steps}; at least 1 time step is needed")
        if not self.input_steps:
            object.__setattr__(self, "input_steps", self.steps - self.has_final)
        if not 1 <= self.input_steps <= self.steps:
            raise SpikewrightError(
                f"network: input for {self.input_steps} of {self.steps} time steps is impossible"
            )
        if not 2 <= self.weight_bits <= 16:
            raise SpikewrightError(
                f"network: {self.weight_bits}-bit weights; 2 to 16 are supported"
            )
        _check_chain(self.layers, self.input.shape)
        self._check_times()
        limit = 2 ** (self.weight_bits - 1) - 1
        for index, layer in enumerate(self.layers):
            last = index == len(self.layers) - 1
            if not last and not layer.neuron.fires:
                raise SpikewrightError(
                    f"layer {layer.name}: an integrator can only be the last layer"
                )
            for synapse in layer.synapses:
                if np.abs(synapse.weight).max() > limit:
                    raise SpikewrightError(
                        f"layer {layer.name}: a weight lies outside +-{limit} "
                        f"({self.weight_bits} bits)"
                    )
            self._check_sources(layer)
        last_spec = self.layers[-1].neuron
        if last_spec.switches or (
            last_spec.negative is not Negative.NONE
            and not last_spec.gated
            and last_spec.model is not NeuronModel.MAX_POOL
        ):
            raise SpikewrightError(
                f"layer {self.layers[-1].name}: the last layer's counts are the output, and these "
                "neurons have none; end with an integrator"
            )

    def _check_times(self) -> None:
        if self.has_final and self.steps != self.input_steps + 1:
            raise SpikewrightError(
                f"network: a rounding phase or a TSC window takes one step after the "
                f"{self.input_steps} with input, not {self.steps - self.input_steps}"
            )
        if self.input.code is InputCode.ISI and self.input_steps > ISI_STEPS:
            raise SpikewrightError(
                f"network: T is {self.input_steps}; the ISI encoder goes to {ISI_STEPS}, beyond "
                "which pixels of 8 bits have nothing more to tell"
            )

    def _check_sources(self, layer: Layer) -> None:
        if any((s.source == INPUT) != layer.reads_input for s in layer.synapses):
            raise SpikewrightError(f"layer {layer.name}: mixes the input frame with spikes")
        if len({self._sends_pairs(s) for s in layer.synapses}) != 1:
            raise SpikewrightError(f"layer {layer.name}: mixes TSC sources with others")
        pooling = layer.neuron.model is NeuronModel.MAX_POOL
        for synapse in layer.synapses:
            if (synapse.pool.kind is PoolKind.MAX) != pooling:
                raise SpikewrightError(
                    f"layer {layer.name}: max pooling takes neurons of its own; convert does that"
                )
        if pooling:
            self._check_max_pool(layer)

    def _check_max_pool(self, layer: Layer) -> None:
        synapse = layer.synapses[0]
        identity = np.eye(layer.shape[0], dtype=np.int64)[:, :, None, None]
        if (
            len(layer.synapses) != 1
            or synapse.weight.shape != identity.shape
            or not np.array_equal(synapse.weight, identity)
            or synapse.shift
            or synapse.stride != (1, 1)
            or layer.bias.any()
            or layer.initial.any()
            or (layer.threshold != 1).any()
        ):
            raise SpikewrightError(
                f"layer {layer.name}: max pooling counts single spikes: identity weights, "
                "threshold 1, no bias"
            )
        if synapse.source == INPUT or self._sends_pairs(synapse):
            raise SpikewrightError(f"layer {layer.name}: max pooling needs a source that counts")
        source = self.layers[synapse.source].neuron
        counts = source.gated or source.negative is Negative.NONE
        if not counts and source.model is not NeuronModel.MAX_POOL:
            raise SpikewrightError(
                f"layer {layer.name}: max pooling needs counts that stay positive; its source "
                "takes spikes back without a gate"
            )
        if layer.neuron.smax < source.smax:
            raise SpikewrightError(
                f"layer {layer.name}: max pooling sends at most {layer.neuron.smax} a step, its "
                f"source {source.smax}; use the same Smax"
            )

    def source_shape(self, synapse: Synapse) -> Shape:
        return self.input.shape if synapse.source == INPUT else self.layers[synapse.source].shape

    @property
    def frame_shape(self) -> Shape:
        """One frame as the host sends it."""
        return self.input.frame_shape(self.input_steps)

    # -- time ------------------------------------------------------------------------------------

    @property
    def has_final(self) -> bool:
        """Whether the last step is a rounding phase, or the decision at the end of a window."""
        return any(layer.neuron.final for layer in self.layers)

    @property
    def ordinary_steps(self) -> int:
        """Steps before the final one."""
        return self.steps - self.has_final

    def _sends_pairs(self, synapse: Synapse) -> bool:
        if synapse.source == INPUT:
            return self.input.code is InputCode.TSC
        return self.layers[synapse.source].neuron.sends_pairs

    def direct(self, layer: Layer) -> bool:
        """Whether it reads the frame itself: a current, integrated once and added every step."""
        return layer.reads_input and self.input.code is InputCode.DIRECT

    def accumulates(self, layer: Layer) -> bool:
        """Whether its events switch a current on and off, which is added every step (TSC Eq. 3)."""
        return self._sends_pairs(layer.synapses[0])

    def counts(self, layer: Layer) -> bool:
        """Whether the count of a neuron's spikes matters: to itself, or as the network's output."""
        spec = layer.neuron
        return spec.fires and (
            spec.gated
            or spec.zmax is not None
            or spec.sends_pairs
            or spec.model is NeuronModel.MAX_POOL
            or layer is self.layers[-1]
        )

    # -- proven ranges ---------------------------------------------------------------------------

    @cached_property
    def ranges(self) -> Ranges:
        """What no input can leave; see :mod:`spikewright.ranges`."""
        return analyse(self)

    @property
    def current_ranges(self) -> tuple[tuple[Ints, Ints], ...]:
        """Per layer, the least and greatest synaptic current of one step, per channel."""
        return tuple(layer.current for layer in self.ranges.layers)

    @property
    def potential_ranges(self) -> tuple[tuple[Ints, Ints], ...]:
        """Per layer, the least and greatest potential U (before firing), per channel."""
        return tuple(layer.potential for layer in self.ranges.layers)

    @property
    def membrane_bits(self) -> int:
        """Width in which no membrane of any layer can wrap, whatever the input."""
        return self.ranges.membrane_bits

    @property
    def compare_bits(self) -> int:
        """Width in which no potential less its threshold wraps; parameters have it too."""
        return self.ranges.compare_bits

    @property
    def current_bits(self) -> int:
        """Width of the second accumulator: input current of direct layers, TSC's currents."""
        return self.ranges.current_bits


# ------------------------------------------------------------------------------------ JSON helpers


def check_schema(header: Mapping[str, Any], path: Any) -> None:
    """Refuse a file of a newer (or no) schema version."""
    version = header.get("schema")
    if not isinstance(version, int):
        raise SpikewrightError(f"{path}: has no schema version; it is not one of our files")
    if version > SCHEMA:
        raise SpikewrightError(
            f"{path}: schema version {version} is newer than {SCHEMA}, which this release reads; "
            "upgrade spikewright"
        )


def input_to_json(spec: InputSpec) -> dict[str, Any]:
    return {
        "shape": spec.shape,
        "bits": spec.bits,
        "scale": spec.scale,
        "mean": spec.mean,
        "code": spec.code.value,
        "seed": spec.seed,
    }


def input_from_json(data: Mapping[str, Any]) -> InputSpec:
    c, h, w = data["shape"]
    return InputSpec(
        (c, h, w),
        data["bits"],
        tuple(data["scale"]),
        tuple(data["mean"]),
        InputCode(data.get("code", "direct")),
        data.get("seed", 1),
    )


def geometry_to_json(synapse: FloatSynapse | Synapse) -> dict[str, Any]:
    return {
        "source": synapse.source,
        "stride": synapse.stride,
        "padding": synapse.padding,
        "pool": {"kind": synapse.pool.kind.value, "size": synapse.pool.size},
    }


def geometry_from_json(data: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "source": int(data["source"]),
        "stride": tuple(data["stride"]),
        "padding": tuple(data["padding"]),
        "pool": Pool(tuple(data["pool"]["size"]), PoolKind(data["pool"]["kind"])),
    }
