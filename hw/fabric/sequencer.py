"""Runs the program: sends records ahead, starts layers, takes frames, ends images."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import data, enum, stream, wiring
from amaranth.lib.wiring import In, Out

from spikewright.hw.cells.memory import BlockMemory
from spikewright.hw.cores.streams import record_layout
from spikewright.hw.fabric.load import link_layout
from spikewright.hw.fabric.readout import Readout
from spikewright.machine.blocks import WORD, Machine, address_bits
from spikewright.machine.configuration import Instruction, Opcode
from spikewright.machine.loading import LoadKind, LoadWord

__all__ = ["Fetch", "Sequencer", "State"]


class State(enum.Enum, shape=3):
    """What the sequencer does; but for `EXECUTE` it fetches nothing."""

    IDLE = 0
    EXECUTE = 1
    RUN = 2
    """Waits for the layer before."""
    FRAME = 3
    """Waits for the layer before and for a frame."""
    END = 4
    """Waits for the end of the image before."""


class Fetch(wiring.Component):
    """The program memory and what reads it: one word a clock, in order; round at its end.

    Latency: :attr:`LATENCY` clocks from an address to its word; so many are lost by a jump.

    Members
    -------
    write
        `enable`, `address`, `data`.
    on
        Words are fetched. Those on their way when it falls are dropped.
    jump, home
        A pulse: goes on behind the word that is at `word`, or, where `home`, with the first one.
        No word is valid in the next clock; without `on` in this clock there is nothing to drop.
    word, valid
        What has been fetched.
    """

    LATENCY = BlockMemory.LATENCY + 1

    def __init__(self, depth: int) -> None:
        self.depth = max(2, depth)
        write = wiring.Signature(
            {"enable": Out(1), "address": Out(range(self.depth)), "data": Out(WORD)}
        )
        super().__init__(
            {
                "write": In(write),
                "on": In(1),
                "jump": In(1),
                "home": In(1),
                "word": Out(WORD),
                "valid": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.memory = memory = BlockMemory(WORD, self.depth)
        wiring.connect(m, wiring.flipped(self.write), memory.write)
        word = Signal(WORD, reset_less=True)
        on_way = Signal(self.LATENCY)
        address = Signal(address_bits(self.depth))
        before = [Signal.like(address, name=f"address_{n}", reset_less=True) for n in (1, 2)]
        m.d.comb += [
            memory.address.eq(address),
            self.word.eq(word),
            self.valid.eq(on_way[-1]),
        ]
        m.d.sync += [
            word.eq(memory.data),
            on_way.eq(Cat(self.on, on_way)),
            before[0].eq(address),
            before[1].eq(before[0]),  # of the word behind the one at `word`
        ]
        with m.If(self.on):
            m.d.sync += address.eq(address + 1)
        with m.If(self.jump):
            m.d.sync += [address.eq(Mux(self.home, 0, before[1])), on_way.eq(0)]
        return m


class Sequencer(wiring.Component):
    """Executes :class:`~spikewright.machine.configuration.Instruction` from the program memory.

    Records go to the load chain while a layer runs, a word a clock. RUN waits until the layer
    before is done and its words have arrived, FRAME for that and for a frame, END for the end of
    the image before. END does not wait for its own image: the next one's records follow. Behind RUN
    or FRAME at `o` the next record's first word is :attr:`BUBBLE` clocks later. Instructions of no
    known code are skipped, with their words; RUN, FRAME and END have none. A program without END
    goes round at the end of the memory; an image without a FRAME is never done.

    Latency: from `arrived` to RUN at `o` :attr:`ISSUE` clocks, when it waits for that; on from
    there to the start of core j ``2 + j`` (:class:`~.load.LoadNode`, :class:`~.records.Records`).
    A core whose `done` rises behind its last word is ``k + 2`` clocks from that word to `arrived`
    if it is core k: the barrier costs ``k + j + 5`` clocks.

    After `abort` it is idle, at the first instruction, in the next clock, whatever it did. It
    forgets the layer that runs: cores and router are to be reset by the same pulse.

    Members
    -------
    load
        Load words from the host, for the program memory or, through `o`, the cores. They are taken
        while it is idle.
    start, abort, busy
        `start` is a pulse and begins the program, which repeats itself until `abort`, a pulse.
    o
        To the first load node.
    arrived
        The router's. It may be stale for :attr:`settle` clocks behind a RUN.
    frame_open
        Words of a frame may go into the router: the program has come to its first FRAME, so that
        the cores know which to keep.
    frame_ready, frame_taken
        A whole frame has gone into the router. `frame_taken` is a pulse; `frame_ready` falls in the
        next clock, and the next frame's words may go into the router from then on.
    image_done
        A pulse: the outputs of the image are in the readout's `received`.
    clocks
        Of the last image, modulo 2^32: from the clock in which its FRAME found all that it waited
        for to the readout's `valid`. It is there with `image_done`.
    """

    ISSUE = 1
    BUBBLE = Fetch.LATENCY + 2

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.instruction = record_layout(Instruction, machine)
        super().__init__(
            {
                "load": In(stream.Signature(record_layout(LoadWord, machine))),
                "start": In(1),
                "abort": In(1),
                "busy": Out(1),
                "o": Out(link_layout(machine)),
                "arrived": In(1),
                "frame_open": Out(1),
                "frame_ready": In(1),
                "frame_taken": Out(1),
                "image_done": Out(1),
                "clocks": Out(32),
            }
        )

    @property
    def settle(self) -> int:
        """Clocks from RUN at `o` until no core's `done` of the layer before is left in the chains.

        A core takes `done` back in the clock of its start or in the three behind it.
        """
        return 2 * self.machine.cores + 4

    def elaborate(self, platform):
        m = Module()
        m.submodules.fetch = self.fetch = Fetch(self.machine.program_words)
        self.state = Signal(State)
        self.sent = Signal(link_layout(self.machine))
        self.done = Signal()  # no layer runs, all its words have arrived
        self.run = Signal()  # RUN, FRAME and END go on in this clock
        self.take = Signal()
        self.end = Signal()
        self.ending = Signal()  # the image that was ended is not done
        m.d.comb += [
            self.busy.eq(self.state != State.IDLE),
            self.o.eq(self.sent),
            self.run.eq((self.state == State.RUN) & self.done),
            self.take.eq((self.state == State.FRAME) & self.done & self.frame_ready & ~self.ending),
            self.end.eq((self.state == State.END) & ~self.ending),
        ]
        self._execute(m)
        self._send(m)
        self._watch_layer(m)
        self._watch_image(m)
        with m.If(self.abort):
            m.d.sync += [self.state.eq(State.IDLE), self.sent.valid.eq(0)]
        return m

    def _execute(self, m: Module) -> None:
        """The state: what is fetched, and what it is."""
        fetch, idle = self.fetch, self.state == State.IDLE
        code = data.View(self.instruction, fetch.word[: self.instruction.size])
        self.code = code
        self.header = Signal()
        self.inside = Signal()  # a record, of a known code
        self.known = Signal()
        left, control = Signal(code.words.shape()), Signal()
        m.d.comb += [
            fetch.on.eq(self.state == State.EXECUTE),
            self.header.eq(fetch.valid & ~self.inside),
            control.eq(
                self.header
                & ((code.opcode == Opcode.RUN) | (code.opcode[2:] == 0) & ~code.opcode[0])
            ),
            fetch.jump.eq(control | self.abort),
            fetch.home.eq((code.opcode == Opcode.END) | self.abort),
        ]
        self.final = left == 0
        with m.If(self.header & ~control):
            m.d.sync += [
                left.eq(code.words - 1),
                self.inside.eq(code.words != 0),
                self.known.eq(code.opcode[3]),
            ]
        with m.If(fetch.valid & self.inside):
            m.d.sync += [left.eq(left - 1), self.inside.eq(~self.final)]
        with m.If(control):
            m.d.sync += self.state.eq(
                Mux(code.opcode[0], State.RUN, Mux(code.opcode[1], State.FRAME, State.END))
            )
        with m.If(self.run | self.take | self.end | idle & self.start):
            m.d.sync += self.state.eq(State.EXECUTE)
        with m.If(self.abort):
            m.d.sync += self.inside.eq(0)

    def _send(self, m: Module) -> None:
        """The register `o`: words of the host while idle, else records, RUN and FRAME."""
        fetch, word, idle = self.fetch, self.sent.word, self.state == State.IDLE
        m.d.comb += [
            self.load.ready.eq(idle & ~self.abort),
            fetch.write.enable.eq(self.sent.valid & (word.kind == LoadKind.PROGRAM)),
            fetch.write.address.eq(word.index),
            fetch.write.data.eq(word.data),
        ]
        m.d.sync += [
            self.sent.valid.eq(
                Mux(idle, self.load.valid, fetch.valid & self.inside & self.known)
                | self.run
                | self.take
            ),
            word.data.eq(Mux(idle, self.load.p.data, fetch.word)),
            word.last.eq(Mux(idle, self.load.p.last, self.final)),
        ]
        with m.If(idle):
            m.d.sync += [word[name].eq(self.load.p[name]) for name in ("kind", "core", "index")]
        with m.Elif(self.header):  # RUN and FRAME, too: they are sent when they may be
            m.d.sync += [
                word.kind.eq(self.code.opcode),
                word.core.eq(self.code.core),
                word.index.eq(self.code.index),
            ]

    def _watch_layer(self, m: Module) -> None:
        """`done`: no layer runs, and all words of the one before have arrived."""
        launched, settled = Signal(), Signal()
        timer = Signal(range(self.settle + 1))
        m.d.comb += self.done.eq(~launched | (settled & self.arrived))
        m.d.sync += [timer.eq(timer - 1), settled.eq(settled | (timer == 0))]
        with m.If(self.run):
            m.d.sync += [launched.eq(1), settled.eq(0), timer.eq(self.settle - 1)]
        with m.If(self.abort):
            m.d.sync += launched.eq(0)

    def _watch_image(self, m: Module) -> None:
        """Frames, the end of an image, and its clocks."""
        framed, opened, taken, told = Signal(), Signal(), Signal(), Signal()
        finished = Signal()
        counter, clocks = Signal(32), Signal(32)
        done: Value = self.ending & self.done
        m.d.sync += [
            opened.eq(opened | (self.state == State.FRAME)),
            taken.eq(self.take),
            told.eq(taken),
            finished.eq(done),
            counter.eq(counter + 1),
        ]
        with m.If(done):
            m.d.sync += [self.ending.eq(0), clocks.eq(counter)]
        with m.If(self.end):
            m.d.sync += [self.ending.eq(framed), framed.eq(0)]
        with m.If(self.take):
            m.d.sync += [framed.eq(1), counter.eq(Readout.LATENCY + 2)]
        with m.If(self.abort):
            m.d.sync += [s.eq(0) for s in (framed, opened, taken, told, finished, self.ending)]
        m.d.comb += [
            self.frame_open.eq(opened),
            self.frame_taken.eq(told),
            self.image_done.eq(finished),
            self.clocks.eq(clocks),
        ]
