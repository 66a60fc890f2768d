"""Accuracy, spikes and synaptic operations of a network on labelled images, step by step."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from spikewright.network import FloatNetwork, InputCode, Network
from spikewright.network.frames import Frames
from spikewright.network.neuron import NeuronModel
from spikewright.progress import Report, silent
from spikewright.sim.golden.model import Golden, GoldenResult

__all__ = ["measure", "serves_shorter"]

_BATCH = 500

_COURSE = ("float_snn", "integer_snn", "spikes", "synaptic_operations")
"""What is known after every step."""

_TIMELESS = (NeuronModel.IF, NeuronModel.MAX_POOL, NeuronModel.INTEGRATOR)


def serves_shorter(network: Network) -> bool:
    """Whether one run serves every shorter one: no neuron's numbers depend on T, nor the input's.

    These are IF neurons with a direct frame. Compiled for the shorter T, the integers would differ
    in the rounding of their biases only.
    """
    timeless = all(layer.neuron.model in _TIMELESS for layer in network.layers)
    return timeless and network.input.code is InputCode.DIRECT


def measure(
    network: Network,
    real: FloatNetwork,
    frames: Frames,
    *,
    fitted: bool = False,
    progress: Report = silent,
) -> dict[str, Any]:
    """Run the ANN and the float SNN of `real` and the integer SNN `network` on labelled `frames`.

    A network `fitted` to its T (:mod:`.calibrate`) answers no shorter one. Shares of
    images are 0..1, numbers of spikes and operations are means an image:

    - `accuracy`: of `ann`, and of `float_snn` and `integer_snn` after their last step.
    - `prefixes`: :func:`serves_shorter`, unless fitted.
    - `by_T`: for each T that is answered (up to the network's, if prefixes; else that alone): `T`,
      `float_snn`, `integer_snn`, `spikes`, `synaptic_operations`.
    - `over_time`: the same after each step of this run. Without prefixes its values before the last
      are no result of any network.
    - `same_class`: share where float and integer SNN agree; `ties`: where outputs tie.
    - `spikes`, `synaptic_operations`: of the whole run; `neurons`: those that fire;
      `spikes_per_neuron`: mean; `most_spikes`: of any neuron in any image.
    - `deviates`: TSC neurons have sent more than the two spikes of their paper.
    - `seconds`, `images_per_second`: of each part, on this machine.
    """
    from spikewright.sim.float import ann, snn

    assert frames.y is not None
    golden = Golden(network)
    driven, settle = network.input_steps, network.ordinary_steps - network.input_steps
    seconds = dict.fromkeys(("ann", "float_snn", "integer_snn"), 0.0)
    sums: dict[str, Any] = {}
    most = 0
    for start in range(0, len(frames), _BATCH):
        progress("evaluating", start / len(frames))
        x, labels = frames.x[start : start + _BATCH], frames.y[start : start + _BATCH]
        with _timed(seconds, "ann"):
            ann_classes = ann(real, x, steps=driven).argmax(1)
        with _timed(seconds, "float_snn"):
            float_classes = snn(real, x, driven, settle=settle).classes
        with _timed(seconds, "integer_snn"):
            outcome = golden.run(x)
        found = _found(outcome, ann_classes, float_classes, labels)
        sums = {name: sums.get(name, 0) + values.sum(0) for name, values in found.items()}
        most = max(most, *(int(counts.max()) for counts in outcome.spike_counts), 0)
    means = {name: (total / len(frames)).tolist() for name, total in sums.items()}
    for name in ("spikes", "synaptic_operations"):
        means[name] = [round(value, 2) for value in means[name]]
    course_of = {name: means[name] for name in _COURSE}
    prefixes = serves_shorter(network) and not fitted
    neurons = sum(int(np.prod(layer.shape)) for layer in network.layers if layer.neuron.fires)
    return {
        "accuracy": {
            "ann": means["ann"],
            "float_snn": means["float_snn"][-1],
            "integer_snn": means["integer_snn"][-1],
        },
        "prefixes": prefixes,
        "by_T": _by_t(course_of, driven, prefixes=prefixes),
        "over_time": course_of,
        "same_class": means["same_class"],
        "ties": means["ties"],
        "spikes": means["spikes"][-1],
        "synaptic_operations": means["synaptic_operations"][-1],
        "neurons": neurons,
        "spikes_per_neuron": round(means["spikes"][-1] / neurons, 4) if neurons else 0.0,
        "most_spikes": most,
        "deviates": most > 2 and any(layer.neuron.sends_pairs for layer in network.layers),
        "seconds": {name: round(spent, 2) for name, spent in seconds.items()},
        "images_per_second": {
            name: round(len(frames) / spent, 1) for name, spent in seconds.items() if spent > 0
        },
    }


def _found(
    outcome: GoldenResult, ann_classes: Any, float_classes: Any, labels: Any
) -> dict[str, Any]:
    """What :func:`measure` adds up, for each image."""
    course = outcome.course
    greatest = outcome.potentials.max(1, keepdims=True)
    return {
        "ann": ann_classes == labels,
        "float_snn": float_classes == labels[:, None],
        "integer_snn": course.classes == labels[:, None],
        "same_class": float_classes[:, -1] == outcome.classes,
        "ties": (outcome.potentials == greatest).sum(1) > 1,
        "spikes": course.spikes,
        "synaptic_operations": course.synaptic_operations,
    }


def _by_t(
    course: Mapping[str, list[float]], last: int, *, prefixes: bool
) -> list[dict[str, float]]:
    """One row for each T: of its own step, or where only the end counts, of the last one."""
    steps = {t: t - 1 for t in range(1, last + 1)} if prefixes else {last: -1}
    return [
        {"T": t, **{name: values[step] for name, values in course.items()}}
        for t, step in steps.items()
    ]


@contextmanager
def _timed(seconds: dict[str, float], name: str) -> Iterator[None]:
    started = time.perf_counter()
    yield
    seconds[name] += time.perf_counter() - started
