"""Lays a network out on cores: who owns which channels, and where everything lies.

Every core owns a slice of whole channel groups of every layer. Spike buffers are allocated by
liveness: a layer's spikes of all steps stay until its last consumer has run.
"""

from __future__ import annotations

from typing import Any

from spikewright.errors import SpikewrightError
from spikewright.hardware import HardwareShape, LayerMapping, Mapping
from spikewright.layout import layer_axes, only_synapse, program, weight_words
from spikewright.network import Network, Tie

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
    for index, layer in enumerate(network.layers):
        size = counts[index] * layer.shape[1] * layer.shape[2] * network.steps
        size = size if layer.neuron.fires else 0
        live = [(bases[i], sizes[i]) for i in range(index) if last_use[i] >= index and sizes[i]]
        bases.append(_first_fit(size, live) if size else 0)
        sizes.append(size)
        depth = max(depth, bases[-1] + size)
    return bases, depth


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
    if network.layers[-1].neuron.fires:
        raise SpikewrightError(
            f"layer {network.layers[-1].name}: the last layer must be an integrator"
        )
    slices = [_slices(-(-layer.shape[0] // lanes), cores) for layer in network.layers]
    spikes = [
        _spike_bases(network, [counts[core] for _, counts in slices]) for core in range(cores)
    ]
    weight_end, parameter_end, axis_end = [0] * cores, [0] * cores, 0
    taps = shift = 1
    layers = []
    for index, (layer, (firsts, counts)) in enumerate(zip(network.layers, slices, strict=True)):
        synapse = only_synapse(layer)
        y, x = layer_axes(network, layer)
        layers.append(
            LayerMapping(
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
            parameter_end[core] += counts[core] * 3
        taps = max(taps, *(entry.count for entry in y + x))
        shift = max(shift, synapse.shift + (network.input.bits if layer.direct else 0))

    def words(direct_only: bool) -> int:
        return max(
            max(counts) * layer.shape[1] * layer.shape[2]
            for layer, (_, counts) in zip(network.layers, slices, strict=True)
            if layer.direct or not direct_only
        )

    sizes: dict[str, Any] = {
        "cores": cores,
        "lanes": lanes,
        "steps": network.steps,
        "pixel_bits": network.input.bits,
        "weight_bits": network.weight_bits,
        "membrane_bits": network.membrane_bits,
        "compare_bits": network.compare_bits,
        "current_bits": network.current_bits,
        "shift_max": shift,
        "holds": any(
            layer.neuron.fires and layer.neuron.tie is Tie.HOLDS for layer in network.layers
        ),
        "taps": taps,
        "outputs": network.layers[-1].shape[0],
        "frame_words": network.input.shape[0] * network.input.shape[1] * network.input.shape[2],
        "program_words": 0,
        "axis_words": axis_end,
        "weight_words": max(weight_end),
        "parameter_words": max(parameter_end),
        "membrane_words": words(direct_only=False),
        "current_words": words(direct_only=True),
        "spike_words": max(1, *(depth for _, depth in spikes)),
    }
    draft = Mapping(HardwareShape(**sizes), tuple(layers))
    sizes["program_words"] = len(program(network, draft))
    return Mapping(HardwareShape(**sizes), tuple(layers))
