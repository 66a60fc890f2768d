"""The parts of a layer's schedule: what it reads, its passes, the cores' shares and their items."""

from __future__ import annotations

from dataclasses import dataclass

from spikewright.machine.maps import Map
from spikewright.network import Ints
from spikewright.network.geometry import Pair

__all__ = ["Field", "Item", "Pass", "Reading", "Share"]


@dataclass(frozen=True)
class Reading:
    """How a layer reads a map: a convolution over the map's own positions.

    `size` is what it reads of height and width; `weight` is ``(out, in, y, x)``. Rows of the weight
    memory: `tap_rows` between neighbouring columns, `block_rows` between channel blocks.
    """

    source: int
    map: Map
    weight: Ints
    stride: Pair
    padding: Pair
    size: Pair
    shift: int


@dataclass(frozen=True)
class Field:
    """The rows of weight memory of a :class:`Reading` for the united fields of packed positions.

    The kernel of an item covers `taps` rows and columns. Row ``uy * row + block * block_step +
    ux * tap + c`` belongs to tap (uy, ux) and channel c of a block.
    """

    taps: Pair
    tap: int
    word: int
    block: int
    row: int
    rows: int


@dataclass(frozen=True)
class Pass:
    """One digit plane: `reading` is its place among the readings, `plane` 0 the heaviest."""

    reading: int
    plane: int
    doubles: int


@dataclass(frozen=True)
class Share:
    """A core's part: groups ``first_group ..``, and `words` of tiles, counted row after row."""

    first_group: int
    groups: int
    words: range

    @property
    def idle(self) -> bool:
        """Whether the core has no part."""
        return not self.groups or not self.words


@dataclass(frozen=True)
class Item:
    """A work item: a channel group at the positions of one part of a tile.

    `row` and `column` count items over the layer's output; `first` and `last` tell whether it is
    the first or the last part of its windows.
    """

    group: int
    tile_y: int
    tile_x: int
    row: int
    column: int
    first: bool
    last: bool
