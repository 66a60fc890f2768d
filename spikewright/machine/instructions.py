"""What a program is made of: instructions, the registers they set, and the modes of a scan.

A *program* (a list of :class:`Instruction`) configures the cores and runs them, layer by layer.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import ClassVar

from spikewright.errors import SpikewrightError

__all__ = [
    "ALL_UNITS",
    "FRAME_UNIT",
    "Instruction",
    "Mode",
    "Opcode",
    "Register",
    "pack_fields",
    "unpack_fields",
]

FRAME_UNIT = 30
"""The unit of the frame source."""
ALL_UNITS = 31
"""Addresses every core and every source at once."""


def pack_fields(values: Iterable[int], widths: Mapping[str, int]) -> int:
    """A word of `values`, the first in the low bits."""
    word = position = 0
    for value, width in zip(values, widths.values(), strict=True):
        word |= int(value) << position
        position += width
    return word


def unpack_fields(word: int, widths: Mapping[str, int]) -> list[int]:
    """The inverse of :func:`pack_fields`."""
    values = []
    for width in widths.values():
        values.append(word & (1 << width) - 1)
        word >>= width
    return values


class Opcode(enum.IntEnum):
    """What an instruction of the program does."""

    SET = 0
    """Set one register of one unit."""
    RUN = 1
    """Run the layer that the registers describe, over all steps, on every core with GROUPS > 0."""
    READ = 2
    """Send the first `value` outputs of the last layer from one core to the readout."""
    END = 3
    """The image is done."""


class Mode(enum.IntFlag):
    """Bits of the registers FIRE and FINAL: what a scan may do (see :mod:`.neuron`)."""

    FIRES = 1
    HOLDS = 2
    """Not on a tie."""
    BELOW = 4
    """Takes a spike back below zero."""
    AT = 8
    """Takes a spike back at the negative threshold."""
    GATED = 16
    """Not below a count of zero."""
    LIMITED = 32
    """Not beyond a count of LIMIT."""
    CAPPED = 64
    """The greatest digit, if sent, is all of the step."""
    POWER = 128
    """Any digit is all of the step."""
    ZERO = 256
    """Resets to zero."""
    SWITCHES = 512
    """Sends the changes of whether it fires (TSC)."""
    LATCH = 1024
    """Once ceased, silent for ever."""
    MAXIMUM = 2048
    """The potential is the greatest of WINDOW membranes, less the count."""


class Register(enum.IntEnum):
    """Registers of a unit. SOURCE_GROUPS to SOURCE_REPEATS are its spike (or frame) source's."""

    LAYER = 0
    """Index of the layer, for the trace."""
    STEPS = 1
    """All steps, the final one included; the direct frame source sends one."""
    GROUPS = 2
    """Channel groups (of `lanes` channels) this core owns in the layer; 0: takes no part."""
    WORDS = 3
    """Membrane words of a group: output height times width, times WINDOW."""
    FIRE = 4
    """The :class:`Mode` of ordinary steps."""
    TOKENS = 5
    """End-of-step tokens that complete a step: the number of sources that take part."""
    CURRENT = 6
    """1: events are the frame's; they go into the second accumulator, once. 2: events go into the
    second accumulator in every step. 0: into the membranes."""
    SHIFT = 7
    """Static shift of the weights: the membrane's fractional bits."""
    WEIGHT_BASE = 8
    WEIGHT_COLUMN = 9
    """Weight words from one landing tap to the next in a kernel row."""
    WEIGHT_ROW = 10
    """Weight words from one landing kernel row to the next."""
    WEIGHT_GROUP = 11
    """Weight words of a whole group."""
    WORD_ROW = 12
    """Membrane words by which each further kernel row lands earlier: the output width."""
    PARAMETER_BASE = 13
    SPIKE_BASE = 14
    """Where this layer's spikes are written, step after step."""
    INPUT_STEPS = 15
    """Steps with bias and input."""
    SOURCE_GROUPS = 16
    """Channel groups that this source sends (the frame source: channels); 0: silent."""
    SOURCE_CHANNEL = 17
    """The first channel of the first group."""
    SOURCE_HEIGHT = 18
    SOURCE_WIDTH = 19
    SOURCE_BASE = 20
    """Where the source layer's spikes begin in this core's spike buffer."""
    AXIS_Y = 21
    """First entry of the axis table for y."""
    AXIS_X = 22
    SOURCE_PLANES = 23
    """Digits of an ordinary step: each is a pass over all words, the greatest first."""
    SOURCE_FINAL = 24
    """Digits of the last step."""
    SOURCE_REPEATS = 25
    """1: the same words are read again in every step. A core's then hold numbers that pairs of
    events code (TSC)."""
    PASSES = 26
    """Scans of an ordinary step, one a digit."""
    FINAL_PASSES = 27
    """Scans of the last step, which add their first row whether there is input or not; 0: it is an
    ordinary step."""
    FINAL = 28
    """The :class:`Mode` of the final step."""
    LIMIT = 29
    """Zmax: the greatest count."""
    WINDOW = 30
    """Membranes of a max-pool window; 1 for all other layers."""
    OUTPUTS = 31
    """Membrane words of a group that fire: WORDS over WINDOW."""


@dataclass(frozen=True)
class Instruction:
    """One word of 32 bits: its fields, the first in the low bits."""

    opcode: Opcode
    unit: int = 0
    register: int = 0
    value: int = 0

    VALUE_BITS: ClassVar = 20
    FIELDS: ClassVar = {"opcode": 2, "unit": 5, "register": 5, "value": VALUE_BITS}
    """The fields of the word and their widths."""

    def encode(self) -> int:
        """Raises SpikewrightError if the value does not fit."""
        if not 0 <= self.value < 1 << self.VALUE_BITS:
            raise SpikewrightError(
                f"program: value {self.value} of register {self.register} does not fit "
                f"{self.VALUE_BITS} bits; the network is too large for one core"
            )
        return pack_fields((self.opcode, self.unit, self.register, self.value), self.FIELDS)

    @classmethod
    def decode(cls, word: int) -> Instruction:
        """The inverse of :meth:`encode`."""
        opcode, *rest = unpack_fields(word, cls.FIELDS)
        return cls(Opcode(opcode), *rest)
