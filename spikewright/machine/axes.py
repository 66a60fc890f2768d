"""Where events land: the axis tables, and the synapses that they walk."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from spikewright.errors import SpikewrightError
from spikewright.network import Layer, Network, PoolKind, Synapse

__all__ = [
    "AxisEntry",
    "axis_table",
    "axis_words",
    "layer_axes",
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


def layer_axes(network: Network, layer: Layer) -> tuple[list[AxisEntry], list[AxisEntry]]:
    """The axis tables of a layer, for y and for x."""
    synapse = only_synapse(layer)
    _, height, width = network.source_shape(synapse)
    y, x = (
        axis_table(
            size,
            synapse.pool.size[i],
            synapse.weight.shape[2 + i],
            synapse.stride[i],
            synapse.padding[i],
            layer.shape[1 + i],
        )
        for i, size in enumerate((height, width))
    )
    return y, x


def axis_words(network: Network, layer: Layer) -> tuple[list[tuple[int, int, int]], ...]:
    """Entries of the axis tables for y and x: weight offset, word offset, tap count.

    In front of max-pool neurons the positions of a window lie in planes, one behind the other.
    """
    synapse = only_synapse(layer)
    channels, kernel_x = synapse.weight.shape[1], synapse.weight.shape[3]
    height, width = layer.shape[1:]
    tables = []
    for axis, (entries, tap, output, plane) in enumerate(
        zip(
            layer_axes(network, layer),
            (kernel_x * channels, channels),
            (width, 1),
            (synapse.pool.size[1] * height * width, height * width),
            strict=True,
        )
    ):
        apart = window(layer) > 1
        tables.append(
            [
                (
                    entry.tap * tap,
                    entry.output * output
                    + (place % synapse.pool.size[axis] * plane if apart and entry.count else 0),
                    entry.count,
                )
                for place, entry in enumerate(entries)
            ]
        )
    return tuple(tables)
