"""What a mapper chooses for a network on a machine; everything else follows (:mod:`.schedule`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from msgspec import Meta

from spikewright.machine.blocks import WORD
from spikewright.network.limits import CHANNELS, VALUES
from spikewright.records import check_fields

__all__ = ["LayerPlacement", "Placement"]

InWord = Annotated[int, Meta(ge=1, le=WORD)]
Side = Annotated[int, Meta(ge=1, le=CHANNELS)]
Window = tuple[Side, Side]
Cores = Annotated[int, Meta(ge=1, le=32)]
Cuts = Annotated[tuple[Annotated[int, Meta(ge=0, le=VALUES)], ...], Meta(max_length=32)]


@dataclass(frozen=True)
class LayerPlacement:
    """How one layer is cut.

    - `channels`: output channels of a group; a multiple of the fire units, at most 36
    - `pool`: the window whose sum is sent, which all readers of the layer pool; (1, 1) where
      readers sum on their own
    - `members`: positions of one window in an item; each divides the side of `pool`
    - `windows`: neighbouring windows of a row in an item: a *tile*
    - `word`: tiles that fill a word; a row is computed to the end of its last word
    - `group_shares`, `tile_shares`: groups are dealt to so many rows of cores, tiles to so many
      cores of a row; core ``g * tile_shares + t`` has part g of the groups and t of the tiles
    - `cuts`: the words of a group at which the runs of tiles end, one a tile share; none: as even
      as they go
    - `turns`: instead, the cores of a row take words in turn; needs fields of equal height
    """

    channels: InWord
    pool: Window = (1, 1)
    members: Window = (1, 1)
    windows: Side = 1
    word: InWord = 1
    group_shares: Cores = 1
    tile_shares: Cores = 1
    cuts: Cuts = ()
    turns: bool = False

    def __post_init__(self) -> None:
        check_fields(self, "placement")

    @property
    def positions(self) -> int:
        """Output positions that an item computes."""
        return self.windows * self.members[0] * self.members[1]

    @property
    def columns(self) -> int:
        """Columns of the map that a word holds."""
        return self.windows * self.word


@dataclass(frozen=True)
class Placement:
    """The choices for every layer; `frame_columns` of the input frame lie in a word.

    `frame_margin` rows of zeros are sent above and below the frame, so that fields which reach as
    far have equal heights.
    """

    layers: tuple[LayerPlacement, ...]
    frame_columns: InWord = 1
    frame_margin: Annotated[int, Meta(ge=0, le=CHANNELS)] = 0

    def __post_init__(self) -> None:
        check_fields(self, "placement")
