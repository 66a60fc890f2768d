"""The readout: what an image's outputs are, and which of them is the greatest."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from spikewright.hw.cells.memory import BlockMemory
from spikewright.hw.cores.streams import Layouts
from spikewright.hw.fabric.router import received_layout
from spikewright.machine.blocks import Machine, address_bits

__all__ = ["Readout"]


class Readout(wiring.Component):
    """Keeps the words of kind 2, and the greatest; of equal ones the lowest index, in any order.

    Latency: :attr:`LATENCY` clocks from `finish` to `valid`. Throughput: a word a clock.

    A value has as many bits as membranes and counts need; the word's others are copies of its sign.

    Members
    -------
    received
        A core's words.
    begin
        A pulse: an image begins, there is no greatest yet. Words in the same clock are behind it.
    finish
        A pulse: its last word was there, in this clock at the latest.
    valid
        A pulse: `label` and `value` are those of the image that is finished. They stay until the
        next one is.
    label, value
        Place of the greatest output, and the output.
    address, data
        Read port, of two clocks. What a place holds is the image's until the next image's words
        come: who reads them holds the next frame back.
    """

    LATENCY = Machine.readout

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.bits = max(machine.fire.membrane_bits, machine.pool.bits + 1)
        places = address_bits(machine.outputs)
        super().__init__(
            {
                "received": In(received_layout(Layouts(machine).router)),
                "begin": In(1),
                "finish": In(1),
                "valid": Out(1),
                "label": Out(places),
                "value": Out(signed(self.bits)),
                "address": In(places),
                "data": Out(signed(self.bits)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        places = len(self.label)
        m.submodules.memory = memory = BlockMemory(self.bits, max(2, self.machine.outputs))
        took, begin, finish = Signal(), Signal(), Signal()
        value = Signal(self.bits, reset_less=True)
        place = Signal(places, reset_less=True)
        received = self.received
        m.d.sync += [
            took.eq(received.valid & received.word.kind[1]),
            begin.eq(self.begin),
            finish.eq(self.finish),
            value.eq(received.word.data),
            place.eq(received.word.address),
        ]
        m.d.comb += [
            memory.address.eq(self.address),
            self.data.eq(memory.data),
            memory.write.enable.eq(took),
            memory.write.address.eq(place),
            memory.write.data.eq(value),
        ]
        # One chain: places count downwards below the value, the sign is inverted.
        best, key = (Signal(self.bits + places, reset_less=True, name=n) for n in ("best", "key"))
        empty = Signal(init=1)
        m.d.comb += key.eq(Cat(~place, value[:-1], ~value[-1]))
        with m.If(begin):
            m.d.sync += empty.eq(1)
        with m.If(took):
            m.d.sync += empty.eq(0)
            with m.If(empty | begin | (key > best)):
                m.d.sync += best.eq(key)
        valid = Signal()
        label, greatest = Signal(places), Signal(self.bits)
        m.d.comb += [self.valid.eq(valid), self.label.eq(label), self.value.eq(greatest)]
        late = Signal()  # a word that came with `finish` is in `best` by now
        m.d.sync += [late.eq(finish), valid.eq(late)]
        with m.If(late):
            m.d.sync += [
                label.eq(~best[:places]),
                greatest.eq(Cat(best[places:-1], ~best[-1])),
            ]
        return m
