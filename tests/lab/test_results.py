"""The results page: numbers from the files and nowhere else."""

import copy
import json
import re
from pathlib import Path

import pytest

from lab import measured, results
from lab.experiments import EXPERIMENTS
from spikewright.errors import SpikewrightError

ROOT = Path(__file__).parents[2]
TITLES = {"mnist": "MNIST", "fashion-mnist": "Fashion-MNIST"}


def evaluation(label, steps, accuracy, *, prefixes=False, settle=0):
    """An evaluation whose integer SNN has `accuracy` at the end, and less before."""
    every = [accuracy - 0.001 * (steps + settle - t) for t in range(1, steps + settle + 1)]
    over = {
        "integer_snn": every,
        "float_snn": [a + 0.0001 for a in every],
        "spikes": [10.0 * t for t in range(1, len(every) + 1)],
        "synaptic_operations": [1000.0 * t for t in range(1, len(every) + 1)],
    }
    times = range(1, steps + 1) if prefixes else [steps]
    rows = [{"T": t, **{k: v[t - 1 if prefixes else -1] for k, v in over.items()}} for t in times]
    return {
        "label": label,
        "input_steps": steps,
        "steps": steps + settle,
        "accuracy": {"ann": 0.995},
        "by_T": rows,
        "over_time": over,
        "neurons": 5,
        "spikes_per_neuron": 1.25,
        "most_spikes": 2,
    }


def result(name, accuracy):
    runs = {}
    for run in EXPERIMENTS[name].runs:
        timeless = run.label.endswith("IF") and "Ca-LIF" not in run.label
        settle = 9 if run.label == "QFFS" else 0
        made = evaluation(run.label, run.steps, accuracy, prefixes=timeless, settle=settle)
        runs[run.name] = made
    command = f"spikewright compile {name}.safetensors -T 8 -o out"
    verify = {"traced": 10, "equal": True, "clocks": {"mean": 12345.6}}
    return {
        "training": {
            "command": f"spikewright train --of {name}",
            "settings": {"seed": 7, "epochs": 12},
            "epoch": 11,
            "seconds": [[8.0, 1.0], [9.0, 1.0], [30.0, 1.0]],
            "accuracy": {"snn_validation": 0.5},
            "date": "2026-01-02T03:04:05Z",
            "commit": "0123456789abcdef",
        },
        "evaluations": runs,
        "verifications": {"a": {"label": "IF", "compile": {"command": command}, "verify": verify}},
    }


@pytest.fixture(scope="module")
def everything():
    return {name: result(name, 0.9941) for name in EXPERIMENTS}


def rows_of(page, start):
    return [line for line in page.splitlines() if line.startswith(f"| {start}")]


def aims(page):
    """What is reached and whether it is enough, by aim."""
    rows = [line.split(" | ") for line in page.split("## LeNet-5")[0].splitlines()]
    table = [row for row in rows if len(row) == 3]
    return {row[0][2:]: (row[1], row[2][:-2]) for row in table[2:]}  # below the header


def the(found, start):
    (value,) = (value for aim, value in found.items() if aim.startswith(start))
    return value


def put(results, name, label, steps, accuracy):
    """Let the integer SNN of a network have `accuracy` at T, or wherever its QFFS has settled."""
    for run in results[name]["evaluations"].values():
        if run["label"] == label:
            for row in run["by_T"]:
                if row["T"] == steps:
                    row["integer_snn"] = accuracy
            if label == "QFFS":
                run["over_time"]["integer_snn"][steps - 1] = accuracy


def lenets(dataset):
    """Network, label and T of every 8-bit run of a set."""
    for name, experiment in EXPERIMENTS.items():
        if name.startswith(f"lenet5-{dataset}-") and not name.endswith("4bit"):
            for run in experiment.runs:
                yield from ((name, run.label, t) for t in (4, 8, run.steps))


def test_every_aim_is_met_by_good_results_and_missed_by_bad(everything):
    found = aims(results.page(everything))
    assert len(found) == 11
    assert {met for _, met in found.values()} == {"yes"}
    worse = aims(results.page({name: result(name, 0.7) for name in EXPERIMENTS}))
    for aim in ("MNIST, integer SNN, T = 8", "Fashion-MNIST: integer SNN", "CIFAR-10"):
        assert the(worse, aim)[1] == "**no**"
    assert "TSC loses 29.50" in the(worse, "Fashion-MNIST: integer SNN")[0]


