"""The passes in their order: what they are told, what they make, what is recorded of them."""

import numpy as np
import pytest
import torch
from torch import nn

from spikewright import Conversion
from spikewright.network import InputSpec
from spikewright.sw.frontend.trace import trace
from spikewright.sw.passes.calibrate import calibrate
from spikewright.sw.passes.convert import convert
from spikewright.sw.passes.map import map_network
from spikewright.sw.passes.pipeline import PASSES, Plan, run_passes
from spikewright.sw.passes.quantise import quantise

FRAMES = np.random.default_rng(0).integers(256, size=(8, 1, 6, 6), dtype=np.uint8)


def traced():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(48, 4))
    return trace(net, torch.zeros(1, 1, 6, 6), input_spec=InputSpec((1, 6, 6)))


def test_each_pass_gets_what_the_last_one_made():
    steps, conversion = 3, Conversion()
    plan = Plan(steps, conversion, 6, False, FRAMES, 99.0, True, True, 2, 4)
    seen = []
    state = run_passes(traced(), plan, lambda label, done: seen.append(label))
    real = convert(
        traced(), conversion, steps=steps, calibration=FRAMES, percentile=99.0, channelwise=True
    )
    real = calibrate(real, FRAMES, steps)
    integer = quantise(real, steps=steps, weight_bits=6, per_channel=False)
    for made, wanted in zip(state.integer.layers, integer.layers, strict=True):
        assert np.array_equal(made.threshold, wanted.threshold)
        assert np.array_equal(made.synapses[0].weight, wanted.synapses[0].weight)
    assert state.mapping == map_network(integer, cores=2, lanes=4)
    assert seen == ["pass: convert", "pass: calibrate", "pass: quantise", "pass: map"]
    assert [record["name"] for record in state.records] == [one.name for one in PASSES]
    for record in state.records:
        assert set(record) == {"name", "purpose", "seconds", "did"}
        assert record["seconds"] >= 0
    assert state.records[0]["did"] == "1 x if, 1 x integrator"
    assert state.records[2]["did"].startswith("6-bit weights, rms error up to ")
    assert state.records[3]["did"].startswith("2 x 4 lanes, ")


@pytest.mark.filterwarnings("ignore::spikewright.sw.passes.convert.ConversionWarning")
def test_what_has_nothing_to_do_leaves_no_record():
    state = run_passes(traced(), Plan(2))
    assert [record["name"] for record in state.records] == ["convert", "quantise", "map"]
    again = run_passes(state.real, Plan(2))
    assert [record["name"] for record in again.records] == ["quantise", "map"]
    assert again.mapping == state.mapping
