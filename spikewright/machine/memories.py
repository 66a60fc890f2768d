"""What the memories of the second machine hold for a schedule: program, axes, weights, parameters.

- program: words of 36 bits, :class:`~spikewright.machine.configuration.Instruction` and records;
- axis: :class:`~spikewright.machine.configuration.AxisEntry`, the same in every core;
- weights of each weight memory: rows of one weight a lane, lane 0 in the lowest bits;
- parameters of each fire unit: two words a row, at twice the row's number: threshold and bias, then
  threshold and first drive (bias and V(0), and half the threshold of burst neurons). Row
  ``base + group * slots + slot`` serves slot ``slot`` of every position.

A lane without a neuron has no weights and an unreachable threshold; in a layer that sends membranes
it starts at the least number, which wins no argmax.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np

from spikewright.errors import SpikewrightError
from spikewright.machine.blocks import WORD, Machine
from spikewright.machine.configuration import (
    ALL_CORES,
    MODELS,
    RECORDS,
    AxisEntry,
    Instruction,
    KeepRecord,
    LayerRecord,
    Opcode,
    PassRecord,
    Send,
    ShareRecord,
    SourceRecord,
    record_words,
)
from spikewright.machine.fields import Record
from spikewright.machine.placement import first_fit
from spikewright.machine.schedule import LayerSchedule, Reading, Schedule
from spikewright.network import INPUT, Ints, NeuronModel, Tie
from spikewright.network.neuron import Reset

__all__ = ["Base", "Images", "bases", "groups_in", "make_images", "tap_rows"]


@dataclass(frozen=True)
class Images:
    """The contents of all memories, as unsigned words, without the unused rest.

    `weights` has a list for each weight memory, `parameters` for each core one of each fire unit.
    """

    program: list[int]
    axis: list[int]
    weights: list[list[int]]
    parameters: list[list[list[int]]]

    @property
    def by_name(self) -> dict[str, list[int]]:
        """The same by the names of :func:`~spikewright.machine.storage.loadable`."""
        made = {"program": self.program, "axis": self.axis}
        made |= {f"weights_{number}": rows for number, rows in enumerate(self.weights)}
        return made | {
            f"parameters_{core}_{unit}": words
            for core, units in enumerate(self.parameters)
            for unit, words in enumerate(units)
        }


def make_images(schedule: Schedule) -> Images:
    """The images; raises SpikewrightError where a memory is too small or a number does not fit."""
    return _Packing(schedule).images()


@dataclass(frozen=True)
class Base:
    """Where a core finds its first channel group of a layer: weight row and parameter row."""

    weight: int = 0
    parameter: int = 0


def bases(schedule: Schedule) -> list[list[Base]]:
    """By layer and core; they do not depend on the numbers. Raises where a memory is too small.

    The weights of a layer lie behind those of the layer before, in every memory the groups that a
    core of it has; the parameters of a core likewise.
    """
    machine = schedule.machine
    sharing = machine.lanes.sharing
    weights, parameters = [0] * machine.weight_memories, [0] * machine.cores
    made = []
    for layer in schedule.layers:
        own = []
        for core in range(machine.cores):
            share, memory = layer.share(core), core // sharing
            first, _ = groups_in(layer, memory)
            row = weights[memory] + (share.first_group - first) * layer.group_rows
            own.append(Base() if share.idle else Base(row, parameters[core]))
            parameters[core] += share.groups * layer.slots * (not share.idle)
        for memory in range(machine.weight_memories):
            first, end = groups_in(layer, memory)
            weights[memory] += (end - first) * layer.group_rows
        made.append(own)
    _fits("weight memory", max(weights), machine.lanes.weight_rows)
    _fits("parameter memory", max(parameters), machine.fire.parameter_rows)
    return made


def groups_in(layer: LayerSchedule, memory: int) -> tuple[int, int]:
    """First and end of the channel groups whose weights lie in weight memory `memory`."""
    sharing = layer.machine.lanes.sharing
    shares = [layer.share(memory * sharing + n) for n in range(sharing)]
    used = [share for share in shares if not share.idle]
    first = min((share.first_group for share in used), default=0)
    return first, max((share.first_group + share.groups for share in used), default=0)


@dataclass
class _Axes:
    """The axis tables; equal ones are stored once."""

    entries: list[AxisEntry] = field(default_factory=list)
    bases: dict[tuple[AxisEntry, ...], int] = field(default_factory=dict)

    def place(self, table: Iterable[AxisEntry]) -> int:
        key = tuple(table)
        if key not in self.bases:
            self.bases[key] = len(self.entries)
            self.entries += key
        return self.bases[key]


class _Packing:
    """Allocates as it goes, layer after layer."""

    def __init__(self, schedule: Schedule) -> None:
        self.schedule, self.machine = schedule, schedule.machine
        machine = self.machine
        self.bases = bases(schedule)
        self.axes = _Axes()
        self.tables: dict[tuple[int, int, int, int], int] = {}
        self.weights: list[list[int]] = [[] for _ in range(machine.weight_memories)]
        self.parameters: list[list[list[int]]] = [
            [[] for _ in range(machine.fire.count)] for _ in range(machine.cores)
        ]
        self.keeps = [_keeps(schedule, core) for core in range(machine.cores)]
        self.program: list[int] = []

    def images(self) -> Images:
        self._each(Opcode.KEEP, 1, lambda core: self.keeps[core][INPUT])
        for layer in self.schedule.layers:
            self._layer(layer)
            if layer.index == 0:
                self._instruct(Opcode.FRAME)
            self._instruct(Opcode.RUN)
        self._instruct(Opcode.END)
        machine, widths = self.machine, self.machine.widths
        axis = [entry.encode(widths) for entry in self.axes.entries]
        _fits("program memory", len(self.program), machine.program_words)
        _fits("axis memory", len(axis), machine.walker.axis_entries)
        return Images(self.program, axis, self.weights, self.parameters)

    # -- program ---------------------------------------------------------------------------------

    def _instruct(
        self, opcode: Opcode, core: int = ALL_CORES, index: int = 0, record: Record | None = None
    ) -> None:
        widths = self.machine.widths
        size = 0 if record is None else record_words(RECORDS[opcode], widths)
        self.program.append(Instruction(opcode, core, index, size).encode(widths))
        if record is not None:
            bits = record.encode(widths)
            self.program += [bits >> WORD * n & (1 << WORD) - 1 for n in range(size)]

    def _each(self, opcode: Opcode, index: int, made: Callable[[int], Record]) -> None:
        """A record of every core; one for all where all are equal."""
        records = [made(core) for core in range(self.machine.cores)]
        if len(set(records)) == 1:
            self._instruct(opcode, ALL_CORES, index, records[0])
            return
        for core, record in enumerate(records):
            self._instruct(opcode, core, index, record)

    def _layer(self, layer: LayerSchedule) -> None:
        self._instruct(Opcode.LAYER, record=layer_record(layer))
        shares = self._shares(layer)
        self._each(Opcode.SHARE, 0, lambda core: shares[core])
        if layer.send is Send.PLANES:
            self._each(Opcode.KEEP, 0, lambda core: self.keeps[core][layer.index])
        for number in range(len(layer.readings)):
            made = [self._source(layer, number, core) for core in range(self.machine.cores)]
            self._each(Opcode.SOURCE, number, lambda core, made=made: made[core])  # type: ignore[misc]
        for number, one in enumerate(layer.passes):
            self._instruct(
                Opcode.PASS,
                index=number,
                record=PassRecord(one.reading, one.plane, one.doubles, 0),
            )

    def _source(self, layer: LayerSchedule, number: int, core: int) -> SourceRecord:
        reading, widths = layer.readings[number], self.machine.widths
        rows, source = layer.field(reading), reading.map
        keep = self.keeps[core][reading.source]
        top = WORD - source.values
        return SourceRecord(
            base=(keep.at - keep.start) % (1 << widths["spike"]),
            frame=reading.source == INPUT,
            blocks=source.blocks - 1,
            word_step=source.blocks * source.time_words,
            block_step=source.time_words,
            row_step=source.row_words,
            time_step=source.planes,
            weight_base=(layer.first_row(number) - top) % (1 << widths["weight"]),
            weight_word=rows.word,
            weight_block=rows.block,
            weight_row=rows.row,
            axis_y=self._axis(layer, number, 0, core),
            axis_x=self._axis(layer, number, 1, core),
        )

    def _axis(self, layer: LayerSchedule, number: int, axis: int, core: int) -> int:
        """Where the axis table lies; all cores have the same unless they take words in turn."""
        key = layer.index, number, axis, core * layer.placement.turns
        if key not in self.tables:
            self.tables[key] = self.axes.place(axis_table(layer, number, axis, core))
        return self.tables[key]

    # -- shares, weights and parameters ----------------------------------------------------------

    def _shares(self, layer: LayerSchedule) -> list[ShareRecord]:
        for memory, rows in enumerate(self.weights):
            for group in range(*groups_in(layer, memory)):
                rows += weight_rows(layer, group, self.machine)
        return [self._share(layer, core) for core in range(self.machine.cores)]

    def _share(self, layer: LayerSchedule, core: int) -> ShareRecord:
        share, place = layer.share(core), layer.placement
        if share.idle:
            return ShareRecord()
        base = self.bases[layer.index][core]
        for group in range(share.first_group, share.first_group + share.groups):
            for unit, words in enumerate(self.parameters[core]):
                words += parameter_words(layer, group, unit)
        y, x = layer.tile(share.words[0])
        if layer.send is Send.PLANES:
            sent = layer.map
            out = (share.words[0] * sent.blocks + share.first_group) * sent.time_words
        else:
            out = layer.output_address(share.first_group * layer.pitch, y, x)
        return ShareRecord(
            groups=share.groups,
            tiles=len(share.words) * place.word - 1,
            first=layer.period * place.word - 1 - (0 if place.turns else x),
            item_y=0 if place.turns else y * layer.parts[0],
            item_x=0 if place.turns else x * layer.parts[1],
            weight_base=base.weight,
            parameter_base=base.parameter,
            out=out,
        )


def layer_record(layer: LayerSchedule) -> LayerRecord:
    """What all cores know of `layer`."""
    place, spec, network = layer.placement, layer.layer.neuron, layer.network
    planes = layer.send is Send.PLANES
    position = layer.groups * layer.pitch
    return LayerRecord(
        layer=layer.index,
        steps=network.steps - 1,
        walks=layer.walks - 1,
        driven=network.input_steps - 1,
        hold=layer.direct,
        passes=len(layer.passes) - 1,
        shift=layer.shift,
        weight_group=layer.group_rows,
        model=MODELS.index(spec.model),
        holds=spec.tie is Tie.HOLDS,
        zero=spec.reset is Reset.ZERO,
        levels=spec.levels or int(spec.fires),
        slots=layer.slots - 1,
        members=place.members[0] * place.members[1] - 1,
        windows=place.windows - 1,
        parts_y=layer.parts[0] - 1,
        parts_x=layer.parts[1] - 1,
        row=layer.period * place.word - 1,
        send=layer.send,
        planes=layer.map.planes - 1 if planes else 0,
        word=place.word - 1,
        out_word=layer.step * (layer.map.blocks * layer.map.time_words if planes else position),
        out_group=layer.map.time_words if planes else layer.pitch,
    )


def axis_table(layer: LayerSchedule, number: int, axis: int, core: int = 0) -> list[AxisEntry]:
    """Entries of the item rows (axis 0) or item columns (axis 1) of reading `number`.

    Of a core that takes words in turn they are those of its own rows and columns; the column's
    entries bring it down where its words do.
    """
    parts = layer.parts[axis]
    if not layer.placement.turns:
        count = (layer.height, layer.tiles_x)[axis] * parts
        return [_axis_entry(layer, number, axis, item) for item in range(count)]
    words, table = layer.share(core).words, []
    if axis == 0:
        for word in words[:: layer.period]:
            items = range(layer.tile(word)[0] * parts, (layer.tile(word)[0] + 1) * parts)
            table += [_axis_entry(layer, number, 0, item) for item in items]
        return table
    reading = layer.readings[number]
    row = layer.placement.pool[0] * reading.stride[0] * reading.map.row_words
    for word in words[: layer.period]:
        down = layer.tile(word)[0] - layer.tile(words[0])[0]
        first = layer.tile(word)[1] * parts
        items = range(first, first + layer.placement.word * parts)
        table += [_axis_entry(layer, number, 1, item, down * row) for item in items]
    return table


def _axis_entry(
    layer: LayerSchedule, number: int, axis: int, item: int, down: int = 0
) -> AxisEntry:
    """The entry of one item row or column; a column's field begins `down` words further."""
    reading, widths = layer.readings[number], layer.machine.widths
    rows, source = layer.field(reading), reading.map
    top = WORD - source.values
    first, last, cut = layer.span(reading, axis, item)
    if axis == 0:
        return AxisEntry(first * source.row_words, cut * rows.row, last - first)
    if last < first:  # a tile beyond the width: one word, of which nothing is used
        return AxisEntry(low=WORD - 1)
    word, end = first // source.columns, last // source.columns
    ahead = first - word * source.columns
    return AxisEntry(
        spike=(word * source.blocks * source.time_words + down) % (1 << widths["spike"]),
        weight=(cut - ahead) * rows.tap % (1 << widths["weight"]),
        count=end - word,
        low=top + ahead * source.pitch,
        high=top + (last - end * source.columns + 1) * source.pitch - 1,
    )


