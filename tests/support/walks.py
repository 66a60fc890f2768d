"""Random records for the front of a core, what the interpreter makes of them, and a test bed."""

from dataclasses import fields, replace

import numpy as np
from amaranth.hdl import Array, Module, Signal
from amaranth.lib import data, wiring
from amaranth.sim import Simulator

from spikewright.hw.cells.memory import BlockMemory
from spikewright.hw.cores.streams import record_layout
from spikewright.machine.blocks import WORD, Lanes, Machine, Picker, SpikeMemory, Walker
from spikewright.machine.configuration import (
    AxisEntry,
    KeepRecord,
    LayerRecord,
    PassRecord,
    RouterWord,
    ShareRecord,
    SourceRecord,
)
from spikewright.sim.interpreter.core import Configuration, Core


def small_machine(sources=1, queue=16):
    """A machine whose addresses wrap soon."""
    return Machine(
        walker=Walker(64, sources=sources, passes=8),
        spikes=SpikeMemory(64),
        lanes=Lanes(weight_rows=64),
        picker=Picker(queue),
    )


def random_core(rng, machine, most_words=600, items=(1, 40)):
    """A core with random records and an axis table, whose items have so many words in all."""
    while True:
        core = _random_core(rng, machine)
        count = len(list(core._items()))
        if items[0] <= count <= items[1] and sum(1 for _ in walked(core)) <= most_words:
            return core


def _random_core(rng, machine):
    def draw(high, low=0):
        return int(rng.integers(low, high + 1))

    axis = [
        AxisEntry(draw(63), draw(63), draw(2) * draw(1), draw(35), draw(35))
        if draw(9)
        else AxisEntry(low=35)
        for _ in range(64)
    ]
    core = Core(machine, axis, np.zeros((64, 16), np.int64), [[0, 0]] * machine.fire.count)
    layer = LayerRecord(
        walks=draw(2),
        passes=draw(3),
        weight_group=draw(63),
        parts_y=draw(2) * draw(1),
        parts_x=draw(2) * draw(1),
        row=draw(3),
        word=draw(2),
    )
    layer = replace(layer, steps=layer.walks)
    share = ShareRecord(
        groups=draw(3, 1),
        tiles=draw(4),
        first=draw(layer.row),
        item_y=draw(4),
        item_x=draw(4),
        weight_base=draw(63),
    )
    sources = {
        n: SourceRecord(
            *(draw(63), draw(1), draw(2) * draw(1)),
            *(draw(63) for _ in range(8)),
            *(draw(20), draw(20)),
        )
        for n in range(machine.walker.sources)
    }
    passes = {
        n: PassRecord(draw(machine.walker.sources - 1), draw(15), draw(3), draw(1))
        for n in range(machine.walker.passes)
    }
    core.configuration = Configuration(layer, share, KeepRecord(), sources, passes)
    core.bank = draw(1)
    return core


def field_of(core, item, source):
    """The layout's `field` of an item, as numbers."""
    layer, share = core.configuration.layer, core.configuration.share
    y, x = core.axis[source.axis_y + item.row], core.axis[source.axis_x + item.column]
    spike = (source.base + y.spike + x.spike) % core.machine.spikes.words
    if source.frame and core.bank:
        spike ^= core._top
    weight = share.weight_base + item.group * layer.weight_group + source.weight_base
    return {
        "spike": spike,
        "weight": (weight + y.weight + x.weight) % core.machine.lanes.weight_rows,
        "rows": y.count,
        "words": x.count,
        "low": x.low,
        "high": x.high,
    }


def items_of(core):
    """The layout's `item` of each item, as numbers."""
    items, share = list(core._items()), core.configuration.share
    for place, item in enumerate(items):
        ends = place + 1 == len(items)
        yield {
            "fields": [field_of(core, item, s) for s in core.configuration.sources.values()],
            "mark": {
                "first": int(item.first),
                "last": int(item.last),
                "begins": int(item.begins),
                "fills": int(item.fills),
                "group": int(ends or items[place + 1].group != item.group),
                "end": int(ends and item.group == share.groups - 1),
            },
        }


def walked(core):
    """``(address, walked)`` of each word, as numbers, by loops over what items give."""
    layer, records = core.configuration.layer, core.configuration
    depth, weight_rows = core.machine.spikes.words, core.machine.lanes.weight_rows
    for item in items_of(core):
        for t in range(layer.walks + 1):
            for number in range(layer.passes + 1):
                digit = records.passes[number]
                source, field = records.sources[digit.source], item["fields"][digit.source]
                shape = (field["rows"] + 1, source.blocks + 1, field["words"] + 1)
                for row, block, word in np.ndindex(shape):
                    address = field["spike"] + t * source.time_step + digit.offset
                    address += row * source.row_step + block * source.block_step
                    at = field["weight"] + row * source.weight_row + block * source.weight_block
                    opens = not row + block + word
                    final = (row + 1, block + 1, word + 1) == shape
                    yield (
                        (address + word * source.word_step) % depth,
                        {
                            "row": (at + word * source.weight_word) % weight_rows,
                            "low": field["low"],
                            "high": field["high"],
                            "cut_low": int(word == 0),
                            "cut_high": int(word == field["words"]),
                            "doubles": digit.doubles,
                            "negative": digit.negative,
                            "opens": int(opens),
                            "begins": int(opens and not number),
                            "ends": int(final and number == layer.passes),
                            "mark": item["mark"],
                        },
                    )


