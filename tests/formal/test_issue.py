"""Proofs that a core scans a step only when the tokens of all its sources have come.

And that it has integrated every event before them by then, and none behind them. What the registers
say, when events come and when the lanes hold operations back is left open.
"""

from dataclasses import replace

import pytest
from amaranth.asserts import AnySeq
from amaranth.hdl import Array, Assert, Assume, Const, Cover, Elaboratable, Module, Mux, Signal
from amaranth.lib import data

from spikewright.hw import issue
from spikewright.hw.event import event_layout
from spikewright.hw.issue import Block, Issue, Kind, StepCounter
from spikewright.machine.instructions import Instruction, Register
from tests.support.shapes import small_shape

SHAPE = small_shape(
    cores=2,
    steps=3,
    input_steps=2,
    pixel_bits=1,
    weight_bits=2,
    membrane_bits=4,
    compare_bits=4,
    current_bits=4,
    digits=2,
    ceils=True,
    window=2,
    taps=2,
    outputs=1,
    weight_words=2,
    parameter_words=4,
    membrane_words=3,
    current_words=3,
)
SMALL = replace(SHAPE, input_steps=3, digits=1, ceils=False, window=1)
"""With fewer registers, so that a layer starts soon."""


class Contract(Elaboratable):
    """What can be seen from outside.

    The tokens of t steps make the scans of step t; with CURRENT = 1 those of one make all.
    """

    def __init__(self, formal, shape=SHAPE, issuer=Issue):
        self.formal, self.shape, self.issuer = formal, shape, issuer

    def elaborate(self, platform):
        self.m = m = Module()
        m.submodules.dut = self.dut = dut = self.issuer(self.shape)
        self.event = event_layout(self.shape)
        m.d.comb += [
            dut.i.valid.eq(AnySeq(1)),
            dut.i.payload.eq(AnySeq(self.event.size)),
            dut.read.valid.eq(AnySeq(1)),
            dut.read.payload.eq(AnySeq(self.shape.word_address_bits)),
            dut.events.hazard.eq(AnySeq(1)),
            dut.scan.hazard.eq(AnySeq(1)),
            dut.hold_fire.eq(AnySeq(1)),
            dut.drained.eq(AnySeq(1)),
            Assume(~dut.i.valid | dut.i.p.token | (dut.i.p.rows.any() & dut.i.p.cols.any())),
        ]
        self.set_registers()
        self.take_events()
        self.watch_steps()
        return m

    def set_registers(self):
        """Layers start with registers that make sense, and keep them to their end."""
        m, dut, shape = self.m, self.dut, self.shape
        self.start = Signal()
        m.d.comb += [
            dut.setting.valid.eq(AnySeq(1)),
            dut.setting.register.eq(AnySeq(5)),
            dut.setting.value.eq(AnySeq(Instruction.VALUE_BITS)),
            dut.start.eq(AnySeq(1)),
            self.start.eq(dut.start & dut.active & ~dut.busy),
            Assume(~(dut.setting.valid & (dut.busy | dut.start))),
        ]
        values = {}
        for register, most in {
            Register.TOKENS: shape.cores + 1,
            Register.STEPS: shape.steps,
            Register.PASSES: shape.digits,
            Register.GROUPS: shape.membrane_words,
            Register.CURRENT: 3,
        }.items():
            values[register] = Signal(range(most + 1), name=register.name.lower())
            written = dut.setting.valid & (dut.setting.register == register)
            m.d.comb += Assume(~written | (dut.setting.value <= most))
            with m.If(written):
                m.d.sync += values[register].eq(dut.setting.value)
        self.tokens, self.steps, passes, self.groups, self.current = values.values()
        m.d.comb += [
            Assume(~dut.start | (self.tokens.any() & self.steps.any())),
            Assume(~dut.start | passes.any() | (shape.digits == 1)),
        ]

    def needed(self, step):
        """Tokens of a layer up to the scans of `step`."""
        return Mux(self.current == 1, 1, step) * self.tokens

    def operations(self, event):
        """INTEGRATE operations of an event."""
        return Mux(event.token, 0, event.rows * event.cols * self.groups)

    def take_events(self):
        """Tokens taken since the layer's start, and operations owed to the events; the last event
        may wait at the door."""
        m, dut = self.m, self.dut
        take = dut.i.valid & dut.i.ready
        self.last = last = Signal(self.event)
        self.came = Signal(range((self.shape.steps * (self.shape.cores + 1)) + 2))
        self.owed = Signal(range(3 * 4 * self.shape.membrane_words + 1))
        self.waits = Signal()
        m.d.comb += self.waits.eq(~dut.i.ready)
        with m.If(take):
            m.d.sync += last.eq(dut.i.p)
        came = Mux(self.start, self.waits & last.token, self.came)
        owed = Mux(self.start, self.waiting_operations(), self.owed)
        with m.If(self.start | dut.busy):
            m.d.sync += [
                self.came.eq(came + (take & dut.i.p.token)),
                self.owed.eq(
                    owed + Mux(take, self.operations(dut.i.p), 0) - (dut.o.kind == Kind.INTEGRATE)
                ),
            ]

    def waiting_operations(self):
        return Mux(self.waits, self.operations(self.last), 0)

    def complete(self, step):
        """Exactly the tokens of `step` have come, and the events before them are integrated."""
        return (self.came == self.needed(step) + (self.waits & self.last.token)) & (
            self.owed == self.waiting_operations()
        )

    def watch_steps(self):
        m, dut = self.m, self.dut
        self.fired = Signal(range(self.shape.steps + 1))  # the last step that was scanned
        was_busy = Signal()
        m.d.sync += was_busy.eq(dut.busy)
        self.scans = (dut.o.kind == Kind.FIRE) | (dut.o.kind == Kind.PEEK)
        with m.If(self.start):
            m.d.sync += self.fired.eq(0)
        with m.Elif(self.scans):
            m.d.sync += self.fired.eq(dut.o.step)
        with m.If(self.scans):
            m.d.comb += [
                Assert(self.complete(dut.o.step)),
                Assert((dut.o.step == self.fired) | (dut.o.step == self.fired + 1)),
            ]
        with m.If(dut.o.kind == Kind.INTEGRATE):
            m.d.comb += [Assert(dut.o.step == self.fired + 1), Assert(self.owed != 0)]
        with m.If(was_busy & ~dut.busy):
            m.d.comb += Assert(self.complete(self.steps) & (self.fired == self.steps))


