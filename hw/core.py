"""A neuron core: issue, lanes, and the source that sends its spikes on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from amaranth.hdl import Module, Signal, unsigned
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from spikewright.hw.event import SettingSignature, bind, event_layout
from spikewright.hw.issue import Issue
from spikewright.hw.lanes import Lanes
from spikewright.hw.load import LoadSignature
from spikewright.hw.queue import Queue
from spikewright.hw.source import Source
from spikewright.machine.hardware import Activity, HardwareShape
from spikewright.machine.instructions import Register

__all__ = ["Core"]


class Core(wiring.Component):
    """Owns a slice of the channels of every layer it takes part in.

    ::

        i (events) -> issue -> lanes -> spike buffer -> source -> o (events)
                         ^_______|hazard

    One word operation a clock. Its source may send an earlier layer's spikes while it integrates.

    Members
    -------
    start : runs the layer that the registers describe; `busy` until its last write is done
    sends, takes : the source, the neurons take part in the layer that the registers describe
    read, potential : readout of one membrane word; the potential stays valid until the next read
    trace : with `trace`, every scan result; a full trace holds the scan back
    """

    TRACE_DEPTH = 16

    def __init__(
        self,
        shape: HardwareShape,
        core: int,
        *,
        trace: bool = False,
        init: Mapping[str, Sequence[int]] | None = None,
    ) -> None:
        self._shape, self._core, self._trace, self._init = shape, core, trace, init or {}
        members = {
            "setting": In(SettingSignature()),
            "load": In(LoadSignature(shape)),
            "start": In(1),
            "busy": Out(1),
            "sends": Out(1),
            "takes": Out(1),
            "i": In(stream.Signature(event_layout(shape))),
            "o": Out(stream.Signature(event_layout(shape))),
            "read": In(stream.Signature(shape.word_address_bits)),
            "potential": Out(
                wiring.Signature({"valid": Out(1), "data": Out(shape.lanes * shape.membrane_bits)})
            ),
        }
        if trace:
            members["trace"] = Out(stream.Signature(unsigned(shape.trace_bits)))
            members["activity"] = Out(Activity)
        super().__init__(members)

    def elaborate(self, platform):
        m = Module()
        shape = self._shape
        m.submodules.issue = issue = Issue(shape)
        m.submodules.lanes = lanes = Lanes(shape, self._core, self._init)
        m.submodules.source = source = Source(shape, frame=False, axis=self._init.get("axis", ()))
        for part in (issue, lanes, source):
            connect(m, flipped(self.setting), part.setting)
            m.d.comb += part.start.eq(self.start)
        for part in (lanes, source):
            connect(m, flipped(self.load), part.load)
        connect(m, flipped(self.i), issue.i)
        connect(m, source.o, flipped(self.o))
        connect(m, flipped(self.read), issue.read)
        connect(m, lanes.potential, flipped(self.potential))
        connect(m, lanes.spikes, source.write)
        connect(m, issue.events, lanes.events)
        connect(m, issue.scan, lanes.scan)
        m.d.comb += [
            lanes.i.eq(issue.o),
            issue.drained.eq(lanes.empty),
            self.sends.eq(source.active),
            self.takes.eq(issue.active),
            self.busy.eq(issue.busy | ~lanes.empty | lanes.spikes.enable | source.busy),
        ]
        if self._trace:
            self._add_trace(m, issue, lanes)
        return m

    def _add_trace(self, m, issue, lanes):
        shape = self._shape
        m.submodules.trace = queue = Queue(unsigned(shape.trace_bits), self.TRACE_DEPTH)
        layer = Signal(shape.trace_fields["layer"])
        bind(m, self.setting, {Register.LAYER: layer})
        values = {"core": self._core, "layer": layer}
        position = 0
        for name, width in shape.trace_fields.items():
            m.d.comb += queue.i.payload[position : position + width].eq(
                values[name] if name in values else getattr(lanes.fired, name)
            )
            position += width
        # Room for everything that the pipeline may still bring.
        m.d.comb += [
            queue.i.valid.eq(lanes.fired.valid),
            issue.hold_fire.eq(queue.level >= self.TRACE_DEPTH - Lanes.STAGES - 3),
            self.activity.eq(issue.activity),
        ]
        connect(m, queue.o, flipped(self.trace))
