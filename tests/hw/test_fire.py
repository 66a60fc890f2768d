"""The fire unit at small widths: every potential, threshold, count and bound, for every model.

The definitions are the papers' formulas, in plain integers.
"""

from collections.abc import Callable
from itertools import product
from types import SimpleNamespace
from typing import NamedTuple

import pytest
from amaranth.hdl import Module, Mux, Shape, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out
from amaranth.sim import Simulator

from spikewright.hw.fire import FireUnit
from spikewright.machine.instructions import Mode
from spikewright.machine.scans import layer_modes
from spikewright.network.neuron import (
    Negative,
    NeuronModel,
    NeuronSpec,
    Reset,
    Rounding,
    Tie,
    Window,
)
from tests.support.shapes import small_shape

POTENTIALS = range(-32, 32)  # every number of 6 bits
THRESHOLDS = range(1, 8)
COUNTS = range(8)
LIMITS = (1, 3, 7)  # Zmax; T - 1 of TSC
FINAL_DIGITS = 5
"""Of the rounding phase and a TSC pair: no potential is worth more than 31 spikes."""
BITS = 8  # at most
COUNT_BITS = 6
GIVEN = data.StructLayout({"u": signed(BITS), "threshold": BITS, "limit": COUNT_BITS})
SENT = data.StructLayout(
    {"membrane": signed(BITS), "count": COUNT_BITS, "up": COUNT_BITS, "down": COUNT_BITS}
)


# ------------------------------------------------------------------------------------- definitions


def floor_ratio(spec, u, threshold):
    """How many thresholds a positive potential is worth; strictly more than n with Tie.HOLDS."""
    return (u - (spec.tie is Tie.HOLDS)) // threshold


def greatest_power(n):
    """HPC's A, Eq. 15 and below."""
    return 1 << n.bit_length() >> 1


def plain(spec, u, threshold, count, limit):
    """NQ Eq. 4."""
    return int(u > threshold or (u == threshold and spec.tie is Tie.FIRES))


