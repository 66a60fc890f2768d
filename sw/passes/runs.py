"""Deals a row of words to cores, as runs or in turn, and what the slowest core takes."""

from __future__ import annotations

from bisect import bisect_right

import numpy as np

from spikewright.network import Ints

__all__ = ["cut", "in_turn", "slowest"]

_HALVINGS = 8


def cut(clocks: Ints, shares: int) -> tuple[int, ...]:
    """Where `shares` runs of words end, given the clocks of each ``(frames, words)``.

    The mean of all frames is cut best, but for a last part in 2 to the power of `_HALVINGS`.
    """
    words = clocks.shape[1]
    if min(shares, words) == 1:
        return (words,) * shares
    each = clocks.sum(0)
    ends, most = [0, *each.cumsum().tolist()], int(each.max())
    low = max(ends[-1] / shares, most)
    high = low + most  # greedy runs of this bound are never too many
    best = _greedy(ends, shares, high)
    for _ in range(_HALVINGS):
        bound = (low + high) / 2
        found = _greedy(ends, shares, bound)
        if found[-1] == words:
            best, high = found, bound
        else:
            low = bound
    return best


def in_turn(clocks: Ints, shares: int) -> float:
    """Clocks of the slowest of `shares` that take words in turn, the mean of all frames."""
    padded = np.pad(clocks, [(0, 0), (0, -clocks.shape[1] % shares)])
    return float(padded.reshape(len(clocks), -1, shares).sum(1).max(1).mean())


def slowest(clocks: Ints, cuts: tuple[int, ...]) -> float:
    """Clocks of the slowest run, the mean of all frames."""
    ends = np.zeros((len(clocks), clocks.shape[1] + 1), np.int64)
    np.cumsum(clocks, 1, out=ends[:, 1:])
    return float(np.diff(ends[:, (0, *cuts)], axis=1).max(1).mean())


def _greedy(ends: list[int], shares: int, bound: float) -> tuple[int, ...]:
    """Runs of at most `bound`, each as long as it can be."""
    cuts, at = [], 0
    for _ in range(shares):
        at = bisect_right(ends, ends[at] + bound) - 1
        cuts.append(at)
    return tuple(cuts)
