"""The passes from a traced network to a mapped one, in the order in which `compile` runs them."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from spikewright.errors import SpikewrightError
from spikewright.machine.device import Device
from spikewright.machine.mapping import Mapping
from spikewright.network import FloatNetwork, Network
from spikewright.network.conversion import Conversion, exact_settle
from spikewright.progress import Report, silent
from spikewright.sw.passes.calibrate import calibrate
from spikewright.sw.passes.convert import convert
from spikewright.sw.passes.machines import Chosen
from spikewright.sw.passes.map import bursts, map_network, schedule_network
from spikewright.sw.passes.quantise import quantisation_error, quantise

__all__ = ["PASSES", "Lowered", "Pass", "Plan", "run_passes"]


@dataclass(frozen=True)
class Plan:
    """What the passes are told: the arguments of :func:`.convert`, :func:`.calibrate`,
    :func:`.quantise`, and of :func:`.map_network` or :func:`.schedule_network`.

    `images` and `sample` are uint8 frames.
    """

    steps: int
    conversion: Conversion = field(default_factory=Conversion)
    weight_bits: int = 8
    per_channel: bool = True
    images: npt.NDArray[np.uint8] | None = None
    percentile: float | None = None
    channelwise: bool = False
    calibrate: bool = False
    cores: int | None = None
    lanes: int | None = None
    fire_units: int | None = None
    device: Device | None = None
    sample: npt.NDArray[np.uint8] | None = None


@dataclass
class Lowered:
    """What the passes have made so far of a `traced` network, and a record of each that ran.

    The last is a mapping on the first machine, or a second machine, `chosen` for the network.
    """

    traced: FloatNetwork
    real: FloatNetwork
    integer: Network = field(init=False)
    mapping: Mapping | None = None
    chosen: Chosen | None = None
    records: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class Pass:
    """One step: `run` adds its result and says what it did, or gives None if it has nothing to do.

    `purpose` is one line for the report.
    """

    name: str
    purpose: str
    run: Callable[[Lowered, Plan], str | None]


def _convert(state: Lowered, plan: Plan) -> str | None:
    if state.real.converted:
        return None
    state.real = convert(
        state.real,
        plan.conversion,
        steps=plan.steps,
        calibration=plan.images,
        percentile=plan.percentile,
        channelwise=plan.channelwise,
    )
    models = [layer.neuron.model.value for layer in state.real.layers if layer.neuron]
    return ", ".join(f"{models.count(one)} x {one}" for one in dict.fromkeys(models))


def _calibrate(state: Lowered, plan: Plan) -> str | None:
    if not plan.calibrate or plan.images is None:
        return None
    before = state.real.layers
    state.real = calibrate(state.real, plan.images, plan.steps)
    pairs = zip(before, state.real.layers, strict=True)
    shares = [
        b.threshold / a.threshold
        for a, b in pairs
        if a.threshold is not None and b.threshold is not None
    ]
    every = np.concatenate(shares) if shares else np.ones(1)
    return f"thresholds times {every.min():.2g}..{every.max():.2g}"


def _quantise(state: Lowered, plan: Plan) -> str:
    if state.traced.converted:
        settle = exact_settle(state.real, plan.steps)
    else:
        settle = plan.conversion.settle_steps(state.real, plan.steps)
    state.integer = quantise(
        state.real,
        steps=plan.steps,
        settle=settle,
        weight_bits=plan.weight_bits,
        per_channel=plan.per_channel,
    )
    errors = [e["weight_rms"] for e in quantisation_error(state.real, state.integer).values()]
    return (
        f"{plan.weight_bits}-bit weights, rms error up to {max(errors):.2%}, "
        f"{state.integer.ranges.membrane_bits}-bit membranes"
    )


def _map(state: Lowered, plan: Plan) -> str:
    if bursts(state.integer):
        state.chosen = schedule_network(
            state.integer,
            plan.device,
            cores=plan.cores,
            lanes=plan.lanes,
            fire_units=plan.fire_units,
            frames=plan.sample,
        )
        return state.chosen.reason
    if plan.fire_units is not None:
        raise SpikewrightError("mapping: fire units are the second machine's, for burst neurons")
    state.mapping = map_network(state.integer, cores=plan.cores or 1, lanes=plan.lanes or 16)
    shape = state.mapping.shape
    bits = sum(memory.words * memory.width for memory in shape.loadable())
    return f"{shape.cores} x {shape.lanes} lanes, {bits / 8192:.1f} KiB of images"


PASSES = (
    Pass("convert", "a neuron, a threshold and V(0) for every layer", _convert),
    Pass("calibrate", "thresholds and V(0) fitted to the ANN on images", _calibrate),
    Pass("quantise", "integer weights, thresholds and biases", _quantise),
    Pass("map", "channels on cores, a place for every word", _map),
)


def run_passes(network: FloatNetwork, plan: Plan, progress: Report = silent) -> Lowered:
    """Run :data:`PASSES` on `network`; raises SpikewrightError as they do.

    The records have `name`, `purpose`, `seconds`, and `did`, what it did in one line; a pass that
    had nothing to do has none.
    """
    state = Lowered(network, network)
    for one in PASSES:
        progress(f"pass: {one.name}", None)
        began = time.monotonic()
        did = one.run(state, plan)
        seconds = round(time.monotonic() - began, 3)
        if did is not None:
            record = {"name": one.name, "purpose": one.purpose, "seconds": seconds, "did": did}
            state.records.append(record)
    return state
