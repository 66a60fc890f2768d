"""The whole machine but for its link: sequencer, cores, router and readout."""

from __future__ import annotations

from amaranth.hdl import ClockSignal, Instance, Module, ResetInserter, ResetSignal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from spikewright.hw.cores.streams import Layouts, record_layout
from spikewright.hw.fabric.core import Core, core_signature, trace_layout
from spikewright.hw.fabric.readout import Readout
from spikewright.hw.fabric.router import Router
from spikewright.hw.fabric.sequencer import Sequencer
from spikewright.machine.blocks import Machine, address_bits
from spikewright.machine.loading import LoadWord

__all__ = ["Engine"]


class Engine(wiring.Component):
    """Runs the program on frames as they come; the next one comes in while one is computed.

    Parameters
    ----------
    core_module
        Where cores are instances of a Verilog module, its name.

    Members
    -------
    load
        Words for the memories, see :class:`~spikewright.machine.loading.LoadWord`; before `start`,
        or behind `abort`.
    start, abort, busy
        Pulses: the program begins; everything stops and is as after a reset but for memories.
    frame
        Router words of kind 1; they wait until the program has come to its first FRAME.
    frame_ready, frame_taken
        All words of a frame have been taken; the machine has taken it.
    image_done, label, clocks
        A pulse, with the class and the clocks of the image, see :class:`.sequencer.Sequencer`.
    address, output
        Read port of the readout.
    trace
        What the fire units of each core decide.
    """

    def __init__(self, machine: Machine, core_module: str | None = None) -> None:
        self.machine, self._core_module = machine, core_module
        self.layouts = Layouts(machine)
        self.readout = Readout(machine)
        super().__init__(
            {
                "load": In(stream.Signature(record_layout(LoadWord, machine))),
                "start": In(1),
                "abort": In(1),
                "busy": Out(1),
                "frame": In(stream.Signature(self.layouts.router)),
                "frame_ready": In(1),
                "frame_taken": Out(1),
                "image_done": Out(1),
                "label": Out(address_bits(machine.outputs)),
                "clocks": Out(32),
                "address": In(address_bits(machine.outputs)),
                "output": Out(self.readout.data.shape()),
                "trace": Out(data.ArrayLayout(trace_layout(machine), machine.cores)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        machine = self.machine
        m.submodules.sequencer = sequencer = Sequencer(machine)
        m.submodules.router = router = ResetInserter(self.abort)(
            Router(self.layouts.router, machine.cores)
        )
        connect(m, flipped(self.load), sequencer.load)
        link = sequencer.o
        for index in range(machine.cores):
            core = self._core(m, index)
            connect(m, core.o, router.i[index])
            m.d.comb += [
                core.index.eq(index),
                core.abort.eq(self.abort),
                core.load.eq(link),
                core.received.eq(router.received[index]),
                router.done[index].eq(core.done),
                self.trace[index].eq(core.trace),
            ]
            link = core.load_next
        m.d.comb += [
            sequencer.start.eq(self.start),
            sequencer.abort.eq(self.abort),
            sequencer.arrived.eq(router.arrived),
            sequencer.frame_ready.eq(self.frame_ready),
            self.busy.eq(sequencer.busy),
            self.frame_taken.eq(sequencer.frame_taken),
            self.clocks.eq(sequencer.clocks),
            router.frame.valid.eq(self.frame.valid & sequencer.frame_open),
            router.frame.payload.eq(self.frame.payload),
            self.frame.ready.eq(router.frame.ready & sequencer.frame_open),
        ]
        self._add_readout(m, sequencer, router)
        return m

    def _core(self, m, index):
        """The ports of a core."""
        if self._core_module is None:
            core = Core(self.machine)
            m.submodules[f"core_{index}"] = core
            return core
        signature = core_signature(self.machine)
        ports = signature.create(path=(f"core_{index}",))
        pins = {"i_clk": ClockSignal(), "i_rst": ResetSignal()}
        for path, member, signal in signature.flatten(ports):
            pins[f"{'i' if member.flow is In else 'o'}_{'__'.join(path)}"] = signal
        m.submodules[f"core_{index}"] = Instance(self._core_module, **pins)
        return ports

    def _add_readout(self, m, sequencer, router):
        m.submodules.readout = readout = ResetInserter(self.abort)(self.readout)
        m.d.comb += [
            readout.received.eq(router.received[0]),
            readout.begin.eq(sequencer.frame_taken),
            readout.finish.eq(sequencer.image_done),
            readout.address.eq(self.address),
            self.output.eq(readout.data),
            self.image_done.eq(readout.valid),
            self.label.eq(readout.label),
        ]
