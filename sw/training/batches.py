"""The images of a training: its splits, its batches and how a batch is augmented."""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from spikewright.errors import SpikewrightError
from spikewright.sw.training import data
from spikewright.sw.training.settings import Settings

__all__ = ["Split", "Splits", "augmented", "batches", "real"]

Split = tuple[Tensor, Tensor]
"""Images uint8 ``(N, C, H, W)`` and labels int64 ``(N,)``."""

_CALIBRATION = 500


@dataclass(frozen=True)
class Splits:
    """The images that train, those of the training set that are held back, and the test images.

    `calibration` are some of the first, that set the thresholds of a ReLU network.
    """

    training: Split
    validation: Split
    test: Split
    calibration: data.Images

    @classmethod
    def load(cls, settings: Settings, directory: str | os.PathLike[str] | None) -> Splits:
        """Those of the settings' data set; raises SpikewrightError as :func:`.data.load`."""
        images, labels = data.load(settings.data, directory, "train")
        if settings.validation >= len(images):
            raise SpikewrightError(
                f"validation {settings.validation}: leaves nothing of {len(images)} training images"
            )
        order = np.random.default_rng(settings.seed).permutation(len(images))
        held, kept = np.split(order, [settings.validation])
        training, validation, test = (
            (torch.tensor(x), torch.tensor(y))
            for x, y in (
                (images[kept], labels[kept]),
                (images[held], labels[held]),
                data.load(settings.data, directory, "test"),
            )
        )
        return cls(training, validation, test, images[kept[:_CALIBRATION]])


def real(pixels: Tensor) -> Tensor:
    """Pixels as the network sees them: 0..1."""
    return pixels.float() / 255


def batches(order: Tensor, size: int) -> list[Tensor]:
    """Of `size` images, the last of fewer but never of one, which has no variance to normalise."""
    parts = list(order.split(size))
    if len(parts) > 1 and len(parts[-1]) == 1 < size:
        parts[-2:] = [torch.cat(parts[-2:])]
    return parts


def augmented(x: Tensor, settings: Settings, generator: torch.Generator) -> Tensor:
    """Each image mirrored with probability 1/2, moved by up to `shift` pixels over black, and black
    in the square of its cutout, whose centre may lie anywhere.

    The images come back channels-last, which convolutions are fastest with; but not for NQ, since
    torch draws noise far slower into such strides, that spread through the network.
    """
    n, _, height, width = x.shape
    columns = torch.arange(width).expand(n, width)
    if settings.flip:
        mirrored = torch.rand(n, 1, generator=generator) < 0.5
        columns = torch.where(mirrored, width - 1 - columns, columns)
    s = settings.shift
    moves = torch.randint(0, 2 * s + 1, (2, n, 1), generator=generator)
    rows = torch.arange(height) + moves[0]
    columns = columns + moves[1]
    padded = functional.pad(x, (s, s, s, s)).permute(0, 2, 3, 1)
    index = torch.arange(n)[:, None, None]
    moved = padded[index, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
    if settings.cutout:
        in_rows, in_columns = (
            _near(torch.randint(size, (n, 1), generator=generator), size, settings.cutout)
            for size in (height, width)
        )
        moved = moved.masked_fill((in_rows[:, :, None] & in_columns[:, None, :])[:, None], 0)
    if settings.method == "nq":
        return moved.clone(memory_format=torch.contiguous_format)
    return moved.contiguous(memory_format=torch.channels_last)


def _near(centre: Tensor, size: int, side: int) -> Tensor:
    """Which of `size` rows lie in a band of `side` about each centre."""
    distance = torch.arange(size) - centre + side // 2
    return (distance >= 0) & (distance < side)
