"""The report and the comparison as self-contained HTML pages, from their facts and templates."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from spikewright.reports.comparison import shown_in_tables, t_of
from spikewright.reports.notation import by, number, percent, points, span

__all__ = ["kinds", "render", "render_comparison"]

Facts = Mapping[str, Any]

TEMPLATES = Path(__file__).parent / "templates"


def render(facts: Facts) -> str:
    """The page of `facts`, as :func:`~spikewright.reports.facts.summarise` gives them."""
    return _environment().get_template("report.html.j2").render(facts)


def render_comparison(facts: Facts) -> str:
    """The page of `facts`, as :func:`~spikewright.reports.comparison.compare` gives them."""
    return _environment().get_template("comparison.html.j2").render(facts)


@cache
def _environment() -> Environment:
    from spikewright.reports import charts, drawings  # matplotlib is slow to import

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    for function in (by, kinds, number, percent, points, span):
        environment.filters[function.__name__] = function
    environment.tests |= {"shown": shown_in_tables}
    environment.globals |= {"draw": drawings, "palette": charts.PALETTE, "t_of": t_of}
    return environment


def kinds(memories: Sequence[Facts]) -> Iterable[tuple[str, list[Facts]]]:
    """Memories that differ in their number only, by their common name."""
    groups: dict[str, list[Facts]] = {}
    for memory in memories:
        groups.setdefault(re.sub(r"(_\d+)+$", "", memory["name"]), []).append(memory)
    return groups.items()
