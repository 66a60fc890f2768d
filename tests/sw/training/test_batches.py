"""Splits, batches and augmented images."""

from dataclasses import replace

import pytest
import torch

from spikewright.errors import SpikewrightError
from spikewright.sw.training import batches, train
from spikewright.sw.training.settings import Settings
from tests.support.training import QUICK


def test_no_batch_is_of_one_image(folder, tmp_path):
    """499 + 1 images, of which the last would have no variance of its own."""
    settings = replace(QUICK, norm=True, batch=499, epochs=1)
    record = train.train(tmp_path / "net.safetensors", settings, data_dir=folder)
    assert len(record["scores"]) == 1
    order = torch.arange(9)
    for size, sizes in ((4, [4, 5]), (5, [5, 4]), (8, [9]), (9, [9]), (20, [9]), (1, [1] * 9)):
        parts = batches.batches(order, size)
        assert [len(batch) for batch in parts] == sizes
        assert torch.equal(torch.cat(parts), order)


def test_a_validation_split_of_everything_is_refused(folder, tmp_path):
    settings = Settings(**{**vars(QUICK), "validation": 600})
    with pytest.raises(SpikewrightError, match=r"validation 600: leaves nothing of 600"):
        train.train(tmp_path / "net.safetensors", settings, data_dir=folder)


def test_images_are_moved_and_mirrored_and_nothing_else():
    image = torch.arange(1, 13, dtype=torch.uint8).reshape(1, 1, 3, 4)
    many = image.expand(400, 1, 3, 4)
    allowed = {}
    padded = torch.nn.functional.pad(image, (1, 1, 1, 1))[0, 0]
    for mirrored in (False, True):
        source = padded.flip(1) if mirrored else padded
        for dy in range(3):
            for dx in range(3):
                key = tuple(source[dy : dy + 3, dx : dx + 4].flatten().tolist())
                allowed[key] = (mirrored, dy, dx)
    generator = torch.Generator().manual_seed(0)
    got = batches.augmented(many, Settings(flip=True, shift=1), generator)
    seen = {tuple(x.flatten().tolist()) for x in got}
    assert seen == set(allowed)
    assert got.is_contiguous(memory_format=torch.channels_last)
    quiet = batches.augmented(many, Settings("nq", flip=True, shift=1), generator)
    assert quiet.stride() == (12, 12, 4, 1)  # strides of NHWC make noise several times slower
    same = batches.augmented(many, Settings(), generator)
    assert torch.equal(same, many)


@pytest.mark.parametrize("side", [1, 2, 3])
def test_a_cutout_is_a_black_square_about_any_pixel(side):
    image = torch.full((2000, 2, 4, 5), 7, dtype=torch.uint8)
    generator = torch.Generator().manual_seed(1)
    got = batches.augmented(image, Settings(cutout=side), generator)
    assert got.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(got[:, 0], got[:, 1])  # of all channels
    allowed = set()
    for y in range(4):
        for x in range(5):
            expected = torch.full((4, 5), 7)
            top, left = y - side // 2, x - side // 2
            expected[max(top, 0) : top + side, max(left, 0) : left + side] = 0
            allowed.add(tuple(expected.flatten().tolist()))
    assert {tuple(x.flatten().tolist()) for x in got[:, 0]} == allowed


def test_augmenting_images_is_repeatable_and_each_has_its_own(folder):
    images = torch.randint(1, 256, (50, 1, 8, 8), dtype=torch.uint8)
    settings = Settings(flip=True, shift=2, cutout=3)
    first, again = (
        batches.augmented(images, settings, torch.Generator().manual_seed(5)) for _ in range(2)
    )
    assert torch.equal(first, again)
    same = images[:1].expand(50, 1, 8, 8)
    many = batches.augmented(same, settings, torch.Generator().manual_seed(5))
    assert len({x.numpy().tobytes() for x in many}) > 40
