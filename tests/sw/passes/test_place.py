"""The mapper: its placements are legal, fast, and change nothing."""

import time
from dataclasses import replace

import numpy as np
import pytest
import torch

from spikewright.app.data import as_frames
from spikewright.app.demo import FOLDER
from spikewright.app.model import input_spec
from spikewright.errors import SpikewrightError
from spikewright.machine.blocks import Lanes, SpikeMemory
from spikewright.machine.memories import make_images
from spikewright.sw.frontend.trace import trace
from spikewright.sw.models.reading import load_model
from spikewright.sw.passes.activity import observed
from spikewright.sw.passes.convert import convert
from spikewright.sw.passes.costs import mean, predict
from spikewright.sw.passes.place import place
from spikewright.sw.passes.quantise import quantise
from tests.sim.interpreter.test_interpreter import drawn
from tests.support.placements import check_equal, large_machine, random_machine, random_schedule


def clocks(schedule, activity):
    return sum(mean(list(layer)).total for layer in zip(*predict(schedule, activity), strict=True))


@pytest.mark.parametrize("seed", range(200, 212))
def test_placing_changes_nothing_and_pays(seed):
    """Golden model and interpreter agree, and no random placement is faster."""
    schedule, frames = drawn(seed)
    network, rng = schedule.network, np.random.default_rng(seed)
    machine, activity = random_machine(rng), observed(network, frames)
    made = place(network, machine, activity)
    check_equal(made, frames)
    others = [random_schedule(rng, network, machine, 20) for _ in range(8)]
    fastest = min(clocks(other, activity) for other in others)
    assert clocks(made, activity) <= 1.02 * fastest


@pytest.fixture(scope="module")
def demo():
    module = load_model(str(FOLDER / "lenet5.safetensors"))
    network = quantise(convert(trace(module, torch.zeros(1, 1, 28, 28))), steps=8)
    return network, as_frames(FOLDER / "images.npz", input_spec((1, 28, 28))).x


def test_the_demo_on_one_and_on_sixteen_cores(demo):
    network, frames = demo
    activity, total = observed(network, frames[:4]), {}
    for cores in (1, 16):
        began = time.process_time()
        schedule = place(network, large_machine(cores, 16, 2), activity)
        assert time.process_time() - began < 20
        total[cores] = clocks(schedule, activity)
    # These four images are dense ones: 72,755 clocks; all 100 take 68,775 with seven levels.
    assert total[1] < 74_000
    assert total[1] / total[16] > 9.5


def test_small_memories_are_kept(demo):
    """With less room another placement is found, until there is none."""
    network, frames = demo
    activity = observed(network, frames[:1])
    machine = large_machine(4, 16, 2)
    roomy = place(network, machine, activity)
    small = replace(
        machine,
        lanes=replace(machine.lanes, weight_rows=1400),
        spikes=SpikeMemory(4096),
    )
    tight = place(network, small, activity)
    make_images(tight)
    assert clocks(roomy, activity) <= clocks(tight, activity)
    none = replace(small, lanes=Lanes(16, weight_rows=512, accumulator_bits=26))
    with pytest.raises(SpikewrightError, match="weight memory"):
        place(network, none, activity)
