"""Where things lie: shapes, pools, convolutions, and which layer reads which.

Positions are ``(channel, y, x)`` throughout. A fully connected layer is the convolution whose
kernel covers its whole source.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import Any

from spikewright.errors import SpikewrightError
from spikewright.network.limits import CHANNELS, LAYERS, VALUES, Size
from spikewright.records import check_fields

__all__ = [
    "INPUT",
    "Convolution",
    "Pair",
    "Pool",
    "PoolKind",
    "Shape",
    "check_chain",
    "check_shape",
]

INPUT = -1
"""The source index that stands for the input frame."""

Shape = tuple[int, int, int]
Pair = tuple[Size, Size]


class PoolKind(enum.Enum):
    """How a window becomes one value."""

    AVERAGE = "average"
    """The mean. In integers it is summed: its 1/p² went into the weights."""
    MAX = "max"
    """The greatest. In a converted network only in front of max-pool neurons, which do the work."""


@dataclass(frozen=True)
class Pool:
    """Disjoint windows in front of a synapse group; rows and columns left over are dropped."""

    size: Pair = (1, 1)
    kind: PoolKind = PoolKind.AVERAGE

    def __post_init__(self) -> None:
        check_fields(self, "pool")
        if min(self.size) < 1:
            raise SpikewrightError(f"pool: window {self.size} must be at least 1x1")

    @property
    def area(self) -> int:
        """Values of a window."""
        return self.size[0] * self.size[1]

    def output_shape(self, shape: Shape) -> Shape:
        """What is left of a source of `shape`; raises SpikewrightError if nothing is."""
        c, h, w = shape
        if h < self.size[0] or w < self.size[1]:
            raise SpikewrightError(
                f"pool: window {self.size[0]}x{self.size[1]} is larger than its {h}x{w} source"
            )
        return c, h // self.size[0], w // self.size[1]


def check_shape(shape: Shape, where: str) -> None:
    """Raise SpikewrightError for what is no (channels, height, width), or too large."""
    if len(shape) != 3 or min(shape) < 1:
        raise SpikewrightError(f"{where}: shape {shape} is not (channels, height, width)")
    if max(shape) > CHANNELS or shape[0] * shape[1] * shape[2] > VALUES:
        raise SpikewrightError(
            f"{where}: shape {shape} is too large; at most {CHANNELS} a side and {VALUES} values "
            "are supported"
        )


@dataclass(frozen=True)
class Convolution:
    """Weights ``(out, in, kernel y, kernel x)`` on the pooled `source`, zero padded."""

    source: int
    weight: Any
    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    pool: Pool = field(default_factory=Pool)

    def __post_init__(self) -> None:
        where, weight = f"synapses from {self.source}", self.weight
        check_fields(self, where)
        if weight.ndim != 4 or min(weight.shape) < 1:
            raise SpikewrightError(
                f"{where}: weights of shape {weight.shape} are not (out, in, kernel y, kernel x)"
            )
        if weight.size > VALUES:
            raise SpikewrightError(
                f"{where}: {weight.size} weights; at most {VALUES} are supported"
            )
        if min(self.stride) < 1 or min(self.padding) < 0:
            raise SpikewrightError(
                f"{where}: stride {self.stride} and padding {self.padding} are impossible"
            )
        if self.padding[0] >= weight.shape[2] or self.padding[1] >= weight.shape[3]:
            raise SpikewrightError(
                f"{where}: padding {self.padding} reaches a whole kernel {weight.shape[2:]}; "
                "outputs would see padding alone"
            )

    def output_shape(self, source: Shape) -> Shape:
        """The shape of its sums over a `source` of that shape; raises SpikewrightError."""
        c, h, w = self.pool.output_shape(source)
        o, i, kh, kw = self.weight.shape
        if i != c:
            raise SpikewrightError(
                f"from {self.source}: weights expect {i} channels, the source has {c}"
            )
        oh, ow = (
            (n + 2 * p - k) // s + 1
            for n, p, k, s in zip((h, w), self.padding, (kh, kw), self.stride, strict=True)
        )
        if oh < 1 or ow < 1:
            raise SpikewrightError(
                f"from {self.source}: kernel {kh}x{kw} does not fit its {h}x{w} source "
                f"(padding {self.padding})"
            )
        return o, oh, ow


def check_chain(layers: tuple[Any, ...], input_shape: Shape) -> None:
    """Raise SpikewrightError unless every layer reads what is there, in the shape that it has."""
    if not layers:
        raise SpikewrightError("network: has no layers")
    if len(layers) > LAYERS:
        raise SpikewrightError(f"network: has {len(layers)} layers; at most {LAYERS} are supported")
    names = [layer.name for layer in layers]
    if len(set(names)) != len(names):
        raise SpikewrightError(f"network: layer names {names} are not unique")
    for index, layer in enumerate(layers):
        if not layer.synapses:
            raise SpikewrightError(f"layer {layer.name}: has no synapses")
        for synapse in layer.synapses:
            if not INPUT <= synapse.source < index:
                raise SpikewrightError(
                    f"layer {layer.name}: source {synapse.source} is not an earlier layer"
                )
            source = input_shape if synapse.source == INPUT else layers[synapse.source].shape
            try:
                got = synapse.output_shape(source)
            except SpikewrightError as error:
                raise SpikewrightError(f"layer {layer.name}: {error}") from None
            if got != layer.shape:
                raise SpikewrightError(
                    f"layer {layer.name}: declared shape {layer.shape}, its synapses give {got}"
                )
