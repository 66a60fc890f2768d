"""The results page: numbers from the files and nowhere else."""

import copy
import json
import re
from pathlib import Path

import pytest

from spikewright.errors import SpikewrightError
from spikewright.sw import results
from spikewright.sw.experiments import EXPERIMENTS

ROOT = Path(__file__).parents[2]


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


def test_every_aim_is_met_by_good_results_and_missed_by_bad(everything):
    aims = results.page(everything).split("## LeNet-5")[0]
    assert aims.count("| yes |") == len(rows_of(aims, "")) - 2
    worse = {name: result(name, 0.7) for name in EXPERIMENTS}
    aims = results.page(worse).split("## LeNet-5")[0]
    for aim in ("MNIST, integer SNN, T = 8", "Fashion-MNIST: at T = 8", "CIFAR-10"):
        (row,) = rows_of(aims, aim)
        assert "| **no**" in row
    (row,) = rows_of(aims, "Fashion-MNIST: at T = 8")
    assert "TSC loses 29.50" in row


def test_an_aim_for_every_method_is_not_met_without_one(everything):
    some = {name: each for name, each in everything.items() if name != "lenet5-mnist-nq"}
    aims = results.page(some).split("## LeNet-5")[0]
    for aim in ("MNIST: integer SNN at the paper's T", "MNIST: every ANN"):
        (row,) = rows_of(aims, aim)
        assert "NQ not measured" in row
        assert "| **no**" in row


def test_each_kind_of_neuron_has_its_own_name_among_the_aims(everything):
    """Plain ReLU, calibrated, and TSC are three networks of one training."""
    mixed = copy.deepcopy(everything)
    for key, accuracy in (("ReLU, IF", 0.92), ("ReLU, calibrated", 0.93), ("ReLU, TSC", 0.94)):
        for run in mixed["lenet5-fashion-mnist-relu"]["evaluations"].values():
            if run["label"] == key:
                for row in run["by_T"]:
                    row["integer_snn"] = accuracy
    lowest = {name: each for name, each in mixed.items() if name == "lenet5-fashion-mnist-relu"}
    aims = results.page(lowest).split("## LeNet-5")[0]
    assert "TSC 94.00" in rows_of(aims, "Fashion-MNIST, integer SNN, T = 8")[0]
    assert "TSC loses 5.50" in rows_of(aims, "Fashion-MNIST: at T = 8")[0]


def test_the_least_loss_of_four_bits_is_named_and_may_be_a_gain(everything):
    better = everything | {"lenet5-mnist-hpc-4bit": result("lenet5-mnist-hpc-4bit", 0.995)}
    aims = results.page(better).split("## LeNet-5")[0]
    (row,) = rows_of(aims, "MNIST: 4-bit weights")
    assert row.endswith("| HPC gains 0.09 | yes |")


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
        results._read(tmp_path)
    path = tmp_path / "mlp-mnist-qcfs.json"
    path.write_text(json.dumps(everything["mlp-mnist-qcfs"]))
    assert list(results._read(tmp_path)) == ["mlp-mnist-qcfs"]
    path.write_text("{")
    with pytest.raises(SpikewrightError, match=r"mlp-mnist-qcfs.json: is not JSON"):
        results._read(tmp_path)


def test_the_page_in_the_docs_is_that_of_the_files():
    found = results._read(ROOT / "docs" / "results")
    assert (ROOT / "docs" / "results.md").read_text() == results.page(found)
    for name, each in found.items():
        assert each["name"] == name
        assert not re.search(r"[ =\"]/[a-z]", json.dumps(each)), "a path of a machine"
