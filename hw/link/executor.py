"""Executes messages: each runs through from its first byte to its last, and is then answered."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from spikewright.hw.cores.streams import record_layout
from spikewright.hw.link.receiver import MESSAGE, Receiver, choose_last_part, last_part
from spikewright.machine.blocks import Machine
from spikewright.machine.link import (
    ALL,
    MAX_MESSAGE,
    WORD_BYTES,
    Command,
    Kind,
    Status,
    depth,
)
from spikewright.machine.loading import LoadWord

__all__ = ["BYTES", "REPLY", "Executor"]

BYTES = data.StructLayout({"valid": 1, "data": 8, "first": 1})
"""A byte of a good FRAME, from byte 2 on; `first` marks that one."""

REPLY = data.StructLayout({"command": 7, "tag": 8, "status": 2})
"""A reply; the sender knows what else belongs to a HELLO's."""

_HEAD = 6


class Executor(wiring.Component):
    """Executes a message in :attr:`MOST` clocks at most, whatever happens meanwhile; then offers
    its reply, if it has one. It takes no message before that is taken.

    Throughput: a byte a clock; four clocks more a message.

    Members
    -------
    message, address, data
        From the :class:`~.receiver.Receiver`.
    waiting, running
        A frame waits for its image to begin; an image has begun and is not answered.
    room
        There is room for a whole FRAME message.
    load
        Words of good WRITE messages. They do not wait, `ready` is not looked at. The first comes
        three clocks behind `abort` where a program has been started since the last one.
    frame
        Bytes of good FRAME messages.
    run
        A pulse: the frame is complete. The run's tag is the reply's.
    start
        A pulse: the program begins; with the first FRAME or RUN since reset, or since `abort`.
    abort
        A pulse: forget runs, and the next frame; the program stops.
    outputs
        How many outputs an answer has.
    reply
        Replies.
    """

    MOST = MAX_MESSAGE
    """Clocks from a message taken to its reply offered, or to the next message, at most."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        super().__init__(
            {
                "message": In(stream.Signature(MESSAGE)),
                "address": Out(10),
                "data": In(8),
                "waiting": In(1),
                "running": In(1),
                "room": In(1),
                "load": Out(stream.Signature(record_layout(LoadWord, machine))),
                "frame": Out(BYTES),
                "run": Out(1),
                "start": Out(1),
                "abort": Out(1),
                "outputs": Out(range(machine.outputs + 1)),
                "reply": Out(stream.Signature(REPLY)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        self._here, self._end, self._act = Signal(), Signal(name="end"), Signal()
        self._position = Signal(3)  # of the byte; that of all words is the head's length
        self._good, self._go = Signal(), Signal()  # nothing is wrong with it; it is executed
        self._is = {command: Signal(name=f"is_{command.name.lower()}") for command in Command}
        self._read(m)
        self._decode(m)
        self._write(m, self._check(m))
        self._answer(m)
        return m

    def _read(self, m: Module) -> None:
        """A byte is there (`here`) two clocks after its address; `end`: the last one."""
        left, reading = Signal(10, name="left"), Signal(name="reading")
        on_way, ends = Signal(), Signal(name="ends")
        address = Signal(10)
        m.d.comb += self.address.eq(address)
        m.d.sync += [
            address.eq(address + 1),
            left.eq(left - 1),
            on_way.eq(reading),
            ends.eq(reading & (left == 0)),
            self._here.eq(on_way),
            self._end.eq(ends),
        ]
        with m.If(left == 0):
            m.d.sync += reading.eq(0)
        with m.If(self._here & (self._position != _HEAD)):
            m.d.sync += self._position.eq(self._position + 1)
        with m.FSM(name="state"):
            with m.State("IDLE"):
                m.d.comb += self.message.ready.eq(1)
                m.d.sync += [
                    address.eq(-Receiver.OFFSET),
                    left.eq(self.message.payload.left),
                    reading.eq(self.message.valid),
                    self._position.eq(0),
                ]
                with m.If(self.message.valid):
                    m.next = "READ"
            with m.State("READ"), m.If(self._end):
                m.next = "ACT"
            with m.State("ACT"):
                m.d.comb += self._act.eq(1)
                m.next = "REPLY"
                with m.If(self.run):
                    m.next = "IDLE"
            with m.State("REPLY"):
                m.d.comb += self.reply.valid.eq(1)
                with m.If(self.reply.ready):
                    m.next = "IDLE"

    def _decode(self, m: Module) -> None:
        """Command, tag, and the bytes of a FRAME."""
        reply, payload = self.reply.payload, self.message.payload
        command, tag, whole = Signal(7), Signal(8), Signal()
        with m.If(self.message.ready):
            m.d.sync += whole.eq(payload.whole)
        with m.If(self._here & (self._position == 0)):
            m.d.sync += command.eq(self.data)
            m.d.sync += [which.eq(self.data == code) for code, which in self._is.items()]
        with m.If(self._here & (self._position == 1)):
            m.d.sync += [
                tag.eq(self.data),
                self._good.eq(whole),
                self._go.eq(whole & self._is[Command.FRAME] & self.room & ~self.waiting),
            ]
        m.d.comb += [
            reply.command.eq(command),
            reply.tag.eq(tag),
            self.frame.valid.eq(
                self._here & self._go & self._is[Command.FRAME] & self._position[1:].any()
            ),
            self.frame.data.eq(self.data),
            self.frame.first.eq(self._position == 2),
        ]

    def _check(self, m: Module) -> Value:
        """The head of a WRITE. A pulse, five clocks behind the kind: it is good, and executed."""
        word, machine = self.load.payload, self.machine
        kind, core, index = (
            Signal.like(word[name], name=name) for name in ("kind", "core", "index")
        )
        limits = {one: depth(machine, one) for one in Kind}
        bits = max(limits.values()).bit_length()
        rows, limit, room = Signal(8), Signal(bits), Signal(signed(bits + 1))
        core_good, fits = Signal(), Signal()
        decide = Signal(2)
        for place, part in ((2, kind), (3, core)):
            with m.If(self._here & (self._position == place)):
                m.d.sync += part.eq(self.data)
        with m.If(self._here & (self._position == 2) & self.data[4:].any()):
            m.d.sync += kind.eq(0)  # that of no memory
        with m.If(self._here & (self._position == 3)):
            known = self.data < machine.cores
            if machine.lanes.sharing == 2:
                known &= ~self.data[0] | (kind != Kind.WEIGHTS)
            m.d.sync += core_good.eq(known | (self.data == ALL))
        with m.If(self._here & self._position[2] & ~self._position[1]):
            m.d.sync += index.eq(Cat(index[8:], self.data))
        with m.If(self.message.ready):
            m.d.sync += rows.eq(self.message.payload.rows)
        m.d.sync += limit.eq(0)
        with m.Switch(kind):
            for one, value in limits.items():
                with m.Case(one):
                    m.d.sync += limit.eq(value)
        low = index[: min(bits, 16)]
        m.d.sync += [
            room.eq(limit - rows),
            fits.eq((low <= room) & ~index[len(low) :].any()),
            decide.eq(Cat(self._here & (self._position == 5) & self._is[Command.WRITE], decide)),
        ]
        good, admitted = Signal(), Signal()
        m.d.comb += [
            good.eq(self._good & fits & core_good),
            admitted.eq(decide[1] & good & ~self.waiting & ~self.running),
            word.kind.eq(kind),
            word.core.eq(core),
            word.index.eq(index),
        ]
        with m.If(decide[1]):
            m.d.sync += [self._good.eq(good), self._go.eq(admitted)]
        with m.If(self.load.valid & word.last):
            m.d.sync += index.eq(index + 1)
        with m.If(self.load.valid & (kind == Kind.OUTPUTS)):
            m.d.sync += self.outputs.eq(word.data)
        return admitted

    def _write(self, m: Module, admitted: Value) -> None:
        """The words of a WRITE; when the program stops and starts."""
        word, final = self.load.payload, last_part(self.machine)
        bits = Signal(8 * WORD_BYTES, reset_less=True)
        place, part = Signal(range(WORD_BYTES)), Signal.like(final, name="part")
        valid, last = Signal(), Signal()
        choose_last_part(m, self.machine, word.kind, final, Const(1))
        ends = part == final
        m.d.comb += [self.load.valid.eq(valid), word.data.eq(bits), word.last.eq(last)]
        m.d.sync += valid.eq(0)
        with m.If(self.message.ready):
            m.d.sync += [place.eq(0), part.eq(0)]
        with m.If(self._here):
            m.d.sync += bits.eq(Cat(bits[8:], self.data))
        with m.If(self._here & (self._position == _HEAD)):
            m.d.sync += place.eq(place + 1)
            with m.If(place == WORD_BYTES - 1):
                m.d.sync += [
                    place.eq(0),
                    valid.eq(self._go & self._is[Command.WRITE]),
                    last.eq(ends),
                    part.eq(Mux(ends, 0, part + 1)),
                ]
        started, begins, halts = Signal(), Signal(), Signal()
        m.d.comb += [
            self.run.eq(self._act & self._is[Command.RUN] & ~self.waiting),
            begins.eq(self.run | (self.frame.valid & self.frame.first)),
            halts.eq((self._act & self._is[Command.ABORT]) | (admitted & started)),
        ]
        m.d.sync += [
            self.start.eq(begins & ~started),
            self.abort.eq(halts),
            started.eq((started | begins) & ~halts),
        ]

    def _answer(self, m: Module) -> None:
        """The status, decided in the clock behind the last byte."""
        status = Signal(Status)
        m.d.comb += self.reply.payload.status.eq(status)
        with m.If(self._act):
            m.d.sync += status.eq(Status.OK)
            with m.If(self._is[Command.RUN]):
                m.d.sync += status.eq(Status.BUSY)
            with m.If(self._is[Command.WRITE] | self._is[Command.FRAME]):
                with m.If(~self._good):
                    m.d.sync += status.eq(Status.BAD_WRITE)
                with m.Elif(~self._go):
                    m.d.sync += status.eq(Status.BUSY)
            with m.If(~Cat(self._is.values()).any()):
                m.d.sync += status.eq(Status.BAD_COMMAND)
