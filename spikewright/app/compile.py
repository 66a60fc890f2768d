"""From a trained network to a build directory."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from spikewright.app.builds import AnyBuild, check_target, read_either, replacing
from spikewright.app.command import Result, command
from spikewright.app.data import Data, as_frames
from spikewright.app.model import input_spec as input_spec_of
from spikewright.app.model import load, need, saved_shape, saved_target
from spikewright.app.options import Compile
from spikewright.app.printing import percent, table
from spikewright.app.writing import write
from spikewright.errors import SpikewrightError
from spikewright.network import FloatNetwork, InputSpec
from spikewright.network.conversion import Conversion
from spikewright.network.frames import Frames, random_frames
from spikewright.progress import Report
from spikewright.provenance import provenance
from spikewright.records import to_builtins
from spikewright.reports.facts import summarise

if TYPE_CHECKING:
    import torch

__all__ = ["compile", "facts_of", "show"]

SAMPLE_FRAMES = 100
"""The most sample frames a build directory keeps, with what the golden model gives for them."""
RANDOM_FRAMES = 16
"""Sample frames where no data was given."""


@command(Compile)
def compile(options: Compile, command: str, progress: Report) -> AnyBuild:
    """Convert, quantise and lay out `model`, and write the build directory `out`.

    `model` is a module, a float network, or what the command line takes for one: a network that
    :func:`train` saved follows its training where nothing else is said. From Python,

    - `example_input` is one input as the module sees it, ``(1, C, H, W)``; its values do not
      matter, and where the frame is known it may be left out;
    - `conversion` and `input_spec` take the place of the options that these are made of;
    - `calib` and `data` may be arrays.

    Burst neurons are for the second machine, all others for the first.

    An existing build directory is replaced as a whole; anything else of that name is refused.
    Raises SpikewrightError for what is wrong, before anything is written.
    """
    target = check_target(options.out)
    chosen, steps, bits = _chosen(options)
    need("torch", "torch", "compiling")
    from spikewright import boards
    from spikewright.sw.passes.pipeline import Plan, run_passes

    board = None if options.board == boards.NONE else boards.get(options.board)
    network = _network(options, chosen, progress)
    sample = _sample(options.data, network.input, steps)
    calib = None if options.calib is None else as_frames(options.calib, network.input, steps=steps)
    plan = Plan(
        steps=steps,
        conversion=chosen if network.converted else chosen.suited(network, steps),
        weight_bits=bits,
        per_channel=not options.per_layer,
        images=None if calib is None else calib.x,
        percentile=options.percentile,
        channelwise=options.channelwise,
        calibrate=options.calibrate,
        cores=options.cores,
        lanes=options.lanes,
        fire_units=options.fire_units,
        device=board.fpga if board else None,
        sample=None if options.data is None else sample.x,
    )
    with _noted() as notes:
        lowered = run_passes(network, plan, progress)
    if board is not None and lowered.mapping is not None:
        board.check(lowered.mapping.shape)
    about = provenance(command) | {
        "board": options.board,
        "conversion": to_builtins(plan.conversion),
        "calibration": None if calib is None else calib.source,
        "percentile": options.percentile or plan.conversion.percentile,
        "channelwise": options.channelwise,
        "calibrated": options.calibrate,
        "scales": "per layer" if options.per_layer else "per output channel",
        "sample": sample.source,
        "passes": lowered.records,
        "warnings": notes,
    }
    with replacing(target) as directory:
        write(directory, target.name, lowered, about, sample, progress)
    return read_either(target)


def _chosen(options: Compile) -> tuple[Conversion, int, int]:
    """Conversion, T and bits: as given, else as trained."""
    trained = saved_target(options.model)
    chosen = options.conversion or _conversion(options, trained.get("conversion"))
    steps = options.steps or trained.get("steps", 8)
    chosen.check_steps(steps)
    if options.calibrate and options.calib is None:
        raise SpikewrightError("calibrate: needs images to calibrate on; give some (--calib)")
    return chosen, steps, options.bits or trained.get("bits", 8)


def _conversion(options: Compile, trained: Conversion | None) -> Conversion:
    """The choices given, and where no neuron is, those that the model was `trained` for."""
    names = {name: name for name in Conversion.__dataclass_fields__} | {"seed": "code_seed"}
    given = {choice: getattr(options, name) for choice, name in names.items()}
    chosen = {choice: value for choice, value in given.items() if value is not None}
    if trained is not None and chosen.get("neuron") in (None, trained.neuron.value):
        # What was trained may well be exact, which own choices need not be.
        exact = trained.exact and not chosen.keys() - {"neuron"}
        chosen = to_builtins(trained) | {"exact": exact} | chosen
    elif trained is not None:
        chosen = {"readout": trained.readout} | chosen
    return Conversion.named(**chosen)


def _network(options: Compile, conversion: Conversion, progress: Report) -> FloatNetwork:
    """The float network, with the input code of the conversion."""
    from spikewright.sw.frontend.trace import trace

    progress("loading the model", None)
    model = options.model
    if isinstance(model, str | os.PathLike):
        model = load(model, weights=options.weights, trust=options.trust)
    if not isinstance(model, FloatNetwork):
        progress("tracing the network", None)
        example, spec = options.example_input, options.input_spec
        if spec is None and options.input_shape is not None:
            spec = _frame(options)
        if example is None:
            spec = spec or _frame(options)
            example = _example(spec)
        model = trace(model, example, input_spec=spec)
    if not model.converted:
        coded = replace(model.input, code=conversion.code, seed=conversion.seed)
        return replace(model, input=coded)
    if conversion != Conversion():
        raise SpikewrightError(
            "compile: the network is converted already, its neurons and input code are fixed; "
            "give one that is not, or no choices"
        )
    return model


def _frame(options: Compile) -> InputSpec:
    shape = options.input_shape or saved_shape(options.model)
    if shape is None:
        named = (
            f"{options.model}: does not say" if isinstance(options.model, str) else "compile: say"
        )
        raise SpikewrightError(f"{named} what it takes; give --input-shape C,H,W")
    bits = options.input_bits or (1 if options.code == "events" else 8)
    return input_spec_of(shape, bits=bits, mean=options.mean, std=options.std)


def _example(spec: InputSpec) -> torch.Tensor:
    """A noisy frame as the module sees it."""
    import torch

    scale, mean = (np.array(values)[:, None, None] for values in (spec.scale, spec.mean))
    return torch.from_numpy(((random_frames(spec, 1).x - mean) * scale).astype(np.float32))


def _sample(data: Data | None, spec: InputSpec, steps: int) -> Frames:
    if data is None:
        return random_frames(spec, RANDOM_FRAMES, steps=steps)
    return as_frames(data, spec, steps=steps).head(SAMPLE_FRAMES)


@contextmanager
def _noted() -> Iterator[list[str]]:
    """The texts of our warnings, once the block is left; all are given on."""
    notes: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield notes
    for warning in caught:
        if warning.category.__module__.startswith("spikewright."):
            notes.append(str(warning.message))
        warnings.warn(warning.message, stacklevel=4)


# ------------------------------------------------------------------------------ what is printed


def facts_of(build: AnyBuild) -> dict[str, Any]:
    """The facts of its report."""
    return summarise(build, build.directory.resolve().name)


def show(facts: Result) -> None:
    """Layers, neurons, hardware."""
    build, hardware = facts["build"], facts["hardware"]
    rows = [
        (
            layer["name"],
            "x".join(map(str, layer["shape"])),
            f"{layer['weights']:,}",
            f"{layer['bits']}",
            percent(layer["weight_error"]),
            f"{layer['threshold'][0]:,}..{layer['threshold'][1]:,}" if layer["threshold"] else "-",
            "-" if layer["spike_rate"] is None else f"{layer['spike_rate']:.3f}",
        )
        for layer in facts["layers"]
    ]
    header = ("layer", "shape", "weights", "bits", "rms error", "threshold", "spike rate")
    print(table(header, rows))
    for name in ("neurons", "code", "time", "output"):
        print(f"{name + ':':9}{build['model'][name]}")
    if facts["machine"] is not None:
        print(f"machine:  {facts['machine']['reason']}")
    print(
        f"T={build['input_steps']}, {hardware['cores']} x {hardware['lanes']} lanes, "
        f"{hardware['membrane_bits']}-bit membranes, {facts['memory_bits'] / 8192:.1f} KiB of "
        f"memory, for {'no board' if build['board'] == 'none' else build['board']}"
    )
    print(f"wrote {build['directory']}")
