"""What is known about a build, gathered from its directory: the contents of ``report.json``."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from spikewright.errors import SpikewrightError
from spikewright.files import read_npz
from spikewright.network import INPUT, InputCode, Layer, Network
from spikewright.records import SCHEMA, to_builtins
from spikewright.reports.description import describe
from spikewright.reports.machines import AnyBuild, hardware, memory_facts, second_machine
from spikewright.reports.results import RESULTS, read_result
from spikewright.sim.golden.model import Golden, GoldenResult
from spikewright.sw.passes.quantise import quantisation_error

__all__ = ["EXPECTED", "clocks", "expected", "summarise"]

EXPECTED = "expected.npz"
EVAL, VERIFY, SYNTH = (f"{command}.json" for command in RESULTS)

RASTER_ROWS = 32
"""The most neurons of a layer that the raster shows."""

ACTIVITIES = ("integrate", "scan", "initialise", "idle", "stalled")


def expected(build: AnyBuild) -> dict[str, npt.NDArray[Any]] | None:
    """The sample frames of a build and what the golden model gave for them, if it has any.

    Raises SpikewrightError for a file that holds anything else.
    """
    path = build.directory / EXPECTED
    if not path.exists():
        return None
    sample = read_npz(path)
    frames = sample.get("x", np.zeros(0)).shape
    rows = {sample[name].shape[:1] for name in ("potentials", "classes") if name in sample}
    rows |= {sample["y"].shape} if "y" in sample else set()
    if len(frames) != 4 or not frames[0] or "potentials" not in sample or rows != {frames[:1]}:
        raise SpikewrightError(
            f"{path}: does not hold sample frames and their potentials; delete it, or compile again"
        )
    return sample


def summarise(build: AnyBuild, name: str) -> dict[str, Any]:
    """All facts of `build`, shown as `name`, as plain JSON; what was not obtained is None."""
    network = build.network
    results = {command: _stored(build, command) for command in RESULTS}
    sample = expected(build)
    run = None if sample is None else Golden(network).run(sample["x"])
    memories = memory_facts(build)
    return {
        "schema": SCHEMA,
        "kind": "report",
        "build": {
            "name": name,
            "directory": str(build.directory),
            "board": build.about.get("board"),
            "input": list(network.input.shape),
            "steps": network.steps,
            "input_steps": network.input_steps,
            "model": describe(network),
            "weight_bits": network.weight_bits,
            "about": _about(build.about),
        },
        "hardware": hardware(build),
        "machine": second_machine(build),
        "layers": _layers(build, run),
        "memories": memories,
        "memory_bits": sum(m["bits"] for m in memories),
        "sample": None if sample is None or run is None else _sample(build, sample, run),
        "raster": None if sample is None else _raster(network, sample),
        **results,
        "clocks": None if results["verify"] is None else clocks(results["verify"]),
        "latency": _latency(build, results["verify"], results["synth"]),
    }


def _about(about: dict[str, Any]) -> dict[str, Any]:
    """What a build says of itself; it is free, so that all which the page shows may be missing."""
    kinds = {"command": str, "date": str, "calibration": str, "versions": dict, "warnings": list}
    return about | {
        name: about[name] if isinstance(about.get(name), kind) else kind()
        for name, kind in kinds.items()
    }


def _stored(build: AnyBuild, command: str) -> dict[str, Any] | None:
    path = build.directory / f"{command}.json"
    return read_result(path, command) if os.path.lexists(path) else None


# ------------------------------------------------------------------------------------------- layers


def _layers(build: AnyBuild, run: GoldenResult | None) -> list[dict[str, Any]]:
    network, real = build.network, build.float_network
    errors = {} if real is None else quantisation_error(real, network)
    rates = _rates(network, run)
    rows = []
    for index, layer in enumerate(network.layers):
        low, high = network.ranges.layers[index].potential
        error = errors.get(layer.name, {})
        rows.append(
            {
                "name": layer.name,
                "kind": layer.kind,
                "neuron": to_builtins(layer.neuron),
                "shape": list(layer.shape),
                "synapses": [_synapse(network, layer, i) for i in range(len(layer.synapses))],
                "neurons": int(np.prod(layer.shape)),
                "weights": sum(s.weight.size for s in layer.synapses),
                "bits": max(int(np.abs(s.weight).max()).bit_length() for s in layer.synapses) + 1,
                "threshold": [int(layer.threshold.min()), int(layer.threshold.max())]
                if layer.neuron.fires
                else None,
                "fraction_bits": min(s.shift for s in layer.synapses),
                "potential_range": [int(low.min()), int(high.max())],
                "weight_error": error.get("weight_rms"),
                "threshold_error": error.get("threshold") if layer.neuron.fires else None,
                "bias_error": error.get("bias"),
                "spike_rate": rates.get(layer.name),
                "events": _mean(run.events[index]) if run else None,
                "synaptic_operations": _mean(run.synaptic_operations[index]) if run else None,
                "scan_operations": run.scan_operations[index] if run else None,
            }
        )
    return rows


def _mean(values: npt.NDArray[np.int64]) -> float:
    return round(float(values.mean()), 1)


def _rates(network: Network, run: GoldenResult | None) -> dict[str, float]:
    """Spikes of an average neuron in an average step, for each layer that fires."""
    if run is None:
        return {}
    firing = [layer.name for layer in network.layers if layer.neuron.fires]
    return {
        name: float(counts.mean()) / network.steps
        for name, counts in zip(firing, run.spike_counts, strict=True)
    }


def _synapse(network: Network, layer: Layer, index: int) -> dict[str, Any]:
    synapse = layer.synapses[index]
    source = "input" if synapse.source == INPUT else network.layers[synapse.source].name
    return {
        "source": source,
        "kernel": list(synapse.weight.shape[2:]),
        "stride": list(synapse.stride),
        "padding": list(synapse.padding),
        "pool": list(synapse.pool.size),
        "pool_kind": synapse.pool.kind.value,
    }


# ------------------------------------------------------------------------------------ sample frames


def _sample(build: AnyBuild, sample: Mapping[str, Any], run: GoldenResult) -> dict[str, Any]:
    correct = None
    if "y" in sample:
        correct = float((run.classes == sample["y"]).mean())
    return {
        "source": build.about.get("sample"),
        "images": len(sample["x"]),
        "integer_snn": correct,
        "spikes": round(sum(float(c.sum()) for c in run.spike_counts) / len(sample["x"]), 1),
        "synaptic_operations": round(sum(_mean(o) for o in run.synaptic_operations), 1),
        "reproduced": bool(np.array_equal(run.potentials, sample["potentials"])),
    }


def _raster(network: Network, sample: Mapping[str, Any]) -> dict[str, Any]:
    """Spikes of the first sample frame, step by step, of some neurons that fire in each layer."""
    frame = sample["x"][:1]
    run = Golden(network).run(frame, trace=True)
    layers = []
    for layer, trace in zip(network.layers, run.trace or (), strict=True):
        if not layer.neuron.fires:
            continue
        spikes = _sent(layer, trace.spikes[0].reshape(network.steps, -1))
        active = np.flatnonzero(spikes.any(0))
        chosen = active[np.linspace(0, len(active) - 1, min(RASTER_ROWS, len(active)), dtype=int)]
        layers.append(
            {
                "name": layer.name,
                "neurons": spikes.shape[1],
                "active": len(active),
                "rows": [
                    {"neuron": int(n), "steps": (np.flatnonzero(spikes[:, n]) + 1).tolist()}
                    for n in chosen
                ],
            }
        )
    pixels, peak = frame[0], network.input.maximum
    if network.input.code is InputCode.EVENTS:
        peak = network.input_steps
        pixels = pixels.reshape(peak, *network.input.shape).sum(0)
    return {
        "pixels": pixels.tolist(),
        "peak": peak,
        "label": int(sample["y"][0]) if "y" in sample else None,
        "class": int(run.classes[0]),
        "potentials": run.potentials[0].tolist(),
        "layers": layers,
    }


def _sent(layer: Layer, spikes: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Spikes ``(T, neurons)`` as they are sent: a TSC number n as a pair, in the layer's window."""
    if not layer.neuron.codes:
        return spikes
    number = spikes[-1]
    steps = np.arange(len(spikes))[:, None]
    return (number > 0) & ((steps == 0) | (steps == number))


