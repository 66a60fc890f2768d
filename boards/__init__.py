"""Boards: one file each, from platform and clock to pins and programmer."""

from __future__ import annotations

from spikewright.boards.board import Board
from spikewright.boards.ulx3s import ULX3S_85F
from spikewright.errors import SpikewrightError

__all__ = ["BOARDS", "NONE", "Board", "all_boards", "get"]

NONE = "none"
"""Stands for no board: Verilog for another flow, which nothing limits."""

BOARDS: dict[str, Board] = {board.name: board for board in (ULX3S_85F,)}


def all_boards() -> tuple[Board, ...]:
    """The boards, in the order of the documentation."""
    return tuple(BOARDS.values())


def get(name: str) -> Board:
    """The board of that name; raises SpikewrightError."""
    if name not in BOARDS:
        raise SpikewrightError(f"board {name!r} is not known; choose {', '.join(BOARDS)} or {NONE}")
    return BOARDS[name]
