"""Walker: the addresses of an item's words, step by step, pass by pass, in the field's order."""

from __future__ import annotations

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from spikewright.hw.cells.arithmetic import Lut
from spikewright.hw.cells.counter import advance, countdown
from spikewright.hw.cores.lanes import delayed
from spikewright.hw.cores.streams import Layouts, record_layout
from spikewright.machine.blocks import Machine
from spikewright.machine.configuration import LayerRecord, PassRecord, SourceRecord

__all__ = ["Walker"]

_STEPS = ("row_step", "weight_row"), ("block_step", "weight_block"), ("word_step", "weight_word")


def all_of(m: Module, name: str, *bits: Value, invert: bool = False) -> Value:
    """Whether all of up to four bits are set, or not, in a LUT of its own."""
    m.submodules[name] = lut = Lut(lambda a, b, c, d: (a & b & c & d) ^ invert)
    m.d.comb += Cat(lut.a, lut.b, lut.c, lut.d).eq(Cat(*bits, Const(-1, 4)))
    return lut.output


class Walker(wiring.Component):
    """Takes items and gives the words of their fields in all passes and steps.

    A pipeline: counters say which word is next and what begins with it; then the first addresses
    of its pass, its row, its block and itself follow each other, an addition each.

    Latency: :attr:`latency` clocks from a word's `issued` to its `address`. Throughput: a word a
    clock, across rows, passes, steps, and items of :attr:`apart` words or more, which wait.

    Members
    -------
    items
        They are taken at least :attr:`apart` clocks apart.
    pass_number, digit, source_number, source
        Combinational: the records of that pass, and of its source. It is the pass that follows.
    room
        While low, no word is issued in the clocks after.
    issued
        A word was begun in the clock before; so many clocks later it is there.
    address, walked, valid
        The word.
    """

    def __init__(self, machine: Machine) -> None:
        self._sources, self._latency = machine.walker.sources, machine.walker.latency
        layouts, widths = Layouts(machine), machine.widths
        self._field = layouts.field
        super().__init__(
            {
                "layer": In(record_layout(LayerRecord, machine)),
                "items": In(stream.Signature(layouts.item)),
                "pass_number": Out(widths["pass"]),
                "digit": In(record_layout(PassRecord, machine)),
                "source_number": Out(widths["source"]),
                "source": In(record_layout(SourceRecord, machine)),
                "room": In(1),
                "issued": Out(1),
                "address": Out(widths["spike"]),
                "walked": Out(layouts.walked),
                "valid": Out(1),
            }
        )

    @property
    def apart(self) -> int:
        """Clocks between two items, at least: what is known of one waits for its first address."""
        return self.latency

    @property
    def latency(self) -> int:
        """Clocks from `issued` to `address`; with several sources their starts take one."""
        return self._latency

    def elaborate(self, platform):
        m = Module()
        self._outer = Signal(name="outer")  # all but the word are the last of theirs
        held = Signal(data.ArrayLayout(self._field, self._sources), reset_less=True)
        mark = Signal.like(self.items.payload.mark, reset_less=True)
        current = Signal(self._current, reset_less=True)
        ends, go = self._counters(m, held, current)
        # Of the word that the counters hold: what begins with it, and whether it was just issued.
        begins = Signal(5)  # block (and word of a row), row, pass, step, item
        new, spaced = Signal(), Signal(init=1)
        waits = all_of(m, "item", self.items.valid, spaced, invert=True)
        m.submodules.goes = goes = Lut(lambda a, b, c, d: a & ~(b & c & d))
        m.d.comb += [
            Cat(goes.a, goes.b, goes.c, goes.d).eq(Cat(self.room, ends[0], self._outer, waits)),
            go.eq(goes.output),
        ]
        m.d.comb += self.items.ready.eq(self.room & ends[4] & spaced)
        m.d.sync += [new.eq(go), begins.eq(Mux(go, Cat(ends), 0))]
        stages = [Cat(new, begins, ends[0], ends[3])]
        for stage in range(self.latency):
            flags = Signal(len(stages[0]), name=f"flags_{stage}")
            m.d.sync += flags.eq(stages[-1])
            stages.append(flags)
        recent = Cat(go & ends[4], *(s[5] for s in stages[:-3])).any()
        m.d.comb += self.issued.eq(new)
        m.d.sync += spaced.eq(~recent)
        if self._sources > 1:
            first, weight = self._starts(m, held, current, begins)
        else:
            first, weight = self._start(m, held, go, ends), held[0].weight
        with m.If(go & ends[4]):
            m.d.sync += [held.eq(self.items.payload.fields), mark.eq(self.items.payload.mark)]
        self._sums(m, stages, current, first, weight)
        self._outputs(m, stages, current, held, mark)
        return m

    @property
    def _current(self) -> data.StructLayout:
        """What the pass of the word has of its digit, field and source."""
        own = ("offset", "doubles", "negative"), ("words", "low", "high")
        steps = [name for pair in _STEPS for name in pair]
        names = (*own[1], "blocks", "source", "time_step", *steps) if self._sources > 1 else ()
        known = {
            **dict(self.source.shape().members),
            **dict(self._field.members),
            **dict(self.digit.shape().members),
        }
        return data.StructLayout({name: known[name] for name in (*own[0], *names)})

    def _following(self, ends: list[Value], held: Value, name: str) -> Value:
        """A number of the field that the next pass begins with: of this item or the next one's."""
        fields = self.items.payload.fields
        choice = [Mux(ends[4], fields[i][name], held[i][name]) for i in range(self._sources)]
        return Array(choice)[self.digit.source] if self._sources > 1 else choice[0]

    def _counters(self, m: Module, held: Value, current: Value) -> tuple[list[Value], Signal]:
        """Whether the word is the last of row, block, ... item; and the strobe to the next."""
        layer, digit, source = self.layer, self.digit, self.source
        several = self._sources > 1
        go, ends = Signal(), [Signal(name=f"ends_{i}") for i in range(5)]
        words, blocks = self._following(ends, held, "words"), source.blocks
        if several:
            words = Mux(ends[2], words, current.words)
            blocks = Mux(ends[2], blocks, current.blocks)
        word = countdown(m, "word", words, ends[0], go)
        block = countdown(m, "block", blocks, ends[1], go & ends[0])
        rows = self._following(ends, held, "rows")
        row = countdown(m, "row", rows, ends[2], go & ends[1])
        step = countdown(m, "step", layer.walks, ends[4], go & ends[3])
        number, final, over = Signal.like(self.pass_number), Signal(init=1), Signal()
        m.d.comb += [
            ends[0].eq(word),
            ends[1].eq(word & block),
            ends[2].eq(word & block & row),
            ends[3].eq(all_of(m, "pass_ends", word, block, row, final)),
            self._outer.eq(all_of(m, "outer", block, row, final, step)),
            ends[4].eq(word & self._outer),
            over.eq(number == layer.passes),
            self.pass_number.eq(number),
            self.source_number.eq(digit.source if several else 0),
        ]
        with m.If(go & ends[2]):
            m.d.sync += [final.eq(over), number.eq(Mux(over, 0, number + 1))]
            for name in current.shape().members:
                if name in digit.shape().members:
                    value = digit[name]
                elif name in self._field.members and name in ("words", "low", "high"):
                    value = self._following(ends, held, name)
                else:
                    value = source[name]
                m.d.sync += current[name].eq(value)
        return ends, go

    def _start(self, m: Module, held: Value, go: Value, ends: list[Value]) -> Value:
        """First address of the step, of the only source."""
        start = Signal(len(self.address), name="start", reset_less=True)
        spike = self.items.payload.fields[0].spike
        advance(m, start, go & ends[3], self.source.time_step, ends[4], spike)
        return start

    def _starts(self, m: Module, held: Value, current: Value, begins: Value) -> tuple[Value, Value]:
        """First address of the step in the pass's source, and its weight row.

        A source goes on to a step with its first pass there: till then it is `stale`.
        """
        stale, old = Signal(self._sources), Signal(self._sources)
        number, fields = current.source, [held[i] for i in range(self._sources)]
        start, weight = (
            Signal.like(getattr(held[0], name), name=f"start_{name}", reset_less=True)
            for name in ("spike", "weight")
        )
        total = Signal.like(start)
        m.d.comb += [
            old.eq(Mux(begins[4], 0, stale | begins[3].replicate(self._sources))),
            total.eq(
                Array([f.spike for f in fields])[number]
                + Mux(old.bit_select(number, 1), current.time_step, 0)
            ),
        ]
        with m.If(begins[2]):
            m.d.sync += [
                start.eq(total),
                weight.eq(Array([f.weight for f in fields])[number]),
                stale.eq(old & ~(1 << number)),
                Array([f.spike for f in fields])[number].eq(total),
            ]
        return start, weight

    def _sums(
        self, m: Module, stages: list[Value], current: Value, first: Value, weight: Value
    ) -> None:
        """First addresses and weight rows of pass, row and block, then the word's own."""
        several = self._sources > 1
        stage = int(several)
        offset = delayed(m, current.offset, stage, "offset")[-1]
        spikes, rows = (
            [Signal(len(value), name=f"{name}_{i}", reset_less=True) for i in range(4)]
            for name, value in (("spike", first), ("row", weight))
        )
        with m.If(stages[stage][3]):
            m.d.sync += [spikes[0].eq(first + offset), rows[0].eq(weight)]
        for level, (spike_step, row_step) in enumerate(_STEPS, 1):
            stage += 1
            anew, moves = stages[stage][4 - level], stages[stage][3 - level]
            for sums, name in ((spikes, spike_step), (rows, row_step)):
                by = self.source[name]
                if several:
                    by = delayed(m, current[name], stage, name)[-1]
                advance(m, sums[level], moves, by, anew, sums[level - 1])
        m.d.comb += [self.address.eq(spikes[3]), self.walked.row.eq(rows[3])]

    def _outputs(
        self, m: Module, stages: list[Value], current: Value, held: Value, mark: Value
    ) -> None:
        """The word's other numbers: those of the item are taken over late, before another's."""
        walked, flags = self.walked, stages[-1]
        digit = Cat(current.doubles, current.negative)
        m.d.comb += [
            self.valid.eq(flags[0]),
            Cat(walked.cut_low, walked.cut_high).eq(Cat(flags[1], flags[6])),
            Cat(walked.opens, walked.begins, walked.ends).eq(Cat(flags[3], flags[4], flags[7])),
            Cat(walked.doubles, walked.negative).eq(delayed(m, digit, self.latency, "digit")[-1]),
        ]
        field = held[0] if self._sources == 1 else current
        bounds = Cat(field.low, field.high)
        if self._sources > 1:
            bounds = delayed(m, bounds, self.latency, "bounds")[-1]
            m.d.comb += Cat(walked.low, walked.high).eq(bounds)
        taken = Signal.like(mark, name="taken_mark", reset_less=True)
        kept = Signal(len(bounds), name="kept_bounds", reset_less=True)
        with m.If(stages[-2][5]):
            m.d.sync += [taken.eq(mark), kept.eq(bounds)]
        m.d.comb += walked.mark.eq(taken)
        if self._sources == 1:
            m.d.comb += Cat(walked.low, walked.high).eq(kept)
