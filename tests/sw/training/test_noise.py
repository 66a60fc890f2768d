"""NQ's noise against the SNN that it stands for, run by hand."""

import numpy as np
import pytest
import torch
from torch import nn

from spikewright import SpikewrightError
from spikewright.sw.activations import NQ
from spikewright.sw.training.noise import induce

FRAMES = np.random.default_rng(3).integers(256, size=(20, 1, 6, 6), dtype=np.uint8)


def net(levels=3):
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Conv2d(1, 4, 3),
        NQ(levels, 0.5),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(16, 8),
        NQ(levels, 0.4),
        nn.Linear(8, 3),
    )
    for parameter in module.parameters():
        if parameter.ndim > 1:
            parameter.data *= 2
    return module


def by_hand(module, frames, steps):
    """ANN activations, and the mean outputs of IF neurons in place of the activations."""
    x = torch.from_numpy(frames).float() / 255
    a, activations = x, []
    for part in module:
        a = part(a)
        if isinstance(part, NQ):
            activations.append(a)
    total = [0.0 for _ in activations]
    potentials = [module[i].threshold / 2 for i in (1, 5)]
    for _ in range(steps):
        s, index = x, 0
        for part in module:
            if not isinstance(part, NQ):
                s = part(s)
                continue
            u = potentials[index] + s
            s = torch.where(u >= part.threshold, part.threshold, 0.0)
            potentials[index] = u - s
            total[index] = total[index] + s
            index += 1
    return [
        (a - t / steps).std(correction=0).item() for a, t in zip(activations, total, strict=True)
    ]


def test_noise_is_the_deviation_of_the_spiking_network():
    module = net().train()
    with torch.no_grad():
        expected = by_hand(net().eval(), FRAMES, steps=3)
    got = induce(module, FRAMES)
    assert module.training
    assert got == pytest.approx(expected, rel=1e-3, abs=1e-6)
    assert [m.noise.item() for m in module if isinstance(m, NQ)] == pytest.approx(got)
    assert got[0] < 1e-6  # evenly driven for L steps, a neuron gives its activation exactly
    assert got[1] > 0.01
    assert induce(module, FRAMES) == got  # what is there has no influence


def test_no_noise_where_the_snn_has_no_neurons():
    module = nn.Sequential(*net(), NQ(3, 0.5))
    noise = induce(module, FRAMES)
    assert noise[1] > 0
    assert noise[2] == 0


def test_networks_without_one_activation_a_layer_are_refused():
    shared = NQ(3, 0.5)
    module = nn.Sequential(nn.Flatten(), nn.Linear(36, 36), shared, nn.Linear(36, 3))
    mixed = nn.Sequential(*module, NQ(4, 0.5))
    with pytest.raises(SpikewrightError, match=r"NQ: 2 activations of 2 different L for 2 layers"):
        induce(mixed, FRAMES)
    with pytest.raises(SpikewrightError, match=r"NQ: 0 activations of 0 different L for 0 layers"):
        induce(nn.Sequential(nn.Flatten(), nn.Linear(36, 3)), FRAMES)
    twice = nn.Sequential(*module[:3], nn.Linear(36, 36), shared, nn.Linear(36, 3))
    with pytest.raises(SpikewrightError, match=r"NQ: 1 activations of 1 different L for 2 layers"):
        induce(twice, FRAMES)
