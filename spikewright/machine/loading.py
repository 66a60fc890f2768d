"""What travels on the load chain: the one way into a core's memories and records.

A :class:`LoadWord` goes past every core. The sequencer sends the records of the program, RUN and
FRAME; while no program runs the host sends the contents of the memories. What is wider than a word
comes as several, the low bits first; the one with `last` takes the whole into effect.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from spikewright.machine.blocks import WORD, Machine, address_bits
from spikewright.machine.configuration import ALL_CORES, AxisEntry
from spikewright.machine.fields import Record, number
from spikewright.machine.memories import Images

__all__ = ["LoadKind", "LoadWord", "load_words", "parameter_index", "parts", "row_bits"]


class LoadKind(enum.IntEnum):
    """What a load word is for; records have the code of their instruction."""

    RUN = 1
    """All shadow records take effect and the layer starts. For all cores, whatever `core` is."""
    FRAME = 2
    """The halves of the spike memories change places. For all cores, whatever `core` is."""
    PROGRAM = 3
    """A word of the program memory, at `index`; it is the sequencer's, cores ignore it."""
    AXIS = 4
    """An axis entry, at `index`."""
    WEIGHTS = 5
    """Weight row `index`, in a memory of the core's own or of the pair whose first core it is."""
    PARAMETERS = 6
    """A parameter word, at :func:`parameter_index`."""
    LAYER = 8
    SHARE = 9
    SOURCE = 10
    PASS = 11
    KEEP = 12
    """A record, as in :class:`~spikewright.machine.configuration.Opcode`."""


@dataclass(frozen=True)
class LoadWord(Record):
    """A word of the load chain."""

    title: ClassVar[str] = "load word"
    data: int = number(WORD, "a part of the row or record")
    index: int = number(16, "row of the memory; which source, pass or keep record")
    core: int = number("core", "which core takes it; 63: all")
    kind: int = number(4, "what it is")
    last: int = number(1, "the last part: the whole takes effect")


def parts(bits: int) -> int:
    """Load words that `bits` bits take."""
    return -(-bits // WORD)


def row_bits(machine: Machine) -> int:
    """Bits of a weight row."""
    return machine.lanes.count * machine.lanes.weight_bits


def parameter_index(machine: Machine, unit: int, address: int) -> int:
    """The index of a parameter word: the fire unit above the address in its memory."""
    return unit << address_bits(2 * machine.fire.parameter_rows) | address


def load_words(machine: Machine, images: Images) -> Iterator[LoadWord]:
    """All words that load `images` into a machine."""
    axis, rows = AxisEntry.size(machine.widths), row_bits(machine)
    for address, word in enumerate(images.program):
        yield from _split(word, WORD, address, ALL_CORES, LoadKind.PROGRAM)
    for address, word in enumerate(images.axis):
        yield from _split(word, axis, address, ALL_CORES, LoadKind.AXIS)
    for memory, words in enumerate(images.weights):
        for address, word in enumerate(words):
            yield from _split(word, rows, address, memory * machine.lanes.sharing, LoadKind.WEIGHTS)
    for core, units in enumerate(images.parameters):
        for unit, words in enumerate(units):
            for address, word in enumerate(words):
                index = parameter_index(machine, unit, address)
                bits = machine.fire.parameter_bits
                yield from _split(word, bits, index, core, LoadKind.PARAMETERS)


def _split(value: int, bits: int, index: int, core: int, kind: LoadKind) -> Iterator[LoadWord]:
    count = parts(bits)
    for part in range(count):
        low = value >> WORD * part & (1 << WORD) - 1
        yield LoadWord(low, index, core, kind, int(part == count - 1))
