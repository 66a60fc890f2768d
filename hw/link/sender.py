"""Sends replies, and the answers of images that are done."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from spikewright.hw.link.crc import ONES, next_crc
from spikewright.hw.link.executor import REPLY
from spikewright.hw.slip import BYTE
from spikewright.machine.blocks import WORD, Machine, address_bits
from spikewright.machine.link import PART, VERSION, Command, Status, digest

__all__ = ["Sender"]

_REPLY = 0x80
_REPLY_BYTES, _PART, _OUTPUT = 10, 16, 27
"""Steps: a HELLO's reply ends behind the first, a part and an output begin with the others."""
CRC_BYTES = 4


class Sender(wiring.Component):
    """Sends a reply, or a part of an answer, at a time; replies go first.

    Throughput: a byte every other clock; two clocks more an output, and six more the CRC.

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
        Of that image, and how many outputs it has. They stay while it is answered;
        of `label` it is enough that it is there with `answer`.
    place, output
        The readout's read port, of two clocks.
    answered
        A pulse, with the last byte of the last part.
    o
        Bytes of messages.
    """

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
                "outputs": In(range(machine.outputs + 1)),
                "place": Out(address_bits(machine.outputs)),
                "output": In(signed(WORD)),
                "answered": Out(1),
                "o": Out(stream.Signature(BYTE)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        # A byte goes into the register `o` when that is empty, not when it becomes so: nothing of
        # the line's `ready` reaches further. So there are two clocks from a step to its byte.
        self._free, self._put = Signal(), Signal()
        self._ending, self._closing = Signal(), Signal()  # the CRC is next; it is sent
        self._step, self._tail = Signal(5, name="step"), Signal(range(CRC_BYTES), name="tail")
        self._place, self._ended = Signal.like(self.outputs, name="at"), Signal()
        self._label = Signal.like(self.label, reset_less=True)
        valid, byte, last = Signal(name="valid"), Signal(8), Signal()
        crc, fresh = Signal(32, init=ONES), Signal()
        value = self._table(m) | Mux(self._closing, ~crc[:8], 0)
        m.d.comb += [
            self.o.valid.eq(valid),
            self.o.payload.data.eq(byte),
            self.o.payload.last.eq(last),
            self._free.eq(~valid),
            self.place.eq(self._place),
        ]
        m.d.sync += [fresh.eq(self._put), self._ended.eq(self._place == self.outputs)]
        with m.If(self.o.ready):
            m.d.sync += valid.eq(0)
        with m.If(self._put):
            m.d.sync += [valid.eq(1), byte.eq(value), last.eq(self._tail == CRC_BYTES - 1)]
        idle = self._states(m)
        folded, again = Signal(8), Signal()
        m.d.sync += [folded.eq(crc[:8] ^ byte), again.eq(fresh)]
        with m.If(self._tail != 0):  # the CRC's own bytes only shift it
            m.d.sync += folded.eq(0)
        with m.If(again):
            m.d.sync += crc.eq(next_crc(crc, folded))
        with m.If(idle):
            m.d.sync += crc.eq(ONES)
        return m

    def _table(self, m: Module) -> Value:
        """The byte of each step: of a reply, then of a part's head, then of an output, whose last
        byte holds the upper bits and the sign. Eight at a time into registers, of which those that
        the step does not mean are zero, and all while the CRC is sent."""
        reply = self.reply.payload
        row: list[Value] = [
            Cat(reply.command, Const(1, 1)),
            reply.tag,
            Value.cast(reply.status),
            Const(VERSION, 8),
            self.runs,
            self.dropped,
            *(Const(byte, 8) for byte in digest(self.machine).to_bytes(4, "little")),
            *[Const(0, 8)] * (_PART - _REPLY_BYTES),
            Const(_REPLY | Command.RUN, 8),
            self.tag,
            Const(Status.OK, 8),
            *(self._label.word_select(k, 8) for k in range(2)),
            *(self.clocks.word_select(k, 8) for k in range(4)),
            *(Cat(self._place, Const(0, 16)).word_select(k, 8) for k in range(2)),
            *(self.output.as_unsigned().word_select(k, 8) for k in range(4)),
            Cat(self.output[32:], self.output[-1].replicate(4)),
        ]
        table = Cat(Cat(byte, Const(0, 8))[:8] for byte in row)
        value: Value = Const(0, 8)
        for number in range(4):
            group = Signal(8, name=f"group_{number}", reset_less=True)
            own = table[64 * number : 64 * number + 64]
            m.d.sync += group.eq(own.word_select(self._step[:3], 8))
            with m.If((self._step[3:] != number) | self._ending):
                m.d.sync += group.eq(0)
            value |= group
        return value

    def _states(self, m: Module) -> Value:
        step, place, part = self._step, self._place, self._step[-1]
        reply = self.reply.payload
        short = (reply.command != Command.HELLO) | (reply.status != Status.OK)
        ends, full = Signal(name="ends"), Signal(name="full")
        wait = Signal(2)
        m.d.sync += [
            ends.eq((step == _REPLY_BYTES - 1) | ((step == 2) & short) | (step == _OUTPUT - 1)),
            full.eq(step == 31),
            wait.eq(wait + 1),
        ]
        with m.FSM(name="state") as fsm:
            with m.State("IDLE"):
                m.d.sync += [step.eq(Mux(self.reply.valid, 0, _PART)), self._tail.eq(0)]
                m.d.sync += self._label.eq(self.label)  # `abort` may reset it
                with m.If(~self.answer):
                    m.d.sync += place.eq(0)
                with m.If(self.reply.valid | self.answer):
                    m.next = "AIM"
            with m.State("AIM"):  # the step's byte and flags follow
                m.next = "SEND"
            with m.State("SEND"), m.If(self._free):
                m.d.comb += self._put.eq(1)
                m.d.sync += [step.eq(step + 1), wait.eq(0)]
                with m.If(full):
                    m.d.sync += [place.eq(place + 1), step.eq(_OUTPUT)]
                    m.next = "WAIT"
                with m.If(ends):
                    m.d.comb += self.reply.ready.eq(~part)
                    m.d.sync += step.eq(step)  # it still tells a part from a reply
                    with m.If(~part | self._ended):
                        m.next = "CLOSE"
                    with m.Else():
                        m.d.sync += step.eq(_OUTPUT)
            with m.State("WAIT"), m.If(wait == 2):  # for the next output, and `ended`
                m.next = "SEND"
                with m.If(self._ended | (place % PART == 0)):
                    m.next = "CLOSE"
            with m.State("CLOSE"), m.If(self._free):  # the last byte goes into the CRC
                m.next = "CRC"
            with m.State("CRC"), m.If(self._free):
                m.d.comb += self._put.eq(1)
                m.d.sync += self._tail.eq(self._tail + 1)
                m.next = "CLOSE"
                with m.If(self._tail == CRC_BYTES - 1):
                    m.d.comb += self.answered.eq(part & self._ended)
                    m.next = "IDLE"
            m.d.comb += [
                self._closing.eq(fsm.ongoing("CRC")),
                self._ending.eq(fsm.ongoing("CLOSE") | fsm.ongoing("CRC")),
            ]
        return fsm.ongoing("IDLE") | fsm.ongoing("AIM")
