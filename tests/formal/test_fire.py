"""Proofs that the fire unit decides as the papers' formulas say: every model, at small widths.

The definition is a table: for every number n of spikes that a time step may send, when it is n. It
knows nothing of binary digits. Potential, threshold, count, Zmax and what earlier steps have left
behind are open, and new in every clock.
"""

from types import SimpleNamespace
from typing import NamedTuple

import pytest
from amaranth.asserts import AnySeq
from amaranth.hdl import (
    Array,
    Assert,
    Assume,
    Cat,
    Const,
    Cover,
    Elaboratable,
    Fragment,
    Module,
    Mux,
    Signal,
    signed,
)
from amaranth.lib import data

from spikewright.hw.fire import FireUnit, add_with_carry
from spikewright.machine.instructions import Mode
from spikewright.machine.scans import layer_modes
from spikewright.network.neuron import (
    Digits,
    Negative,
    NeuronModel,
    NeuronSpec,
    Reset,
    Rounding,
    Tie,
    Window,
)
from tests.support.shapes import small_shape

POTENTIAL_BITS = 6
COUNT_BITS = 3
FINAL_DIGITS = 3
"""Of what the rounding phase and a TSC pair may send here: up to 7."""


class Decision(NamedTuple):
    """What a neuron sends in an ordinary time step, or in the final one."""

    spec: NeuronSpec
    final: bool = False

    @property
    def mode(self):
        network, layer = SimpleNamespace(has_final=self.final), SimpleNamespace(neuron=self.spec)
        return layer_modes(network, layer)[self.final]

    @property
    def sizes(self):
        """The numbers of spikes that it may send, besides none."""
        spec = self.spec
        if not self.mode:  # an integrator, a TSC neuron before the end of its window
            return []
        if spec.digits is Digits.POWER:
            return [1 << k for k in range(spec.smax.bit_length())]
        most = spec.smax
        if self.final:
            most = 1 if spec.rounding is Rounding.ONE else (1 << FINAL_DIGITS) - 1
        elif spec.model is NeuronModel.MAX_POOL:
            most = (1 << most.bit_length()) - 1
        return list(range(1, most + 1))

    @property
    def digits(self):
        return max(1, max(self.sizes, default=0).bit_length())

    @property
    def rounds(self):
        return self.final and self.spec.rounding is not Rounding.NONE

    @property
    def counts(self):
        spec = self.spec
        return (
            spec.gated
            or spec.zmax is not None
            or spec.sends_pairs
            or spec.model is NeuronModel.MAX_POOL
        )

    # -- the definition --------------------------------------------------------------------------

    def reaches(self, n, u, threshold):
        """Whether the potential is worth n spikes upwards, ``n <= floor(U / threshold)``.

        In the rounding phase U holds half a threshold more than the neuron's potential:
        ``n <= floor(U / threshold + 1/2)`` (Ca-LIF Eq. 3c).
        """
        if self.rounds:
            return (2 * n - 1) * threshold <= 2 * (u - (threshold >> 1))
        if self.spec.tie is Tie.HOLDS:
            return n * threshold < u
        return n * threshold <= u

    def owes(self, n, u, threshold):
        """Whether the potential is worth n spikes downwards."""
        if self.rounds:
            return 2 * (u - (threshold >> 1)) < -(2 * n - 1) * threshold
        if self.spec.negative is Negative.BELOW_ZERO:  # n <= ceil(-U / threshold)
            return -u > (n - 1) * threshold
        if self.spec.negative is Negative.AT_THRESHOLD:  # n <= floor(-U / threshold)
            return -u > n * threshold if self.spec.tie is Tie.HOLDS else -u >= n * threshold
        return Const(0)

    def allows(self, n, count, limit):
        """Whether Zmax, or T - 1 of a TSC pair, leaves room for n spikes more."""
        return count + n <= limit if Mode.LIMITED in self.mode else Const(1)

    def has(self, n, count):
        """Whether the gate leaves n spikes to be taken back."""
        return n <= count if self.spec.gated else Const(1)

    def active(self, u, threshold, state):
        """TSC, overlapped: whether the neuron fires (Eq. 5)."""
        ceased = (state == 2) & int(self.spec.latch)
        return self.reaches(1, u, threshold) & ~ceased

    def table(self, u, threshold, count, limit):
        """When the step sends n, for every n."""
        if not self.sizes:
            return {0: Const(1)}
        if self.spec.model is NeuronModel.MAX_POOL:  # the change of the greatest count
            return {n: u == n for n in range(-self.sizes[-1], self.sizes[-1] + 1)}
        if self.spec.switches:  # active(t) - active(t - 1), Eq. 6
            active, was = self.active(u, threshold, count), count == 1
            return {1: active & ~was, -1: ~active & was, 0: active == was}

        def up(n):
            return self.reaches(n, u, threshold) & self.allows(n, count, limit)

        def down(n):
            return self.owes(n, u, threshold) & self.has(n, count)

        result = {0: ~(up(1) | down(1))}
        for sign, possible in ((1, up), (-1, down)):
            for n, more in zip(self.sizes, [*self.sizes[1:], None], strict=True):
                result[sign * n] = possible(n) & (~possible(more) if more else 1)
        return result

    def after(self, n, u, threshold, count):
        """Membrane and count after a step that sends n."""
        if self.spec.switches:
            active = self.active(u, threshold, count)
            ceases = (count == 1) & ~active
            state = Mux(active, 1, Mux(ceases, 2 * self.spec.latch, count))
            return Mux(active, u - threshold, u), state
        if self.spec.reset is Reset.ZERO:
            return Mux(n == 0, u, 0), count + n
        return u - n * threshold, count + n

    def reachable(self, given):
        """What is known about the state before a step."""
        if self.spec.model is NeuronModel.MAX_POOL:
            most, greatest = self.sizes[-1], given.u + given.count
            return (
                (given.threshold == 1)
                & ((given.u <= most) & (given.u >= -most))
                & ((greatest >= 0) & (greatest < 1 << COUNT_BITS))
            )
        if self.spec.switches:
            return given.count <= 1 + self.spec.latch
        return given.count == 0 if self.spec.codes else 1

    def situations(self, n, u, threshold, count, limit):
        """What must occur in a proof that says something."""
        if not self.sizes:
            yield u > threshold
            return
        greatest = self.sizes[-1]
        yield n == greatest
        yield n == 0
        if greatest > 2:
            yield n == self.sizes[-2]
        if self.spec.signed and not self.spec.codes:
            yield n == -greatest
        if self.spec.model is NeuronModel.MAX_POOL:
            return
        fires = self.rounds or self.spec.tie is Tie.FIRES
        yield (u == threshold) & (n == int(fires))
        if Mode.LIMITED in self.mode:
            yield self.reaches(n + 1, u, threshold) & (n == limit - count) & (n < greatest)
        if self.spec.gated:
            yield self.owes(1 - n, u, threshold) & (n == -count) & (n > -greatest)
        if self.spec.switches:
            yield (n == 0) & (count == 1)
        if self.spec.latch:
            yield self.reaches(1, u, threshold) & (count == 2)


