"""What the lanes of all cores decided, by neuron: the schedule tells which neuron each was."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from spikewright.machine.schedule import Schedule
from spikewright.network import Ints

__all__ = ["LayerTrace", "output_places", "outputs", "traces"]


class Decided(Protocol):
    """A layer on a core: int64 ``(items, steps, lanes)``, V after firing and n sent."""

    @property
    def membranes(self) -> Ints:
        """V."""

    @property
    def spikes(self) -> Ints:
        """n."""


@dataclass(frozen=True)
class LayerTrace:
    """One layer: int64 ``(T, C, H, W)`` membranes and spikes, and which neurons were computed.

    `times` counts how often each neuron ``(C, H, W)`` was computed: once, or never where no reader
    needs it (what pooling drops).
    """

    name: str
    membranes: Ints
    spikes: Ints
    times: Ints


def traces(schedule: Schedule, layers: Sequence[Sequence[Decided]]) -> list[LayerTrace]:
    """The trace of every layer; `layers` are what each core decided in it."""
    found = []
    for layer, cores in zip(schedule.layers, layers, strict=True):
        shape = (schedule.network.steps, *layer.layer.shape)
        membranes, spikes = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
        times = np.zeros(layer.layer.shape, np.int64)
        for core, done in enumerate(cores):
            for item, v, n in zip(layer.items(core), done.membranes, done.spikes, strict=True):
                neurons = layer.neurons(item)
                there = neurons[:, 0] >= 0
                at = tuple(neurons[there].T)
                membranes[:, *at], spikes[:, *at] = v[:, there], n[:, there]
                np.add.at(times, at, 1)
        found.append(LayerTrace(layer.layer.name, membranes, spikes, times))
    return found


def outputs(schedule: Schedule, readout: Mapping[int, int] | Sequence[int]) -> Ints:
    """The outputs in (c, y, x) order; `readout` has them by place."""
    return np.array([readout[place] for place in output_places(schedule)], np.int64)


def output_places(schedule: Schedule) -> list[int]:
    """Where the readout has the outputs, in (c, y, x) order."""
    last = schedule.layers[-1]
    channels, height, width = last.layer.shape
    return [
        last.output_address(c, y, x)
        for c in range(channels)
        for y in range(height)
        for x in range(width)
    ]
