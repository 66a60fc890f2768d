"""The program of a network: the instructions that run its layers and read its outputs."""

from __future__ import annotations

from collections.abc import Iterator

from spikewright.machine.axes import only_synapse, weight_words, window
from spikewright.machine.instructions import (
    ALL_UNITS,
    FRAME_UNIT,
    Instruction,
    Opcode,
    Register,
)
from spikewright.machine.mapping import LayerMapping, Mapping
from spikewright.machine.scans import layer_modes
from spikewright.network import INPUT, Network, Synapse

__all__ = ["program"]


def program(network: Network, mapping: Mapping) -> list[Instruction]:
    """The instructions that run every layer, then read the outputs.

    Raises SpikewrightError where a value does not fit its instruction.
    """
    code: list[Instruction] = []
    for index in range(len(network.layers)):
        for unit, values in _settings(network, mapping, index):
            code += [
                Instruction(Opcode.SET, unit, Register[name.upper()], value)
                for name, value in values.items()
            ]
        code.append(Instruction(Opcode.RUN))
    last, lanes = mapping.layers[-1], mapping.shape.lanes
    for core, (first, count) in enumerate(zip(last.first_group, last.groups, strict=True)):
        owned = min(network.layers[-1].shape[0] - first * lanes, count * lanes)
        if owned > 0:
            code.append(Instruction(Opcode.READ, core, 0, owned))
    return [*code, Instruction(Opcode.END)]


def _settings(
    network: Network, mapping: Mapping, index: int
) -> Iterator[tuple[int, dict[str, int]]]:
    """The registers of layer `index` by unit: of all units, of the frame source, of every core."""
    layer, where = network.layers[index], mapping.layers[index]
    synapse = only_synapse(layer)
    source = None if synapse.source == INPUT else mapping.layers[synapse.source]
    yield ALL_UNITS, _shared(network, mapping, index)
    if source is None:
        frame = {"source_groups": network.input.shape[0], "source_channel": 0, "source_base": 0}
        yield FRAME_UNIT, frame | ({"steps": 1} if network.direct(layer) else {})
    for core, groups in enumerate(where.groups):
        own = {"groups": groups}
        if groups:
            bases = ("weight_base", "parameter_base", "spike_base")
            own |= {name: getattr(where, name)[core] for name in bases}
        if source is not None and source.groups[core]:
            own |= {
                "source_groups": source.groups[core],
                "source_channel": source.first_group[core] * mapping.shape.lanes,
                "source_base": source.spike_base[core],
            }
        yield core, own


def _shared(network: Network, mapping: Mapping, index: int) -> dict[str, int]:
    """What all units are told of layer `index`."""
    layer, where = network.layers[index], mapping.layers[index]
    synapse = only_synapse(layer)
    channels, height, width = network.source_shape(synapse)
    source = None if synapse.source == INPUT else mapping.layers[synapse.source]
    fire, final = layer_modes(network, layer)
    outputs = layer.shape[1] * layer.shape[2]
    return {
        "layer": index,
        "steps": network.steps,
        "input_steps": network.input_steps,
        "words": outputs * window(layer),
        "outputs": outputs,
        "window": window(layer),
        "fire": fire,
        "final": final,
        "passes": where.passes,
        "final_passes": where.final_passes,
        "limit": network.input_steps - 1 if layer.neuron.codes else layer.neuron.zmax or 0,
        "tokens": 1 if source is None else sum(count > 0 for count in source.groups),
        "current": 1 if network.direct(layer) else 2 * network.accumulates(layer),
        "shift": synapse.shift,
        "weight_column": synapse.stride[1] * channels,
        "weight_row": synapse.stride[0] * synapse.weight.shape[3] * channels,
        "weight_group": weight_words(synapse),
        "word_row": layer.shape[2],
        "source_groups": 0,
        "source_height": height,
        "source_width": width,
        "axis_y": where.axis_y,
        "axis_x": where.axis_x,
        **_source_settings(network, synapse, source),
    }


def _source_settings(
    network: Network, synapse: Synapse, source: LayerMapping | None
) -> dict[str, int]:
    """How the spikes of a layer's source lie in their buffer."""
    if source is None:
        again = int(network.input.code.repeats)
        return {"source_planes": 1, "source_final": 1, "source_repeats": again}
    if network.layers[synapse.source].neuron.codes:
        return {"source_planes": 1, "source_final": 1, "source_repeats": 1}
    return {
        "source_planes": source.passes,
        "source_final": source.final_passes or source.passes,
        "source_repeats": 0,
    }
