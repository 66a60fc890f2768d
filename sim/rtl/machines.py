"""Machines in Verilator: images in, what their lanes decided, outputs and clocks out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from spikewright.hw.link.top import generate
from spikewright.machine.blocks import Machine
from spikewright.machine.memories import Images, make_images
from spikewright.machine.schedule import Schedule
from spikewright.network import Ints
from spikewright.sim.golden.model import Golden
from spikewright.sim.interpreter import LayerTrace, outputs, traces
from spikewright.sim.rtl.decisions import decisions, layout
from spikewright.sim.rtl.session import answers, session
from spikewright.sim.rtl.verilator import (
    OPTIMISATION,
    VerilatorSimulator,
    build_simulator,
    randomised,
)

__all__ = ["MachineRun", "build_machine", "difference", "run_machine"]


@dataclass(frozen=True)
class MachineRun:
    """What N images gave.

    - `outputs`: ``(N, C * H * W)``; `classes`, `clocks`: ``(N,)``
    - `reply_clocks`: the clock of each answer's last byte, counted from the reset
    - `traces`: of each image, every layer; empty without trace
    """

    outputs: Ints
    classes: Ints
    clocks: Ints
    traces: list[list[LayerTrace]]


def build_machine(
    machine: Machine,
    cache: Path,
    *,
    traced: bool,
    verilog: str | None = None,
    optimisation: str = OPTIMISATION,
) -> VerilatorSimulator:
    """A simulator of `machine`, of `verilog` or what is generated; `cache` keeps it."""
    text = generate(machine, traced=traced) if verilog is None else verilog
    bits = machine.cores * sum(layout(machine).values())
    return build_simulator(
        randomised(text),
        machine.cores,
        cache,
        trace_bits=bits if traced else None,
        trace_waits=False,
        optimisation=optimisation,
    )


def run_machine(
    simulator: VerilatorSimulator,
    schedule: Schedule,
    frames: npt.NDArray[np.uint8],
    *,
    traced: bool,
    images: Images | None = None,
    stalls: float = 0.0,
    seed: int = 0,
    patience: int = 100_000,
) -> MachineRun:
    """Run `frames` ``(N, C, H, W)`` on a machine loaded with `images`, or the schedule's own.

    Raises SpikewrightError for a request that is refused, decisions in a wrong order, and a machine
    that stands still for `patience` clocks.
    """
    images = make_images(schedule) if images is None else images
    (epoch,) = simulator.run(
        session(schedule, images, frames),
        trace=traced,
        stalls=stalls,
        seed=seed,
        patience=patience,
    )
    found = answers(schedule, epoch)
    decided = decisions(schedule, epoch.trace, len(frames)) if traced else []
    return MachineRun(
        np.array([outputs(schedule, answer.outputs) for answer in found]),
        np.array([answer.label for answer in found]),
        np.array([answer.clocks for answer in found]),
        [traces(schedule, layers) for layers in decided],
    )


def difference(
    schedule: Schedule, frames: npt.NDArray[np.uint8], run: MachineRun, *, traced: bool
) -> str | None:
    """The first difference from the golden model, or None: what, where, expected and got."""
    golden = Golden(schedule.network).run(frames, trace=traced)
    for number, layers in enumerate(run.traces):
        assert golden.trace is not None
        for made, wanted in zip(layers, golden.trace, strict=True):
            for what in ("spikes", "membranes"):
                place = _first(getattr(wanted, what)[number], getattr(made, what), made.times == 1)
                if place is not None:
                    t, c, y, x = place
                    expected, got = getattr(wanted, what)[number][place], getattr(made, what)[place]
                    return (
                        f"image {number}, layer {made.name}, channel {c}, y {y}, x {x}, step {t}: "
                        f"{what} {got}, expected {expected}"
                    )
    pairs: Sequence[tuple[str, Ints, Ints]] = (
        ("outputs", golden.potentials.reshape(len(frames), -1), run.outputs),
        ("class", golden.classes, run.classes),
    )
    for what, wanted_all, made_all in pairs:
        if wanted_all.shape != made_all.shape:
            return f"{what}: {made_all.shape} came, {wanted_all.shape} expected"
        bad = np.argwhere(wanted_all != made_all)
        if len(bad):
            place = tuple(bad[0])
            return f"image {place[0]}: {what} {made_all[place]}, expected {wanted_all[place]}"
    return None


def _first(wanted: Ints, made: Ints, there: npt.NDArray[np.bool_]) -> tuple[int, ...] | None:
    bad = np.argwhere((wanted != made) & there)
    return tuple(map(int, bad[0])) if len(bad) else None
