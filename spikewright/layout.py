"""How a network lies in the memories, in both directions.

:func:`pack` turns a network and its mapping into the words of every loadable memory; :func:`unpack`
reads the numbers back, so that the golden model can be rebuilt from files alone. :func:`program`
lists the instructions that run the layers. `docs/formats.md` has the same in prose.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from .errors import SpikewrightError
from .hardware import (
    ALL_UNITS,
    FRAME_UNIT,
    HardwareShape,
    Instruction,
    Mapping,
    Opcode,
    Register,
)
from .network import INPUT, Layer, Network, Synapse, Tie

__all__ = ["AxisEntry", "axis_table", "layer_axes", "pack", "program", "unpack"]

Ints = npt.NDArray[np.int64]
PARAMETER_ROWS = 3


@dataclass(frozen=True)
class AxisEntry:
    """Where a source coordinate lands: on `count` taps, from `tap` on (its output is `output`).

    Every further tap is one stride later and its output one earlier.
    """

    tap: int
    output: int
    count: int


def axis_table(
    size: int, pool: int, kernel: int, stride: int, padding: int, outputs: int
) -> list[AxisEntry]:
    """One entry for each of `size` source coordinates of one axis, before pooling.

    Coordinates that floor pooling drops, or that no tap lands on, have count 0.
    """
    entries = []
    for coordinate in range(size):
        position = coordinate // pool + padding
        taps = [
            k
            for k in range(kernel)
            if (position - k) % stride == 0 and 0 <= (position - k) // stride < outputs
        ]
        if coordinate // pool >= size // pool or not taps:
            entries.append(AxisEntry(0, 0, 0))
        else:
            entries.append(AxisEntry(taps[0], (position - taps[0]) // stride, len(taps)))
    return entries


def layer_axes(network: Network, layer: Layer) -> tuple[list[AxisEntry], list[AxisEntry]]:
    """The axis tables of a layer, for y and for x."""
    synapse = only_synapse(layer)
    _, height, width = network.source_shape(synapse)
    y, x = (
        axis_table(
            size,
            synapse.pool.size[i],
            synapse.weight.shape[2 + i],
            synapse.stride[i],
            synapse.padding[i],
            layer.shape[1 + i],
        )
        for i, size in enumerate((height, width))
    )
    return y, x


def only_synapse(layer: Layer) -> Synapse:
    """The one synapse group of a layer; several are in the contract but not yet in the hardware."""
    if len(layer.synapses) != 1:
        raise SpikewrightError(
            f"layer {layer.name}: has {len(layer.synapses)} synapse groups; the cores take one"
        )
    return layer.synapses[0]


def weight_words(synapse: Synapse) -> int:
    """Weight words of one channel group: one for each tap and source channel."""
    return int(np.prod(synapse.weight.shape[1:]))


# --------------------------------------------------------------------------------------- programs


def program(network: Network, mapping: Mapping) -> list[Instruction]:
    """The instructions that run every layer, then read the outputs.

    Raises SpikewrightError where a value does not fit its instruction.
    """
    code: list[Instruction] = []

    def setting(unit: int, **values: int) -> None:
        for name, value in values.items():
            code.append(Instruction(Opcode.SET, unit, Register[name.upper()], value))

    cores = range(mapping.shape.cores)
    for index, (layer, where) in enumerate(zip(network.layers, mapping.layers, strict=True)):
        synapse = only_synapse(layer)
        channels, height, width = network.source_shape(synapse)
        kernel_x = synapse.weight.shape[3]
        source = None if synapse.source == INPUT else mapping.layers[synapse.source]
        setting(
            ALL_UNITS,
            layer=index,
            steps=network.steps,
            words=layer.shape[1] * layer.shape[2],
            fire=(1 if layer.neuron.tie is Tie.FIRES else 2) if layer.neuron.fires else 0,
            tokens=1 if source is None else sum(count > 0 for count in source.groups),
            direct=int(layer.direct),
            shift=synapse.shift,
            weight_column=synapse.stride[1] * channels,
            weight_row=synapse.stride[0] * kernel_x * channels,
            weight_group=weight_words(synapse),
            word_row=layer.shape[2],
            source_groups=0,
            source_height=height,
            source_width=width,
            axis_y=where.axis_y,
            axis_x=where.axis_x,
        )
        if source is None:
            setting(FRAME_UNIT, steps=1, source_groups=channels, source_channel=0, source_base=0)
        for core in cores:
            setting(core, groups=where.groups[core])
            if where.groups[core]:
                setting(
                    core,
                    weight_base=where.weight_base[core],
                    parameter_base=where.parameter_base[core],
                    spike_base=where.spike_base[core],
                )
            if source is not None and source.groups[core]:
                setting(
                    core,
                    source_groups=source.groups[core],
                    source_channel=source.first_group[core] * mapping.shape.lanes,
                    source_base=source.spike_base[core],
                )
        code.append(Instruction(Opcode.RUN))
    last = mapping.layers[-1]
    outputs = network.layers[-1].shape[0]
    for core in cores:
        first = last.first_group[core] * mapping.shape.lanes
        owned = min(outputs - first, last.groups[core] * mapping.shape.lanes)
        if owned > 0:
            code.append(Instruction(Opcode.READ, core, 0, owned))
    code.append(Instruction(Opcode.END))
    return code


# ---------------------------------------------------------------------------------------- memories


def pack_lanes(rows: npt.NDArray[np.int64], bits: int) -> list[int]:
    """Words of one two's complement number of `bits` bits a lane, lane 0 in the low bits."""
    mask = (1 << bits) - 1
    words = []
    for row in rows.tolist():
        word = 0
        for value in reversed(row):
            word = word << bits | value & mask
        words.append(word)
    return words


