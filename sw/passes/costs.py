"""What a placement costs in clocks: exactly, by the schedule's clock model, and an estimate of it.

The estimate takes an item for itself and needs no loop; it ranks placements, and the model decides
between the best of them.
"""

from __future__ import annotations

import numpy as np

from spikewright.machine.blocks import Machine
from spikewright.machine.clocks import Clocks, CoreClocks, layer_clocks
from spikewright.machine.schedule import LayerSchedule, Schedule
from spikewright.network import Ints
from spikewright.sw.passes.activity import Activity
from spikewright.sw.passes.loads import Loads

__all__ = ["barrier", "mean", "predict", "predict_layer", "tile_clocks"]


def predict(schedule: Schedule, activity: Activity) -> list[list[Clocks]]:
    """For each frame of `activity` the clocks of every layer, as the interpreter counts them."""
    made = [predict_layer(layer, activity) for layer in schedule.layers]
    return [list(layers) for layers in zip(*made, strict=True)]


def predict_layer(layer: LayerSchedule, activity: Activity) -> list[Clocks]:
    """For each frame the clocks of `layer`."""
    loads, machine = Loads(layer, activity), layer.machine
    slots = layer.slots * layer.placement.positions
    result = []
    for frame in range(activity.frames):
        cores = []
        for core in range(machine.cores):
            clocks = CoreClocks(machine, slots)
            for item in layer.items(core):
                clocks.take(loads.steps(frame, item.row, item.column))
            cores.append(clocks)
        result.append(layer_clocks(machine, cores, slots))
    return result


def mean(clocks: list[Clocks]) -> Clocks:
    """The mean of several frames."""
    names = Clocks.__dataclass_fields__
    return Clocks(*(float(np.mean([getattr(one, name) for one in clocks])) for name in names))


def tile_clocks(layer: LayerSchedule, activity: Activity, tiles: int) -> Ints:
    """Estimated clocks of every tile, ``(frames, rows, tiles of a row)``.

    `tiles` of a row are asked for, whatever the words of `layer`.
    """
    machine, steps = layer.machine, layer.network.steps
    gap = machine.gap(layer.slots * layer.placement.positions)
    loads = Loads(layer, activity, tiles * layer.parts[1])
    clocks = np.maximum(loads.events + loads.ends_empty, gap).sum(1)
    clocks = np.maximum(clocks, steps * gap)  # hand-overs alone overlap with the next item
    clocks = np.maximum(clocks, np.maximum(layer.walks * loads.words, machine.walker.fetch))
    frames = activity.frames
    parts = clocks.reshape(frames, layer.height, layer.parts[0], tiles, layer.parts[1])
    result: Ints = parts.sum((2, 4))
    return result


def barrier(machine: Machine, slots: int) -> float:
    """Clocks from a layer's last hand-over to the next layer's first event."""
    return layer_clocks(machine, [CoreClocks(machine, slots)], slots).barrier
