"""The decisions of every neuron model, as functions of whole arrays of neurons.

Potentials U, thresholds and what they give are arrays of integers in any number type that holds
them exactly; arrays of one function broadcast against each other. :mod:`.neuron` has the
formulas in words, `docs/neurons.md` their sources.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from spikewright.network.neuron import SMAX, Digits, Negative, NeuronSpec, Reset, Rounding, Tie

__all__ = [
    "burst_spikes",
    "coded_number",
    "fire",
    "greatest_power",
    "max_pool_spikes",
    "rounding_spikes",
    "step_spikes",
    "switched",
]

Numbers = npt.NDArray[Any]
Bools = npt.NDArray[np.bool_]

_POWERS = np.array([1 << n.bit_length() >> 1 for n in range(SMAX + 1)], np.int8)


def greatest_power(n: Numbers) -> npt.NDArray[np.int8]:
    """``sign(n) * 2**floor(log2(abs(n)))``, 0 for 0, of integers in +-`SMAX` (HPC's A)."""
    power: npt.NDArray[np.int8] = np.sign(n).astype(np.int8) * _POWERS[np.abs(n)]
    return power


def fire(
    spec: NeuronSpec,
    membrane: Numbers,
    threshold: Numbers,
    count: Numbers | None,
    *,
    final: bool,
    most: int,
) -> Numbers:
    """What neurons of any model but max-pool send in a step, or in the final one.

    `membrane` holds U and becomes V, in place, as does `count` (see
    :meth:`~spikewright.network.Network.counts`) if there is one. `most` is the greatest number that
    a TSC pair can enclose.
    """
    if not spec.fires or (spec.codes and not final):
        return np.zeros(membrane.shape, np.int8)
    if spec.switches:
        before = _given(count)
        active, state = switched(spec, membrane, threshold, before)
        spikes = active.view(np.int8) - (before == 1)
        membrane -= active * threshold
        before[...] = state
        return spikes
    if spec.codes:
        spikes = coded_number(spec, membrane, threshold, most)
    elif final and spec.rounding is not Rounding.NONE:
        membrane += threshold // 2
        spikes = rounding_spikes(spec, membrane, threshold, count)
    elif spec.levels is not None:
        membrane += threshold // 2
        spikes = burst_spikes(membrane, threshold, spec.levels)
    else:
        spikes = step_spikes(spec, membrane, threshold, count)
    if spec.reset is Reset.ZERO:
        membrane[spikes != 0] = 0
    else:
        membrane -= spikes * threshold
    if count is not None:
        count += spikes
    return spikes


def step_spikes(
    spec: NeuronSpec, potential: Numbers, threshold: Numbers, count: Numbers | None
) -> Numbers:
    """n of an ordinary step of IF, HPC, QFFS and Ca-LIF neurons.

    Upwards n is the number of multiples ``1 .. smax`` of the threshold that U reaches, downwards
    of ``0 .. 1 - smax`` that it is below, or of ``-1 .. -smax`` that it reaches. `count` is y
    before the step; only neurons with a gate or `zmax` read it.
    """
    multiples = range(1, spec.smax + 1)
    fires = spec.tie is Tie.FIRES
    n = _passed(
        np.greater_equal if fires else np.greater, potential, (k * threshold for k in multiples)
    )
    if spec.zmax is not None:
        n = np.minimum(n, spec.zmax - _given(count)).astype(np.int8)
    if spec.negative is not Negative.NONE:
        if spec.negative is Negative.BELOW_ZERO:
            back = _passed(np.less, potential, ((1 - k) * threshold for k in multiples))
        else:
            compare = np.less_equal if fires else np.less
            back = _passed(compare, potential, (-k * threshold for k in multiples))
        if spec.gated:
            back = np.minimum(back, _given(count)).astype(np.int8)
        n = n - back
    return greatest_power(n) if spec.digits is Digits.POWER and spec.smax > 1 else n


def rounding_spikes(
    spec: NeuronSpec, potential: Numbers, threshold: Numbers, count: Numbers | None
) -> Numbers:
    """n of the rounding phase, from U that holds half a threshold already (Ca-LIF Eq. 3c).

    ``floor(U / threshold)``, within what the count allows; Rounding.ONE: at most one spike.
    """
    n = _integers(potential) // _integers(threshold)
    if spec.zmax is not None:
        n = np.minimum(n, spec.zmax - _given(count))
    if spec.gated:
        n = np.maximum(n, -_given(count))
    return np.clip(n, -1, 1) if spec.rounding is Rounding.ONE else n


def burst_spikes(potential: Numbers, threshold: Numbers, levels: int) -> Numbers:
    """n of burst neurons, ``clip(floor(U / threshold), 0, levels)``, where U holds half a threshold
    already: ``floor(U / threshold + 1/2)`` of the U before, for odd thresholds too.
    """
    return np.clip(_integers(potential) // _integers(threshold), 0, levels)


def coded_number(spec: NeuronSpec, potential: Numbers, threshold: Numbers, most: int) -> Numbers:
    """The number 0..`most` that a TSC neuron sends as a pair after its window."""
    reached = _integers(potential) - (spec.tie is Tie.HOLDS)
    return np.clip(reached // _integers(threshold), 0, most)


def switched(
    spec: NeuronSpec, potential: Numbers, threshold: Numbers, state: Numbers
) -> tuple[Bools, Numbers]:
    """Which overlapped TSC neurons are active, and their new states (TSC Eq. 5, 6).

    A state is 0: never active, 1: active, 2: has ceased, for ever (with the latch; without, 0).
    """
    compare = np.greater_equal if spec.tie is Tie.FIRES else np.greater
    active: Bools = compare(potential, threshold)
    if not spec.latch:
        return active, active.astype(state.dtype)
    active &= state != 2
    return active, np.where(active, 1, np.where(state == 1, 2, state)).astype(state.dtype)


def max_pool_spikes(spec: NeuronSpec, change: Numbers, *, final: bool) -> Numbers:
    """n of max-pool neurons whose greatest count differs by `change` from what they sent."""
    return change if final else np.clip(change, -spec.smax, spec.smax)


def _passed(
    compare: Callable[[Numbers, Numbers], Bools], potential: Numbers, limits: Iterable[Numbers]
) -> npt.NDArray[np.int8]:
    """How many of `limits` each potential passes."""
    first, *others = limits
    passed = compare(potential, first).view(np.int8)
    for limit in others:
        passed += compare(potential, limit)
    return passed


def _given(count: Numbers | None) -> Numbers:
    if count is None:
        raise ValueError("a gate or Zmax needs the count")
    return count


def _integers(values: Numbers) -> npt.NDArray[np.int64]:
    return values.astype(np.int64, copy=False)