def network(*decisions):
    """The shape of a network whose layers decide so."""
    digits = max(decision.digits for decision in decisions)
    modes = Mode(0)
    for decision in decisions:
        modes |= decision.mode
    return small_shape(
        steps=2,
        input_steps=1,
        pixel_bits=1,
        weight_bits=2,
        membrane_bits=POTENTIAL_BITS,
        compare_bits=POTENTIAL_BITS,
        current_bits=1,
        count_bits=COUNT_BITS if any(decision.counts for decision in decisions) else 0,
        digits=digits,
        modes=modes,
        ceils=any(Mode.BELOW in one.mode and one.digits > 1 for one in decisions),
        taps=1,
        outputs=1,
    )


class Steps(Elaboratable):
    """A step in every clock, decided as any of `decisions` says, and its definition.

    The scans of a step are one unit each, the greatest digit first: a pipeline.
    """

    def __init__(self, decisions, unit=FireUnit):
        self.decisions, self.unit = decisions, unit
        self.shape = network(*decisions)
        self.holds = Signal()
        self.situations = []

    def elaborate(self, platform):
        m = Module()
        shape = self.shape
        step = data.StructLayout(
            {
                "decision": range(max(2, len(self.decisions))),
                "u": signed(shape.compare_bits),
                "threshold": shape.compare_bits - shape.digits - 1,
                "count": max(1, shape.count_bits),
                "limit": max(1, shape.count_bits),
                "done": 1,
            }
        )
        given = Signal(step)
        m.d.comb += [
            given.as_value().eq(AnySeq(step.size)),
            Assume(given.decision < len(self.decisions)),
            Assume(given.threshold != 0),
            Assume(self.pick(given, lambda one: one.reachable(given))),
        ]
        value, count, done, sent, signs, valid = given.u, given.count, given.done, 0, 0, 1
        for digit in reversed(range(shape.digits)):
            m.submodules[f"unit_{digit}"] = unit = self.unit(shape)
            top = self.pick(given, lambda one, digits=digit + 1: one.digits == digits)
            # Max pooling finds its membranes as they were, and its count changed.
            pools = self.pick(given, lambda one: Mode.MAXIMUM in one.mode)
            value = Mux(pools, given.u + given.count - count, value)
            amount = 1 << digit
            m.d.comb += [
                unit.u.eq(Mux(top, given.u, value)),
                unit.threshold.eq(given.threshold << digit),
                unit.digit.top.eq(top),
                unit.digit.amount.eq(amount),
                unit.digit.bound.eq(given.limit - amount),
            ]
            if shape.ceils:
                m.d.comb += unit.ceil.eq((given.threshold << digit) - given.threshold)
            if shape.count_bits:
                m.d.comb += unit.count.eq(Mux(top, given.count, count))
            if shape.ends_early:
                m.d.comb += unit.done.eq(Mux(top, given.done, done))
            given, sent, signs, valid = self.later(m, digit, given, sent, signs, valid)
            scans = self.pick(given, lambda one, digit=digit: one.digits > digit)
            for name in unit.mode.shape().members:
                allowed = self.pick(given, lambda one, name=name: Mode[name] in one.mode)
                m.d.comb += unit.mode[name].eq(scans & allowed)
            value = unit.value
            count = unit.new_count if shape.count_bits else 0
            done = unit.new_done if shape.ends_early else 0
            sent = sent + Mux(unit.spike, Mux(unit.negative, -amount, amount), 0)
            signs |= Cat(unit.spike & ~unit.negative, unit.spike & unit.negative)
        self.compare(m, given, value, count, sent, signs, valid)
        return m

    def pick(self, given, choice):
        """What `choice` says of the decision of this step."""
        return Array([choice(one) for one in self.decisions])[given.decision]

    @staticmethod
    def later(m, digit, given, sent, signs, valid):
        """The same a clock later."""
        result = (
            Signal(given.shape(), name=f"given_{digit}"),
            Signal(signed(8), name=f"sent_{digit}"),
            Signal(2, name=f"signs_{digit}"),
            Signal(name=f"valid_{digit}"),
        )
        for after, before in zip(result, (given, sent, signs, valid), strict=True):
            m.d.sync += after.eq(before)
        return result

    def compare(self, m, given, value, count, sent, signs, valid):
        """Everything that leaves the last scan with what the definition says."""
        right = []
        for index, one in enumerate(self.decisions):
            state = given.u, given.threshold, given.count, given.limit
            table = one.table(*state)
            expected = Signal(signed(8), name=f"expected_{index}")
            m.d.comb += expected.eq(sum(Mux(here, n, 0) for n, here in table.items()))
            membrane, total = one.after(expected, *state[:3])
            equal = (
                (sum(table.values()) == 1)  # the definition is one
                & (sent == expected)
                & (signs != 3)
                & (value == membrane)
            )
            if self.shape.count_bits and one.counts:
                equal &= count == total[: self.shape.count_bits]
            right.append(equal)
            self.situations.append(
                [valid & (given.decision == index) & here for here in one.situations(sent, *state)]
            )
        m.d.comb += self.holds.eq(~valid | Array(right)[given.decision])


