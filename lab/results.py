"""The page ``docs/results.md`` from the result files of :mod:`.experiments`.

``python -m lab.results`` reads ``docs/results/*.json`` and writes the page. No measured
number on it stands anywhere but in those files.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lab.experiments import EXPERIMENTS
from spikewright.errors import SpikewrightError
from spikewright.files import write_bytes

__all__ = ["page"]

Result = Mapping[str, Any]
Results = Mapping[str, Result]

_SETS = {"mnist": "MNIST", "fashion-mnist": "Fashion-MNIST"}
_METHODS = {"qcfs": "QCFS", "nq": "NQ", "hpc": "HPC", "qffs": "QFFS", "calif": "Ca-LIF"}
_SHORT = (1, 2, 4, 8, 16, 32)
_LONG = (*_SHORT, 64, 128)
_PAIRS = (*_LONG[1:], 256)

_INTRODUCTION = """\
# Results

Trained, converted, quantised and verified networks, on full test sets. Every network was trained on
a CPU; the epoch to keep was chosen by the accuracy of the integer SNN on training images held back,
never on test images. The page says what was measured; `docs/results/` holds a file for each network
with every figure, its command, seed, commit and time. To repeat it all:

    python -m lab.experiments --data-dir DIR     # trains, evaluates, verifies: hours
    python -m lab.results                        # makes this page of the result files

Accuracies are per cent of 10,000 test images. *ANN* is the trained network with its activations and
without noise, *float SNN* the converted network with real numbers, *integer SNN* the golden model,
which the hardware equals bit for bit. The 4-bit networks were fine-tuned for three epochs from the
others, batch norms folded, all layers in 4 bits; their ANN and float SNN hold the same 4-bit
weights.
"""

_READING = """\
QCFS, NQ and plain ReLU have IF neurons, of which one run serves every shorter T: the columns to
T = 8 are from a build for T = 8, the others from one for 32. HPC was trained for T = 8 (QReLU of
16 levels, Smax 2) and is compiled for each T. QFFS has 2 bits, so N = 3 steps with input and bias,
and then steps to settle; its columns are the outputs of one run after so many steps. It ends after
12, when every count has become its activation, and more steps would change nothing.
Plain ReLU has its thresholds from the 99.9th percentile on 500 training images, and in 8 bits
nothing is retrained; *calibrated* is that network with `--calibrate` on 256 of those images,
compiled for each T. It has no 4 bits: calibrating would round the fine-tuned integers once more.
"""

_CALCIUM = """\
Ca-LIF with 8-bit quantisation-aware training, compiled for each T. In the final step the neurons
round, in a step more: with *one* spike at most, as the paper has it with T = 128, or until the
potential is rounded away (*drain*), which does much of the work where T is small.
"""

_SWITCH = """\
Temporal switch coding of the plain ReLU network: thresholds are 0.8 of the greatest activation on
500 training images, each layer has a window of T steps of its own, and a neuron sends a pair of
spikes or nothing. The paper has at most two spikes a neuron.
"""

_WORK = """\
Each method at its paper's T, or at 8. *Steps* counts those in which neurons settle or round too; of
TSC those of one layer.
"""

_PAPERS = """\
| | network, data | ANN | SNN | at |
|---|---|---:|---:|---|
| QCFS (as NQ quotes it) | VGG-16, CIFAR-10 | 95.52 | 93.96, 94.95 | T = 4, 8 |
| QCFS (as NQ quotes it) | ResNet-20, CIFAR-10 | 91.77 | 83.75, 89.55 | T = 4, 8 |
| NQ | VGG-16, CIFAR-10 | 95.21 | 94.80, 95.48 | T = 4, 8 |
| NQ | ResNet-20, CIFAR-10 | 85.18 | 84.54, 87.43 | T = 4, 8 |
| HPC | ResNet-18, CIFAR-10 | 95.30 | 95.13 | T = 8 |
| QFFS | ResNet-18, CIFAR-10 | | 93.14 | 4 steps |
| Ca-LIF | LeNet-5, MNIST | 99.07 | 99.09 | T = 128 |
| Ca-LIF | VGG-9, CIFAR-10 | 93.71 | 93.63 | T = 128 |
| TSC | ResNet-20, CIFAR-10 | 91.47 | 91.42 | its Table 1 |
| TSC | VGG-16, CIFAR-10 | 93.63 | 93.63 | its Table 1 |

