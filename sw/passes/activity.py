"""What every source of a network sends for sample frames: the bits that cost clocks.

The golden model runs them; where there are no frames, a density of set bits stands in.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

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

    def values(self, source: int, pool: Pair) -> Ints:
        """Sums of the windows of `pool`; what is left over is dropped."""
        return self._cached(("values", source, pool), lambda: _sums(self.sent[source], pool))

    def planes(self, source: int, pool: Pair, planes: int) -> Ints:
        """Digit planes ``(frames, steps, planes, C, H, W)``, the heaviest first."""

        def make() -> Ints:
            digits = np.arange(planes)[::-1].reshape(-1, 1, 1, 1)
            return self.values(source, pool)[:, :, None] >> digits & 1

        return self._cached(("planes", source, pool, planes), make)

    def areas(self, source: int, pool: Pair, planes: int) -> Ints:
        """Set bits of all channels above and left of a place: ``(frames, steps, planes, y, x)``.

        The set bits of a rectangle are four of these.
        """

        def make() -> Ints:
            bits = self.planes(source, pool, planes).sum(3).cumsum(3).cumsum(4)
            return np.pad(bits, [(0, 0)] * 3 + [(1, 0)] * 2)

        return self._cached(("areas", source, pool, planes), make)

    def runs(self, source: int, pool: Pair, planes: int, pitch: int) -> Ints:
        """Set bits left of a place in a row, ``(frames, steps, planes, blocks, y, x)``; blocks of
        `pitch` channels."""

        def make() -> Ints:
            bits = self.planes(source, pool, planes)
            starts = np.arange(0, bits.shape[3], pitch)
            blocks = np.add.reduceat(bits, starts, axis=3).cumsum(5)
            return np.pad(blocks, [(0, 0)] * 5 + [(1, 0)])

        return self._cached(("runs", source, pool, planes, pitch), make)

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
