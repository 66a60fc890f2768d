"""Proofs that the second machine's fire unit decides as the formulas say, at small widths.

The definition is a table: for every number n, when a time step sends n. It knows nothing of digits
or of division. Potential and threshold are open, new in every clock; the layer's rules are open,
too, and stay.
"""

import pytest
from amaranth.asserts import AnyConst, AnySeq
from amaranth.hdl import Assert, Assume, Const, Cover, Elaboratable, Module, Mux, Signal, signed

from spikewright.hw.neuron.fire import Decision

SHAPES = {
    "one digit": (6, 4, 1),
    "two digits": (6, 3, 2),
    "three digits": (7, 3, 3),
    "threshold as wide as the membrane": (5, 5, 2),
}


class Steps(Elaboratable):
    """A decision in every clock, and its definition."""

    def __init__(self, shape, unit=Decision):
        self.shape, self.unit = shape, unit

    def elaborate(self, platform):
        m = Module()
        membrane_bits, threshold_bits, digits = self.shape
        m.submodules.dut = dut = self.unit(*self.shape)
        rules = {"levels": digits, "holds": 1, "zero": 1}
        for name, bits in rules.items():
            m.d.comb += getattr(dut, name).eq(AnyConst(bits))
        m.d.comb += [
            dut.u.eq(AnySeq(signed(membrane_bits))),
            dut.threshold.eq(AnySeq(threshold_bits)),
            Assume((dut.levels == 1) | ~(dut.holds | dut.zero)),
        ]
        u, threshold, valid = dut.u, dut.threshold, Const(1, 1)
        for clock in range(digits):
            now = (u, threshold, valid)
            names = ("u", "threshold", "valid")
            u, threshold, valid = (
                Signal(value.shape(), name=f"{name}_{clock}")
                for name, value in zip(names, now, strict=True)
            )
            m.d.sync += [new.eq(old) for new, old in zip((u, threshold, valid), now, strict=True)]
        right = Signal(init=1)
        m.d.comb += right.eq(self.right(dut, u, threshold))
        self.state(m, valid, right, dut, threshold)
        return m

    def right(self, dut, u, threshold):
        """Whether n is what the definition says, and V what is left then."""
        numbers = 1 << len(dut.n)

        def worth(n):
            """Whether n spikes are allowed, and the potential is worth them."""
            if not n:
                return Const(1)
            reached = Mux(dut.holds, n * threshold < u, n * threshold <= u)
            return reached & (n <= dut.levels) if n < numbers else Const(0)

        left = Mux(dut.zero & (dut.n != 0), 0, u - dut.n * threshold)
        same = dut.v == left[: len(dut.v)].as_signed()
        for n in range(numbers):
            same &= (dut.n == n) == (worth(n) & ~worth(n + 1))
        return same

    def state(self, m, valid, right, dut, threshold):
        m.d.comb += Assert(right | ~valid)


class Reached(Steps):
    """Every number is sent, also with the greatest threshold; so is none, with each rule."""

    def state(self, m, valid, right, dut, threshold):
        for n in range(1 << len(dut.n)):
            m.d.comb += Cover(valid & (dut.n == n) & (dut.levels == (1 << len(dut.n)) - 1))
        for rule in (dut.holds, dut.zero):
            m.d.comb += [Cover(valid & rule & (dut.n == n) & (threshold == 2)) for n in (0, 1)]
        m.d.comb += Cover(valid & (dut.n == 1) & (threshold[-2:] == 3) & dut.holds)


class Found(Steps):
    """What the definition does not say happens."""

    def state(self, m, valid, right, dut, threshold):
        m.d.comb += Cover(valid & ~right)


@pytest.mark.parametrize("name", SHAPES)
def test_decisions(formal, name):
    shape = SHAPES[name]
    formal.prove(Steps(shape), shape[-1] + 1)


def test_all_cases_are_reached(formal):
    formal.cover(Reached(SHAPES["two digits"]), 4)


FAULTS = {
    "ties": {"_first": lambda self, threshold: self.u - (threshold << self._digits - 1)},
    "negative potentials": {"_taken": lambda self, able, rest: ~rest[-1]},
    "signs": {"_taken": lambda self, able, rest: able},
    "levels": {"_allowed": lambda self, tight, digit: Const(1, 1)},
    "every digit of levels alone": {"_tight": lambda self, taken, tight, digit: tight},
    "levels after the first digit": {"_tight": lambda self, taken, tight, digit: Const(0, 1)},
    "tight with what is not taken": {"_tight": lambda self, taken, tight, digit: tight & taken},
    "next multiple": {
        "_next": lambda self, m, rest, threshold, taken, digit: Decision._next(
            self, m, rest, threshold, Const(1, 1), digit
        )
    },
    "next digit": {
        "_next": lambda self, m, rest, threshold, taken, digit: Decision._next(
            self, m, rest, threshold << 1, taken, digit
        )
    },
    "membrane": {
        "_left": lambda self, m, rest, threshold, taken: Decision._left(
            self, m, rest, threshold, Const(1, 1)
        )
    },
    "never zero": {"_resets": lambda self, taken: Const(0, 1)},
    "always zero": {"_resets": lambda self, taken: self.zero},
    "tie in the membrane": {
        "_left": lambda self, m, rest, threshold, taken: (
            rest + (threshold & ~taken.replicate(len(threshold)))
        )
    },
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faults(formal, fault):
    faulty = formal.plant(Decision, **FAULTS[fault])
    formal.cover(Found((6, 3, 2), faulty), 4)
