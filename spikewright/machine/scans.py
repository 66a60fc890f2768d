"""What the scans of a layer may do, and the words and bits that they take."""

from __future__ import annotations

from spikewright.machine.hardware import bits_for
from spikewright.machine.instructions import Mode
from spikewright.network import Layer, Network, scans
from spikewright.network.neuron import Digits, Negative, NeuronModel, Reset, Rounding, Tie

__all__ = ["count_bits", "layer_modes", "needs_ceils", "parameter_words", "spike_words"]


def _modes(**there: bool) -> Mode:
    """The modes that are there, by name."""
    return Mode(sum(Mode[name.upper()] for name, is_there in there.items() if is_there))


def layer_modes(network: Network, layer: Layer) -> tuple[Mode, Mode]:
    """What a scan of `layer` may do in an ordinary step, and in the final one (0: the same)."""
    spec = layer.neuron
    if not spec.fires:
        return Mode(0), Mode(0)
    pools = spec.model is NeuronModel.MAX_POOL
    powers = spec.digits is Digits.POWER
    shared = _modes(fires=True, gated=spec.gated, limited=spec.zmax is not None or spec.codes)
    ordinary = shared | _modes(
        holds=spec.tie is Tie.HOLDS,
        below=spec.negative is Negative.BELOW_ZERO,
        at=spec.negative is Negative.AT_THRESHOLD,
        capped=spec.smax > 1 and not powers and not pools,
        power=spec.smax > 1 and powers,
        zero=spec.reset is Reset.ZERO,
        switches=spec.switches,
        latch=spec.latch,
        maximum=pools,
    )
    if spec.codes:
        return Mode(0), ordinary
    if pools:
        return ordinary, ordinary if network.has_final else Mode(0)
    return ordinary, Mode(0) if spec.rounding is Rounding.NONE else shared | Mode.BELOW


def needs_ceils(network: Network) -> bool:
    """Whether some scan of several digits takes spikes back below zero."""
    return any(
        (Mode.BELOW in ordinary and passes > 1) or (Mode.BELOW in final and final_passes > 1)
        for index, layer in enumerate(network.layers)
        for ordinary, final in [layer_modes(network, layer)]
        for passes, final_passes in [scans(network, index)]
    )


def count_bits(network: Network) -> int:
    """Bits of the greatest count of any layer, and of any digit added to it; 0: nothing counts."""
    return max(
        (
            bits_for(max(network.ranges.layers[index].count, 1 << max(scans(network, index)) - 1))
            for index, layer in enumerate(network.layers)
            if network.counts(layer)
        ),
        default=0,
    )


def spike_words(network: Network, index: int) -> int:
    """Words of the spike buffer that one channel group of layer `index` fills."""
    layer = network.layers[index]
    positions = layer.shape[1] * layer.shape[2]
    if not layer.neuron.fires:
        return 0
    if layer.neuron.codes:
        return positions
    passes, final = scans(network, index)
    return positions * (passes * (network.steps - 1) + (final or passes))


def parameter_words(network: Network, index: int, rows: int) -> int:
    """Parameter words of one channel group of layer `index`, with `rows` a scan."""
    return 1 + sum(scans(network, index)) * rows
