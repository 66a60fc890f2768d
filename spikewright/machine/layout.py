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

from spikewright.errors import SpikewrightError
from spikewright.machine.hardware import (
    ALL_UNITS,
    FRAME_UNIT,
    HardwareShape,
    Instruction,
    LayerMapping,
    Mapping,
    Mode,
    Opcode,
    Register,
    bits_for,
)
from spikewright.network import INPUT, InputCode, Layer, Network, PoolKind, Synapse, scans
from spikewright.network.neuron import Digits, Negative, NeuronModel, Reset, Rounding, Tie

__all__ = [
    "AxisEntry",
    "axis_table",
    "count_bits",
    "layer_axes",
    "layer_modes",
    "needs_ceils",
    "pack",
    "parameter_words",
    "program",
    "spike_words",
    "unpack",
]

Ints = npt.NDArray[np.int64]


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


def window(layer: Layer) -> int:
    """Membranes a neuron takes the greatest of: the max-pool window, 1 for all other layers."""
    synapse = only_synapse(layer)
    return synapse.pool.area if synapse.pool.kind is PoolKind.MAX else 1


# ------------------------------------------------------------------------------------------- scans


def layer_modes(network: Network, layer: Layer) -> tuple[Mode, Mode]:
    """What a scan of `layer` may do in an ordinary step, and in the final one (0: the same)."""
    spec = layer.neuron
    if not spec.fires:
        return Mode(0), Mode(0)
    shared = Mode.FIRES
    if spec.gated:
        shared |= Mode.GATED
    if spec.zmax is not None or spec.codes:
        shared |= Mode.LIMITED
    if spec.model is NeuronModel.MAX_POOL:
        mode = shared | Mode.AT | Mode.MAXIMUM
        return mode, mode if network.has_final else Mode(0)
    holds = Mode.HOLDS if spec.tie is Tie.HOLDS else Mode(0)
    if spec.codes:
        return Mode(0), shared | holds
    ordinary = shared | holds
    if spec.switches:
        ordinary |= Mode.SWITCHES | (Mode.LATCH if spec.latch else Mode(0))
    if spec.reset is Reset.ZERO:
        ordinary |= Mode.ZERO
    ordinary |= {
        Negative.NONE: Mode(0),
        Negative.BELOW_ZERO: Mode.BELOW,
        Negative.AT_THRESHOLD: Mode.AT,
    }[spec.negative]
    if spec.smax > 1:
        ordinary |= Mode.POWER if spec.digits is Digits.POWER else Mode.CAPPED
    final = Mode(0) if spec.rounding is Rounding.NONE else shared | Mode.BELOW
    return ordinary, final


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
        direct, area = network.direct(layer), window(layer)
        fire, final = layer_modes(network, layer)
        setting(
            ALL_UNITS,
            layer=index,
            steps=network.steps,
            input_steps=network.input_steps,
            words=layer.shape[1] * layer.shape[2] * area,
            outputs=layer.shape[1] * layer.shape[2],
            window=area,
            fire=fire,
            final=final,
            passes=where.passes,
            final_passes=where.final_passes,
            limit=_limit(network, layer),
            tokens=1 if source is None else sum(count > 0 for count in source.groups),
            current=1 if direct else 2 * network.accumulates(layer),
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
            **_source_settings(network, synapse, source),
        )
        if source is None:
            setting(FRAME_UNIT, source_groups=channels, source_channel=0, source_base=0)
            if direct:
                setting(FRAME_UNIT, steps=1)
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


def _limit(network: Network, layer: Layer) -> int:
    if layer.neuron.codes:
        return network.input_steps - 1
    return layer.neuron.zmax or 0


def _source_settings(
    network: Network, synapse: Synapse, source: LayerMapping | None
) -> dict[str, int]:
    """How the spikes of a layer's source lie in their buffer."""
    if source is None:
        again = network.input.code in (InputCode.ISI, InputCode.TSC, InputCode.BERNOULLI)
        return {"source_planes": 1, "source_final": 1, "source_repeats": int(again)}
    if network.layers[synapse.source].neuron.codes:
        return {"source_planes": 1, "source_final": 1, "source_repeats": 1}
    return {
        "source_planes": source.passes,
        "source_final": source.final_passes or source.passes,
        "source_repeats": 0,
    }


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


def _parameter_rows(layer: Layer, where: LayerMapping, shape: HardwareShape) -> tuple[Ints, Ints]:
    """V(0) as ``(groups, lanes)``, and the rows of all scans, ``(scans, groups, rows, lanes)``.

    A scan of digit k adds its first row (bias or half a threshold in the first scan of a step, 0 in
    the others), compares with ``threshold << k``, and adds ``(threshold << k) - threshold`` to
    compare with zero. A lane without a channel never fires.
    """
    half = layer.threshold // 2 * (layer.neuron.rounding is not Rounding.NONE)
    made = []
    for count, first in ((where.passes, layer.bias), (where.final_passes, half)):
        for digit in reversed(range(count)):
            top = layer.threshold << digit
            rows = [
                _grouped(first * (digit == count - 1), shape.lanes, 0),
                _grouped(top, shape.lanes, 1),
                _grouped(top - layer.threshold, shape.lanes, 0),
            ]
            made.append(np.stack(rows[: shape.rows], axis=1))
    return _grouped(layer.initial, shape.lanes, 0), np.stack(made)


