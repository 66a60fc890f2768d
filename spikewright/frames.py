"""Frames to run: from ``.npz`` files, from data sets by name, or seeded random ones."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from .errors import SpikewrightError
from .files import read_npz
from .network import InputSpec

__all__ = ["Data", "Frames", "as_frames", "random_frames"]


@dataclass(frozen=True)
class Frames:
    """Pixels `x`, uint8 ``(N, C, H, W)``, labels `y`, int64 ``(N,)`` or None, and their origin.

    Frames of raw events are ``(N, T * C, H, W)``: those of all steps, stacked.
    """

    x: npt.NDArray[np.uint8]
    y: npt.NDArray[np.int64] | None
    source: str

    def __len__(self) -> int:
        return len(self.x)

    def head(self, images: int) -> Frames:
        """The first `images` frames, or all if there are fewer."""
        return Frames(self.x[:images], None if self.y is None else self.y[:images], self.source)


Data = str | os.PathLike[str] | npt.NDArray[np.uint8] | Frames
"""An ``.npz`` file with `x` (and `y`), the name of a data set, pixels, or frames."""


def as_frames(
    data: Data,
    spec: InputSpec,
    *,
    steps: int = 1,
    directory: str | os.PathLike[str] | None = None,
) -> Frames:
    """`data` as frames that fit `spec`; a data set by name gives its test split from `directory`.

    A frame of raw events holds those of `steps` input steps. Raises SpikewrightError, naming the
    file, for frames of another shape, type or range.
    """
    frames = _read(data, directory)
    expected = spec.frame_shape(steps)
    shape = ", ".join(str(n) for n in expected)
    if frames.x.dtype != np.uint8 or frames.x.ndim != 4 or frames.x.shape[1:] != expected:
        raise SpikewrightError(
            f"{frames.source}: images are {frames.x.dtype} of shape {frames.x.shape}; the network "
            f"takes uint8 (N, {shape})"
        )
    if not len(frames):
        raise SpikewrightError(f"{frames.source}: holds no images")
    if frames.x.max() > spec.maximum:
        raise SpikewrightError(
            f"{frames.source}: a pixel is {frames.x.max()}; the network takes 0..{spec.maximum}"
        )
    return frames


def _read(data: Data, directory: str | os.PathLike[str] | None) -> Frames:
    if isinstance(data, Frames):
        return data
    if isinstance(data, np.ndarray):
        return Frames(data, None, "array")
    from .sw.data import DATASETS, load

    if str(data) in DATASETS:
        x, y = load(str(data), directory, "test")
        return Frames(x, y, f"{data}, test split")
    if Path(data).suffix != ".npz":
        raise SpikewrightError(
            f"{data}: is neither an .npz file nor one of the data sets {', '.join(DATASETS)}"
        )
    arrays = read_npz(data)
    if "x" not in arrays:
        raise SpikewrightError(f"{data}: has no array x; save x (uint8, NCHW) and y (labels)")
    labels = arrays.get("y")
    if labels is not None and (
        not np.issubdtype(labels.dtype, np.integer) or labels.shape != (len(arrays["x"]),)
    ):
        raise SpikewrightError(
            f"{data}: y is {labels.dtype} of shape {labels.shape}; give one integer an image"
        )
    return Frames(arrays["x"], None if labels is None else labels.astype(np.int64), Path(data).name)


def random_frames(spec: InputSpec, images: int, seed: int = 0, *, steps: int = 1) -> Frames:
    """Uniformly random pixels, or raw events of `steps` input steps."""
    generator = np.random.default_rng(seed)
    shape = (images, *spec.frame_shape(steps))
    x = generator.integers(spec.maximum + 1, size=shape, dtype=np.uint8)
    return Frames(x, None, f"seeded random frames (seed {seed})")
