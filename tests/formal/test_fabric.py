"""Proofs about the router of the second machine, and that the sequencer obeys `abort`.

A word that is taken is at every core a fixed number of clocks later, and nothing else is: so none
is lost, doubled or altered, and each source's order is kept. No offer waits longer than the bound.
Where `arrived` is high no word of a core that is done is on its way.
"""

import pytest
from amaranth.asserts import AnySeq
from amaranth.hdl import (
    Assert,
    Assume,
    Cat,
    Const,
    Cover,
    Elaboratable,
    Module,
    Mux,
    Signal,
    Value,
    unsigned,
)
from amaranth.lib import wiring

from spikewright.hw.fabric import router
from spikewright.hw.fabric.router import CollectNode, Router, slot_layout
from spikewright.hw.fabric.sequencer import Sequencer, State
from spikewright.machine.blocks import Machine

WIDTH = 2


class Contract(Elaboratable):
    """What the router's docstring says, of `cores` cores and the frame."""

    def __init__(self, cores, turn=2, router=Router):
        self.cores, self.turn, self.router = cores, turn, router

    def elaborate(self, platform):
        self.m = m = Module()
        self.dut = dut = self.router(unsigned(WIDTH), self.cores)
        dut.TURN = self.turn
        m.submodules.dut = dut
        self.sources = [*dut.i, dut.frame]
        self.taken = [self.source(number, port) for number, port in enumerate(self.sources)]
        self.deliver()
        self.finish()
        return m

    @property
    def depth(self):
        """Clocks after which all that is inside has come in since: enough for induction."""
        return self.turn * (self.cores + 2) + 2 * self.cores + 2

    def delays(self, value, clocks, name):
        """`value`, and what it was before."""
        stages = [value]
        for clock in range(clocks):
            stage = Signal(value.shape(), name=f"{name}_{clock}")
            self.m.d.sync += stage.eq(stages[-1])
            stages.append(stage)
        return stages

    def source(self, number, port):
        """Offers of any words, which stay until they are taken; what is taken, now and before."""
        m = self.m
        refused, offer = Signal(name=f"refused_{number}"), Signal(WIDTH, name=f"offer_{number}")
        waited = Signal(range(self.dut.wait + 1), name=f"waited_{number}")
        taken = Signal(1 + WIDTH, name=f"taken_{number}")
        m.d.comb += [
            port.valid.eq(AnySeq(1)),
            port.payload.eq(AnySeq(WIDTH)),
            Assume(~refused | (port.valid & (port.payload == offer))),
            Assert(waited < self.dut.wait),
            taken.eq(Cat(port.valid & port.ready, port.payload)),
        ]
        m.d.sync += [
            refused.eq(port.valid & ~port.ready),
            offer.eq(port.payload),
            waited.eq(0),
        ]
        with m.If(port.valid & ~port.ready):
            m.d.sync += waited.eq(waited + 1)
        late = 1 if number == self.cores else number + 2
        return self.delays(taken, late, f"taken_{number}")

    def deliver(self):
        """At core 0, of each source a fixed number of clocks late; one clock more at the next."""
        m = self.m
        arriving = [stages[-1] for stages in self.taken]
        valid, word = Signal(), Signal(WIDTH)
        m.d.comb += valid.eq(Cat(one[0] for one in arriving).any())
        for one in arriving:
            with m.If(one[0]):
                m.d.comb += word.eq(one[1:])
        for number, one in enumerate(arriving):
            for other in arriving[:number]:
                m.d.comb += Assert(~(one[0] & other[0]))
        expected = self.delays(Value.cast(Cat(valid, word)), self.cores - 1, "expected")
        for received, right in zip(self.dut.received, expected, strict=True):
            m.d.comb += Assert(received.valid == right[0])
            with m.If(right[0]):
                m.d.comb += Assert(received.word == right[1:])

    def finish(self):
        """`done` may rise at any time, and stays; from then on a core sends nothing."""
        m, dut = self.m, self.dut
        reached = []
        for core in range(self.cores):
            closed = Signal(name=f"closed_{core}")
            ends = Signal(name=f"ends_{core}")
            m.d.comb += [
                dut.done[core].eq(AnySeq(1)),
                ends.eq(dut.done[core] & ~dut.i[core].valid),
                Assume(~closed | ends),
            ]
            with m.If(ends):
                m.d.sync += closed.eq(1)
            reached.append(self.delays(ends, core + 1, f"ends_{core}")[-1])
            on_way = Cat(stage[0] for stage in self.taken[core][:-1])
            m.d.comb += Assert(~dut.arrived | ~on_way.any())
        m.d.comb += Assert(dut.arrived == Cat(reached).all())


