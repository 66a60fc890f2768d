"""Proofs that a HELLO or an ABORT is answered in time, whatever the machine does.

The host takes a byte a clock. Then

- the encoder takes a message's first byte in :data:`FIRST` clocks, others in :data:`OTHER`;
- beside such an encoder the sender sends a part of an answer in :data:`PART_CLOCKS`, a reply in
  :data:`REPLY_CLOCKS` or less, and no part begins while a reply is offered;
- the executor offers its reply, or is idle, four clocks and one a byte after it took a message.

All else is open: what the messages are, what the machine says, and when. See `test_the_sum`.
"""

import pytest
from amaranth.asserts import AnySeq
from amaranth.hdl import Assert, Assume, Cover, Elaboratable, Module, Mux, Signal

from spikewright.hw.link.executor import Executor
from spikewright.hw.link.sender import Sender
from spikewright.hw.slip import SlipEncoder
from spikewright.machine.blocks import Machine
from spikewright.machine.link import ANSWER_CLOCKS, MAX_MESSAGE, Command, Status

MACHINE = Machine()
FIRST, OTHER = 4, 2
PART_CLOCKS, REPLY_CLOCKS, SHORT_CLOCKS = 309, 50, 29


class EncoderSpec(Elaboratable):
    """A byte that is offered to the encoder is taken in time."""

    def __init__(self, formal):
        self.formal = formal

    def elaborate(self, platform):
        m = Module()
        m.submodules.dut = dut = SlipEncoder()
        start, body, code, end = (self.formal.inside("dut.fsm_state", 2) == n for n in range(4))
        waited, first = Signal(3), Signal(init=1)
        held, byte = Signal(), Signal(9)
        m.d.comb += [
            dut.o.ready.eq(1),
            dut.i.valid.eq(AnySeq(1)),
            dut.i.payload.eq(AnySeq(9)),
            Assume(~held | (dut.i.valid & (dut.i.payload.as_value() == byte))),
            Assert(~dut.i.valid | dut.i.ready | (waited + 1 < Mux(first, FIRST, OTHER))),
            Cover(dut.i.valid & dut.i.ready & first & (waited == FIRST - 1)),
            Assert(~end | (first & (waited == 0))),
            Assert(~start | (first & (waited <= 1))),
            Assert(~body | (first & held & ((waited == 1) | (waited == 2))) | (~first & ~held)),
            Assert(~code | (held & Mux(first, (waited == 2) | (waited == 3), waited == 1))),
            Assert(held == (waited != 0)),
        ]
        m.d.sync += [
            held.eq(dut.i.valid & ~dut.i.ready),
            byte.eq(dut.i.payload),
            waited.eq(Mux(dut.i.valid & ~dut.i.ready, waited + 1, 0)),
        ]
        with m.If(dut.i.valid & dut.i.ready):
            m.d.sync += first.eq(dut.i.payload.last)
        return m


IDLE, AIM, SEND, WAIT, CLOSE, CRC = range(6)
HEAD, OUTPUT, END = 16, 27, 32


