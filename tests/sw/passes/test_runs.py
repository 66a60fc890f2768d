"""Words dealt to cores: against every way to cut them, and against a loop."""

from itertools import combinations_with_replacement

import numpy as np
import pytest

from spikewright.sw.passes.runs import cut, in_turn, slowest


def every_cut(words, shares):
    return [(*ends, words) for ends in combinations_with_replacement(range(words + 1), shares - 1)]


@pytest.mark.parametrize("seed", range(12))
def test_no_cut_is_better(seed):
    rng = np.random.default_rng(seed)
    words, shares = int(rng.integers(1, 9)), int(rng.integers(1, 5))
    clocks = rng.integers(0, 100, (1, words))
    cuts = cut(clocks, shares)
    assert len(cuts) == shares
    assert cuts[-1] == words
    assert list(cuts) == sorted(cuts)
    best = min(slowest(clocks, one) for one in every_cut(words, shares))
    assert best <= slowest(clocks, cuts) <= best + clocks.max() / 100 + 1


def test_the_slowest_core_of_each_frame_counts():
    clocks = np.array([[1, 2, 3, 4, 5], [5, 4, 3, 2, 1]])
    assert slowest(clocks, (2, 5)) == (12 + 9) / 2
    assert in_turn(clocks, 2) == (9 + 9) / 2
    assert in_turn(clocks, 7) == 5
