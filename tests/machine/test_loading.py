"""Load words: every memory word comes whole, in its parts, to the cores that have it."""

from pathlib import Path

from spikewright.machine.blocks import FireUnit, Lanes, Machine
from spikewright.machine.configuration import ALL_CORES, Opcode
from spikewright.machine.loading import LoadKind, LoadWord, load_words, parameter_index
from spikewright.machine.memories import Images


def joined(words):
    """`words` as (kind, core, index, value)."""
    value = shift = 0
    for word in words:
        value |= word.data << shift
        shift += 36
        if word.last:
            yield LoadKind(word.kind), word.core, word.index, value
            value = shift = 0


def test_load_words():
    machine = Machine(cores=2, lanes=Lanes(count=8), fire=FireUnit(parameter_rows=3))
    images = Images([1 << 35], [1 << 39], [[5, 1 << 63], [6]], [[[1], [2]], [[3], [4]]])
    words = list(load_words(machine, images))
    assert list(joined(words)) == [
        (LoadKind.PROGRAM, ALL_CORES, 0, 1 << 35),
        (LoadKind.AXIS, ALL_CORES, 0, 1 << 39),
        (LoadKind.WEIGHTS, 0, 0, 5),
        (LoadKind.WEIGHTS, 0, 1, 1 << 63),
        (LoadKind.WEIGHTS, 1, 0, 6),
        (LoadKind.PARAMETERS, 0, 0, 1),
        (LoadKind.PARAMETERS, 0, parameter_index(machine, 1, 0), 2),
        (LoadKind.PARAMETERS, 1, 0, 3),
        (LoadKind.PARAMETERS, 1, 8, 4),
    ]
    for word in words:
        word.encode(machine.widths)


def test_pairs_of_cores_share_weights():
    machine = Machine(cores=4, lanes=Lanes(sharing=2))
    words = load_words(machine, Images([], [], [[1], [2]], []))
    assert {word.core for word in words} == {0, 2}


def test_records_have_the_code_of_their_instruction():
    for name in ("RUN", "FRAME", "LAYER", "SHARE", "SOURCE", "PASS", "KEEP"):
        assert LoadKind[name] == Opcode[name]


def test_the_documented_table():
    text = (Path(__file__).parents[2] / "docs" / "machine.md").read_text()
    assert f"### Load word\n\nKinds: {', '.join(f'{k.value} {NAMES[k]}' for k in NAMES)}, " in text
    assert f"\n\n{LoadWord.table()}\n" in text


NAMES = {
    LoadKind.RUN: "RUN",
    LoadKind.FRAME: "FRAME",
    LoadKind.PROGRAM: "program word",
    LoadKind.AXIS: "axis entry",
    LoadKind.WEIGHTS: "weight row",
    LoadKind.PARAMETERS: "parameter word",
}
