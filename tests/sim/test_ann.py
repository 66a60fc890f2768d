"""The ANN of a float network."""

import pytest
import torch
from torch import nn

from spikewright import SpikewrightError
from spikewright.sim.ann import ann_forward
from spikewright.sw.frontend.trace import trace


def test_ann_refuses_frames_of_another_shape() -> None:
    network = trace(nn.Linear(6, 2), torch.rand(6))
    with pytest.raises(SpikewrightError) as error:
        ann_forward(network, torch.rand(3, 6))
    assert str(error.value) == "input: frames of shape (6,); the network takes (6, 1, 1)"


def test_ann_keeps_the_dtype() -> None:
    network = trace(nn.Linear(6, 2), torch.rand(6))
    assert ann_forward(network, torch.rand(3, 6, 1, 1)).dtype is torch.float32
