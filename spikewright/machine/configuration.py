"""The configuration of the second machine: what cores are told before a layer runs.

A layer is described by one :class:`LayerRecord`, a :class:`ShareRecord` and a :class:`KeepRecord`
of each core, and a :class:`SourceRecord` and some :class:`PassRecord` for the maps it reads. The
program sends each as words of 36 bits behind an :class:`Instruction`, to one core or to all; they
take effect at the next RUN, so that a layer is configured while the one before runs.

Numbers of things are stored less one where the text says "less 1". All address sums are modular.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import ClassVar

from spikewright.machine.blocks import WORD
from spikewright.machine.fields import Record, Widths, number
from spikewright.network import NeuronModel

__all__ = [
    "ALL_CORES",
    "MODELS",
    "RECORDS",
    "AxisEntry",
    "Instruction",
    "KeepRecord",
    "LayerRecord",
    "Opcode",
    "PassRecord",
    "RouterWord",
    "Send",
    "ShareRecord",
    "SourceRecord",
    "record_words",
    "tables",
]

ALL_CORES = 63
"""The core of an instruction that all cores obey."""


class Opcode(enum.IntEnum):
    """What an instruction does."""

    END = 0
    """The image is done; the program begins anew with the next."""
    RUN = 1
    """Wait until the layer before is done and its words have arrived; then run the next."""
    FRAME = 2
    """Wait until a frame is complete in the spike memories; the other image's bank is then free."""
    LAYER = 8
    SHARE = 9
    SOURCE = 10
    PASS = 11
    KEEP = 12
    """The record that follows is of this kind."""


class Send(enum.IntEnum):
    """What a layer sends to the router."""

    PLANES = 0
    """The window sums of each step as digit planes, into the maps of its readers."""
    MEMBRANES = 1
    """V of every neuron after the last step, a signed word each, to the readout."""
    COUNTS = 2
    """The sum of what each neuron sent in all steps, a word each, to the readout."""


MODELS = (
    NeuronModel.INTEGRATOR,
    NeuronModel.IF,
    NeuronModel.BURST,
    NeuronModel.BUFFERED,
    NeuronModel.BOUNDED,
    NeuronModel.CALCIUM,
    NeuronModel.TSC,
    NeuronModel.MAX_POOL,
)
"""The codes of neuron models are the places in this row."""


@dataclass(frozen=True)
class Instruction(Record):
    """One program word; the `words` words behind it hold a record, the low bits first."""

    title: ClassVar[str] = "instruction"
    opcode: int = number(4, "see below")
    core: int = number("core", "which core takes the record; 63: all")
    index: int = number("pass", "which source or pass it is")
    words: int = number(5, "words of the record that follow")


@dataclass(frozen=True)
class LayerRecord(Record):
    """What all cores know of a layer."""

    title: ClassVar[str] = "layer record"
    layer: int = number("layer", "index, for the trace")
    steps: int = number("step", "time steps T, less 1")
    walks: int = number("step", "steps whose words are walked, less 1; the others have none")
    driven: int = number("step", "steps with bias (and a held current), less 1")
    hold: int = number(1, "the current of the last walk stays for the steps behind it")
    passes: int = number("pass", "passes of a walked step, less 1")
    shift: int = number(4, "the fire unit shifts the accumulator left by this")
    weight_group: int = number("weight", "weight rows from a channel group to the next")
    model: int = number(4, "neuron model")
    holds: int = number(1, "IF: a potential at the threshold does not fire")
    zero: int = number(1, "IF: a spike resets to zero instead of subtracting")
    levels: int = number("levels", "the most that a neuron sends in a step; integrators: 0")
    slots: int = number("slot", "slots of a position, less 1")
    members: int = number("slot", "positions of an item that share a window, less 1")
    windows: int = number("slot", "windows of an item, side by side, less 1")
    parts_y: int = number(4, "items of a window, downwards, less 1")
    parts_x: int = number(4, "items of a window, sideways, less 1")
    row: int = number("tiles", "tiles of a row, less 1")
    send: int = number(2, "0 planes, 1 membranes, 2 counts")
    planes: int = number("plane", "digit planes of what is sent, less 1")
    word: int = number("bit", "tiles that fill a word, less 1")
    out_word: int = number("map", "map addresses from the first word of a tile's word to the next")
    out_group: int = number("map", "map addresses from a channel group to the next")


