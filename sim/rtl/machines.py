"""Machines in Verilator: images in, what their lanes decided, outputs and clocks out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from spikewright.errors import SpikewrightError
from spikewright.hw.link.top import generate
from spikewright.machine.blocks import Machine
from spikewright.machine.memories import Images, make_images
from spikewright.machine.schedule import Schedule
from spikewright.network import Ints, Network
from spikewright.sim.golden import model as golden
from spikewright.sim.golden.model import Golden, GoldenResult
from spikewright.sim.interpreter import LayerTrace, outputs, traces
from spikewright.sim.rtl.compare import Mismatch, first_mismatch, first_output_mismatch
from spikewright.sim.rtl.decisions import decisions, layout
from spikewright.sim.rtl.session import answers, load_requests, session
from spikewright.sim.rtl.verilator import (
    OPTIMISATION,
    VerilatorSimulator,
    build_simulator,
    randomised,
)

__all__ = ["MachineRun", "build_machine", "difference", "first_difference", "run_machine"]


@dataclass(frozen=True)
class MachineRun:
    """What N images gave.

    - `outputs`: ``(N, C * H * W)``; `classes`, `clocks`: ``(N,)``
    - `traces`: of each image, every layer; empty without trace
    - `loading_clocks`: from the reset to the answer to the last word loaded
    """

    outputs: Ints
    classes: Ints
    clocks: Ints
    traces: list[list[LayerTrace]]
    loading_clocks: int


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
    if len(found) != len(frames):
        raise SpikewrightError(f"simulation: {len(found)} of {len(frames)} runs were answered")
    decided = decisions(schedule, epoch.trace, len(frames)) if traced else []
    return MachineRun(
        np.array([outputs(schedule, answer.outputs) for answer in found]),
        np.array([answer.label for answer in found]),
        np.array([answer.clocks for answer in found]),
        [traces(schedule, layers) for layers in decided],
        epoch.reply_clocks[sum(1 for _ in load_requests(schedule, images)) - 1],
    )


def difference(
    schedule: Schedule, frames: npt.NDArray[np.uint8], run: MachineRun, *, traced: bool
) -> Mismatch | None:
    """The first difference of `run` from the golden model."""
    return first_difference(
        schedule.network, Golden(schedule.network).run(frames, trace=traced), run
    )


def first_difference(network: Network, expected: GoldenResult, run: MachineRun) -> Mismatch | None:
    """The first difference of `run`; a state comes before the output that follows from it.

    Neurons that no reader needs (what pooling drops) are computed by the golden model alone.
    """
    if expected.trace is not None and run.traces:
        made = [
            _as_golden(wanted, [layers[index] for layers in run.traces])
            for index, wanted in enumerate(expected.trace)
        ]
        found = first_mismatch(expected.trace, made)
        if found is not None:
            return found
    return first_output_mismatch(
        network,
        (expected.potentials.reshape(len(run.outputs), -1), expected.classes),
        (run.outputs, run.classes),
    )


def _as_golden(wanted: golden.LayerTrace, images: Sequence[LayerTrace]) -> golden.LayerTrace:
    """One layer of all images; what was not computed is as it is `wanted`."""

    def states(name: str) -> Ints:
        computed = np.stack([image.times == 1 for image in images])[:, None]
        values = np.stack([getattr(image, name) for image in images])
        return np.where(computed, values, getattr(wanted, name))

    return replace(wanted, spikes=states("spikes"), membranes=states("membranes"))
