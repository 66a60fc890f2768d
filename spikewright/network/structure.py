"""The integer network: what the golden model executes and the hardware computes."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from spikewright.errors import SpikewrightError
from spikewright.network.arrays import Floats, Ints, finite, integers
from spikewright.network.geometry import (
    INPUT,
    Convolution,
    PoolKind,
    Shape,
    check_chain,
    check_shape,
)
from spikewright.network.input import ISI_STEPS, InputCode, InputSpec
from spikewright.network.limits import STEPS, WEIGHT_BITS, Name
from spikewright.network.neuron import Negative, NeuronModel, NeuronSpec
from spikewright.records import check_fields

__all__ = ["Layer", "Structure", "Synapse"]


@dataclass(frozen=True)
class Synapse(Convolution):
    """Integer weights; an event of value ``sign * 2**n`` adds ``sign * (weight << (n + shift))``.

    `shift` gives the membrane its fractional bits. A pool sums its window.
    """

    weight: Ints
    shift: int = 0

    def __post_init__(self) -> None:
        where = f"synapses from {self.source}"
        object.__setattr__(self, "weight", integers(self.weight, f"{where}, weight"))
        super().__post_init__()
        if not 0 <= self.shift <= 15:
            raise SpikewrightError(f"{where}: shift {self.shift} is outside 0..15")


@dataclass(frozen=True)
class Layer:
    """One layer in integers; `threshold`, `bias` (added every step) and `initial` are per channel.

    `unit` is the real value of one membrane step, per channel: only reports read it. An integrator
    has threshold zero, which nothing reads.
    """

    name: Name
    neuron: NeuronSpec
    shape: Shape
    synapses: tuple[Synapse, ...]
    threshold: Ints
    bias: Ints
    initial: Ints
    unit: Floats = field(default_factory=lambda: np.ones(0))

    def __post_init__(self) -> None:
        check_shape(self.shape, f"layer {self.name}")
        channels = self.shape[0]
        for name in ("threshold", "bias", "initial"):
            where = f"layer {self.name}, {name}"
            object.__setattr__(self, name, integers(getattr(self, name), where))
        unit = self.unit if np.size(self.unit) else np.ones(channels)
        object.__setattr__(self, "unit", finite(unit, f"layer {self.name}, unit"))
        check_fields(self, f"layer {self.name}")
        for name in ("threshold", "bias", "initial", "unit"):
            if getattr(self, name).shape != (channels,):
                raise SpikewrightError(
                    f"layer {self.name}: {name} must hold one value for each of {channels} channels"
                )
        if self.neuron.fires and not (self.threshold > 0).all():
            raise SpikewrightError(f"layer {self.name}: a threshold is not positive")

    @property
    def reads_input(self) -> bool:
        """Whether its source is the frame."""
        return self.synapses[0].source == INPUT

    @property
    def kind(self) -> str:
        """``dense`` or ``conv``, as reports call it."""
        return (
            "dense" if self.shape[1:] == (1, 1) and self.synapses[0].padding == (0, 0) else "conv"
        )


@dataclass(frozen=True)
class Structure:
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
        check_fields(self, "network")
        if self.steps < 1:
            raise SpikewrightError(f"network: T is {self.steps}; at least 1 time step is needed")
        if self.steps > STEPS:
            raise SpikewrightError(
                f"network: {self.steps} time steps; at most {STEPS} are supported"
            )
        if not self.input_steps:
            object.__setattr__(self, "input_steps", self.steps - self.has_final)
        if not 1 <= self.input_steps <= self.steps:
            raise SpikewrightError(
                f"network: input for {self.input_steps} of {self.steps} time steps is impossible"
            )
        least, most = WEIGHT_BITS
        if not least <= self.weight_bits <= most:
            raise SpikewrightError(
                f"network: {self.weight_bits}-bit weights; {least} to {most} are supported"
            )
        check_chain(self.layers, self.input.shape)
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
        bursts = any(layer.neuron.model is NeuronModel.BURST for layer in self.layers)
        if bursts and self.steps != 1:
            raise SpikewrightError(
                f"network: burst neurons send all they have in one time step; T is {self.steps}"
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
        """The shape of what `synapse` reads."""
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
