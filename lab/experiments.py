"""The networks of ``docs/results.md``: how each is trained, compiled, evaluated and verified.

``python -m lab.experiments --data-dir DIR`` runs them all, one ``spikewright`` command
after the other, and writes a result file for each network; what is there already is left alone, so
an interrupted run goes on where it was. :mod:`.results` makes the page of them.
"""

from __future__ import annotations

import argparse
import fnmatch
import io
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from spikewright.errors import SpikewrightError
from spikewright.files import write_bytes
from spikewright.sw.models.reading import load_saved
from spikewright.sw.training import data

__all__ = ["EXPERIMENTS", "Experiment", "Run", "perform"]

CALIBRATION = 500
"""Training images that set the thresholds of ReLU networks."""

VERIFIED = 10
"""Test images of which every spike and membrane of the hardware is compared."""

_POWERS = (1, 2, 4, 8, 16, 32, 64, 128, 256)


@dataclass(frozen=True)
class Run:
    """A build: `label` groups those of a curve, `options` are compile's."""

    label: str
    options: str

    @property
    def steps(self) -> int:
        """T."""
        return int(self.options.split()[1])

    @property
    def name(self) -> str:
        """What its folder and its entry in the result file are called."""
        return f"{self.label} {self.options}".replace("--", "").replace(" ", "_").replace("/", "-")


@dataclass(frozen=True)
class Experiment:
    """A trained network and its builds; `runs` are evaluated, `verified` are simulated too."""

    name: str
    data: str
    train: str
    runs: tuple[Run, ...]
    verified: tuple[Run, ...]

    @property
    def options(self) -> list[str]:
        """Those of the training, each with its value; the recorded command has them all."""
        return re.split(" (?=--)", self.train)


def _at(label: str, options: str, last: int, first: int = 1) -> tuple[Run, ...]:
    """A run for every power of two from `first` to `last`."""
    return tuple(Run(label, f"-T {t} {options}".strip()) for t in _POWERS if first <= t <= last)


_CALIBRATED = "--calib {data}-calibration.npz"
_RELU = "--neuron if " + _CALIBRATED
_TSC = "--neuron tsc " + _CALIBRATED
_ONE, _DRAIN = "--rounding one", "--rounding drain"

_IF = (Run("IF", "-T 8"), Run("IF", "-T 32")), (Run("IF", "-T 8"),)

_RUNS: dict[str, tuple[tuple[Run, ...], tuple[Run, ...]]] = {
    "qcfs": _IF,
    "nq": _IF,
    "hpc": (_at("HPC", "", 32), (Run("HPC", "-T 8"),)),
    "qffs": ((Run("QFFS", "-T 3"),), (Run("QFFS", "-T 3"),)),
    "calif": (
        (*_at("Ca-LIF one", _ONE, 128), *_at("Ca-LIF drain", _DRAIN, 128)),
        (
            Run("Ca-LIF one", f"-T 32 {_ONE}"),
            Run("Ca-LIF drain", f"-T 32 {_DRAIN}"),
            Run("Ca-LIF drain", f"-T 128 {_DRAIN} --board none"),
        ),
    ),
    "relu": (
        (
            Run("ReLU, IF", f"-T 8 {_RELU}"),
            Run("ReLU, IF", f"-T 32 {_RELU}"),
            *_at("ReLU, calibrated", f"{_RELU} --calibrate", 32),
            *_at("ReLU, TSC", _TSC, 256, first=2),
        ),
        (
            Run("ReLU, IF", f"-T 32 {_RELU}"),
            Run("ReLU, calibrated", f"-T 8 {_RELU} --calibrate"),
            Run("ReLU, TSC", f"-T 256 {_TSC}"),
        ),
    ),
}
"""By method, what is evaluated and what is verified. One IF build serves every shorter time, but
the rest of its biases, which V(0) holds, grows with T: so there is one for short times too."""


def _in_four_bits(runs: tuple[Run, ...]) -> tuple[Run, ...]:
    """None of calibrated ones: that would round the fine-tuned integers once more."""
    return tuple(
        Run(run.label, f"{run.options} --bits 4")
        for run in runs
        if "--calibrate" not in run.options
    )


_SETS = {"mnist": "--epochs 12 --shift 1", "fashion-mnist": "--epochs 15 --shift 1 --flip"}


def _experiments() -> Iterator[Experiment]:
    for dataset, options in _SETS.items():
        for method, (runs, verified) in _RUNS.items():
            name = f"lenet5-{dataset}-{method}"
            yield Experiment(
                name,
                dataset,
                f"--method {method} --net lenet5 --norm --data {dataset} {options} "
                "--validation 2000 --seed 1",
                runs,
                verified,
            )
            yield Experiment(
                f"{name}-4bit",
                dataset,
                f"--start {name}.safetensors --bits 4 --epochs 3",
                _in_four_bits(runs),
                _in_four_bits(verified),
            )
    yield Experiment(
        "mlp-mnist-qcfs",
        "mnist",
        "--method qcfs --net mlp --norm --data mnist --epochs 15 --validation 2000 --seed 1",
        *_IF,
    )
    yield Experiment(
        "vgg8-cifar10-qcfs",
        "cifar10",
        "--method qcfs --net vgg8 --norm --data cifar10 --epochs 60 --weight-decay 0.0005 --flip "
        "--shift 4 --validation 1000 --seed 1",
        (Run("IF", "-T 8"),),
        (Run("IF", "-T 8"),),
    )


