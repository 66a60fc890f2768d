"""Numbers as the pages write them."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["by", "number", "percent", "points", "span"]


def percent(share: float | None, digits: int = 2) -> str:
    """A share as a percentage; a dash for None."""
    return "-" if share is None else f"{100 * share:.{digits}f} %"


def number(value: float | None, digits: int = 0) -> str:
    """With thousands parted; a dash for None."""
    return "-" if value is None else f"{value:,.{digits}f}"


def by(sizes: Iterable[int]) -> str:
    """A shape, such as 3×3."""
    return "×".join(map(str, sizes))


def span(pair: Iterable[int]) -> str:
    """The least and the greatest value, once where they are equal."""
    return " … ".join(f"{value:,}" for value in dict.fromkeys(pair))


def points(difference: float) -> str:
    """A difference of shares, in percentage points."""
    return f"{100 * difference:+.2f}"
