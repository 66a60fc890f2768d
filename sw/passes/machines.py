"""Chooses the fastest machine for networks that a device holds: cores, lanes, fire units, depths.

Machines are compared by the estimates of a narrow search on few frames; the best is placed with
care, and its memories cut to what that needs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
import numpy.typing as npt

from spikewright.errors import SpikewrightError
from spikewright.machine.area import block_rams, luts
from spikewright.machine.blocks import Machine, Packer, SpikeMemory, Walker
from spikewright.machine.clocks import Clocks
from spikewright.machine.device import Device
from spikewright.machine.memories import make_images
from spikewright.machine.schedule import Schedule
from spikewright.network import Network
from spikewright.sw.passes.activity import Activity, assumed, observed
from spikewright.sw.passes.costs import mean, predict
from spikewright.sw.passes.place import place
from spikewright.sw.passes.search import search
from spikewright.sw.passes.sizes import trimmed, widths_for

__all__ = ["Chosen", "choose_machine", "fits"]

_FILL = 0.9
"""Share of the LUTs that may be used, lest routing fails."""
_WORTH = 0.6
"""With fewer cores than this share of the best machine's, deeper memories do not pay."""
_DEPTHS = tuple(512 << n for n in range(7))
_MOST = 32
"""Cores that a machine can have."""
_FRAMES, _WIDTH = 2, 8
"""Frames and width of the search with which machines are compared; the chosen one has all."""


@dataclass(frozen=True)
class Chosen:
    """A machine, the schedule of every network on it, and why it is this one.

    `layers` are the predicted clocks of every network's layers, the mean of all frames.
    """

    machine: Machine
    schedules: tuple[Schedule, ...]
    layers: tuple[tuple[Clocks, ...], ...]
    reason: str

    @property
    def clocks(self) -> tuple[Clocks, ...]:
        """Of an image of every network."""
        return tuple(sum(layers, Clocks()) for layers in self.layers)


def choose_machine(
    networks: Sequence[Network],
    device: Device | None,
    frames: npt.NDArray[np.uint8] | None = None,
    *,
    cores: Sequence[int] = range(1, _MOST + 1),
    lanes: Sequence[int] = (16, 32),
    fire_units: Sequence[int] = (2, 1, 4),
) -> Chosen:
    """The machine on which `networks` take the fewest clocks in all, of those that fit `device`.

    Without a device everything fits. `frames` are samples of the input; without them a density of
    set bits is assumed. `cores`, `lanes` and `fire_units` bound the choice. Raises SpikewrightError
    if none fits.
    """
    every = [assumed(one) if frames is None else observed(one, frames) for one in networks]
    few = [one.first(_FRAMES) for one in every]
    best: tuple[float, Machine] | None = None
    failure = None
    passed: list[Machine] = []
    failed: list[Machine] = []
    for fires in fire_units:
        # Other numbers of fire units are tried with the memories of the best machine so far.
        known = best and best[1]
        for machine in _machines(networks, device, cores, lanes, fires, known):
            if _hopeless(machine, passed, failed):
                continue
            try:
                clocks = _estimate(networks, machine, few)
            except SpikewrightError as error:
                failure = failure or error
                if "weight memory" in str(error):
                    failed.append(machine)
                continue
            passed.append(machine)
            if best is None or clocks < best[0]:
                best = clocks, machine
    if best is None:
        raise failure or SpikewrightError(f"{_name(device)}: not even one core fits")
    return _placed(networks, every, best[1], device, cores)


def _hopeless(machine: Machine, passed: list[Machine], failed: list[Machine]) -> bool:
    """Whether it has far fewer cores than one that had room, or no more room for weights than one
    that had too little."""
    lanes = machine.lanes
    return any(
        lanes.count == one.lanes.count and machine.cores < _WORTH * one.cores for one in passed
    ) or any(
        lanes.count == one.lanes.count
        and lanes.weight_rows <= one.lanes.weight_rows
        and machine.cores <= one.cores
        for one in failed
    )


def _estimate(
    networks: Sequence[Network], machine: Machine, activities: Sequence[Activity]
) -> float:
    pairs = zip(networks, activities, strict=True)
    return sum(search(network, machine, activity, _WIDTH)[0].clocks for network, activity in pairs)


def _machines(
    networks: Sequence[Network],
    device: Device | None,
    cores: Sequence[int],
    lanes: Sequence[int],
    fires: int,
    known: Machine | None,
) -> Iterator[Machine]:
    """With every depth of weight and spike memories the most cores that fit, the most first."""
    made: dict[tuple[int, int, int], Machine] = {}
    size = sum(s.weight.size for one in networks for layer in one.layers for s in layer.synapses)
    for count, rows, words in product(lanes, _DEPTHS, _DEPTHS):
        if count % fires:
            continue
        if known and (known.lanes.weight_rows, known.spikes.words) != (rows, words):
            continue
        one = _machine(networks, 1, count, fires, rows, words)
        fitting = [n for n in cores if fits(replace(one, cores=n), device)]
        if fitting and count * rows * max(fitting) >= size / len(networks):
            machine = replace(one, cores=max(fitting))
            made[count, rows, words] = machine
    kept = [
        one
        for one in made.values()
        if not any(other != one and _covers(other, one) for other in made.values())
    ]
    yield from sorted(kept, key=lambda one: -one.cores)


