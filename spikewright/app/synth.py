"""Synthesis, place and route for the board of a build."""

from __future__ import annotations

from typing import Any

from spikewright.app.builds import open_build, store
from spikewright.app.command import Result, command
from spikewright.app.options import BOARD, Synth
from spikewright.app.printing import percent, table
from spikewright.errors import SpikewrightError
from spikewright.machine.images import Build
from spikewright.progress import Report
from spikewright.provenance import provenance
from spikewright.reports.facts import SYNTH

__all__ = ["show", "synth"]


@command(Synth)
def synth(options: Synth, command: str, progress: Report) -> dict[str, Any]:
    """Synthesise, place and route for the build's board; resources and Fmax go into ``synth.json``.

    `clock` is the wanted clock in MHz,
    the board's own where None; `seed` is nextpnr's. A design that does not fit or misses its clock
    raises SpikewrightError and leaves no bitstream.
    """
    from spikewright import boards
    from spikewright.boards.synth import synthesise

    checked = open_build(options.build)
    if not isinstance(checked, Build):
        raise SpikewrightError(
            f"{checked.directory}: is for the second machine, whose boards come next; until then "
            "give its top.v to the tools of yours"
        )
    name = checked.about.get("board", BOARD)
    if name == boards.NONE:
        raise SpikewrightError(
            f"{checked.directory}: is for no board; give its top.v and .mem files to the tools of "
            f"yours, or compile it for one of {', '.join(boards.BOARDS)}"
        )
    outcome = synthesise(
        boards.get(name),
        checked.mapping.shape,
        {name: image.words for name, image in checked.images.items()},
        checked.directory,
        clock_hz=None if options.clock is None else options.clock * 1e6,
        seed=options.seed,
        progress=progress,
    )
    result = {**outcome.to_json(), "about": provenance(command)}
    store(checked, SYNTH, result)
    return result


def show(result: Result) -> None:
    """Resources and the clock."""
    rows = [
        (name, f"{entry['used']:,}", f"{entry['available']:,}", percent(entry["share"]))
        for name, entry in result["resources"].items()
    ]
    print(table(("resource", "used", "available", "share"), rows))
    print(f"clock {result['clock_mhz']:g} MHz, Fmax {result['fmax_mhz']:.1f} MHz")
    print(f"wrote {result['bitstream']}")
