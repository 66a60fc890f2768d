"""What a user names as data: ``.npz`` files, data sets by name, arrays."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import numpy.typing as npt

from spikewright.errors import SpikewrightError
from spikewright.files import read_npz, shown
from spikewright.network.frames import Frames
from spikewright.network.input import InputSpec

__all__ = ["Data", "as_frames"]

Data = str | os.PathLike[str] | npt.NDArray[np.uint8] | Frames
"""An ``.npz`` file with `x` (and `y`), the name of a data set, pixels, or frames."""


def as_frames(
    data: Data, spec: InputSpec, *, steps: int = 1, directory: str | os.PathLike[str] | None = None
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
    from spikewright.sw.training.data import DATASETS, load

    if str(data) in DATASETS:
        x, y = load(str(data), directory, "test")
        return Frames(x, y, f"{data}, test split")
    if Path(data).suffix != ".npz":
        raise SpikewrightError(
            f"{shown(data)}: is neither an .npz file nor one of the data sets {', '.join(DATASETS)}"
        )
    arrays = read_npz(data)
    if "x" not in arrays:
        raise SpikewrightError(
            f"{shown(data)}: has no array x; save x (uint8, NCHW) and y (labels)"
        )
    labels = arrays.get("y")
    if labels is not None and (
        not np.issubdtype(labels.dtype, np.integer) or labels.shape != arrays["x"].shape[:1]
    ):
        raise SpikewrightError(
            f"{shown(data)}: y is {labels.dtype} of shape {labels.shape}; give one integer an image"
        )
    return Frames(arrays["x"], None if labels is None else labels.astype(np.int64), Path(data).name)
