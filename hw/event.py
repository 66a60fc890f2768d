"""Events and settings: what travels through the router, and what configures a unit."""

from __future__ import annotations

from collections.abc import Mapping

from amaranth.hdl import Module, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import Out

from spikewright.machine.hardware import HardwareShape
from spikewright.machine.instructions import Instruction, Register

__all__ = ["SettingSignature", "bind", "event_layout"]


def event_layout(shape: HardwareShape) -> data.StructLayout:
    """One event, ready for the cores: the block of membrane words it lands on.

    Members
    -------
    weight : weight word of its first tap, from the layer's (and group's) first weight word on
    word : membrane word of its first tap; further columns and rows land on earlier words
    rows, cols : taps of each axis it lands on, at least one
    shift : exponent n of its value ``sign * 2**n``
    negative : sign
    token : the end of a step of its source; everything else is then meaningless
    """
    return data.StructLayout(
        {
            "weight": shape.weight_address_bits,
            "word": shape.word_address_bits,
            "rows": shape.tap_bits,
            "cols": shape.tap_bits,
            "shift": shape.shift_bits,
            "negative": 1,
            "token": 1,
        }
    )


class SettingSignature(wiring.Signature):
    """A register write, one a clock, already addressed to the unit; there is no back-pressure."""

    def __init__(self) -> None:
        super().__init__(
            {"valid": Out(1), "register": Out(5), "value": Out(Instruction.VALUE_BITS)}
        )


def bind(m: Module, setting, registers: Mapping[Register, Signal]) -> None:
    """Let `setting` write `registers`."""
    with m.If(setting.valid), m.Switch(setting.register):
        for register, signal in registers.items():
            with m.Case(register):
                m.d.sync += signal.eq(setting.value)
