"""Proofs that the router neither loses, doubles, reorders nor delays, and that tokens are barriers.

Everything that could differ is left open: which sources and cores take part, what is sent when,
which source the followed event comes from. Any one event is followed from its offer to all cores.
"""

import pytest
from amaranth.asserts import AnyConst, AnySeq
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
    unsigned,
)
from amaranth.lib import data

from spikewright.hw import router
from spikewright.hw.router import Router


class Contract(Elaboratable):
    """The contract of a router whose cores take what is offered within `patience` clocks."""

    def __init__(self, formal, sources, sinks, depth, patience, router=Router):
        self.formal, self.router = formal, router
        self.sources, self.sinks, self.depth, self.patience = sources, sinks, depth, patience
        self.shape = data.StructLayout(
            {"source": range(max(sources, 2)), "label": sources, "tag": 1, "token": 1}
        )
        self.bound = (sources + depth + 1) * patience - 1

    def elaborate(self, platform):
        self.m = Module()
        self.dut = self.router(self.shape, self.sources, self.sinks)
        self.dut.DEPTH = self.depth
        self.m.submodules.dut = self.dut
        self.accept_events()
        self.follow_one()
        self.deliver_events()
        return self.m

    def after(self, seen, event):
        """The sources whose token of the present step has come, once `event` has come, too."""
        more = seen | (event.token << event.source)[: self.sources]
        return Mux((more | ~self.dut.sources).all(), 0, more)

    def accept_events(self):
        """The sequence of events as the router takes them: at most one a clock, steps in turn."""
        m, dut = self.m, self.dut
        m.d.comb += [
            dut.sources.eq(AnyConst(self.sources)),
            dut.sinks.eq(AnyConst(self.sinks)),
        ]
        for index, source in enumerate(dut.i):
            m.d.comb += [
                source.valid.eq(AnySeq(1) & dut.sources[index]),
                source.payload.eq(AnySeq(unsigned(self.shape.size))),
                Assume(source.p.source == index),
            ]
        self.offers = Signal(self.sources)
        self.accept = accept = Signal(self.sources)
        self.event = Signal(self.shape)
        self.seen = Signal(self.sources)
        self.last = Signal(range(max(self.sources, 2)), init=self.sources - 1)
        m.d.comb += [
            self.offers.eq(Cat(source.valid for source in dut.i)),
            accept.eq(Cat(source.valid & source.ready for source in dut.i)),
            Assert((accept & (accept - 1)[: self.sources]) == 0),
            Assert((accept & self.seen) == 0),
        ]
        for index, source in enumerate(dut.i):
            with m.If(accept[index]):
                m.d.comb += self.event.eq(source.p)
                m.d.sync += [
                    self.seen.eq(self.after(self.seen, self.event)),
                    self.last.eq(index),
                ]

    def follow_one(self):
        """Any offer, of any source that need not wait for the tokens of the others."""
        m = self.m
        self.origin = Signal.like(self.last)
        self.followed = Signal(self.shape)
        self.begin = Signal()
        self.waiting = Signal()  # offered and not accepted
        self.taken = Signal()
        self.pending = Signal(self.sinks)  # accepted, and not yet at these cores
        self.age = Signal(range(self.bound + 2))
        offer = Signal(self.shape)
        m.d.comb += [
            self.origin.eq(AnyConst(self.origin.shape())),
            Assume(self.origin < self.sources),
            self.begin.eq(
                AnySeq(1)
                & ~(self.waiting | self.pending.any())
                & (self.offers & ~self.seen).bit_select(self.origin, 1)
            ),
            self.taken.eq((self.begin | self.waiting) & self.accept.bit_select(self.origin, 1)),
        ]
        for index, source in enumerate(self.dut.i):
            with m.If(self.origin == index):
                m.d.comb += offer.eq(source.p)
        m.d.sync += self.age.eq(self.age + 1)
        with m.If(self.begin):
            m.d.sync += [self.followed.eq(offer), self.age.eq(1)]
        with m.If(self.begin | self.waiting):
            m.d.sync += self.waiting.eq(~self.taken)
        with m.If(self.waiting):
            m.d.comb += Assume(self.offers.bit_select(self.origin, 1) & (offer == self.followed))
        with m.If(self.taken):
            m.d.sync += self.pending.eq(self.dut.sinks)
        with m.If(self.waiting | self.pending.any()):
            m.d.comb += Assert(self.age < self.bound)

    def deliver_events(self):
        """Every core that takes part gets the accepted sequence, the others nothing."""
        m, dut = self.m, self.dut
        self.inflight, self.before, self.arrived, self.stall = [], [], [], []
        for index, sink in enumerate(dut.o):
            inflight = Signal(range(self.depth + 2), name=f"inflight_{index}")
            before = Signal(range(self.depth + 2), name=f"before_{index}")
            arrived = Signal(self.sources, name=f"arrived_{index}")
            stall = Signal(range(self.patience), name=f"stall_{index}")
            self.inflight.append(inflight)
            self.before.append(before)
            self.arrived.append(arrived)
            self.stall.append(stall)
            get = sink.valid & sink.ready
            refused = Signal(name=f"refused_{index}")
            refusal = Signal(self.shape, name=f"refusal_{index}")
            m.d.comb += [
                sink.ready.eq(AnySeq(1)),
                Assume(~sink.valid | sink.ready | (stall < self.patience - 1)),
                Assert(~sink.valid | (dut.sinks[index] & (inflight != 0))),
            ]
            m.d.sync += [
                stall.eq(Mux(sink.valid & ~sink.ready, stall + 1, 0)),
                inflight.eq(inflight + (self.accept.any() & dut.sinks[index]) - get),
                refused.eq(sink.valid & ~sink.ready),
                refusal.eq(sink.p),
            ]
            with m.If(refused):
                m.d.comb += Assert(sink.valid & (sink.p == refusal))
            with m.If(get):
                # An event behind its source's token belongs to the next step: it waits for all.
                m.d.comb += Assert((dut.sources & ~arrived).bit_select(sink.p.source, 1))
                m.d.sync += arrived.eq(self.after(arrived, sink.p))
                with m.If(self.pending[index]):
                    m.d.sync += before.eq(before - 1)
                    with m.If(before == 0):
                        m.d.comb += Assert(sink.p == self.followed)
                        m.d.sync += self.pending[index].eq(0)
            with m.If(self.taken):
                m.d.sync += before.eq(inflight - get)


