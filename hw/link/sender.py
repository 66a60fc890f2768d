"""Sends replies, and the answers of images that are done."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from spikewright.hw.link.crc import ONES, next_crc
from spikewright.hw.link.executor import REPLY
from spikewright.hw.slip import BYTE
from spikewright.machine.blocks import WORD, Machine
from spikewright.machine.link import PART, VERSION, WORD_BYTES, Command, Status, digest

def _byte(value: Value) -> Value:
    return Cat(value, Const(0, 8))[:8]


__all__ = ["Sender"]

_REPLY = 0x80
CRC_BYTES = 4


class Sender(wiring.Component):
    """Sends a reply, or a part of an answer, at a time; replies go first.

    Throughput: a byte every other clock, and one clock more an output; CRC-32 included.

    Members
    -------
    reply
        Replies. The payload is read until it is taken, with its last byte but the CRC.
    runs, dropped
        For HELLO.
    answer
        An image is done, and is to be answered. No part is begun without it, but what has begun
        is sent.
    tag, label, clocks, outputs
        Of that image, and how many outputs it has. They stay while it is answered.
    place, output
        The readout's read port, of two clocks.
    answered
        A pulse, with the last byte of the last part.
    o
        Bytes of messages.
    """

    HEAD = 11
    """Bytes of a part before its outputs."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        super().__init__(
            {
                "reply": In(stream.Signature(REPLY)),
                "runs": In(2),
                "dropped": In(8),
                "answer": In(1),
                "tag": In(8),
                "label": In(16),
                "clocks": In(32),
                "outputs": In(16),
                "place": Out(16),
                "output": In(signed(WORD)),
                "answered": Out(1),
                "o": Out(stream.Signature(BYTE)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        # A byte goes into the register `o` when that is empty, not when it becomes so: nothing of
        # the line's `ready` reaches further than that register.
        self._free, self._put, self._value = Signal(), Signal(), Signal(8)
        self._closing, self._answering, self._ended = Signal(), Signal(), Signal()
        self._position = Signal(range(self.HEAD))
        self._final = Signal(range(self.HEAD))
        valid, byte, last = Signal(), Signal(8), Signal()
        crc, fresh = Signal(32, init=ONES), Signal()
        m.d.comb += [
            self.o.valid.eq(valid),
            self.o.payload.data.eq(byte),
            self.o.payload.last.eq(last),
            self._free.eq(~valid),
        ]
        m.d.sync += fresh.eq(self._put)
        with m.If(self.o.ready):
            m.d.sync += valid.eq(0)
        with m.If(self._put):
            m.d.sync += [
                valid.eq(1),
                byte.eq(self._value),
                last.eq(self._closing & (self._position == CRC_BYTES - 1)),
            ]
        with m.If(fresh):
            m.d.sync += crc.eq(next_crc(crc, Mux(self._closing, 0, crc[:8] ^ byte)))
        place = Signal(16)
        hello = (self.reply.p.command == Command.HELLO) & (self.reply.p.status == Status.OK)
        m.d.comb += self.place.eq(place)
        m.d.sync += [
            self._ended.eq(place == self.outputs),
            self._final.eq(Mux(self._answering, self.HEAD - 1, Mux(hello, 9, 2))),
        ]
        self._states(m, place, crc)
        return m

    def _states(self, m: Module, place: Signal, crc: Signal) -> None:
        position, put, value = self._position, self._put, self._value
        with m.FSM(name="state"):
            with m.State("IDLE"):
                m.d.sync += [
                    position.eq(0),
                    crc.eq(ONES),
                    self._closing.eq(0),
                    self._answering.eq(~self.reply.valid),
                ]
                with m.If(~self.answer):
                    m.d.sync += place.eq(0)
                with m.If(self.reply.valid | self.answer):
                    m.next = "HEAD"
            with m.State("HEAD"), m.If(self._free):
                m.d.comb += [put.eq(1), value.eq(self._head(m, place))]
                m.d.sync += position.eq(position + 1)
                with m.If(position == self._final):
                    m.d.sync += position.eq(0)
                    m.d.comb += self.reply.ready.eq(~self._answering)
                    m.next = "CRC"
                    with m.If(self._answering & ~self._ended):
                        m.next = "OUTPUT"
            with m.State("OUTPUT"), m.If(self._free):
                m.d.comb += [put.eq(1), value.eq(self._output(m))]
                m.d.sync += position.eq(position + 1)
                with m.If(position == WORD_BYTES - 1):
                    m.d.sync += [place.eq(place + 1), position.eq(0)]
                    m.next = "WAIT"
            with m.State("WAIT"):  # for the next output, and `ended`
                m.d.sync += position.eq(position + 1)
                with m.If(position == 1):
                    m.d.sync += position.eq(0)
                    m.next = "OUTPUT"
                    with m.If(self._ended | (place % PART == 0)):
                        m.next = "CRC"
            with m.State("CRC"), m.If(self._free):
                m.d.sync += [self._closing.eq(1), position.eq(position + 1)]
                m.d.comb += [put.eq(1), value.eq(~crc[:8])]
                with m.If(position == CRC_BYTES - 1):
                    m.d.comb += self.answered.eq(self._answering & self._ended)
                    m.next = "IDLE"

    def _head(self, m: Module, place: Value) -> Value:
        """The byte of a reply, or of a part before its outputs."""
        reply = self.reply.payload
        replies: list[Value] = [
            Cat(reply.command, Const(1, 1)),
            reply.tag,
            Value.cast(reply.status),
            Const(VERSION, 8),
            self.runs,
            self.dropped,
            *(Const(byte, 8) for byte in digest(self.machine).to_bytes(4, "little")),
        ]
        part: list[Value] = [
            Const(_REPLY | Command.RUN, 8),
            self.tag,
            Const(Status.OK, 8),
            *(self.label.word_select(k, 8) for k in range(2)),
            *(self.clocks.word_select(k, 8) for k in range(4)),
            *(place.word_select(k, 8) for k in range(2)),
        ]
        rows = [*replies, *[Const(0, 8)] * (16 - len(replies)), *part, *[Const(0, 8)] * 5]
        table = Cat(_byte(byte) for byte in rows)
        return table.word_select(Cat(self._position, self._answering), 8)

    def _output(self, m: Module) -> Value:
        """The byte of an output; the last one holds its upper bits, and the sign."""
        chosen = Signal(8)
        m.d.comb += chosen.eq(self.output[32:].as_signed())
        with m.Switch(self._position):
            for number in range(WORD_BYTES - 1):
                with m.Case(number):
                    m.d.comb += chosen.eq(self.output[8 * number : 8 * number + 8])
        return chosen
