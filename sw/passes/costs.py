"""What a placement costs in clocks: exactly, by the schedule's clock model, and an estimate of it.

The estimate takes an item for itself and needs no loop; it ranks placements, and the model decides
between the best of them.
"""

from __future__ import annotations

import numpy as np

from spikewright.machine.clocks import Clocks, CoreClocks, layer_clocks
from spikewright.machine.memories import layer_record
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
    loads, machine, record = Loads(layer, activity), layer.machine, layer_record(layer)
    parts, word = layer.parts[0] * layer.parts[1], layer.placement.word
    result = []
    for frame in range(activity.frames):
        cores = []
        for core in range(machine.cores):
            clocks = CoreClocks(machine, record)
            for number, item in enumerate(layer.items(core)):
                fills = number // parts % word == word - 1
                clocks.take(loads.steps(frame, item.row, item.column), item.last and fills)
            cores.append(clocks)
        result.append(layer_clocks(machine, cores))
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
    record = layer_record(layer)
    gap = machine.gap(layer.slots * layer.placement.positions, record.planes + 1)
    loads = Loads(layer, activity, tiles * layer.parts[1])
    clocks = np.maximum(loads.events + loads.ends_empty, gap).sum(1)
    fetch = machine.walker.fetch * machine.walker.sources
    clocks = np.maximum(clocks, steps * gap)  # hand-overs alone overlap with the next item
    clocks = np.maximum(clocks, np.maximum(layer.walks * loads.words, fetch))
    frames = activity.frames
    parts = clocks.reshape(frames, layer.height, layer.parts[0], tiles, layer.parts[1])
    result: Ints = parts.sum((2, 4))
    return result


def barrier(layer: LayerSchedule, cores: int) -> float:
    """Clocks from the last hand-over of a layer on `cores` cores to the next one's first event."""
    machine = layer.machine
    tail = CoreClocks(machine, layer_record(layer)).tail
    return tail + 2 * (cores - 1) + machine.barrier + machine.fill - 1