class Invariants(Contract):
    """The contract, and what its induction needs: statements about the state inside."""

    def elaborate(self, platform):
        super().elaborate(platform)
        for name, register in {
            "tokens": self.tokens,
            "current": self.current,
            "block.groups": self.groups,
            "walk.groups": self.groups,
            "clock.steps": self.steps,
        }.items():
            self.m.d.comb += Assert(self.inside(name, register.shape()) == register)
        self.walk_blocks()
        self.count_tokens()
        return self.m

    def inside(self, name, shape=1):
        return self.formal.inside(f"dut.{name}", shape)

    def walk_blocks(self):
        """The operations that are owed, to the event that is walked and the one that waits."""
        m, taps = self.m, self.shape.tap_bits
        rows, cols, row_left, col_left = (
            self.inside(f"block.{name}", taps) for name in ("rows", "cols", "row_left", "col_left")
        )
        group_left = self.inside("block.group_left", self.groups.shape())
        event = data.View(self.event, self.inside("block.event", self.event.size))
        self.waiting, self.valid = self.inside("block.waiting"), self.inside("block.valid")
        owed = ((group_left - 1) * rows + row_left - 1) * cols + col_left
        with m.If(self.valid):
            m.d.comb += [
                Assert((col_left != 0) & (col_left <= cols)),
                Assert((row_left != 0) & (row_left <= rows)),
                Assert((group_left != 0) & (group_left <= self.groups)),
            ]
        with m.If(self.waiting):
            m.d.comb += [
                Assert(event.token == self.last.token),
                Assert(event.token | ((event.rows == self.last.rows) & event.rows.any())),
                Assert(event.token | ((event.cols == self.last.cols) & event.cols.any())),
            ]
        with m.If(self.dut.busy):
            waiting = Mux(self.waiting, self.operations(self.last), 0)
            m.d.comb += Assert(self.owed == Mux(self.valid, owed, 0) + waiting)

    def count_tokens(self):
        """The tokens that are missing, in every state of a layer."""
        m, dut = self.m, self.dut
        integrates, scanning = self.inside("block.enable"), self.inside("scanning")
        step = self.inside("clock.step", self.steps.shape())
        left = self.inside("clock.left", self.steps.shape())
        missing = self.inside("token_left", self.tokens.shape())
        taken = self.came - (self.waiting & self.last.token)
        m.d.comb += [
            Assert(~self.valid | integrates),
            Assert(~integrates | (dut.busy & scanning)),
        ]
        with m.If(dut.busy):
            m.d.comb += [
                Assert(self.tokens.any() & self.groups.any()),
                Assert((step != 0) & (step + left == self.steps)),
            ]
            with m.If(integrates):
                m.d.comb += [
                    Assert((missing != 0) & (missing <= self.tokens)),
                    Assert(taken + missing == self.needed(step)),
                    Assert((self.current != 1) | (step == 1)),
                    Assert(self.fired + 1 == step),
                ]
            with m.Elif(scanning):
                m.d.comb += [
                    Assert(taken == self.needed(step)),
                    Assert((self.fired == step) | (self.fired + 1 == step)),
                ]
            with m.Else():
                m.d.comb += Assert((taken == 0) & (step == 1) & (self.fired == 0))


