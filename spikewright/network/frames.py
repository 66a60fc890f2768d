"""Frames to run, with their labels and origin; and seeded random ones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from spikewright.network.input import InputSpec

__all__ = ["Frames", "random_frames"]


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


def random_frames(spec: InputSpec, images: int, seed: int = 0, *, steps: int = 1) -> Frames:
    """Uniformly random pixels, or raw events of `steps` input steps."""
    generator = np.random.default_rng(seed)
    shape = (images, *spec.frame_shape(steps))
    x = generator.integers(spec.maximum + 1, size=shape, dtype=np.uint8)
    return Frames(x, None, f"seeded random frames (seed {seed})")
