"""What no input can leave: proven ranges of currents, potentials, counts and spikes.

Interval arithmetic over the layers and steps: every source neuron may do in every step whatever its
neuron model allows. The widths of the hardware and the exactness of the golden model's number types
follow from these ranges; nothing is measured.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from spikewright.errors import SpikewrightError
from spikewright.network.arrays import Ints
from spikewright.network.geometry import INPUT
from spikewright.network.input import InputCode
from spikewright.network.neuron import Negative, NeuronModel, NeuronSpec, Reset, Rounding
from spikewright.network.structure import Layer, Structure, Synapse

__all__ = ["LayerRanges", "Ranges", "analyse", "signed_bits"]

Interval = tuple[Ints, Ints]
LARGEST_CURRENT = 2**48
"""Of one step: with 4096 steps, no sum of the analysis leaves 64 bits."""


def signed_bits(low: int, high: int) -> int:
    """Bits of the narrowest two's complement number that holds every value of ``low..high``."""
    if low > high:
        raise ValueError(f"empty range {low}..{high}")
    return max(int(~value if value < 0 else value).bit_length() for value in (low, high)) + 1


@dataclass(frozen=True)
class LayerRanges:
    """Of one layer; intervals of arrays hold one number a channel, both ends included.

    - `current`: synaptic current of an ordinary step; with TSC sources the accumulated one
    - `potential`: U of any step, V(0) and V at the end of a step
    - `spikes`, `final_spikes`: what a neuron may send in an ordinary step, and in the final one
    - `count`: the greatest count of spikes sent (TSC: the number a pair codes)
    - `thresholds`: the greatest multiple of the threshold that a compare takes
    """

    current: Interval
    potential: Interval
    spikes: tuple[int, int]
    final_spikes: tuple[int, int]
    count: int
    thresholds: int

    @property
    def final_digits(self) -> int:
        """Binary digits of what a neuron may send in the final step, at least one."""
        return max(1, self.final_spikes[1].bit_length(), (-self.final_spikes[0]).bit_length())


@dataclass(frozen=True)
class Ranges:
    """Of a network; `currents` says which layers use the second accumulator."""

    layers: tuple[LayerRanges, ...]
    parameters: tuple[Interval, ...]
    currents: tuple[bool, ...]

    @cached_property
    def membrane_bits(self) -> int:
        """Width that holds every potential."""
        return max(
            signed_bits(int(low.min()), int(high.max()))
            for low, high in (layer.potential for layer in self.layers)
        )

    @cached_property
    def compare_bits(self) -> int:
        """Width that holds every potential and what it is compared with."""
        bounds = [*(layer.potential for layer in self.layers), *self.parameters]
        low = min(int(low.min()) for low, _ in bounds)
        high = max(int(high.max()) for _, high in bounds)
        return signed_bits(low, high)

    @cached_property
    def current_bits(self) -> int:
        """Width of the second accumulator."""
        used = (one.current for one, own in zip(self.layers, self.currents, strict=True) if own)
        return max(
            (signed_bits(min(0, int(low.min())), max(0, int(high.max()))) for low, high in used),
            default=1,
        )


def analyse(network: Structure) -> Ranges:
    """The ranges of `network`, layer after layer."""
    layers: list[LayerRanges] = []
    for layer in network.layers:
        layers.append(_layer(network, layer, layers))
    parameters = []
    for layer, ranges in zip(network.layers, layers, strict=True):
        top = layer.threshold * ranges.thresholds
        parameters.append((np.minimum(-top, layer.bias), np.maximum(top, layer.bias)))
    currents = tuple(network.direct(one) or network.accumulates(one) for one in network.layers)
    return Ranges(tuple(layers), tuple(parameters), currents)


def _sent(network: Structure, synapse: Synapse, before: list[LayerRanges]) -> tuple[int, ...]:
    """Least and greatest value of a source position: of an ordinary step, then of the final one.

    TSC sources: of the sum over the steps so far, which is what their targets add up.
    """
    if synapse.source == INPUT:
        direct = network.input.code is InputCode.DIRECT
        return (0, network.input.maximum if direct else 1, 0, 0)
    source = before[synapse.source]
    if network.layers[synapse.source].neuron.sends_pairs:
        return (0, 1, 0, 1)
    return (*source.spikes, *source.final_spikes)


def _currents(
    network: Structure, layer: Layer, before: list[LayerRanges]
) -> tuple[Interval, Interval]:
    """Current of an ordinary step and of the final one."""
    sums = np.zeros((4, layer.shape[0]), np.int64)
    for synapse in layer.synapses:
        flat = synapse.weight.reshape(layer.shape[0], -1)
        falling, rising = np.minimum(flat, 0).sum(1), np.maximum(flat, 0).sum(1)
        scale = synapse.pool.area << synapse.shift
        low, high, final_low, final_high = sent = _sent(network, synapse, before)
        if int(np.abs(flat).sum(1).max()) * scale * max(map(abs, sent)) >= LARGEST_CURRENT:
            raise SpikewrightError(
                f"layer {layer.name}: currents may reach beyond 48 bits; use fewer weight bits, "
                "smaller windows or a smaller shift"
            )
        for row, (least, most) in enumerate(((low, high), (final_low, final_high))):
            sums[2 * row] += (rising * least + falling * most) * scale
            sums[2 * row + 1] += (rising * most + falling * least) * scale
    return (sums[0], sums[1]), (sums[2], sums[3])