class Invariants(Contract):
    """The contract, and what its induction needs: statements about the state inside."""

    def elaborate(self, platform):
        m = super().elaborate(platform)
        inside = self.formal.inside
        # Each event carries the tokens seen when it was accepted, in a field of its own: for the
        # router all fields but the token are the same.
        for source, accepted in zip(self.dut.i, self.accept, strict=True):
            m.d.comb += Assume(~accepted | (source.p.label == self.seen))
        self.merged = inside("dut.merge.o__valid", 1)
        self.merge = data.View(self.shape, inside("dut.merge.o__payload", self.shape))
        self.levels = [
            inside(f"dut.queue_{index}.level", range(self.depth + 1)) for index in range(self.sinks)
        ]
        m.d.comb += [
            Assert(inside("dut.passed", self.sources) == self.seen),
            Assert((self.seen == 0) | (self.seen != self.dut.sources)),
            Assert((self.seen & ~self.dut.sources) == 0),
        ]
        self.rank_offer()
        for index in range(self.sinks):
            contents = self.formal.contents(f"dut.queue_{index}", self.shape.size, self.depth)
            self.locate(index, contents)
            self.chain(index, contents)
        return m

    def rank_offer(self):
        """Clocks until the event is accepted, at most: those of the sources before it."""
        m, patience = self.m, self.patience
        above = self.formal.inside("dut.merge.above", self.sources)
        m.d.comb += [
            Assert(self.last < self.sources),
            Assert(above == (~((2 << self.last) - 1))[: self.sources]),
        ]
        self.room = 0  # clocks until all queues have room
        for index, level in enumerate(self.levels):
            need = Mux(level == self.depth, patience - self.stall[index], 0)
            self.room = Mux(need > self.room, need, self.room)
        gap = Mux(
            self.origin > self.last,
            self.origin - self.last - 1,
            self.origin + self.sources - self.last - 1,
        )[: len(self.origin)]
        rank = Mux(self.merged, self.room, 0) + 1 + gap * patience
        with m.If(self.waiting):
            m.d.comb += [
                Assert((self.dut.sources & ~self.seen).bit_select(self.origin, 1)),
                Assert(self.age + rank + (self.depth + 1) * patience - 1 <= self.bound),
            ]

    def locate(self, index, contents):
        """Where the followed event is, and in how many clocks it is delivered, at most."""
        m, patience = self.m, self.patience
        sink, core, level = self.dut.o[index], self.dut.sinks[index], self.levels[index]
        stall, before = self.stall[index], self.before[index]
        m.d.comb += [
            Assert(self.inflight[index] == Mux(core, level + self.merged, 0)),
            Assert(core | (level == 0)),
            Assert(core | ~self.pending[index]),
            Assert(sink.valid | (level <= 1)),
            Assert(~sink.valid | (level != 0)),
            Assert(sink.valid | (stall == 0)),
            Assert(stall < patience),
            Assert((level != self.depth) | (stall != 0)),
        ]
        rank = (before + 1) * patience - stall
        with m.If(self.pending[index] & (before < level)):
            m.d.comb += [
                Assert(contents[before] == self.followed.as_value()),
                Assert(self.age + Mux(sink.valid, rank, patience + 1) <= self.bound),
            ]
        with m.Elif(self.pending[index]):
            m.d.comb += [
                Assert(self.merged & (before == level)),
                Assert(self.merge == self.followed),
                Assert(self.age + rank + ((level != 0) & ~sink.valid) <= self.bound),
                Assert(self.age + self.room + patience + 2 <= self.bound),
            ]

    def chain(self, index, contents):
        """The labels lead from what has arrived, event by event, to what has been accepted."""
        m = self.m
        core, level = self.dut.sinks[index], self.levels[index]

        def follow(here, older, newer):
            older = data.View(self.shape, older)
            newer = data.View(self.shape, newer)
            allowed = (self.dut.sources & ~newer.label).bit_select(newer.source, 1)
            m.d.comb += Assert(~here | (allowed & (newer.label == self.after(older.label, older))))

        for here, older, newer in contents.neighbours():
            follow(here, older, newer)
        newest = contents.newest()
        follow((level != 0) & self.merged, newest, self.merge.as_value())
        latest = data.View(self.shape, Mux(self.merged, self.merge.as_value(), newest))
        oldest = data.View(self.shape, Mux(level == 0, self.merge.as_value(), contents[0]))
        with m.If(core & (self.merged | (level != 0))):
            m.d.comb += [
                Assert((self.dut.sources & ~oldest.label).bit_select(oldest.source, 1)),
                Assert(oldest.label == self.arrived[index]),
                Assert(self.after(latest.label, latest) == self.seen),
            ]
        with m.Elif(core):
            m.d.comb += Assert(self.arrived[index] == self.seen)


