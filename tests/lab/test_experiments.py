"""The experiments as commands, and a small one from training to verification."""

import json
import os
import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lab import experiments
from lab.experiments import EXPERIMENTS, Experiment, Run
from spikewright.app import cli
from spikewright.errors import SpikewrightError
from spikewright.sw.models.reading import load_saved
from spikewright.sw.training.settings import METHODS

ROOT = Path(__file__).parents[2]


def test_every_command_is_one():
    parser = cli._parser()
    for experiment in EXPERIMENTS.values():
        args = parser.parse_args(["train", *shlex.split(experiment.train)])
        assert args.bits == (4 if "4bit" in experiment.name else None)
        for run in (*experiment.runs, *experiment.verified):
            options = shlex.split(run.options.format(data=experiment.data))
            parser.parse_args(["compile", "model.safetensors", *options])


def test_every_method_is_there_for_both_sets_and_widths():
    expected = {
        f"lenet5-{dataset}-{method}{bits}"
        for dataset in ("mnist", "fashion-mnist")
        for method in METHODS
        for bits in ("", "-4bit")
    }
    assert expected | {"mlp-mnist-qcfs", "vgg8-cifar10-qcfs"} == set(EXPERIMENTS)
    for name in expected:
        times = {}
        for run in EXPERIMENTS[name].runs:
            times.setdefault(run.label, []).append(run.steps)
        short, long = [1, 2, 4, 8, 16, 32], [1, 2, 4, 8, 16, 32, 64, 128]
        if "calif" in name:
            assert times == {"Ca-LIF one": long, "Ca-LIF drain": long}
        elif "relu" in name:
            calibrated = {} if "4bit" in name else {"ReLU, calibrated": short}
            pairs = {"ReLU, TSC": [*long[1:], 256]}
            assert times == {"ReLU, IF": [8, 32]} | calibrated | pairs
        elif "hpc" in name:
            assert times == {"HPC": short}
        elif "qffs" in name:
            assert times == {"QFFS": [3]}
        else:
            assert times == {"IF": [8, 32]}


def test_a_small_one_is_done_once_and_goes_on(tmp_path):
    """Trained, evaluated and verified; what is there is not done again."""
    rng = np.random.default_rng(3)
    folder = tmp_path / "work" / "data"
    folder.mkdir(parents=True)
    for split, count in (("train", 40), ("t10k", 30)):
        for kind, shape in (("images-idx3", (count, 28, 28)), ("labels-idx1", (count,))):
            array = rng.integers(10, size=shape, dtype=np.uint8)
            header = bytes([0, 0, 8, array.ndim]) + np.array(shape, ">u4").tobytes()
            (folder / f"{split}-{kind}-ubyte").write_bytes(header + array.tobytes())
    small = Experiment(
        "small",
        "mnist",
        "--method relu --net mlp --width 0.05 --data mnist --epochs 1 --validation 10",
        (Run("ReLU, IF", "-T 2 --neuron if --calib {data}-calibration.npz"),),
        (Run("ReLU, IF", "-T 2 --neuron if --calib {data}-calibration.npz --lanes 4"),),
    )
    work, results = tmp_path / "work", tmp_path / "results"
    results.mkdir()
    experiments.perform(small, work, results)
    (path,) = results.iterdir()
    found = json.loads(path.read_text())
    (evaluation,) = found["evaluations"].values()
    assert (evaluation["label"], evaluation["images"], evaluation["input_steps"]) == (
        *("ReLU, IF", 30, 2),
    )
    assert evaluation["compile"]["calibration"] == "mnist-calibration.npz"
    (verification,) = found["verifications"].values()
    assert verification["verify"]["equal"] is True
    assert verification["verify"]["traced"] == experiments.VERIFIED
    assert found["training"]["settings"]["method"] == "relu"
    assert str(tmp_path) not in path.read_text()

    before = path.stat().st_mtime_ns
    (work / "small.safetensors").touch()
    experiments.perform(small, work, results)
    assert path.stat().st_mtime_ns == before
    found["training"]["epoch"] = 0  # as if it were of another training
    found["evaluations"]["old"] = found["evaluations"].pop(small.runs[0].name)
    found["evaluations"][small.runs[0].name] = {"label": "another"}
    path.write_text(json.dumps(found))
    only = Experiment(small.name, small.data, small.train, small.runs, ())
    experiments.perform(only, work, results)
    again = json.loads(path.read_text())
    assert list(again["evaluations"]) == [small.runs[0].name]
    assert again["evaluations"][small.runs[0].name]["label"] == "ReLU, IF"
    longer = replace(small, train=small.train.replace("--epochs 1", "--epochs 11"))
    with pytest.raises(SpikewrightError, match=r"small.safetensors: was trained otherwise; delete"):
        experiments.perform(longer, work, results)
    os.unlink(work / "small.safetensors")
    wrong = Experiment("wrong", "mnist", "--net cube --data mnist", (), ())
    with pytest.raises(SpikewrightError, match=r"^spikewright train --net cube .*: failed with"):
        experiments.perform(wrong, work, results)


def test_the_weights_among_the_examples_are_those_of_the_results():
    """The record may say more there: what was noted afterwards."""
    found = json.loads((ROOT / "docs" / "results" / "vgg8-cifar10-qcfs.json").read_text())
    record = load_saved(ROOT / "examples" / "cifar10" / "vgg8.safetensors")[1]["training"]
    assert record.items() <= found["training"].items()
    readme = (ROOT / "examples" / "cifar10" / "README.md").read_text()
    (run,) = found["evaluations"].values()
    for share in run["accuracy"].values():
        assert f"{share:.2%}".replace("%", " %") in readme
    train = " ".join(readme.replace("\\\n", " ").split())
    assert f"spikewright train {EXPERIMENTS['vgg8-cifar10-qcfs'].train} -o" in train


@pytest.mark.parametrize(
    ("module", "words", "message"),
    [
        ("experiments", ["--data-dir", ".", "lenet6-*"], "lenet6-*: is no experiment"),
        ("experiments", ["--data-dir", "."], "experiments/data: is in the way of a link to ."),
        ("results", ["--results", "nowhere"], "nowhere: holds no result files"),
    ],
)
def test_what_is_wrong_is_one_line(tmp_path, module, words, message):
    (tmp_path / "experiments" / "data").mkdir(parents=True)
    command = [sys.executable, "-m", f"lab.{module}", *words]
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},  # lab is not installed
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"{module}: error: {message}")
    assert done.stderr.count("\n") == 1
