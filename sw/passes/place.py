"""Places a network on a second machine, as fast as it finds a way that fits."""

from __future__ import annotations

from spikewright.errors import SpikewrightError
from spikewright.machine.blocks import Machine
from spikewright.machine.clocks import Clocks
from spikewright.machine.memories import make_images
from spikewright.machine.schedule import Schedule
from spikewright.network import Network
from spikewright.sw.passes.activity import Activity, assumed
from spikewright.sw.passes.costs import mean, predict_layer
from spikewright.sw.passes.search import search

__all__ = ["place"]

_FINALISTS, _LAYERS = 8, 80
"""Placements whose clocks are counted exactly; fewer where their layers would be more in all."""


def place(network: Network, machine: Machine, activity: Activity | None = None) -> Schedule:
    """The schedule of `network` on `machine`; raises SpikewrightError where it does not fit.

    `activity` says what the layers send (:func:`~spikewright.sw.passes.activity.observed`);
    without it a density of set bits is assumed.
    """
    activity = activity or assumed(network)
    fitting: list[Schedule] = []
    failure = None
    for one in search(network, machine, activity):
        schedule = Schedule(network, machine, one.placement)
        try:
            make_images(schedule)
        except SpikewrightError as error:
            failure = failure or error
            continue
        fitting.append(schedule)
        if len(fitting) == max(1, min(_FINALISTS, _LAYERS // len(network.layers))):
            break
    if not fitting:
        raise failure or AssertionError
    known: dict[object, Clocks] = {}
    return min(fitting, key=lambda schedule: _clocks(schedule, activity, known))


def _clocks(schedule: Schedule, activity: Activity, known: dict[object, Clocks]) -> float:
    """Clocks of an image, the mean of all frames; `known` are those of layers seen before."""
    total = 0.0
    for layer in schedule.layers:
        key = layer.index, layer.placement, tuple(reading.map for reading in layer.readings)
        if key not in known:
            known[key] = mean(predict_layer(layer, activity))
        total += known[key].total
    return total
