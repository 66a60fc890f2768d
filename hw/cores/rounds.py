"""Rounds: what each hand-over of the lanes becomes, slot by slot, in the fire units and behind.

A round is a time step of an item. The walked steps come as hand-overs from the picker; those behind
them have no words, and are made here.
"""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from spikewright.hw.cores.streams import MARK, Layouts, record_layout
from spikewright.machine.blocks import Machine
from spikewright.machine.configuration import LayerRecord, Send, ShareRecord

__all__ = ["Rounds"]


class Rounds(wiring.Component):
    """Stages of all rounds of a layer: window after window, member after member, slot after slot.

    Latency: a round's first stage is there :attr:`LATENCY` clocks after its acceptance, the others
    follow clock by clock. Throughput: rounds are as far apart as their slots, the fire units and
    the packer need, ``max(slots of the item, machine.fire.latency, planes + 1)`` clocks. The first
    one of a layer is accepted ``machine.fire.latency`` clocks after `start` or later.

    Members
    -------
    layer, share, start
        The records, new with the pulse `start`, when all rounds of the layer before are through.
    i
        A walked step is handed over. It waits while the rounds of steps without words are made.
    room
        A round may be accepted in this clock, from `i` or without words.
    promise
        A round is accepted in this clock.
    stage
        See :class:`.Layouts`. `closes` says that a window is whole also in a layer that sends
        counts, in each of its steps.
    """

    LATENCY = 2
    """Clocks from an accepted round to its first stage."""

    def __init__(self, machine: Machine) -> None:
        self._least = machine.fire.latency
        layouts = Layouts(machine)
        super().__init__(
            {
                "layer": In(record_layout(LayerRecord, machine)),
                "share": In(record_layout(ShareRecord, machine)),
                "start": In(1),
                "i": In(stream.Signature(MARK)),
                "room": In(1),
                "promise": Out(layouts.promise),
                "stage": Out(layouts.stage),
            }
        )

    def elaborate(self, platform):
        m = Module()
        accept, walking = Signal(), Signal(init=1)
        now, stage = (
            Signal(self.stage.shape(), name=name, reset_less=True) for name in ("now", "shown")
        )
        running, valid = Signal(), Signal()
        mark = Mux(walking, self.i.payload, now.mark)
        last = self._steps(m, accept, walking, now)
        slot, ends, busy = self._places(m, accept, now)
        free = ~busy & self._rested(m, accept) & self.room
        m.d.comb += [
            self.i.ready.eq(free & walking),
            accept.eq(free & (self.i.valid | ~walking)),
            self.promise.valid.eq(accept),
            self.promise.last.eq(last),
            self.promise.mark.eq(mark),
        ]
        with m.If(accept):
            m.d.sync += now.mark.eq(mark)
        counts = self.layer.send == Send.COUNTS
        m.d.sync += [
            running.eq(accept | busy),
            valid.eq(running),
            stage.eq(now),
            stage.opens.eq(now.opens & now.mark.first & (now.first | ~counts)),
            stage.closes.eq(now.closes & now.mark.last),
        ]
        whole, final = running & now.closes & ends, running & now.final
        self._parameters(m, slot, final & now.last & now.mark.group, stage)
        self._entries(m, slot, whole, final & (now.last | counts), stage)
        m.d.comb += [self.stage.eq(stage), self.stage.valid.eq(valid)]
        return m

    def _rested(self, m: Module, accept: Value) -> Value:
        """Whether the fire units' loop, the packer and :meth:`_steps` allow another round."""
        least, planes = self._least, self.layer.planes
        rested, count = Signal(init=1), Signal.like(planes, reset_less=True)
        with m.If(accept | self.start):
            m.d.sync += [count.eq(0), rested.eq(0)]
        with m.Else():
            m.d.sync += count.eq(count + 1)
            with m.If(count == Mux(planes >= least, planes - 1, least - 2)):
                m.d.sync += rested.eq(1)
        return rested

    def _steps(self, m: Module, accept: Value, walking: Signal, now: Value) -> Value:
        """Count time steps; whether the next one is the item's last.

        Comparisons take two clocks: rounds are at least four clocks apart.
        """
        step = Signal.like(self.layer.steps)
        ends = {name: Signal(name=f"at_{name}") for name in ("steps", "walks", "driven")}
        for name, end in ends.items():
            # Two bits of both are one LUT.
            pairs = range(0, len(step), 2)
            same = Signal(len(pairs), name=f"same_{name}", reset_less=True)
            m.d.sync += [
                same.eq(Cat(step[i : i + 2] == self.layer[name][i : i + 2] for i in pairs)),
                end.eq(same.all()),
            ]
        first, driving, last = Signal(init=1), Signal(init=1), ends["steps"]
        with m.If(accept):
            m.d.sync += [
                step.eq(step + 1),
                first.eq(last),
                walking.eq(last | (walking & ~ends["walks"])),
                driving.eq(last | (driving & ~ends["driven"])),
                now.first.eq(first),
                now.last.eq(last),
                now.driven.eq(driving),
                now.walked.eq(walking),
                now.held.eq(self.layer.hold & driving & ~walking),
            ]
        with m.If(accept & last):
            m.d.sync += step.eq(0)
        return last

    def _places(self, m: Module, accept: Value, now: Value) -> tuple[Value, Value, Value]:
        """Count through an item, a clock ahead.

        Gives the slot of `now` in its position, whether that is the position's last, and whether
        the round goes on.
        """
        layer = self.layer
        slot, member, window, place = (
            Signal.like(layer.slots, name=name) for name in ("slot", "member", "window", "place")
        )
        busy, go = Signal(), Signal()
        position, closes, final = Signal(), Signal(), Signal()
        m.d.comb += [
            go.eq(accept | busy),
            position.eq(slot == layer.slots),
            closes.eq(member == layer.members),
            final.eq(position & closes & (window == layer.windows)),
        ]
        # Between rounds they are 0, so that ends need not wait for `accept`, which comes late.
        for counter, counts, ends in (
            (place, go, final),
            (slot, go, position),
            (member, go & position, position & closes),
            (window, go & position & closes, final),
        ):
            with m.If(counts):
                m.d.sync += counter.eq(counter + 1)
            with m.If(ends):
                m.d.sync += counter.eq(0)
        own, ends = Signal.like(slot, name="own_slot", reset_less=True), Signal(reset_less=True)
        m.d.sync += [
            busy.eq(go & ~final),
            own.eq(slot),
            ends.eq(position),
            now.slot.eq(place),
            now.opens.eq(member == 0),
            now.closes.eq(closes),
            now.final.eq(final),
        ]
        return own, ends, busy

    def _parameters(self, m: Module, slot: Value, leaves: Value, stage: Value) -> None:
        """Rows of a group, for each position again; the next group's follow.

        The base is that of the first group, or the row before the base: then one is added, so that
        the last row of a group is the base of the next.
        """
        base, behind = Signal.like(stage.parameter, reset_less=True), Signal()
        row = Signal.like(base)
        m.d.comb += row.eq(_sum(base, slot, behind))
        m.d.sync += stage.parameter.eq(row)
        with m.If(leaves):
            m.d.sync += [base.eq(row), behind.eq(1)]
        with m.If(self.start):
            m.d.sync += [base.eq(self.share.parameter_base), behind.eq(0)]

    def _entries(self, m: Module, slot: Value, leaves: Value, ends: Value, stage: Value) -> None:
        """Places of the sums, those of a window for each member again; counted likewise."""
        base, behind = Signal.like(stage.entry), Signal()
        entry = Signal.like(base)
        m.d.comb += entry.eq(_sum(base, slot, behind))
        m.d.sync += stage.entry.eq(entry)
        with m.If(leaves):
            m.d.sync += [base.eq(entry), behind.eq(1)]
        with m.If(ends):
            m.d.sync += [base.eq(0), behind.eq(0)]


def _sum(base: Value, offset: Value, more: Value) -> Value:
    """``base + offset + more`` on one carry chain."""
    return (Cat(more, base) + Cat(more, offset))[1:]
