"""How the values of a layer lie in words; :mod:`.schedule` says the order."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from spikewright.machine.blocks import WORD
from spikewright.network import Ints
from spikewright.network.geometry import Pair

__all__ = ["Map"]


@dataclass(frozen=True)
class Map:
    """How the values of a layer, or of the frame, lie in words; see the module."""

    channels: int
    height: int
    width: int
    steps: int
    planes: int
    pitch: int
    columns: int
    pool: Pair = (1, 1)

    @property
    def blocks(self) -> int:
        """Channel blocks."""
        return -(-self.channels // self.pitch)

    @property
    def words_x(self) -> int:
        """Words of a row, of one block, step and plane."""
        return -(-self.width // self.columns)

    @property
    def values(self) -> int:
        """Values of a word."""
        return self.columns * self.pitch

    @property
    def time_words(self) -> int:
        """Words of all steps and planes of the same place."""
        return self.steps * self.planes

    @property
    def row_words(self) -> int:
        """Words of a row."""
        return self.words_x * self.blocks * self.time_words

    @property
    def words(self) -> int:
        """All words."""
        return self.height * self.row_words

    def pack(self, values: Ints) -> list[int]:
        """The words of non-negative `values` ``(steps, C, H, W)``, by address."""
        shape = (self.steps, self.blocks * self.pitch, self.height, self.words_x * self.columns)
        padded = np.zeros(shape, np.int64)
        padded[:, : self.channels, :, : self.width] = values
        planes = padded[..., None] >> np.arange(self.planes)[::-1] & 1
        cut = planes.reshape(
            self.steps,
            self.blocks,
            self.pitch,
            self.height,
            self.words_x,
            self.columns,
            self.planes,
        )  # axes: t, block, c, y, x, column, plane
        weights = 1 << (WORD - self.values + np.arange(self.values))
        bits = cut.transpose(3, 4, 1, 0, 6, 5, 2).reshape(-1, self.values)
        return (bits @ weights).tolist()
