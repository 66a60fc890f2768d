"""Where events land: the axis tables, and the synapses that they walk."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from spikewright.errors import SpikewrightError
from spikewright.network import Layer, Network, PoolKind, Shape, Synapse

__all__ = [
    "AxisEntry",
    "axis_table",
    "axis_tables",
    "axis_words",
    "only_synapse",
    "weight_words",
    "window",
]


def only_synapse(layer: Layer) -> Synapse:
    """The one synapse group of a layer; several are in the contract but not yet in the hardware."""
    if len(layer.synapses) != 1:
        raise SpikewrightError(
            f"layer {layer.name}: has {len(layer.synapses)} synapse groups; the cores take one"
        )
    return layer.synapses[0]


def weight_words(synapse: Synapse) -> int:
    """Weight words of one channel group: one for each tap and source channel."""
    return int(np.prod(synapse.weight.shape[1:]))


def window(layer: Layer) -> int:
    """Membranes a neuron takes the greatest of: the max-pool window, 1 for all other layers."""
    synapse = only_synapse(layer)
    return synapse.pool.area if synapse.pool.kind is PoolKind.MAX else 1


@dataclass(frozen=True)
class AxisEntry:
    """Where a source coordinate lands: on `count` taps, from `tap` on (its output is `output`).

    Every further tap is one stride later and its output one earlier.
    """

    tap: int
    output: int
    count: int


def axis_table(
    size: int, pool: int, kernel: int, stride: int, padding: int, outputs: int
) -> list[AxisEntry]:
    """One entry for each of `size` source coordinates of one axis, before pooling.

    Coordinates that floor pooling drops, or that no tap lands on, have count 0.
    """
    entries = []
    for coordinate in range(size):
        position = coordinate // pool + padding
        least = max(0, position - (outputs - 1) * stride)  # on the last output
        tap = least + (position - least) % stride
        count = (min(kernel - 1, position) - tap) // stride + 1
        if coordinate // pool >= size // pool or count < 1:
            entries.append(AxisEntry(0, 0, 0))
        else:
            entries.append(AxisEntry(tap, (position - tap) // stride, count))
    return entries


def axis_tables(synapse: Synapse, source: Shape) -> tuple[list[AxisEntry], list[AxisEntry]]:
    """The axis tables of `synapse` for y and for x; `source` is the shape of what it reads."""
    y, x = (
        axis_table(*geometry)
        for geometry in zip(
            source[1:],
            synapse.pool.size,
            synapse.weight.shape[2:],
            synapse.stride,
            synapse.padding,
            synapse.output_shape(source)[1:],
            strict=True,
        )
    )
    return y, x


def axis_words(network: Network, layer: Layer) -> tuple[list[tuple[int, int, int]], ...]:
    """Entries of the axis tables for y and x: weight offset, word offset, tap count.

    In front of max-pool neurons the positions of a window lie in planes, one behind the other.
    """
    synapse = only_synapse(layer)
    y, x = axis_tables(synapse, network.source_shape(synapse))
    channels, kernel_x = synapse.weight.shape[1], synapse.weight.shape[3]
    (pool_y, pool_x), (height, width) = synapse.pool.size, layer.shape[1:]
    plane = height * width if window(layer) > 1 else 0
    return (
        _words(y, pool_y, kernel_x * channels, width, pool_x * plane),
        _words(x, pool_x, channels, 1, plane),
    )


def _words(
    entries: list[AxisEntry], pool: int, tap: int, output: int, plane: int
) -> list[tuple[int, int, int]]:
    """`entries` in words, with those of a tap, of an output, and of a plane."""
    return [
        (
            entry.tap * tap,
            entry.output * output + (place % pool * plane if entry.count else 0),
            entry.count,
        )
        for place, entry in enumerate(entries)
    ]
