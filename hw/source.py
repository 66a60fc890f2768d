"""Sources of events: a memory of spikes (or pixels), walked in order and turned into events."""

from __future__ import annotations

from collections.abc import Sequence

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from spikewright.hw.emitter import Emitter, record_layout
from spikewright.hw.encoder import make_encoder
from spikewright.hw.event import SettingSignature, event_layout
from spikewright.hw.load import LoadSignature
from spikewright.hw.memory import BankedMemory, make_memory
from spikewright.hw.queue import Queue
from spikewright.hw.walker import Walker, mark_layout
from spikewright.machine.hardware import HardwareShape, Region, bits_for, memory_id

__all__ = ["Source"]


class Source(wiring.Component):
    """Sends the events of a layer's source, step by step, each step ended by a token.

    ::

        walker -> memory, axis tables -> register -> encoder, add -> queue -> emitter -> o
          ^                                                            |
          +----------------------- room in the queue ------------------+

    With `frame` the memory holds pixels (two banks), else a core's spikes; the encoder says which
    events a word means. It looks at one word a clock and sends up to one event a clock; words
    without events cost nothing behind the encoder. A stalled sink holds everything, nothing is
    lost.

    Members
    -------
    write : fills the memory (frame: by the host, one bank above the other)
    bank : with `frame`, which bank the next walk reads
    active : takes part in the layer that the registers describe
    """

    DEPTH = 16

    def __init__(self, shape: HardwareShape, *, frame: bool, axis: Sequence[int] = ()) -> None:
        self._shape, self._frame, self._axis = shape, frame, axis
        self._width = shape.pixel_bits if frame else shape.spike_width
        self._depth = 2 * shape.frame_words if frame else shape.spike_words
        write = wiring.Signature(
            {
                "enable": Out(1),
                "address": Out(bits_for(self._depth - 1)),
                "data": Out(self._width),
            }
        )
        super().__init__(
            {
                "setting": In(SettingSignature()),
                "load": In(LoadSignature(shape)),
                "write": In(write),
                "start": In(1),
                "bank": In(1),
                "o": Out(stream.Signature(event_layout(shape))),
                "active": Out(1),
                "busy": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        shape = self._shape
        m.submodules.walker = walker = Walker(shape, frame=self._frame)
        m.submodules.memory = memory = BankedMemory(self._width, self._depth)
        m.submodules.encoder = encoder = make_encoder(shape, frame=self._frame)
        m.submodules.queue = queue = Queue(record_layout(shape, encoder), self.DEPTH)
        m.submodules.emitter = emitter = Emitter(shape, encoder)
        connect(m, queue.o, emitter.i)
        connect(m, emitter.o, flipped(self.o))
        connect(m, flipped(self.write), memory.write)
        for part in (walker, encoder):
            connect(m, flipped(self.setting), part.setting)
            m.d.comb += part.start.eq(self.start)
        m.d.comb += [walker.bank.eq(self.bank), self.active.eq(walker.active)]

        # Reads: the queue must have room for everything that is on its way.
        read = Signal()
        m.d.comb += [
            read.eq(walker.valid & (queue.level <= self.DEPTH - 4) & ~encoder.hold),
            walker.advance.eq(read),
            memory.read.eq(read & ~walker.mark.silent),
            memory.address.eq(walker.address),
            encoder.read.eq(read),
            encoder.ends.eq(walker.mark.last),
        ]
        y, x = self._add_tables(m, read, walker)

        # A block RAM delivers late in its clock: register first, add afterwards.
        arrived, valid, added = Signal(), Signal(), Signal()
        marks = [Signal(mark_layout(shape), name=f"mark_{i}") for i in range(2)]
        mark = marks[1]
        m.d.sync += [
            arrived.eq(read),
            valid.eq(arrived),
            marks[0].eq(walker.mark),
            marks[1].eq(marks[0]),
        ]
        m.d.comb += [
            encoder.valid.eq(valid),
            encoder.word.eq(memory.data),
            encoder.mark.eq(mark),
        ]
        record = Signal(record_layout(shape, encoder), reset_less=True)
        hit = Signal()
        m.d.comb += hit.eq(y.count.any() & x.count.any() & ~mark.silent)
        m.d.sync += [
            added.eq(valid & (mark.last | (hit & encoder.some))),
            record.mask.eq(Mux(hit, encoder.mask, 0)),
            record.negative.eq(encoder.negative),
            record.digit.eq(mark.digit),
            record.weight.eq(y.weight + x.weight + mark.channel),
            record.word.eq(y.word + x.word),
            record.rows.eq(y.count),
            record.cols.eq(x.count),
            record.last.eq(mark.last),
        ]
        m.d.comb += [
            queue.i.p.eq(record),
            queue.i.valid.eq(added),
            self.busy.eq(walker.valid | arrived | valid | added | queue.level.any() | emitter.busy),
        ]
        return m

    def _add_tables(self, m, read, walker):
        """The axis tables; gives the entries of the word two clocks after its `read`."""
        shape = self._shape
        entries = []
        for name, address in (("axis_y", walker.axis_y), ("axis_x", walker.axis_x)):
            table = make_memory(sum(shape.axis_fields.values()), shape.axis_words, self._axis)
            m.submodules[name] = table
            port, loader = table.read_port(), table.write_port()
            entry = Signal(data.StructLayout(shape.axis_fields), name=name, reset_less=True)
            m.d.comb += [
                port.en.eq(read),
                port.addr.eq(address),
                loader.en.eq(self.load.valid & (self.load.memory == memory_id(Region.AXIS))),
                loader.addr.eq(self.load.address),
                loader.data.eq(self.load.data),
            ]
            m.d.sync += entry.eq(port.data)
            entries.append(entry)
        return entries
