"""Merging consecutive linear operations into one pooled convolution, where that is exact.

Everything between two activations is linear: convolutions, average pools, batch norms, constants.
Two zero-padded convolutions, a before b, are one convolution with

    kernel  Ka + (Kb - 1) Sa      stride  Sa Sb      padding  Pa + Sa Pb
    W[k_b Sa + k_a] = sum over k_b of Wb[k_b] Wa[k_a]      bias  bb + sum(Wb) ba

provided that b pads nothing, or that what b reads there is zero for the merged kernel too.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from spikewright.errors import SpikewrightError
from spikewright.network import Pool, PoolKind

__all__ = ["Average", "Linear", "Maximum", "Operation", "PerPosition", "merge", "without_shift"]

Floats = npt.NDArray[np.float64]
Pair = tuple[int, int]
Shape = tuple[int, int, int]

MOST_WEIGHTS = 2**26
"""A merged kernel with more weights than this is refused instead of filling the memory."""


@dataclass(frozen=True)
class Linear:
    """A zero-padded convolution. `where` names it in messages.

    `weight` has the shape ``(out, in, kernel y, kernel x)``, or where `depthwise`
    ``(channels, 1, kernel y, kernel x)``; `bias` has one value per output channel.
    """

    where: str
    weight: Floats
    bias: Floats
    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    depthwise: bool = False

    @classmethod
    def pointwise(cls, where: str, scale: Floats, shift: Floats) -> Linear:
        """``scale * x + shift``, one of each per channel."""
        return cls(where, scale[:, None, None, None], shift, depthwise=True)

    @classmethod
    def grouped(
        cls,
        where: str,
        weight: Floats,
        bias: Floats,
        stride: Pair = (1, 1),
        padding: Pair = (0, 0),
        *,
        groups: int,
    ) -> Linear:
        """A convolution in `groups`, of weights ``(out, in / groups, kernel y, kernel x)``."""
        depthwise = groups == len(weight) and weight.shape[1] == 1
        if not depthwise:
            weight = _block_diagonal(weight, groups)
        return cls(where, weight, bias, stride, padding, depthwise)

    @property
    def kernel(self) -> Pair:
        """Height and width."""
        return self.weight.shape[2], self.weight.shape[3]

    @property
    def is_pointwise(self) -> bool:
        """Whether an output is made of one position."""
        return self.kernel == self.stride == (1, 1) and self.padding == (0, 0)

    def output_shape(self, shape: Shape) -> Shape:
        """(C, H, W) behind a source of `shape`."""
        sizes = zip(shape[1:], self.kernel, self.stride, self.padding, strict=True)
        height, width = ((n + 2 * p - k) // s + 1 for n, k, s, p in sizes)
        return self.weight.shape[0], height, width

    def dense(self) -> Linear:
        """The same without `depthwise`."""
        if not self.depthwise:
            return self
        weight = _block_diagonal(self.weight, len(self.weight))
        return replace(self, weight=weight, depthwise=False)


def _block_diagonal(weight: Floats, groups: int) -> Floats:
    """Of weights ``(out, in / groups, y, x)``, those ``(out, in, y, x)``."""
    out, inputs, *kernel = weight.shape
    dense = np.zeros((groups, out // groups, groups, inputs, *kernel))
    each = np.arange(groups)
    dense[each, :, each] = weight.reshape(groups, -1, inputs, *kernel)
    return dense.reshape(out, groups * inputs, *kernel)


@dataclass(frozen=True)
class Average:
    """The mean over windows of `size` every `stride`, unpadded; rows left over are dropped."""

    where: str
    size: Pair
    stride: Pair

    @property
    def disjoint(self) -> bool:
        """Whether the windows lie side by side."""
        return self.size == self.stride

    def linear(self, channels: int) -> Linear:
        """The convolution that it is."""
        weight = np.full((channels, 1, *self.size), 1.0 / (self.size[0] * self.size[1]))
        return Linear(self.where, weight, np.zeros(channels), self.stride, depthwise=True)


@dataclass(frozen=True)
class Maximum:
    """The greatest of disjoint windows of `size`; rows left over are dropped."""

    where: str
    size: Pair


@dataclass(frozen=True)
class PerPosition:
    """``scale * x + shift`` with a number for every position ``(channel, y, x)``."""

    where: str
    scale: Floats
    shift: Floats


Operation = Linear | Average | PerPosition


def without_shift(operation: Operation) -> Operation:
    """What `operation` does to all but one of the terms of a sum: only once comes its shift."""
    match operation:
        case Linear():
            return replace(operation, bias=np.zeros_like(operation.bias))
        case PerPosition():
            return replace(operation, shift=np.zeros_like(operation.shift))
    return operation


def merge(
    operations: Sequence[Operation], shape: Shape, maxima: Sequence[Maximum] = ()
) -> tuple[Pool, Linear]:
    """One disjoint pool and one dense convolution that equal `operations` on a source of `shape`.

    With `maxima` in front of the operations the pool is theirs. Raises SpikewrightError, naming the
    operation, where no such pair is exact.
    """
    if maxima:
        sizes = [maximum.size for maximum in maxima]
        pool = Pool((math.prod(y for y, _ in sizes), math.prod(x for _, x in sizes)), PoolKind.MAX)
        rest = list(operations)
    else:
        pool, rest = _leading_pool(_pools_first(list(operations)))
    shape = pool.output_shape(shape)
    merged: Linear | PerPosition | None = None
    for operation in rest:
        if isinstance(operation, Average):
            channels = merged.output_shape(shape)[0] if isinstance(merged, Linear) else shape[0]
            operation = operation.linear(channels)
        merged = operation if merged is None else _after(merged, operation, shape)
    if isinstance(merged, PerPosition):
        raise _per_position(merged)
    if merged is None:
        merged = Linear.pointwise("", np.ones(shape[0]), np.zeros(shape[0]))
    return pool, merged.dense()


def _pools_first(operations: list[Operation]) -> list[Operation]:
    """Disjoint pools in front of the pointwise operations before them: both orders are equal."""
    result: list[Operation] = []
    for operation in operations:
        place = len(result)
        while isinstance(operation, Average) and operation.disjoint and place:
            before = result[place - 1]
            if not (isinstance(before, Linear) and before.is_pointwise):
                break
            place -= 1
        result.insert(place, operation)
    return result


def _leading_pool(operations: list[Operation]) -> tuple[Pool, list[Operation]]:
    """The pools at the front as one, and the rest. Dropped rows agree: h // p // q = h // (p q)."""
    size = (1, 1)
    for index, operation in enumerate(operations):
        if not (isinstance(operation, Average) and operation.disjoint):
            return Pool(size), operations[index:]
        size = size[0] * operation.size[0], size[1] * operation.size[1]
    return Pool(size), []