NQ's own ANN figures were measured with its noise on, so its SNN above its ANN is no gain of the
conversion; here the noise is off.
"""


_OTHERS = """\
An MLP 784-128-10, for which Spiker+ publishes 93.85 % at T = 100 on MNIST, and an eight-layer VGG
of 180,000 weights in 8 bits (`vgg8`, 16-16-P-48-48-P-80-80-80, the mean, 10), all of which the
block RAM of an ECP5-85F holds, with the spikes of T = 8. So narrow a network loses much at small T.

"""

_MACHINE = """\
Trained on a server with two cores. The LeNet-5s of MNIST had both to themselves, the others shared
them with the evaluations, so their times are upper bounds. An epoch is timed without its judgement
on the held-back images, which *all epochs* contains. `vgg8` was trained on one core before records
held the times; its commit and date were noted afterwards. CIFAR-10's images are the official ones
but for 80 of the training and 23 of the test images, of which only a JPEG version was at hand: a
test accuracy may be off by 0.23 points.
"""

_OWN = {
    "QCFS": ("qcfs", "IF", 8),
    "NQ": ("nq", "IF", 8),
    "HPC": ("hpc", "HPC", 8),
    "QFFS": ("qffs", "QFFS", 32),  # settled
    "Ca-LIF one": ("calif", "Ca-LIF one", 128),
    "Ca-LIF drain": ("calif", "Ca-LIF drain", 128),
    "TSC": ("relu", "ReLU, TSC", 256),
}
"""The methods as they are compared with their ANN: the training, the label of the runs, and T."""

_EPOCH = 15.0
"""Seconds that the median epoch of LeNet-5 on MNIST may take."""


def page(results: Results) -> str:
    """The page, as Markdown; what is not in `results` stays blank."""
    parts = [_INTRODUCTION, "## What was aimed at\n", _goals(results)]
    for key, title in _SETS.items():
        parts += [f"## LeNet-5 on {title}\n", _READING if key == "mnist" else ""]
        parts.append(_accuracies(results, key))
        parts += [f"### Ca-LIF on {title}\n", _CALCIUM if key == "mnist" else ""]
        parts.append(_calcium(results, key))
        parts += [f"### TSC on {title}\n", _SWITCH if key == "mnist" else ""]
        parts.append(_switch(results, key))
        parts += [f"### Work for an image of {title}\n", _WORK if key == "mnist" else ""]
        parts.append(_work(results, key))
    parts += ["## Other networks\n", _others(results)]
    parts += ["## What the papers report\n", _PAPERS]
    parts += ["## Training\n", _training(results), "## Verification\n", _verified(results)]
    return "\n".join(part for part in parts if part)


# ------------------------------------------------------------------------------------------- access


def _runs(result: Result | None, label: str) -> list[Result]:
    """Evaluations under a label, the shortest first."""
    every = [] if result is None else result["evaluations"].values()
    return sorted((r for r in every if r["label"] == label), key=lambda r: r["input_steps"])


def _at(result: Result | None, label: str, steps: int) -> Result | None:
    """Accuracies and work at T = `steps`: the row of the shortest run that has it."""
    for run in _runs(result, label):
        for row in run["by_T"]:
            if row["T"] == steps:
                return dict(row) | {"run": run}
    return None


def _after(result: Result | None, steps: int) -> Result | None:
    """QFFS: the outputs of the one run after so many steps, the last of which settles it."""
    for run in _runs(result, "QFFS"):
        over = run["over_time"]
        return {name: over[name][min(steps, run["steps"]) - 1] for name in over} | {"run": run}
    return None


def _ann(result: Result | None) -> float | None:
    for run in [] if result is None else result["evaluations"].values():
        return float(run["accuracy"]["ann"])
    return None


def _own(
    results: Results, dataset: str, title: str, width: str = ""
) -> tuple[float, float, Result] | None:
    """ANN and integer SNN of a method at its own T, and that run's row."""
    method, label, steps = _OWN[title]
    result = results.get(f"lenet5-{dataset}-{method}{width}")
    row = _after(result, steps) if label == "QFFS" else _at(result, label, steps)
    ann = _ann(result)
    return None if row is None or ann is None else (ann, row["integer_snn"], row)


# ------------------------------------------------------------------------------------------- tables


def _table(header: Sequence[str], rows: Iterable[Sequence[str]], left: int = 1) -> str:
    marks = ["---"] * left + ["---:"] * (len(header) - left)
    lines = ["| " + " | ".join(cells) + " |" for cells in (header, marks, *rows)]
    return "\n".join(lines) + "\n"


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.2f}"


def _count(value: float | None) -> str:
    return "" if value is None else f"{value:,.0f}"