def _covers(other: Machine, one: Machine) -> bool:
    """Whether `other` has as much of everything, with the same lanes."""
    return (
        other.lanes.count == one.lanes.count
        and other.cores >= one.cores
        and other.lanes.weight_rows >= one.lanes.weight_rows
        and other.spikes.words >= one.spikes.words
    )


def fits(machine: Machine, device: Device | None) -> bool:
    """Whether the block RAMs and the share of the LUTs suffice."""
    if device is None:
        return True
    return block_rams(machine) <= device.block_ram.count and luts(machine) <= _FILL * device.luts


def _machine(
    networks: Sequence[Network], cores: int, lanes: int, fires: int, rows: int, words: int
) -> Machine:
    """A machine that has the widths for all networks, and the least of the other depths."""
    narrow = widths_for(networks, fires)
    sources = max(len(layer.synapses) for one in networks for layer in one.layers)
    return Machine(
        cores,
        Walker(512, sources),
        SpikeMemory(words),
        lanes=replace(narrow.lanes, count=lanes, weight_rows=rows),
        fire=narrow.fire,
        pool=replace(narrow.pool, depth=64),
        packer=Packer(64),
    )


# ------------------------------------------------------------------------------- the chosen machine


def _placed(
    networks: Sequence[Network],
    activities: Sequence[Activity],
    best: Machine,
    device: Device | None,
    cores: Sequence[int],
) -> Chosen:
    """The networks on `best`, with as deep memories as they need; on fewer cores if these are more.

    Raises SpikewrightError if no number of cores has room.
    """
    failure = None
    for count in sorted((n for n in cores if n <= best.cores), reverse=True):
        roomy = replace(
            best,
            cores=count,
            walker=replace(best.walker, axis_entries=4096),
            fire=replace(best.fire, parameter_rows=4096),
            pool=replace(best.pool, depth=1024),
            packer=Packer(1024),
            program_words=16384,
        )
        try:
            first = [
                place(network, roomy, activity)
                for network, activity in zip(networks, activities, strict=True)
            ]
            machine = _shallow(trimmed(roomy, first), first)
            schedules = [Schedule(one.network, machine, one.placement) for one in first]
            for schedule in schedules:
                make_images(schedule)
        except SpikewrightError as error:
            failure = failure or error
            continue
        if fits(machine, device):
            layers = tuple(
                tuple(mean(list(layer)) for layer in zip(*predict(*each), strict=True))
                for each in zip(schedules, activities, strict=True)
            )
            reason = _reason(machine, device, sum((sum(one, Clocks()) for one in layers), Clocks()))
            return Chosen(machine, tuple(schedules), layers, reason)
    raise failure or SpikewrightError(
        f"{_name(device)}: no number of cores has room for all memories"
    )


def _shallow(machine: Machine, schedules: Sequence[Schedule]) -> Machine:
    """`machine` with spike memories as deep as `schedules` need."""
    while machine.spikes.words > 2:
        half = replace(machine, spikes=SpikeMemory(machine.spikes.words // 2))
        try:
            for one in schedules:
                make_images(Schedule(one.network, half, one.placement))
        except SpikewrightError:
            break
        machine = half
    return machine


def _name(device: Device | None) -> str:
    return "mapping" if device is None else device.name


def _reason(machine: Machine, device: Device | None, total: Clocks) -> str:
    """What was chosen, what it takes of `device`, and what stands in the way of more."""
    used, logic = block_rams(machine), luts(machine)
    of = ("", "") if device is None else (f" of {device.block_ram.count}", f" of {device.luts:,}")
    causes = {name: getattr(total, name) for name in Clocks.__dataclass_fields__}
    largest = sorted(causes, key=lambda name: -causes[name])[:2]
    text = (
        f"{_several(machine.cores, 'core')} of {machine.lanes.count} lanes, "
        f"{_several(machine.fire.count, 'fire unit')}, {machine.lanes.weight_rows} weight rows "
        f"and {machine.spikes.words} spike words each: {used}{of[0]} block RAMs, about "
        f"{logic:,}{of[1]} LUTs (estimated); {total.total:,.0f} clocks, most of them {largest[0]} "
        f"({causes[largest[0]] / total.total:.0%}) and {largest[1]} "
        f"({causes[largest[1]] / total.total:.0%}). "
    )
    if device is None:
        return text + "No device limits it."
    if machine.cores == _MOST:
        return text + "The router takes no more cores."
    more = replace(machine, cores=machine.cores + machine.lanes.sharing)
    if block_rams(more) > device.block_ram.count:
        return text + f"The next limit is block RAM: another core needs {block_rams(more)}."
    if luts(more) > _FILL * device.luts:
        return text + f"The next limit is LUTs: another core needs {luts(more):,}."
    return text + "Another core would fit, but was not asked for or is of no use."


def _several(count: int, what: str) -> str:
    return f"{count} {what}{'s' * (count > 1)}"