class SenderSpec(Elaboratable):
    """How long the sender is from IDLE, as what has passed and what is left at most."""

    def __init__(self, formal, dut=Sender):
        self.formal, self.dut = formal, dut

    def elaborate(self, platform):
        m = Module()
        m.submodules.dut = dut = self.dut(MACHINE)
        inside = self.formal.inside
        state, step, wait = (
            inside("dut.state_state", 3),
            inside("dut.step", 5),
            inside("dut.wait", 2),
        )
        tail, at = inside("dut.tail", 2), inside("dut.at", len(dut.outputs))
        ends, full = inside("dut.ends", 1), inside("dut.full", 1)
        waited, first = Signal(3), Signal(init=1)
        limit = Mux(first, FIRST, OTHER)
        valid, ready = dut.o.valid, dut.o.ready
        offered, payload = Signal(), Signal.like(dut.reply.payload.as_value())
        m.d.comb += [
            *(
                port.eq(AnySeq(len(port)))
                for port in (dut.answer, dut.outputs, dut.reply.valid, dut.reply.payload.as_value())
            ),
            ready.eq(AnySeq(1)),
            Assume(~valid | ready | (waited + 1 < limit)),
            Assume(~offered | (dut.reply.valid & (dut.reply.payload.as_value() == payload))),
            Assert(waited < limit),
            Assert(valid | (waited == 0)),
        ]
        m.d.sync += [
            waited.eq(Mux(valid & ~ready, waited + 1, 0)),
            offered.eq(dut.reply.valid & ~dut.reply.ready),
            payload.eq(dut.reply.payload),
        ]
        with m.If(valid & ready):
            m.d.sync += first.eq(dut.o.payload.last)

        reply = dut.reply.payload
        short = (reply.command != Command.HELLO) | (reply.status != Status.OK)
        part = step[-1]
        last = Mux(part, OUTPUT - 1, Mux(short, 2, 9))
        busy = Mux(valid, limit - waited, 0)  # clocks until the register is free
        opening = Mux((step == 0) | (step == HEAD), FIRST - OTHER, 0)
        more = 16 * (15 - at[:4])  # further outputs of the part, five bytes each
        close = 14
        output = 3 * (END - 1 - step) + 4 + more + close
        head = opening + 3 * (last - step) + 3
        sending = busy + Mux(
            step >= OUTPUT, output, head + Mux(part, 3 * 4 + 4 + more + close, close)
        )
        waiting = 3 - wait + Mux(at[:4] == 0, 0, 16 + more) + close
        left = Signal(12)
        with m.Switch(state):
            with m.Case(IDLE):
                m.d.comb += left.eq(0)
            with m.Case(AIM):
                m.d.comb += [left.eq(1 + sending), Assert((step == 0) | (step == HEAD))]
            with m.Case(SEND):
                m.d.comb += left.eq(sending)
            with m.Case(WAIT):
                m.d.comb += [left.eq(waiting), Assert(step == OUTPUT), Assert(wait < 3)]
            with m.Case(CLOSE):
                m.d.comb += left.eq(busy + close - 4 * tail)
            with m.Case(CRC):
                m.d.comb += left.eq(13 - 4 * tail)
            with m.Default():
                m.d.comb += Assert(0)
        passed = Signal(12)
        taking = (state == AIM) | (state == SEND)
        allowed, most = Signal(12), Signal(12)  # decided when it begins
        m.d.comb += most.eq(allowed)
        with m.If(taking):
            m.d.comb += most.eq(Mux(part, PART_CLOCKS, Mux(short, SHORT_CLOCKS, REPLY_CLOCKS)))
        m.d.sync += allowed.eq(most)
        m.d.sync += passed.eq(Mux(state == IDLE, 0, passed + 1))
        turn = Signal()
        m.d.sync += turn.eq((state == IDLE) & dut.reply.valid)
        begins = (state == IDLE) | (state == AIM) | ((state == SEND) & (opening != 0))
        second = (state == SEND) & ((step == 1) | (step == HEAD + 1))
        m.d.comb += [
            Assert(~first | Mux(valid, second, begins)),
            Assert(~begins | (first != valid)),
            Assert(~valid | (dut.o.payload.last == begins)),
            Assert((state == IDLE) | (state >= CLOSE) | (tail == 0)),
            Assert((state == IDLE) | (passed + left < most)),
            Assert((state != IDLE) | (passed <= PART_CLOCKS)),
            Assert((state == IDLE) | (most <= PART_CLOCKS)),
            # A reply is what it was until it is taken, and none is forgotten.
            Assert(~taking | part | (dut.reply.valid & (step <= last))),
            Assert(~turn | ((state == AIM) & ~part)),  # it goes before an answer
            Assert((state != SEND) | valid | (ends == ((step == last) & (step < OUTPUT)))),
            Assert((state != SEND) | valid | (full == (step == END - 1))),
            Assert((state != CRC) | ~valid),
            Cover((state == SEND) & (step == END - 1)),
        ]
        return m


