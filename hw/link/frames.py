"""Words of the next frame, from the bytes of FRAME messages to the router."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from spikewright.hw.cells.memory import BlockMemory
from spikewright.hw.cores.streams import Layouts
from spikewright.hw.link.executor import BYTES
from spikewright.machine.blocks import WORD, Machine
from spikewright.machine.link import MAX_MESSAGE

__all__ = ["FrameFeeder"]

FRAME_KIND = 1


class FrameFeeder(wiring.Component):
    """Keeps the bytes of FRAME messages, and makes words of them as fast as they are taken.

    Latency: 13 clocks from a message's first byte to its first word, if that is of one byte.
    Throughput: a word of n bytes in ``n + 5`` clocks (of one byte in 4).

    Members
    -------
    i
        Bytes from the executor. Those of a message come one a clock, and only if there was `room`.
    o
        To the router.
    room
        There is room for a whole message. It may rise late, and falls in time for the next.
    idle
        All words have been taken; a clock late.
    """

    def __init__(self, machine: Machine) -> None:
        super().__init__(
            {
                "i": In(BYTES),
                "o": Out(stream.Signature(Layouts(machine).router)),
                "room": Out(1),
                "idle": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.memory = memory = BlockMemory(9, 2 * MAX_MESSAGE)
        put, get = Signal(range(2 * MAX_MESSAGE)), Signal(range(2 * MAX_MESSAGE))
        some, room = Signal(), Signal(init=1)
        used = (put - get)[: len(put)]
        m.d.comb += [
            memory.write.enable.eq(self.i.valid),
            memory.write.address.eq(put),
            memory.write.data.eq(Cat(self.i.data, self.i.first)),
            memory.address.eq(get),
            self.room.eq(room),
        ]
        m.d.sync += [put.eq(put + self.i.valid), some.eq(put != get), room.eq(~used[-1])]
        self._words(m, memory, get, some)
        return m

    def _words(self, m: Module, memory, get: Signal, some: Signal) -> None:
        """Reads an entry alone: it begins a head or a word, and tells how many more belong to it.
        These follow one a clock; that they have been put, nobody need look: they come one a clock.
        """
        entry, begins = memory.data[:8], memory.data[8]
        size, left = Signal(3), Signal(3)
        head, arrive, reading = Signal(), Signal(2), Signal()
        word, address = Signal(WORD), Signal(16)
        taken, shift = Signal(), Signal()
        m.d.comb += [
            self.o.payload.data.eq(word),
            self.o.payload.address.eq(address),
            self.o.payload.kind.eq(Const(FRAME_KIND, 2)),
            shift.eq(arrive[1]),
        ]
        m.d.sync += [arrive.eq(Cat(reading, arrive)), get.eq(get + reading)]
        with m.FSM(name="state"):
            with m.State("SEEK"):
                m.d.sync += [self.idle.eq(~some), head.eq(0)]
                m.d.comb += reading.eq(some)
                with m.If(some):
                    m.next = "FIRST"
            with m.State("FIRST"), m.If(arrive[1]):
                m.d.sync += [head.eq(begins), left.eq(size - 2)]
                m.next = "REST"
                with m.If(begins):
                    m.d.sync += [size.eq(entry), left.eq(2)]
                with m.Elif(size == 1):
                    m.next = "OFFER"
            with m.State("REST"):
                m.d.comb += reading.eq(1)
                m.d.sync += left.eq(left - 1)
                with m.If(left == 0):
                    m.next = "LAST"
            with m.State("LAST"), m.If(~arrive[0]):
                m.next = "OFFER"
                with m.If(head):
                    m.next = "SEEK"
            with m.State("OFFER"):
                m.d.comb += [self.o.valid.eq(1), taken.eq(self.o.ready)]
                with m.If(taken):
                    m.next = "SEEK"
        with m.If(shift):
            m.d.sync += word.eq(Cat(word[8:], entry))
        with m.If(taken | (shift & (begins | head))):
            m.d.sync += word.eq(0)
        with m.If(shift & head):
            m.d.sync += address.eq(Cat(address[8:], entry))
        with m.If(taken):
            m.d.sync += address.eq(address + 1)
