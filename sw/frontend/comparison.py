"""The float network against the module itself, so that no tracing can be silently wrong."""

from collections.abc import Callable

import numpy as np
import torch

from spikewright.errors import SpikewrightError
from spikewright.network import FloatNetwork
from spikewright.sim.ann import ann_forward

__all__ = ["compare"]

TOLERANCE = 1e-4
"""Largest accepted difference from the module, relative to its largest output."""

CHECKED_FRAMES = 4
"""Random frames that the comparison with the module uses besides the example."""


def compare(
    module: torch.nn.Module,
    network: FloatNetwork,
    example: torch.Tensor,
    tail: Callable[[torch.Tensor], torch.Tensor] | None,
) -> None:
    """Refuse a network whose outputs differ from the module's."""
    spec = network.input
    pixels = np.random.default_rng(0).integers(0, spec.maximum + 1, (CHECKED_FRAMES, *spec.shape))
    mean, scale = (np.array(v)[:, None, None] for v in (spec.mean, spec.scale))
    frames = [example, *torch.tensor((pixels - mean) * scale)]
    for frame in frames:
        frame = frame.reshape(example.shape)
        with torch.no_grad():
            expected = module(frame).reshape(1, -1)
        got = ann_forward(network, frame.reshape(1, *spec.shape))
        got = got if tail is None else tail(got)
        if got.shape != expected.shape:
            raise SpikewrightError(
                f"module: gives {expected.shape[1]} outputs, its trace {got.shape[1]}; make "
                "forward do the same for every input"
            )
        difference = float((got - expected).abs().max() / expected.abs().max().clamp_min(1e-9))
        if not difference <= TOLERANCE:
            raise SpikewrightError(
                f"module: differs from its trace by {difference:.2g} of the largest output; make "
                "forward do the same for every input, without random numbers or state"
            )
