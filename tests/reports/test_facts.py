"""The facts of the report are the build's."""

import json

import numpy as np
import pytest
import torch
from torch import nn

import spikewright
from spikewright.errors import SpikewrightError
from spikewright.reports.facts import clocks, summarise
from spikewright.sim.golden.model import Golden


def test_facts_of_a_fresh_build(build):
    facts = summarise(build, "name")
    json.dumps(facts)
    assert (facts["eval"], facts["verify"], facts["synth"], facts["clocks"]) == (None,) * 4
    result = Golden(build.network).run(np.load(build.directory / "expected.npz")["x"])
    first, last = facts["layers"]
    assert first["spike_rate"] == pytest.approx(result.spike_counts[0].mean() / 3)
    assert last["spike_rate"] is None
    assert first["synaptic_operations"] == pytest.approx(
        result.synaptic_operations[0].mean(), abs=0.05
    )
    assert first["weights"] == 27
    assert first["threshold"] == [
        int(build.network.layers[0].threshold.min()),
        int(build.network.layers[0].threshold.max()),
    ]
    assert 0 < first["weight_error"] < 0.02
    assert facts["memory_bits"] == sum(m.words * m.width for m in build.mapping.shape.memories())
    assert facts["sample"]["reproduced"] is True


def test_raster_shows_the_golden_spikes(build):
    facts = summarise(build, "name")
    frame = np.load(build.directory / "expected.npz")["x"][:1]
    trace = Golden(build.network).run(frame, trace=True).trace[0]
    spikes = trace.spikes[0].reshape(3, -1)
    (layer,) = facts["raster"]["layers"]
    assert layer["active"] == spikes.any(0).sum() > 0
    for row in layer["rows"]:
        assert row["steps"] == [t for t in (1, 2, 3) if spikes[t - 1, row["neuron"]]]


def test_raster_of_pairs_and_events(tmp_path):
    """A TSC neuron's number shows as the two spikes that are sent; raw events as their sum."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(3 * 64, 4))
    x = np.random.default_rng(0).integers(2, size=(4, 5, 10, 10), dtype=np.uint8)
    build = spikewright.compile(
        net,
        conversion=spikewright.Conversion.named(neuron="tsc", code="events"),
        input_spec=spikewright.InputSpec((1, 10, 10), 1),
        steps=5,
        lanes=4,
        data=x,
        calib=x,
        out=tmp_path / "out",
    )
    shown = summarise(build, "name")["raster"]
    assert (shown["peak"], shown["pixels"]) == (5, x[:1].sum(1).tolist())
    (layer,) = shown["layers"]
    number = Golden(build.network).run(x[:1], trace=True).trace[0].spikes[0, -1].ravel()
    assert {1, 2, 3} & set(number.tolist())
    for row in layer["rows"]:
        assert row["steps"] == [1, 1 + number[row["neuron"]]]


def test_changed_sample_is_noticed(build, tmp_path):
    with np.load(build.directory / "expected.npz") as stored:
        arrays = dict(stored)
    arrays["potentials"] = arrays["potentials"] + 1
    original = (build.directory / "expected.npz").read_bytes()
    try:
        np.savez(build.directory / "expected.npz", **arrays)
        assert summarise(build, "name")["sample"]["reproduced"] is False
    finally:
        (build.directory / "expected.npz").write_bytes(original)


@pytest.mark.parametrize(
    "change",
    [
        {"x": np.zeros(3)},
        {"x": np.array(0)},
        {"potentials": np.zeros((1, 3))},
        {"y": np.zeros((8, 2))},
    ],
)
def test_other_sample_frames_are_refused(build, change):
    path = build.directory / "expected.npz"
    original = path.read_bytes()
    with np.load(path) as stored:
        arrays = dict(stored)
    try:
        np.savez(path, **arrays | change)
        with pytest.raises(SpikewrightError, match="does not hold sample frames"):
            summarise(build, "name")
    finally:
        path.write_bytes(original)


def test_clocks_and_utilisation(results):
    verified = results["verify"]
    counted = clocks(verified)
    assert counted["shares"]["integrate"] == 0.6
    assert sum(counted["shares"].values()) == pytest.approx(1.0)
    assert (counted["word_utilisation"], counted["lane_utilisation"]) == (0.85, 0.5)
    assert (counted["mean"], counted["min"], counted["max"]) == (1000.0, 900, 1100)
    assert clocks(verified | {"activity": None}) is None


def test_latency_is_quoted_at_the_clock_that_was_built(build, results):
    files = ("verify.json", "synth.json")
    try:
        (build.directory / "verify.json").write_text(json.dumps(results["verify"]))
        board = summarise(build, "name")["latency"]
        assert board["microseconds"] == pytest.approx(1000 / board["clock_mhz"])
        assert "not built" in board["clock_source"]
        (build.directory / "synth.json").write_text(json.dumps(results["synth"]))
        latency = summarise(build, "name")["latency"]
        assert latency["clock_mhz"] == 50.0
        assert latency["microseconds"] == pytest.approx(20.0)
        assert latency["images_per_second"] == pytest.approx(50_000)
    finally:
        for name in files:
            (build.directory / name).unlink(missing_ok=True)


@pytest.mark.parametrize(
    "content", ["{", '{"accuracy": {"ann": 0.5}, "float_snn_over_time": [0.5]}']
)
def test_damaged_and_older_results_are_refused(build, content):
    path = build.directory / "eval.json"
    path.write_text(content)
    try:
        with pytest.raises(
            SpikewrightError, match=r"eval\.json: .*spikewright eval, or delete it$"
        ):
            spikewright.report(build)
    finally:
        path.unlink()
