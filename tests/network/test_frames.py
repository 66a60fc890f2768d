"""Frames: their head, and seeded random ones."""

import numpy as np
import pytest

from spikewright.network import InputCode, InputSpec
from spikewright.network.frames import Frames, random_frames


def test_head():
    frames = Frames(np.arange(12, dtype=np.uint8).reshape(3, 1, 2, 2), np.array([7, 8, 9]), "made")
    assert len(frames) == 3
    for images, kept in ((2, 2), (9, 3), (0, 0)):
        head = frames.head(images)
        assert len(head) == kept
        assert np.array_equal(head.x, frames.x[:kept])
        assert np.array_equal(head.y, frames.y[:kept])
        assert head.source == "made"
    assert Frames(frames.x, None, "made").head(2).y is None


@pytest.mark.parametrize("bits", [1, 3, 8])
def test_random_frames(bits):
    spec = InputSpec((2, 5, 7), bits=bits)
    frames = random_frames(spec, 60, seed=3)
    assert (frames.x.shape, frames.x.dtype, frames.y) == ((60, 2, 5, 7), np.uint8, None)
    assert (frames.x.min(), frames.x.max()) == (0, spec.maximum)
    values, counts = np.unique(frames.x, return_counts=True)
    assert len(values) == spec.maximum + 1
    assert abs(frames.x.mean() / spec.maximum - 0.5) < 0.02
    assert counts.max() < 4 * counts.mean()
    assert frames.source == "seeded random frames (seed 3)"
    assert np.array_equal(frames.x, random_frames(spec, 60, seed=3).x)
    assert not np.array_equal(frames.x, random_frames(spec, 60, seed=4).x)


def test_random_events():
    spec = InputSpec((2, 3, 3), bits=1, code=InputCode.EVENTS)
    assert random_frames(spec, 4, steps=5).x.shape == (4, 10, 3, 3)
    assert random_frames(InputSpec((2, 3, 3)), 4, steps=5).x.shape == (4, 2, 3, 3)
