"""NQ's noise: how far the SNN's mean outputs are from the activations that they stand for."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from spikewright.errors import SpikewrightError
from spikewright.sim.ann import ann_layers, model_input
from spikewright.sim.float import snn
from spikewright.sw.activations import NQ
from spikewright.sw.frontend.trace import trace
from spikewright.sw.passes.convert import convert

__all__ = ["induce"]


def induce(module: nn.Module, frames: npt.NDArray[np.uint8]) -> list[float]:
    """Set the `noise` of every NQ activation in `module`, and return them in order (NQ 5.2).

    It is the standard deviation, over the uint8 `frames` ``(N, C, H, W)`` and all neurons of the
    layer, of the ANN's activation less the mean output of the float SNN after tau = L steps. The
    module sees pixel / 255. Raises SpikewrightError for a module whose layers do not have one NQ
    activation each, all of the same L.
    """
    example = torch.from_numpy(frames[:1]).float() / 255
    network = trace(module, example)
    activations = _in_order(module, example)
    hidden = [layer.name for layer in network.layers if layer.activation.levels is not None]
    levels = {activation.levels for activation in activations}
    if len({*activations}) != len(hidden) or len(levels) != 1:
        raise SpikewrightError(
            f"NQ: {len({*activations})} activations of {len(levels)} different L for {len(hidden)} "
            "layers; give each layer its own, all with the same L"
        )
    spiking = convert(network)
    steps = levels.pop()
    means = {}
    fired = [layer for layer in spiking.layers if layer.neuron is not None and layer.neuron.fires]
    for layer, count in zip(fired, snn(spiking, frames, steps).counts, strict=True):
        assert layer.threshold is not None
        means[layer.name] = count * layer.threshold[:, None, None] / steps
    images = model_input(network.input, torch.from_numpy(frames), torch.float32)
    values = {
        layer.name: value.numpy()
        for layer, value in zip(network.layers, ann_layers(network, images), strict=True)
    }
    # An activation at the end is left out of the SNN, so it has no error of its own.
    noise = [float((values[n] - means[n]).std()) if n in means else 0.0 for n in hidden]
    for activation, deviation in zip(activations, noise, strict=True):
        activation.noise.fill_(deviation)
    return noise


@torch.no_grad()
def _in_order(module: nn.Module, example: Tensor) -> list[NQ]:
    """The NQ activations as the example meets them, one used twice listed twice."""
    met: list[NQ] = []
    training = module.training
    hooks = [
        m.register_forward_hook(lambda activation, *_: met.append(activation))
        for m in module.modules()
        if isinstance(m, NQ)
    ]
    try:
        module.eval()(example)
    finally:
        module.train(training)
        for hook in hooks:
            hook.remove()
    return met
