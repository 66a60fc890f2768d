"""Lays a network out on cores: who owns which channels, and where everything lies.

Every core owns a slice of whole channel groups of every layer. Spike buffers are allocated by
liveness: a layer's spikes of all steps stay until its last consumer has run.
"""

from __future__ import annotations

from typing import Any

from spikewright.errors import SpikewrightError
from spikewright.machine.hardware import HardwareShape, LayerMapping, Mapping, Mode
from spikewright.machine.layout import (
    count_bits,
    layer_axes,
    layer_modes,
    needs_ceils,
    only_synapse,
    parameter_words,
    program,
    spike_words,
    weight_words,
    window,
)
from spikewright.network import InputCode, Network, scans

__all__ = ["map_network"]


def _slices(groups: int, cores: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Contiguous slices of `groups`, as even as they can be: (first group, count) of each core."""
    counts = [groups // cores + (core < groups % cores) for core in range(cores)]
    firsts = [sum(counts[:core]) for core in range(cores)]
    return tuple(firsts), tuple(counts)


def _first_fit(size: int, taken: list[tuple[int, int]]) -> int:
    """The lowest base at which `size` words avoid all `taken` (base, size) blocks."""
    base = 0
    for start, length in sorted(taken):
        if base + size <= start:
            break
        base = max(base, start + length)
    return base


def _spike_bases(network: Network, counts: list[int]) -> tuple[list[int], int]:
    """Where each layer's spikes begin in one core's buffer, and the depth that takes."""
    last_use = list(range(len(network.layers)))
    for index, layer in enumerate(network.layers):
        for synapse in layer.synapses:
            if synapse.source >= 0:
                last_use[synapse.source] = index
    bases: list[int] = []
    sizes: list[int] = []
    depth = 0
    for index in range(len(network.layers)):
        size = counts[index] * spike_words(network, index)
        live = [(bases[i], sizes[i]) for i in range(index) if last_use[i] >= index and sizes[i]]
        bases.append(_first_fit(size, live) if size else 0)
        sizes.append(size)
        depth = max(depth, bases[-1] + size)
    return bases, depth


def _sent_digits(network: Network, index: int) -> int:
    """The greatest exponent of an event that layer `index` receives."""
    layer = network.layers[index]
    if layer.reads_input:
        return network.input.bits if network.direct(layer) else 0
    source = only_synapse(layer).source
    if network.layers[source].neuron.codes:
        return 0  # pairs of single events
    return max(scans(network, source)) - 1


def map_network(network: Network, *, cores: int = 1, lanes: int = 16) -> Mapping:
    """Lay `network` out on `cores` cores of `lanes` lanes.

    Raises SpikewrightError for shapes that the hardware does not have.
    """
    if cores < 1 or lanes < 1:
        raise SpikewrightError(f"mapping: {cores} cores of {lanes} lanes; use at least 1 of each")
    if any(layer.shape[1:] != (1, 1) for layer in network.layers[-1:]):
        raise SpikewrightError(
            f"layer {network.layers[-1].name}: the last layer has shape "
            f"{network.layers[-1].shape}; end the network with one value a class "
            "(global average pooling or a linear layer)"
        )
    slices = [_slices(-(-layer.shape[0] // lanes), cores) for layer in network.layers]
    spikes = [
        _spike_bases(network, [counts[core] for _, counts in slices]) for core in range(cores)
    ]
    weight_end, parameter_end, axis_end = [0] * cores, [0] * cores, 0
    taps = shift = digits = 1
    modes = Mode(0)
    rows = 3 if needs_ceils(network) else 2
    layers = []
    for index, (layer, (firsts, counts)) in enumerate(zip(network.layers, slices, strict=True)):
        synapse = only_synapse(layer)
        y, x = layer_axes(network, layer)
        layers.append(
            LayerMapping(
                *scans(network, index),
                first_group=firsts,
                groups=counts,
                weight_base=tuple(weight_end),
                parameter_base=tuple(parameter_end),
                spike_base=tuple(spikes[core][0][index] for core in range(cores)),
                axis_y=axis_end,
                axis_x=axis_end + len(y),
            )
        )
        axis_end += len(y) + len(x)
        for core in range(cores):
            weight_end[core] += counts[core] * weight_words(synapse)
            parameter_end[core] += counts[core] * parameter_words(network, index, rows)
        taps = max(taps, *(entry.count for entry in y + x))
        digits = max(digits, *scans(network, index))
        ordinary, final = layer_modes(network, layer)
        modes |= ordinary | final
        sent = _sent_digits(network, index)
        shift = max(shift, synapse.shift + sent)

    def words(held_only: bool) -> int:
        return max(
            (
                max(counts) * layer.shape[1] * layer.shape[2] * window(layer)
                for layer, (_, counts) in zip(network.layers, slices, strict=True)
                if not held_only or network.direct(layer) or network.accumulates(layer)
            ),
            default=0,
        )

    counted = count_bits(network)
    frame = network.frame_shape

    sizes: dict[str, Any] = {
        "cores": cores,
        "lanes": lanes,
        "steps": network.steps,
        "input_steps": network.input_steps,
        "code": network.input.code.value,
        "seed": network.input.seed if network.input.code is InputCode.BERNOULLI else 0,
        "pixel_bits": network.input.bits,
        "weight_bits": network.weight_bits,
        "membrane_bits": max(network.membrane_bits, counted + 1),
        "compare_bits": max(
            network.compare_bits, network.membrane_bits, network.current_bits, counted + 1
        ),
        "current_bits": network.current_bits,
        "count_bits": counted,
        "digits": digits,
        "shift_max": shift,
        "modes": int(modes),
        "signed": any(layer.neuron.signed for layer in network.layers if not layer.neuron.codes),
        "ceils": rows == 3,
        "pairs": any(layer.neuron.codes for layer in network.layers),
        "window": max(window(layer) for layer in network.layers),
        "taps": taps,
        "outputs": network.layers[-1].shape[0],
        "frame_words": frame[0] * frame[1] * frame[2],
        "program_words": 0,
        "axis_words": axis_end,
        "weight_words": max(weight_end),
        "parameter_words": max(parameter_end),
        "membrane_words": words(held_only=False),
        "current_words": words(held_only=True),
        "spike_words": max(1, *(depth for _, depth in spikes)),
    }
    draft = Mapping(HardwareShape(**sizes), tuple(layers))
    sizes["program_words"] = len(program(network, draft))
    return Mapping(HardwareShape(**sizes), tuple(layers))
