"""Proofs, by induction, that a queue keeps the order and number of its elements."""

import pytest
from amaranth.asserts import AnySeq
from amaranth.hdl import Assert, Cover, Elaboratable, Module, Mux, Signal

from spikewright.hw.queue import Queue, Stage


class StreamSpec(Elaboratable):
    """The stream rule at an output: what is offered stays until it is taken."""

    def __init__(self, o):
        self.o = o

    def elaborate(self, platform):
        m = Module()
        offered = Signal()
        payload = Signal.like(self.o.payload)
        m.d.sync += [offered.eq(self.o.valid & ~self.o.ready), payload.eq(self.o.payload)]
        with m.If(offered):
            m.d.comb += Assert(self.o.valid & (self.o.payload == payload))
        return m


class QueueSpec(Elaboratable):
    """Element n taken at `i` is element n at `o`: any one element is followed through the queue."""

    SHAPE = 2

    def __init__(self, formal, depth, queue=Queue):
        self.formal, self.depth, self.queue = formal, depth, queue

    def elaborate(self, platform):
        m = Module()
        m.submodules.dut = dut = self.queue(self.SHAPE, self.depth)
        m.submodules.stream = StreamSpec(dut.o)
        contents = self.formal.contents("dut", self.SHAPE, self.depth)
        m.d.comb += [
            dut.i.valid.eq(AnySeq(1)),
            dut.i.payload.eq(AnySeq(self.SHAPE)),
            dut.o.ready.eq(AnySeq(1)),
        ]
        put = dut.i.valid & dut.i.ready
        get = dut.o.valid & dut.o.ready

        count = Signal(range(self.depth + 1))
        fresh = Signal()  # the only element came in the clock before and is not shown yet
        m.d.sync += [count.eq(count + put - get), fresh.eq(put & (count == get))]
        m.d.comb += [
            Assert(dut.level == count),
            Assert(dut.i.ready == (count < self.depth)),
            Assert(dut.o.valid == (count > fresh)),
        ]

        followed = Signal()
        before = Signal(range(self.depth))
        element = Signal(self.SHAPE)
        with m.If(followed):
            m.d.comb += [
                Assert(before < count),
                Assert(contents[before] == element),
                Cover((before == self.depth - 1) & ~get),
            ]
            with m.If(get):
                m.d.sync += [before.eq(before - 1), followed.eq(before != 0)]
                with m.If(before == 0):
                    m.d.comb += [
                        Assert(dut.o.payload == element),
                        Cover((count == self.depth) & (element == 2)),
                    ]
        with m.Elif(put & AnySeq(1)):
            m.d.sync += [followed.eq(1), before.eq(count - get), element.eq(dut.i.payload)]
        return m


class StageSpec(Elaboratable):
    """One element, taken in the same clock in which the one before it leaves."""

    def __init__(self, stage=Stage):
        self.stage = stage

    def elaborate(self, platform):
        m = Module()
        m.submodules.dut = dut = self.stage(2)
        m.submodules.stream = StreamSpec(dut.o)
        m.d.comb += [
            dut.i.valid.eq(AnySeq(1)),
            dut.i.payload.eq(AnySeq(2)),
            dut.o.ready.eq(AnySeq(1)),
        ]
        full = Signal()
        element = Signal(2)
        with m.If(dut.i.valid & dut.i.ready):
            m.d.sync += [full.eq(1), element.eq(dut.i.payload)]
        with m.Elif(dut.o.ready):
            m.d.sync += full.eq(0)
        m.d.comb += [
            Assert(dut.i.ready == Mux(full, dut.o.ready, 1)),
            Assert(dut.o.valid == full),
            Assert(~full | (dut.o.payload == element)),
            Cover(full & dut.i.valid & dut.i.ready & (element == 2)),
        ]
        return m


@pytest.mark.parametrize("depth", [3, 4, 16])
def test_queue(formal, depth):
    spec = QueueSpec(formal, depth)
    formal.prove(spec, 2)
    if depth <= 4:  # what a deep queue reaches takes long to find
        formal.cover(spec, 2 * depth + 3)


def test_stage(formal):
    formal.prove(StageSpec(), 1)
    formal.cover(StageSpec(), 4)


@pytest.mark.parametrize(
    "fault",
    [
        lambda self, m: self.i.ready.eq(1),  # lost
        lambda self, m: self.o.valid.eq(1),  # made up
        lambda self, m: m.submodules.buffer.r_en.eq(1),  # withdrawn
        lambda self, m: m.submodules.buffer.r_en.eq(self.o.ready & (self.level > 1)),
        lambda self, m: self.level.eq(m.submodules.buffer.level + 1),
        lambda self, m: self.o.p.eq(m.submodules.buffer.r_data | (self.level == 3)),  # altered
    ],
)
def test_queue_faults(formal, fault):
    spec = QueueSpec(formal, 3, formal.plant(Queue, comb=fault))
    with pytest.raises(formal.Failed, match="Assert failed"):
        formal.bmc(spec, 12)


@pytest.mark.parametrize(
    "fault",
    [
        {"comb": lambda self, m: self.i.ready.eq(1)},
        {"sync": lambda self, m: self.o.payload.eq(self.o.payload)},
    ],
)
def test_stage_faults(formal, fault):
    spec = StageSpec(formal.plant(Stage, **fault))
    with pytest.raises(formal.Failed, match="Assert failed"):
        formal.bmc(spec, 5)
