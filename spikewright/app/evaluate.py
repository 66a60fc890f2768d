"""Accuracy of a build, and what it costs."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

from spikewright.app.builds import AnyBuild, check_parent, open_build, store
from spikewright.app.command import Result, command
from spikewright.app.data import as_frames
from spikewright.app.model import need
from spikewright.app.options import Evaluate
from spikewright.app.printing import percent, print_model, table
from spikewright.errors import SpikewrightError
from spikewright.files import write_text
from spikewright.network import InputCode
from spikewright.network.frames import Frames
from spikewright.progress import Report
from spikewright.provenance import provenance
from spikewright.records import SCHEMA
from spikewright.reports.description import describe
from spikewright.reports.facts import EVAL

__all__ = ["evaluate", "show"]


@command(Evaluate)
def evaluate(options: Evaluate, command: str, progress: Report) -> dict[str, Any]:
    """Accuracy of ANN, float SNN and integer SNN on labelled images, and what it costs.

    `data` is an ``.npz`` file with `x` and `y`, or a data set by name, whose test split is read
    from `data_dir`. Everything comes
    from the build directory, which keeps the float network. The result goes into ``eval.json``, and
    into the file `save`, and is returned: :func:`~spikewright.sim.evaluation.measure` has its
    figures. Raises SpikewrightError for a build or images that cannot be used.
    """
    need("torch", "torch", "evaluating the ANN and the float SNN")
    from spikewright.sim.evaluation import measure

    checked = open_build(options.build)
    network, real = checked.network, checked.float_network
    if real is None:
        raise SpikewrightError(
            f"{checked.directory}: keeps no float network; compile it again to evaluate it"
        )
    if options.save is not None:
        check_parent(Path(options.save))
    frames = _labelled(checked, options)
    model = describe(network)
    random = network.input.code is InputCode.BERNOULLI
    calibrated = bool(checked.about.get("calibrated"))
    result = {
        "schema": SCHEMA,
        "kind": "eval",
        "label": options.label or re.split("[,;]", model["neurons"])[0],
        "frames": frames.source,
        "images": len(frames),
        "steps": network.steps,
        "input_steps": network.input_steps,
        "weight_bits": network.weight_bits,
        "model": model,
        **measure(network, real, frames, fitted=calibrated, progress=progress),
        "seed": network.input.seed if random else None,
        "compile": checked.about,
        "about": provenance(command),
    }
    store(checked, EVAL, result)
    if options.save is not None:
        write_text(options.save, json.dumps(result, indent=1) + "\n")
    return result


def _labelled(build: AnyBuild, options: Evaluate) -> Frames:
    """The images, with labels that the network has."""
    network = build.network
    frames = as_frames(
        options.data, network.input, steps=network.input_steps, directory=options.data_dir
    )
    if options.images is not None:
        frames = frames.head(options.images)
    if frames.y is None:
        raise SpikewrightError(f"{frames.source}: has no array y; accuracy needs labels")
    classes = math.prod(network.layers[-1].shape)
    if not 0 <= frames.y.min() <= frames.y.max() < classes:
        raise SpikewrightError(
            f"{frames.source}: labels are {frames.y.min()}..{frames.y.max()}; the network has "
            f"classes 0..{classes - 1}"
        )
    return frames


def show(result: Result) -> None:
    """Accuracy over time and of the three stages, and the spikes."""
    accuracy, speed = result["accuracy"], result["images_per_second"]
    names = {"ann": "ANN", "float_snn": "float SNN", "integer_snn": "integer SNN"}
    rows = [
        (label, percent(accuracy[name]), f"{speed[name]:,.0f}" if name in speed else "-")
        for name, label in names.items()
    ]
    print(f"{result['images']:,} images ({result['frames']}), T={result['input_steps']}")
    _show_over_time(result)
    print(table(("", "accuracy", "images/s"), rows))
    print(
        f"integer SNN: {result['spikes']:,.0f} spikes an image, "
        f"{result['spikes_per_neuron']:.2f} a neuron, {result['most_spikes']} at most of a neuron, "
        f"{percent(result['ties'])} ties for the greatest output"
    )
    if result["deviates"]:
        print("deviating: TSC promises two spikes a neuron; use a window per layer, or the latch")
    print_model(result["model"])


def _show_over_time(result: Result) -> None:
    """After the steps that are powers of two, and after the last."""
    course, steps = result["over_time"], result["steps"]
    shown = [t for t in range(1, steps) if t.bit_count() == 1] + [steps]
    rows = [
        (
            t,
            percent(course["float_snn"][t - 1]),
            percent(course["integer_snn"][t - 1]),
            f"{course['spikes'][t - 1]:,.0f}",
            f"{course['synaptic_operations'][t - 1]:,.0f}",
        )
        for t in shown
    ]
    header = ("t", "float SNN", "integer SNN", "spikes", "synaptic operations")
    print(table(header, rows, left=0))
    if not result["prefixes"] and steps > 1:
        print(f"only step {steps} is a result: compile for another T to know what it gives")
