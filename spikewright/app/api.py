"""The steps from a trained network to a verified bitstream, as functions.

Each takes and returns plain data and writes into a *build directory*; the command line does no more
than parse options and print what these functions return. Bad input raises
:class:`~spikewright.errors.SpikewrightError` before anything is written.
"""

from __future__ import annotations

import importlib.util
import json
import math
import os
import re
import shutil
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from spikewright.app.frames import Data, as_frames
from spikewright.errors import SpikewrightError
from spikewright.files import write_npz, write_text
from spikewright.machine.images import NETWORK, Build, read_build, write_build
from spikewright.network import FloatNetwork, InputCode, InputSpec
from spikewright.network.conversion import Conversion, exact_settle
from spikewright.network.frames import Frames, random_frames
from spikewright.progress import Report, silent
from spikewright.provenance import provenance
from spikewright.records import SCHEMA, to_builtins
from spikewright.reports import comparison
from spikewright.reports import facts as summary
from spikewright.reports.description import describe
from spikewright.reports.page import render, render_comparison

if TYPE_CHECKING:
    import torch

__all__ = [
    "check_target",
    "compare",
    "compile",
    "demo",
    "evaluate",
    "input_spec",
    "list_boards",
    "load",
    "report",
    "saved_shape",
    "saved_target",
    "synth",
    "train",
    "verify",
]

BOARD = "ulx3s-85f"
SAMPLE_FRAMES = 100
"""The most sample frames a build directory keeps, with what the golden model gives for them."""
RANDOM_FRAMES = 16
"""Sample frames where no data was given."""

DEMO = Path(str(files("spikewright.sw") / "demo"))


# ----------------------------------------------------------------------------------------- compile


def input_spec(
    shape: Sequence[int],
    *,
    bits: int = 8,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
) -> InputSpec:
    """The frame ``(C, H, W)`` of a network that sees ``(pixel / (2**bits - 1) - mean) / std``.

    `mean` and `std` hold one number a channel, or one for all, as for torchvision's ``Normalize``;
    without them the network sees ``pixel / (2**bits - 1)``.
    """
    if len(shape) != 3 or min(shape) < 1:
        raise SpikewrightError(f"input shape {tuple(shape)}: give channels, height, width")
    if not 1 <= bits <= 8:
        raise SpikewrightError(f"input: {bits} bits a pixel; 1 to 8 are supported")
    channels, peak = shape[0], 2**bits - 1

    def per_channel(name: str, values: Sequence[float] | None, default: float) -> list[float]:
        given = [default] if values is None else list(values)
        if len(given) not in (1, channels):
            raise SpikewrightError(
                f"{name}: {len(given)} numbers for {channels} channels; give one, or one a channel"
            )
        return given * channels if len(given) == 1 else given

    deviations = per_channel("std", std, 1.0)
    if min(deviations) <= 0:
        raise SpikewrightError(f"std: {min(deviations)} is not positive")
    return InputSpec(
        (shape[0], shape[1], shape[2]),
        bits,
        tuple(1.0 / (peak * s) for s in deviations),
        tuple(peak * m for m in per_channel("mean", mean, 0.0)),
    )


def load(
    model: str | os.PathLike[str],
    *,
    weights: str | os.PathLike[str] | None = None,
    trust: bool = False,
) -> torch.nn.Module | FloatNetwork:
    """The network that `model` names, as :mod:`spikewright.sw.models.reading` explains."""
    _need("torch", "torch", "loading a model")
    from spikewright.sw.models.reading import load_model

    path = None if weights is None else Path(weights)
    return load_model(os.fspath(model), weights=path, trust=trust)


def saved_shape(model: str | os.PathLike[str]) -> tuple[int, int, int] | None:
    """The frame ``(C, H, W)`` of a network that :func:`train` saved, None for any other model."""
    try:
        c, h, w = _saved_metadata(model)["kwargs"]["shape"]
    except (KeyError, TypeError, ValueError):
        return None
    return int(c), int(h), int(w)


