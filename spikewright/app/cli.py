"""The command line: parses options, calls :mod:`spikewright.app.api`, prints what it returns."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from spikewright import __version__
from spikewright.errors import SpikewrightError
from spikewright.progress import Progress

if TYPE_CHECKING:
    from spikewright.network import InputSpec
    from spikewright.network.conversion import Conversion

__all__ = ["main"]

Result = Mapping[str, Any]

# The words of spikewright.network.conversion, whose import would take NumPy to print a help text.
_CHOICES = {
    "neuron": ("if", "hpc", "qffs", "ca-lif", "tsc"),
    "code": ("direct", "isi", "tsc", "bernoulli", "poisson", "events"),
    "tie": ("fires", "holds"),
    "reset": ("subtract", "zero"),
    "negative": ("none", "below-zero", "at-threshold"),
    "rounding": ("drain", "one", "none"),
    "window": ("per-layer", "overlapped"),
    "readout": ("potentials", "counts"),
}
_SETTINGS = (
    *_CHOICES,
    *("smax", "zmax", "output_zmax", "settle", "latch", "pool_neurons", "initial", "alpha"),
    *("code_seed", "exact"),
)


class _Parser(argparse.ArgumentParser):
    """Reports a wrong option in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"spikewright: error: {message}; see {self.prog} --help\n")


# ------------------------------------------------------------------------------------ option values


def _whole(least: int, most: int | None = None) -> Callable[[str], int]:
    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from None
        if value < least or (most is not None and value > most):
            allowed = f"at least {least}" if most is None else f"{least} to {most}"
            raise argparse.ArgumentTypeError(f"{value} is out of range; give {allowed}")
        return value

    return parse


def _real(low: float, high: float = float("inf")) -> Callable[[str], float]:
    """A number above `low`, `high` at most."""

    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None
        if not low < value <= high:
            limit = f" and at most {high:g}" if high < float("inf") else ""
            raise argparse.ArgumentTypeError(
                f"{text} is out of range; give more than {low:g}{limit}"
            )
        return value

    return parse


def _shape(text: str) -> tuple[int, int, int]:
    try:
        c, h, w = (int(part) for part in text.split(","))
    except ValueError:
        c = h = w = 0
    if min(c, h, w) < 1:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not channels,height,width; write for example 1,28,28"
        )
    return c, h, w


def _zmax(text: str) -> int | str:
    return text if text == "none" else _whole(1)(text)


def _numbers(text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a list of numbers; write for example 0.49,0.48,0.45"
        ) from None


# ----------------------------------------------------------------------------------------- printing


def _percent(share: float) -> str:
    return f"{100 * share:.2f} %"