# ------------------------------------------------------------------------------------------- clocks


def clocks(verified: Mapping[str, Any]) -> dict[str, Any] | None:
    """Clocks of an average image in simulation, what they were spent on, and both utilisations.

    None where nothing was counted. The utilisations are those of
    :class:`~spikewright.sim.rtl.verify.VerifyReport`.
    """
    counted = verified.get("activity")
    if not counted:
        return None
    total = sum(counted.values())
    return {
        **verified["clocks"],
        "shares": {name: counted.get(name, 0) / total for name in ACTIVITIES},
        "word_utilisation": verified["word_utilisation"],
        "lane_utilisation": verified["lane_utilisation"],
    }


def _latency(
    build: AnyBuild, verified: Mapping[str, Any] | None, synthesised: Mapping[str, Any] | None
) -> dict[str, Any] | None:
    """Time of an average image at the bitstream's clock, or at the board's where none was built.

    None where that is not known: before a verification, and without a board.
    """
    if verified is None:
        return None
    counted = verified["clocks"]
    if synthesised is not None:
        clock, source = float(synthesised["clock_mhz"]), "the bitstream's clock"
    else:
        from spikewright import boards

        board = build.about.get("board")
        if board not in boards.BOARDS:
            return None
        clock, source = boards.get(board).clock_mhz, "the board's clock, not built yet"
    return {
        "clock_mhz": clock,
        "clock_source": source,
        "microseconds": counted["mean"] / clock,
        "images_per_second": clock * 1e6 / counted["mean"],
    }
