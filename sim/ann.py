"""The ANN that a float network stands for, executed in torch."""

from __future__ import annotations

import torch
from torch.nn import functional

from spikewright.errors import SpikewrightError
from spikewright.network import (
    INPUT,
    Activation,
    ActivationKind,
    FloatNetwork,
    FloatSynapse,
    InputCode,
    InputSpec,
    Pool,
    PoolKind,
)

__all__ = ["ann_forward", "ann_layers", "model_input", "pooled"]


def pooled(pool: Pool, source: torch.Tensor) -> torch.Tensor:
    """Means or maxima ``(N, C, H', W')`` over the windows of `source`."""
    if pool.area == 1:
        return source
    if pool.kind is PoolKind.MAX:
        return functional.max_pool2d(source, pool.size)
    return functional.avg_pool2d(source, pool.size)


def model_input(spec: InputSpec, frames: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """What the ANN sees of uint8 frames, ``(pixel - mean) * scale``; of raw events their rate."""
    mean, scale = (
        torch.tensor(values, dtype=dtype, device=frames.device)[:, None, None]
        for values in (spec.mean, spec.scale)
    )
    pixels = frames.to(dtype)
    if spec.code is InputCode.EVENTS:
        pixels = pixels.unflatten(1, (-1, spec.shape[0])).mean(1)
    return (pixels - mean) * scale


def _synapse(synapse: FloatSynapse, source: torch.Tensor) -> torch.Tensor:
    source = pooled(synapse.pool, source)
    weight = torch.tensor(synapse.weight, dtype=source.dtype, device=source.device)
    return functional.conv2d(source, weight, stride=synapse.stride, padding=synapse.padding)


def _activate(activation: Activation, z: torch.Tensor) -> torch.Tensor:
    if activation.kind is ActivationKind.NONE:
        return z
    if activation.threshold is None:
        return functional.relu(z)
    threshold = torch.tensor(activation.threshold, dtype=z.dtype, device=z.device)[:, None, None]
    if activation.levels is None:
        return torch.minimum(functional.relu(z), threshold)
    half = 0.5 if activation.kind is ActivationKind.QCFS else 0.0
    level = torch.floor(z * activation.levels / threshold + half) / activation.levels
    return threshold * level.clamp(0.0, 1.0)


def ann_forward(network: FloatNetwork, x: torch.Tensor) -> torch.Tensor:
    """Outputs ``(N, outputs)`` of the ANN, the last layer flattened in (channel, y, x) order.

    `x` is as for :func:`ann_layers`.
    """
    return ann_layers(network, x)[-1].flatten(1)


@torch.no_grad()
def ann_layers(network: FloatNetwork, x: torch.Tensor) -> list[torch.Tensor]:
    """What every layer of the ANN gives, ``(N, C, H, W)`` each, behind its activation.

    `x` holds N inputs ``(N, C, H, W)`` as the model sees them, ``(pixel - mean) * scale``; its
    dtype and device are those of the computation. Raises SpikewrightError for another shape.
    """
    if tuple(x.shape[1:]) != network.input.shape:
        raise SpikewrightError(
            f"input: frames of shape {tuple(x.shape[1:])}; the network takes {network.input.shape}"
        )
    values = {INPUT: x}
    for index, layer in enumerate(network.layers):
        bias = torch.tensor(layer.bias, dtype=x.dtype, device=x.device)[:, None, None]
        z = bias + sum(_synapse(synapse, values[synapse.source]) for synapse in layer.synapses)
        values[index] = _activate(layer.activation, z)
    return [values[index] for index in range(len(network.layers))]