def _table(header: Sequence[str], rows: Iterable[Sequence[object]], left: int = 1) -> str:
    """Columns of text; all but the first `left` are aligned to the right."""
    cells = [list(header), *([str(cell) for cell in row] for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
    lines = []
    for row in cells:
        texts = [
            cell.ljust(width) if i < left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(texts).rstrip())
    return "\n".join(lines)


def _shape_text(shape: Sequence[int]) -> str:
    return "x".join(str(n) for n in shape)


def _print_model(model: Result) -> None:
    for name in ("neurons", "code", "time", "output"):
        print(f"{name + ':':9}{model[name]}")


def _print_short_model(model: Result) -> None:
    print(f"neurons: {model['neurons']}; code: {model['code']}")


def _print_compile(facts: Result) -> None:
    build, hardware = facts["build"], facts["hardware"]
    rows = [
        (
            layer["name"],
            _shape_text(layer["shape"]),
            f"{layer['weights']:,}",
            f"{layer['bits']}",
            _percent(layer["weight_error"]),
            f"{layer['threshold'][0]:,}..{layer['threshold'][1]:,}" if layer["threshold"] else "-",
            "-" if layer["spike_rate"] is None else f"{layer['spike_rate']:.3f}",
        )
        for layer in facts["layers"]
    ]
    header = ("layer", "shape", "weights", "bits", "rms error", "threshold", "spike rate")
    print(_table(header, rows))
    _print_model(build["model"])
    print(
        f"T={build['input_steps']}, {hardware['cores']} x {hardware['lanes']} lanes, "
        f"{hardware['membrane_bits']}-bit membranes, {facts['memory_bits'] / 8192:.1f} KiB of "
        f"memory, for {'no board' if build['board'] == 'none' else build['board']}"
    )
    print(f"wrote {build['directory']}")


def _print_verify(result: Result) -> None:
    images, traced = result["images"], result["traced"]
    if result["equal"]:
        print(
            f"equal: outputs of {images} images, and every spike and membrane of {traced} of them "
            f"({result['backend']}; {result['frames']})"
        )
    else:
        print(f"NOT EQUAL: {result['mismatch']['text']}")
    _print_short_model(result["model"])
    _print_clocks(result)


def _print_clocks(result: Result) -> None:
    from spikewright.reports.facts import clocks

    facts = clocks(result)
    if facts is None:
        return
    split = ", ".join(f"{name} {share:.1%}" for name, share in facts["shares"].items())
    print(f"clocks per image: {facts['mean']:,.0f} ({split})")
    print(
        f"utilisation: word operations {_percent(facts['word_utilisation'])}, "
        f"lanes {_percent(facts['lane_utilisation'])}"
    )


def _print_eval(result: Result) -> None:
    accuracy = result["accuracy"]
    speed = result["images_per_second"]
    names = {"ann": "ANN", "float_snn": "float SNN", "integer_snn": "integer SNN"}
    rows = [
        (label, _percent(accuracy[name]), f"{speed[name]:,.0f}" if name in speed else "-")
        for name, label in names.items()
    ]
    print(f"{result['images']:,} images ({result['frames']}), T={result['input_steps']}")
    _print_over_time(result)
    print(_table(("", "accuracy", "images/s"), rows))
    print(
        f"integer SNN: {result['spikes']:,.0f} spikes an image, "
        f"{result['spikes_per_neuron']:.2f} a neuron, {result['most_spikes']} at most of a neuron, "
        f"{_percent(result['ties'])} ties for the greatest output"
    )
    if result["deviates"]:
        print("deviating: TSC promises two spikes a neuron; use a window per layer, or the latch")
    _print_short_model(result["model"])


def _print_over_time(result: Result) -> None:
    """After the steps that are powers of two, and after the last."""
    course, steps = result["over_time"], result["steps"]
    shown = [t for t in range(1, steps) if t.bit_count() == 1] + [steps]
    rows = [
        (
            t,
            _percent(course["float_snn"][t - 1]),
            _percent(course["integer_snn"][t - 1]),
            f"{course['spikes'][t - 1]:,.0f}",
            f"{course['synaptic_operations'][t - 1]:,.0f}",
        )
        for t in shown
    ]
    header = ("t", "float SNN", "integer SNN", "spikes", "synaptic operations")
    print(_table(header, rows, left=0))
    if not result["prefixes"] and steps > 1:
        print(f"only step {steps} is a result: compile for another T to know what it gives")


def _print_compare(facts: Result) -> None:
    from spikewright.reports.comparison import shown_in_tables, t_of

    header = (
        *("method", "bits", "T", "ANN", "float SNN", "integer SNN", "spikes"),
        "synaptic operations",
    )
    for data in facts["sets"]:
        print(data["title"])
        rows = [
            (
                curve["label"],
                curve["weight_bits"],
                t_of(point),
                *(_percent(point[name]) for name in ("ann", "float_snn", "integer_snn")),
                f"{point['spikes']:,.0f}",
                f"{point['synaptic_operations']:,.0f}",
            )
            for curve in data["curves"]
            for point in curve["points"]
            if shown_in_tables(point)
        ]
        print(_table(header, rows))
    print(f"wrote {facts['page']}")


def _print_synth(result: Result) -> None:
    rows = [
        (name, f"{entry['used']:,}", f"{entry['available']:,}", _percent(entry["share"]))
        for name, entry in result["resources"].items()
    ]
    print(_table(("resource", "used", "available", "share"), rows))
    print(f"clock {result['clock_mhz']:g} MHz, Fmax {result['fmax_mhz']:.1f} MHz")
    print(f"wrote {result['bitstream']}")


def _print_report(facts: Result) -> None:
    print(f"wrote {os.path.join(facts['build']['directory'], 'report.html')}")


def _print_boards(result: Result) -> None:
    rows = [
        (board["name"], board["device"], f"{board['clock_mhz']:g} MHz", board["title"])
        for board in result["boards"]
    ]
    print(_table(("board", "device", "clock", "what it is"), rows, left=4))


def _print_train(record: Result) -> None:
    accuracy = record["accuracy"]
    print(f"kept epoch {record['epoch']} of {len(record['scores'])}")
    rows = [(name.replace("_", " "), _percent(share)) for name, share in accuracy.items()]
    print(_table(("", "accuracy"), rows))
    print(f"wrote {record['output']}")


def _print_latency(facts: Result) -> None:
    latency = facts["latency"]
    if latency:
        print(
            f"latency: {latency['microseconds']:,.0f} us an image at {latency['clock_mhz']:g} MHz "
            f"({latency['clock_source']}), {latency['images_per_second']:,.0f} images/s"
        )


# ----------------------------------------------------------------------------------------- commands


def _command_line(words: Sequence[str]) -> str:
    return shlex.join(["spikewright", *words])


def _train(args: argparse.Namespace, progress: Progress) -> Result:
    from spikewright.app import api

    names = (
        *("method", "net", "data", "epochs", "batch", "lr", "weight_decay", "levels", "steps"),
        *("bits", "qat", "width", "norm", "counts", "flip", "shift", "validation", "seed", "start"),
    )
    settings = {name: getattr(args, name) for name in names if getattr(args, name) is not None}
    record = api.train(args.output, data_dir=args.data_dir, progress=progress, **settings)
    return {**record, "output": args.output}


def _input_spec(args: argparse.Namespace) -> InputSpec:
    from spikewright.app import api

    shape = args.input_shape or api.saved_shape(args.model)
    if shape is None:
        raise SpikewrightError(
            f"{args.model}: does not say what it takes; give --input-shape C,H,W"
        )
    bits = args.input_bits
    if bits is None:
        bits = 1 if args.code == "events" else 8
    return api.input_spec(shape, bits=bits, mean=args.mean, std=args.std)


def _conversion(args: argparse.Namespace, trained: Conversion | None) -> Conversion:
    """The choices given, and where no neuron is, those that the model was `trained` for."""
    from spikewright.network.conversion import Conversion

    names = {name: name.removeprefix("code_") for name in _SETTINGS}
    given = {word: getattr(args, name) for name, word in names.items()}
    chosen = {word: value for word, value in given.items() if value is not None}
    if trained is not None and chosen.get("neuron") in (None, trained.neuron.value):
        # What was trained may well be exact, which own choices need not be.
        exact = trained.exact and not chosen.keys() - {"neuron"}
        chosen = trained.to_json() | {"exact": exact} | chosen
    elif trained is not None:
        chosen = {"readout": trained.readout} | chosen
    return Conversion.named(**chosen)


def _compile(args: argparse.Namespace, progress: Progress) -> Result:
    from spikewright.app import api
    from spikewright.network import FloatNetwork
    from spikewright.reports import facts as summary

    api.check_target(args.output)
    trained = api.saved_target(args.model)
    conversion = _conversion(args, trained.get("conversion"))
    progress("loading the model")
    module = api.load(args.model, weights=args.weights, trust=args.trust)
    build = api.compile(
        module,
        conversion=conversion,
        steps=args.steps or trained.get("steps", 8),
        bits=args.bits or trained.get("bits", 8),
        calib=args.calib,
        percentile=args.percentile,
        channelwise=args.channelwise,
        calibrate=args.calibrate,
        per_layer=args.per_layer,
        board=args.board,
        cores=args.cores,
        lanes=args.lanes,
        out=args.output,
        input_spec=None if isinstance(module, FloatNetwork) else _input_spec(args),
        data=args.data,
        command=args.command_line,
        progress=progress,
    )
    return summary.summarise(build, build.directory.resolve().name)


def _verify(args: argparse.Namespace, progress: Progress) -> Result:
    from spikewright.app import api

    return api.verify(
        args.build,
        images=args.images,
        data=args.data,
        sim=args.sim,
        trace_images=args.trace_images,
        seed=args.seed,
        rtl=args.rtl,
        command=args.command_line,
        progress=progress,
    )


def _eval(args: argparse.Namespace, progress: Progress) -> Result:
    from spikewright.app import api

    return api.evaluate(
        args.build,
        args.data,
        data_dir=args.data_dir,
        limit=args.images,
        label=args.label,
        save=args.save,
        command=args.command_line,
        progress=progress,
    )


def _compare(args: argparse.Namespace, progress: Progress) -> Result:
    from spikewright.app import api

    return api.compare(args.results, args.output)


def _synth(args: argparse.Namespace, progress: Progress) -> Result:
    from spikewright.app import api

    return api.synth(
        args.build, clock=args.clock, seed=args.seed, command=args.command_line, progress=progress
    )


def _report(args: argparse.Namespace, progress: Progress) -> Result:
    from spikewright.app import api

    return api.report(args.build, progress=progress)


def _boards(args: argparse.Namespace, progress: Progress) -> Result:
    from spikewright.app import api

    return {"boards": api.list_boards()}


def _demo(args: argparse.Namespace, progress: Progress) -> Result:
    from spikewright.app import api

    def done(stage: str, result: Result) -> None:
        if args.json:
            return
        progress.clear()
        print(f"== {stage}")
        {"compile": _print_compile, "eval": _print_eval, "verify": _print_verify}[stage](result)
        sys.stdout.flush()

    return api.demo(
        args.output,
        images=args.images,
        done=done,
        command=args.command_line,
        progress=progress,
    )


def _print_demo(facts: Result) -> None:
    _print_latency(facts)
    _print_report(facts)


_COMMANDS: dict[str, tuple[Callable[..., Result], Callable[[Result], None]]] = {
    "demo": (_demo, _print_demo),
    "train": (_train, _print_train),
    "compile": (_compile, _print_compile),
    "verify": (_verify, _print_verify),
    "eval": (_eval, _print_eval),
    "compare": (_compare, _print_compare),
    "synth": (_synth, _print_synth),
    "report": (_report, _print_report),
    "boards": (_boards, _print_boards),
}


def _passed(name: str, result: Result) -> bool:
    """Whether the result is what the user hopes for: a comparison can fail without an error."""
    if name == "verify":
        return bool(result["equal"])
    if name == "demo":
        return bool(result["verify"]["equal"])
    return True


# ------------------------------------------------------------------------------------------ parsing


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="spikewright",
        description="A trained PyTorch network in, a spiking FPGA accelerator out, equal to its "
        "model bit for bit.",
        epilog="start with: spikewright demo",
    )
    parser.add_argument("--version", action="version", version=f"spikewright {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)

    def command(name: str, purpose: str, example: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(
            name,
            help=purpose,
            description=f"{purpose[0].upper()}{purpose[1:]}.",
            epilog=f"example: {example}",
        )
        sub.add_argument("--json", action="store_true", help="print JSON on standard output")
        return sub

    demo = command(
        "demo",
        "compile, evaluate and verify the network that comes with the package",
        "spikewright demo -o out-demo",
    )
    _output(demo, "out-demo")
    demo.add_argument(
        "--images", type=_whole(1, 100), default=10, help="images to verify in full (10)"
    )

    train = command(
        "train",
        "train a network whose conversion is known to work",
        "spikewright train --method qcfs --net lenet5 --data fashion-mnist --data-dir DIR "
        "-o model.safetensors",
    )
    _train_options(train)

    _compile_options(
        command(
            "compile",
            "turn a trained network into Verilog and memory images",
            "spikewright compile mynet:make --weights mynet.safetensors --input-shape 1,28,28 "
            "--board ulx3s-85f -T 8 --bits 8 -o out",
        )
    )

    verify = command(
        "verify",
        "compare the hardware with the golden model, bit for bit",
        "spikewright verify out --images 100 --data test.npz",
    )
    _build_argument(verify)
    verify.add_argument(
        "--images", type=_whole(1), default=100, help="images whose outputs are compared (100)"
    )
    verify.add_argument("--data", metavar="FILE.npz", help="frames: uint8 x (N, C, H, W)")
    verify.add_argument(
        "--sim", choices=("verilator", "pysim"), default="verilator", help="simulator (verilator)"
    )
    verify.add_argument(
        "--trace-images",
        type=_whole(0),
        default=10,
        help="images of which every spike and membrane is compared (10)",
    )
    verify.add_argument("--seed", type=_whole(0), default=0, help="of random frames (0)")
    verify.add_argument(
        "--rtl", metavar="DIR", help="load the hardware from this build directory instead of OUT"
    )

    evaluate = command(
        "eval",
        "accuracy of ANN, float SNN and integer SNN on labelled images",
        "spikewright eval out --data fashion-mnist --data-dir DIR",
    )
    _build_argument(evaluate)
    evaluate.add_argument(
        "--data", required=True, metavar="FILE.npz|NAME", help="x and y, or a data set's test split"
    )
    _data_directory(evaluate)
    evaluate.add_argument("--images", type=_whole(1), help="only the first so many")
    evaluate.add_argument("--label", help="name in comparisons (its neurons)")
    evaluate.add_argument(
        "--save", metavar="FILE.json", help="write the result here too, for spikewright compare"
    )

    compare = command(
        "compare",
        "a page that sets results of eval beside each other",
        "spikewright compare qcfs.json tsc.json -o compare.html",
    )
    compare.add_argument(
        "results", nargs="+", metavar="RESULT.json", help="files that eval --save wrote"
    )
    compare.add_argument(
        "-o",
        "--output",
        default="compare.html",
        metavar="FILE.html",
        help="the page (compare.html)",
    )

    synth = command(
        "synth",
        "synthesise, place and route; resources, Fmax and a bitstream",
        "spikewright synth out --clock 100",
    )
    _build_argument(synth)
    synth.add_argument("--clock", type=_real(0), metavar="MHZ", help="clock to reach (the board's)")
    synth.add_argument("--seed", type=_whole(0), default=1, help="of place and route (1)")

    report = command("report", "write the HTML page and its JSON again", "spikewright report out")
    _build_argument(report)

    command("boards", "list what can be targeted", "spikewright boards")
    return parser


def _build_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("build", metavar="OUT", help="build directory that compile wrote")


def _output(parser: argparse.ArgumentParser, default: str) -> None:
    parser.add_argument(
        "-o", "--output", default=default, metavar="OUT", help=f"build directory ({default})"
    )


def _data_directory(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--data-dir", metavar="DIR", help="folder of the official files; downloaded if not given"
    )


def _compile_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "model",
        metavar="MODEL",
        help="module:callable or file.py:callable with --weights, a network that train saved, or "
        "with --trust a pickled module or a torch.export file",
    )
    parser.add_argument("--weights", metavar="FILE.safetensors", help="for module:callable")
    parser.add_argument("--trust", action="store_true", help="read files that can run code")
    frame = parser.add_argument_group("input")
    frame.add_argument(
        "--input-shape", type=_shape, metavar="C,H,W", help="frame; a saved network knows its own"
    )
    frame.add_argument("--input-bits", type=_whole(1, 8), help="bits of a pixel (8; raw events 1)")
    frame.add_argument(
        "--mean", type=_numbers, help="taken off pixels of 0..1: one number, or one a channel (0)"
    )
    frame.add_argument("--std", type=_numbers, help="then divides them (1)")
    frame.add_argument("--data", metavar="FILE.npz", help="sample frames to keep in the build")
    network = parser.add_argument_group("conversion")
    network.add_argument(
        "-T",
        "--steps",
        type=_whole(1),
        metavar="T",
        help="time steps with input (as trained, or 8)",
    )
    network.add_argument("--bits", type=_whole(2, 8), help="bits of a weight (as trained, or 8)")
    network.add_argument(
        "--per-layer", action="store_true", help="one weight scale a layer, not one a channel"
    )
    network.add_argument("--calib", metavar="FILE.npz", help="images that set ReLU thresholds")
    network.add_argument(
        "--percentile", type=_real(0, 100), help="of ReLU activations (99.9; tsc 100)"
    )
    network.add_argument(
        "--alpha", type=_real(0, 1), help="share of it that a threshold is (1; tsc 0.8)"
    )
    network.add_argument(
        "--channelwise", action="store_true", help="ReLU thresholds for each channel"
    )
    network.add_argument(
        "--calibrate",
        action="store_true",
        help="fit IF thresholds and V(0) to the ANN at this T, on the images of --calib",
    )
    _neuron_options(parser)
    hardware = parser.add_argument_group("hardware")
    hardware.add_argument(
        "--board", default="ulx3s-85f", help="see spikewright boards, or none (ulx3s-85f)"
    )
    hardware.add_argument("--cores", type=_whole(1, 16), help="cores (the board's)")
    hardware.add_argument("--lanes", type=_whole(1, 64), help="lanes of a core (the board's)")
    _output(hardware, "out")  # type: ignore[arg-type]


def _neuron_options(parser: argparse.ArgumentParser) -> None:
    """Every choice of :class:`spikewright.network.conversion.Conversion`; None is the paper's."""

    def choice(group: Any, name: str, what: str) -> None:
        words = _CHOICES[name]
        group.add_argument(f"--{name}", choices=words, metavar="|".join(words), help=what)

    neuron = parser.add_argument_group(
        "neuron and input code",
        "The papers' models and codes; what is not given is as its paper has it. For example "
        "--neuron hpc --smax 4 --code isi -T 16, or --neuron qffs -T 3 --exact.",
    )
    choice(
        neuron,
        "neuron",
        "plain IF (if), buffered IF (HPC), bounded signed IF (QFFS), Ca-LIF, temporal switch "
        "coding (TSC) (as trained, or if)",
    )
    choice(
        neuron,
        "code",
        "how a frame becomes spikes: as a current (direct), at equal distances (ISI), as a pair "
        "(TSC), at random (Bernoulli; Poisson in discrete time), or spikes from the host (direct)",
    )
    neuron.add_argument("--code-seed", type=_whole(1, 2**32 - 1), help="of the random code (1)")
    neuron.add_argument(
        "--exact",
        action="store_true",
        default=None,
        help="refuse what cannot give the quantised activation for every input",
    )
    neuron.add_argument(
        "--smax", type=_whole(1), help="most spikes a step: 1, 2, 4, 8 (hpc 2, ca-lif 1)"
    )
    choice(neuron, "negative", "hpc: when spikes are taken back (below-zero)")
    neuron.add_argument(
        "--zmax", type=_zmax, metavar="N|none", help="greatest count: qffs, ca-lif (T)"
    )
    neuron.add_argument(
        "--output-zmax", type=_whole(1), metavar="N", help="qffs with counts read out (2 ZMAX + 1)"
    )
    neuron.add_argument(
        "--settle", type=_whole(0), metavar="E", help="qffs: steps after the input (ZMAX)"
    )
    choice(neuron, "rounding", "ca-lif: its rounding phase (drain)")
    neuron.add_argument(
        "--pool-neurons",
        action="store_true",
        default=None,
        help="ca-lif: average pools become neurons",
    )
    choice(neuron, "window", "tsc: when a layer works (per-layer)")
    neuron.add_argument(
        "--latch", action="store_true", default=None, help="tsc overlapped: at most one pair"
    )
    choice(neuron, "tie", "what a potential at the threshold does (fires; tsc overlapped holds)")
    choice(neuron, "reset", "if: what a spike leaves behind (subtract)")
    neuron.add_argument(
        "--initial", type=float, metavar="V0", help="V(0) in thresholds, below 1 (the paper's)"
    )
    choice(neuron, "readout", "what the last layer gives (potentials)")


_METHODS = ("qcfs", "nq", "hpc", "qffs", "calif", "relu")


def _train_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--method", choices=_METHODS, help="the paper whose activation it is (qcfs)"
    )
    parser.add_argument("--net", help="mlp, lenet5, vgg8, vgg9, resnet11 or mobilenet20 (lenet5)")
    parser.add_argument("--data", help="data set (fashion-mnist)")
    _data_directory(parser)
    parser.add_argument("--epochs", type=_whole(1), help="(40)")
    parser.add_argument("--batch", type=_whole(1), help="images a batch (128)")
    parser.add_argument("--lr", type=_real(0), help="first learning rate (0.1)")
    parser.add_argument("--weight-decay", type=float, help="(0.0001)")
    parser.add_argument(
        "--levels",
        type=_whole(1),
        help="steps of an activation: qcfs, nq 8; hpc 2 T; qffs 2**b - 1 (3); calif 255",
    )
    parser.add_argument(
        "-T",
        "--steps",
        type=_whole(1),
        help="T that epochs are judged at (8; qffs LEVELS, calif 16, relu 32)",
    )
    parser.add_argument("--bits", type=_whole(2), help="weight bits that epochs are judged at (8)")
    parser.add_argument(
        "--qat",
        action="store_true",
        default=None,
        help="train the weights as integers of --bits (always with calif and --start)",
    )
    parser.add_argument(
        "--start",
        metavar="FILE.safetensors",
        help="a trained network to fine-tune: norms folded, --qat, 5 epochs at a tenth of its --lr "
        "and its other settings",
    )
    parser.add_argument("--width", type=_real(0), help="multiplies the hidden layers (1)")
    parser.add_argument("--norm", action="store_true", default=None, help="batch norms")
    parser.add_argument(
        "--counts",
        action="store_true",
        default=None,
        help="an activation at the end: counts as output",
    )
    parser.add_argument("--flip", action="store_true", default=None, help="mirror images")
    parser.add_argument("--shift", type=_whole(0), help="move images by so many pixels (0)")
    parser.add_argument("--validation", type=_whole(1), help="images held back (5000)")
    parser.add_argument("--seed", type=_whole(0), help="(0)")
    parser.add_argument(
        "-o", "--output", default="model.safetensors", help="weights (model.safetensors)"
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the exit status is 0 for success."""
    words = list(sys.argv[1:] if argv is None else argv)
    args = _parser().parse_args(words)
    args.command_line = _command_line(words)
    run, show = _COMMANDS[args.command]
    try:
        with Progress() as progress, warnings.catch_warnings():
            warnings.simplefilter("default")
            warnings.showwarning = lambda message, *_: _complain(progress, message)
            result = run(args, progress)
            progress.clear()
            if args.json:
                print(json.dumps(result, indent=1))
            else:
                show(result)
            sys.stdout.flush()
    except SpikewrightError as error:
        print(f"spikewright: error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("spikewright: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader of our output has gone; keep Python from complaining when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    return 0 if _passed(args.command, result) else 1


def _complain(progress: Progress, message: Warning | str) -> None:
    """Print our own warnings; those of libraries are not the user's business."""
    if type(message).__module__.startswith("spikewright."):
        progress.clear()
        print(f"spikewright: warning: {message}", file=sys.stderr)
