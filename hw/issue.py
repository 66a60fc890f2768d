"""The front of a core: turns events into INTEGRATE operations, and steps into scans."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, enum, stream, wiring
from amaranth.lib.wiring import In, Out

from spikewright.hw.event import SettingSignature, bind, event_layout
from spikewright.hw.scan import ScanWalk, StepCounter
from spikewright.machine.hardware import Activity, HardwareShape, bits_for
from spikewright.machine.instructions import Register

__all__ = ["Block", "CandidateSignature", "Issue", "Kind", "Row", "operation_layout"]


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
    PEEK = 6
    """Take the word into the maximum of its pooling window; the FIRE of the window follows."""


class Row(enum.Enum, shape=2):
    """The row registers."""

    ADD = 0
    """V(0), or the bias, or half a threshold."""
    THRESHOLD = 1
    """The threshold, shifted by the scan's digit."""
    CEIL = 2
    """That less one threshold."""


def operation_layout(shape: HardwareShape) -> data.StructLayout:
    """One operation.

    Members
    -------
    word : membrane word; of PARAMETER the parameter row
    target : the word it writes and counts in; differs from `word` in max pooling only
    weight, shift, negative : of INTEGRATE
    row, bias : of PARAMETER: which row register; whether an ADD row counts or is zero
    current : of FIRE: adds the second accumulator
    digit, top : of FIRE: the binary digit of this scan; whether it is the first of the step
    final : of FIRE: in the final step
    first : of PEEK and FIRE: the first membrane of a window
    step : for the trace
    """
    word = max(shape.word_address_bits, bits_for(shape.parameter_words - 1))
    return data.StructLayout(
        {
            "kind": Kind,
            "row": Row,
            "word": word,
            "target": shape.word_address_bits,
            "weight": shape.weight_address_bits,
            "shift": shape.shift_bits,
            "negative": 1,
            "bias": 1,
            "current": 1,
            "digit": bits_for(max(1, shape.digits - 1)),
            "top": 1,
            "final": 1,
            "first": 1,
            "step": bits_for(shape.steps),
        }
    )