class Proof(Elaboratable):
    """Every one of `parts` holds."""

    def __init__(self, *parts):
        self.parts = parts

    def elaborate(self, platform):
        m = Module()
        for index, part in enumerate(self.parts):
            m.submodules[f"part_{index}"] = part
            m.d.comb += Assert(part.holds)
        return m


class Reached(Proof):
    """Every situation occurs, in all parts at once: their inputs are independent."""

    def elaborate(self, platform):
        m = Module()
        for index, part in enumerate(self.parts):
            m.submodules[f"part_{index}"] = Fragment.get(part, platform)
        together = {}
        for part in self.parts:
            for index, situations in enumerate(part.situations):
                for kind, here in enumerate(situations):
                    together.setdefault((index, kind), []).append(here)
        m.d.comb += [Cover(Cat(here).all()) for here in together.values()]
        return m


class Found(Proof):
    """No part holds."""

    def elaborate(self, platform):
        m = Module()
        for index, part in enumerate(self.parts):
            m.submodules[f"part_{index}"] = part
            m.d.comb += Cover(~part.holds)
        return m


PLAIN = [NeuronSpec.plain(tie, reset) for tie in Tie for reset in Reset]
BUFFERED = {
    smax: [NeuronSpec.buffered(smax, negative, tie) for negative in Negative for tie in Tie]
    for smax in (1, 2, 4)
}
BOUNDED = [NeuronSpec.bounded(3, tie) for tie in Tie]
CALCIUM = {
    smax: [
        NeuronSpec.calcium(smax, rounding, gated=gated, zmax=zmax, tie=tie)
        for gated, zmax in ((True, None), (True, 3), (False, None))
        for rounding in Rounding
        for tie in Tie
    ]
    for smax in (1, 2, 4)
}
PAIRS = [NeuronSpec.tsc(tie=tie) for tie in Tie]
SWITCHES = [
    NeuronSpec.tsc(Window.OVERLAPPED, latch=latch, tie=tie)
    for latch in (False, True)
    for tie in Tie
]
MAX_POOLS = [NeuronSpec.max_pool(smax) for smax in (1, 2, 4)]
INTEGRATOR = NeuronSpec.integrator()