def buffered(spec, u, threshold, count, limit):
    """HPC Eq. 12-15, `count` being the buffer."""
    if plain(spec, u, threshold, count, limit):
        return greatest_power(min(floor_ratio(spec, u, threshold), spec.smax))
    if u < 0 and count >= 1 and spec.negative is not Negative.NONE:
        owed = -(u // threshold)  # ceil(-U / threshold)
        if spec.negative is Negative.AT_THRESHOLD:
            owed = max(0, floor_ratio(spec, -u, threshold))
        return -greatest_power(min(owed, count, spec.smax))
    return 0


def bounded(spec, u, threshold, count, limit):
    """QFFS 4.4.2."""
    if plain(spec, u, threshold, count, limit) and count < limit:
        return 1
    return -1 if u < 0 and count > 0 else 0


def calcium(spec, u, threshold, count, limit):
    """Ca-LIF 3.2, decided at the end of a step."""
    size = min(max(0, floor_ratio(spec, abs(u), threshold)), spec.smax)
    if u > 0:
        return max(0, min(size, limit - count)) if spec.zmax else size
    return -min(size, count) if spec.gated else -size


def rounding(spec, u, threshold, count, limit):
    """Ca-LIF Eq. 3c: U holds half a threshold more than the potential."""
    potential = u - threshold // 2
    n = (2 * potential + threshold) // (2 * threshold)
    if spec.rounding is Rounding.ONE:
        n = (2 * potential >= threshold) - (2 * potential < -threshold)
    if spec.gated:
        n = max(n, -count)
    return min(n, max(0, limit - count)) if spec.zmax else n


def coded(spec, u, threshold, count, limit):
    """TSC with a window a layer: the number that a pair encloses, up to T - 1."""
    return min(max(0, floor_ratio(spec, u, threshold)), limit)


def pooled(spec, u, threshold, count, limit):
    """QFFS 4.5: the change of the greatest count."""
    return u


def switched(spec, u, threshold, count, limit):
    """TSC Eq. 5, 6: the change of whether the neuron fires; a count of 1 says that it did."""
    return active(spec, u, threshold, count) - (count == 1)


def active(spec, u, threshold, count):
    ceased = spec.latch and count == 2
    return 0 if ceased else plain(spec, u, threshold, count, None)


def step(decision, u, threshold, limit, count):
    """Spikes, membrane and count after a step."""
    spec = decision.spec
    n = decision.define(spec, u, threshold, count, limit)
    if spec.switches:
        fires = active(spec, u, threshold, count)
        return n, u - threshold * fires, 1 if fires else 2 * (spec.latch and count > 0)
    if spec.reset is Reset.ZERO and n:
        return n, 0, count + n
    return n, u - n * threshold, count + n


# ------------------------------------------------------------------------------------- simulation


class Decision(NamedTuple):
    """What a neuron sends in an ordinary time step, or in the final one, and its definition."""

    spec: NeuronSpec
    define: Callable = plain
    final: bool = False

    @property
    def mode(self):
        network, layer = SimpleNamespace(has_final=self.final), SimpleNamespace(neuron=self.spec)
        return layer_modes(network, layer)[self.final]

    @property
    def digits(self):
        if self.final:
            return 1 if self.spec.rounding is Rounding.ONE else FINAL_DIGITS
        return self.spec.step_digits

    @property
    def pools(self):
        return self.spec.model is NeuronModel.MAX_POOL

    @property
    def counts(self):
        spec = self.spec
        return spec.gated or spec.zmax is not None or spec.sends_pairs or self.pools

    def cases(self):
        """Potential, threshold and limit (Zmax or T - 1) of every case; all counts go with each."""
        limits = LIMITS if Mode.LIMITED in self.mode else LIMITS[:1]
        return list(product(POTENTIALS, [1] if self.pools else THRESHOLDS, limits))

    def reachable(self, u, count):
        if self.digits == FINAL_DIGITS and u == POTENTIALS[0]:
            return False  # may need a digit more
        if self.pools:
            return abs(u) < 1 << self.digits and u + count >= 0
        if self.spec.switches:
            return count <= 1 + self.spec.latch
        return count == 0 or not self.spec.codes


def network(*decisions):
    """The shape of a network whose layers decide so."""
    modes = Mode(0)
    for one in decisions:
        modes |= one.mode
    digits = max(one.digits for one in decisions)
    bits = max(6, 3 + digits)  # for potentials, and thresholds times the greatest digit
    return small_shape(
        steps=2,
        input_steps=1,
        pixel_bits=1,
        weight_bits=2,
        membrane_bits=bits,
        compare_bits=bits,
        current_bits=1,
        count_bits=COUNT_BITS if any(one.counts for one in decisions) else 0,
        digits=digits,
        modes=modes,
        ceils=any(Mode.BELOW in one.mode and one.digits > 1 for one in decisions),
        taps=1,
        outputs=1,
    )


class Scans(wiring.Component):
    """A step in every clock: its scans one behind the other, the greatest digit first.

    `first` is the count before the step. Latency: one clock a digit.
    """

    def __init__(self, shape, decision, first):
        self.shape, self.decision, self.first = shape, decision, first
        super().__init__({"given": In(GIVEN), "o": Out(SENT)})

    def elaborate(self, platform):
        m = Module()
        shape, decision, given, sent = self.shape, self.decision, self.given, Signal(SENT)
        m.d.comb += [sent.membrane.eq(given.u), sent.count.eq(self.first)]
        done = 1  # as the step before has left it
        for digit in reversed(range(decision.digits)):
            m.submodules[f"unit_{digit}"] = unit = FireUnit(shape)
            amount = 1 << digit
            # Max pooling finds its membranes as they were, and its count changed.
            change = given.u + self.first - sent.count
            m.d.comb += [
                unit.u.eq(change if decision.pools else sent.membrane),
                unit.threshold.eq(given.threshold << digit),
                unit.digit.top.eq(digit == decision.digits - 1),
                unit.digit.amount.eq(amount),
                unit.digit.bound.eq(given.limit - amount),
            ]
            for name in unit.mode.shape().members:
                m.d.comb += unit.mode[name].eq(Mode[name] in decision.mode)
            if shape.ceils:
                m.d.comb += unit.ceil.eq((given.threshold << digit) - given.threshold)
            if shape.count_bits:
                m.d.comb += unit.count.eq(sent.count)
            if shape.ends_early:
                m.d.comb += unit.done.eq(done)
                done = unit.new_done
            before, after = (Signal(SENT, name=f"{name}_{digit}") for name in ("before", "after"))
            later = Signal(GIVEN, name=f"given_{digit}")
            m.d.sync += [before.eq(sent), later.eq(given)]
            m.d.comb += [
                after.membrane.eq(unit.value),
                after.count.eq(unit.new_count if shape.count_bits else 0),
                after.up.eq(before.up + Mux(unit.spike & ~unit.negative, amount, 0)),
                after.down.eq(before.down + Mux(unit.spike & unit.negative, amount, 0)),
            ]
            given, sent = later, after
        m.d.comb += self.o.eq(sent)
        return m


def run_steps(shape, decision, cases):
    """What the steps of `cases` send: one tuple a count, of membrane, count, spikes up and down."""
    m = Module()
    given, o = Signal(GIVEN), Signal(data.ArrayLayout(SENT, len(COUNTS)))
    for lane, count in enumerate(COUNTS):
        m.submodules[f"scans_{lane}"] = scans = Scans(shape, decision, count)
        m.d.comb += [scans.given.eq(given), o[lane].eq(scans.o)]
    results = []

    async def bench(ctx):
        for case in [*cases, *cases[:1] * decision.digits]:
            ctx.set(given, dict(zip(("u", "threshold", "limit"), case, strict=True)))
            _, _, packed = await ctx.tick().sample(o.as_value())
            results.append(packed)

    simulator = Simulator(m)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    return [unpack(packed) for packed in results[decision.digits :]]


def unpack(packed):
    """The numbers of every count, from :func:`run_steps`'s `o`."""
    rows = []
    for lane in range(len(COUNTS)):
        row, place = [], SENT.size * lane
        for field in SENT.members.values():
            shape = Shape.cast(field)
            value = packed >> place & (1 << shape.width) - 1
            row.append(value - (value >> shape.width - 1 << shape.width) * shape.signed)
            place += shape.width
        rows.append(tuple(row))
    return rows


# ------------------------------------------------------------------------------------------ models

PLAIN = [NeuronSpec.plain(tie, reset) for tie in Tie for reset in Reset]
BUFFERED = [
    NeuronSpec.buffered(smax, negative, tie)
    for smax in (1, 2, 4)
    for negative in Negative
    for tie in Tie
]
BOUNDED = [NeuronSpec.bounded(3, tie) for tie in Tie]
CALCIUM = [
    NeuronSpec.calcium(smax, Rounding.NONE, gated=gated, zmax=zmax, tie=tie)
    for smax in (1, 2, 4)
    for gated, zmax in ((True, None), (True, 3), (False, None))
    for tie in Tie
]
ROUNDS = [
    NeuronSpec.calcium(1, how, gated=gated, zmax=zmax)
    for how in (Rounding.ONE, Rounding.DRAIN)
    for gated, zmax in ((True, None), (True, 3), (False, None))
]
PAIRS = [NeuronSpec.tsc(tie=tie) for tie in Tie]
SWITCHES = [
    NeuronSpec.tsc(Window.OVERLAPPED, latch=latch, tie=tie)
    for latch in (False, True)
    for tie in Tie
]
MAX_POOLS = [NeuronSpec.max_pool(smax) for smax in (1, 2, 4)]

MODELS = {
    "if": [Decision(spec) for spec in PLAIN],
    "hpc": [Decision(spec, buffered) for spec in BUFFERED],
    "qffs": [Decision(spec, bounded) for spec in BOUNDED],
    "ca-lif": [Decision(spec, calcium) for spec in CALCIUM],
    "ca-lif, rounding": [Decision(spec, rounding, final=True) for spec in ROUNDS],
    "tsc, per layer": [Decision(spec, coded, final=True) for spec in PAIRS],
    "tsc, overlapped": [Decision(spec, switched) for spec in SWITCHES],
    "max-pool": [Decision(spec, pooled) for spec in MAX_POOLS],
}


@pytest.mark.parametrize("model", MODELS)
def test_every_case(model):
    for decision in MODELS[model]:
        shape, cases = network(Decision(decision.spec), decision), decision.cases()
        checked = 0
        for case, rows in zip(cases, run_steps(shape, decision, cases), strict=True):
            for count, row in zip(COUNTS, rows, strict=True):
                if not decision.reachable(case[0], count):
                    continue
                n, membrane, total = step(decision, *case, count)
                expected = membrane, total if decision.counts else 0, max(0, n), max(0, -n)
                assert row == expected, (decision, case, count)
                checked += 1
        assert checked
