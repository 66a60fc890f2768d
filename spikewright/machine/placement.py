"""Lays a network out on cores: who owns which channels, and where everything lies.

Every core owns a slice of whole channel groups of every layer. Spike buffers are allocated by
liveness: a layer's spikes of all steps stay until its last consumer has run. Everything follows
from the network and the numbers of cores and lanes, so a build is checked by doing it again.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from spikewright.errors import SpikewrightError
from spikewright.machine.axes import axis_tables, only_synapse, weight_words, window
from spikewright.machine.hardware import LAYERS, HardwareShape
from spikewright.machine.instructions import Mode
from spikewright.machine.mapping import LayerMapping, Mapping
from spikewright.machine.program import program
from spikewright.machine.scans import (
    count_bits,
    layer_modes,
    needs_ceils,
    parameter_words,
    spike_words,
)
from spikewright.network import InputCode, Network, scans

__all__ = ["first_fit", "place"]

Slices = tuple[tuple[int, ...], tuple[int, ...]]


def _slices(groups: int, cores: int) -> Slices:
    """Contiguous slices of `groups`, as even as they can be: (first group, count) of each core."""
    counts = [groups // cores + (core < groups % cores) for core in range(cores)]
    firsts = [sum(counts[:core]) for core in range(cores)]
    return tuple(firsts), tuple(counts)


def first_fit(size: int, taken: list[tuple[int, int]]) -> int:
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
        bases.append(first_fit(size, live) if size else 0)
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


def place(network: Network, cores: int, lanes: int) -> Mapping:
    """The one mapping of `network` on `cores` cores of `lanes` lanes.

    Raises SpikewrightError for shapes that the hardware does not have.
    """
    _check(network, cores, lanes)
    slices = [_slices(-(-layer.shape[0] // lanes), cores) for layer in network.layers]
    spikes = [
        _spike_bases(network, [counts[core] for _, counts in slices]) for core in range(cores)
    ]
    layers, sizes = _layers(network, slices, [bases for bases, _ in spikes])
    sizes["spike_words"] = max(1, *(depth for _, depth in spikes))
    shape = HardwareShape(cores=cores, lanes=lanes, program_words=0, **sizes, **_widths(network))
    draft = Mapping(shape, layers)
    return replace(draft, shape=replace(shape, program_words=len(program(network, draft))))


def _check(network: Network, cores: int, lanes: int) -> None:
    if cores < 1 or lanes < 1:
        raise SpikewrightError(f"mapping: {cores} cores of {lanes} lanes; use at least 1 of each")
    if len(network.layers) > LAYERS:
        raise SpikewrightError(
            f"mapping: the network has {len(network.layers)} layers, the hardware takes {LAYERS}; "
            "merge or leave out layers"
        )
    last = network.layers[-1]
    if last.shape[1:] != (1, 1):
        raise SpikewrightError(
            f"layer {last.name}: the last layer has shape {last.shape}; end the network with one "
            "value a class (global average pooling or a linear layer)"
        )


def _layers(
    network: Network, slices: list[Slices], spikes: list[list[int]]
) -> tuple[tuple[LayerMapping, ...], dict[str, Any]]:
    """Where every layer lies, and the words of the memories that all of them take."""
    cores, rows = len(spikes), 3 if needs_ceils(network) else 2
    weight_end, parameter_end, axis_end = [0] * cores, [0] * cores, 0
    membranes, currents, taps = [0], [0], 1
    layers = []
    for index, (layer, (firsts, counts)) in enumerate(zip(network.layers, slices, strict=True)):
        synapse = only_synapse(layer)
        y, x = axis_tables(synapse, network.source_shape(synapse))
        layers.append(
            LayerMapping(
                *scans(network, index),
                first_group=firsts,
                groups=counts,
                weight_base=tuple(weight_end),
                parameter_base=tuple(parameter_end),
                spike_base=tuple(bases[index] for bases in spikes),
                axis_y=axis_end,
                axis_x=axis_end + len(y),
            )
        )
        axis_end += len(y) + len(x)
        for core, count in enumerate(counts):
            weight_end[core] += count * weight_words(synapse)
            parameter_end[core] += count * parameter_words(network, index, rows)
        held = currents if network.direct(layer) or network.accumulates(layer) else membranes
        held.append(max(counts) * layer.shape[1] * layer.shape[2] * window(layer))
        taps = max(taps, *(entry.count for entry in y + x))
    return tuple(layers), {
        "taps": taps,
        "axis_words": axis_end,
        "weight_words": max(weight_end),
        "parameter_words": max(parameter_end),
        "membrane_words": max(membranes + currents),
        "current_words": max(currents),
    }


def _widths(network: Network) -> dict[str, Any]:
    """The fields of the shape that do not depend on cores and lanes."""
    layers, ranges, counted = network.layers, network.ranges, count_bits(network)
    modes = Mode(0)
    for ordinary, final in (layer_modes(network, layer) for layer in layers):
        modes |= ordinary | final
    random = network.input.code is InputCode.BERNOULLI
    return {
        "steps": network.steps,
        "input_steps": network.input_steps,
        "code": network.input.code.value,
        "seed": network.input.seed if random else 0,
        "pixel_bits": network.input.bits,
        "weight_bits": network.weight_bits,
        "membrane_bits": max(ranges.membrane_bits, counted + 1),
        "compare_bits": max(
            ranges.compare_bits, ranges.membrane_bits, ranges.current_bits, counted + 1
        ),
        "current_bits": ranges.current_bits,
        "count_bits": counted,
        "digits": max(max(scans(network, index)) for index in range(len(layers))),
        "shift_max": max(
            1,
            *(
                only_synapse(layer).shift + _sent_digits(network, index)
                for index, layer in enumerate(layers)
            ),
        ),
        "modes": int(modes),
        "signed": any(layer.neuron.signed for layer in layers if not layer.neuron.codes),
        "ceils": needs_ceils(network),
        "pairs": any(layer.neuron.codes for layer in layers),
        "window": max(map(window, layers)),
        "outputs": layers[-1].shape[0],
        "frame_words": math.prod(network.frame_shape),
    }
