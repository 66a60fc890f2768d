"""Clocks of a layer by cause, from what the blocks take: a queue between walker and picker.

A step of an item costs its events, the words of its field, or the gap of its hand-over, whichever
lasts longest; the queue lets the walker run ahead. Steps without words (a held current, a phase
without input) are hand-overs alone, made while the next item integrates.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields

import numpy as np

from spikewright.machine.blocks import Machine
from spikewright.network import Ints

__all__ = ["Clocks", "CoreClocks", "StepLoad", "layer_clocks"]


@dataclass(frozen=True)
class StepLoad:
    """What a step of an item brings: `bits` set in each word walked, in order; empty: no words.

    `doubles` are clocks in which the accumulators are only doubled; `starts` an item.
    """

    bits: Ints
    doubles: int = 0
    starts: bool = False


@dataclass(frozen=True)
class Clocks:
    """Clocks of a layer, or of an image, by what they were spent on; the mean of all cores.

    `events`: a bit a clock, and doublings. `words`: waiting for the walker. `firing`: waiting for
    the fire units. `imbalance`: until the slowest core is done. `barrier`: from there to the next
    layer's first event.
    """

    events: float = 0
    words: float = 0
    firing: float = 0
    imbalance: float = 0
    barrier: float = 0

    def __add__(self, other: Clocks) -> Clocks:
        return Clocks(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(Clocks)))

    @property
    def total(self) -> float:
        """All of them."""
        return sum(getattr(self, f.name) for f in fields(self))


@dataclass
class CoreClocks:
    """The clocks of one core in a layer, of the steps in the order they are taken."""

    machine: Machine
    slots: int
    events: int = 0
    words: int = 0
    firing: int = 0
    _walked: int = 0
    _fetched: int = 0
    _free: int = 0
    _handed: int | None = None

    def __post_init__(self) -> None:
        self._taken: list[int] = []

    def take(self, loads: Iterable[StepLoad]) -> CoreClocks:
        """Account for `loads`."""
        for load in loads:
            if len(load.bits):
                self._step(load)
            else:
                self._handed = self._ready()
        return self

    @property
    def end(self) -> int:
        """The clock of the last hand-over."""
        return max(self._free, self._handed or 0)

    def _ready(self) -> int:
        """The first clock of another hand-over."""
        return 0 if self._handed is None else self._handed + self.machine.gap(self.slots)

    def _step(self, load: StepLoad) -> None:
        if load.starts:
            self._walked = max(self._walked, self._fetched)
            walker = self.machine.walker
            self._fetched = self._walked + walker.fetch * walker.sources
        queued = np.flatnonzero(load.bits)
        if not len(queued) or queued[-1] != len(load.bits) - 1:
            queued = np.append(queued, len(load.bits) - 1)
        before = -1
        room = self.machine.picker.queue
        for place in queued.tolist():
            self._walked += place - before
            before = place
            if len(self._taken) >= room:
                self._walked = max(self._walked, self._taken[-room])
            start = max(self._free, self._walked)
            bits = int(load.bits[place])
            self.words += start - self._free + (bits == 0)
            self.events += bits
            self._taken.append(start)
            self._free = start + max(1, bits)
        del self._taken[:-room]
        self.events += load.doubles
        self._free += load.doubles
        handed = max(self._free, self._ready())
        self.firing += handed - self._free
        self._free = self._handed = handed


def layer_clocks(machine: Machine, cores: list[CoreClocks], slots: int) -> Clocks:
    """The clocks of a layer on all cores; `slots` are those of an item."""
    ends = [core.end for core in cores]
    count = machine.cores
    done = [core.events + core.words + core.firing for core in cores]
    firing = sum(core.firing for core in cores) + sum(ends) - sum(done)
    block = (
        machine.picker.latency
        + machine.lanes.latency(machine.fire.count)
        + slots
        + machine.fire.latency
    )
    tail = block + machine.pool.latency + machine.packer.latency + machine.router.latency
    return Clocks(
        sum(core.events for core in cores) / count,
        sum(core.words for core in cores) / count,
        firing / count,
        max(ends, default=0) - sum(ends) / count,
        tail + 2 * (count - 1) + machine.start,
    )