@dataclass(frozen=True)
class ShareRecord(Record):
    """A core's part of a layer: channel groups times a run of tiles, row after row."""

    title: ClassVar[str] = "share record"
    groups: int = number("groups", "channel groups of this core; 0: it has no part")
    tiles: int = number("tiles", "tiles of the run, less 1")
    first: int = number("tiles", "tiles left in the run's first row, less 1")
    item_y: int = number("axis", "item row of the first tile")
    item_x: int = number("axis", "item column of the first tile")
    weight_base: int = number("weight", "weight row of the first group")
    parameter_base: int = number("parameter", "parameter row of the first group")
    out: int = number("map", "map address of the first word, or readout address")


@dataclass(frozen=True)
class KeepRecord(Record):
    """The slice of a map that a core keeps: words ``start .. start + words - 1`` of the router.

    Index 0 is what the running layer sends. Index 1 is the frame; it takes effect at once.
    """

    title: ClassVar[str] = "keep record"
    start: int = number("map", "map address of the first word that it keeps")
    words: int = number("map", "how many words it keeps")
    at: int = number("spike", "where the first of them lies in its spike memory")


@dataclass(frozen=True)
class SourceRecord(Record):
    """How a map is walked. The steps are in words of the spike memory, or in weight rows."""

    title: ClassVar[str] = "source record"
    base: int = number("spike", "spike address of the map's first word (modular: it may be absent)")
    frame: int = number(1, "the frame: the address's top bit is inverted in every other image")
    blocks: int = number("groups", "channel blocks, less 1")
    word_step: int = number("spike", "to the next word of a row")
    block_step: int = number("spike", "to the next channel block")
    row_step: int = number("spike", "to the next row")
    time_step: int = number("spike", "to the next time step")
    weight_base: int = number("weight", "row of bit 0 of the field's first word, in the group")
    weight_word: int = number("weight", "rows to the next word of a row")
    weight_block: int = number("weight", "rows to the next channel block")
    weight_row: int = number("weight", "rows to the next row")
    axis_y: int = number("axis", "axis entry of item row 0")
    axis_x: int = number("axis", "axis entry of item column 0")


@dataclass(frozen=True)
class PassRecord(Record):
    """One digit plane of one source. Passes come in the order of their weight, greatest first."""

    title: ClassVar[str] = "pass record"
    source: int = number("source", "which source")
    offset: int = number("plane", "the plane's words lie so far behind the source's first")
    doubles: int = number("plane", "the accumulator is doubled so often before this plane is added")
    negative: int = number(1, "the plane is subtracted")


@dataclass(frozen=True)
class AxisEntry(Record):
    """Where the field of an item row or item column lies in a source, and in the kernel.

    In a row's first word the bits below `low` are dropped, in its last one those above `high`.
    """

    title: ClassVar[str] = "axis entry"
    spike: int = number("spike", "words from the map's first to the field's first")
    weight: int = number("weight", "weight rows skipped because taps lie outside (modular)")
    count: int = number("taps", "y: rows of the field; x: words of a row; less 1")
    low: int = number("bit", "x: first bit used of a row's first word")
    high: int = number("bit", "x: last bit used of a row's last word")


@dataclass(frozen=True)
class RouterWord(Record):
    """What goes over the router: a word of the running layer, of the frame, or for the readout."""

    title: ClassVar[str] = "router word"
    data: int = number(WORD, "a spike word, or a signed number for the readout")
    address: int = number("map", "map address, or place in the readout")
    kind: int = number(2, "0 of the running layer, 1 of the frame, 2 for the readout")


RECORDS: dict[Opcode, type[Record]] = {
    Opcode.LAYER: LayerRecord,
    Opcode.SHARE: ShareRecord,
    Opcode.SOURCE: SourceRecord,
    Opcode.PASS: PassRecord,
    Opcode.KEEP: KeepRecord,
}
"""The record that follows an instruction."""


def tables() -> str:
    """Every record as a Markdown table under its title, as `docs/machine.md` has them."""
    kinds: list[type[Record]] = [Instruction, *RECORDS.values(), AxisEntry, RouterWord]
    return "\n".join(f"### {kind.title.capitalize()}\n\n{kind.table()}\n" for kind in kinds)


def record_words(kind: type[Record], widths: Widths) -> int:
    """Program words that a record takes."""
    return -(-kind.size(widths) // WORD)


if __name__ == "__main__":
    print(tables())
