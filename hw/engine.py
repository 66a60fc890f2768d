"""The accelerator without its host link: sequencer, frame source, router, cores, readout."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from amaranth.hdl import Cat, Module, Mux, Signal, unsigned
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from spikewright.hw.core import Core
from spikewright.hw.event import event_layout
from spikewright.hw.load import RESULT, LoadSignature
from spikewright.hw.queue import Queue
from spikewright.hw.readout import Readout
from spikewright.hw.router import Merge, Router
from spikewright.hw.sequencer import Sequencer
from spikewright.hw.source import Source
from spikewright.machine.hardware import HardwareShape, Region, memory_id

__all__ = ["Engine"]


class Engine(wiring.Component):
    """Runs one image at a time, layer by layer, as the program says.

    ::

        frame source --+
        core 0 source -+-> router -> core 0 .. N-1 -> readout -> result
        ...            +

    An image is accepted at `run` when the results of the one before have been taken. The loaded
    memories must not be written while `busy`; the frame's other bank may.

    Parameters
    ----------
    init : words of the loadable memories by name, as initial contents for a bitstream

    Members
    -------
    run : payload is the frame's bank
    result : the potentials in channel order
    label, clocks : the argmax, and the clocks from `run` to the end; valid with the last result
        and until the next `run`
    trace, activity, busy : with `trace` only
    """

    def __init__(
        self,
        shape: HardwareShape,
        *,
        trace: bool = False,
        init: Mapping[str, Sequence[int]] | None = None,
    ) -> None:
        self._shape, self._trace, self._init = shape, trace, init or {}
        members = {
            "load": In(LoadSignature(shape)),
            "run": In(stream.Signature(1)),
            "result": Out(stream.Signature(RESULT)),
            "label": Out(16),
            "clocks": Out(32),
        }
        if trace:
            members |= {
                "trace": Out(stream.Signature(unsigned(shape.trace_bits))),
                "activity": Out(3 * shape.cores),
                "busy": Out(1),
            }
        super().__init__(members)

    def elaborate(self, platform):
        m = Module()
        shape = self._shape
        m.submodules.sequencer = sequencer = Sequencer(shape, self._init.get("program", ()))
        m.submodules.frame = frame = Source(shape, frame=True, axis=self._init.get("axis", ()))
        m.submodules.router = router = Router(event_layout(shape), shape.cores + 1, shape.cores)
        m.submodules.readout = readout = Readout(shape)
        m.submodules.results = results = Queue(RESULT, max(3, shape.outputs))
        cores = []
        for index in range(shape.cores):
            core = Core(shape, index, trace=self._trace, init=self._init)
            m.submodules[f"core_{index}"] = core
            cores.append(core)
            connect(m, sequencer.setting[index], core.setting)
            connect(m, core.o, router.i[index])
            connect(m, router.o[index], core.i)
            connect(m, readout.request[index], core.read)
            connect(m, core.potential, readout.potential[index])
        connect(m, sequencer.setting[shape.cores], frame.setting)
        connect(m, frame.o, router.i[shape.cores])
        for unit in (sequencer, frame, *cores):
            connect(m, flipped(self.load), unit.load)
        for unit in (frame, *cores):
            m.d.comb += unit.start.eq(sequencer.run)
        m.d.comb += [
            router.sources.eq(Cat(*(core.sends for core in cores), frame.active)),
            router.sinks.eq(Cat(core.takes for core in cores)),
            readout.start.eq(sequencer.read_start),
            readout.core.eq(sequencer.core),
            readout.count.eq(sequencer.count),
            sequencer.read_busy.eq(readout.busy),
        ]
        # Registered: the sequencer looks two clocks after it has started the layer.
        m.d.sync += sequencer.cores_busy.eq(Cat(frame.busy, *(core.busy for core in cores)).any())
        self._add_frame_writes(m, frame)

        # One image at a time; its clocks are counted from its acceptance to END.
        bank = Signal()
        free = ~sequencer.busy & (results.level == 0)
        m.d.comb += [
            self.run.ready.eq(free),
            sequencer.start.eq(self.run.valid & free),
            readout.clear.eq(sequencer.start),
            frame.bank.eq(bank),
            self.label.eq(readout.label),
        ]
        with m.If(sequencer.busy):
            m.d.sync += self.clocks.eq(self.clocks + 1)
        with m.If(sequencer.start):
            m.d.sync += [self.clocks.eq(0), bank.eq(self.run.payload)]
        connect(m, readout.o, results.i)
        # The last potential leaves when the image is over, so that the host finds the clocks final.
        hold = results.o.p.last & sequencer.busy
        m.d.comb += [
            self.result.payload.eq(results.o.payload),
            self.result.valid.eq(results.o.valid & ~hold),
            results.o.ready.eq(self.result.ready & ~hold),
        ]
        if self._trace:
            self._add_trace(m, cores)
            m.d.comb += self.busy.eq(sequencer.busy)
        return m

    def _add_frame_writes(self, m, frame):
        base = Mux(self.load.bank, self._shape.frame_words, 0)
        m.d.comb += [
            frame.write.enable.eq(self.load.valid & (self.load.memory == memory_id(Region.FRAME))),
            frame.write.address.eq(self.load.address + base),
            frame.write.data.eq(self.load.data),
        ]

    def _add_trace(self, m, cores):
        m.submodules.traces = traces = Merge(unsigned(self._shape.trace_bits), len(cores))
        for core, port in zip(cores, traces.i, strict=True):
            connect(m, core.trace, port)
        connect(m, traces.o, flipped(self.trace))
        m.d.comb += self.activity.eq(Cat(core.activity for core in cores))
