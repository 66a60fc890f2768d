"""Items: what a core computes next, and where the fields of that lie in its sources."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from spikewright.hw.cells.counter import advance, countdown
from spikewright.hw.cores.streams import Layouts, record_layout
from spikewright.machine.blocks import Machine
from spikewright.machine.blocks import Walker as Contract
from spikewright.machine.configuration import AxisEntry, LayerRecord, ShareRecord, SourceRecord

__all__ = ["Items"]


class Items(wiring.Component):
    """Offers the items of a core's share: groups, tiles row after row, parts of a tile.

    Of each source two axis entries are read, and their numbers summed up with the source's. The
    counters rest while that goes on; whatever depends on several of them is a register.

    Latency: :attr:`FIRST` clocks more than a source's from `start` to the first item. Throughput:
    from the clock in which an item is taken to the next are :attr:`FETCH` clocks a source; all
    sources that the machine has are fetched.

    Members
    -------
    layer, share, start
        In the clock of `start` and after it the records are the new layer's. A share without
        groups has no items.
    source_number, source
        Combinational: the record of that source.
    bank
        The half of the spike memory where the frame is read.
    axis_address, axis
        The axis memory; an entry follows its address by two clocks.
    o
        The items. The payload is changed from the clock after it is taken.
    """

    FETCH = Contract.fetch
    FIRST = Contract.first

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        widths = machine.widths
        super().__init__(
            {
                "layer": In(record_layout(LayerRecord, machine)),
                "share": In(record_layout(ShareRecord, machine)),
                "start": In(1),
                "source_number": Out(widths["source"]),
                "source": In(record_layout(SourceRecord, machine)),
                "bank": In(1),
                "axis_address": Out(widths["axis"]),
                "axis": In(record_layout(AxisEntry, machine)),
                "o": Out(stream.Signature(Layouts(machine).item)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        idle, begins, at_y, load, row, column, final = (
            Signal(name=n) for n in ("idle", "begins", "at_y", "load", "row", "column", "final")
        )
        offset = Signal.like(self.share.weight_base, reset_less=True)
        number = Signal.like(self.source_number)
        m.d.comb += [
            self.source_number.eq(number),
            final.eq(number == self._machine.walker.sources - 1),
        ]
        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        none, end = self._counters(m, idle, begins, column & final, at_y, offset)
        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += idle.eq(1)
                with m.If(self.start):
                    m.next = "GROUPS"
            with m.State("GROUPS"):
                m.d.comb += begins.eq(1)
                m.next = "WAIT"
                with m.If(none):
                    m.next = "IDLE"
            with m.State("WAIT"):  # for the item to be taken; the next row's entry is read
                m.d.comb += at_y.eq(1)
                with m.If(~self.o.valid | self.o.ready):
                    m.next = "LOAD"
            with m.State("LOAD"):
                m.d.comb += load.eq(1)
                m.next = "ROW"
            with m.State("ROW"):
                m.d.comb += row.eq(1)
                m.next = "COLUMN"
            with m.State("COLUMN"):
                m.d.comb += column.eq(1)
                m.next = "NEXT" if self._machine.walker.sources > 1 else "WAIT"
                with m.If(final):
                    m.d.sync += [number.eq(0), self.o.valid.eq(1)]
                    m.next = "WAIT"
                    with m.If(end):
                        m.next = "IDLE"
                with m.Else():
                    m.d.sync += number.eq(number + 1)
            if self._machine.walker.sources > 1:
                with m.State("NEXT"):
                    m.d.comb += at_y.eq(1)
                    m.next = "LOAD"
        self._fields(m, offset, load, row, column)
        return m

    def _counters(
        self, m: Module, idle: Value, begins: Value, taken: Value, at_y: Value, offset: Signal
    ) -> tuple[Value, Value]:
        """Group, tile and part, and the axis address; whether no group is left, and the end.

        They step where an item is made; while idle they are loaded, as at the end of a group.
        """
        layer, share, mark = self.layer, self.share, self.o.payload.mark
        step = Signal()
        m.d.comb += step.eq(idle | taken)
        # Ends of: a part's row, a tile, a tile and its row, its word, its group, the share.
        part, tile, row, word, group = (
            Signal(name=f"{name}_ends") for name in ("part", "tile", "row", "word", "group")
        )
        end, back = Signal(), Signal()
        x = countdown(m, "parts_x", layer.parts_x, part, step)
        y = countdown(m, "parts_y", layer.parts_y, tile, step & part)
        left = Mux(group, share.first, layer.row)
        left = countdown(m, "left", left, row | group, step & tile)
        tiles = countdown(m, "tiles", share.tiles, group, step & tile)
        place = countdown(m, "place", layer.word, word, step & tile)
        groups = Signal(len(share.groups))
        none = groups == 0
        advance(m, groups, idle | begins | (step & group), -1, idle, share.groups)
        over = Signal()
        m.d.sync += [
            over.eq(none),
            part.eq(idle | x),
            tile.eq(idle | (x & y)),
            row.eq(idle | (x & y & left)),
            word.eq(idle | place | tiles),
            group.eq(idle | (x & y & tiles)),
            back.eq(idle | (x & Mux(y, left | tiles, 1))),
        ]
        m.d.comb += end.eq(group & over)
        first, fresh = Signal(), Signal()
        with m.If(step):
            m.d.sync += first.eq(tile)
        with m.If(step & tile):
            m.d.sync += fresh.eq(word)
        with m.If(taken):
            m.d.sync += [
                Cat(mark.first, mark.last, mark.begins).eq(Cat(first, tile, fresh)),
                Cat(mark.fills, mark.group, mark.end).eq(Cat(place, group, end)),
            ]
        rows = Signal(len(layer.weight_group))
        advance(m, rows, step & group, layer.weight_group, idle, share.weight_base)
        m.d.sync += offset.eq(rows + self.source.weight_base)
        self._coordinates(m, step, (part, tile, row, group, back), first, at_y)
        return none, end

    def _coordinates(
        self, m: Module, step: Value, ends: tuple[Value, ...], first: Value, at_y: Value
    ) -> None:
        """Row and column of the item, and the axis address of one of them."""
        share = self.share
        part, tile, row, group, back = ends
        bits = len(share.item_y)
        y, x, tile_y, tile_x = (Signal(bits, name=n) for n in ("y", "x", "tile_y", "tile_x"))
        with m.If(first):
            m.d.sync += [tile_y.eq(y), tile_x.eq(x)]
        start = Mux(group, share.item_y, tile_y)
        advance(m, y, step & part, 1, (tile & ~row) | group, start)
        start = Mux(group, share.item_x, Mux(row, 0, tile_x))
        advance(m, x, step, 1, back, start)
        base = Mux(at_y, self.source.axis_y, self.source.axis_x)
        m.d.comb += self.axis_address.eq(base + Mux(at_y, y, x))

    def _fields(self, m: Module, offset: Value, load: Value, row: Value, column: Value) -> None:
        """The sums of a source are made in the last field; the fields move on for the next."""
        fields, axis, source = self.o.payload.fields, self.axis, self.source
        field = fields[-1]
        # The other half of the memory: the top bit is inverted, wherever in the sum.
        base = source.base ^ Cat(Const(0, len(source.base) - 1), source.frame & self.bank)
        spike = Signal.like(field.spike, reset_less=True)
        weight = Signal.like(field.weight, reset_less=True)
        moves = load | row | column
        advance(m, spike, moves, axis.spike, load, base)
        advance(m, weight, moves, axis.weight, load, offset)
        m.d.comb += [field.spike.eq(spike), field.weight.eq(weight)]
        rows, words, low, high = (
            Signal.like(field[n], name=n, reset_less=True) for n in ("rows", "words", "low", "high")
        )
        with m.If(row):
            m.d.sync += rows.eq(axis.count)
        with m.If(column):
            m.d.sync += [words.eq(axis.count), low.eq(axis.low), high.eq(axis.high)]
        m.d.comb += [field.rows.eq(rows), field.words.eq(words)]
        m.d.comb += [field.low.eq(low), field.high.eq(high)]
        for before in reversed(range(len(fields) - 1)):
            moved = Signal(fields[before].shape(), name=f"field_{before}", reset_less=True)
            m.d.comb += fields[before].eq(moved)
            with m.If(load):
                m.d.sync += moved.eq(fields[before + 1])
