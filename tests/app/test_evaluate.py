"""Evaluation: its figures, and what it refuses."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from spikewright import read_build
from tests.app.commands import SHAPE, refused, run


def test_image_of_the_wrong_size(out, work, capsys):
    np.savez("frames.npz", x=np.zeros((4, 1, 28, 28), np.uint8), y=np.zeros(4, np.int64))
    expected = ("frames.npz", "(4, 1, 28, 28)", "(N, 1, 10, 10)")
    refused(["verify", str(out), "--data", "frames.npz"], capsys, *expected)
    refused(["eval", str(out), "--data", "frames.npz"], capsys, *expected)


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
