"""What can be targeted."""

from __future__ import annotations

from typing import Any

from spikewright.app.command import Result, command
from spikewright.app.options import Boards
from spikewright.app.printing import table
from spikewright.progress import Report

__all__ = ["boards", "show"]


@command(Boards)
def boards(options: Boards, command: str, progress: Report) -> dict[str, Any]:
    """Name, device and clock of each board."""
    from spikewright.boards import all_boards

    return {"boards": [board.to_json() for board in all_boards()]}


def show(result: Result) -> None:
    """A line a board."""
    rows = [
        (board["name"], board["device"], f"{board['clock_mhz']:g} MHz", board["title"])
        for board in result["boards"]
    ]
    print(table(("board", "device", "clock", "what it is"), rows, left=4))