class CandidateSignature(wiring.Signature):
    """A word to be written next, and the answer in the same clock: it is still on its way."""

    def __init__(self, shape: HardwareShape) -> None:
        super().__init__({"word": Out(shape.word_address_bits), "hazard": In(1)})


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
        registers = {
            Register.GROUPS: groups,
            Register.WORDS: words,
            Register.WORD_ROW: word_row,
            Register.SHIFT: shift,
            Register.WEIGHT_BASE: base,
            Register.WEIGHT_COLUMN: weight_col,
            Register.WEIGHT_ROW: weight_row,
            Register.WEIGHT_GROUP: weight_group,
        }
        bind(m, self.setting, registers)
        event = Signal(event_layout(shape), reset_less=True)
        waiting = Signal()
        take = Signal()
        self._add_intake(m, event, waiting, take, base, shift)
        rows = Signal(shape.tap_bits)
        cols = Signal.like(rows)
        row_left = Signal.like(rows)
        col_left = Signal.like(rows)
        group_left = Signal.like(groups)
        row_word, group_word = Signal.like(self.word), Signal.like(self.word)
        row_weight, group_weight = Signal.like(self.weight), Signal.like(self.weight)
        row_end, col_end, group_end = Signal(), Signal(), Signal()
        m.d.comb += [
            col_end.eq(col_left == 1),
            row_end.eq(self._row_ends(row_left)),
            group_end.eq(self._group_ends(group_left)),
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
        with m.If(self._walks(take, event)):
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

    def _row_ends(self, row_left):
        """Whether no row of taps is left in the group."""
        return row_left == 1

    def _group_ends(self, group_left):
        """Whether no group is left."""
        return group_left == 1

    def _walks(self, take, event):
        """Whether a block begins."""
        return take & ~event.token

    def _add_intake(self, m, event, waiting, take, base, shift):
        """Adds the bases, one event ahead of the walk."""
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


class Issue(wiring.Component):
    """Issues one operation a clock: INIT pass, then for each step INTEGRATE and the FIRE scans.

    ::

        idle -> row -> scan --(groups)--> integrate -> row, row, (row) -> scan --(groups, digits)-+
                ^ INIT                        ^                                                  |
                                              +--------------------(steps)-----------------------+

    A step has one scan for each binary digit that its neurons may send, the greatest first. Every
    scan of a group fetches its parameter rows, which lie in the order of the walk. An operation
    whose word is still in the pipeline waits for it (from the lanes); FIRE waits for room
    in the trace too. A layer starts with `start` if the core owns groups of it; a step is scanned
    when all its tokens are here. With CURRENT = 1 there is one token only, before the first step.

    Members
    -------
    o : the operation of this clock, kind NONE if there is none
    events, scan : the words that an INTEGRATE and a scan would write next, and whether they are
        still on their way; apart, so that no compare waits for the choice between them
    read : readout requests (word), served while no layer runs
    drained : no operation is in the pipeline; max pooling waits for it before a scan, a request too
    activity : see :class:`~spikewright.machine.hardware.Activity`
    """

    def __init__(self, shape: HardwareShape) -> None:
        self._shape = shape
        super().__init__(
            {
                "setting": In(SettingSignature()),
                "start": In(1),
                "i": In(stream.Signature(event_layout(shape))),
                "read": In(stream.Signature(shape.word_address_bits)),
                "events": Out(CandidateSignature(shape)),
                "scan": Out(CandidateSignature(shape)),
                "hold_fire": In(1),
                "drained": In(1),
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
        m.submodules.walk = walk = ScanWalk(shape)
        m.submodules.clock = clock = StepCounter(shape)
        for part in (block, walk, clock):
            wiring.connect(m, wiring.flipped(self.setting), part.setting)
        wiring.connect(m, wiring.flipped(self.i), block.i)
        tokens = Signal(bits_for(shape.cores + 1))
        current = Signal(2)
        parameters = Signal(bits_for(shape.parameter_words))
        registers = {
            Register.TOKENS: tokens,
            Register.CURRENT: current,
            Register.PARAMETER_BASE: parameters,
        }
        bind(m, self.setting, registers)
        # The weight address does not wait for the state: it goes to the memory at once.
        m.d.comb += [
            self.active.eq(walk.active),
            self.o.weight.eq(block.weight),
            self.events.word.eq(block.word),
            self.scan.word.eq(walk.target),
        ]
        word, target = Signal.like(self.o.word), Signal.like(self.o.target)
        row, rewind = Signal.like(parameters), Signal.like(parameters)
        token_left = Signal.like(tokens)
        scanning = Signal()  # FIRE, not INIT
        m.d.comb += [
            # Not from `o` itself, whose Verilog is one block: there, a part must not feed another.
            self.o.word.eq(word),
            self.o.target.eq(target),
            target.eq(word),
            self.o.step.eq(clock.step),
            self.o.digit.eq(clock.digit),
            self.o.top.eq(clock.top),
            self.o.final.eq(clock.final),
            self.o.bias.eq(clock.driven | clock.final | ~scanning),
            self.o.current.eq(clock.driven & clock.top),
            self.o.first.eq(walk.first),
        ]

        def fetch(which):
            m.d.comb += [
                self.o.kind.eq(Kind.PARAMETER),
                self.o.row.eq(which),
                word.eq(row),
                self.activity.eq(Activity.STALLED),
            ]
            m.d.sync += row.eq(row + 1)

        with m.FSM() as fsm:
            m.d.comb += self.busy.eq(~fsm.ongoing("idle"))
            self._add_idle(m, walk, clock, word, scanning, row, parameters)
            with m.State("add"):
                m.d.comb += self.activity.eq(Activity.STALLED)
                # Membranes that a window reads must all be written.
                with m.If(~(scanning & walk.pools) | self.drained):
                    fetch(Row.ADD)
                    m.next = "threshold"
                    with m.If(~scanning):
                        m.next = "scan"
            with m.State("threshold"):
                fetch(Row.THRESHOLD)
                m.next = "ceil" if shape.ceils else "scan"
            if shape.ceils:
                with m.State("ceil"):
                    fetch(Row.CEIL)
                    m.next = "scan"
            self._add_scan(
                m, walk, clock, word, target, scanning, row, rewind, tokens, token_left, current
            )
            self._add_integrate(m, block, word, token_left)
        return m

    def _add_idle(self, m, walk, clock, word, scanning, row, parameters):
        """The state that serves the readout until a layer starts."""
        with m.State("idle"):
            m.d.comb += self.read.ready.eq(self.drained)
            with m.If(self.read.valid & self.read.ready):
                m.d.comb += [self.o.kind.eq(Kind.READ), word.eq(self.read.p)]
            with m.If(self.start & self.active):
                m.d.sync += [scanning.eq(0), row.eq(parameters)]
                m.d.comb += [walk.start.eq(1), walk.initial.eq(1), clock.start.eq(1)]
                m.next = "add"

    def _add_scan(
        self, m, walk, clock, word, target, scanning, row, rewind, tokens, token_left, current
    ):
        """The state that walks the words, in INIT and FIRE."""
        with m.State("scan"):
            held = (walk.fires & self.scan.hazard) | (scanning & self.hold_fire)
            m.d.comb += [
                self.activity.eq(Activity.STALLED),
                word.eq(walk.word),
                target.eq(walk.target),
            ]
            with m.If(~held):
                m.d.comb += [
                    self.o.kind.eq(Mux(scanning, Mux(walk.fires, Kind.FIRE, Kind.PEEK), Kind.INIT)),
                    self.activity.eq(Mux(scanning, Activity.SCAN, Activity.INITIALISE)),
                    walk.advance.eq(1),
                ]
                with m.If(walk.last_word):
                    m.next = "add"
                with m.If(walk.last_word & walk.last_group):
                    m.d.comb += walk.start.eq(1)
                    m.d.sync += [scanning.eq(1), token_left.eq(tokens)]
                    with m.If(~scanning):
                        m.d.sync += rewind.eq(row)
                        m.next = "integrate"
                    with m.Else():
                        m.d.comb += clock.advance.eq(1)
                        with m.If(clock.step_ends):
                            # The rows of the final step lie behind those of the others.
                            with m.If(~clock.next_final):
                                m.d.sync += row.eq(rewind)
                            with m.If(clock.ends):
                                m.next = "idle"
                            with m.Elif(self._integrates_again(current)):
                                m.next = "integrate"

    def _add_integrate(self, m, block, word, token_left):
        """The state that adds weights, until all tokens of the step have come."""
        with m.State("integrate"):
            m.d.comb += [
                block.enable.eq(1),
                block.advance.eq(~self.events.hazard),
                word.eq(block.word),
                self.o.shift.eq(block.shift),
                self.o.negative.eq(block.negative),
            ]
            with m.If(block.valid):
                m.d.comb += self.activity.eq(Activity.STALLED)
                with m.If(~self.events.hazard):
                    m.d.comb += [
                        self.o.kind.eq(Kind.INTEGRATE),
                        self.activity.eq(Activity.INTEGRATE),
                    ]
            with m.If(block.token):
                m.d.sync += token_left.eq(token_left - 1)
                with m.If(self._is_last(token_left)):
                    m.next = "add"

    def _integrates_again(self, current):
        """Whether the next step has tokens of its own."""
        return current != 1

    def _is_last(self, token_left):
        """Whether the token is the step's last."""
        return token_left == 1
