"""Runs the program: sets registers, starts layers, reads the outputs."""

from __future__ import annotations

from collections.abc import Sequence

from amaranth.hdl import Module, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from spikewright.hw.event import SettingSignature
from spikewright.hw.load import LoadSignature
from spikewright.hw.memory import make_memory
from spikewright.hw.queue import Queue
from spikewright.machine.hardware import HardwareShape, Region, bits_for, memory_id
from spikewright.machine.instructions import ALL_UNITS, FRAME_UNIT, Instruction, Opcode

__all__ = ["INSTRUCTION", "Sequencer"]

INSTRUCTION = data.StructLayout(
    {"opcode": 2, "unit": 5, "register": 5, "value": Instruction.VALUE_BITS}
)


class Sequencer(wiring.Component):
    """Fetches ahead and executes one instruction a clock; RUN and READ wait for their unit.

    Members
    -------
    start : begins the program; `busy` until END
    setting : one a core, then the frame source's
    run : starts the layer; it is over when `cores_busy` falls
    read_start, core, count, read_busy : the readout's
    """

    DEPTH = 8

    def __init__(self, shape: HardwareShape, program: Sequence[int] = ()) -> None:
        self._shape, self._program = shape, program
        super().__init__(
            {
                "load": In(LoadSignature(shape)),
                "start": In(1),
                "busy": Out(1),
                "setting": Out(SettingSignature()).array(shape.cores + 1),
                "run": Out(1),
                "cores_busy": In(1),
                "read_start": Out(1),
                "core": Out(5),
                "count": Out(Instruction.VALUE_BITS),
                "read_busy": In(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        shape = self._shape
        m.submodules.memory = memory = make_memory(32, shape.program_words, self._program)
        m.submodules.queue = queue = Queue(INSTRUCTION, self.DEPTH)
        port, loader = memory.read_port(), memory.write_port()
        m.d.comb += [
            loader.en.eq(self.load.valid & (self.load.memory == memory_id(Region.PROGRAM))),
            loader.addr.eq(self.load.address),
            loader.data.eq(self.load.data),
        ]
        # Fetch: as in a source, reads are issued only into room that is there.
        address = Signal(bits_for(shape.program_words - 1))
        fetching, read, arrived, valid = Signal(), Signal(), Signal(), Signal()
        word = Signal(INSTRUCTION)
        m.d.comb += [
            read.eq(fetching & (queue.level <= self.DEPTH - 4)),
            port.en.eq(read),
            port.addr.eq(address),
            queue.i.payload.eq(word),
            queue.i.valid.eq(valid),
        ]
        m.d.sync += [arrived.eq(read), valid.eq(arrived), word.as_value().eq(port.data)]
        with m.If(read):
            m.d.sync += address.eq(address + 1)
            with m.If(address == shape.program_words - 1):
                m.d.sync += fetching.eq(0)
        with m.If(self.start):
            m.d.sync += [fetching.eq(1), address.eq(0), self.busy.eq(1)]

        current = queue.o.p
        for unit, setting in enumerate(self.setting):
            own = FRAME_UNIT if unit == shape.cores else unit
            addressed = (current.unit == own) | (current.unit == ALL_UNITS)
            m.d.sync += [
                setting.valid.eq(
                    queue.o.valid & queue.o.ready & (current.opcode == Opcode.SET) & addressed
                ),
                setting.register.eq(current.register),
                setting.value.eq(current.value),
            ]
        m.d.comb += [self.core.eq(current.unit), self.count.eq(current.value)]
        with m.FSM():
            with m.State("execute"), m.If(queue.o.valid), m.Switch(current.opcode):
                with m.Case(Opcode.SET):
                    m.d.comb += queue.o.ready.eq(1)
                with m.Case(Opcode.RUN):
                    m.next = "settle"  # the last setting arrives
                with m.Case(Opcode.READ):
                    m.d.comb += self.read_start.eq(1)
                    m.next = "read"
                with m.Case(Opcode.END):
                    m.d.comb += queue.o.ready.eq(1)
                    m.d.sync += self.busy.eq(0)
            with m.State("settle"):
                m.next = "run"
            with m.State("run"):
                m.d.comb += self.run.eq(1)
                m.next = "begin"
            with m.State("begin"):
                m.next = "wait"
            with m.State("wait"), m.If(~self.cores_busy):
                m.d.comb += queue.o.ready.eq(1)
                m.next = "execute"
            with m.State("read"), m.If(~self.read_busy):
                m.d.comb += queue.o.ready.eq(1)
                m.next = "execute"
        return m