@pytest.mark.parametrize(
    ("dataset", "steps", "number", "least"),
    [("mnist", 8, 2, 0.992), ("mnist", 4, 1, 0.990), ("fashion-mnist", 8, 1, 0.900)],
)
def test_so_many_methods_reach_so_much(everything, dataset, steps, number, least):
    aim = f"{TITLES[dataset]}, integer SNN, T = {steps}"
    for given, met in ((least, "yes"), (least - 0.0001, "**no**")):
        changed = copy.deepcopy(everything)
        for name, label, t in lenets(dataset):
            put(changed, name, label, t, 0.8 if t == steps else 0.9999)
        put(changed, f"lenet5-{dataset}-hpc", "HPC", steps, given)
        if number == 2:
            put(changed, f"lenet5-{dataset}-relu", "ReLU, calibrated", steps, 0.9999)
        assert the(aims(results.page(changed)), aim)[1] == met


@pytest.mark.parametrize(("dataset", "most"), [("mnist", 0.003), ("fashion-mnist", 0.01)])
@pytest.mark.parametrize(
    ("name", "method", "label", "steps"),
    [
        ("QCFS", "qcfs", "IF", 8),
        ("NQ", "nq", "IF", 8),
        ("HPC", "hpc", "HPC", 8),
        ("QFFS", "qffs", "QFFS", 12),
        ("Ca-LIF one", "calif", "Ca-LIF one", 128),
        ("Ca-LIF drain", "calif", "Ca-LIF drain", 128),
        ("TSC", "relu", "ReLU, TSC", 256),
    ],
)
def test_each_method_is_near_its_own_network(everything, dataset, most, name, method, label, steps):
    aim = f"{TITLES[dataset]}: integer SNN"
    for loss, met in ((most, "yes"), (most + 0.0001, "**no**")):
        changed = copy.deepcopy(everything)
        put(changed, f"lenet5-{dataset}-{method}", label, steps, 0.995 - loss)
        reached = the(aims(results.page(changed)), aim)
        assert reached[1] == met
        assert f"{name} loses {100 * loss:.2f}" in reached[0]


@pytest.mark.parametrize(
    ("dataset", "usual", "two_bits"), [("mnist", 0.99, 0.988), ("fashion-mnist", 0.89, 0.875)]
)
@pytest.mark.parametrize("method", ["qcfs", "nq", "hpc", "qffs", "calif", "relu"])
def test_each_network_is_good_before_conversion(everything, dataset, usual, two_bits, method):
    least = two_bits if method == "qffs" else usual
    for given, met in ((least, "yes"), (least - 0.0001, "**no**")):
        changed = copy.deepcopy(everything)
        for run in changed[f"lenet5-{dataset}-{method}"]["evaluations"].values():
            run["accuracy"]["ann"] = given
        assert the(aims(results.page(changed)), f"{TITLES[dataset]}: every ANN")[1] == met


@pytest.mark.parametrize("dataset", ["mnist", "fashion-mnist"])
def test_four_bits_lose_little_on_both_sets(everything, dataset):
    """With one method: no other has less on either set."""
    for loss, met in ((0.005, "yes"), (0.0051, "**no**"), (-0.0002, "yes")):
        changed = copy.deepcopy(everything)
        for name, experiment in EXPERIMENTS.items():
            if name.endswith("4bit"):
                for run in experiment.runs:
                    put(changed, name, run.label, 12 if run.label == "QFFS" else run.steps, 0.9)
                    put(changed, name, run.label, 8, 0.9)
        for each in ("mnist", "fashion-mnist"):
            drop = loss if each == dataset else min(loss, 0.001)
            put(changed, f"lenet5-{each}-hpc-4bit", "HPC", 8, 0.9941 - drop)
        put(changed, "lenet5-mnist-nq-4bit", "IF", 8, 0.9941)  # on one set alone
        word = "loses" if loss > 0 else "gains"
        found = the(aims(results.page(changed)), "4-bit weights")
        assert found == (f"HPC {word} {abs(100 * loss):.2f}", met)


@pytest.mark.parametrize(
    ("aim", "name", "least"),
    [("MLP", "mlp-mnist-qcfs", 0.975), ("CIFAR-10", "vgg8-cifar10-qcfs", 0.80)],
)
def test_other_networks_reach_so_much(everything, aim, name, least):
    for given, met in ((least, "yes"), (least - 0.0001, "**no**")):
        changed = copy.deepcopy(everything)
        put(changed, name, "IF", 8, given)
        assert the(aims(results.page(changed)), aim)[1] == met


