"""The proof tool itself: what is true passes, what is false or unreachable does not."""

import pytest
from amaranth.asserts import AnyConst, AnySeq
from amaranth.hdl import Assert, Assume, Cover, Elaboratable, Module, Signal

from spikewright.hw.queue import Stage


class Squares(Elaboratable):
    """A pipeline of one stage against its definition."""

    def elaborate(self, platform):
        m = Module()
        a = Signal(4)
        b = Signal(4)
        o = Signal(10)
        reference = Signal(10)
        m.d.comb += [a.eq(AnySeq(4)), b.eq(AnySeq(4))]
        m.d.sync += o.eq((a + b) * (a + b) + self.difference(a, b))
        m.d.sync += reference.eq(2 * a * a + 2 * b * b)
        m.d.comb += Assert(o == reference)
        return m

    def difference(self, a, b):
        return (a - b) * (a - b)


class Counter(Elaboratable):
    """Counts 0 to 9 by `step`, any constant up to 2."""

    def elaborate(self, platform):
        m = Module()
        count = Signal(4)
        step = Signal(4)
        m.d.comb += [step.eq(self.step()), Assume(step <= 2)]
        m.d.sync += count.eq(count + step)
        with m.If((count == 9) | (count == 8)):
            m.d.sync += count.eq(0)
        m.d.comb += [Assert(count != 12), Cover((count == 8) & (step == 1))]
        return m

    def step(self):
        return AnyConst(4)


def test_a_pipeline_equals_its_definition(formal):
    formal.prove(Squares(), 2)
    with pytest.raises(formal.Failed, match="Assert failed"):
        formal.bmc(formal.plant(Squares, difference=lambda self, a, b: a - b)(), 2)


def test_a_fault_changes_the_hardware(formal):
    formal.plant(Stage, comb=lambda self, m: self.i.ready.eq(1))(1)
    with pytest.raises(AssertionError, match="leaves Stage as it was"):
        formal.plant(Stage)(1)
    with pytest.raises(AssertionError, match="leaves Stage as it was"):
        formal.plant(Stage, elaborate=lambda self, platform: Stage.elaborate(self, platform))(1)
    with pytest.raises(AssertionError, match="Stage has no method _decides"):
        formal.plant(Stage, _decides=lambda self: 1)


def test_induction_needs_its_depth(formal):
    formal.bmc(Counter(), 20)
    formal.prove(Counter(), 4)
    with pytest.raises(formal.Failed, match="Temporal induction failed"):
        formal.prove(Counter(), 2)


def test_covers_need_their_depth(formal):
    formal.cover(Counter(), 9)
    with pytest.raises(formal.Failed, match="Unreached cover"):
        formal.cover(Counter(), 8)


def test_contradicting_assumptions_prove_nothing(formal):
    with pytest.raises(formal.Failed, match="Assumptions are unsatisfiable"):
        formal.prove(formal.plant(Counter, step=lambda self: 3)(), 4)
