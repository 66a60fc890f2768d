"""What compile writes: images, Verilog and its description, and what the golden model expects."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from spikewright.app.builds import AnyBuild, write_report
from spikewright.files import write_npz
from spikewright.machine import builds, images
from spikewright.network.frames import Frames
from spikewright.progress import Report
from spikewright.reports.facts import EXPECTED

if TYPE_CHECKING:
    from spikewright.sw.passes.machines import Chosen
    from spikewright.sw.passes.pipeline import Lowered

__all__ = ["write"]


def write(
    directory: Path,
    name: str,
    lowered: Lowered,
    about: dict[str, Any],
    sample: Frames,
    progress: Report,
) -> None:
    """Fill the empty `directory` of a build that will be called `name`."""
    from spikewright.sim.rtl.sources import TOP, TRACED_TOP

    progress("generating Verilog", None)
    plain, traced, described = _hardware(lowered)
    files = {TOP: plain, TRACED_TOP: traced, "top.json": json.dumps(described, indent=1) + "\n"}
    build: AnyBuild
    if lowered.chosen is not None:
        (schedule,) = lowered.chosen.schedules
        build = builds.write_build(
            directory,
            schedule,
            float_network=lowered.real,
            about=about | {"machine": _predicted(lowered.chosen)},
            files=files,
        )
    else:
        assert lowered.mapping is not None
        build = images.write_build(
            directory,
            lowered.integer,
            lowered.mapping,
            float_network=lowered.real,
            about=about,
            files=files,
        )
    progress("running the golden model", None)
    _write_expected(build, sample)
    write_report(build, name)


def _hardware(lowered: Lowered) -> tuple[str, str, dict[str, Any]]:
    """The Verilog without and with trace, and what it is."""
    if lowered.chosen is not None:
        from spikewright.hw.link.top import describe as describe_machine
        from spikewright.hw.link.top import generate

        machine = lowered.chosen.machine
        plain, traced = (generate(machine, traced=traced) for traced in (False, True))
        return plain, traced, describe_machine(machine)
    from spikewright.hw.top import describe
    from spikewright.sim.rtl.sources import Sources

    assert lowered.mapping is not None
    shape = lowered.mapping.shape
    sources = Sources.generated(shape)
    return sources.read(False).text, sources.read(True).text, describe(shape)


def _predicted(chosen: Chosen) -> dict[str, Any]:
    """Why it is this machine, and the clocks of each layer by cause."""
    return {"reason": chosen.reason, "clocks": [asdict(layer) for layer in chosen.layers[0]]}


def _write_expected(build: AnyBuild, sample: Frames) -> None:
    from spikewright.sim.golden.model import Golden

    result = Golden(build.network).run(sample.x)
    arrays: dict[str, npt.NDArray[Any]] = {}
    arrays |= {"x": sample.x, "potentials": result.potentials, "classes": result.classes}
    if sample.y is not None:
        arrays["y"] = sample.y
    firing = [layer.name for layer in build.network.layers if layer.neuron.fires]
    for name, counts in zip(firing, result.spike_counts, strict=True):
        most = int(counts.max(initial=0))
        arrays[f"spikes.{name}"] = counts.astype(np.min_scalar_type(most))
    write_npz(build.directory / EXPECTED, arrays)