def _curve(
    name: str, title: str, label: str, times: Sequence[int], results: Results
) -> list[list[str]]:
    """Float and integer SNN, of 8 and of 4 bits; nothing of what has no runs."""
    rows = []
    for bits, kind, field in (
        ("8 bits", "float SNN", "float_snn"),
        ("8 bits", "integer SNN", "integer_snn"),
        ("4 bits", "float SNN", "float_snn"),
        ("4 bits", "integer SNN", "integer_snn"),
    ):
        result = results.get(name if bits == "8 bits" else f"{name}-4bit")
        if not _runs(result, label):
            continue
        found = [_after(result, t) if label == "QFFS" else _at(result, label, t) for t in times]
        cells = [_percent(None if row is None else row[field]) for row in found]
        rows.append([title, bits, kind, _percent(_ann(result)), *cells])
    return rows


def _accuracies(results: Results, dataset: str) -> str:
    rows = []
    for title, (method, label, steps) in _OWN.items():
        if steps <= _SHORT[-1]:
            rows += _curve(f"lenet5-{dataset}-{method}", title, label, _SHORT, results)
    for title, label in (("plain ReLU", "ReLU, IF"), ("calibrated", "ReLU, calibrated")):
        rows += _curve(f"lenet5-{dataset}-relu", title, label, _SHORT, results)
    header = ["method", "weights", "", "ANN", *(f"T = {t}" for t in _SHORT)]
    return _table(header, rows, left=3)


def _calcium(results: Results, dataset: str) -> str:
    rows = []
    for rounding in ("one", "drain"):
        name = f"lenet5-{dataset}-calif"
        rows += _curve(name, rounding, f"Ca-LIF {rounding}", _LONG, results)
    return _table(["rounding", "weights", "", "ANN", *(f"T = {t}" for t in _LONG)], rows, left=3)


def _switch(results: Results, dataset: str) -> str:
    name = f"lenet5-{dataset}-relu"
    rows = _curve(name, "TSC", "ReLU, TSC", _PAIRS, results)
    found = [_at(results.get(name), "ReLU, TSC", t) for t in _PAIRS]
    spikes = ["" if row is None else f"{row['run']['spikes_per_neuron']:.2f}" for row in found]
    most = ["" if row is None else str(row["run"]["most_spikes"]) for row in found]
    rows.append(["TSC", "8 bits", "spikes a neuron, mean", "", *spikes])
    rows.append(["TSC", "8 bits", "spikes a neuron, most (paper: 2)", "", *most])
    return _table(["", "weights", "", "ANN", *(f"T = {t}" for t in _PAIRS)], rows, left=3)


def _work(results: Results, dataset: str) -> str:
    rows = []
    for title in _OWN:
        for bits in ("", "-4bit"):
            own = _own(results, dataset, title, bits)
            if own is None:
                continue
            ann, snn, row = own
            run = row["run"]
            more = run["steps"] - run["input_steps"]
            steps = f"{run['input_steps']}" + (f" + {more}" if more else "")
            rows.append(
                [
                    title,
                    "4 bits" if bits else "8 bits",
                    steps,
                    _percent(ann),
                    _percent(snn),
                    _count(row["spikes"]),
                    f"{row['spikes'] / run['neurons']:.2f}",
                    _count(row["synaptic_operations"]),
                ]
            )
    header = ["method", "weights", "steps", "ANN", "integer SNN", "spikes", "a neuron"]
    return _table([*header, "synaptic operations"], rows, left=3)


def _others(results: Results) -> str:
    rows = []
    for name, result in results.items():
        if name.startswith("lenet5"):
            continue
        for label in dict.fromkeys(run["label"] for run in result["evaluations"].values()):
            for steps in _SHORT:
                row = _at(result, label, steps)
                if row is not None:
                    rows.append(
                        [
                            f"{name}, {label}",
                            str(steps),
                            _percent(_ann(result)),
                            _percent(row["float_snn"]),
                            _percent(row["integer_snn"]),
                            _count(row["spikes"]),
                            _count(row["synaptic_operations"]),
                        ]
                    )
    header = ["network, neurons", "T", "ANN", "float SNN", "integer SNN", "spikes"]
    return _OTHERS + _table([*header, "synaptic operations"], rows, left=1)


