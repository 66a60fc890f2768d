"""Handlers of what is linear: convolutions, dense layers, batch norms, constants and sums.

A handler gets the place, the values and the arguments by the names that torch gives them, and
returns the value behind the operation, or refuses it.
"""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from spikewright.sw.frontend.merge import Linear, Operation, PerPosition
from spikewright.sw.frontend.site import Site
from spikewright.sw.frontend.values import Value

__all__ = [
    *("add", "aten_batch_norm", "batch_norm", "conv2d", "div"),
    *("linear", "mul", "neg", "pair", "sub"),
]


def pair(value: int | Iterable[int]) -> tuple[int, int]:
    """Height and width of what torch takes as one number or two."""
    if isinstance(value, int):
        return value, value
    values = tuple(int(v) for v in value)
    return values[0], values[-1]


def conv2d(
    site: Site,
    x: Value,
    weight: torch.Tensor,
    bias: torch.Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    padding_mode: str = "zeros",
) -> Value:
    """A convolution without dilation, padded by zeros and less than its kernel."""
    if padding_mode != "zeros":
        raise site.refusal(
            f"pads with padding_mode='{padding_mode}'", "use padding_mode='zeros' and retrain"
        )
    if pair(dilation) != (1, 1):
        raise site.refusal(f"has dilation {pair(dilation)}", "use dilation=1 and retrain")
    height, width = weight.shape[2:]
    if padding == "same":
        if height % 2 == 0 or width % 2 == 0:
            raise site.refusal(
                f"pads 'same' around an even {height}x{width} kernel, so one side more than "
                "the other",
                "use an odd kernel or a number as padding",
            )
        padding = (height // 2, width // 2)
    pads = (0, 0) if padding == "valid" else pair(padding)
    if pads[0] >= height or pads[1] >= width:
        raise site.refusal(
            f"pads {pads} around a {height}x{width} kernel, so outputs see padding alone",
            "pad less than the kernel",
        )
    kernels, shifts = site.array(weight, "weight"), site.bias(bias, len(weight))
    return site.then(
        x, Linear.grouped(site.where, kernels, shifts, pair(stride), pads, groups=groups)
    )


def linear(site: Site, x: Value, weight: torch.Tensor, bias: torch.Tensor | None = None) -> Value:
    """A convolution whose kernel covers its source, in the (channel, y, x) order of flattening."""
    if not x.flat:
        raise site.refusal(
            f"acts on the last axis of an input of shape {tuple(x.tensor.shape)}",
            "put torch.nn.Flatten() in front of it",
        )
    out = len(weight)
    kernel = site.array(weight, "weight").reshape(out, *x.shape)
    return site.then(x, Linear(site.where, kernel, site.bias(bias, out)), (out, 1, 1))


def _scaled(site: Site, x: Value, scale: Any, shift: Any) -> Value:
    """``scale * x + shift``, where both broadcast to x."""
    if site.out.shape != x.tensor.shape:
        raise site.refusal(
            f"makes {tuple(site.out.shape)} of {tuple(x.tensor.shape)}",
            "use constants that keep the shape",
        )
    constants = (site.array(torch.as_tensor(v), "a constant") for v in (scale, shift))
    factors, offsets = (np.broadcast_to(v, x.tensor.shape).reshape(x.shape) for v in constants)
    if all((v == v[:, :1, :1]).all() for v in (factors, offsets)):
        operation: Operation = Linear.pointwise(site.where, factors[:, 0, 0], offsets[:, 0, 0])
    else:
        operation = PerPosition(site.where, factors, offsets)
    return site.then(x, operation, x.shape)


def batch_norm(
    site: Site,
    x: Value,
    running_mean: torch.Tensor | None,
    running_var: torch.Tensor | None,
    weight: torch.Tensor | None = None,
    bias: torch.Tensor | None = None,
    training: bool = False,
    momentum: float | None = 0.1,
    eps: float = 1e-5,
) -> Value:
    """``(x - mean) / sqrt(var + eps) * weight + bias`` per channel."""
    if running_mean is None or running_var is None or training:
        raise site.refusal(
            "normalises with the statistics of its batch",
            "use track_running_stats=True and evaluation mode",
        )
    mean = site.array(running_mean, "running_mean")
    gain = 1.0 / np.sqrt(site.array(running_var, "running_var") + eps)
    if weight is not None:
        gain = gain * site.array(weight, "weight")
    shift = site.bias(bias, len(mean)) - mean * gain
    axes = (-1, *(1,) * (x.tensor.ndim - 2))
    return _scaled(site, x, torch.tensor(gain.reshape(axes)), torch.tensor(shift.reshape(axes)))


def aten_batch_norm(site: Site, x: Value, *arguments: Any) -> Value:
    """The same with the arguments in the order of ``torch.batch_norm``."""
    weight, bias, mean, variance, *rest = arguments[:-1]  # the last is no matter of numbers
    return batch_norm(site, x, mean, variance, weight, bias, *rest)


def _sum(site: Site, a: Value, b: Value) -> Value:
    """Both at once, into the same neurons."""
    shapes = [tuple(value.tensor.shape) for value in (a, b)]
    if shapes[0] == shapes[1]:
        shapes = [a.shape, b.shape]
    if shapes[0] != shapes[1]:
        raise site.refusal(
            f"adds tensors of shape {shapes[0]} and {shapes[1]}",
            "give both the same channels, height and width",
        )
    branches = (*a.terms, *b.terms)
    if len({branch.source is None for branch in branches}) > 1:
        raise site.refusal(
            "adds the input frame to spikes, which no layer takes together",
            "put an activation into the branch from the input",
        )
    return Value(site.out, a.shape, branches, site.where)


def add(site: Site, a: Any, b: Any) -> Value:
    """A sum of two values, or of one and a constant."""
    if isinstance(a, Value):
        return _sum(site, a, b) if isinstance(b, Value) else _scaled(site, a, 1.0, b)
    return _scaled(site, b, 1.0, a)


def sub(site: Site, a: Any, b: Any) -> Value:
    """``a - b``: the sum of one and the other's negative."""
    if not isinstance(b, Value):
        return _scaled(site, a, 1.0, -torch.as_tensor(b))
    if not isinstance(a, Value):
        return _scaled(site, b, -1.0, a)
    return _sum(site, a, neg(replace(site, out=b.tensor), b))


def mul(site: Site, a: Any, b: Any) -> Value:
    """A value times a constant."""
    return _scaled(site, a, b, 0.0) if isinstance(a, Value) else _scaled(site, b, a, 0.0)


def div(site: Site, a: Any, b: Any) -> Value:
    """A value over a constant."""
    if not isinstance(a, Value):
        raise site.refusal("divides by a tensor made from the input", "divide by constants only")
    return mul(site, a, 1.0 / torch.as_tensor(b, dtype=torch.float64))


def neg(site: Site, x: Value) -> Value:
    """``-x``."""
    return mul(site, x, -1.0)
