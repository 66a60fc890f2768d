"""Calibration: a converted network of plain IF neurons, fitted to its ANN at one T by images.

Conversion alone takes a ReLU's threshold from a percentile of its values, which suits long times:
with few steps hardly a neuron reaches it, and what a layer loses the next one misses. Here layer by
layer, from the spikes that the calibrated layers before it really send,

1. every channel gets the threshold, of :data:`SHARES` of the converted one, with which the mean
   output over T steps is nearest to the ANN's activation, by squared error over images and
   positions (Li et al. 2021, "A free lunch from ANN", who search with a formula for the error of
   evenly driven neurons);
2. what it still lacks in the mean, times T, is added to V(0) (the same paper's calibration of
   initial potentials). Over T steps that is a bias added in each, but the ANN's bias, with which
   the network is compared, stays as it was.

Measured: LeNet-5 with ReLU, trained for two epochs, accuracy of the float SNN on 2,000 held-back
images, 256 others to calibrate::

    Fashion-MNIST (ANN 89.75 %)        T = 1      2      4      8     16     32
    percentile 99.9                    22.00  34.10  81.00  87.75  89.15  89.70
    percentile 99.9 of each channel    49.40  73.85  87.15  88.50  89.40  89.65
    thresholds, one share a layer      64.00  78.90  88.00  87.25  89.50  89.55
    thresholds of each channel         80.90  83.55  87.15  89.15  89.50  89.60
    the same, and V(0)                 82.45  86.05  88.25  89.25  90.05  89.70
    the same, and a bias in its place  82.45  86.05  88.05  88.85  90.00  89.75

    MNIST (ANN 99.25 %)                T = 1      2      4      8     16     32
    percentile 99.9                    30.90  59.50  95.35  99.10  99.10  99.15
    thresholds of each channel         88.10  97.80  98.75  98.95  99.25  99.20
    the same, and V(0)                 94.05  98.60  99.00  99.15  99.25  99.25

Both parts pay at short times, and neither costs accuracy at long ones. Lower thresholds mean more
spikes: at T = 4 about as many (4,022 an image, integer SNN 88.55 %) as the uncalibrated network
sends at T = 8 (4,124, 87.80 %). Four times the images, a finer grid, and several rounds of the
second part changed nothing beyond the noise of the 2,000.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch

from spikewright.errors import SpikewrightError
from spikewright.network import FloatLayer, FloatNetwork, Floats, InputCode, NeuronModel
from spikewright.network.neuron import Reset
from spikewright.sim.ann import ann_layers, model_input
from spikewright.sim.float import mean_outputs

__all__ = ["IMAGES", "SHARES", "calibrate"]

SHARES = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 1.1, 1.2)
"""Of its converted threshold, those that a channel chooses from; of equals the first."""

IMAGES = 256
"""More of them make no difference."""


def calibrate(network: FloatNetwork, frames: npt.NDArray[np.uint8], steps: int) -> FloatNetwork:
    """`network` with thresholds and V(0) fitted to its ANN over T = `steps` steps.

    `network` is a converted one of IF neurons with soft reset and a direct frame; the first
    :data:`IMAGES` of `frames`, uint8 ``(N, C, H, W)``, are run. It is meant for this T: after
    fewer steps, or more, its outputs are not what was fitted. Raises SpikewrightError for another
    network, frames that do not fit it or are none, and T below 1.
    """
    _check(network, frames)
    frames = frames[:IMAGES]
    for index, layer in enumerate(network.layers):
        if layer.neuron is not None and layer.neuron.model is NeuronModel.MAX_POOL:
            source = network.layers[layer.synapses[0].source]  # its spikes are worth as much
            network = _with_layer(network, index, replace(layer, threshold=source.threshold))
            continue
        if layer.threshold is not None:
            trials = [_scaled(layer, share) for share in SHARES]
            _, squares = _shortfall(network, frames, steps, index, trials)
            layer = _scaled(layer, np.array(SHARES)[squares.argmin(0)])
        (lacking,), _ = _shortfall(network, frames, steps, index, [layer])
        layer = replace(layer, initial=layer.initial + steps * lacking)
        network = _with_layer(network, index, layer)
    return network


def _check(network: FloatNetwork, frames: npt.NDArray[np.uint8]) -> None:
    if not network.converted:
        raise SpikewrightError("calibrate: the network has no neurons yet; convert it first")
    if network.input.code is not InputCode.DIRECT:
        raise SpikewrightError(
            f"calibrate: the input code is {network.input.code.value}; only direct frames can be "
            "calibrated for"
        )
    for layer in network.layers:
        spec = layer.neuron
        if spec is None or spec.model in (NeuronModel.MAX_POOL, NeuronModel.INTEGRATOR):
            continue
        if spec.model is not NeuronModel.IF or spec.reset is not Reset.SUBTRACT:
            raise SpikewrightError(
                f"calibrate: layer {layer.name} has {spec.model.value} neurons with reset "
                f"{spec.reset.value}; only plain IF neurons can be calibrated"
            )
    if not len(frames):
        raise SpikewrightError("calibrate: there are no images")


def _scaled(layer: FloatLayer, share: float | Floats) -> FloatLayer:
    """With a share of its threshold, and V(0) still the same share of that."""
    assert layer.threshold is not None
    assert layer.initial is not None
    return replace(layer, threshold=layer.threshold * share, initial=layer.initial * share)


def _with_layer(network: FloatNetwork, index: int, layer: FloatLayer) -> FloatNetwork:
    layers = network.layers
    return replace(network, layers=(*layers[:index], layer, *layers[index + 1 :]))


def _shortfall(
    network: FloatNetwork,
    frames: npt.NDArray[np.uint8],
    steps: int,
    index: int,
    trials: Sequence[FloatLayer],
) -> tuple[Floats, Floats]:
    """By how much `trials` of layer `index` fall short of the ANN's activation.

    In the mean over images and positions, and the mean of the square; ``(trials, C)`` both.
    """
    head = replace(network, layers=network.layers[: index + 1])
    shape = len(trials), network.layers[index].shape[0]
    means, squares = np.zeros(shape), np.zeros(shape)
    for part, outputs in mean_outputs(network, frames, steps, index, trials):
        images = model_input(network.input, torch.from_numpy(part), outputs.dtype)
        lacking = (ann_layers(head, images)[-1] - outputs).double()
        means += lacking.mean((3, 4)).sum(1).numpy()
        squares += lacking.square().mean((3, 4)).sum(1).numpy()
    return means / len(frames), squares / len(frames)