def entries_of(core):
    """What enters the queue, by the interpreter's events: rows of a word's bits, and its flags."""
    layer, records = core.configuration.layer, core.configuration
    for item, made in zip(core._items(), items_of(core), strict=True):
        for t in range(layer.walks + 1):
            fresh, pending = True, 0
            for number in range(layer.passes + 1):
                digit = records.passes[number]
                source = records.sources[digit.source]
                pending = 0 if fresh else pending + digit.doubles
                events, bits = core._events(item, source, digit.offset, t)
                events, at = (events % core.machine.lanes.weight_rows).tolist(), 0
                for place, count in enumerate(bits.tolist()):
                    ends = number == layer.passes and place + 1 == len(bits)
                    if count or ends:
                        yield {
                            "rows": events[at : at + count],
                            "doubles": pending,
                            "negative": digit.negative,
                            "fresh": int(fresh),
                            "ends": int(ends),
                            "mark": made["mark"],
                        }
                    if count:
                        fresh, pending = False, 0
                    at += count


def random_words(rng, core, count=300):
    """Router words for the core, some of which it keeps; the interpreter's core receives them."""
    words = []
    core.configuration.keep, core.frame_keep = (
        KeepRecord(int(rng.integers(1 << 16)), int(rng.integers(65)), int(rng.integers(64)))
        for _ in range(2)
    )
    for _ in range(count):
        kind = int(rng.choice([0, 0, 1, 2]))
        keep = core.frame_keep if kind == 1 else core.configuration.keep
        data_word = int(rng.integers(1 << WORD)) & int(rng.integers(1 << WORD))
        data_word &= int(rng.integers(1 << WORD)) * int(rng.integers(2))
        address = (keep.start + int(rng.integers(-3, 70))) % (1 << 16)
        if rng.random() < 0.1:
            data_word, address = 1 << int(rng.integers(WORD)), int(rng.integers(1 << 16))
        words.append(RouterWord(data_word, address, kind))
        core.receive(words[-1])
    return words


class Bed(wiring.Component):
    """Holds the records and the axis table around blocks that are connected by `connect`."""

    def __init__(self, core, blocks):
        self.core, self.blocks = core, blocks
        machine = core.machine
        self.layer = Signal(record_layout(LayerRecord, machine))
        self.share = Signal(record_layout(ShareRecord, machine))
        walker = machine.walker
        self.sources = Signal(
            data.ArrayLayout(record_layout(SourceRecord, machine), walker.sources)
        )
        self.passes = Signal(data.ArrayLayout(record_layout(PassRecord, machine), walker.passes))
        super().__init__({})

    def elaborate(self, platform):
        m = Module()
        blocks, machine = self.blocks, self.core.machine
        sources = Array(self.sources[i] for i in range(len(self.sources)))
        passes = Array(self.passes[i] for i in range(len(self.passes)))
        for name, block in blocks.items():
            m.submodules[name] = block
            for record in ("layer", "share"):
                if hasattr(block, record):
                    m.d.comb += getattr(block, record).eq(getattr(self, record))
            if hasattr(block, "source"):
                m.d.comb += block.source.eq(sources[block.source_number])
            if hasattr(block, "digit"):
                m.d.comb += block.digit.eq(passes[block.pass_number])
            if hasattr(block, "bank"):
                m.d.comb += block.bank.eq(self.core.bank)
        if "items" in blocks:
            axis = [entry.encode(machine.widths) for entry in self.core.axis]
            bits = AxisEntry.size(machine.widths)
            m.submodules.axis = memory = BlockMemory(bits, machine.walker.axis_entries, axis)
            m.d.comb += memory.address.eq(blocks["items"].axis_address)
            m.d.comb += blocks["items"].axis.eq(memory.data)
        if {"items", "walker"} <= set(blocks):
            wiring.connect(m, blocks["items"].o, blocks["walker"].items)
        if {"walker", "gather"} <= set(blocks):
            walker, gather = blocks["walker"], blocks["gather"]
            m.d.comb += [
                gather.issued.eq(walker.issued),
                gather.address.eq(walker.address),
                gather.walked.eq(walker.walked),
                gather.valid.eq(walker.valid),
                walker.room.eq(gather.room),
            ]
        return m

    def configure(self, ctx, made):
        """The records of a configuration."""
        ctx.set(self.layer, numbers(made.layer))
        ctx.set(self.share, numbers(made.share))
        for signal, records, empty in (
            (self.sources, made.sources, SourceRecord()),
            (self.passes, made.passes, PassRecord()),
        ):
            ctx.set(signal, [numbers(records.get(i, empty)) for i in range(len(signal))])

    def run(self, bench):
        simulator = Simulator(self)
        simulator.add_clock(1e-6)
        simulator.add_testbench(bench)
        simulator.run()


def numbers(record):
    """A record's fields by name."""
    return {field.name: getattr(record, field.name) for field in fields(record)}


def read(ctx, view):
    """The numbers in a view, nested as its layout is."""
    layout = view.shape()
    if isinstance(layout, data.StructLayout):
        return {
            name: read(ctx, view[name])
            if isinstance(shape.shape, data.Layout)
            else ctx.get(view[name])
            for name, shape in layout
        }
    return [read(ctx, view[i]) for i in range(layout.length)]
