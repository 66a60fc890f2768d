"""Texts that several commands print."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

from spikewright.app.command import Result

__all__ = ["percent", "print_model", "print_page", "table"]


def percent(share: float) -> str:
    """`share` of 1 in per cent."""
    return f"{100 * share:.2f} %"


def table(header: Sequence[str], rows: Iterable[Sequence[object]], left: int = 1) -> str:
    """Columns of text; all but the first `left` are aligned to the right."""
    cells = [list(header), *([str(cell) for cell in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = (
        [
            c.ljust(w) if i < left else c.rjust(w)
            for i, (c, w) in enumerate(zip(row, widths, strict=True))
        ]
        for row in cells
    )
    return "\n".join("  ".join(line).rstrip() for line in lines)


def print_model(model: Result) -> None:
    """The neurons and the code in one line."""
    print(f"neurons: {model['neurons']}; code: {model['code']}")


def print_page(facts: Result) -> None:
    """Where the report is."""
    print(f"wrote {os.path.join(facts['build']['directory'], 'report.html')}")
