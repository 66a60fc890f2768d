"""The command line: what it accepts and prints, and that whatever is wrong costs one line."""

import contextlib
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
import zlib
from pathlib import Path

import numpy as np
import pytest

from spikewright import read_build
from spikewright.app.cli import main
from spikewright.machine.images import sealed
from spikewright.progress import Progress

NETS = """
import torch
from torch import nn


def seeded(*layers):
    torch.manual_seed(0)
    return nn.Sequential(*layers)


def good():
    return seeded(
        nn.Conv2d(1, 3, 3, stride=2), nn.ReLU(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(12, 4)
    )


def quantised():
    from spikewright.sw.activations import QCFS

    return seeded(
        nn.Conv2d(1, 3, 3, stride=2), QCFS(4, 0.5), nn.MaxPool2d(2), nn.Conv2d(3, 4, 2),
        QCFS(4, 0.5), nn.Flatten(), nn.Linear(4, 4), QCFS(4, 0.5)
    )


def overlapping():
    return seeded(
        nn.Conv2d(1, 3, 3), nn.ReLU(), nn.MaxPool2d(3, 2), nn.Flatten(), nn.Linear(27, 4)
    )


def averaging():
    from spikewright.sw.activations import QCFS

    return seeded(
        nn.Conv2d(1, 3, 3, stride=2), QCFS(4, 0.5), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(12, 4)
    )


def unbiased():
    return seeded(nn.Conv2d(1, 3, 3, bias=False), nn.ReLU6(), nn.Flatten(),
                  nn.Linear(192, 4, bias=False))


def lstm():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.flatten = nn.Flatten()
            self.cell = nn.LSTM(100, 4)

        def forward(self, x):
            return self.cell(self.flatten(x))[0]

    return Net()


def gelu():
    return seeded(nn.Flatten(), nn.Linear(100, 8), nn.GELU(), nn.Linear(8, 4))


def nan():
    net = seeded(nn.Flatten(), nn.Linear(100, 8), nn.ReLU(), nn.Linear(8, 4))
    net[1].weight.data[2, 3] = float("nan")
    return net


def padded():
    return seeded(
        nn.Conv2d(1, 3, 3), nn.ReLU(), nn.AvgPool2d(2, padding=1), nn.Flatten(), nn.Linear(75, 4)
    )


def huge():
    return seeded(nn.Flatten(), nn.Linear(100, 8192), nn.ReLU(), nn.Linear(8192, 64), nn.ReLU(),
                  nn.Linear(64, 4))
"""
SHAPE = ["--input-shape", "1,10,10"]


