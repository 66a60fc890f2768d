"""Compiling: what it accepts, what it writes, what it refuses."""

import json
from pathlib import Path

import numpy as np
import pytest

from spikewright.app.cli import main
from tests.app.commands import SHAPE, refused, run


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
        (
            ["--neuron", "ca-lif", "--smax", "8", "-T", "4"],
            ("Smax 8: Zmax 4 bounds the count", "smaller Smax"),
        ),
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

    monkeypatch.setattr("spikewright.app.writing._write_expected", full)
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


def test_compile_writes_everything(out, capsys):
    names = {path.name for path in out.iterdir()}
    assert names >= {
        *("network.json", "float.npz", "top.v", "top_trace.v", "top.json", "expected.npz"),
        *("report.html", "report.json", "program.mem", "axis.mem", "weight_0.mem"),
    }
    ports = json.loads((out / "top.json").read_text())["ports"]
    assert {"clk", "rst"} <= ports.keys()
    assert "module spikewright_top(" in (out / "top.v").read_text()
    assert "trace" in (out / "top_trace.v").read_text()
    passes = json.loads((out / "network.json").read_text())["about"]["passes"]
    assert [one["name"] for one in passes] == ["convert", "quantise", "map"]
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
