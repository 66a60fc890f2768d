"""The page ``docs/results.md`` from the result files of :mod:`.experiments`.

``python -m lab.results`` reads ``docs/results/*.json`` and fills the template beside this file. No
measured number on the page stands anywhere but in those files.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import jinja2

from lab.aims import aims
from lab.markdown import table
from lab.measured import OWN, SETS, Result, Results, ann, median_epoch, own, percent, read, row_at
from lab.measured import runs as runs_of
from spikewright.errors import SpikewrightError
from spikewright.files import write_bytes

__all__ = ["page"]

Rows = Iterator[Sequence[str]]

_TEMPLATE = Path(__file__).with_suffix(".md.jinja")
_SHORT = (1, 2, 4, 8, 16, 32)
_LONG = (*_SHORT, 64, 128)
_PAIRS = (*_LONG[1:], 256)
_WORK = ("spikes", "synaptic_operations")


def page(results: Results) -> str:
    """The page, as Markdown; what is not in `results` stays blank."""
    environment = jinja2.Environment(
        trim_blocks=True, keep_trailing_newline=True, undefined=jinja2.StrictUndefined
    )
    return environment.from_string(_TEMPLATE.read_text()).render(
        sets=SETS,
        aims=table(["aim", "reached", "met"], aims(results)),
        accuracies=partial(_accuracies, results),
        calcium=partial(_calcium, results),
        switch=partial(_switch, results),
        work=partial(_work, results),
        others=_others(results),
        training=_training(results),
        commands=[result["training"]["command"] for result in results.values()],
        verified=_verified(results),
    )


def _count(value: float) -> str:
    return f"{value:,.0f}"


def _curves(first: str, times: Sequence[int], rows: Rows) -> str:
    """A table of rows of accuracies over T."""
    header = [first, "weights", "", "ANN", *(f"T = {t}" for t in times)]
    return table(header, rows, left=3)


def _curve(name: str, title: str, label: str, times: Sequence[int], results: Results) -> Rows:
    """Float and integer SNN, of 8 and of 4 bits; nothing of what has no runs."""
    for bits, width in ("8 bits", ""), ("4 bits", "-4bit"):
        result = results.get(name + width)
        found = [row_at(result, label, t) for t in times] if runs_of(result, label) else []
        for kind in ("float", "integer") if found else ():
            cells = (percent(row.get(f"{kind}_snn")) for row in found)
            yield title, bits, f"{kind} SNN", percent(ann(result)), *cells


def _accuracies(results: Results, dataset: str) -> str:
    own_runs = {title: run[:2] for title, run in OWN.items() if run[2] <= _SHORT[-1]}
    relu = {"plain ReLU": ("relu", "ReLU, IF"), "calibrated": ("relu", "ReLU, calibrated")}
    rows = (
        row
        for title, (method, label) in (own_runs | relu).items()
        for row in _curve(f"lenet5-{dataset}-{method}", title, label, _SHORT, results)
    )
    return _curves("method", _SHORT, rows)


def _calcium(results: Results, dataset: str) -> str:
    name = f"lenet5-{dataset}-calif"
    rows = (
        row
        for rounding in ("one", "drain")
        for row in _curve(name, rounding, f"Ca-LIF {rounding}", _LONG, results)
    )
    return _curves("rounding", _LONG, rows)


def _switch(results: Results, dataset: str) -> str:
    name = f"lenet5-{dataset}-relu"
    rows = [*_curve(name, "TSC", "ReLU, TSC", _PAIRS, results)]
    runs = [row_at(results.get(name), "ReLU, TSC", t).get("run") for t in _PAIRS]
    for words, field, form in (
        ("spikes a neuron, mean", "spikes_per_neuron", ".2f"),
        ("spikes a neuron, most (paper: 2)", "most_spikes", ""),
    ):
        cells = ("" if run is None else format(run[field], form) for run in runs)
        rows.append(("TSC", "8 bits", words, "", *cells))
    return _curves("", _PAIRS, iter(rows))


def _work(results: Results, dataset: str) -> str:
    rows = []
    for title in OWN:
        for bits, width in ("8 bits", ""), ("4 bits", "-4bit"):
            row = own(results, dataset, title, width)
            if row:
                run = row["run"]
                more = run["steps"] - run["input_steps"]
                steps = f"{run['input_steps']} + {more}" if more else f"{run['input_steps']}"
                spikes, operations = (_count(row[each]) for each in _WORK)
                mean = f"{row['spikes'] / run['neurons']:.2f}"
                shares = percent(row["ann"]), percent(row["integer_snn"])
                rows.append((title, bits, steps, *shares, spikes, mean, operations))
    header = ["method", "weights", "steps", "ANN", "integer SNN", "spikes", "a neuron"]
    return table([*header, "synaptic operations"], rows, left=3)


def _others(results: Results) -> str:
    rows = []
    for name, result in results.items():
        labels = dict.fromkeys(run["label"] for run in result["evaluations"].values())
        for label in () if name.startswith("lenet5") else labels:
            for row in filter(None, (row_at(result, label, steps) for steps in _SHORT)):
                shares = (percent(row[each]) for each in ("float_snn", "integer_snn"))
                work = (_count(row[each]) for each in _WORK)
                start = f"{name}, {label}", str(row["T"]), percent(ann(result))
                rows.append((*start, *shares, *work))
    header = ["network, neurons", "T", "ANN", "float SNN", "integer SNN", "spikes"]
    return table([*header, "synaptic operations"], rows, left=1)


def _training(results: Results) -> str:
    header = ["network", "seed", "epoch kept", "median epoch", "all epochs", "SNN, validation"]
    rows = (_trained(name, result) for name, result in results.items())
    return table([*header, "trained", "commit"], rows, left=1)


def _trained(name: str, result: Result) -> Sequence[str]:
    record, median = result["training"], median_epoch(result)
    settings, times = record["settings"], ("", "")
    if median is not None:
        times = f"{median:.1f} s", f"{sum(map(sum, record['seconds'])) / 60:.1f} min"
    epochs = f"{record['epoch']} of {settings['epochs']}"
    accuracy = percent(record["accuracy"]["snn_validation"])
    commit = (record.get("commit") or "")[:10]
    return name, str(settings["seed"]), epochs, *times, accuracy, record["date"], commit


def _verified(results: Results) -> str:
    rows = []
    for name, result in results.items():
        for run in result.get("verifications", {}).values():
            facts = run["verify"]
            options = run["compile"]["command"].split(".safetensors ")[1].split(" -o ")[0]
            equal = "equal" if facts["equal"] else "NOT EQUAL"
            clocks = _count(facts["clocks"]["mean"])
            rows.append((name, run["label"], options, str(facts["traced"]), equal, clocks))
    header = ["network", "neurons", "compiled with", "images", "hardware", "clocks an image"]
    return table(header, rows, left=3)


def main() -> None:
    """Write the page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--results", type=Path, default=Path("docs/results"), help="(docs/results)")
    parser.add_argument("-o", "--output", type=Path, default=Path("docs/results.md"))
    args = parser.parse_args()
    write_bytes(args.output, page(read(args.results)).encode())


if __name__ == "__main__":
    try:
        main()
    except SpikewrightError as error:
        sys.exit(f"results: error: {error}")
