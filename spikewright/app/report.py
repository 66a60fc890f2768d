"""The report of a build, written again."""

from __future__ import annotations

from typing import Any

from spikewright.app.builds import open_build, write_report
from spikewright.app.command import command
from spikewright.app.evaluate import evaluate
from spikewright.app.options import Report
from spikewright.app.printing import print_page as show
from spikewright.errors import SpikewrightError
from spikewright.progress import Report as Progress

__all__ = ["report", "show"]


@command(Report)
def report(options: Report, command: str, progress: Progress) -> dict[str, Any]:
    """Render ``report.html`` and ``report.json``, which is returned, from what the build holds.

    With `data`, what :func:`evaluate` takes from `data_dir`, the build is evaluated first. Raises
    SpikewrightError for a build or images that cannot be used.
    """
    build = open_build(options.build)
    if options.data is not None:
        data, folder = options.data, options.data_dir
        evaluate(build, data, data_dir=folder, command=command, progress=progress)
    elif options.data_dir is not None:
        raise SpikewrightError("report: data_dir is where data is read from; name it with --data")
    progress("writing the report", None)
    return write_report(build)
