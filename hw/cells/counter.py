"""Counters that cost a LUT a bit on the ECP5, and whose end is a flip-flop."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Signal, Value, ValueLike
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from spikewright.hw.cells.arithmetic import ChooseSubtract, LoadAdd

__all__ = ["Countdown", "advance", "countdown"]


class Countdown(wiring.Component):
    """Counts from `value` down to 0; `last` is a flip-flop, true while the count is 0.

    It holds the count less 1, whose sign says the end: nothing is compared. Where `enable`, the
    next clock has `value` if `load`, else one less. At first `last` is true.
    """

    def __init__(self, bits: int) -> None:
        super().__init__({"value": In(bits), "load": In(1), "enable": In(1), "last": Out(1)})

    def elaborate(self, platform):
        m = Module()
        bits = len(self.value) + 1
        count = Signal(bits, init=-1 & (1 << bits) - 1)
        m.submodules.less = less = ChooseSubtract(bits, 1)
        m.d.comb += [
            less.first.eq(Cat(self.value, Const(0, 1))),
            less.second.eq(count),
            less.choose.eq(self.load),
            less.value.eq(1),
            self.last.eq(count[-1]),
        ]
        with m.If(self.enable):
            m.d.sync += count.eq(less.total)
        return m


def countdown(m: Module, name: str, value: Value, load: ValueLike, enable: ValueLike) -> Value:
    """`last` of a new :class:`Countdown`."""
    m.submodules[name] = counter = Countdown(len(value))
    m.d.comb += [counter.value.eq(value), counter.load.eq(load), counter.enable.eq(enable)]
    return counter.last


def advance(
    m: Module,
    register: Signal,
    enable: ValueLike,
    step: ValueLike,
    load: ValueLike,
    start: ValueLike,
) -> None:
    """Where `enable`, `register` goes on by `step`, or to `start` if `load`."""
    m.submodules[f"{register.name}_next"] = adder = LoadAdd(len(register))
    m.d.comb += [
        adder.sum.eq(register),
        adder.step.eq(step),
        adder.load.eq(load),
        adder.start.eq(start),
    ]
    with m.If(enable):
        m.d.sync += register.eq(adder.total)
