"""Immutable arrays of checked numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from spikewright.errors import SpikewrightError

__all__ = ["Floats", "Ints", "finite", "frozen", "integers"]

GREATEST_INTEGER = 2**62
GREATEST_REAL = 1e30
"""The greatest magnitudes; sums of what lies beyond could overflow."""

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


def frozen(array: Any, dtype: Any) -> Any:
    """A read-only copy of `array` as `dtype`."""
    result = np.array(array, dtype=dtype)
    result.setflags(write=False)
    return result


def integers(array: Any, where: str) -> Ints:
    """A frozen array of integers; raises SpikewrightError for others, and beyond +-2**62."""
    raw = _numbers(array, where)
    if raw.size and not np.array_equal(raw, np.rint(np.asarray(raw, dtype=np.float64))):
        raise SpikewrightError(f"{where}: holds values that are not integers; quantise first")
    _bounded(raw, GREATEST_INTEGER, where)
    return frozen(raw, np.int64)


def finite(array: Any, where: str) -> Floats:
    """A frozen array of real numbers; raises SpikewrightError for others, and beyond +-1e30."""
    result = frozen(_numbers(array, where), np.float64)
    bad = ~np.isfinite(result)
    if bad.any():
        place = tuple(int(i) for i in np.argwhere(bad)[0])
        raise SpikewrightError(
            f"{where}: {int(bad.sum())} value(s) are NaN or infinite, the first at index {place}; "
            "retrain or repair the weights"
        )
    _bounded(result, GREATEST_REAL, where)
    return result


def _numbers(array: Any, where: str) -> npt.NDArray[Any]:
    raw = np.asarray(array)
    if raw.dtype.kind not in "iuf" and raw.size:
        raise SpikewrightError(f"{where}: holds {raw.dtype} values; real numbers are needed")
    return raw


def _bounded(array: npt.NDArray[Any], limit: float, where: str) -> None:
    if array.size and not -limit <= array.min() <= array.max() <= limit:
        raise SpikewrightError(f"{where}: a value lies outside +-{limit:g}; rescale the network")