# Each on a unit of its own; of Ca-LIF every fifth, the proof of all on one unit takes the others.
MODELS = {
    "if": [*PLAIN, INTEGRATOR],
    "hpc": [spec for specs in BUFFERED.values() for spec in specs],
    "qffs": BOUNDED,
    **{f"ca-lif, Smax {smax}": CALCIUM[smax][smax // 2 :: 5] for smax in CALCIUM},
    "tsc": PAIRS + SWITCHES,
    "max-pool": MAX_POOLS,
}


def decisions(spec):
    return [Decision(spec), Decision(spec, final=True)] if spec.final else [Decision(spec)]


@pytest.mark.parametrize("model", MODELS)
def test_models(formal, model):
    specs = [decisions(spec) for spec in MODELS[model]]
    depth = max(one.digits for spec in specs for one in spec) + 1
    formal.prove(Proof(*map(Steps, specs)), depth)
    formal.cover(Reached(*map(Steps, specs)), depth)


def test_all_models_on_one_unit(formal):
    specs = [
        INTEGRATOR,
        *PLAIN,
        *(spec for family in (BUFFERED, CALCIUM) for specs in family.values() for spec in specs),
        *BOUNDED,
        *PAIRS,
        *SWITCHES,
        *MAX_POOLS,
    ]
    different = {(one.mode, one.digits): one for spec in specs for one in decisions(spec)}
    formal.prove(Proof(Steps(list(different.values()))), FINAL_DIGITS + 1)


IF_ZERO = NeuronSpec.plain(Tie.HOLDS, Reset.ZERO)
HPC = NeuronSpec.buffered(4)
HPC_LITERAL = NeuronSpec.buffered(4, Negative.AT_THRESHOLD)
CA_LIF = NeuronSpec.calcium(4, zmax=3)
CA_LIF_HOLDS = NeuronSpec.calcium(4, tie=Tie.HOLDS)
LATCH = NeuronSpec.tsc(Window.OVERLAPPED, latch=True)


def late_below_zero(self):
    """U + threshold, one off."""
    return add_with_carry(self.u, Mux(self.u[-1], self.threshold, ~self.threshold), 1)


def owed_too_soon(self):
    """Negative for zero, too."""
    raised = FireUnit._raised(self)
    return Mux(raised == 0, -1, raised)


def without_latch(self, fires, count):
    return Mux(fires, 1, Mux(count == 1, 0, count))


def without_start(self, fires, count):
    return Mux(fires, 0, FireUnit._new_state(self, 0, count))


FAULTS = {
    "upwards": [
        # Ties; negative potentials that wrap.
        (IF_ZERO, {"_up": lambda self, u, rest: self.mode.FIRES & ~u[-1] & ~rest[-1]}),
        (NeuronSpec.plain(), {"_up": lambda self, u, rest: self.mode.FIRES & ~rest[-1]}),
    ],
    "downwards": [
        # Ties; too soon; one off.
        (CA_LIF, {"_at": lambda self, rest: rest[-1]}),
        (CA_LIF_HOLDS, {"_at": lambda self, rest: rest[-1] | (rest == 0)}),
        (HPC_LITERAL, {"_at": lambda self, rest: Const(1)}),
        (HPC, {"_raised": lambda self: self.u}),
        (NeuronSpec.calcium(), {"_raised": owed_too_soon}),
    ],
    "membrane": [
        # Reset: never, always, to the wrong value.
        (IF_ZERO, {"_membrane": lambda self, sends, rest, u: Mux(sends, rest, u)}),
        (NeuronSpec.plain(), {"_membrane": lambda self, sends, rest, u: u}),
        (HPC, {"_moved": late_below_zero}),
    ],
    "Zmax, gate": [
        # Dropped, one off.
        (CA_LIF, {"_has_room": lambda self: Const(1)}),
        (PAIRS[0], {"_has_room": lambda self: self.count < self.digit.bound}),
        (CA_LIF, {"_has_sent": lambda self: Const(1)}),
        (HPC, {"_has_sent": lambda self: self.count > self.digit.amount}),
    ],
    "end of a step": [
        # Scans behind it; ends of the step before, and that are missed or too early.
        (CA_LIF, {"_blocked": lambda self, m: FireUnit._blocked(self, m) & 0}),
        (HPC, {"_is_done": lambda self: self.done}),
        (HPC, {"_ends": lambda self, top: self._mode(Mode.CAPPED) & top}),
        (CA_LIF_HOLDS, {"_ends": lambda self, top: self._mode(Mode.POWER)}),
        (CA_LIF_HOLDS, {"_ends": lambda self, top: FireUnit._ends(self, 1)}),
    ],
    "count, sign": [
        (HPC, {"_change": lambda self: Const(0)}),
        (HPC, {"_change": lambda self: self.digit.amount}),
        (NeuronSpec.bounded(3), {"comb": lambda self, m: self.negative.eq(0)}),
    ],
    "TSC": [
        (LATCH, {"_latched": lambda self, count: Const(0)}),
        (LATCH, {"_switches": lambda self, fires, count: fires}),
        (LATCH, {"comb": lambda self, m: self.negative.eq(0)}),
        (LATCH, {"_new_state": without_latch}),
        (SWITCHES[0], {"_new_state": without_start}),
    ],
}


@pytest.mark.parametrize("kind", FAULTS)
def test_faults(formal, kind):
    parts = [
        Steps(decisions(spec), formal.plant(FireUnit, **fault)) for spec, fault in FAULTS[kind]
    ]
    formal.cover(Found(*parts), FINAL_DIGITS + 1)