def _per_position(operation: PerPosition) -> SpikewrightError:
    return SpikewrightError(
        f"{operation.where}: scales every position by itself and no Linear follows it directly; "
        "put it behind the next Linear layer, or use one factor a channel"
    )


def _scaled(scale: Floats, shift: Floats, second: PerPosition) -> PerPosition:
    """`second` behind ``scale * x + shift``."""
    shift = shift * second.scale + second.shift
    return replace(second, scale=scale * second.scale, shift=shift)


def _after(
    first: Linear | PerPosition, second: Linear | PerPosition, shape: Shape
) -> Linear | PerPosition:
    """`second` behind `first`, whose source has `shape`."""
    match first, second:
        case Linear(), Linear():
            return _compose(first, second, shape)
        case PerPosition(), PerPosition():
            return _scaled(first.scale, first.shift, second)
        case PerPosition(), Linear():
            whole = second.kernel == shape[1:] and second.padding == (0, 0)
            if not whole or second.depthwise:
                raise _per_position(first)
            bias = second.bias + (second.weight * first.shift).sum(axis=(1, 2, 3))
            return replace(second, weight=second.weight * first.scale, bias=bias)
        case Linear(), PerPosition():
            if first.is_pointwise and first.depthwise:
                return _scaled(first.weight[:, 0], first.bias[:, None, None], second)
            raise _per_position(second)
    raise AssertionError("unreachable")


def _compose(first: Linear, second: Linear, shape: Shape) -> Linear:
    """The formula at the top of this module; `first` has a source of `shape`."""
    _check_border(first, second, shape)
    (sy, sx), (py, px) = first.stride, first.padding
    kernel = tuple(
        a + (b - 1) * s for a, b, s in zip(first.kernel, second.kernel, (sy, sx), strict=True)
    )
    depthwise = first.depthwise and second.depthwise
    out = second.weight.shape[0]
    inputs = 1 if depthwise else first.weight.shape[0 if first.depthwise else 1]
    if out * inputs * kernel[0] * kernel[1] > MOST_WEIGHTS:
        raise SpikewrightError(
            f"{second.where}: merging it with {first.where}, which has no activation behind it, "
            f"makes a {kernel[0]}x{kernel[1]} kernel from {inputs} to {out} channels; put an "
            "activation between the two"
        )
    weight = np.zeros((out, inputs, *kernel))
    for y, x in np.ndindex(second.kernel):
        top, left = y * sy, x * sx
        target = weight[:, :, top : top + first.kernel[0], left : left + first.kernel[1]]
        target += _contract(first, second, second.weight[:, :, y, x])
    sums = second.weight.sum(axis=(2, 3))
    carried = sums[:, 0] * first.bias if second.depthwise else sums @ first.bias
    return Linear(
        second.where if first.depthwise else first.where,
        weight,
        second.bias + carried,
        (sy * second.stride[0], sx * second.stride[1]),
        (py + sy * second.padding[0], px + sx * second.padding[1]),
        depthwise,
    )


def _contract(first: Linear, second: Linear, tap: Floats) -> Floats:
    """One tap ``(out, middle)`` of `second` times the kernel of `first`, summed over the middle."""
    if second.depthwise:
        return tap[:, :, None, None] * first.weight
    if first.depthwise:
        return tap[:, :, None, None] * first.weight[None, :, 0]
    return np.tensordot(tap, first.weight, axes=1)


def _check_border(first: Linear, second: Linear, shape: Shape) -> None:
    """Refuse if `second` pads zeros where the merged kernel would see something else."""
    if second.padding == (0, 0):
        return
    if first.bias.any():
        raise SpikewrightError(
            f"{first.where}: shifts the input of the padded {second.where}, and a mean under zero "
            "padding is not exact; set that padding to 0, or move the shift behind it"
        )
    middle = first.output_shape(shape)
    for axis in (0, 1):
        # What position `middle`, one past the end, would see of the source; if that is nothing,
        # position -1 sees nothing either.
        seen = shape[axis + 1] + first.padding[axis] - middle[axis + 1] * first.stride[axis]
        if second.padding[axis] and seen > 0:
            raise SpikewrightError(
                f"{second.where}: pads the output of {first.where}, which has no activation behind "
                "it, so the two cannot be merged exactly; put an activation between them or set "
                "padding=0"
            )