def saved_target(model: str | os.PathLike[str]) -> dict[str, Any]:
    """What a network that :func:`train` saved was trained for; of any other model, nothing.

    That is arguments of :func:`compile`: the `conversion`, `steps`, and `bits` of integer weights.
    """
    metadata = _saved_metadata(model)
    record = metadata.get("training") if isinstance(metadata, dict) else None
    if record is None:
        return {}
    _need("torch", "torch", "reading a trained network")
    from spikewright.sw.training.settings import Settings

    settings = Settings.recorded(record, model)
    target: dict[str, Any] = {"conversion": settings.conversion, "steps": settings.steps}
    return target | ({"bits": settings.bits} if settings.qat else {})


def _saved_metadata(model: str | os.PathLike[str]) -> Any:
    """What :func:`train` writes beside the weights; nothing where `model` is another."""
    if Path(model).suffix != ".safetensors":
        return {}
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(os.fspath(model), framework="numpy") as file:
            return json.loads((file.metadata() or {})["spikewright"])
    except (SafetensorError, OSError, KeyError, ValueError, RecursionError):
        return {}


def compile(
    module: torch.nn.Module | FloatNetwork,
    example_input: torch.Tensor | None = None,
    *,
    conversion: Conversion | None = None,
    steps: int = 8,
    bits: int = 8,
    calib: Data | None = None,
    percentile: float | None = None,
    channelwise: bool = False,
    calibrate: bool = False,
    per_layer: bool = False,
    board: str = BOARD,
    cores: int | None = None,
    lanes: int | None = None,
    out: str | os.PathLike[str] = "out",
    input_spec: InputSpec | None = None,
    data: Data | None = None,
    command: str | None = None,
    progress: Report = silent,
) -> Build:
    """Convert, quantise and lay out `module`, and write the build directory `out`.

    - `example_input`: one input as the module sees it, ``(1, C, H, W)``; its values do not matter,
      and with `input_spec` it may be left out.
    - `conversion`: neuron, input code and all their choices, such as
      ``Conversion.named(neuron="hpc", code="isi")``. None: plain IF neurons, a direct frame.
    - `steps`: T, the time steps with input, at least 1. `bits`: of a weight, 2 to 8.
    - `calib`: images that set the thresholds of plain ReLU layers, at the `percentile` of their
      activations (99.9; TSC 100), of the layer or `channelwise`. Without them seeded noise, and a
      warning.
    - `calibrate`: then fit thresholds and V(0) of plain IF neurons to the ANN over these T steps,
      on the same images (:mod:`spikewright.sw.passes.calibrate`).
    - `per_layer`: one weight scale a layer instead of one an output channel.
    - `board`, `cores`, `lanes`: the hardware, as many as suit the board where not given; a network
      that does not fit is refused. Board "none" is Verilog for another flow, of any size.
    - `input_spec`: how pixels become inputs; 8 bits, pixel / 255 where none is given.
    - `data`: sample frames for ``expected.npz``; without them seeded random ones.
    - `command`: what the report names as the origin of its figures.

    An existing build directory is replaced; anything else of that name is refused. For a network
    that :func:`train` saved, ``compile(load(path), **saved_target(path))`` follows its training.
    """
    chosen = Conversion() if conversion is None else conversion
    _check_settings(steps, bits)
    chosen.check_steps(steps)
    if calibrate and calib is None:
        raise SpikewrightError("calibrate: needs images to calibrate on; give some (--calib)")
    target = check_target(out)
    _need("torch", "torch", "compiling")
    from spikewright import boards
    from spikewright.sw.frontend.trace import trace
    from spikewright.sw.passes.calibrate import calibrate as fitted
    from spikewright.sw.passes.convert import convert
    from spikewright.sw.passes.map import map_network
    from spikewright.sw.passes.quantise import quantise

    target_board = None if board == boards.NONE else boards.get(board)
    progress("tracing the network", None)
    if isinstance(module, FloatNetwork):
        network = module
    else:
        example = _example(input_spec) if example_input is None else example_input
        network = trace(module, example, input_spec=input_spec)
    if network.converted:
        if chosen != Conversion():
            raise SpikewrightError(
                "compile: the network is converted already, its neurons and input code are fixed; "
                "give one that is not, or no choices"
            )
        spec, settle = network.input, exact_settle(network, steps)
    else:
        spec = replace(network.input, code=chosen.code, seed=chosen.seed)
    sample = _sample(data, spec, steps)
    calibration = None if calib is None else as_frames(calib, spec, steps=steps)
    notes: list[str] = []
    if not network.converted:
        progress("setting thresholds", None)
        chosen = chosen.suited(network, steps)
        with _noted(notes):
            network = convert(
                network,
                chosen,
                steps=steps,
                calibration=None if calibration is None else calibration.x,
                percentile=percentile,
                channelwise=channelwise,
            )
        settle = chosen.settle_steps(network, steps)
    if calibrate and calibration is not None:
        progress("calibrating", None)
        network = fitted(network, calibration.x, steps)
    progress("quantising", None)
    integer = quantise(
        network, steps=steps, settle=settle, weight_bits=bits, per_channel=not per_layer
    )
    mapping = map_network(
        integer,
        cores=(target_board.cores if target_board else 1) if cores is None else cores,
        lanes=(target_board.lanes if target_board else 16) if lanes is None else lanes,
    )
    if target_board is not None:
        target_board.check(mapping.shape)

    about = provenance(command or "spikewright.compile(...)") | {
        "board": board,
        "conversion": to_builtins(chosen),
        "calibration": None if calibration is None else calibration.source,
        "percentile": chosen.percentile if percentile is None else percentile,
        "channelwise": channelwise,
        "calibrated": calibrate,
        "scales": "per layer" if per_layer else "per output channel",
        "sample": sample.source,
        "warnings": notes,
    }
    with _replacing(target) as directory:
        progress("writing memory images", None)
        build = write_build(directory, integer, mapping, float_network=network, about=about)
        progress("generating Verilog", None)
        _write_top(build)
        progress("running the golden model", None)
        _write_expected(build, sample)
        _write_report(build, target.name)
    return read_build(target)


