"""Trained activations, bit for bit."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from spikewright.network import (
    ActivationKind,
)
from spikewright.sim.ann import ann_forward
from spikewright.sw.activations import LSQ, NQ, QCFS, FakeQuant, QReLU
from spikewright.sw.frontend.trace import trace
from tests.support.modules import Module, conv, traced


@pytest.mark.parametrize("tail", [[], [nn.Flatten()], [nn.Flatten(), nn.Softmax(1)]])
def test_an_activation_at_the_end_stays(tail: list[Module]) -> None:
    module = conv(nn.ReLU(), nn.Conv2d(3, 4, 6), QCFS(4, 0.5), *tail)
    network = trace(module, torch.rand(1, 1, 8, 8))
    assert len(network.layers) == 2
    assert network.layers[-1].activation.kind is ActivationKind.QCFS
    assert network.layers[-1].activation.levels == 4


@pytest.mark.parametrize(
    "make",
    [
        lambda: QCFS(3, 0.7),
        lambda: NQ(5, 0.7),
        lambda: QReLU(3, 4, 0.7),
        lambda: LSQ(2, 0.3),
        lambda: LSQ(3, 0.1),
        lambda: FakeQuant(8, range=0.9),
    ],
)
def test_a_trained_activation_is_bit_for_bit_its_own(make: Callable[[], Module]) -> None:
    """On ties too: the inputs lie on the activation's own steps and half way between."""
    activation = make().double()
    steps = activation.threshold.item() / (2 * activation.levels)
    inputs = torch.cat([torch.rand(500).double() * 3 - 1, steps * torch.arange(-4, 600)])
    module = nn.Sequential(nn.Conv2d(1, 1, 1, bias=False), activation).double().eval()
    module[0].weight.data.fill_(1.0)
    network = trace(module, torch.rand(1, 1, 1, 1))
    x = inputs[:, None, None, None]
    with torch.no_grad():
        assert torch.equal(ann_forward(network, x), module(x).flatten(1))


def test_noise_has_no_part_in_the_trace() -> None:
    module = conv(NQ(4, 0.5), nn.Conv2d(3, 2, 2))
    for m in module.modules():
        if isinstance(m, NQ):
            m.noise.fill_(100.0)
    module.train()
    assert traced(module, 1, 8, 8).layers[0].activation.levels == 4
