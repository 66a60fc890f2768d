"""A softmax at the end."""

import logging

import pytest
import torch
from torch import nn
from torch.nn import functional

from spikewright.sim.ann import ann_forward
from spikewright.sw.frontend.trace import trace
from tests.support.modules import Forward, Module, seeded


@pytest.mark.parametrize(
    "last",
    [nn.Softmax(1), nn.LogSoftmax(dim=-1), Forward(lambda m, x: functional.log_softmax(x, dim=1))],
)
def test_softmax_at_the_end_is_dropped(last: Module, caplog: pytest.LogCaptureFixture) -> None:
    body = seeded(nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 4)), 3)
    with caplog.at_level(logging.WARNING):
        network = trace(nn.Sequential(body, last), torch.rand(6))
    assert caplog.messages[0].endswith(
        ": dropped; the outputs are those in front of it, in the same order"
    )
    x = torch.rand(3, 6, dtype=torch.float64)
    torch.testing.assert_close(ann_forward(network, x[:, :, None, None]), body.double()(x).detach())
