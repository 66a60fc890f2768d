"""What the result files of :mod:`.experiments` hold: runs, accuracies, times."""

import json
import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lab.experiments import EXPERIMENTS
from spikewright.errors import SpikewrightError

__all__ = ["OWN", "SETS", "Result", "Results", "ann", "median_epoch", "own", "percent", "read"]
__all__ += ["row_at", "runs"]

Result = Mapping[str, Any]
Results = Mapping[str, Result]

SETS = {"mnist": "MNIST", "fashion-mnist": "Fashion-MNIST"}

OWN = {
    "QCFS": ("qcfs", "IF", 8),
    "NQ": ("nq", "IF", 8),
    "HPC": ("hpc", "HPC", 8),
    "QFFS": ("qffs", "QFFS", 32),  # settled
    "Ca-LIF one": ("calif", "Ca-LIF one", 128),
    "Ca-LIF drain": ("calif", "Ca-LIF drain", 128),
    "TSC": ("relu", "ReLU, TSC", 256),
}
"""The methods as they are compared with their ANN: the training, the label of the runs, and T."""


def runs(result: Result | None, label: str) -> list[Result]:
    """Evaluations under a label, the shortest first."""
    every = (result or {}).get("evaluations", {}).values()
    return sorted((r for r in every if r["label"] == label), key=lambda r: r["input_steps"])


def row_at(result: Result | None, label: str, steps: int) -> Result:
    """Accuracies, work and ``run`` at T = `steps`, of the shortest run that has it; else nothing.

    Of QFFS, the outputs of the one run after so many steps, the last of which settles it.
    """
    for run in runs(result, label):
        if label == "QFFS":
            over = run["over_time"]
            return {name: over[name][min(steps, run["steps"]) - 1] for name in over} | {"run": run}
        for row in run["by_T"]:
            if row["T"] == steps:
                return dict(row) | {"run": run}
    return {}


def ann(result: Result | None) -> float | None:
    """The accuracy of the trained network."""
    every = (result or {}).get("evaluations", {}).values()
    return next((float(run["accuracy"]["ann"]) for run in every), None)


def own(results: Results, dataset: str, title: str, width: str = "") -> Result:
    """Row of a method at its own T, with its ``ann``; nothing if it was not measured."""
    method, label, steps = OWN[title]
    result = results.get(f"lenet5-{dataset}-{method}{width}")
    row = row_at(result, label, steps)
    return {**row, "ann": ann(result)} if row else {}


def median_epoch(result: Result) -> float | None:
    """Seconds, judgement apart; None of records without times."""
    spent = [seconds for seconds, _ in result["training"].get("seconds", [])]
    return statistics.median(spent) if spent else None


def percent(share: float | None) -> str:
    """`share` of 1 in per cent; nothing of what was not measured."""
    return "" if share is None else f"{100 * share:.2f}"


def read(folder: Path) -> Results:
    """The result files of `folder`, in the order of the experiments."""
    results = {}
    for name in EXPERIMENTS:
        path = folder / f"{name}.json"
        if path.exists():
            try:
                results[name] = json.loads(path.read_text())
            except ValueError:
                raise SpikewrightError(f"{path}: is not JSON; run its experiment again") from None
    if not results:
        raise SpikewrightError(f"{folder}: holds no result files; run the experiments first")
    return results
