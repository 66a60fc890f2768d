"""Gather: the spike memory, and of what is read from it the words that have events, in a queue."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from spikewright.hw.cells.arithmetic import ChooseAdd, ChooseSubtract
from spikewright.hw.cells.memory import BlockMemory
from spikewright.hw.cores.lanes import delayed
from spikewright.hw.cores.streams import Layouts, record_layout
from spikewright.machine.blocks import WORD, Machine, address_bits
from spikewright.machine.blocks import Picker as Contract
from spikewright.machine.configuration import KeepRecord

__all__ = ["Filter", "Gather", "Queue"]

_QUAD = 4
"""Bits of a word that one coarse bound keeps or drops."""


class Filter(wiring.Component):
    """Of the router's words those that this core keeps, and where: by the layer's or frame's slice.

    Latency: one clock from `received` to `write`. Throughput: a word a clock.
    """

    def __init__(self, machine: Machine) -> None:
        router, keep = Layouts(machine).router, record_layout(KeepRecord, machine)
        self._spike = machine.widths["spike"]
        write = {"enable": Out(1), "address": Out(self._spike), "data": Out(WORD)}
        super().__init__(
            {
                "received": In(data.StructLayout({"valid": 1, "word": router})),
                "keep": In(keep),
                "frame_keep": In(keep),
                "bank": In(1),
                "write": Out(wiring.Signature(write)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        received, keep, other = self.received, self.keep, self.frame_keep
        bits = len(keep.start)
        # start - address - 1 = ~place, which is added to `words` and subtracted from `at`.
        m.submodules.place = place = ChooseSubtract(bits, bits, borrow=True)
        m.submodules.inside = inside = ChooseAdd(bits + 1)
        m.submodules.at = at = ChooseSubtract(self._spike, self._spike, borrow=True)
        frame = received.word.kind == 1
        beyond, valid, top = Signal(bits), Signal(), Signal()
        framed, word = Signal(), Signal(WORD, reset_less=True)
        m.d.sync += [
            valid.eq(received.valid & ~received.word.kind[1]),
            framed.eq(frame),
            top.eq(frame & ~self.bank),
            beyond.eq(place.total),
            word.eq(received.word.data),
        ]
        extended = Cat(beyond, Const(-1, self._spike))[: self._spike]
        m.d.comb += [
            place.first.eq(other.start),
            place.second.eq(keep.start),
            place.choose.eq(frame),
            place.value.eq(received.word.address),
            inside.first.eq(other.words),
            inside.second.eq(keep.words),
            inside.choose.eq(framed),
            inside.value.eq(beyond),
            at.first.eq(other.at),
            at.second.eq(keep.at),
            at.choose.eq(framed),
            at.value.eq(extended),
            self.write.enable.eq(valid & inside.total[-1]),
            self.write.address.eq(at.total ^ Cat(Const(0, self._spike - 1), top)),
            self.write.data.eq(word),
        ]
        return m


class Queue(wiring.Component):
    """`depth` entries, a power of two, in distributed RAM.

    Latency: one clock from `write` to `o`. Throughput: one in, one out a clock. Nothing is offered
    when it is full: who writes counts.

    Members
    -------
    i, offered, write
        What is offered is stored behind the last entry, but is one only where `write`, which
        may come late in the clock.
    """

    def __init__(self, layout: data.StructLayout, depth: int) -> None:
        if depth & (depth - 1):
            raise ValueError(f"a queue of {depth} entries; use a power of two")
        self._layout, self._depth = layout, depth
        super().__init__(
            {
                "i": In(layout),
                "offered": In(1),
                "write": In(1),
                "o": Out(stream.Signature(layout)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.memory = memory = Memory(shape=self._layout, depth=self._depth, init=[])
        writer, reader = memory.write_port(), memory.read_port(domain="comb")
        first, after, last = (Signal(range(self._depth), name=n) for n in ("r", "after", "w"))
        read, one = Signal(), Signal()
        m.d.comb += [
            writer.addr.eq(last),
            writer.data.eq(self.i),
            writer.en.eq(self.offered),
            reader.addr.eq(first),
            self.o.payload.eq(reader.data),
            after.eq(first + 1),
            one.eq(after == last),
            read.eq(self.o.valid & self.o.ready),
        ]
        m.d.sync += self.o.valid.eq(self.write | (self.o.valid & ~(self.o.ready & one)))
        with m.If(self.write):
            m.d.sync += last.eq(last + 1)
        with m.If(read):
            m.d.sync += first.eq(after)
        return m


class Gather(wiring.Component):
    """Reads the walker's words, masks them, and queues those with events and the ends of steps.

    Latency: :attr:`LATENCY` clocks from `address` to the entry at `o`, with the queue empty; a
    received word can be read two clocks later. Throughput: a word a clock, in and out.

    Words under way and in the queue are counted, from `issued` on till they are dropped or taken:
    the queue is used to its end, however long the walker's pipeline is.

    Members
    -------
    received, keep, frame_keep, bank
        See :class:`Filter`. `bank` is the half of the memory in which the frame is read.
    issued, room
        A word will come as `valid`; :attr:`LATE` more may be issued once `room` is low.
    address, walked, valid
        The walker's words.
    o
        Entries.
    """

    LATENCY = Contract.gather
    LATE = 2

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        layouts, keep = Layouts(machine), record_layout(KeepRecord, machine)
        self._entry = layouts.entry
        super().__init__(
            {
                "received": In(data.StructLayout({"valid": 1, "word": layouts.router})),
                "keep": In(keep),
                "frame_keep": In(keep),
                "bank": In(1),
                "issued": In(1),
                "room": Out(1),
                "address": In(machine.widths["spike"]),
                "walked": In(layouts.walked),
                "valid": In(1),
                "o": Out(stream.Signature(layouts.entry)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.filter = keeper = Filter(self._machine)
        m.submodules.memory = memory = BlockMemory(WORD, self._machine.spikes.words)
        depth = 1 << address_bits(self._machine.picker.queue)
        m.submodules.queue = queue = Queue(self._entry, depth)
        m.d.comb += [
            keeper.received.eq(self.received),
            keeper.keep.eq(self.keep),
            keeper.frame_keep.eq(self.frame_keep),
            keeper.bank.eq(self.bank),
            memory.address.eq(self.address),
        ]
        wiring.connect(m, memory.write, keeper.write)
        wiring.connect(m, wiring.flipped(self.o), queue.o)
        valid: Value = self.valid
        for clock in range(BlockMemory.LATENCY + 1):
            later = Signal(name=f"valid_{clock}")
            m.d.sync += later.eq(valid)
            valid = later
        word = self._masked(m, memory.data)
        events, keeps, drops = Signal(), Signal(), Signal()
        walked = self._walked(m)
        m.d.comb += [
            events.eq(word.any()),
            keeps.eq(valid & (events | walked["ends"])),
            drops.eq(valid & ~(events | walked["ends"])),
            queue.offered.eq(valid),
            queue.write.eq(keeps),
            queue.i.word.eq(word),
        ]
        for name in ("row", "negative", "ends", "mark"):
            m.d.comb += queue.i[name].eq(walked[name])
        self._doublings(m, queue.i, walked, valid, events)
        self._count(m, drops, self.o.valid & self.o.ready)
        return m

    def _walked(self, m: Module) -> dict[str, Value]:
        """What the walker said of the word that is masked."""
        walked = self.walked
        names = ("row", "negative", "ends", "mark", "begins", "opens", "doubles")
        values = [Value.cast(walked[name]) for name in names]
        late = delayed(m, Cat(values[:-2]), BlockMemory.LATENCY + 1, "walked")[-1]
        opened = delayed(m, Cat(values[-2:]), BlockMemory.LATENCY, "opened")[-1]
        doubles = Signal.like(walked.doubles, reset_less=True)
        m.d.sync += doubles.eq(Mux(opened[0], opened[1:], 0))
        found, low = {}, 0
        for name, value in zip(names[:-2], values, strict=False):
            found[name] = late[low : low + len(value)]
            low += len(value)
        return {**found, "doubles": doubles}

    def _masked(self, m: Module, word: Value) -> Signal:
        """The word without the bits outside of the bounds, registered.

        A bound is two codes of ones: quads from it on, and the bits of a quad from it on.
        """
        walked = self.walked
        quads = range(WORD // _QUAD)
        low, high, cut_low, cut_high = (
            delayed(m, walked[name], BlockMemory.LATENCY - 1, name)[-1]
            for name in ("low", "high", "cut_low", "cut_high")
        )
        above, within, below, inside = (
            Signal(bits, name=name, reset_less=True)
            for name, bits in (
                ("above", len(quads)),
                ("within", _QUAD),
                ("below", len(quads)),
                ("inside", _QUAD),
            )
        )
        m.d.sync += [
            above.eq(Cat(low[2:] <= quad for quad in quads)),
            within.eq(Cat(low[:2] <= bit for bit in range(_QUAD))),
            below.eq(Cat(high[2:] >= quad for quad in quads)),
            inside.eq(Cat(high[:2] >= bit for bit in range(_QUAD))),
        ]
        with m.If(~cut_low):
            m.d.sync += [above.eq(-1), within.eq(-1)]
        with m.If(~cut_high):
            m.d.sync += [below.eq(-1), inside.eq(-1)]
        # Bit b of quad q is in front of the bound where its quad is, or is the bound's and b is.
        ahead, behind = Cat(0, above[:-1]), Cat(below[1:], 0)
        kept = Cat(
            word[_QUAD * q + b]
            & (above[q] & (within[b] | ahead[q]))
            & (below[q] & (inside[b] | behind[q]))
            for q in quads
            for b in range(_QUAD)
        )
        masked = Signal(WORD, reset_less=True)
        m.d.sync += masked.eq(kept)
        return masked

    def _doublings(
        self, m: Module, entry: Value, walked: dict[str, Value], valid: Value, events: Value
    ) -> None:
        """Doublings since the last event of the step; none before its first."""
        pending, fresh = Signal.like(walked["doubles"]), Signal()
        anew = walked["begins"] | fresh
        m.d.comb += [
            entry.fresh.eq(anew),
            entry.doubles.eq(Mux(anew, 0, pending + walked["doubles"])),
        ]
        with m.If(valid):
            m.d.sync += [fresh.eq(anew & ~events), pending.eq(Mux(events, 0, entry.doubles))]

    def _count(self, m: Module, drops: Value, takes: Value) -> None:
        """Room: what may be issued less what was, and has not been dropped or taken yet."""
        bits = address_bits(self._machine.picker.queue) + 1
        most = self._machine.picker.queue - self.LATE
        left = Signal(bits, init=most)
        dropped, taken = Signal(), Signal()
        m.d.sync += [
            dropped.eq(drops),
            taken.eq(takes),
            left.eq(left + dropped + taken - self.issued),
        ]
        m.d.comb += self.room.eq(~left[-1])