def unpack_lanes(words: Iterable[int], lanes: int, bits: int) -> Ints:
    """The inverse of :func:`pack_lanes`: shape ``(words, lanes)``, signed."""
    mask, sign = (1 << bits) - 1, 1 << (bits - 1)
    rows = [
        [((word >> bits * lane & mask) ^ sign) - sign for lane in range(lanes)] for word in words
    ]
    return np.array(rows, dtype=np.int64).reshape(-1, lanes)


def _grouped(values: npt.NDArray[np.int64], lanes: int, fill: int) -> Ints:
    """Pad the channel axis (the first) to whole groups: shape ``(groups, lanes, ...)``."""
    missing = -values.shape[0] % lanes
    padding = np.full((missing, *values.shape[1:]), fill, np.int64)
    return np.concatenate([values, padding]).reshape(-1, lanes, *values.shape[1:])


def _weight_rows(synapse: Synapse, lanes: int) -> Ints:
    """Weights as ``(groups, taps * source channels, lanes)``, in the order of their addresses."""
    grouped = _grouped(synapse.weight, lanes, 0)  # groups, lanes, channels, ky, kx
    return grouped.transpose(0, 3, 4, 2, 1).reshape(grouped.shape[0], -1, lanes)


def _parameter_rows(layer: Layer, lanes: int) -> Ints:
    """Parameters as ``(groups, 3, lanes)``; a lane without a channel never fires."""
    threshold = layer.threshold if layer.neuron.fires else np.zeros_like(layer.threshold)
    rows = [
        _grouped(layer.initial, lanes, 0),
        _grouped(layer.bias, lanes, 0),
        _grouped(layer.bias - threshold, lanes, -1),
    ]
    return np.stack(rows, axis=1)


