"""The walk of a source through its memory: steps, planes, channel groups, rows, columns."""

from __future__ import annotations

from amaranth.hdl import C, Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from spikewright.hw.event import SettingSignature, bind
from spikewright.machine.hardware import HardwareShape, bits_for
from spikewright.machine.instructions import Register
from spikewright.network import InputCode

__all__ = ["Walker", "mark_layout"]


def mark_layout(shape: HardwareShape) -> data.StructLayout:
    """Where in the walk a word stands.

    Members
    -------
    channel : its first channel
    digit : exponent of its spikes
    first, final : of the first step; of the last step with input
    last : the last word of a step
    silent : there is no word, since the input is over; the step has only its end
    """
    return data.StructLayout(
        {
            "channel": shape.weight_address_bits,
            "digit": bits_for(shape.digits - 1) if shape.digits > 1 else 0,
            "first": 1,
            "final": 1,
            "last": 1,
            "silent": 1,
        }
    )


class Walker(wiring.Component):
    """Counts through steps, planes, channel groups, rows and columns, and gives the addresses.

    While `advance` is held it moves one word a clock; `valid` falls after the last word of the last
    step. The data address only ever increments, since spikes lie in the order of the walk; a walk
    that repeats begins anew in every step. Once `shape.input_steps` are over, pairs and all input
    codes are silent: their steps are one clock long.

    Members
    -------
    start : begins a walk as the registers say; ignored with SOURCE_GROUPS = 0
    bank : of the frame, whose walk begins at channel 0 and at the bank's first word
    address, axis_y, axis_x : where the word and the entries of its two axes lie
    mark : the word's :func:`mark_layout`
    active : the registers describe a source that sends
    """

    def __init__(self, shape: HardwareShape, *, frame: bool) -> None:
        self._shape, self._frame = shape, frame
        axis = bits_for(shape.axis_words - 1)
        depth = 2 * shape.frame_words if frame else shape.spike_words
        super().__init__(
            {
                "setting": In(SettingSignature()),
                "start": In(1),
                "bank": In(1),
                "advance": In(1),
                "valid": Out(1),
                "address": Out(bits_for(depth - 1)),
                "axis_y": Out(axis),
                "axis_x": Out(axis),
                "mark": Out(mark_layout(shape)),
                "active": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        shape, mark = self._shape, self.mark
        steps, groups = Signal(bits_for(shape.steps)), Signal(bits_for(shape.weight_words))
        height, width = Signal.like(self.axis_y), Signal.like(self.axis_y)
        base, channel = Signal.like(self.address), Signal.like(mark.channel)
        axis_y, axis_x = Signal.like(self.axis_y), Signal.like(self.axis_x)
        repeats = Signal()
        registers = {
            Register.STEPS: steps,
            Register.SOURCE_GROUPS: groups,
            Register.SOURCE_HEIGHT: height,
            Register.SOURCE_WIDTH: width,
            Register.AXIS_Y: axis_y,
            Register.AXIS_X: axis_x,
        }
        if self._frame:
            again = InputCode(shape.code).repeats
            m.d.comb += [base.eq(Mux(self.bank, shape.frame_words, 0)), repeats.eq(again)]
        else:
            registers |= {Register.SOURCE_CHANNEL: channel, Register.SOURCE_BASE: base}
            if shape.pairs:
                registers[Register.SOURCE_REPEATS] = repeats
        bind(m, self.setting, registers)

        # What is left after the present one, and whether none is: the flags keep compares out of
        # the path from counters to addresses.
        t_left, g_left = Signal.like(steps), Signal.like(groups)
        y_left, x_left = Signal.like(height), Signal.like(width)
        begin, moves = self.start, Signal()
        x_end, y_end, g_end, step_end = (
            Signal(name=f"{name}_end") for name in ("x", "y", "g", "t")
        )
        m.d.comb += [
            self.active.eq(groups != 0),
            moves.eq(self.valid & self.advance),
            x_end.eq(x_left == 0),
            y_end.eq(x_end & (y_left == 0)),
            g_end.eq(y_end & (g_left == 0)),
            mark.last.eq(mark.silent | (g_end & (mark.digit == 0))),
            step_end.eq(moves & mark.last),
        ]
        with m.If(begin | moves):
            m.d.sync += [
                self.address.eq(Mux(begin | (repeats & mark.last), base, self.address + 1)),
                self.axis_x.eq(Mux(begin | x_end, axis_x, self.axis_x + 1)),
                x_left.eq(Mux(begin | x_end, width, x_left) - 1),
            ]
        with m.If(begin | (moves & x_end)):
            m.d.sync += [
                self.axis_y.eq(Mux(begin | y_end, axis_y, self.axis_y + 1)),
                y_left.eq(Mux(begin | y_end, height, y_left) - 1),
            ]
        lanes = 1 if self._frame else shape.lanes
        with m.If(begin | (moves & y_end)):
            m.d.sync += [
                mark.channel.eq(Mux(begin | g_end, channel, mark.channel + lanes)),
                g_left.eq(Mux(begin | g_end, groups, g_left) - 1),
            ]
        more = C(0) if self._frame and shape.code == "direct" else t_left != 0
        with m.If(begin | step_end):
            m.d.sync += [
                t_left.eq(Mux(begin, steps, t_left) - 1),
                self.valid.eq(Mux(begin, self.active, more)),
                mark.first.eq(begin),
            ]
        if not self._frame and shape.digits > 1:
            self._count_planes(m, begin | (moves & g_end), begin, Mux(begin, steps, t_left) == 1)
        if self._frame or shape.pairs:
            self._count_input(m, begin | step_end, begin, self._frame | repeats)
        return m

    def _count_planes(self, m, enable, begin, final_next):
        """Count the digits of a step down; each is a pass over the words."""
        digit = self.mark.digit
        planes, final = Signal(len(digit) + 1), Signal(len(digit) + 1)
        bind(m, self.setting, {Register.SOURCE_PLANES: planes, Register.SOURCE_FINAL: final})
        with m.If(enable):
            new = begin | (digit == 0)
            m.d.sync += digit.eq(Mux(new, Mux(final_next, final, planes), digit) - 1)

    def _count_input(self, m, enable, begin, ends):
        """Count the steps with input down, behind which a source that `ends` is silent."""
        shape, mark = self._shape, self.mark
        left = Signal(range(shape.input_steps + 1))
        m.d.comb += mark.final.eq(left == 0)
        with m.If(enable):
            m.d.sync += left.eq(Mux(begin, shape.input_steps, left) - 1)
            if shape.steps > shape.input_steps:
                m.d.sync += mark.silent.eq(~begin & ends & (mark.silent | mark.final))
