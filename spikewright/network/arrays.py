"""Immutable arrays of checked numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from spikewright.errors import SpikewrightError

__all__ = ["Floats", "Ints", "finite", "frozen", "integers"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


def frozen(array: Any, dtype: Any) -> Any:
    result = np.array(array, dtype=dtype)
    result.setflags(write=False)
    return result


def integers(array: Any, where: str) -> Ints:
    raw = np.asarray(array)
    if raw.size and not np.array_equal(raw, np.rint(np.asarray(raw, dtype=np.float64))):
        raise SpikewrightError(f"{where}: holds values that are not integers; quantise first")
    return frozen(raw, np.int64)


def finite(array: Any, where: str) -> Floats:
    result = frozen(array, np.float64)
    bad = ~np.isfinite(result)
    if bad.any():
        place = tuple(int(i) for i in np.argwhere(bad)[0])
        raise SpikewrightError(
            f"{where}: {int(bad.sum())} value(s) are NaN or infinite, the first at index {place}; "
            "retrain or repair the weights"
        )
    return result