def _check_settings(steps: int, bits: int) -> None:
    if steps < 1:
        raise SpikewrightError(f"compile: T is {steps}; at least 1 time step is needed")
    if not 2 <= bits <= 8:
        raise SpikewrightError(f"compile: {bits}-bit weights; choose 2 to 8 bits")


def _example(spec: InputSpec | None) -> torch.Tensor:
    """A noisy frame as the module sees it."""
    if spec is None:
        raise SpikewrightError("compile: a torch module needs an example_input or an input_spec")
    import torch

    scale, mean = (np.array(values)[:, None, None] for values in (spec.scale, spec.mean))
    return torch.from_numpy(((random_frames(spec, 1).x - mean) * scale).astype(np.float32))


def _sample(data: Data | None, spec: InputSpec, steps: int) -> Frames:
    if data is None:
        return random_frames(spec, RANDOM_FRAMES, steps=steps)
    return as_frames(data, spec, steps=steps).head(SAMPLE_FRAMES)


def _write_top(build: Build) -> None:
    from spikewright.hw.top import describe, generate
    from spikewright.sim.rtl.sources import TOP, TRACED_TOP

    shape = build.mapping.shape
    write_text(build.directory / TOP, generate(shape))
    write_text(build.directory / TRACED_TOP, generate(shape, trace=True))
    write_text(build.directory / "top.json", json.dumps(describe(shape), indent=1) + "\n")


def _write_expected(build: Build, sample: Frames) -> None:
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
    write_npz(build.directory / summary.EXPECTED, arrays)


# ----------------------------------------------------------------------------- verify and evaluate