def _layer(network: Structure, layer: Layer, before: list[LayerRanges]) -> LayerRanges:
    current, final = _currents(network, layer, before)
    if layer.neuron.model is NeuronModel.MAX_POOL:
        return _max_pool(layer, current, before[layer.synapses[0].source])
    spec, threshold = layer.neuron, layer.threshold
    held = network.direct(layer) or network.accumulates(layer)
    low, high = layer.initial.copy(), layer.initial.copy()
    v_low, v_high = low, high
    silent = np.zeros_like(low)
    u_low, u_high = low, high
    for step in range(1, network.steps + 1):
        last = network.has_final and step == network.steps
        driven = step <= network.input_steps
        drive = final if last else current
        if held and not driven:
            drive = (silent, silent)
        u_low = v_low + drive[0] + driven * layer.bias
        u_high = v_high + drive[1] + driven * layer.bias
        if (last and spec.rounding is not Rounding.NONE) or spec.model is NeuronModel.BURST:
            u_low, u_high = u_low + threshold // 2, u_high + threshold // 2
        low, high = np.minimum(low, u_low), np.maximum(high, u_high)
        v_low, v_high = _after(spec, u_low, u_high, threshold, final=last)
        low, high = np.minimum(low, v_low), np.maximum(high, v_high)
    spikes = _spikes(spec)
    count = _most(spec, network, spikes)
    final_spikes = spikes
    if spec.final:
        final_spikes = _final_spikes(spec, network, count, (u_low, u_high), threshold)
        if spec.zmax is None and not spec.codes:
            count += final_spikes[1]
    digits = max(spec.step_digits, 1)
    if spec.final:
        digits = max(digits, final_spikes[1].bit_length(), (-final_spikes[0]).bit_length())
    return LayerRanges(
        current, (low, high), spikes, final_spikes, count, 1 << (digits - 1) if spec.fires else 0
    )


def _after(
    spec: NeuronSpec, u_low: Ints, u_high: Ints, threshold: Ints, *, final: bool
) -> Interval:
    """V after a step whose potential lay in ``u_low..u_high``."""
    if not spec.fires or (spec.codes and not final):
        return u_low, u_high
    # Silent neurons end at most at the threshold (Tie.HOLDS), others at U - threshold or below.
    v_high = np.maximum(np.minimum(u_high, threshold), u_high - threshold)
    if spec.reset is Reset.ZERO:
        v_high = np.maximum(np.minimum(u_high, threshold), 0)
    if spec.model is NeuronModel.BURST:
        v_high = np.maximum(np.minimum(u_high, threshold), u_high - spec.most * threshold)
        return np.where(u_high >= threshold, np.minimum(u_low, 0), u_low), v_high
    if spec.zmax is not None or spec.latch or spec.codes:
        v_high = u_high  # the count, the latch or the window may forbid a spike
    v_low = np.where(u_high >= threshold, np.minimum(u_low, 0), u_low)
    rounds = final and spec.rounding is not Rounding.NONE
    if spec.negative is Negative.BELOW_ZERO or rounds:
        v_high = np.where(u_low < 0, np.maximum(v_high, threshold), v_high)
    elif spec.negative is Negative.AT_THRESHOLD:
        v_high = np.where(u_low < 0, np.maximum(v_high, 0), v_high)
    return v_low, v_high


def _spikes(spec: NeuronSpec) -> tuple[int, int]:
    if not spec.fires or spec.codes:
        return 0, 0
    return (-spec.most if spec.signed else 0), spec.most


def _most(spec: NeuronSpec, network: Structure, spikes: tuple[int, int]) -> int:
    """The greatest count after the ordinary steps, the last one among them unless it is final."""
    if spec.codes:
        return network.input_steps - 1
    if spec.switches:
        return 2  # never fired, fires, has ceased
    if spec.zmax is not None:
        return spec.zmax
    return (network.ordinary_steps if spec.final else network.steps) * spikes[1]


def _final_spikes(
    spec: NeuronSpec, network: Structure, count: int, potential: Interval, threshold: Ints
) -> tuple[int, int]:
    """What the final step may send, from potentials that hold the half threshold already."""
    most = int(np.maximum(potential[1] // threshold, 0).max())
    least = int(np.minimum(potential[0] // threshold, 0).min())
    if spec.codes:
        return 0, min(most, network.input_steps - 1)
    if spec.zmax is not None and spec.gated:
        most = min(most, spec.zmax)
    if spec.gated:
        least = max(least, -count)
    if spec.rounding is Rounding.ONE:
        most, least = min(most, 1), max(least, -1)
    return least, most


def _max_pool(layer: Layer, current: Interval, source: LayerRanges) -> LayerRanges:
    """Membranes hold the counts of the source; U is the greatest of them less what was sent."""
    bound = np.full(layer.shape[0], source.count, np.int64)
    spikes = (-layer.neuron.smax, layer.neuron.smax)
    largest = max(source.final_spikes[1], -source.final_spikes[0], layer.neuron.smax)
    final = (-largest, largest)
    return LayerRanges(
        current, (-bound, bound), spikes, final, source.count, 1 << largest.bit_length() - 1
    )
