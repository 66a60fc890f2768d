"""The field table: what is encoded is decoded, what does not fit is refused by name."""

import random
import re
from pathlib import Path

import pytest

from spikewright.errors import SpikewrightError
from spikewright.machine.blocks import Machine
from spikewright.machine.configuration import RECORDS, AxisEntry, Instruction, RouterWord

KINDS = [*RECORDS.values(), AxisEntry, Instruction, RouterWord]
MACHINE = Machine(cores=4)


def extremes(bits, signed):
    return (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_records_survive_the_round_trip(kind):
    widths, rng = MACHINE.widths, random.Random(1)
    layout = kind.layout(widths)
    assert kind.size(widths) == sum(bits for bits, _ in layout.values())
    for _ in range(50):
        made = kind(**{n: rng.randint(*extremes(*layout[n])) for n in layout})
        word = made.encode(widths)
        assert word < 1 << kind.size(widths)
        assert kind.decode(widths, word) == made
    offset = 0
    for name, (bits, signed) in layout.items():  # as Amaranth's StructLayout: the first lowest
        value = extremes(bits, signed)[1]
        assert kind(**{name: value}).encode(widths) == value << offset
        offset += bits


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_what_does_not_fit_is_refused_by_name(kind):
    for name, (bits, signed) in kind.layout(MACHINE.widths).items():
        low, high = extremes(bits, signed)
        for value in (low - 1, high + 1):
            with pytest.raises(SpikewrightError, match=f"^{kind.title}, {name}: {value} "):
                kind(**{name: value}).encode(MACHINE.widths)


def test_the_documented_tables_are_the_records():
    text = (Path(__file__).parents[2] / "docs" / "machine.md").read_text()
    for kind in KINDS:
        assert f"### {kind.title.capitalize()}\n\n{kind.table()}\n" in text, kind.title
    widths = dict(re.findall(r"^\| `(\w+)` \| (\d+) \|", text, re.M))
    assert {n: int(w) for n, w in widths.items() if n in Machine().widths} == Machine().widths