def test_every_median_epoch_counts(everything):
    aim = "LeNet-5 on MNIST: a median epoch"
    for median, met in ((15.0, "yes"), (15.1, "**no**")):
        changed = copy.deepcopy(everything)
        seconds = [[1.0, 1.0], [median, 1.0], [99.0, 1.0]]
        changed["lenet5-mnist-nq-4bit"]["training"]["seconds"] = seconds
        changed["lenet5-fashion-mnist-nq"]["training"]["seconds"] = [[99.0, 1.0]]
        assert the(aims(results.page(changed)), aim) == (f"9.0 to {median} s", met)
    for unknown in ({}, {"seconds": []}):
        changed = copy.deepcopy(everything)
        del changed["lenet5-mnist-nq"]["training"]["seconds"]
        changed["lenet5-mnist-nq"]["training"] |= unknown
        found = the(aims(results.page(changed)), aim)
        assert found == ("9.0 to 9.0 s, 1 of 12 not measured", "**no**")


def test_an_aim_for_every_method_is_not_met_without_one(everything):
    some = {name: each for name, each in everything.items() if name != "lenet5-mnist-nq"}
    found = aims(results.page(some))
    for aim in ("MNIST: integer SNN", "MNIST: every ANN"):
        reached, met = the(found, aim)
        assert "NQ not measured" in reached
        assert met == "**no**"


def test_tables_hold_what_the_files_say(everything):
    page = results.page(everything)
    (row,) = rows_of(page, "QCFS | 8 bits | integer SNN")[:1]
    # T = 1, 2, 4, 8 of the build for 8; 16 and 32 of that for 32.
    assert row.split(" | ")[3:] == [
        *("99.50", "98.71", "98.81", "99.01", "99.41", "97.81", "99.41 |"),
    ]
    (row,) = rows_of(page, "QFFS | 4 bits | integer SNN")[:1]
    assert row.split(" | ")[3:] == [
        *("99.50", "98.31", "98.41", "98.61", "99.01", "99.41", "99.41 |"),
    ]
    assert rows_of(page, "drain | 4 bits | integer SNN")[0].split(" | ")[4:] == [
        *(["99.41"] * 7),
        "99.41 |",
    ]
    assert "| TSC | 8 bits | spikes a neuron, mean |  | 1.25 |" in page
    (row,) = rows_of(page, "mlp-mnist-qcfs | 7 |")
    assert "| 11 of 12 | 9.0 s | 0.8 min | 50.00 | 2026-01-02T03:04:05Z | 0123456789 |" in row
    assert "    spikewright train --of mlp-mnist-qcfs\n" in page
    (row,) = rows_of(page, "mlp-mnist-qcfs | IF | -T 8")
    assert row.endswith("| 10 | equal | 12,346 |")


def test_a_difference_in_the_hardware_is_shown(everything):
    broken = copy.deepcopy(everything)
    broken["mlp-mnist-qcfs"]["verifications"]["a"]["verify"]["equal"] = False
    assert results.page(broken).count("NOT EQUAL") == 1


def test_what_is_not_measured_is_not_met(everything):
    page = results.page({"mlp-mnist-qcfs": everything["mlp-mnist-qcfs"]})
    (row,) = rows_of(page, "CIFAR-10")
    assert row.startswith("| CIFAR-10, fits the 85F, T = 8: 80 | not measured | **no**")


def test_files_are_read_by_name(tmp_path, everything):
    with pytest.raises(SpikewrightError, match="holds no result files; run the experiments first"):
        measured.read(tmp_path)
    path = tmp_path / "mlp-mnist-qcfs.json"
    path.write_text(json.dumps(everything["mlp-mnist-qcfs"]))
    assert list(measured.read(tmp_path)) == ["mlp-mnist-qcfs"]
    path.write_text("{")
    with pytest.raises(SpikewrightError, match=r"mlp-mnist-qcfs.json: is not JSON"):
        measured.read(tmp_path)


def test_the_page_in_the_docs_is_that_of_the_files():
    found = measured.read(ROOT / "docs" / "results")
    assert (ROOT / "docs" / "results.md").read_text() == results.page(found)
    for name, each in found.items():
        assert each["name"] == name
        assert not re.search(r"[ =\"]/[a-z]", json.dumps(each)), "a path of a machine"