def tap_rows(layer: LayerSchedule, reading: Reading) -> Ints:
    """The row of each tap (y, x) and source channel, for the first position of an item."""
    rows, source = layer.field(reading), reading.map
    _, c, ky, kx = reading.weight.shape
    channel = np.arange(c)
    block = channel // source.pitch * rows.block + channel % source.pitch
    taps: Ints = np.arange(ky)[:, None, None] * rows.row + np.arange(kx)[:, None] * rows.tap + block
    return taps


def weight_rows(layer: LayerSchedule, group: int, machine: Machine) -> list[int]:
    """The weight rows of a channel group: for every tap of the united fields, a weight a lane."""
    channels = slice(group * layer.pitch, (group + 1) * layer.pitch)
    found = []
    for reading in layer.readings:
        rows, first = layer.field(reading), tap_rows(layer, reading)
        weight = reading.weight[channels]
        out = len(weight)
        lanes = np.zeros((rows.rows, machine.lanes.count), np.int64)
        for k, (dy, dx) in enumerate(layer.offsets()):
            at = first + dy * reading.stride[0] * rows.row + dx * reading.stride[1] * rows.tap
            lanes[at, k * layer.pitch : k * layer.pitch + out] = weight.transpose(2, 3, 1, 0)
        found.append(lanes)
    return _joined(np.concatenate(found), machine.lanes.weight_bits)


