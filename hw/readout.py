"""Reads the last layer's membranes, lane by lane, and finds the greatest."""

from __future__ import annotations

from amaranth.hdl import Array, Module, Signal, signed
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from spikewright.hw.load import RESULT
from spikewright.machine.hardware import MAX_CORES, HardwareShape, bits_for
from spikewright.machine.instructions import Instruction

__all__ = ["Readout"]


class Readout(wiring.Component):
    """Serialises potentials in channel order; ties of the argmax take the lowest channel.

    One potential a clock, five clocks more for each word of `lanes`.

    Members
    -------
    clear : begins an image
    start, core, count : reads the first `count` potentials of one core's slice; `busy` meanwhile
    request, potential : to and from the cores
    label : index of the greatest potential sent since `clear`
    """

    def __init__(self, shape: HardwareShape) -> None:
        self._shape = shape
        word = shape.lanes * shape.membrane_bits
        super().__init__(
            {
                "clear": In(1),
                "start": In(1),
                "core": In(bits_for(MAX_CORES - 1)),
                "count": In(Instruction.VALUE_BITS),
                "busy": Out(1),
                "request": Out(stream.Signature(shape.word_address_bits)).array(shape.cores),
                "potential": In(wiring.Signature({"valid": Out(1), "data": Out(word)})).array(
                    shape.cores
                ),
                "o": Out(stream.Signature(RESULT)),
                "label": Out(16),
            }
        )

    def elaborate(self, platform):
        m = Module()
        shape = self._shape
        bits = shape.membrane_bits
        core = Signal(range(max(2, shape.cores)))
        left, word = Signal.like(self.count), Signal(shape.word_address_bits)
        lanes = Signal(shape.lanes * bits, reset_less=True)
        lane = Signal(range(max(2, shape.lanes)))
        channel, best = Signal(16), Signal(signed(bits))
        value = lanes[:bits].as_signed()
        ready = Array(request.ready for request in self.request)[core]
        valid = Array(potential.valid for potential in self.potential)[core]
        m.d.comb += [
            self.o.p.value.eq(value),
            self.o.p.last.eq(channel == shape.outputs - 1),
        ]
        for request in self.request:
            m.d.comb += request.payload.eq(word)
        with m.If(self.clear):
            m.d.sync += channel.eq(0)
        with m.FSM() as fsm:
            m.d.comb += self.busy.eq(~fsm.ongoing("idle"))
            with m.State("idle"), m.If(self.start):
                m.d.sync += [core.eq(self.core), left.eq(self.count), word.eq(0)]
                m.next = "request"
            with m.State("request"):
                for index, request in enumerate(self.request):
                    m.d.comb += request.valid.eq(core == index)
                with m.If(ready):
                    m.next = "wait"
            with m.State("wait"), m.If(valid):
                for index, potential in enumerate(self.potential):
                    with m.If(core == index):
                        m.d.sync += lanes.eq(potential.data)
                m.d.sync += [lane.eq(0), word.eq(word + 1)]
                m.next = "send"
            with m.State("send"):
                m.d.comb += self.o.valid.eq(1)
                with m.If(self.o.ready):
                    m.d.sync += [
                        lanes.eq(lanes >> bits),
                        lane.eq(lane + 1),
                        left.eq(left - 1),
                        channel.eq(channel + 1),
                    ]
                    with m.If((channel == 0) | (value > best)):
                        m.d.sync += [best.eq(value), self.label.eq(channel)]
                    with m.If(left == 1):
                        m.next = "idle"
                    with m.Elif(lane == shape.lanes - 1):
                        m.next = "request"
        return m