class ExecutorSpec(Elaboratable):
    """Exactly four clocks and one a byte, whatever the machine says meanwhile."""

    def __init__(self, formal, dut=Executor):
        self.formal, self.dut = formal, dut

    def elaborate(self, platform):
        m = Module()
        m.submodules.dut = dut = self.dut(MACHINE)
        inside = self.formal.inside
        state, remaining = inside("dut.state_state", 2), inside("dut.left", 10)
        reading, ends, end = (inside(f"dut.{name}", 1) for name in ("reading", "ends", "end"))
        message = dut.message.payload.as_value()
        ports = (dut.message.valid, message, dut.data, dut.waiting, dut.running, dut.room)
        m.d.comb += [port.eq(AnySeq(len(port))) for port in (*ports, dut.reply.ready)]
        m.d.comb += Assume(dut.message.p.left < MAX_MESSAGE - 4)
        length, passed = Signal(11), Signal(12)
        idle, read, act, offer = (state == n for n in range(4))
        left = Mux(reading, remaining + 4, Mux(ends, 3, 2))
        with m.If(dut.message.ready):
            m.d.sync += length.eq(dut.message.p.left + 1)
        m.d.sync += passed.eq(Mux(idle | offer, 0, passed + 1))
        m.d.comb += [
            Assert(dut.message.ready == idle),
            Assert(dut.reply.valid == offer),
            Assert(~(idle | offer | act) | ~(reading | ends | end)),
            Assert(~read | (reading + ends + end == 1)),
            Assert(~read | (passed + left == length + 3)),
            Assert(~act | (passed + 1 == length + 3)),
            Assert(length + 4 <= Executor.MOST),
            Cover(offer & (length == 3)),
        ]
        return m


def test_encoder(formal):
    formal.prove(EncoderSpec(formal), 2)
    formal.cover(EncoderSpec(formal), 16)


def test_sender(formal):
    formal.prove(SenderSpec(formal), 3)


def test_executor(formal):
    formal.prove(ExecutorSpec(formal), 2)
    formal.cover(ExecutorSpec(formal), 14)


def test_the_sum():
    """From the clock in which the last byte of a request is taken, at most.

    Before it, a message X of n bytes may be in the executor, and X's reply may wait for a part. The
    request, of k bytes, came in behind it, a byte a clock at most: X was taken k + 4 clocks ago, so
    that it is over n - k clocks from now, but for its reply. That waits for a part, and so may the
    request's own. Decoder, receiver and encoder: a few registers.
    """
    registers = 16
    executed = Executor.MOST + 4  # n - k, then k + 4
    assert executed + 2 * (PART_CLOCKS + REPLY_CLOCKS) + registers <= ANSWER_CLOCKS


@pytest.mark.parametrize(
    "fault",
    [
        {"sync": lambda self, m: self._tail.eq(0)},  # its end is never reached
        {"comb": lambda self, m: self._free.eq(~self.o.valid & self.answer)},  # waits for others
    ],
)
def test_sender_faults(formal, fault):
    with pytest.raises(formal.Failed, match="Assert failed"):
        formal.bmc(SenderSpec(formal, formal.plant(Sender, **fault)), 34)


@pytest.mark.parametrize(
    "fault",
    [
        {"sync": lambda self, m: self._end.eq(0)},
        {"comb": lambda self, m: self.message.ready.eq(~self.waiting)},
        {"comb": lambda self, m: self.reply.valid.eq(0)},
    ],
)
def test_executor_faults(formal, fault):
    with pytest.raises(formal.Failed, match="Assert failed"):
        formal.bmc(ExecutorSpec(formal, formal.plant(Executor, **fault)), 12)