def verify(
    build: Build | str | os.PathLike[str],
    *,
    images: int = 100,
    data: Data | None = None,
    sim: Literal["verilator", "pysim"] = "verilator",
    trace_images: int = 10,
    seed: int = 0,
    rtl: Build | str | os.PathLike[str] | None = None,
    command: str | None = None,
    progress: Report = silent,
) -> dict[str, Any]:
    """Run `images` frames through the golden model and through the generated hardware, and compare.

    Both sides start from the files of the build directory. Outputs of all frames must be equal, and
    of `trace_images` of them every spike and every membrane of every layer and step. The frames
    come from `data`, or else from the build's sample frames, then seeded random ones. `sim` is
    ``verilator`` or ``pysim``. The result goes into ``verify.json`` and is returned; its field
    ``equal`` says whether all was, ``mismatch`` where it first was not.

    With `rtl`, another build directory of the same hardware shape, the hardware is loaded from
    there: where do two builds part? Nothing is stored then.
    """
    if images < 1:
        raise SpikewrightError(f"verify: {images} images; at least 1 is needed")
    if trace_images < 0:
        raise SpikewrightError(f"verify: {trace_images} traced images; 0 or more are possible")
    checked = _build(build)
    loaded = None if rtl is None else _build(rtl)
    if loaded is not None and loaded.mapping.shape != checked.mapping.shape:
        raise SpikewrightError(
            f"{loaded.directory}: is for hardware of another shape than {checked.directory}; "
            "compile both with the same network shape and options"
        )
    frames = _frames_to_verify(checked, images, data, seed)
    from spikewright.sim.rtl.sources import Sources
    from spikewright.sim.rtl.verify import verify as run

    started = time.monotonic()
    outcome = run(
        checked,
        frames.x,
        backend=sim,
        trace_images=min(trace_images, len(frames)),
        images=None if loaded is None else loaded.images,
        sources=None if loaded is None else Sources.of(loaded.directory),
        progress=progress,
    )
    result = {
        **outcome.to_json(),
        "model": describe(checked.network),
        "frames": frames.source,
        "seconds": round(time.monotonic() - started, 1),
        "about": provenance(command or "spikewright.verify(...)"),
    }
    if loaded is None:
        _store(checked, summary.VERIFY, result)
    return result


def _frames_to_verify(build: Build, images: int, data: Data | None, seed: int) -> Frames:
    spec, steps = build.network.input, build.network.input_steps
    if data is not None:
        frames = as_frames(data, spec, steps=steps)
        if len(frames) < images:
            raise SpikewrightError(
                f"{frames.source}: holds {len(frames)} images, {images} were asked for"
            )
        return frames.head(images)
    kept = summary.expected(build)
    known = np.zeros((0, *build.network.frame_shape), np.uint8)
    if kept is not None and build.about.get("sample", "").find("random") < 0:
        known = kept["x"][:images]
    rest = random_frames(spec, images - len(known), seed, steps=steps)
    if not len(known):
        return rest
    source = f"{len(known)} sample frames of the build ({build.about['sample']})"
    if len(rest):
        source += f", {len(rest)} {rest.source}"
    return Frames(np.concatenate([known, rest.x]), None, source)


def evaluate(
    build: Build | str | os.PathLike[str],
    data: Data,
    *,
    data_dir: str | os.PathLike[str] | None = None,
    limit: int | None = None,
    label: str | None = None,
    save: str | os.PathLike[str] | None = None,
    command: str | None = None,
    progress: Report = silent,
) -> dict[str, Any]:
    """Accuracy of ANN, float SNN and integer SNN on labelled images, and what it costs.

    `data` is an ``.npz`` file with `x` and `y`, or a data set by name, whose test split is read
    from `data_dir`; `limit` takes only the first images. Everything comes from the build directory,
    which keeps the float network. The result goes into ``eval.json``, and into the file `save`, and
    is returned: :func:`~spikewright.sim.evaluation.measure` has its figures. `label` names it in
    comparisons, in place of its neurons.
    """
    _need("torch", "torch", "evaluating the ANN and the float SNN")
    from spikewright.sim.evaluation import measure

    checked = _build(build)
    network, real = checked.network, checked.float_network
    if real is None:
        raise SpikewrightError(
            f"{checked.directory}: keeps no float network; compile it again to evaluate it"
        )
    if save is not None:
        _check_parent(Path(save))
    frames = as_frames(data, real.input, steps=network.input_steps, directory=data_dir)
    if limit is not None:
        if limit < 1:
            raise SpikewrightError(f"eval: a limit of {limit} images; at least 1 is needed")
        frames = frames.head(limit)
    if frames.y is None:
        raise SpikewrightError(f"{frames.source}: has no array y; accuracy needs labels")
    classes = math.prod(network.layers[-1].shape)
    if not 0 <= frames.y.min() <= frames.y.max() < classes:
        raise SpikewrightError(
            f"{frames.source}: labels are {frames.y.min()}..{frames.y.max()}; the network has "
            f"classes 0..{classes - 1}"
        )
    model = describe(network)
    random = network.input.code is InputCode.BERNOULLI
    calibrated = bool(checked.about.get("calibrated"))
    result = {
        "schema": SCHEMA,
        "kind": "eval",
        "label": label or re.split("[,;]", model["neurons"])[0],
        "frames": frames.source,
        "images": len(frames),
        "steps": network.steps,
        "input_steps": network.input_steps,
        "weight_bits": network.weight_bits,
        "model": model,
        **measure(network, real, frames, fitted=calibrated, progress=progress),
        "seed": network.input.seed if random else None,
        "compile": checked.about,
        "about": provenance(command or "spikewright.evaluate(...)"),
    }
    _store(checked, summary.EVAL, result)
    if save is not None:
        write_text(save, json.dumps(result, indent=1) + "\n")
    return result