class Reached(Contract):
    """What is possible under the assumptions of the contract, the last clock of its bound too."""

    def elaborate(self, platform):
        m = super().elaborate(platform)
        m.d.comb += Assume(self.dut.sources.all() & self.dut.sinks.all())
        sink, arrived = self.dut.o[-1], self.arrived[-1]
        get = sink.valid & sink.ready
        complete = Signal()  # the first step, at the last core
        with m.If(get & sink.p.token & (self.after(arrived, sink.p) == 0)):
            m.d.sync += complete.eq(1)
        delivered = get & self.pending[-1] & (self.before[-1] == 0)
        m.d.comb += [
            Cover(complete & delivered & ~sink.p.token & (self.origin == self.sources - 1)),
            Cover((self.offers & self.seen).any() & self.accept.any()),
            Cover(self.inflight[0] == self.depth + 1),
            Cover(self.pending.any() & (self.age == self.bound - 1)),
        ]
        return m


@pytest.mark.parametrize(
    ("sources", "sinks", "depth", "patience"),
    [(1, 1, 3, 1), (3, 2, 4, 3), (2, 2, Router.DEPTH, 2)],
)
def test_router(formal, sources, sinks, depth, patience):
    formal.prove(Invariants(formal, sources, sinks, depth, patience), 1)


def test_the_proof_is_not_empty(formal):
    formal.cover(Reached(formal, 2, 2, 3, 2), 16)


def of_the_first_source(self, m):
    """The payload that all queues get."""
    queues = [m.submodules[f"queue_{index}"] for index in range(len(self.o))]
    return [queue.i.p.eq(m.submodules.merge.i[0].p) for queue in queues]


@pytest.mark.parametrize(
    ("patience", "fault"),
    [
        # A source goes on behind its token; a step is complete with the first token.
        (1, {"_next_passed": lambda self, passed: Const(0)}),
        (1, {"_complete": lambda self, passed: passed.any()}),
        # A step is never complete, or not without the sources that take no part.
        (1, {"_next_passed": lambda self, passed: passed}),
        (1, {"_complete": lambda self, passed: passed.all()}),
        # One half of a transfer without the other.
        (1, {"_offers": lambda self, source, passed: source.valid}),
        (1, {"comb": lambda self, m: [source.ready.eq(1) for source in self.i]}),
        (2, {"_all_have": lambda self, room: Const(1)}),
        (2, {"_all_have": lambda self, room: (room & self.sinks).any()}),
        (2, {"_gives": lambda self, event, index: event.valid & self.sinks[index]}),
        # A core that takes no part; one that waits for such a core.
        (1, {"_gives": lambda self, event, index: event.valid & event.ready}),
        (1, {"_all_have": lambda self, room: (room & self.sinks).all()}),
        # An altered event.
        (1, {"comb": of_the_first_source}),
    ],
)
def test_router_faults(formal, patience, fault):
    faulty = formal.plant(Router, **fault)
    with pytest.raises(formal.Failed, match="Assert failed"):
        formal.bmc(Contract(formal, 2, 2, 3, patience, faulty), 14)


def stays(self, m):
    return self.o.valid.eq(self.o.valid | Cat(source.ready for source in self.i).any())


@pytest.mark.parametrize(
    ("patience", "fault"),
    [
        # Starvation; two at once.
        (1, {"_grant": lambda self, waiting, above: waiting & -waiting}),
        (1, {"_grant": lambda self, waiting, above: waiting}),
        # An event is overwritten, or stays.
        (2, {"_room": lambda self: Const(1)}),
        (1, {"sync": stays}),
    ],
)
def test_merge_faults(formal, monkeypatch, patience, fault):
    monkeypatch.setattr(router, "Merge", formal.plant(router.Merge, **fault))
    with pytest.raises(formal.Failed, match="Assert failed"):
        formal.bmc(Contract(formal, 2, 2, 3, patience), 14)