def pack(network: Network, mapping: Mapping) -> dict[str, list[int]]:
    """The words of every memory in `mapping.shape.loadable()`, by memory name."""
    shape = mapping.shape
    memories: dict[str, list[int]] = {
        "program": [instruction.encode() for instruction in program(network, mapping)]
    }
    axis = [0] * shape.axis_words
    for layer, where in zip(network.layers, mapping.layers, strict=True):
        synapse = only_synapse(layer)
        channels, kernel_x = synapse.weight.shape[1], synapse.weight.shape[3]
        y, x = layer_axes(network, layer)
        for base, entries, tap, output in (
            (where.axis_y, y, kernel_x * channels, layer.shape[2]),
            (where.axis_x, x, channels, 1),
        ):
            for i, entry in enumerate(entries):
                values = (entry.tap * tap, entry.output * output, entry.count)
                position = word = 0
                for value, width in zip(values, shape.axis_fields.values(), strict=True):
                    word |= value << position
                    position += width
                axis[base + i] = word
    memories["axis"] = axis
    for core in range(shape.cores):
        weights = np.zeros((shape.weight_words, shape.lanes), np.int64)
        parameters = np.zeros((shape.parameter_words, shape.lanes), np.int64)
        for layer, where in zip(network.layers, mapping.layers, strict=True):
            first, count = where.first_group[core], where.groups[core]
            for memory, start, rows in (
                (weights, where.weight_base[core], _weight_rows(only_synapse(layer), shape.lanes)),
                (parameters, where.parameter_base[core], _parameter_rows(layer, shape.lanes)),
            ):
                own = rows[first : first + count].reshape(-1, shape.lanes)
                memory[start : start + len(own)] = own
        memories[f"weight_{core}"] = pack_lanes(weights, shape.weight_bits)
        memories[f"parameter_{core}"] = pack_lanes(parameters, shape.compare_bits)
    return memories


def unpack(network: Network, mapping: Mapping, memories: dict[str, Sequence[int]]) -> Network:
    """The network whose weights, thresholds, biases and initial potentials stand in `memories`.

    `network` gives the structure (its numbers are ignored). Raises SpikewrightError if the numbers
    break the contract, e.g. a threshold that is not positive.
    """
    shape = mapping.shape
    rows = [
        (
            unpack_lanes(memories[f"weight_{core}"], shape.lanes, shape.weight_bits),
            unpack_lanes(memories[f"parameter_{core}"], shape.lanes, shape.compare_bits),
        )
        for core in range(shape.cores)
    ]
    layers = []
    for layer, where in zip(network.layers, mapping.layers, strict=True):
        synapse = only_synapse(layer)
        out, channels, kernel_y, kernel_x = synapse.weight.shape
        per_group = weight_words(synapse)
        weights, parameters = [], []
        for core, (weight_rows, parameter_rows) in enumerate(rows):
            start, count = where.weight_base[core], where.groups[core]
            weights.append(weight_rows[start : start + count * per_group])
            start = where.parameter_base[core]
            parameters.append(parameter_rows[start : start + count * PARAMETER_ROWS])
        weight = np.concatenate(weights).reshape(-1, kernel_y, kernel_x, channels, shape.lanes)
        weight = weight.transpose(0, 4, 3, 1, 2).reshape(-1, channels, kernel_y, kernel_x)[:out]
        numbers = np.concatenate(parameters).reshape(-1, PARAMETER_ROWS, shape.lanes)
        initial, bias, less = (numbers[:, i].reshape(-1)[:out] for i in range(PARAMETER_ROWS))
        layers.append(
            replace(
                layer,
                synapses=(replace(synapse, weight=weight),),
                initial=initial,
                bias=bias,
                threshold=(bias - less) & ((1 << shape.compare_bits) - 1),
            )
        )
    return replace(network, layers=tuple(layers))


def check_ranges(network: Network, shape: HardwareShape) -> None:
    """Refuse numbers for which a membrane could wrap on hardware of `shape`."""
    for name in ("membrane_bits", "compare_bits", "current_bits"):
        needed, there = getattr(network, name), getattr(shape, name)
        if needed > there:
            raise SpikewrightError(
                f"network: needs {name} {needed}, the hardware has {there}; compile it again"
            )
