"""The host port: executes the requests of :mod:`spikewright.machine.protocol`.

::

    i -> SlipDecoder -> Receiver -> Executor -> load
                                    |     \\-> Runs -> run
                                    v           |
    o <- SlipEncoder <- Queue <- Checksum <- Serialiser <- Reporter <- result
"""

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from spikewright.hw.load import ADDRESS_BITS, RESULT, LoadSignature
from spikewright.hw.message import (
    CHUNK,
    CHUNK_BYTES,
    MESSAGE_BYTE,
    Checksum,
    MemoryTable,
    Receiver,
    Serialiser,
)
from spikewright.hw.queue import Queue
from spikewright.hw.slip import BYTE, SlipDecoder, SlipEncoder
from spikewright.machine.hardware import HardwareShape, Region
from spikewright.machine.protocol import VERSION, Command, Status

__all__ = ["Executor", "HostPort", "Reporter", "Runs"]

MAX_RUNS = 2
REPLY = 0x80


class Runs(wiring.Component):
    """The runs that were accepted and not yet answered, at most two, one on each frame bank.

    Members
    -------
    start
        Tags of new runs; waits while two are outstanding.
    run
        Frame banks of the runs, for the engine.
    done
        The oldest run has been answered.
    clear
        Forget all runs. The frame written last stays the next one to run.
    tag
        Tag of the oldest run.
    outstanding
        Number of runs.
    bank
        The frame bank of the next run; free while fewer than two are outstanding.
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "start": In(stream.Signature(8)),
                "run": Out(stream.Signature(1)),
                "done": In(1),
                "clear": In(1),
                "tag": Out(8),
                "outstanding": Out(range(MAX_RUNS + 1)),
                "bank": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        tags = Array(Signal(8, name=f"tag_{bank}") for bank in range(MAX_RUNS))
        oldest = Signal()
        waiting = Signal.like(self.outstanding)  # not yet taken by the engine
        started = self.start.valid & self.start.ready
        taken = self.run.valid & self.run.ready
        m.d.comb += [
            self.start.ready.eq(self.outstanding != MAX_RUNS),
            self.run.valid.eq(waiting != 0),
            self.tag.eq(tags[oldest]),
        ]
        m.d.sync += [
            self.outstanding.eq(self.outstanding + started - self.done),
            waiting.eq(waiting + started - taken),
            oldest.eq(oldest ^ self.done),
            self.run.payload.eq(self.run.payload ^ taken),
            self.bank.eq(self.bank ^ started),
        ]
        with m.If(started):
            m.d.sync += tags[self.bank].eq(self.start.payload)
        with m.If(self.clear):
            m.d.sync += [
                self.outstanding.eq(0),
                waiting.eq(0),
                oldest.eq(self.bank),
                self.run.payload.eq(self.bank),
            ]
        return m


class Reporter(wiring.Component):
    """Answers finished runs, independently of the requests that are executed meanwhile.

    Members
    -------
    result, label, clocks
        From the engine; the two are taken with the last result.
    tag
        Tag of the run that the results belong to.
    stop
        Begin no answer.
    busy
        An answer has begun and is not complete.
    done
        The last part of an answer is taken.
    reply
        The parts of the answers.
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "result": In(stream.Signature(RESULT)),
                "label": In(16),
                "clocks": In(32),
                "tag": In(8),
                "stop": In(1),
                "busy": Out(1),
                "done": Out(1),
                "reply": Out(stream.Signature(CHUNK)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        last = self.result.payload.last
        with m.FSM() as fsm:
            with m.State("IDLE"), m.If(self.result.valid & ~self.stop):
                m.next = "HEADER"
            with m.State("HEADER"):
                m.d.comb += [
                    self.reply.valid.eq(1),
                    self.reply.payload.data.eq(
                        Cat(Const(Command.RUN | REPLY, 8), self.tag, Const(Status.OK, 8))
                    ),
                    self.reply.payload.last_byte.eq(2),
                ]
                with m.If(self.reply.ready):
                    m.next = "RESULTS"
            with m.State("RESULTS"):
                value = self.result.payload.value.as_unsigned()
                m.d.comb += [
                    self.reply.valid.eq(self.result.valid),
                    self.result.ready.eq(self.reply.ready),
                    self.reply.payload.data.eq(Cat(value, self.label, self.clocks)),
                    self.reply.payload.last_byte.eq(Mux(last, 9, 3)),
                    self.reply.payload.last.eq(last),
                    self.done.eq(self.result.valid & self.reply.ready & last),
                ]
                with m.If(self.done):
                    m.next = "IDLE"
            m.d.comb += self.busy.eq(~fsm.ongoing("IDLE"))
        return m


class Executor(wiring.Component):
    """Executes messages one after the other, one byte a clock, and replies to all but RUN.

    A frame WRITE and a RUN wait while two runs are outstanding. The payload of HELLO, RUN and ABORT
    is ignored. ABORT lets an answer that has begun end, then raises `abort` for one clock. HELLO
    tells the counts of the clock in which its reply is taken.

    Members
    -------
    i
        Bytes of good messages.
    dropped
        Number of dropped messages, for HELLO.
    load
        Words of good WRITE messages.
    start
        Tags of new runs.
    outstanding, bank
        From :class:`Runs`.
    reporting
        An answer has begun and is not complete.
    stop
        No answer may begin.
    abort
        Forget everything about the runs.
    reply
        Replies.
    """

    def __init__(self, shape: HardwareShape) -> None:
        self.shape = shape
        super().__init__(
            {
                "i": In(stream.Signature(MESSAGE_BYTE)),
                "dropped": In(8),
                "load": Out(LoadSignature(shape)),
                "start": Out(stream.Signature(8)),
                "outstanding": In(range(MAX_RUNS + 1)),
                "bank": In(1),
                "reporting": In(1),
                "stop": Out(1),
                "abort": Out(1),
                "reply": Out(stream.Signature(CHUNK)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.table = table = MemoryTable(self.shape)
        command = Signal(8)
        tag = Signal(8)
        status = Signal(Status)
        address = Signal(ADDRESS_BITS)
        header_byte = Signal(range(4))
        byte_number = Signal.like(table.word_last)
        size = max(memory.word_bytes for memory in table.memories)
        lane = Signal(size, init=1)  # one hot: the byte of the word that comes next
        word = Signal(data.ArrayLayout(8, size))
        byte, last = self.i.payload.data, self.i.payload.last

        m.d.comb += [
            table.id.eq(self.load.memory),
            self.load.data.eq(word.as_value()),
            self.start.payload.eq(tag),
            self.reply.payload.last.eq(1),
            self.reply.payload.data.eq(
                Cat(
                    command | REPLY,
                    tag,
                    Cat(status, Const(0, 8 - len(status))),
                    Const(VERSION, 8),
                    Cat(self.outstanding, Const(0, 8 - len(self.outstanding))),
                    self.dropped,
                    Const(self.shape.digest, 32),
                )
            ),
            self.reply.payload.last_byte.eq(Mux(command == Command.HELLO, CHUNK_BYTES - 1, 2)),
        ]
        m.d.sync += [self.load.valid.eq(0), self.abort.eq(0)]

        def act():
            """The message has been read; do what it asks for."""
            with m.Switch(command):
                with m.Case(Command.RUN):
                    m.next = "RUN"
                with m.Case(Command.ABORT):
                    m.next = "ABORT"
                with m.Default():
                    m.next = "REPLY"

        with m.FSM():
            with m.State("COMMAND"):
                m.d.comb += self.i.ready.eq(1)
                m.d.sync += [command.eq(byte), status.eq(Status.OK)]
                with m.If(self.i.valid):
                    m.next = "TAG"
            with m.State("TAG"), m.If(self.i.valid):
                m.d.comb += self.i.ready.eq(1)
                m.d.sync += [tag.eq(byte), header_byte.eq(0)]
                with m.If(last):
                    act()
                with m.Else():
                    m.next = "DRAIN"
                with m.Switch(command):
                    with m.Case(Command.WRITE):
                        with m.If(self.i.payload.writable):
                            m.next = "HEADER"
                        with m.Else():
                            m.d.sync += status.eq(Status.BAD_WRITE)
                    with m.Case(Command.HELLO, Command.RUN, Command.ABORT):
                        pass
                    with m.Default():
                        m.d.sync += status.eq(Status.BAD_COMMAND)
            self._add_write(m, table, address, status, header_byte, byte_number, lane, word)
            with m.State("DRAIN"), m.If(self.i.valid):
                m.d.comb += self.i.ready.eq(1)
                with m.If(last):
                    act()
            self._add_actions(m)
        return m

    def _add_write(self, m, table, address, status, header_byte, byte_number, lane, word):
        """The states of WRITE: its header, whether memory is free for it, and its words."""
        byte, last = self.i.payload.data, self.i.payload.last
        with m.State("HEADER"), m.If(self.i.valid):
            m.d.comb += self.i.ready.eq(1)
            m.d.sync += header_byte.eq(header_byte + 1)
            with m.If(header_byte == 0):
                m.d.sync += self.load.memory.eq(byte)
            with m.Else():
                m.d.sync += address.eq(Cat(address[8:], byte))
            with m.If(header_byte == 3):
                m.next = "ADMIT"
        with m.State("ADMIT"):
            is_frame = self.load.memory == Region.FRAME
            m.d.sync += [self.load.bank.eq(self.bank), byte_number.eq(0), lane.eq(1)]
            with m.If(~is_frame & (self.outstanding != 0)):
                m.d.sync += status.eq(Status.BUSY)
                m.next = "DRAIN"
            with m.Elif(self.outstanding != MAX_RUNS):
                m.next = "WORDS"
        with m.State("WORDS"), m.If(self.i.valid):
            m.d.comb += self.i.ready.eq(1)
            for k in range(len(lane)):
                with m.If(lane[k]):
                    m.d.sync += word[k].eq(byte)
            m.d.sync += [lane.eq(lane << 1), byte_number.eq(byte_number + 1)]
            with m.If(byte_number == table.word_last):
                m.d.sync += [
                    lane.eq(1),
                    byte_number.eq(0),
                    self.load.valid.eq(1),
                    self.load.address.eq(address),
                    address.eq(address + 1),
                ]
            with m.If(last):
                m.next = "REPLY"

    def _add_actions(self, m):
        """The states that do what a message asks for, and answer it."""
        with m.State("RUN"):
            m.d.comb += self.start.valid.eq(1)
            with m.If(self.start.ready):
                m.next = "COMMAND"
        with m.State("ABORT"):
            m.d.comb += self.stop.eq(1)
            with m.If(~self.reporting):
                m.d.sync += self.abort.eq(1)
                m.next = "CLEAR"
        with m.State("CLEAR"):
            m.d.comb += self.stop.eq(1)
            m.next = "REPLY"
        with m.State("REPLY"):
            m.d.comb += self.reply.valid.eq(1)
            with m.If(self.reply.ready):
                m.next = "COMMAND"


class HostPort(wiring.Component):
    """Between a byte stream to and from the host, and the engine.

    Messages are executed in the order in which they come; a message that waits holds back those
    behind it, ABORT included. WRITE requests pass at nearly one byte a clock. Runs use the two
    frame banks in turn, so every RUN needs its own frame; one without runs on the bank's old
    contents.

    Members
    -------
    i, o
        Bytes from and to the host.
    load
        Words for the memories.
    run
        Frame banks of the images to run.
    result, label, clocks
        Results of the images in the order of `run`; `label` and `clocks` belong to an image while
        its last result is offered.
    abort
        One clock: the engine must forget all runs.
    """

    def __init__(self, shape: HardwareShape) -> None:
        self.shape = shape
        super().__init__(
            {
                "i": In(stream.Signature(8)),
                "o": Out(stream.Signature(8)),
                "load": Out(LoadSignature(shape)),
                "run": Out(stream.Signature(1)),
                "result": In(stream.Signature(RESULT)),
                "label": In(16),
                "clocks": In(32),
                "abort": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.decoder = decoder = SlipDecoder()
        m.submodules.receiver = receiver = Receiver(self.shape)
        m.submodules.executor = executor = Executor(self.shape)
        m.submodules.runs = runs = Runs()
        m.submodules.reporter = reporter = Reporter()
        m.submodules.serialiser = serialiser = Serialiser()
        m.submodules.checksum = checksum = Checksum()
        # The encoder's `ready` depends on the byte; it must not reach back through the CRC.
        m.submodules.queue = queue = Queue(BYTE, 3)
        m.submodules.encoder = encoder = SlipEncoder()

        connect(m, flipped(self.i), decoder.i)
        connect(m, decoder.o, receiver.i)
        connect(m, receiver.o, executor.i)
        connect(m, executor.load, flipped(self.load))
        connect(m, executor.start, runs.start)
        connect(m, runs.run, flipped(self.run))
        connect(m, flipped(self.result), reporter.result)
        connect(m, reporter.reply, serialiser.i_first)
        connect(m, executor.reply, serialiser.i_second)
        connect(m, serialiser.o, checksum.i)
        connect(m, checksum.o, queue.i)
        connect(m, queue.o, encoder.i)
        connect(m, encoder.o, flipped(self.o))
        m.d.comb += [
            executor.dropped.eq(receiver.dropped),
            executor.outstanding.eq(runs.outstanding),
            executor.bank.eq(runs.bank),
            executor.reporting.eq(reporter.busy),
            reporter.stop.eq(executor.stop),
            reporter.label.eq(self.label),
            reporter.clocks.eq(self.clocks),
            reporter.tag.eq(runs.tag),
            runs.done.eq(reporter.done),
            runs.clear.eq(executor.abort),
            self.abort.eq(executor.abort),
        ]
        return m