@pytest.fixture
def work(tmp_path, monkeypatch):
    """An empty folder with the user's networks, and the current one."""
    (tmp_path / "nets.py").write_text(NETS)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A build directory of the good network; tests copy it before they change it."""
    folder = tmp_path_factory.mktemp("built")
    (folder / "nets.py").write_text(NETS)
    x = np.random.default_rng(0).integers(256, size=(20, 1, 10, 10), dtype=np.uint8)
    np.savez(folder / "data.npz", x=x, y=np.arange(20) % 4)
    words = ["compile", f"{folder}/nets.py:good", *SHAPE, "-T", "3", "--lanes", "4"]
    words += ["--calib", f"{folder}/data.npz", "--data", f"{folder}/data.npz"]
    assert main([*words, "-o", str(folder / "out")]) == 0
    return folder


@pytest.fixture
def out(built, tmp_path):
    """A fresh copy of the build directory."""
    copy = tmp_path / "out"
    copy.mkdir()
    for file in (built / "out").iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    return copy


def run(words, capsys):
    """Exit status, standard output, and standard error without warnings of a command."""
    try:
        status = main(words)
    except SystemExit as stop:
        status = stop.code
    captured = capsys.readouterr()
    errors = [line for line in captured.err.splitlines() if ": warning: " not in line]
    return status, captured.out, errors


def refused(words, capsys, *fragments, status=1):
    """Run a command that must fail with one line holding all `fragments`."""
    before = sorted(Path.cwd().iterdir())
    got, output, errors = run(words, capsys)
    assert got == status
    assert output == ""
    assert len(errors) == 1, errors
    assert errors[0].startswith("spikewright: error: ")
    for fragment in fragments:
        assert fragment in errors[0]
    ours = [path for path in sorted(Path.cwd().iterdir()) if path.name != "__pycache__"]
    assert ours == before


# ----------------------------------------------------------------------------------- wrong networks


@pytest.mark.parametrize(
    ("net", "fragments"),
    [
        ("lstm", ("cell (LSTM)", "feed-forward")),
        ("gelu", ("2 (GELU)", "use ReLU or QCFS")),
        ("nan", ("1 (Linear)", "NaN", "(2, 3)")),
        ("padded", ("2 (AvgPool2d)", "pad")),
        ("overlapping", ("2 (MaxPool2d)", "which overlap", "retrain")),
        ("huge", ("ulx3s-85f", "block RAMs", "too many")),
        ("nothing", ("nets.py:nothing", "nets.py has no 'nothing'")),
    ],
)
def test_wrong_network(net, fragments, work, capsys):
    refused(["compile", f"nets.py:{net}", *SHAPE, "-o", "out"], capsys, *fragments)


@pytest.mark.parametrize(
    ("words", "fragments"),
    [
        (["-T", "0"], ("argument -T/--steps", "0 is out of range", "at least 1")),
        (["-T", "two"], ("'two' is not a whole number",)),
        (["--bits", "9"], ("argument --bits", "9 is out of range", "2 to 8")),
        (["--bits", "1"], ("1 is out of range",)),
        (["--input-shape", "28,28"], ("'28,28' is not channels,height,width", "1,28,28")),
        (["--input-shape", "1,28,0"], ("is not channels,height,width",)),
        (["--percentile", "101"], ("101 is out of range",)),
        (["--mean", "a"], ("'a' is not a list of numbers",)),
        (["--nonsense"], ("unrecognized arguments: --nonsense",)),
        (["--neuron", "lif"], ("argument --neuron", "invalid choice: 'lif'", "'ca-lif'")),
        (["--code", "morse"], ("argument --code", "invalid choice: 'morse'", "'poisson'")),
        (["--zmax", "0"], ("argument --zmax", "0 is out of range", "at least 1")),
        (["--code-seed", "0"], ("argument --code-seed", "0 is out of range")),
    ],
)
def test_wrong_option(words, fragments, work, capsys):
    words = ["compile", "nets.py:good", *SHAPE, *words]
    refused(words, capsys, *fragments, "--help", status=2)


@pytest.mark.parametrize(
    ("words", "fragments"),
    [
        (["--board", "nosuch"], ("board 'nosuch'", "ulx3s-85f")),
        (["--neuron", "hpc", "--smax", "3"], ("neuron hpc", "Smax 3 is not a power of two")),
        (["--smax", "2"], ("neuron if: smax is not a choice", "hpc, ca-lif")),
        (["--code", "isi", "-T", "300"], ("T is 300", "ISI encoder goes to 256")),
        (["--neuron", "tsc", "-T", "1"], ("T is 1", "TSC pair")),
        (["--code", "events", "--input-bits", "2"], ("raw events are 0 or 1, not 2 bits",)),
        (["--readout", "counts"], ("layer 4: is linear", "end the module with ReLU or QCFS")),
        (["--exact"], ("exact: the counts of if neurons", "use qffs, ca-lif or tsc")),
        (["--input-shape", "3,10,10"], ("0 (Conv2d)",)),
        (["--mean", "0.1,0.2"], ("mean: 2 numbers for 1 channels",)),
        (["--std", "0"], ("std", "not positive")),
        (["--calib", "none.npz"], ("none.npz: no such file",)),
        (["--calibrate"], ("calibrate: needs images", "--calib")),
        (["-o", "no/such/folder"], ("no/such/folder", "does not exist")),
        (["-o", "nets.py"], ("nets.py", "is no folder")),
    ],
)
def test_wrong_value(words, fragments, work, capsys):
    refused(["compile", "nets.py:good", *SHAPE, *words], capsys, *fragments)


def test_shape_is_needed(work, capsys):
    refused(["compile", "nets.py:good"], capsys, "--input-shape C,H,W")


def test_calibration_of_the_wrong_size(work, capsys):
    np.savez("small.npz", x=np.zeros((2, 1, 9, 10), np.uint8), y=np.zeros(2, np.int64))
    words = ["compile", "nets.py:good", *SHAPE, "--calib", "small.npz"]
    refused(words, capsys, "small.npz", "(2, 1, 9, 10)", "(N, 1, 10, 10)")


def test_pickles_need_trust(work, capsys):
    Path("model.pt").write_bytes(b"")
    refused(["compile", "model.pt", *SHAPE], capsys, "model.pt", "--trust")


def test_torch_is_an_extra(work, capsys, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    words = ["compile", "nets.py:good", *SHAPE]
    refused(words, capsys, "torch: is not installed", "pip install 'spikewright[torch]'")


def test_foreign_folder_is_left_alone(work, capsys):
    Path("out").mkdir()
    Path("out/thesis.txt").write_text("precious")
    refused(["compile", "nets.py:good", *SHAPE], capsys, "out", "nothing was changed")
    assert Path("out/thesis.txt").read_text() == "precious"


def test_failure_late_leaves_the_old_build(out, work, capsys, monkeypatch):
    before = {path.name: path.read_bytes() for path in out.iterdir()}

    def full(*arguments):
        from spikewright.errors import SpikewrightError

        raise SpikewrightError("disk: full; buy another")

    monkeypatch.setattr("spikewright.app.api._write_expected", full)
    refused(["compile", "nets.py:good", *SHAPE], capsys, "disk: full")
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


def test_exact_refuses_a_short_settle_phase(work, capsys):
    words = ["compile", "nets.py:quantised", *SHAPE, "-T", "4", "--neuron", "qffs"]
    refused(
        [*words, "--settle", "3", "--exact"], capsys, "settle: 3 steps", "can take 4", "least 4"
    )


def test_calibration_events_of_other_steps(work, capsys):
    np.savez("events.npz", x=np.zeros((2, 3, 10, 10), np.uint8))
    words = ["compile", "nets.py:good", *SHAPE, "--code", "events", "-T", "4"]
    refused([*words, "--calib", "events.npz"], capsys, "events.npz", "(N, 4, 10, 10)")


# -------------------------------------------------------------------------- wrong build directories


@pytest.mark.parametrize("command", ["verify", "eval", "synth", "report"])
def test_no_build(command, work, capsys):
    words = [command, "nowhere", *(["--data", "x.npz"] if command == "eval" else [])]
    refused(words, capsys, "nowhere/network.json: no such file", "spikewright compile")


@pytest.mark.parametrize("command", ["verify", "report"])
def test_truncated_image(command, out, work, capsys):
    image = out / "weight_0.mem"
    image.write_text(image.read_text()[:-40])
    refused([command, str(out)], capsys, "weight_0.mem", "truncated", "compile again")


def test_flipped_bit(out, work, capsys):
    image = out / "weight_0.mem"
    text = image.read_text()
    image.write_text(("1" if text[0] == "0" else "0") + text[1:])
    refused(["verify", str(out)], capsys, "weight_0.mem", "CRC-32")


def test_flipped_bit_on_the_hardware_side(out, work, capsys):
    """With the CRC made to fit, and only the hardware loaded so: the first difference is named."""
    other = work / "flipped"
    shutil.copytree(out, other)
    image, header = other / "weight_0.mem", other / "network.json"
    lines = image.read_text().splitlines()
    lines[0] = f"{int(lines[0], 16) ^ 2:0{len(lines[0])}x}"  # lane 0 of the first weight word
    text = "\n".join(lines) + "\n"
    image.write_text(text)
    described = json.loads(header.read_text())
    described["crc32"]["weight_0.mem"] = f"{zlib.crc32(text.encode()):08x}"
    header.write_text(json.dumps(sealed(described)))
    words = ["verify", str(out), "--images", "2", "--sim", "pysim"]
    status, output, _ = run([*words, "--rtl", str(other)], capsys)
    assert status == 1
    assert "NOT EQUAL: first mismatch: image 0, layer" in output
    assert "channel 0, y " in output
    assert ", step 1: membrane expected " in output
    assert run(words, capsys)[0] == 0


def test_other_schemas(out, work, capsys):
    path = out / "network.json"
    header = json.loads(path.read_text())
    path.write_text(json.dumps(header | {"schema": header["schema"] + 1}))
    refused(["verify", str(out)], capsys, "network.json", "schema version", "newer", "upgrade")
    path.write_text(json.dumps(header | {"schema": header["schema"] - 1}))
    refused(["verify", str(out)], capsys, "network.json", "schema version", "older", "compile")


def test_image_of_the_wrong_size(out, work, capsys):
    np.savez("frames.npz", x=np.zeros((4, 1, 28, 28), np.uint8), y=np.zeros(4, np.int64))
    expected = ("frames.npz", "(4, 1, 28, 28)", "(N, 1, 10, 10)")
    refused(["verify", str(out), "--data", "frames.npz"], capsys, *expected)
    refused(["eval", str(out), "--data", "frames.npz"], capsys, *expected)


def test_too_few_frames(out, work, built, capsys):
    words = ["verify", str(out), "--data", str(built / "data.npz"), "--images", "21"]
    refused(words, capsys, "data.npz", "holds 20 images, 21 were asked for")


def test_eval_needs_labels(out, work, capsys):
    np.savez("frames.npz", x=np.zeros((4, 1, 10, 10), np.uint8))
    refused(["eval", str(out), "--data", "frames.npz"], capsys, "frames.npz", "labels")


@pytest.mark.parametrize("labels", [[0, 1, 2, 10], [-1, 0, 0, 0]])
def test_eval_needs_labels_that_the_network_has(out, work, capsys, labels):
    classes = math.prod(read_build(out).network.layers[-1].shape)
    wrong = [min(label, classes) for label in labels]
    np.savez("frames.npz", x=np.zeros((4, 1, 10, 10), np.uint8), y=wrong)
    expected = ("frames.npz", f"labels are {min(wrong)}..{max(wrong)}", f"0..{classes - 1}")
    refused(["eval", str(out), "--data", "frames.npz"], capsys, *expected)


def test_unknown_data(out, work, capsys):
    refused(["eval", str(out), "--data", "imagenet"], capsys, "imagenet", "fashion-mnist")


def test_missing_compiler(out, work, capsys, monkeypatch):
    monkeypatch.setenv("PATH", str(work))
    monkeypatch.delenv("CXX", raising=False)
    refused(["verify", str(out), "--images", "1"], capsys, "g++")


# -------------------------------------------------------------------------------- what is right


def test_compile_writes_everything(out, capsys):
    names = {path.name for path in out.iterdir()}
    assert names >= {
        *("network.json", "float.npz", "top.v", "top.json", "expected.npz"),
        *("report.html", "report.json", "program.mem", "axis.mem", "weight_0.mem"),
    }
    ports = json.loads((out / "top.json").read_text())["ports"]
    assert {"clk", "rst"} <= ports.keys()
    assert "module spikewright_top(" in (out / "top.v").read_text()
    with np.load(out / "expected.npz") as expected:
        assert expected["x"].shape == (20, 1, 10, 10)
        assert expected["potentials"].shape == (20, 4)
        assert np.array_equal(expected["classes"], expected["potentials"].argmax(1))


def test_compile_replaces_a_build(out, work, built, capsys):
    words = ["compile", "nets.py:good", *SHAPE, "-T", "2", "--lanes", "8", "-o", str(out)]
    status, output, _ = run([*words, "--calib", str(built / "data.npz")], capsys)
    assert status == 0
    assert "T=2, 1 x 8 lanes" in output
    assert json.loads((out / "network.json").read_text())["network"]["steps"] == 2
    assert [path.name for path in work.iterdir() if path.name.startswith(".")] == []


def test_calibrated_build(work, capsys):
    """It is recorded, and answers for its own T only; the ANN is the one that was given."""
    pixels = np.random.default_rng(1).integers(256, size=(20, 1, 10, 10), dtype=np.uint8)
    np.savez("data.npz", x=pixels, y=np.zeros(20, np.int64))
    words = ["compile", "nets.py:good", *SHAPE, "-T", "2", "--calib", "data.npz"]
    refused([*words, "--calibrate", "--neuron", "hpc"], capsys, "calibrate: layer 0", "plain IF")
    results = {}
    for name, more in (("plain", []), ("fitted", ["--calibrate"])):
        assert run([*words, *more, "-o", name], capsys)[0] == 0
        about = json.loads(Path(name, "network.json").read_text())["about"]
        assert about["calibrated"] == bool(more)
        assert run(["eval", name, "--data", "data.npz"], capsys)[0] == 0
        results[name] = json.loads(Path(name, "eval.json").read_text())
    assert results["plain"]["prefixes"]
    assert not results["fitted"]["prefixes"]
    assert [row["T"] for row in results["fitted"]["by_T"]] == [2]
    assert results["fitted"]["accuracy"]["ann"] == results["plain"]["accuracy"]["ann"]
    assert results["fitted"]["spikes"] != results["plain"]["spikes"]


def test_compile_without_calibration_warns(work, capsys):
    status = main(["compile", "nets.py:good", *SHAPE, "-T", "2"])
    captured = capsys.readouterr()
    assert status == 0
    assert captured.err.count("\n") == 1
    assert captured.err.startswith("spikewright: warning: no calibration images")
    about = json.loads(Path("out/network.json").read_text())["about"]
    assert "calibration" in about["warnings"][0]


MODELS = [
    (
        "quantised",
        "--neuron qffs",
        "bounded signed IF (QFFS), counts up to 4; event max pool (QFFS)",
    ),
    (
        "quantised",
        "--neuron hpc --smax 4 --negative at-threshold --code isi",
        "buffered IF (HPC), up to 4 spikes a step, taken back at the negative threshold; "
        "event max pool (QFFS), up to 4 spikes a step",
    ),
    (
        "averaging",
        "--neuron ca-lif --code poisson",
        "Ca-LIF, counts up to 4, rounded until drained",
    ),
    ("averaging", "--neuron tsc --code tsc", "TSC, a window per layer"),
    (
        "averaging",
        "--neuron tsc --window overlapped --latch --tie fires",
        "TSC, overlapped, at most one pair, firing at the threshold",
    ),
    ("averaging", "--code events --tie holds", "IF, silent at the threshold"),
    ("averaging", "--code direct", "IF"),
    (
        "quantised",
        "--neuron qffs --readout counts --output-zmax 7 --exact",
        "bounded signed IF (QFFS), counts up to 4; event max pool (QFFS); "
        "bounded signed IF (QFFS), counts up to 7",
    ),
]


def test_tsc_as_printed_deviates(work, capsys):
    """Without a latch, its neurons send more spikes than the paper counts."""
    x = np.random.default_rng(0).integers(256, size=(10, 1, 10, 10), dtype=np.uint8)
    np.savez("data.npz", x=x, y=np.arange(10) % 4)
    options = "-T 16 --neuron tsc --window overlapped --code tsc --data data.npz"
    assert run(["compile", "nets.py:averaging", *SHAPE, *options.split()], capsys)[0] == 0
    status, output, _ = run(["eval", "out", "--data", "data.npz"], capsys)
    assert status == 0
    assert "\ndeviating: TSC promises two spikes a neuron" in output
    assert json.loads(Path("out/eval.json").read_text())["deviates"]


@pytest.mark.parametrize(("net", "options", "text"), MODELS, ids=[case[1] for case in MODELS])
def test_models_and_codes(net, options, text, work, capsys):
    """Compiled, evaluated and reported, in the words of the papers."""
    channels = 4 if "events" in options else 1
    x = np.random.default_rng(0).integers(256, size=(10, channels, 10, 10), dtype=np.uint8)
    np.savez("data.npz", x=x // 128 if channels > 1 else x, y=np.arange(10) % 4)
    words = ["compile", f"nets.py:{net}", *SHAPE, "-T", "4", "--lanes", "4", *options.split()]
    status, output, errors = run([*words, "--data", "data.npz"], capsys)
    assert (status, errors) == (0, [])
    assert f"\nneurons: {text}\n" in output
    status, output, errors = run(["eval", "out", "--data", "data.npz"], capsys)
    assert (status, errors) == (0, [])
    assert output.startswith("10 images (data.npz), T=4\n")
    assert f"\nneurons: {text}; code: " in output
    assert "\ndeviating: " not in output
    facts = json.loads(Path("out/report.json").read_text())
    conversion = facts["build"]["about"]["conversion"]
    assert conversion["neuron"] == (options.split()[1] if "--neuron" in options else "if")
    assert facts["build"]["model"]["neurons"] == text
    result = facts["eval"]
    assert {len(values) for values in result["over_time"].values()} == {facts["build"]["steps"]}
    prefixes = net == "averaging" and options.startswith("--code direct")
    assert result["prefixes"] is prefixes
    assert [row["T"] for row in result["by_T"]] == ([1, 2, 3, 4] if prefixes else [4])
    names = ("float_snn", "integer_snn", "spikes", "synaptic_operations")
    assert result["by_T"][-1] == {
        "T": 4,
        **{name: result["over_time"][name][-1] for name in names},
    }
    assert ("is a result: compile for another T" in output) is not prefixes
    assert facts["eval"]["input_steps"] == facts["build"]["input_steps"] == 4
    assert facts["sample"]["reproduced"]
    page = Path("out/report.html").read_text()
    assert f"Neurons: {text}." in page
    if net == "quantised":
        assert "max pool 2×2" in page


def test_a_short_settle_phase_is_warned_about(work, capsys):
    words = ["compile", "nets.py:quantised", *SHAPE, "-T", "4", "--neuron", "qffs", "--settle", "0"]
    assert main(words) == 0
    error = capsys.readouterr().err
    assert error.startswith("spikewright: warning: settle: 0 steps after the input, but exact")
    assert error.count("\n") == 1


def test_a_converted_network_keeps_its_neurons(out, work, capsys):
    words = ["compile", str(out / "float.npz"), "-T", "3", "--lanes", "4", "-o", "again"]
    refused([*words, "--neuron", "hpc"], capsys, "is converted already")
    assert run(words, capsys)[0] == 0
    for name in ("weight_0.mem", "parameter_0.mem"):
        assert (work / "again" / name).read_bytes() == (out / name).read_bytes()


def test_json_is_all_that_is_printed(out, capsys):
    status, output, errors = run(["report", str(out), "--json"], capsys)
    assert (status, errors) == (0, [])
    facts = json.loads(output)
    assert facts == json.loads((out / "report.json").read_text())
    assert facts["build"]["about"]["command"].startswith("spikewright compile ")


def test_eval_from_the_build_alone(out, built, capsys):
    words = ["eval", str(out), "--data", str(built / "data.npz"), "--json"]
    status, output, _ = run(words, capsys)
    assert status == 0
    result = json.loads(output)
    assert result == json.loads((out / "eval.json").read_text())
    assert result["images"] == 20
    course = result["over_time"]
    assert result["accuracy"]["float_snn"] == course["float_snn"][-1]
    assert result["accuracy"]["integer_snn"] == course["integer_snn"][-1]
    assert (result["label"], result["weight_bits"], result["input_steps"]) == ("IF", 8, 3)
    assert result["compile"] == json.loads((out / "network.json").read_text())["about"]
    assert set(result["seconds"]) == {"ann", "float_snn", "integer_snn"}
    assert (result["seed"], result["about"]["command"][:17]) == (None, "spikewright eval ")
    with np.load(out / "expected.npz") as expected:
        right = (expected["classes"] == expected["y"]).mean()
        outputs = np.sort(expected["potentials"], 1)
        (counts,) = (expected[name] for name in expected.files if name.startswith("spikes."))
    assert result["accuracy"]["integer_snn"] == pytest.approx(right)
    assert result["ties"] == (outputs[:, -1] == outputs[:, -2]).mean()
    assert result["spikes"] == pytest.approx(counts.sum() / 20, abs=0.05)
    assert result["spikes"] == course["spikes"][-1]
    assert result["neurons"] == counts[0].size
    assert result["spikes_per_neuron"] == pytest.approx(counts.mean(), abs=1e-4)
    assert result["most_spikes"] == counts.max() > 0
    sample = json.loads((out / "report.json").read_text())["sample"]
    assert result["synaptic_operations"] == pytest.approx(sample["synaptic_operations"], abs=0.2)
    assert json.loads((out / "report.json").read_text())["eval"] == result


def test_eval_prints_a_table(out, built, capsys):
    words = ["eval", str(out), "--data", str(built / "data.npz"), "--images", "8"]
    status, output, _ = run(words, capsys)
    assert status == 0
    lines = output.splitlines()
    assert lines[0] == "8 images (data.npz), T=3"
    assert " ".join(lines[1].split()) == "t float SNN integer SNN spikes synaptic operations"
    assert [line.split()[0] for line in lines[2:5]] == ["1", "2", "3"]
    result = json.loads((out / "eval.json").read_text())
    for line, t in zip(lines[2:5], (1, 2, 3), strict=True):
        (row,) = (row for row in result["by_T"] if row["T"] == t)
        shares = [f"{100 * row[name]:.2f}" for name in ("float_snn", "integer_snn")]
        work = [f"{row[name]:,.0f}" for name in ("spikes", "synaptic_operations")]
        assert line.replace("%", "").split() == [str(t), *shares, *work]
    assert "a neuron, 3 at most of a neuron, 0.00 % ties" in output
    for stage in ("ANN", "float SNN", "integer SNN"):
        assert f"\n{stage}" in output


def test_eval_saves_a_labelled_copy(out, built, work, capsys):
    words = ["eval", str(out), "--data", str(built / "data.npz"), "--images", "8"]
    assert run([*words, "--label", "mine", "--save", "result.json"], capsys)[0] == 0
    assert Path("result.json").read_text() == (out / "eval.json").read_text()
    assert json.loads(Path("result.json").read_text())["label"] == "mine"
    before = (out / "eval.json").read_bytes()
    refused([*words, "--save", "nowhere/result.json"], capsys, "nowhere", "does not exist")
    assert (out / "eval.json").read_bytes() == before


def test_one_run_serves_every_shorter_one(work, capsys):
    """Without biases nothing of the integers depends on T."""
    x = np.random.default_rng(0).integers(256, size=(40, 1, 10, 10), dtype=np.uint8)
    np.savez("data.npz", x=x, y=np.arange(40) % 4)
    rows = {}
    for steps in (2, 5):
        words = ["compile", "nets.py:unbiased", *SHAPE, "-T", str(steps), "--lanes", "4"]
        assert run([*words, "--calib", "data.npz", "-o", f"t{steps}"], capsys)[0] == 0
        _, output, _ = run(["eval", f"t{steps}", "--data", "data.npz", "--json"], capsys)
        rows[steps] = json.loads(output)["by_T"]
    assert rows[5][:2] == rows[2]
    assert rows[5][4] != rows[5][1]


def idx(path, values):
    """An idx file of bytes, as MNIST has them."""
    sizes = b"".join(n.to_bytes(4, "big") for n in values.shape)
    path.write_bytes(bytes((0, 0, 8, values.ndim)) + sizes + values.astype(np.uint8).tobytes())


def test_train_then_compile(work, capsys):
    """What train saves, compile takes without a shape."""
    random = np.random.default_rng(0)
    for stem, images in (("train", 60), ("t10k", 20)):
        labels = np.arange(images) % 10
        pixels = random.integers(40, size=(images, 28, 28)) + 20 * labels[:, None, None]
        idx(work / f"{stem}-images-idx3-ubyte", pixels)
        idx(work / f"{stem}-labels-idx1-ubyte", labels)
    words = ["--net", "mlp", "--data", "mnist", "--data-dir", ".", "--epochs", "2", "-T", "3"]
    words += ["--batch", "10", "--validation", "10", "--width", "0.1", "-o", "m.safetensors"]
    status, output, errors = run(["train", *words], capsys)
    assert (status, errors) == (0, [])
    assert "wrote m.safetensors" in output
    status, output, errors = run(["compile", "m.safetensors", "-T", "3", "--lanes", "4"], capsys)
    assert (status, errors) == (0, [])
    facts = json.loads(Path("out/report.json").read_text())
    assert facts["build"]["input"] == [1, 28, 28]
    assert [layer["neurons"] for layer in facts["layers"]] == [13, 10]


def test_train_refuses(work, capsys):
    refused(["train", "--net", "vgg", "--data-dir", "."], capsys, "net vgg", "lenet5")
    refused(["train", "--data", "mnist", "--data-dir", "."], capsys, "train-images-idx3-ubyte")


@pytest.mark.parametrize("sim", ["pysim", "verilator"])
def test_verify(sim, out, capsys):
    words = ["verify", str(out), "--images", "2", "--trace-images", "1", "--sim", sim, "--json"]
    status, output, _ = run(words, capsys)
    assert status == 0
    result = json.loads(output)
    assert (result["equal"], result["images"], result["traced"]) == (True, 2, 1)
    assert "sample frames" in result["frames"]


def test_boards(capsys):
    status, output, _ = run(["boards", "--json"], capsys)
    assert status == 0
    assert "ulx3s-85f" in [board["name"] for board in json.loads(output)["boards"]]


@pytest.mark.parametrize(
    "command",
    ["demo", "train", "compile", "verify", "eval", "compare", "synth", "report", "boards"],
)
def test_help_has_an_example(command, capsys):
    status, output, _ = run([command, "--help"], capsys)
    assert status == 0
    assert f"example: spikewright {command}" in output


def test_help_imports_nothing_heavy():
    code = (
        "import sys; from spikewright.app.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "print(sorted({'torch', 'numpy', 'amaranth', 'cocotb'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("[]\n")


def test_a_build_needs_no_torch(out):
    """What works without torch, works: the golden model, verification, the report."""
    code = (
        "import sys; sys.modules['torch'] = None; from spikewright.app.cli import main\n"
        "words = ['verify', sys.argv[1], '--images', '1', '--sim', 'pysim']\n"
        "sys.exit(main(['report', sys.argv[1]]) or main(words))"
    )
    command = [sys.executable, "-c", code, str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "equal: outputs of 1 images" in done.stdout


def test_interrupt():
    code = (
        "import signal, spikewright.app.cli as cli, time\n"
        # A shell's background job starts with SIGINT ignored, and this process may be in one.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "def wait(args, progress):\n"
        "    print('waiting', flush=True)\n"
        "    time.sleep(60)\n"
        "cli._COMMANDS['boards'] = (wait, print)\n"
        "raise SystemExit(cli.main(['boards']))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout.readline() == "waiting\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130
        assert process.stderr.read() == "spikewright: interrupted\n"


# ------------------------------------------------------------------------------------- progress bar


def test_nothing_is_drawn_on_a_pipe(capsys):
    with Progress(delay=0) as progress:
        progress("working", 0.5)
        time.sleep(0.5)
    assert capsys.readouterr().err == ""


def test_bar_on_a_terminal():
    ours, theirs = os.openpty()
    with open(theirs, "w") as terminal, Progress(terminal, delay=0) as progress:
        progress("working", 0.5)
        time.sleep(0.5)
        assert progress.line(65) == "working [############............]  50% 1:05"  # from there
    drawn = b""
    with open(ours, "rb", buffering=0) as screen, contextlib.suppress(OSError):
        while part := screen.read(4096):  # until the other end, now closed, is empty
            drawn += part
    assert b"working [############" in drawn
    assert drawn.endswith(b"\r\x1b[2K")


def test_time_left_goes_on_with_the_share(monkeypatch):
    """As in training, whose label tells the epoch while its share is that of all of them."""
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    ours, theirs = os.openpty()
    with open(theirs, "w") as terminal, os.fdopen(ours, "rb"):
        progress = Progress(terminal)
        monkeypatch.setattr(progress, "_thread", object())  # nothing is drawn but on demand
        progress("epoch 1", 0.1)
        now[0] = 160.0
        progress("epoch 2", 0.4)
        assert progress._since == 100.0
        assert progress.line(60) == "epoch 2 [##########..............]  40% 1:00, 2:00 left"
        assert progress.line(7200).endswith(" 40% 2:00:00, 4:00:00 left")
        for label, done in (("another", 0.4), ("smaller", 0.3), ("unknown", None), ("new", 0.5)):
            now[0] += 1
            progress(label, done)
            assert progress._since == now[0]
            assert "left" not in progress.line(5)


def test_without_a_board_nothing_limits_the_size(work, capsys):
    """The board refuses what it cannot hold; for none there is Verilog, but no bitstream."""
    net = "nn.Sequential(nn.Flatten(), nn.Linear(100, 5000), nn.ReLU(), nn.Linear(5000, 4))"
    (work / "wide.py").write_text(f"from torch import nn\ndef make():\n    return {net}\n")
    words = [*SHAPE, "-T", "2", "--lanes", "4"]
    status, _, errors = run(["compile", "wide.py:make", *words, "-o", "tight"], capsys)
    assert status == 1
    assert "ulx3s-85f: the network needs about" in errors[0]
    words = ["compile", "nets.py:good", *words, "--board", "none", "-o", "free"]
    status, printed, _ = run(words, capsys)
    assert (status, "for no board" in printed) == (0, True)
    assert (work / "free" / "top.v").stat().st_size > 0
    status, _, errors = run(["synth", "free"], capsys)
    assert status == 1
    assert "free: is for no board; give its top.v and .mem files to the tools" in errors[0]
    assert run(["report", "free"], capsys)[0] == 0