class Reached(Contract):
    """An event of step 2 that waits while step 1 is scanned; the scan of step 2."""

    def elaborate(self, platform):
        m = super().elaborate(platform)
        dut = self.dut
        late = Signal()
        with m.If(self.scans & self.waits & ~self.last.token):
            m.d.sync += late.eq(1)
        # The registers, one after the other, then the start; then nothing is held back.
        clock = Signal(8)
        names = ("TOKENS", "STEPS", "GROUPS", "WORDS", "OUTPUTS")
        m.d.sync += clock.eq(clock + 1)
        m.d.comb += [
            Assume(dut.setting.register == Array([*(Register[name] for name in names), 0])[clock]),
            Assume(dut.setting.valid == (clock < len(names))),
            Assume(dut.start == (clock == len(names))),
            Assume(~(dut.events.hazard | dut.scan.hazard | dut.hold_fire | dut.read.valid)),
            Cover(late & (self.tokens == 2) & (dut.o.kind == Kind.INTEGRATE)),
            Cover(self.scans & (dut.o.step == 2)),
        ]
        return m


@pytest.mark.parametrize("shape", [SHAPE, SMALL])
def test_issue(formal, shape):
    formal.prove(Invariants(formal, shape), 1)


def test_the_proof_is_not_empty(formal):
    formal.cover(Reached(formal, SMALL), 20)


def eager(self, m):
    """Takes events during a scan, too."""
    with m.If(m.submodules.walk.advance):
        m.d.comb += m.submodules.block.enable.eq(1)
    return []


@pytest.mark.parametrize(
    ("part", "fault"),
    [
        # The first token is enough; events are taken during a scan.
        (Issue, {"_is_last": lambda self, token_left: Const(1)}),
        (Issue, {"comb": eager}),
        # An event is lost; a token is an event.
        (Block, {"comb": lambda self, m: self.i.ready.eq(1)}),
        (Block, {"_walks": lambda self, take, event: take}),
    ],
)
def test_faults(formal, monkeypatch, part, fault):
    monkeypatch.setattr(issue, part.__name__, formal.plant(part, **fault))
    with pytest.raises(formal.Failed, match="Assert failed"):
        formal.bmc(Contract(formal, SMALL, issue.Issue), 16)


@pytest.mark.parametrize(
    ("part", "fault"),
    [
        # Later steps need no token; all steps need tokens of their own.
        (Issue, {"_integrates_again": lambda self, current: Const(0)}),
        (Issue, {"_integrates_again": lambda self, current: Const(1)}),
        # Groups and taps are left out; steps are.
        (Block, {"_group_ends": lambda self, group_left: Const(1)}),
        (Block, {"_row_ends": lambda self, row_left: Const(1)}),
        (StepCounter, {"_next_left": lambda self, left: left - 2}),
    ],
)
def test_late_faults(formal, monkeypatch, part, fault):
    """Far from the start; the induction has no need to go there."""
    monkeypatch.setattr(issue, part.__name__, formal.plant(part, **fault))
    with pytest.raises(formal.Failed, match="induction failed"):
        formal.prove(Invariants(formal, SHAPE, issue.Issue), 1)
