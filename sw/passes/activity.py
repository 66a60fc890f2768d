"""What every source of a network sends for sample frames: the bits that cost clocks.

The golden model runs them; where there are no frames, a density of set bits stands in.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from spikewright.machine.maps import Map
from spikewright.network import INPUT, Ints, Network
from spikewright.network.geometry import Pair
from spikewright.sim.golden.model import Golden

__all__ = ["DENSITY", "Activity", "assumed", "observed"]

DENSITY = 0.25
"""Share of set bits where no frame says it."""


class Activity:
    """Numbers ``(frames, steps, C, H, W)`` that each source sends; the frame has one step.

    `cache` is for what others work out from them; it lives as long as the activity.
    """

    def __init__(self, sent: dict[int, Ints]) -> None:
        self.sent = sent
        self.cache: dict[Any, Any] = {}

    @property
    def frames(self) -> int:
        """How many frames."""
        return len(self.sent[INPUT])

    def first(self, frames: int) -> Activity:
        """Of the first `frames` frames alone."""
        return Activity({source: sent[:frames] for source, sent in self.sent.items()})

    def planes(self, source: int, made: Map) -> Ints:
        """Digit planes ``(frames, steps, planes, C, y, x)`` of a map, the heaviest first."""

        def make() -> Ints:
            sums = _sums(self.sent[source], made.pool)
            margin = (made.height - sums.shape[3]) // 2
            sums = np.pad(sums, [*[(0, 0)] * 3, (margin, margin), (0, 0)])
            digits = np.arange(made.planes)[::-1].reshape(-1, 1, 1, 1)
            return sums[:, :, None] >> digits & 1

        return self._cached(("planes", source, made.pool, made.planes, made.height), make)

    def areas(self, source: int, made: Map) -> Ints:
        """Set bits of all channels above and left of a place: ``(frames, steps, planes, y, x)``.

        The set bits of a rectangle are four of these.
        """

        def make() -> Ints:
            bits = self.planes(source, made).sum(3).cumsum(3).cumsum(4)
            return np.pad(bits, [(0, 0)] * 3 + [(1, 0)] * 2)

        return self._cached(("areas", source, made.pool, made.planes, made.height), make)

    def runs(self, source: int, made: Map) -> Ints:
        """Set bits left of a place in a row, ``(frames, steps, planes, blocks, y, x)``."""

        def make() -> Ints:
            bits = self.planes(source, made)
            starts = np.arange(0, bits.shape[3], made.pitch)
            blocks = np.add.reduceat(bits, starts, axis=3).cumsum(5)
            return np.pad(blocks, [(0, 0)] * 5 + [(1, 0)])

        key = ("runs", source, made.pool, made.planes, made.height, made.pitch)
        return self._cached(key, make)

    def _cached(self, key: Any, make: Any) -> Ints:
        if key not in self.cache:
            self.cache[key] = make()
        found: Ints = self.cache[key]
        return found


def observed(network: Network, frames: npt.NDArray[np.uint8]) -> Activity:
    """What `network` sends for `frames` ``(N, C, H, W)``."""
    trace = Golden(network).run(frames, trace=True).trace or ()
    sent = {index: np.asarray(layer.spikes, np.int64) for index, layer in enumerate(trace)}
    return Activity({INPUT: np.asarray(frames, np.int64)[:, None], **sent})


def assumed(network: Network, density: float = DENSITY) -> Activity:
    """Numbers of which every bit is set with probability `density`; one frame."""
    rng = np.random.default_rng(0)

    def draw(most: int, *shape: int) -> Ints:
        bits = rng.random((max(1, most.bit_length()), *shape)) < density
        weights = 1 << np.arange(len(bits)).reshape(-1, *(1,) * len(shape))
        return np.minimum((bits * weights).sum(0), most)

    sent = {INPUT: draw((1 << network.input.bits) - 1, 1, 1, *network.input.shape)}
    for index, layer in enumerate(network.layers):
        most = network.ranges.layers[index].spikes[1] if layer.neuron.fires else 0
        sent[index] = draw(most, 1, network.steps, *layer.shape)
    return Activity(sent)


def _sums(values: Ints, pool: Pair) -> Ints:
    (ph, pw), (h, w) = pool, values.shape[-2:]
    if pool == (1, 1):
        return values
    cut = values[..., : h // ph * ph, : w // pw * pw]
    result: Ints = cut.reshape(*values.shape[:-2], h // ph, ph, w // pw, pw).sum((-3, -1))
    return result
