"""How a long task says what it is doing; who shows it, and how, is another's business."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["Report", "silent"]

Report = Callable[[str, float | None], None]
"""Called with what is being done and the finished share of it, 0..1, or None if unknown."""


def silent(label: str, done: float | None) -> None:
    """Shows nothing."""