def parameter_words(layer: LayerSchedule, group: int, unit: int) -> list[int]:
    """The parameter words of a channel group for fire unit `unit`: two for each slot."""
    fire, source = layer.machine.fire, layer.layer
    least = -(1 << fire.drive_bits - 1)
    words = []
    for slot in range(layer.slots):
        channel = group * layer.pitch + slot * fire.count + unit
        threshold, bias, initial = (1 << fire.threshold_bits) - 1, 0, 0
        if layer.send is Send.MEMBRANES:
            threshold, initial = 0, least
        if channel < source.shape[0]:
            threshold = int(source.threshold[channel])
            bias = int(source.bias[channel])
            initial = int(source.initial[channel])
            if source.neuron.model is NeuronModel.BURST:
                initial += threshold // 2
        for drive in (bias, bias + initial):
            if not least <= drive < -least or not 0 <= threshold < 1 << fire.threshold_bits:
                raise SpikewrightError(
                    f"layer {source.name}, channel {channel}: threshold {threshold} and drive "
                    f"{drive} do not fit {fire.threshold_bits} and {fire.drive_bits} bits"
                )
            low = drive & (1 << fire.drive_bits) - 1
            words.append(threshold | low << fire.threshold_bits)
    return words


# ----------------------------------------------------------------------------------- spike memories


