"""Convolutions in groups and their padding."""

import numpy as np
import pytest
from torch import nn

from tests.support.modules import refusal, seeded, traced


@pytest.mark.parametrize(("inputs", "out", "groups"), [(4, 4, 4), (4, 8, 4), (6, 4, 2), (1, 3, 1)])
def test_grouped_convolutions_are_block_diagonal(inputs: int, out: int, groups: int) -> None:
    module = nn.Sequential(
        nn.Conv2d(inputs, out, 3, 2, 1, groups=groups),
        nn.BatchNorm2d(out),
        nn.ReLU(),
        nn.Conv2d(out, 2, 2),
    )
    network = traced(seeded(module, 3), inputs, 7, 7)
    assert [layer.name for layer in network.layers] == ["0", "3"]
    weight = network.layers[0].synapses[0].weight
    assert weight.shape == (out, inputs, 3, 3)
    block = np.kron(np.eye(groups), np.ones((out // groups, inputs // groups))) > 0
    assert weight[block].all()
    assert not weight[~block].any()


def test_two_convolutions_that_meet_at_the_border_are_refused() -> None:
    module = nn.Sequential(nn.Conv2d(1, 2, 3, bias=False), nn.Conv2d(2, 2, 3, padding=1))
    assert refusal(module, 1, 8, 8) == (
        "1 (Conv2d): pads the output of 0 (Conv2d), which has no activation behind it, so the two "
        "cannot be merged exactly; put an activation between them or set padding=0"
    )


def test_uneven_same_padding_is_refused() -> None:
    assert refusal(nn.Conv2d(1, 2, 4, padding="same"), 1, 8, 8) == (
        "0 (Conv2d): pads 'same' around an even 4x4 kernel, so one side more than the other; use "
        "an odd kernel or a number as padding"
    )
