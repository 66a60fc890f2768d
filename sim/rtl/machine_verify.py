"""Golden model against the second machine, both from the files of a build."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from spikewright.errors import SpikewrightError
from spikewright.machine.builds import Build
from spikewright.machine.schedule import LayerSchedule, Schedule
from spikewright.progress import Report, silent
from spikewright.sim.golden.model import Golden
from spikewright.sim.rtl.compare import Mismatch
from spikewright.sim.rtl.machines import MachineRun, build_machine, first_difference, run_machine
from spikewright.sim.rtl.sources import Sources
from spikewright.sim.rtl.verify import BRIEF as BRIEF_CLOCKS
from spikewright.sim.rtl.verify import VerifyReport, cache_of, portions
from spikewright.sim.rtl.verilator import BRIEF, OPTIMISATION, VerilatorSimulator

__all__ = ["patience", "verify_machine"]

_PLANES = 16
"""No number has more digit planes."""


def verify_machine(
    build: Build,
    frames: npt.NDArray[np.uint8],
    *,
    trace_images: int = 10,
    hardware: Build | None = None,
    stalls: float = 0.0,
    seed: int = 0,
    progress: Report = silent,
) -> VerifyReport:
    """Compare hardware and golden model on `frames`, uint8 ``(N, C, H, W)`` with N >= 1.

    As :func:`spikewright.sim.rtl.verify.verify`: the golden model is `build.network`, made from the
    image files alone; the hardware is the Verilog of `hardware`, or of the build itself, loaded
    with its images. Outputs, classes and clocks come from the plain top, membranes and spikes of
    the first `trace_images` from the one with the trace. `stalls` is the probability that the
    host's streams wait in a clock, `seed` draws it and the initial state. Raises SpikewrightError
    for a missing tool, bad frames, or hardware that does not keep to its protocol.
    """
    schedule, loaded = build.schedule, build if hardware is None else hardware
    golden = Golden(build.network)
    traced = min(trace_images, len(frames))
    runs = [run for run in portions(len(frames), traced) if traced or not run[2]]
    clocks = patience(schedule)
    parts: list[MachineRun] = []
    mismatch: Mismatch | None = None
    with cache_of(build.directory) as cache:
        for done, (first, last, states) in enumerate(runs):
            progress("verify: verilator", done / len(runs))
            part = frames[first:last]
            expected = golden.run(part, trace=states)
            brief = (traced if states else len(frames)) * clocks < BRIEF_CLOCKS
            got = run_machine(
                _simulator(loaded, cache, traced=states, brief=brief),
                schedule,
                part,
                traced=states,
                images=loaded.images,
                stalls=stalls,
                seed=seed + first,
                patience=round(clocks / (1 - stalls)),
            )
            found = first_difference(build.network, expected, got)
            if found is not None and mismatch is None:
                mismatch = replace(found, image=found.image + first)
            if not states:
                parts.append(got)
    machine = schedule.machine
    return VerifyReport(
        backend="verilator",
        images=len(frames),
        traced=traced,
        mismatch=mismatch,
        clocks=np.concatenate([part.clocks for part in parts]),
        activity=None,
        lane_updates=None,
        lanes=machine.cores * machine.lanes.count,
        loading_clocks=parts[0].loading_clocks,
    )


def patience(schedule: Schedule) -> int:
    """Clocks in which any image must be done, above what it takes if all bits of all maps are set.

    It takes as long as an image's only reply.
    """
    return 100_000 + 2 * sum(map(_most, schedule.layers))


def _most(layer: LayerSchedule) -> int:
    machine = layer.machine
    rows = sum(layer.field(layer.readings[one.reading]).rows for one in layer.passes)
    gap = machine.gap(layer.slots * layer.placement.positions, _PLANES)
    item = layer.network.steps * (rows + gap + 16 * len(layer.passes))
    most = max(sum(1 for _ in layer.items(core)) for core in range(machine.cores))
    return most * (item + machine.walker.fetch * machine.walker.sources)


def _simulator(build: Build, cache: Path, *, traced: bool, brief: bool) -> VerilatorSimulator:
    source = Sources.of(build).read(traced)
    try:
        return build_machine(
            build.schedule.machine,
            cache,
            traced=traced,
            verilog=source.text,
            optimisation=BRIEF if brief else OPTIMISATION,
        )
    except SpikewrightError as error:
        raise SpikewrightError(f"{source.where}: {error}") from None
