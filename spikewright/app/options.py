"""Every option of every command, stated once.

A command's options are the fields of a dataclass: type, default, help, bounds. The command line and
the tables of ``docs/cli.md`` are made from them, and the functions of the package take them as
keyword arguments. Whoever makes one gets checked values, or SpikewrightError. Nothing heavy is
imported here, so that a help text comes at once.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

from spikewright.app.fields import (
    VALUES,
    Options,
    argument,
    check_numbers,
    check_shape,
    option,
    parse_numbers,
    parse_shape,
    parse_zmax,
    python_only,
)

if TYPE_CHECKING:
    import torch

    from spikewright.app.data import Data
    from spikewright.network import FloatNetwork, InputSpec
    from spikewright.network.conversion import Conversion
    from spikewright.reports.machines import AnyBuild as Opened

    AnyBuild: TypeAlias = Opened | str | os.PathLike[str]
    Model = torch.nn.Module | FloatNetwork | str | os.PathLike[str]

__all__ = ["BOARD", "COMMANDS", "METHODS", "STEPS", "VALUES"]

BOARD = "ulx3s-85f"
STEPS = 4096
"""The most time steps: more would take minutes an image, and no method of the papers needs them."""
METHODS = ("qcfs", "nq", "hpc", "qffs", "calif", "relu")
ZMAX = 2**16 - 1
"""The greatest bound of a count."""
IMAGES = 100_000
"""The most images that one command makes or compares."""

# ------------------------------------------------------------------------------------- the commands


def _build() -> Any:
    return argument("build directory that compile wrote", metavar="OUT")


def _output(default: str, help: str = "build directory", metavar: str = "OUT") -> Any:
    return option(help, default, short="-o", name="--output", metavar=metavar)


def _data_dir() -> Any:
    return option("folder of the official files; downloaded if not given", metavar="DIR")


@dataclass(frozen=True)
class Demo(Options):
    """Options of :func:`spikewright.demo`."""

    purpose = "compile, evaluate and verify the network that comes with the package"
    example = "spikewright demo -o out-demo"

    out: str = _output("out-demo")
    images: int = option("images to verify in full", 10, low=1, high=100)
    data_dir: str | None = option(
        "evaluate all test images of Fashion-MNIST, from the official files in this folder",
        metavar="DIR",
    )
    done: Callable[[str, Mapping[str, Any]], None] | None = python_only()


@dataclass(frozen=True)
class Train(Options):
    """Options of :func:`spikewright.train`; what is None follows from the method or `start`."""

    purpose = "train a network whose conversion is known to work"
    example = (
        "spikewright train --method qcfs --net lenet5 --data fashion-mnist --data-dir DIR "
        "-o model.safetensors"
    )

    out: str = _output("model.safetensors", "weights", "FILE.safetensors")
    method: str | None = option(
        "the paper whose activation it is (qcfs)",
        choices=METHODS,
    )
    net: str | None = option("mlp, lenet5, vgg7, vgg8, vgg9, resnet11 or mobilenet20 (lenet5)")
    data: str | None = option("data set (fashion-mnist)")
    data_dir: str | None = _data_dir()
    epochs: int | None = option("(40)", low=1, high=100_000)
    batch: int | None = option("images a batch (128)", low=1, high=IMAGES)
    lr: float | None = option("greatest learning rate (0.1)", above=0, high=1000)
    schedule: str | None = option(
        "of the learning rate: down along a cosine, or up and down (cosine)",
        choices=("cosine", "one-cycle"),
    )
    clip: float | None = option("norm that gradients are cut to (10)", above=0, high=1e9)
    smoothing: float | None = option("of the labels (0)", low=0.0, high=0.9)
    bfloat16: bool | None = option("convolutions of training in bfloat16")
    weight_decay: float | None = option("(0.0001)", low=0.0, high=1)
    levels: int | None = option(
        "steps of an activation: qcfs, nq 8; hpc 2 T; qffs 2**b - 1 (3); calif 255",
        low=1,
        high=2**16,
    )
    steps: int | None = option(
        "T that epochs are judged at (8; qffs LEVELS, calif 16, relu 32)",
        short="-T",
        low=1,
        high=STEPS,
    )
    bits: int | None = option("weight bits that epochs are judged at (8)", low=2, high=8)
    qat: bool | None = option(
        "train the weights as integers of --bits (always with calif and --start)"
    )
    start: str | None = option(
        "a trained network to fine-tune: norms folded, --qat, 5 epochs at a tenth of its --lr and "
        "its other settings",
        metavar="FILE.safetensors",
    )
    width: float | None = option("multiplies the hidden layers (1)", above=0, high=64)
    norm: bool | None = option("batch norms")
    counts: bool | None = option("an activation at the end: counts as output")
    flip: bool | None = option("mirror images")
    shift: int | None = option("move images by so many pixels (0)", low=0, high=64)
    cutout: int | None = option("blacken a square of so many pixels (0)", low=0, high=64)
    judge: str | None = option(
        "what epochs are judged by: the integer spiking network or the one trained (snn)",
        choices=("snn", "ann"),
    )
    validation: int | None = option("images held back (5000)", low=1, high=IMAGES)
    seed: int | None = option("(0)", low=0, high=2**32 - 1)


_input = partial(option, group="input")
_conversion = partial(option, group="conversion")
_neuron = partial(option, group="neuron and input code")
_hardware = partial(option, group="hardware")


def _word(help: str, words: str) -> Any:
    return _neuron(help, choices=tuple(words.split("|")), metavar=words)


@dataclass(frozen=True)
class Compile(Options):
    """Options of :func:`spikewright.compile`."""

    purpose = "turn a trained network into Verilog and memory images"
    example = (
        "spikewright compile mynet:make --weights mynet.safetensors --input-shape 1,28,28 "
        "--board ulx3s-85f -T 8 --bits 8 -o out"
    )
    groups: ClassVar[dict[str, str | None]] = {
        "input": None,
        "conversion": None,
        "neuron and input code": (
            "The papers' models and codes; what is not given is as its paper has it. For example "
            "--neuron hpc --smax 4 --code isi -T 16, or --neuron qffs -T 3 --exact."
        ),
        "hardware": None,
    }

    model: Model = argument(
        "module:callable or file.py:callable with --weights, a network that train saved, or with "
        "--trust a pickled module or a torch.export file",
        metavar="MODEL",
    )
    example_input: torch.Tensor | None = python_only()
    conversion: Conversion | None = python_only()
    input_spec: InputSpec | None = python_only()
    weights: str | None = option("for module:callable", metavar="FILE.safetensors")
    trust: bool = option("read files that can run code", False)

    input_shape: tuple[int, ...] | None = _input(
        "frame; a saved network knows its own",
        metavar="C,H,W",
        parse=parse_shape,
        check=check_shape,
    )
    input_bits: int | None = _input("bits of a pixel (8; raw events 1)", low=1, high=8)
    mean: tuple[float, ...] | None = _input(
        "taken off pixels of 0..1: one number, or one a channel (0)",
        parse=parse_numbers,
        check=check_numbers,
    )
    std: tuple[float, ...] | None = _input(
        "then divides them (1)", parse=parse_numbers, check=check_numbers
    )
    data: Data | None = _input("sample frames to keep in the build", metavar="FILE.npz")

    steps: int | None = _conversion(
        "time steps with input (as trained, or 8)", short="-T", metavar="T", low=1, high=STEPS
    )
    bits: int | None = _conversion("bits of a weight (as trained, or 8)", low=2, high=8)
    per_layer: bool = _conversion("one weight scale a layer, not one a channel", False)
    calib: Data | None = _conversion("images that set ReLU thresholds", metavar="FILE.npz")
    percentile: float | None = _conversion("of ReLU activations (99.9; tsc 100)", above=0, high=100)
    alpha: float | None = _conversion(
        "share of it that a threshold is (1; tsc 0.8)", above=0, high=1
    )
    channelwise: bool = _conversion("ReLU thresholds for each channel", False)
    calibrate: bool = _conversion(
        "fit IF thresholds and V(0) to the ANN at this T, on the images of --calib", False
    )

    neuron: str | None = _word(
        "plain IF (if), buffered IF (HPC), bounded signed IF (QFFS), Ca-LIF, temporal switch "
        "coding (TSC), the quantised ANN in one step (burst) (as trained, or if)",
        "if|hpc|qffs|ca-lif|tsc|burst",
    )
    code: str | None = _word(
        "how a frame becomes spikes: as a current (direct), at equal distances (ISI), as a pair "
        "(TSC), at random (Bernoulli; Poisson in discrete time), or spikes from the host (direct)",
        "direct|isi|tsc|bernoulli|poisson|events",
    )
    code_seed: int | None = _neuron("of the random code (1)", low=1, high=2**32 - 1)
    exact: bool | None = _neuron("refuse what cannot give the quantised activation for every input")
    smax: int | None = _neuron(
        "most spikes a step: 1, 2, 4, 8 (hpc 2, ca-lif 1)", low=1, high=STEPS
    )
    negative: str | None = _word(
        "hpc: when spikes are taken back (below-zero)", "none|below-zero|at-threshold"
    )
    zmax: int | str | None = _neuron(
        "greatest count: qffs, ca-lif (T), burst (7)",
        metavar="N|none",
        parse=parse_zmax,
        low=1,
        high=ZMAX // 2,
    )
    output_zmax: int | None = _neuron(
        "qffs with counts read out (2 ZMAX + 1)", metavar="N", low=1, high=ZMAX
    )
    settle: int | None = _neuron(
        "qffs: steps after the input (ZMAX)", metavar="E", low=0, high=STEPS
    )
    rounding: str | None = _word("ca-lif: its rounding phase (drain)", "drain|one|none")
    pool_neurons: bool | None = _neuron("ca-lif: average pools become neurons")
    window: str | None = _word("tsc: when a layer works (per-layer)", "per-layer|overlapped")
    latch: bool | None = _neuron("tsc overlapped: at most one pair")
    tie: str | None = _word(
        "what a potential at the threshold does (fires; tsc overlapped holds)", "fires|holds"
    )
    reset: str | None = _word("if: what a spike leaves behind (subtract)", "subtract|zero")
    initial: float | None = _neuron(
        "V(0) in thresholds, below 1 (the paper's)", metavar="V0", low=0.0, high=1
    )
    readout: str | None = _word("what the last layer gives (potentials)", "potentials|counts")

    board: str = _hardware("see spikewright boards, or none", BOARD)
    cores: int | None = _hardware("cores (the board's; burst: the fastest)", low=1, high=32)
    lanes: int | None = _hardware(
        "lanes of a core (the board's; burst: the fastest)", low=1, high=64
    )
    fire_units: int | None = _hardware("burst: fire units of a core (the fastest)", low=1, high=8)
    out: str = _hardware("build directory", "out", short="-o", name="--output", metavar="OUT")


@dataclass(frozen=True)
class Verify(Options):
    """Options of :func:`spikewright.verify`."""

    purpose = "compare the hardware with the golden model, bit for bit"
    example = "spikewright verify out --images 100 --data test.npz"

    build: AnyBuild = _build()
    images: int = option("images whose outputs are compared", 100, low=1, high=IMAGES)
    data: Data | None = option(
        "frames: uint8 x (N, C, H, W), or a data set's test split", metavar="FILE.npz|NAME"
    )
    data_dir: str | None = _data_dir()
    sim: str = option("simulator", "verilator", choices=("verilator", "pysim"))
    trace_images: int = option(
        "images of which every spike and membrane is compared", 10, low=0, high=IMAGES
    )
    stalls: float = option(
        "probability that the host's streams wait in a clock", 0.0, low=0.0, high=0.5
    )
    seed: int = option("of random frames and of stalls", 0, low=0, high=2**63 - 1)
    rtl: AnyBuild | None = option(
        "load the hardware from this build directory instead of OUT", metavar="DIR"
    )


@dataclass(frozen=True)
class Evaluate(Options):
    """Options of :func:`spikewright.evaluate`."""

    purpose = "accuracy of ANN, float SNN and integer SNN on labelled images"
    example = "spikewright eval out --data fashion-mnist --data-dir DIR"

    build: AnyBuild = _build()
    data: Data = argument(
        "x and y, or a data set's test split", name="--data", metavar="FILE.npz|NAME"
    )
    data_dir: str | None = _data_dir()
    images: int | None = option("only the first so many", low=1, high=10 * IMAGES)
    label: str | None = option("name in comparisons (its neurons)")
    save: str | None = option(
        "write the result here too, for spikewright compare", metavar="FILE.json"
    )


@dataclass(frozen=True)
class Compare(Options):
    """Options of :func:`spikewright.app.compare.compare`."""

    purpose = "a page that sets results of eval beside each other"
    example = "spikewright compare qcfs.json tsc.json -o compare.html"

    results: Sequence[str | os.PathLike[str]] = argument(
        "files that eval --save wrote", metavar="RESULT.json"
    )
    out: str = _output("compare.html", "the page", "FILE.html")


@dataclass(frozen=True)
class Synth(Options):
    """Options of :func:`spikewright.synth`."""

    purpose = "synthesise, place and route; resources, Fmax and a bitstream"
    example = "spikewright synth out --clock 100"

    build: AnyBuild = _build()
    clock: float | None = option(
        "clock to reach (the board's)", metavar="MHZ", above=0, high=10_000
    )
    seed: int = option("of place and route", 1, low=0, high=2**31 - 1)


@dataclass(frozen=True)
class Report(Options):
    """Options of :func:`spikewright.report`."""

    purpose = "write the HTML page and its JSON again"
    example = "spikewright report out"

    build: AnyBuild = _build()
    data: Data | None = option(
        "evaluate these images first: x and y, or a data set's test split", metavar="FILE.npz|NAME"
    )
    data_dir: str | None = _data_dir()


@dataclass(frozen=True)
class Boards(Options):
    """Options of ``spikewright boards``: none."""

    purpose = "list what can be targeted"
    example = "spikewright boards"


COMMANDS: dict[str, type[Options]] = {
    "demo": Demo,
    "train": Train,
    "compile": Compile,
    "verify": Verify,
    "eval": Evaluate,
    "compare": Compare,
    "synth": Synth,
    "report": Report,
    "boards": Boards,
}
"""By name; the module of a command is that of its options, in lower case."""
