"""The host port of the second machine."""

from __future__ import annotations

from amaranth.hdl import Module, ResetInserter, Signal, signed
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from spikewright.hw.cores.streams import Layouts, record_layout
from spikewright.hw.link.executor import Executor
from spikewright.hw.link.frames import FrameFeeder
from spikewright.hw.link.receiver import Receiver
from spikewright.hw.link.sender import Sender
from spikewright.hw.slip import SlipDecoder, SlipEncoder
from spikewright.machine.blocks import WORD, Machine, address_bits
from spikewright.machine.loading import LoadWord

__all__ = ["HostPort", "Runs"]


class Runs(wiring.Component):
    """The runs that were accepted and not yet answered: one that waits, and one that has begun.

    Members
    -------
    run, tag
        A run is accepted; only while none is `waiting`.
    taken, done
        The run that waits has begun, that which has begun is done.
    answered
        The run that is done is answered.
    clear
        Forget all.
    waiting, running
        There is a run that waits for its image to begin; one that has begun and is not answered.
    answer, answer_tag
        That one is done; its tag.
    """

    def __init__(self) -> None:
        pulses = dict.fromkeys(("run", "taken", "done", "answered", "clear"), In(1))
        states = dict.fromkeys(("waiting", "running", "answer"), Out(1))
        super().__init__({**pulses, **states, "tag": In(8), "answer_tag": Out(8)})

    def elaborate(self, platform):
        m = Module()
        tag = Signal(8, reset_less=True)
        with m.If(self.run):
            m.d.sync += [self.waiting.eq(1), tag.eq(self.tag)]
        with m.If(self.taken & self.waiting):
            m.d.sync += [self.waiting.eq(0), self.running.eq(1), self.answer_tag.eq(tag)]
        with m.If(self.done):
            m.d.sync += self.answer.eq(self.running)
        with m.If(self.answered):
            m.d.sync += [self.running.eq(0), self.answer.eq(0)]
        with m.If(self.clear):
            m.d.sync += [self.waiting.eq(0), self.running.eq(0), self.answer.eq(0)]
        return m


class HostPort(wiring.Component):
    """Between a byte stream to and from the host, and the machine; see :mod:`spikewright.hw.link`.

    An image begins when the one before is answered in full, so that the readout keeps its outputs
    so long.

    Latency: a HELLO or ABORT is answered in :data:`~spikewright.machine.link.ANSWER_CLOCKS` clocks,
    from its last byte at `i` to the last of its reply at `o`, if `o` is always taken, whatever
    comes from the machine. Throughput: a byte a clock in, and one every other clock out.

    Members
    -------
    i, o
        Bytes from and to the host.
    load
        Words for the load chain. They do not wait: the machine is idle while they come.
    frame
        Words of the next frame, for the router. One that is offered is withdrawn by `abort`.
    start
        A pulse: the program begins.
    abort
        A pulse: the program stops, and all that runs is forgotten. Words that were loaded before
        may still be on their way.
    frame_ready, frame_taken
        All words of a frame have gone; it is taken, and the next may come.
    image_done, label, clocks
        The image is done. The two are read until the next frame is taken, `clocks` and the readout
        also behind `abort`, as what has been begun of an answer is sent.
    place, output
        The readout's read port, of two clocks.
    """

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        super().__init__(
            {
                "i": In(stream.Signature(8)),
                "o": Out(stream.Signature(8)),
                "load": Out(stream.Signature(record_layout(LoadWord, machine))),
                "frame": Out(stream.Signature(Layouts(machine).router)),
                "start": Out(1),
                "abort": Out(1),
                "frame_ready": Out(1),
                "frame_taken": In(1),
                "image_done": In(1),
                "label": In(16),
                "clocks": In(32),
                "place": Out(address_bits(machine.outputs)),
                "output": In(signed(WORD)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.decoder = decoder = SlipDecoder()
        m.submodules.receiver = receiver = Receiver(self.machine)
        m.submodules.executor = executor = Executor(self.machine)
        feeder = FrameFeeder(self.machine)
        m.submodules.feeder = ResetInserter(executor.abort)(feeder)
        m.submodules.runs = runs = Runs()
        m.submodules.sender = sender = Sender(self.machine)
        m.submodules.encoder = encoder = SlipEncoder()
        connect(m, flipped(self.i), decoder.i)
        connect(m, decoder.o, receiver.i)
        connect(m, receiver.message, executor.message)
        connect(m, executor.load, flipped(self.load))
        connect(m, executor.reply, sender.reply)
        connect(m, feeder.o, flipped(self.frame))
        connect(m, sender.o, encoder.i)
        connect(m, encoder.o, flipped(self.o))
        m.d.comb += [
            receiver.address.eq(executor.address),
            executor.data.eq(receiver.data),
            executor.waiting.eq(runs.waiting),
            executor.running.eq(runs.running),
            executor.room.eq(feeder.room),
            feeder.i.eq(executor.frame),
            runs.run.eq(executor.run),
            runs.tag.eq(executor.reply.payload.tag),
            runs.taken.eq(self.frame_taken),
            runs.done.eq(self.image_done),
            runs.answered.eq(sender.answered),
            runs.clear.eq(executor.abort),
            sender.runs.eq(runs.waiting + runs.running),
            sender.dropped.eq(receiver.dropped),
            sender.answer.eq(runs.answer),
            sender.tag.eq(runs.answer_tag),
            sender.label.eq(self.label),
            sender.clocks.eq(self.clocks),
            sender.outputs.eq(executor.outputs),
            sender.output.eq(self.output),
            self.place.eq(sender.place),
            self.start.eq(executor.start),
            self.abort.eq(executor.abort),
            self.frame_ready.eq(runs.waiting & ~runs.running & feeder.idle),
        ]
        return m
