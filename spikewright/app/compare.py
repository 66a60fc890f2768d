"""Results of several evaluations on one page."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from spikewright.app.builds import check_parent
from spikewright.app.command import Result, command
from spikewright.app.options import Compare
from spikewright.app.printing import percent, table
from spikewright.errors import SpikewrightError
from spikewright.files import check_file, write_text
from spikewright.progress import Report
from spikewright.reports import comparison
from spikewright.reports.comparison import shown_in_tables, t_of
from spikewright.reports.page import render_comparison

__all__ = ["compare", "show"]


@command(Compare)
def compare(options: Compare, command: str, progress: Report) -> dict[str, Any]:
    """Write the page `out` of several results that :func:`evaluate` saved; its facts are returned.

    :func:`spikewright.reports.comparison.compare` has what they hold, and what it refuses.
    """
    page, results = Path(options.out), options.results
    check_parent(page)
    if not results:
        raise SpikewrightError("compare: no results; give files of eval --save")
    for result in results:
        check_file(result)
    if any(page.resolve() == Path(result).resolve() for result in results):
        raise SpikewrightError(f"{page}: is one of the results; choose another name for the page")
    facts = comparison.compare(results) | {"page": os.fspath(page)}
    write_text(page, render_comparison(facts))
    return facts


def show(facts: Result) -> None:
    """Every point of every curve."""
    header = (
        *("method", "bits", "T", "ANN", "float SNN", "integer SNN", "spikes"),
        "synaptic operations",
    )
    for data in facts["sets"]:
        print(data["title"])
        rows = [
            (
                curve["label"],
                curve["weight_bits"],
                t_of(point),
                *(percent(point[name]) for name in ("ann", "float_snn", "integer_snn")),
                f"{point['spikes']:,.0f}",
                f"{point['synaptic_operations']:,.0f}",
            )
            for curve in data["curves"]
            for point in curve["points"]
            if shown_in_tables(point)
        ]
        print(table(header, rows))
    print(f"wrote {facts['page']}")
