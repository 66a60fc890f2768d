"""Clocks of a layer by cause, from what the blocks take: a queue between walker and picker.

A step of an item costs its events, the words of its field, or the gap of its hand-over, whichever
lasts longest; the queue lets the walker run ahead. Steps without words (a held current, a phase
without input) are hand-overs alone, made while the next item integrates.

What it leaves out: that cores wait for each other on the router while they compute.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterable
from dataclasses import dataclass, fields

import numpy as np

from spikewright.machine.blocks import Machine
from spikewright.machine.configuration import LayerRecord, Send
from spikewright.network import Ints

__all__ = ["Clocks", "CoreClocks", "StepLoad", "layer_clocks"]


@dataclass(frozen=True)
class StepLoad:
    """What a step of an item brings: `bits` set in each word walked, in order; empty: no words.

    `alone` are clocks before a word's first bit, in which the accumulators are cleared or only
    doubled. `starts` an item.
    """

    bits: Ints
    alone: Ints
    starts: bool = False


@dataclass(frozen=True)
class Clocks:
    """Clocks of a layer, or of an image, by what they were spent on; the mean of all cores.

    `events`: a bit a clock, clearing and doublings. `words`: waiting for the walker. `firing`:
    waiting for the fire units or the packer. `imbalance`: until the slowest core has handed over
    its last step. `barrier`: from there to where the next layer's first event can be.
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


class CoreClocks:
    """The clocks of one core in a layer, of the steps in the order they are taken.

    `events`, `words` and `firing` as in :class:`Clocks`; `sent` are the clocks in which its words
    go to the router. Clocks count from the core's start; no event is before ``machine.fill``.
    """

    def __init__(self, machine: Machine, layer: LayerRecord) -> None:
        self.machine, self.layer = machine, layer
        self.slots = (layer.slots + 1) * (layer.members + 1) * (layer.windows + 1)
        self.gap = machine.gap(self.slots, layer.planes + 1)
        self.events = self.words = self.firing = 0
        self.sent: list[int] = []
        walker, picker = machine.walker, machine.picker
        self._walker_latency, self._fetching = walker.latency, walker.fetch * walker.sources
        self._picker_latency, self._gather = picker.latency, picker.gather
        self._queue = picker.queue
        self._walked = -1
        self._began = -walker.latency
        self._fetched = walker.first + self._fetching
        self._leaving: list[int] = []  # when the last words leave the queue, or are dropped
        self._free = machine.fill
        self._last_group = 0
        self._handed = -self.gap + machine.gap(0, layer.planes + 1)
        self._drained = 0

    def take(self, loads: Iterable[StepLoad], whole: bool) -> CoreClocks:
        """Account for the steps of an item; `whole`: it is the last of its windows and word."""
        for t, load in enumerate(loads):
            if len(load.bits):
                self._step(load)
            else:
                self._handed = self._ready()
            if whole if self.layer.send == Send.PLANES else t == self.layer.steps:
                self._send()
        return self

    @property
    def end(self) -> int:
        """The clock behind the last hand-over."""
        return max(self._free, self._handed + 1)

    def _ready(self) -> int:
        """The first clock of another hand-over: slots, fire units, and room in the packer."""
        words = len(self.sent) + self.layer.planes + 1 - self.machine.packer.queue
        room = self.sent[words - 1] + 2 if 0 < words <= len(self.sent) else 0
        return max(self._handed + self.gap, room, self._drained)

    def _step(self, load: StepLoad) -> None:
        last = len(load.bits) - 1
        opens = load.starts
        for place, (bits, alone) in enumerate(
            zip(load.bits.tolist(), load.alone.tolist(), strict=True)
        ):
            there = self._issue(opens) + 1 + self._walker_latency + self._gather
            opens = False
            if bits or place == last:
                insort(self._leaving, self._pick(there, bits, alone))
            else:
                insort(self._leaving, there - 1)
        handed = max(self._free - 1, self._ready())
        self.firing += handed - self._free + 1
        self._handed, self._free = handed, handed + 1

    def _issue(self, starts: bool) -> int:
        """The clock in which the walker goes on to a word: there is room for it in the queue.

        All words that have not left it or been dropped two clocks before take room; those that were
        issued in these two clocks do not yet.
        """
        following, leaving, queue = self._walked + 1, self._leaving, self._queue
        clock = following
        if starts:
            clock = max(clock, self._fetched, self._began + self._walker_latency)
        if len(leaving) >= queue:
            if clock > following or leaving[-queue] > clock - 2:
                clock = max(clock, following + 1, leaving[1 - queue] + 2)
            del leaving[:-queue]
        if starts:
            self._began, self._fetched = clock, clock + self._fetching
        self._walked = clock
        return clock

    def _pick(self, there: int, bits: int, alone: int) -> int:
        """Account for a word that comes to the queue's end; the clock in which it is taken."""
        taken = max(there, self._last_group - 1)
        start = max(self._free, taken + self._picker_latency - 1)
        self.words += start - self._free + (bits == 0)
        self.events += bits + alone
        self._free = start + alone + max(1, bits)
        # The word behind is taken with the last group of this one: about a ninth of its bits.
        self._last_group = self._free - -(-max(1, bits) // 9)
        return taken

    @property
    def _summed(self) -> int:
        """Clocks from a hand-over to its last sum."""
        return self.machine.deciding + self.slots - 1 + self.machine.pool.latency

    @property
    def _outputs(self) -> int:
        """Words of an item that sends no planes, or 0."""
        layer = self.layer
        sends = layer.send != Send.PLANES
        return sends * (layer.slots + 1) * self.machine.fire.count

    @property
    def tail(self) -> int:
        """Clocks from the last hand-over to the last word."""
        if self._outputs:
            return self._summed + self.machine.drain + self._outputs - 1
        return self._summed + self.machine.packer.latency + self.layer.planes

    def _send(self) -> None:
        """The words that a step gives the router."""
        count = self._outputs or self.layer.planes + 1
        first = self._handed + self.tail + 1 - count
        if self._outputs:
            self._drained = self._handed + self._summed + count + 2
        if self.sent:
            first = max(first, self.sent[-1] + 1)
        self.sent += range(first, first + count)


def layer_clocks(machine: Machine, cores: list[CoreClocks]) -> Clocks:
    """The clocks of a layer on all cores, from one start to the next."""
    count = len(cores)
    done = [core.events + core.words + core.firing for core in cores]
    ends = [core.end - machine.fill for core in cores]
    firing = sum(core.firing for core in cores) + sum(ends) - sum(done)
    # The words of all cores come one after the other; core k starts k clocks late, and its words
    # are k clocks longer on their way.
    sent = np.sort(np.concatenate([np.array([0, *c.sent]) + 2 * k for k, c in enumerate(cores)]))
    last = int((sent + np.arange(len(sent))[::-1]).max())
    return Clocks(
        sum(core.events for core in cores) / count,
        sum(core.words for core in cores) / count,
        firing / count,
        max(ends) - sum(ends) / count,
        last + machine.barrier - max(ends),
    )