def _keeps(schedule: Schedule, core: int) -> dict[int, KeepRecord]:
    """For every map, and the frame, the slice that `core` keeps and where.

    A map's words stay until its last reader has run. The frame's place is its own, and the same in
    the upper half of the memory, where the next frame comes in.
    """
    depth = schedule.machine.spikes.words
    taken: dict[int, tuple[int, int]] = {}
    keeps = {}
    frame: list[tuple[int, int]] = []
    for source, made in schedule.maps.items():
        first, end = schedule.rows_read(source, core)
        words = (end - first) * made.row_words
        if source == INPUT:
            at, frame = 0, [(0, words), (depth // 2, words)]
            _fits("spike memory (frame)", words, depth // 2)
        else:
            live = [taken[i] for i in taken if max(schedule.readers(i), default=i) >= source]
            at = first_fit(words, [*frame, *live])
            taken[source] = (at, words)
            _fits("spike memory", at + words, depth)
        keeps[source] = KeepRecord(first * made.row_words, words, at if words else 0)
    return keeps


def _fits(what: str, needed: int, depth: int) -> None:
    if needed > depth:
        raise SpikewrightError(
            f"{what}: needs {needed} words, the machine has {depth}; take more cores, more words, "
            "or a smaller network"
        )


def _joined(values: Ints, bits: int) -> list[int]:
    """Each row as one number, the first value in the lowest bits."""
    masked = (values & (1 << bits) - 1).tolist()
    return [sum(value << bits * lane for lane, value in enumerate(row)) for row in masked]