def _training(results: Results) -> str:
    rows = []
    for name, result in results.items():
        record = result["training"]
        median = _median_epoch(result)
        rows.append(
            [
                name,
                str(record["settings"]["seed"]),
                f"{record['epoch']} of {record['settings']['epochs']}",
                "" if median is None else f"{median:.1f} s",
                "" if median is None else f"{sum(map(sum, record['seconds'])) / 60:.1f} min",
                _percent(record["accuracy"]["snn_validation"]),
                record["date"],
                (record.get("commit") or "")[:10],
            ]
        )
    header = ["network", "seed", "epoch kept", "median epoch", "all epochs", "SNN, validation"]
    table = _table([*header, "trained", "commit"], rows)
    commands = "\n".join(f"    {result['training']['command']}" for result in results.values())
    return f"{table}\n{_MACHINE}\n{commands}\n"


def _verified(results: Results) -> str:
    text = (
        "Compiled for the ULX3S-85F (so it fits), and simulated with Verilator from the files on\n"
        "disk: outputs, every spike and every membrane of so many test images equal the golden\n"
        "model's. Ca-LIF's spikes of 128 steps need more block RAM than the 85F has, so these are\n"
        "compiled for no board.\n\n"
    )
    rows = []
    for name, result in results.items():
        for run in result.get("verifications", {}).values():
            facts = run["verify"]
            rows.append(
                [
                    name,
                    run["label"],
                    run["compile"]["command"].split(".safetensors ")[1].split(" -o ")[0],
                    str(facts["traced"]),
                    "equal" if facts["equal"] else "NOT EQUAL",
                    _count(facts["clocks"]["mean"]),
                ]
            )
    header = ["network", "neurons", "compiled with", "images", "hardware", "clocks an image"]
    return text + _table(header, rows, left=3)


# -------------------------------------------------------------------------------------------- goals


class _Aims:
    """Rows of what was aimed at, what was reached, and whether that is enough."""

    def __init__(self) -> None:
        self.rows: list[list[str]] = []

    def row(self, aim: str, reached: Iterable[str], met: bool) -> None:
        self.rows.append([aim, ", ".join(reached) or "not measured", "yes" if met else "**no**"])

    def at_least(
        self, aim: str, least: float, found: Mapping[str, float | None], number: int = 1
    ) -> None:
        """The `number` best of what was found reach `least`."""
        known = {name: share for name, share in found.items() if share is not None}
        best = sorted(known.items(), key=lambda item: -item[1])[:number]
        met = len(best) == number and all(share >= least - 1e-9 for _, share in best)
        self.row(aim, (f"{name} {_percent(share)}" for name, share in best), met)

    def each(self, aim: str, least: Mapping[str, float], found: Mapping[str, float | None]) -> None:
        """All that there should be are found, and reach what is theirs."""
        short = {
            name: share
            for name, share in found.items()
            if share is None or share < least[name] - 1e-9
        }
        lowest = min((s, n) for n, s in found.items() if s is not None) if not short else None
        shown = short or ({} if lowest is None else {lowest[1]: lowest[0]})
        texts = (f"{n} {_percent(s) or 'not measured'}" for n, s in shown.items())
        self.row(aim, (f"all; the lowest: {t}" if not short else t for t in texts), not short)

    def no_loss(self, aim: str, most: float, found: Mapping[str, float | None]) -> None:
        """All that there should be are found, and lose `most` points at most."""
        over = {n: loss for n, loss in found.items() if loss is None or 100 * loss > most + 1e-9}
        worst = max((v, n) for n, v in found.items() if v is not None) if not over else None
        shown = over or ({} if worst is None else {worst[1]: worst[0]})
        texts = (f"{n} {_change(loss)}" for n, loss in shown.items())
        every = "all; the worst: " if not over and len(found) > 1 else ""
        self.row(aim, (every + t for t in texts), not over)


def _change(loss: float | None) -> str:
    if loss is None:
        return "not measured"
    return f"{'loses' if loss >= 0 else 'gains'} {abs(100 * loss):.2f}"