def compare(
    results: Sequence[str | os.PathLike[str]],
    out: str | os.PathLike[str] = "compare.html",
) -> dict[str, Any]:
    """Write the page `out` of several results that :func:`evaluate` saved; its facts are returned.

    :func:`spikewright.reports.comparison.compare` has what they hold.
    """
    page = Path(out)
    _check_parent(page)
    if not results:
        raise SpikewrightError("compare: no results; give files of eval --save")
    if any(page.resolve() == Path(result).resolve() for result in results):
        raise SpikewrightError(f"{page}: is one of the results; choose another name for the page")
    facts = comparison.compare(results) | {"page": os.fspath(page)}
    write_text(page, render_comparison(facts))
    return facts


# --------------------------------------------------------------------------- synth, report, boards


def synth(
    build: Build | str | os.PathLike[str],
    *,
    clock: float | None = None,
    seed: int = 1,
    command: str | None = None,
    progress: Report = silent,
) -> dict[str, Any]:
    """Synthesise, place and route for the build's board; resources and Fmax go into ``synth.json``.

    `clock` is the wanted clock in MHz, the board's own where None; `seed` is nextpnr's. A design
    that does not fit or misses its clock raises SpikewrightError and leaves no bitstream.
    """
    from spikewright import boards
    from spikewright.boards.synth import synthesise

    checked = _build(build)
    name = checked.about.get("board", BOARD)
    if name == boards.NONE:
        raise SpikewrightError(
            f"{checked.directory}: is for no board; give its top.v and .mem files to the tools of "
            f"yours, or compile it for one of {', '.join(boards.BOARDS)}"
        )
    board = boards.get(name)
    outcome = synthesise(
        board,
        checked.mapping.shape,
        {name: image.words for name, image in checked.images.items()},
        checked.directory,
        clock_hz=None if clock is None else clock * 1e6,
        seed=seed,
        progress=progress,
    )
    result = {
        **outcome.to_json(),
        "about": provenance(command or "spikewright.synth(...)"),
    }
    _store(checked, summary.SYNTH, result)
    return result


def report(build: Build | str | os.PathLike[str], *, progress: Report = silent) -> dict[str, Any]:
    """Render ``report.html`` and ``report.json``, which is returned, from what the build holds."""
    checked = _build(build)
    progress("writing the report", None)
    return _write_report(checked, checked.directory.resolve().name)


def _write_report(build: Build, name: str) -> dict[str, Any]:
    facts = summary.summarise(build, name)
    write_text(build.directory / "report.json", json.dumps(facts, indent=1) + "\n")
    write_text(build.directory / "report.html", render(facts))
    return facts


def list_boards() -> list[dict[str, Any]]:
    """What can be targeted: name, device and clock of each board."""
    from spikewright import boards

    return [board.to_json() for board in boards.all_boards()]


# ---------------------------------------------------------------------------------- train and demo


