"""The front of a core: turns events into INTEGRATE operations, and steps into scans."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, enum, stream, wiring
from amaranth.lib.wiring import In, Out

from spikewright.hardware import Activity, HardwareShape, Instruction, Register, bits_for

from .event import SettingSignature, bind, event_layout

__all__ = ["Block", "Issue", "Kind", "Row", "operation_layout"]


class Kind(enum.Enum, shape=3):
    """What one operation does to its membrane word."""

    NONE = 0
    INTEGRATE = 1
    """Add the shifted weights."""
    FIRE = 2
    """Add current and bias, compare, reset, and write the spikes."""
    INIT = 3
    """Set to the initial potential, the current to zero."""
    PARAMETER = 4
    """Fetch a parameter row into the row registers."""
    READ = 5
    """Hand the word to the readout."""


class Row(enum.Enum, shape=1):
    """The row registers: A holds the initial potential or the bias, B bias - threshold."""

    A = 0
    B = 1


def operation_layout(shape: HardwareShape) -> data.StructLayout:
    """One operation; `word` also addresses the parameter rows, `step` is for the trace."""
    return data.StructLayout(
        {
            "kind": Kind,
            "row": Row,
            "word": max(shape.word_address_bits, bits_for(shape.parameter_words - 1)),
            "weight": shape.weight_address_bits,
            "shift": shape.shift_bits,
            "negative": 1,
            "step": bits_for(shape.steps),
        }
    )


class Block(wiring.Component):
    """Walks the block of words that one event lands on: groups, rows and columns of taps.

    It shows one (word, weight) pair and moves on in every clock with `advance`; the next event is
    taken with the last pair of the present one, so that events follow without a gap.

    Members
    -------
    i : events; tokens are taken too, and shown as `token` for one clock
    word, weight, shift, negative : the present operation, while `valid`
    """

    def __init__(self, shape: HardwareShape) -> None:
        self._shape = shape
        super().__init__(
            {
                "setting": In(SettingSignature()),
                "i": In(stream.Signature(event_layout(shape))),
                "enable": In(1),
                "advance": In(1),
                "valid": Out(1),
                "token": Out(1),
                "word": Out(shape.word_address_bits),
                "weight": Out(shape.weight_address_bits),
                "shift": Out(shape.shift_bits),
                "negative": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        shape = self._shape
        groups = Signal(bits_for(max(shape.weight_words, shape.membrane_words)))
        words, word_row = Signal.like(self.word), Signal.like(self.word)
        base = Signal.like(self.weight)
        weight_col, weight_row, weight_group = (Signal.like(self.weight) for _ in range(3))
        shift = Signal(shape.shift_bits)
        bind(
            m,
            self.setting,
            {
                Register.GROUPS: groups,
                Register.WORDS: words,
                Register.WORD_ROW: word_row,
                Register.SHIFT: shift,
                Register.WEIGHT_BASE: base,
                Register.WEIGHT_COLUMN: weight_col,
                Register.WEIGHT_ROW: weight_row,
                Register.WEIGHT_GROUP: weight_group,
            },
        )
        # The intake adds the bases, one event ahead of the walk.
        event, waiting = Signal(event_layout(shape), reset_less=True), Signal()
        take = Signal()
        m.d.comb += self.i.ready.eq(~waiting | take)
        with m.If(take):
            m.d.sync += waiting.eq(0)
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += [
                waiting.eq(1),
                event.eq(self.i.p),
                event.weight.eq(self.i.p.weight + base),
                event.shift.eq(self.i.p.shift + shift),
            ]
        rows, cols = Signal(shape.tap_bits), Signal(shape.tap_bits)
        row_left, col_left = Signal.like(rows), Signal.like(cols)
        group_left = Signal.like(groups)
        row_word, group_word = Signal.like(self.word), Signal.like(self.word)
        row_weight, group_weight = Signal.like(self.weight), Signal.like(self.weight)
        row_end, col_end, group_end = Signal(), Signal(), Signal()
        m.d.comb += [
            col_end.eq(col_left == 1),
            row_end.eq(row_left == 1),
            group_end.eq(group_left == 1),
        ]
        done = Signal()
        m.d.comb += [
            done.eq(~self.valid | (self.advance & col_end & row_end & group_end)),
            take.eq(self.enable & waiting & done & ~(event.token & self.valid)),
            self.token.eq(take & event.token),
        ]

        def go(word, weight, *, row=False, group=False):
            m.d.sync += [self.word.eq(word), self.weight.eq(weight)]
            if row:
                m.d.sync += [row_word.eq(word), row_weight.eq(weight)]
            if group:
                m.d.sync += [group_word.eq(word), group_weight.eq(weight)]

        with m.If(self.valid & self.advance):
            m.d.sync += [self.valid.eq(0), col_left.eq(col_left - 1)]
            with m.If(~col_end):
                m.d.sync += self.valid.eq(1)
                go(self.word - 1, self.weight + weight_col)
            with m.Elif(~row_end):
                m.d.sync += [self.valid.eq(1), col_left.eq(cols), row_left.eq(row_left - 1)]
                go(row_word - word_row, row_weight + weight_row, row=True)
            with m.Elif(~group_end):
                m.d.sync += [
                    self.valid.eq(1),
                    col_left.eq(cols),
                    row_left.eq(rows),
                    group_left.eq(group_left - 1),
                ]
                go(group_word + words, group_weight + weight_group, row=True, group=True)
        with m.If(take & ~event.token):
            m.d.sync += [
                self.valid.eq(1),
                self.shift.eq(event.shift),
                self.negative.eq(event.negative),
                rows.eq(event.rows),
                cols.eq(event.cols),
                row_left.eq(event.rows),
                col_left.eq(event.cols),
                group_left.eq(groups),
            ]
            go(event.word, event.weight, row=True, group=True)
        return m


class Issue(wiring.Component):
    """Issues one operation a clock: INIT pass, then for each step INTEGRATE and the FIRE scan.

    An operation whose word is still in the pipeline waits for it (`hazard`, from the lanes); FIRE
    waits for room in the trace too. A layer starts with `start` if the core owns groups of it; a
    step is scanned when all its tokens are here. With DIRECT there is one token only, before the
    first scan. Parameter rows are fetched once a group and scan.

    Members
    -------
    o : the operation of this clock, kind NONE if there is none
    read : readout requests (word), served while no layer runs
    activity : see :class:`~spikewright.hardware.Activity`
    """

    def __init__(self, shape: HardwareShape) -> None:
        self._shape = shape
        super().__init__(
            {
                "setting": In(SettingSignature()),
                "start": In(1),
                "i": In(stream.Signature(event_layout(shape))),
                "read": In(stream.Signature(shape.word_address_bits)),
                "hazard": In(1),
                "hold_fire": In(1),
                "candidate": Out(shape.word_address_bits),
                "o": Out(operation_layout(shape)),
                "active": Out(1),
                "busy": Out(1),
                "activity": Out(Activity),
            }
        )

    def elaborate(self, platform):
        m = Module()
        shape = self._shape
        m.submodules.block = block = Block(shape)
        wiring.connect(m, wiring.flipped(self.setting), block.setting)
        wiring.connect(m, wiring.flipped(self.i), block.i)
        groups, words = Signal.like(self.o.word), Signal(Instruction.VALUE_BITS)
        steps, tokens = Signal(bits_for(shape.steps)), Signal(bits_for(shape.cores + 1))
        direct = Signal()
        parameters = Signal(bits_for(shape.parameter_words))
        bind(
            m,
            self.setting,
            {
                Register.GROUPS: groups,
                Register.WORDS: words,
                Register.STEPS: steps,
                Register.TOKENS: tokens,
                Register.DIRECT: direct,
                Register.PARAMETER_BASE: parameters,
            },
        )
        # The weight address does not wait for the state: it goes to the memory at once.
        m.d.comb += [self.active.eq(groups != 0), self.o.weight.eq(block.weight)]
        word, left, group_left = (
            Signal(shape.word_address_bits),
            Signal.like(words),
            Signal.like(groups),
        )
        row, step, token_left = Signal.like(parameters), Signal.like(steps), Signal.like(tokens)
        scanning = Signal()  # FIRE, not INIT
        last_word, last_group = Signal(), Signal()
        m.d.comb += [last_word.eq(left == 1), last_group.eq(group_left == 1)]

        def begin_scan():
            """Rewind to the first word and the first group's parameter rows."""
            m.d.sync += [word.eq(0), left.eq(words), group_left.eq(groups), row.eq(parameters)]

        with m.FSM() as fsm:
            m.d.comb += self.busy.eq(~fsm.ongoing("idle"))
            with m.State("idle"):
                m.d.comb += [self.candidate.eq(self.read.p), self.read.ready.eq(~self.hazard)]
                with m.If(self.read.valid & self.read.ready):
                    m.d.comb += [self.o.kind.eq(Kind.READ), self.o.word.eq(self.read.p)]
                with m.If(self.start & self.active):
                    m.d.sync += [scanning.eq(0), step.eq(1)]
                    begin_scan()
                    m.next = "row_a"
            with m.State("row_a"):
                # INIT takes the first row, FIRE the second and third.
                m.d.comb += [
                    self.o.kind.eq(Kind.PARAMETER),
                    self.o.row.eq(Row.A),
                    self.o.word.eq(Mux(scanning, row + 1, row)),
                    self.activity.eq(Activity.STALLED),
                ]
                m.next = "row_b"
                with m.If(~scanning):
                    m.next = "scan"
            with m.State("row_b"):
                m.d.comb += [
                    self.o.kind.eq(Kind.PARAMETER),
                    self.o.row.eq(Row.B),
                    self.o.word.eq(row + 2),
                    self.activity.eq(Activity.STALLED),
                ]
                m.next = "scan"
            with m.State("scan"):
                held = self.hazard | (scanning & self.hold_fire)
                m.d.comb += [self.candidate.eq(word), self.activity.eq(Activity.STALLED)]
                m.d.comb += [self.o.word.eq(word), self.o.step.eq(step)]
                with m.If(~held):
                    m.d.comb += [
                        self.o.kind.eq(Mux(scanning, Kind.FIRE, Kind.INIT)),
                        self.activity.eq(Mux(scanning, Activity.SCAN, Activity.INITIALISE)),
                    ]
                    m.d.sync += [word.eq(word + 1), left.eq(left - 1)]
                    with m.If(last_word):
                        m.d.sync += [
                            left.eq(words),
                            group_left.eq(group_left - 1),
                            row.eq(row + 3),
                        ]
                        m.next = "row_a"
                        with m.If(last_group):
                            begin_scan()
                            m.d.sync += [scanning.eq(1), token_left.eq(tokens)]
                            m.next = "integrate"
                            with m.If(scanning):
                                m.d.sync += step.eq(step + 1)
                                with m.If(step == steps):
                                    m.next = "idle"
                                with m.Elif(direct):
                                    m.next = "row_a"
            with m.State("integrate"):
                m.d.comb += [
                    block.enable.eq(1),
                    self.candidate.eq(block.word),
                    block.advance.eq(~self.hazard),
                    self.o.word.eq(block.word),
                    self.o.shift.eq(block.shift),
                    self.o.negative.eq(block.negative),
                ]
                with m.If(block.valid):
                    m.d.comb += self.activity.eq(Activity.STALLED)
                    with m.If(~self.hazard):
                        m.d.comb += [
                            self.o.kind.eq(Kind.INTEGRATE),
                            self.activity.eq(Activity.INTEGRATE),
                        ]
                with m.If(block.token):
                    m.d.sync += token_left.eq(token_left - 1)
                    with m.If(token_left == 1):
                        m.next = "row_a"
        return m