def _goals(results: Results) -> str:
    aims = _Aims()
    for dataset, title in _SETS.items():
        names = {name: f"lenet5-{dataset}-{method}" for method, name in _METHODS.items()}
        ann = {name: _ann(results.get(each)) for name, each in names.items()}
        ann["ReLU"] = _ann(results.get(f"lenet5-{dataset}-relu"))
        own = {name: _own(results, dataset, name) for name in _OWN}
        losses = {name: each and each[0] - each[1] for name, each in own.items()}
        short = {steps: _integer(results, dataset, steps) for steps in (4, 8)}
        where = "(T = 8, QFFS settled, Ca-LIF 128, TSC 256)"
        if dataset == "mnist":
            aims.at_least("MNIST, integer SNN, T = 8: 99.2 for two methods", 0.992, short[8], 2)
            aims.at_least("MNIST, integer SNN, T = 4: 99.0 for one method", 0.990, short[4])
            aims.no_loss(f"MNIST: integer SNN {where} within 0.3 of its ANN", 0.3, losses)
        else:
            aim = "Fashion-MNIST, integer SNN, T = 8: 90.0 for one method"
            aims.at_least(aim, 0.900, short[8])
            aims.no_loss(f"Fashion-MNIST: integer SNN {where} within 1.0 of its ANN", 1.0, losses)
        usual, two_bits = {"mnist": (99.0, 98.8), "fashion-mnist": (89.0, 87.5)}[dataset]
        least = {name: (two_bits if name == "QFFS" else usual) / 100 for name in ann}
        aims.each(f"{title}: every ANN at least {usual} (QFFS, 2 bits: {two_bits})", least, ann)
    known = {n: loss for n in _OWN if (loss := _loss_of_four_bits(results, n)) is not None}
    best = min(known.items(), key=lambda item: item[1], default=("any", None))
    aim = "4-bit weights lose at most 0.5 on both sets, for one method (the set with more)"
    aims.no_loss(aim, 0.5, dict([best]))
    mlp = _at(results.get("mlp-mnist-qcfs"), "IF", 8)
    found = {"QCFS": None if mlp is None else mlp["integer_snn"]}
    aims.at_least("MLP 784-128-10 on MNIST, T = 8: 97.5", 0.975, found)
    vgg = _at(results.get("vgg8-cifar10-qcfs"), "IF", 8)
    found = {"QCFS": None if vgg is None else vgg["integer_snn"]}
    aims.at_least("CIFAR-10, fits the 85F, T = 8: 80", 0.80, found)
    _epochs(aims, results)
    return _table(["aim", "reached", "met"], aims.rows, left=3)


def _integer(results: Results, dataset: str, steps: int) -> dict[str, float | None]:
    """Integer SNN at T, of those methods that have this T."""
    runs = {name: (method, label) for name, (method, label, _) in _OWN.items() if name != "QFFS"}
    runs |= {"plain ReLU": ("relu", "ReLU, IF"), "calibrated ReLU": ("relu", "ReLU, calibrated")}
    found = {
        name: _at(results.get(f"lenet5-{dataset}-{method}"), label, steps)
        for name, (method, label) in runs.items()
    }
    return {name: None if row is None else row["integer_snn"] for name, row in found.items()}


def _loss_of_four_bits(results: Results, title: str) -> float | None:
    """Of the integer SNN against 8 bits, on the set where it is greater."""
    losses = []
    for dataset in _SETS:
        both = [_own(results, dataset, title, width) for width in ("", "-4bit")]
        if both[0] is None or both[1] is None:
            return None
        losses.append(both[0][1] - both[1][1])
    return max(losses)


def _epochs(aims: _Aims, results: Results) -> None:
    names = [name for name in EXPERIMENTS if name.startswith("lenet5-mnist")]
    spent = {name: _median_epoch(results[name]) for name in names if name in results}
    known = [median for median in spent.values() if median is not None]
    shown = [f"{min(known):.1f} to {max(known):.1f} s"] if known else []
    if len(known) < len(names):
        shown.append(f"{len(names) - len(known)} of {len(names)} not measured")
    met = len(known) == len(names) and max(known) <= _EPOCH
    aims.row(f"LeNet-5 on MNIST: a median epoch of {_EPOCH:.0f} s", shown, met)


def _median_epoch(result: Result) -> float | None:
    """Seconds, judgement apart; None of records without times."""
    spent = [seconds for seconds, _ in result["training"].get("seconds", [])]
    return statistics.median(spent) if spent else None


# --------------------------------------------------------------------------------------------- main


def _read(folder: Path) -> Results:
    found = {name: folder / f"{name}.json" for name in EXPERIMENTS}
    results = {}
    for name, path in found.items():
        if path.exists():
            try:
                results[name] = json.loads(path.read_text())
            except ValueError:
                raise SpikewrightError(f"{path}: is not JSON; run its experiment again") from None
    if not results:
        raise SpikewrightError(f"{folder}: holds no result files; run the experiments first")
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--results", type=Path, default=Path("docs/results"), help="(docs/results)")
    parser.add_argument("-o", "--output", type=Path, default=Path("docs/results.md"))
    args = parser.parse_args()
    write_bytes(args.output, page(_read(args.results)).encode())


if __name__ == "__main__":
    try:
        main()
    except SpikewrightError as error:
        sys.exit(f"results: error: {error}")
