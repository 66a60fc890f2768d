"""How good a network is: its accuracy as it is, and as the integer spiking network it becomes."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from spikewright.sim.golden.model import Golden
from spikewright.sw.frontend.trace import trace
from spikewright.sw.passes.convert import convert
from spikewright.sw.passes.quantise import quantise
from spikewright.sw.training.batches import Split, real
from spikewright.sw.training.data import Images
from spikewright.sw.training.settings import Settings

__all__ = ["accuracy", "spiking_accuracy"]

_JUDGED = 500
"""Images that are judged at once: the golden model keeps the spike counts of all their neurons."""


@torch.no_grad()
def accuracy(module: nn.Module, split: Split) -> float:
    """The share of the images that `module` classifies rightly."""
    module.eval()
    parts = zip(*(tensor.split(1000) for tensor in split), strict=True)
    right = sum(int((module(real(x)).argmax(1) == labels).sum()) for x, labels in parts)
    return right / len(split[0])


def spiking_accuracy(
    module: nn.Module, split: Split, calibration: Images, settings: Settings
) -> float:
    """That of the integer network; `calibration` gives a ReLU its thresholds."""
    x, y = (tensor.numpy() for tensor in split)
    network = trace(module, real(split[0][:1]))
    steps, conversion = settings.steps, settings.conversion.suited(network, settings.steps)
    converted = convert(network, conversion, steps=steps, calibration=calibration)
    settle = conversion.settle_steps(converted, steps)
    integer = quantise(converted, steps=steps, settle=settle, weight_bits=settings.bits)
    golden = Golden(integer)
    starts = range(0, len(x), _JUDGED)
    right = (golden.run(x[i : i + _JUDGED]).classes == y[i : i + _JUDGED] for i in starts)
    return float(np.concatenate(list(right)).mean())
