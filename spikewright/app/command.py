"""What every command is: a function of its options, for the package and for the command line."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from spikewright.app.fields import Options
from spikewright.progress import Report, silent

__all__ = ["Result", "command"]

Result = Mapping[str, Any]
"""What a command gives, and prints with ``--json``."""

R = TypeVar("R")


def command(kind: type[Options]) -> Callable[[Callable[[Any, str, Report], R]], Callable[..., R]]:
    """Make of a function of options, origin and progress what a user calls.

    That takes the fields of `kind` by place or name, and further `command`, what the report names
    as the origin of its figures, and `progress`. It raises SpikewrightError for values out of
    bounds.
    """

    def make(run: Callable[[Any, str, Report], R]) -> Callable[..., R]:
        def call(
            *values: Any,
            command: str = f"spikewright.{run.__name__}(...)",
            progress: Report = silent,
            **options: Any,
        ) -> R:
            return run(kind(*values, **options), command, progress)

        call.__name__, call.__doc__, call.__module__ = run.__name__, run.__doc__, run.__module__
        call.__signature__ = inspect.signature(kind)  # type: ignore[attr-defined]
        return call

    return make