def _axis_words(network: Network, layer: Layer) -> tuple[list[tuple[int, int, int]], ...]:
    """Entries of the axis tables for y and x: weight offset, word offset, tap count.

    In front of max-pool neurons the positions of a window lie in planes, one behind the other.
    """
    synapse = only_synapse(layer)
    channels, kernel_x = synapse.weight.shape[1], synapse.weight.shape[3]
    height, width = layer.shape[1:]
    tables = []
    for axis, (entries, tap, output, plane) in enumerate(
        zip(
            layer_axes(network, layer),
            (kernel_x * channels, channels),
            (width, 1),
            (synapse.pool.size[1] * height * width, height * width),
            strict=True,
        )
    ):
        apart = window(layer) > 1
        tables.append(
            [
                (
                    entry.tap * tap,
                    entry.output * output
                    + (place % synapse.pool.size[axis] * plane if apart and entry.count else 0),
                    entry.count,
                )
                for place, entry in enumerate(entries)
            ]
        )
    return tuple(tables)


def pack(network: Network, mapping: Mapping) -> dict[str, list[int]]:
    """The words of every memory in `mapping.shape.loadable()`, by memory name."""
    shape = mapping.shape
    memories: dict[str, list[int]] = {
        "program": [instruction.encode() for instruction in program(network, mapping)]
    }
    axis = [0] * shape.axis_words
    for layer, where in zip(network.layers, mapping.layers, strict=True):
        y, x = _axis_words(network, layer)
        for base, entries in ((where.axis_y, y), (where.axis_x, x)):
            for i, values in enumerate(entries):
                position = word = 0
                for value, width in zip(values, shape.axis_fields.values(), strict=True):
                    word |= value << position
                    position += width
                axis[base + i] = word
    memories["axis"] = axis
    layer_parameters = [
        _parameter_rows(layer, where, shape)
        for layer, where in zip(network.layers, mapping.layers, strict=True)
    ]
    for core in range(shape.cores):
        weights = np.zeros((shape.weight_words, shape.lanes), np.int64)
        parameters = np.zeros((shape.parameter_words, shape.lanes), np.int64)
        for layer, where, (initial, rows) in zip(
            network.layers, mapping.layers, layer_parameters, strict=True
        ):
            first, count = where.first_group[core], where.groups[core]
            own = slice(first, first + count)
            for memory, start, own_rows in (
                (
                    weights,
                    where.weight_base[core],
                    _weight_rows(only_synapse(layer), shape.lanes)[own].reshape(-1, shape.lanes),
                ),
                (parameters, where.parameter_base[core], initial[own]),
                (
                    parameters,
                    where.parameter_base[core] + count,
                    rows[:, own].reshape(-1, shape.lanes),
                ),
            ):
                memory[start : start + len(own_rows)] = own_rows
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
        passes = where.passes
        weights, initials, biases, thresholds = [], [], [], []
        for core, (weight_rows, parameter_rows) in enumerate(rows):
            start, count = where.weight_base[core], where.groups[core]
            weights.append(weight_rows[start : start + count * per_group])
            start = where.parameter_base[core]
            initials.append(parameter_rows[start : start + count])
            # Bias: first row of the first scan; threshold: second row of the scan of digit 0.
            scanned = parameter_rows[start + count :][: passes * count * shape.rows]
            scanned = scanned.reshape(passes, count, shape.rows, shape.lanes)
            biases.append(scanned[0, :, 0])
            thresholds.append(scanned[-1, :, 1])
        weight = np.concatenate(weights).reshape(-1, kernel_y, kernel_x, channels, shape.lanes)
        weight = weight.transpose(0, 4, 3, 1, 2).reshape(-1, channels, kernel_y, kernel_x)[:out]
        initial, bias, threshold = (
            np.concatenate(parts).reshape(-1)[:out] for parts in (initials, biases, thresholds)
        )
        layers.append(
            replace(
                layer,
                synapses=(replace(synapse, weight=weight),),
                initial=initial,
                bias=bias,
                threshold=threshold,
            )
        )
    return replace(network, layers=tuple(layers))


def check_ranges(network: Network, mapping: Mapping) -> None:
    """Refuse numbers for which a membrane could wrap on the hardware of `mapping`."""
    shape = mapping.shape
    for name in ("membrane_bits", "compare_bits", "current_bits"):
        needed, there = getattr(network, name), getattr(shape, name)
        if needed > there:
            raise SpikewrightError(
                f"network: needs {name} {needed}, the hardware has {there}; compile it again"
            )
    if count_bits(network) > shape.count_bits:
        raise SpikewrightError(
            f"network: counts need {count_bits(network)} bits, the hardware has "
            f"{shape.count_bits}; compile it again"
        )
    for index, (layer, where) in enumerate(zip(network.layers, mapping.layers, strict=True)):
        needed = scans(network, index)[1]
        if needed > where.final_passes:
            raise SpikewrightError(
                f"layer {layer.name}: its rounding phase needs {needed} scans, the program has "
                f"{where.final_passes}; compile it again"
            )
