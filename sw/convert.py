"""From ANN to float SNN: which neuron each layer gets, its threshold and its initial potential.

Every activation becomes an IF neuron with soft reset and V(0) = threshold / 2, whose mean output
over T steps is the activation quantised to T levels (NQ Eq. 5-7); the last layer without an
activation becomes an integrator. The threshold is what the activation saturates at: QCFS's learned
lambda, the bound of a clipped ReLU, or for a plain ReLU a percentile of its values on calibration
images (Rueckauer et al. 2017).
"""

from __future__ import annotations

import dataclasses
import warnings

import numpy as np
import numpy.typing as npt
import torch

from ..errors import SpikewrightError
from ..network import (
    ActivationKind,
    FloatLayer,
    FloatNetwork,
    Floats,
    InputSpec,
    NeuronModel,
    NeuronSpec,
)
from .ann import ann_forward

__all__ = ["ConversionWarning", "convert"]

_NOISE_IMAGES = 64
_NOISE_SEED = 0


class ConversionWarning(UserWarning):
    """The conversion went on, but with less than it should have had."""


def convert(
    network: FloatNetwork,
    *,
    calibration: npt.NDArray[np.uint8] | None = None,
    percentile: float = 99.9,
    channelwise: bool = False,
) -> FloatNetwork:
    """`network` with every layer's `neuron`, `threshold` and `initial` set.

    `calibration` holds uint8 pixels ``(N, C, H, W)``. A ReLU's threshold is the `percentile` of its
    values over all images and positions, of the whole layer or with `channelwise` of each channel;
    a clipped ReLU's the lesser of that and its bound. A channel that is silent on all images takes
    its layer's threshold, a silent layer 1. QCFS needs no images. Where a ReLU needs them and there
    are none, seeded noise is used and a :class:`ConversionWarning` given. Raises SpikewrightError
    for calibration images of another shape or type and for a percentile outside 0..100.
    """
    if not 0 < percentile <= 100:
        raise SpikewrightError(f"percentile {percentile}: must lie in 0..100, 0 excluded")
    if calibration is not None:
        _check_images(calibration, network.input)
    elif any(layer.activation.kind is ActivationKind.RELU for layer in network.layers):
        warnings.warn(
            "no calibration images: the thresholds of ReLU layers come from seeded noise, and "
            "accuracy will suffer; give images like those the network will see",
            ConversionWarning,
            stacklevel=2,
        )
        calibration = _noise(network.input)

    thresholds = [_learned(layer) for layer in network.layers]
    if calibration is not None:
        for index, layer in enumerate(network.layers):
            if layer.activation.kind in (ActivationKind.RELU, ActivationKind.CLIP):
                values = _activations(network, index, calibration)
                found = _percentiles(values, percentile, channelwise)
                bound = thresholds[index]
                thresholds[index] = found if bound is None else np.minimum(found, bound)
    return dataclasses.replace(
        network,
        layers=tuple(map(_with_neurons, network.layers, thresholds)),
    )


def _check_images(images: npt.NDArray[np.uint8], spec: InputSpec) -> None:
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1:] != spec.shape:
        raise SpikewrightError(
            f"calibration: images are {images.dtype} of shape {images.shape}; they must be uint8 "
            f"(N, {', '.join(map(str, spec.shape))})"
        )
    if not len(images) or images.max() > spec.maximum:
        raise SpikewrightError(
            f"calibration: needs at least one image, of pixels in 0..{spec.maximum}"
        )


def _noise(spec: InputSpec) -> npt.NDArray[np.uint8]:
    generator = np.random.default_rng(_NOISE_SEED)
    return generator.integers(spec.maximum + 1, size=(_NOISE_IMAGES, *spec.shape), dtype=np.uint8)


def _activations(
    network: FloatNetwork, index: int, pixels: npt.NDArray[np.uint8]
) -> npt.NDArray[np.float32]:
    """What layer `index` of the ANN gives for the images, ``(N, C, H, W)``."""
    head = FloatNetwork(network.input, network.layers[: index + 1])
    scale, mean = (
        np.array(values, np.float32)[:, None, None]
        for values in (network.input.scale, network.input.mean)
    )
    batches = np.array_split(pixels, -(-len(pixels) // 100))
    outputs = [ann_forward(head, torch.from_numpy((batch - mean) * scale)) for batch in batches]
    return torch.cat(outputs).numpy().reshape(-1, *network.layers[index].shape)


def _learned(layer: FloatLayer) -> Floats | None:
    """The threshold that the activation brings along, per channel."""
    if layer.activation.threshold is None:
        return None
    return np.broadcast_to(layer.activation.threshold, (layer.shape[0],))


def _percentiles(values: npt.NDArray[np.float32], percentile: float, channelwise: bool) -> Floats:
    """Thresholds per channel for activations ``(N, C, H, W)``."""
    whole = float(np.percentile(values, percentile)) or float(values.max()) or 1.0
    channels = values.shape[1]
    if not channelwise:
        return np.full(channels, whole)
    each = np.percentile(np.moveaxis(values, 1, 0).reshape(channels, -1), percentile, axis=1)
    return np.where(each > 0, each, whole)


def _with_neurons(layer: FloatLayer, threshold: Floats | None) -> FloatLayer:
    if threshold is None:
        return dataclasses.replace(
            layer,
            neuron=NeuronSpec(NeuronModel.INTEGRATOR),
            threshold=None,
            initial=np.zeros(layer.shape[0]),
        )
    return dataclasses.replace(
        layer, neuron=NeuronSpec(NeuronModel.IF), threshold=threshold, initial=threshold / 2
    )
