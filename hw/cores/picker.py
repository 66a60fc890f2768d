"""Picker: takes the set bits of a word one after the other, and makes an event of each.

    entry --> word of 36 bits --> group of 4 bits --> event
              (9 flags: which      (its lowest set
               groups have bits)    bit goes next)

Every group that is taken from a word gives an event or more, so that the word's groups are chosen
a clock ahead and both loops are short: no carry and no word-wide test lies in them.
"""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from spikewright.hw.cells.arithmetic import Select
from spikewright.hw.cores.streams import MARK, Layouts
from spikewright.machine.blocks import WORD, Machine
from spikewright.machine.blocks import Picker as Contract

__all__ = ["Picker"]

_BITS = 4
_GROUPS = WORD // _BITS


class Picker(wiring.Component):
    """Events of the words that come in, and a hand-over behind each time step.

    A set bit is an event, the lowest first; its row is the word's row plus its number. `doubles`
    are made before: all but one by events of their own, the last with the word's first event. A
    word without bits, which ends a step, is one event more, with the last of its doublings. The
    first event of a step sets the accumulators to zero, and nothing else.

    Latency: an entry that is accepted is an event three clocks later; the hand-over is accepted
    :attr:`LATENCY` clocks before its event. Throughput: an event a clock, also from word to word
    and from step to step; it waits for entries and for hand-overs alone.

    Members
    -------
    i
        See :class:`.Layouts`.
    round
        A time step's hand-over, with the mark of its item. Its event follows.
    event
        See :func:`.event_layout`; there is one if it has `add`, `double` or `clear`.
    """

    LATENCY = Contract.handing
    """Clocks from an accepted hand-over to the last event of its step."""

    FIRST = Contract.latency
    """Clocks from an accepted entry to its first event."""

    def __init__(self, machine: Machine) -> None:
        layouts = Layouts(machine)
        self._row = machine.widths["weight"]
        self._doubles = machine.widths["plane"]
        self._group = data.StructLayout(
            {
                "bits": _BITS,
                "number": (_GROUPS - 1).bit_length(),
                "row": self._row,
                "doubles": self._doubles,
                "negative": 1,
                "clear": 1,
                "ends": 1,
                "mark": MARK,
            }
        )
        super().__init__(
            {
                "i": In(stream.Signature(layouts.entry)),
                "round": Out(stream.Signature(MARK)),
                "event": Out(layouts.event),
            }
        )

    def elaborate(self, platform):
        m = Module()
        valid = Signal()
        group = Signal(self._group, reset_less=True)
        alone, go, done = Signal(), Signal(), Signal()
        bits = group.bits
        hands_over = group.ends & ~alone & self._at_most_one(bits)
        m.d.comb += [
            alone.eq(group.doubles[1:].any()),
            self.round.valid.eq(valid & hands_over),
            self.round.payload.eq(group.mark),
            go.eq(valid & (~hands_over | self.round.ready)),
            done.eq(go & ~alone & self._at_most_one(bits)),
        ]
        with m.If(go):
            m.d.sync += [group.doubles.eq(Mux(alone, group.doubles - 1, 0)), group.clear.eq(0)]
        with m.If(go & ~alone):
            m.d.sync += bits.eq(self._without_lowest(bits))
        self._events(m, group, go, alone)
        free = done | ~valid
        following, offered = self._groups(m, free)
        with m.If(free):
            m.d.sync += [group.eq(following), valid.eq(offered)]
        return m

    @staticmethod
    def _at_most_one(bits: Value) -> Value:
        """Whether at most one bit is set."""
        below, many = bits[0], Const(0, 1)
        for bit in bits[1:]:
            many |= bit & below
            below |= bit
        return ~many

    @staticmethod
    def _without_lowest(bits: Value) -> Value:
        """The bits but the lowest that is set."""
        return Cat(bit & bits[:i].any() for i, bit in enumerate(bits))

    def _events(self, m: Module, group: data.View, go: Value, alone: Value) -> None:
        """The event of this clock, in registers."""
        bits = group.bits
        event = Signal(self.event.shape(), reset_less=True)
        place = Cat(self._lowest_of_four(bits), group.number)
        m.d.sync += [
            event.row.eq(group.row + place),
            event.add.eq(go & ~alone & bits.any()),
            event.double.eq(go & group.doubles.any()),
            event.clear.eq(go & group.clear),
            event.negative.eq(group.negative),
        ]
        m.d.comb += self.event.eq(event)

    def _groups(self, m: Module, free: Value) -> tuple[data.View, Value]:
        """The next group of the word, and whether there is one; it goes where `free`.

        A word without bits is one group without bits.
        """
        word = Signal(self.i.payload.shape(), reset_less=True)
        left, opens = Signal(_GROUPS, reset_less=True), Signal(reset_less=True)
        valid, last = Signal(), Signal()
        groups = [word.word[i : i + _BITS] for i in range(0, WORD, _BITS)]
        m.d.comb += [
            last.eq(self._at_most_one(left)),
            self.i.ready.eq(~valid | (free & last)),
        ]
        with m.If(free):
            m.d.sync += [left.eq(self._without_lowest(left)), opens.eq(0)]
        with m.If(self.i.ready):
            entry = self.i.payload
            filled = [entry.word[i : i + _BITS].any() for i in range(0, WORD, _BITS)]
            m.d.sync += [valid.eq(self.i.valid), word.eq(entry), left.eq(Cat(filled)), opens.eq(1)]
        number = self._lowest(left)
        m.submodules.choice = choice = Select(_BITS, Select.MOST)
        beyond = number[-1]
        m.d.comb += [
            choice.inputs.eq(word.word[: _BITS * Select.MOST]),
            choice.code.eq(number),
            choice.enable.eq(~beyond),
        ]
        empty = ~left.any()
        # Nothing is doubled before a step's first event: two doublings, the first of which is the
        # event that clears, and the other doubles a zero. Without any event it is the last itself.
        first = word.doubles | (word.fresh & ~empty) << 1
        group = Signal(self._group, name="following")
        m.d.comb += [
            group.bits.eq(choice.output | (groups[-1] & beyond.replicate(_BITS))),
            group.number.eq(number),
            group.row.eq(word.row),
            group.doubles.eq(Mux(opens, first, 0)),
            group.negative.eq(word.negative),
            group.clear.eq(opens & word.fresh),
            group.ends.eq(word.ends & last),
            group.mark.eq(word.mark),
        ]
        return group, valid

    @staticmethod
    def _lowest(flags: Value) -> Value:
        """Number of the lowest of nine flags that is set; the last where none is set."""
        high = ~flags[:4].any()
        beyond = ~flags[:8].any()
        four = Picker._lowest_of_four
        low = Mux(high, four(flags[4:8]), four(flags[:4]))
        return Mux(beyond, 8, Cat(low, high))

    @staticmethod
    def _lowest_of_four(flags: Value) -> Value:
        """The same of four flags."""
        return Cat(~flags[0] & (flags[1] | ~flags[2]), ~flags[0] & ~flags[1])