def train(
    output: str | os.PathLike[str],
    *,
    data_dir: str | os.PathLike[str] | None = None,
    progress: Report = silent,
    **settings: Any,
) -> dict[str, Any]:
    """Train a network, write its weights; `settings` as :class:`.Settings`.

    With `start`, the file of a trained network, those not given are its own, and the rest that of
    a fine-tuning of the folded network with integer weights.
    """
    _need("torch", "torch", "training")
    from spikewright.sw.training import train as training
    from spikewright.sw.training.settings import Settings

    def show(state: training.Progress) -> None:
        score = "" if state.score is None else f", integer SNN {state.score:.1%}"
        progress(f"epoch {state.epoch} of {state.epochs}{score}", state.done)

    make = Settings.continued if settings.get("start") else Settings
    return training.train(output, make(**settings), data_dir=data_dir, progress=show)


def demo(
    out: str | os.PathLike[str] = "out-demo",
    *,
    images: int = 10,
    done: Callable[[str, Mapping[str, Any]], None] | None = None,
    command: str = "spikewright demo",
    progress: Report = silent,
) -> dict[str, Any]:
    """Compile the LeNet-5 that comes with the package, evaluate, verify and report it.

    Its 100 Fashion-MNIST test images are evaluated, `images` of them verified in Verilator with all
    their states. `done` is called after each stage with its name and result.
    """
    spec = input_spec((1, 28, 28))
    frames = as_frames(DEMO / "images.npz", spec)
    build = compile(
        load(DEMO / "lenet5.safetensors"),
        input_spec=spec,
        out=out,
        data=frames,
        command=command,
        progress=progress,
    )
    finished = done or (lambda stage, result: None)
    finished("compile", summary.summarise(build, Path(out).name))
    finished("eval", evaluate(build, frames, command=command, progress=progress))
    result = verify(
        build,
        images=images,
        data=frames,
        trace_images=images,
        command=command,
        progress=progress,
    )
    finished("verify", result)
    return report(build)


# ----------------------------------------------------------------------------------------- helpers


def _need(module: str, extra: str, purpose: str) -> None:
    if importlib.util.find_spec(module) is None:
        raise SpikewrightError(
            f"{module}: is not installed, and {purpose} needs it; "
            f"pip install 'spikewright[{extra}]'"
        )


def _build(build: Build | str | os.PathLike[str]) -> Build:
    return build if isinstance(build, Build) else read_build(Path(build))


def _store(build: Build, name: str, result: Mapping[str, Any]) -> None:
    """Write one result beside the images, and the report that shows it."""
    write_text(build.directory / name, json.dumps(result, indent=1) + "\n")
    _write_report(build, build.directory.resolve().name)


def check_target(out: str | os.PathLike[str]) -> Path:
    """`out`, if a build directory may be written there; SpikewrightError if not."""
    target = Path(out)
    _check_parent(target)
    if target.is_symlink() or (target.exists() and not target.is_dir()):
        raise SpikewrightError(f"{target}: exists and is no folder; choose another name")
    if target.exists() and any(target.iterdir()) and not _ours(target):
        raise SpikewrightError(
            f"{target}: exists and is no build directory; choose another name, nothing was changed"
        )
    return target


def _check_parent(target: Path) -> None:
    if not target.resolve().parent.is_dir():
        raise SpikewrightError(f"{target}: the folder above it does not exist; create it first")


def _ours(directory: Path) -> bool:
    try:
        header = json.loads((directory / NETWORK).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(header, dict) and header.get("kind") == "build"


@contextmanager
def _replacing(target: Path) -> Iterator[Path]:
    """A sibling of `target` that takes its place if the block succeeds, and else vanishes."""
    parent = target.resolve().parent
    try:
        temporary = Path(tempfile.mkdtemp(dir=parent, prefix=f".{target.name}."))
    except OSError as error:
        raise SpikewrightError(
            f"{target}: cannot be written ({error.strerror}); choose another folder"
        ) from None
    try:
        yield temporary
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o777 & ~umask)
        if target.exists():
            old = temporary.with_name(f"{temporary.name}.old")
            target.rename(old)
            temporary.rename(target)
            shutil.rmtree(old)
        else:
            temporary.rename(target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def _noted(notes: list[str]) -> Iterator[None]:
    """Collect the text of warnings in `notes`, and give them on."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    for warning in caught:
        notes.append(str(warning.message))
        warnings.warn(warning.message, stacklevel=4)
