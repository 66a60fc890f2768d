"""Block memories as every part of the accelerator uses them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from amaranth.hdl import ShapeLike
from amaranth.lib.memory import Memory

__all__ = ["make_memory"]


def make_memory(shape: ShapeLike, depth: int, init: Iterable[Any] = ()) -> Memory:
    """A synchronous memory of `depth` rows of `shape`, with no logic against collisions.

    Reading a row in the clock in which it is written gives an undefined value: the user must not
    use it. (The attribute saves Yosys from building a bypass around every block RAM.) Rows beyond
    `init` are zero. Ports are requested from the result as from any
    :class:`~amaranth.lib.memory.Memory`; a depth of 1 becomes 2, because a memory without address
    bits does not map to a block RAM.
    """
    if depth < 1:
        raise ValueError(f"a memory needs at least one row, not {depth!r}")
    rows = list(init)
    if len(rows) > depth:
        raise ValueError(f"{len(rows)} initial rows do not fit a memory of {depth}")
    attributes: dict[str, Any] = {"no_rw_check": 1}
    return Memory(shape=shape, depth=max(2, depth), init=rows, attrs=attributes)