EXPERIMENTS = {experiment.name: experiment for experiment in _experiments()}


def perform(experiment: Experiment, work: Path, results: Path) -> None:
    """Do what is not done yet, and write the result file.

    `work` holds the weights, the builds, and under ``data`` the data sets.
    """
    weights = work / f"{experiment.name}.safetensors"
    if not weights.exists():
        _spikewright(work, f"train {experiment.train} --data-dir data -o {weights.name}")
    _images(experiment, work)
    path = results / f"{experiment.name}.json"
    found = json.loads(path.read_text()) if path.exists() else {}
    training = load_saved(weights)[1]["training"]
    if any(f" {option} " not in f"{training['command']} " for option in experiment.options):
        raise SpikewrightError(f"{weights}: was trained otherwise; delete it to train again")
    parent = work / training["settings"].get("start", "")
    if parent.is_file() and load_saved(parent)[1]["training"] != training["start"]:
        raise SpikewrightError(f"{weights}: does not come from {parent}; delete it to train again")
    if found.get("training") != training:  # figures of another network
        found = {"name": experiment.name, "training": training}
    for kind, runs in (("evaluations", experiment.runs), ("verifications", experiment.verified)):
        names = {run.name for run in runs}
        done = {name: each for name, each in found.get(kind, {}).items() if name in names}
        found[kind] = done
        for run in runs:
            if run.name not in done:
                done[run.name] = _measured(kind, run, experiment, work)
                write_bytes(path, (json.dumps(found, indent=1, sort_keys=True) + "\n").encode())


def _measured(kind: str, run: Run, experiment: Experiment, work: Path) -> Any:
    """The JSON of one evaluation or verification, the build's figures with the latter."""
    out = f"{experiment.name}.{kind}"
    options = run.options.format(data=experiment.data)
    board = "--board none" if kind == "evaluations" else ""  # accuracy needs no block RAM
    _spikewright(work, f"compile {experiment.name}.safetensors {options} {board} -o {out}")
    label = shlex.quote(run.label)
    if kind == "evaluations":
        source = f"--data {experiment.data} --data-dir data"
        return _spikewright(work, f"eval {out} {source} --label {label} --json")
    source = f"--data {experiment.data}-test.npz"
    facts = _spikewright(work, f"verify {out} {source} --images {VERIFIED} --json")
    network = json.loads((work / out / "network.json").read_text())
    return {"label": run.label, "compile": network["about"], "verify": facts}


def _images(experiment: Experiment, work: Path) -> None:
    """Files of the first images: of the training set to calibrate, of the test set to verify."""
    for kind, split, count in (("calibration", "train", CALIBRATION), ("test", "test", VERIFIED)):
        path = work / f"{experiment.data}-{kind}.npz"
        if not path.exists():
            x, y = data.load(experiment.data, work / "data", split)
            buffer = io.BytesIO()
            np.savez_compressed(buffer, x=x[:count], y=y[:count])
            write_bytes(path, buffer.getvalue())


def _spikewright(work: Path, words: str) -> Any:
    """Run a command in `work`; what it prints as JSON."""
    print(f"spikewright {words}", file=sys.stderr, flush=True)
    command = [sys.executable, "-m", "spikewright", *shlex.split(words)]
    done = subprocess.run(command, cwd=work, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise SpikewrightError(f"spikewright {words}: failed with status {done.returncode}")
    return json.loads(done.stdout) if "--json" in words else None


def main() -> None:
    """Do the experiments whose names match, or all."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("names", nargs="*", default=["*"], help="experiments, as patterns (all)")
    parser.add_argument("--data-dir", type=Path, required=True, help="holds the data sets")
    parser.add_argument("--work", type=Path, default=Path("experiments"), help="(experiments)")
    parser.add_argument("-o", "--output", type=Path, default=Path("docs/results"))
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    args.output.mkdir(parents=True, exist_ok=True)
    chosen = {name: fnmatch.filter(EXPERIMENTS, name) for name in args.names}
    for pattern, names in chosen.items():
        if not names:
            raise SpikewrightError(f"{pattern}: is no experiment; see EXPERIMENTS in {__file__}")
    link = args.work / "data"  # so that no command holds a path of this machine
    if link.is_symlink():
        link.unlink()
    if link.exists():
        raise SpikewrightError(f"{link}: is in the way of a link to {args.data_dir}; remove it")
    link.symlink_to(os.path.abspath(args.data_dir), target_is_directory=True)
    for name, experiment in EXPERIMENTS.items():
        if any(name in names for names in chosen.values()):
            perform(experiment, args.work, args.output)


if __name__ == "__main__":
    try:
        main()
    except SpikewrightError as error:
        sys.exit(f"experiments: error: {error}")
