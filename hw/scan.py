"""Where a scan is: the step and digit of a layer, and the words that it walks."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from spikewright.hw.event import SettingSignature, bind
from spikewright.machine.hardware import HardwareShape, bits_for
from spikewright.machine.instructions import Instruction, Register

__all__ = ["ScanWalk", "StepCounter"]


class StepCounter(wiring.Component):
    """Where a layer is in time: its step, and the digit of the present scan.

    Members
    -------
    start : to step 1, first scan
    advance : one scan further
    step, digit, top : the present step, from 1; the scan's binary digit; it is the step's first
    driven : the step has input and bias
    final : the final step, with scans of its own
    step_ends, ends, next_final : the scan is the last of its step, of all; the final step follows
    """

    def __init__(self, shape: HardwareShape) -> None:
        self._shape = shape
        super().__init__(
            {
                "setting": In(SettingSignature()),
                "start": In(1),
                "advance": In(1),
                "step": Out(bits_for(shape.steps)),
                "digit": Out(bits_for(max(1, shape.digits - 1))),
                "top": Out(1),
                "driven": Out(1),
                "final": Out(1),
                "step_ends": Out(1),
                "ends": Out(1),
                "next_final": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        shape = self._shape
        steps = Signal.like(self.step)
        input_steps = Signal.like(self.step)
        registers = {Register.STEPS: steps, Register.INPUT_STEPS: input_steps}
        passes, final_passes = Signal(bits_for(shape.digits)), Signal(bits_for(shape.digits))
        if shape.digits > 1 or shape.input_steps < shape.steps:
            registers |= {Register.PASSES: passes, Register.FINAL_PASSES: final_passes}
        bind(m, self.setting, registers)
        left = Signal.like(steps)  # steps behind this one
        some = final_passes != 0
        m.d.comb += [
            self.next_final.eq(self.step_ends & (left == 1) & some),
            self.ends.eq(self.step_ends & (left == 0)),
            self.step_ends.eq(self.digit == 0),
        ]
        with m.If(self.advance):
            m.d.sync += [self.digit.eq(self.digit - 1), self.top.eq(0)]
            with m.If(self.step_ends):
                m.d.sync += [
                    self.step.eq(self.step + 1),
                    left.eq(self._next_left(left)),
                    self.top.eq(1),
                    self.digit.eq(Mux(self.next_final, final_passes, passes) - 1),
                    self.final.eq(self.next_final),
                ]
                with m.If(self.step == input_steps):
                    m.d.sync += self.driven.eq(0)
        with m.If(self.start):
            m.d.sync += [
                self.step.eq(1),
                left.eq(steps - 1),
                self.top.eq(1),
                self.digit.eq(passes - 1),
                self.final.eq(0),
                self.driven.eq(1),
            ]
        if Register.PASSES not in registers:
            m.d.comb += passes.eq(1)
        return m

    def _next_left(self, left):
        """Steps behind the next one."""
        return left - 1


class ScanWalk(wiring.Component):
    """Walks the words of a scan: groups, outputs of a group, membranes of an output's window.

    Only max pooling has windows of more than one membrane; they lie in planes, `outputs` apart.

    Members
    -------
    start, initial : to the first word; `initial` begins an INIT pass, which takes every membrane by
        itself
    advance : one membrane further
    active : the core owns groups of the layer
    pools : the layer pools
    word, target : the membrane's word, and the output's
    first, fires : the first membrane of a window; the last, with which the output fires
    last_word, last_group : the last membrane of a group; the last group
    """

    def __init__(self, shape: HardwareShape) -> None:
        self._shape = shape
        address = shape.word_address_bits
        super().__init__(
            {
                "setting": In(SettingSignature()),
                "start": In(1),
                "initial": In(1),
                "advance": In(1),
                "active": Out(1),
                "pools": Out(1),
                "word": Out(address),
                "target": Out(address),
                "first": Out(1),
                "fires": Out(1),
                "last_word": Out(1),
                "last_group": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        shape = self._shape
        groups = Signal(bits_for(shape.membrane_words))
        words, outputs = Signal(Instruction.VALUE_BITS), Signal(Instruction.VALUE_BITS)
        bind(
            m,
            self.setting,
            {Register.GROUPS: groups, Register.WORDS: words, Register.OUTPUTS: outputs},
        )
        left, group_left = Signal.like(words), Signal.like(groups)
        m.d.comb += [
            self.active.eq(groups != 0),
            self.last_group.eq(group_left == 1),
            self.first.eq(1),
            self.fires.eq(1),
            self.target.eq(self.word),
            self.last_word.eq(self.fires & (left == 1)),
        ]
        initial = Signal()
        with m.If(self.advance & self.fires):
            m.d.sync += left.eq(left - 1)
            with m.If(left == 1):
                m.d.sync += [
                    left.eq(Mux(initial, words, outputs)),
                    group_left.eq(group_left - 1),
                ]
        with m.If(self.advance):
            m.d.sync += self.word.eq(self.word + 1)
        if shape.window > 1:
            self._add_windows(m, words, outputs, left, initial)
        with m.If(self.start):
            m.d.sync += [
                initial.eq(self.initial),
                self.word.eq(0),
                left.eq(Mux(self.initial, words, outputs)),
                group_left.eq(groups),
            ]
        return m

    def _add_windows(self, m, words, outputs, left, initial):
        shape = self._shape
        window = Signal(bits_for(shape.window))
        bind(m, self.setting, {Register.WINDOW: window})
        inside = Signal.like(window)  # membranes of the window behind this one
        origin, group, target = (Signal.like(self.word) for _ in range(3))
        alone = initial | ~self.pools
        m.d.comb += [
            self.pools.eq(window != 1),
            self.first.eq(alone | (inside == window - 1)),
            self.fires.eq(alone | (inside == 0)),
            self.target.eq(Mux(alone, self.word, target)),
        ]
        with m.If(self.advance & ~alone):
            m.d.sync += [inside.eq(inside - 1), self.word.eq(self.word + outputs)]
            with m.If(self.fires):
                m.d.sync += [
                    inside.eq(window - 1),
                    target.eq(target + 1),
                    origin.eq(origin + 1),
                    self.word.eq(origin + 1),
                ]
                with m.If(left == 1):
                    m.d.sync += [
                        group.eq(group + words),
                        origin.eq(group + words),
                        self.word.eq(group + words),
                    ]
        with m.If(self.start):
            m.d.sync += [inside.eq(window - 1), target.eq(0), origin.eq(0), group.eq(0)]