@pytest.mark.parametrize(("cores", "turn"), [(1, 2), (2, 2), (3, 2), (1, 8)])
def test_router(formal, cores, turn):
    spec = Contract(cores, turn)
    formal.prove(spec, spec.depth)


class Reached(Contract):
    """The last clock of the bound, and a done chain that is whole behind a word."""

    def elaborate(self, platform):
        m = super().elaborate(platform)
        refused = self.sources[0].valid & ~self.sources[0].ready
        long = Signal(range(self.dut.wait + 1))
        m.d.sync += long.eq(long + refused)
        sent = Signal()
        with m.If(self.dut.received[-1].valid):
            m.d.sync += sent.eq(1)
        m.d.comb += [
            Cover(sent & self.dut.arrived),
            Cover(refused & (long >= self.dut.wait - 2)),
        ]
        return m


def test_the_proof_is_not_empty(formal):
    formal.cover(Reached(2), 16)


@pytest.mark.parametrize(
    "fault",
    [
        # A word is lost, or another one; the kept slots are taken by anyone.
        {"_free": lambda self: Const(1)},
        {"comb": lambda self, m: self.o.word.eq(self.own.payload)},
        {"comb": lambda self, m: self.o.valid.eq(self.own.valid)},
        {"_free": lambda self: ~self.i.valid},
        {"_still_held": lambda self: Const(0)},
        # Done before the word, without it, or without those further up.
        {"_all_done": lambda self: self.i.done & self.done},
        {"_all_done": lambda self: self.i.done & ~self.own.valid},
        {"_all_done": lambda self: self.done & ~self.own.valid},
    ],
)
def test_node_faults(formal, monkeypatch, fault):
    monkeypatch.setattr(router, "CollectNode", formal.plant(CollectNode, **fault))
    with pytest.raises(formal.Failed, match="Assert failed"):
        formal.bmc(Contract(2), 16)


def none_kept(self, m, owners):
    slot = Signal(slot_layout(self.word, owners))
    m.d.comb += slot.done.eq(1)
    return slot


def one_turn(self, m, owners):
    slot = none_kept(self, m, owners)
    m.d.comb += [slot.held.eq(1), slot.turn.eq(1)]
    return slot


@pytest.mark.parametrize("empty", [none_kept, one_turn])
def test_router_faults(formal, empty):
    faulty = formal.plant(Router, _empty=empty)
    with pytest.raises(formal.Failed, match="Assert failed"):
        formal.bmc(Contract(2, router=faulty), 16)


class Obeys(Elaboratable):
    """Whatever the program, the host and the cores do: in the clock behind `abort` it is idle."""

    def __init__(self, formal, sequencer=Sequencer):
        self.formal, self.sequencer = formal, sequencer

    def elaborate(self, platform):
        m = Module()
        m.submodules.dut = dut = self.sequencer(Machine(program_words=8))
        for name, member in dut.signature.members.items():
            if member.is_port and member.flow == wiring.In:
                m.d.comb += getattr(dut, name).eq(AnySeq(1))
        m.d.comb += [
            dut.load.valid.eq(AnySeq(1)),
            dut.load.payload.as_value().eq(AnySeq(dut.load.payload.shape().size)),
        ]
        aborted = Signal()
        m.d.sync += aborted.eq(dut.abort)
        with m.If(aborted):
            m.d.comb += [
                Assert(~dut.busy & ~dut.o.valid & ~dut.frame_open & ~dut.image_done),
                Assert(~dut.frame_taken),
                Assert(dut.load.ready | dut.abort),
                Assert(self.formal.inside("dut.fetch.address", 3) == 0),
                Assert(self.formal.inside("dut.fetch.on_way", 3) == 0),
                Assert(~self.formal.inside("dut.inside", 1)),
            ]
        return m


def test_abort(formal):
    formal.prove(Obeys(formal), 2)


def test_abort_faults(formal):
    for fault in (
        {"sync": lambda self, m: self.sent.valid.eq(self.load.valid)},
        {"sync": lambda self, m: self.state.eq(Mux(self.start, State.EXECUTE, self.state))},
        {"comb": lambda self, m: self.fetch.home.eq(0)},
    ):
        faulty = formal.plant(Sequencer, **fault)
        with pytest.raises(formal.Failed, match="Assert failed"):
            formal.bmc(Obeys(formal, faulty), 8)
