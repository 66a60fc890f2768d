"""Whole machines against the golden model: every spike, membrane, output and class.

The interpreter says how many clocks they take.
"""

import numpy as np
import pytest

from spikewright.errors import SpikewrightError
from spikewright.machine.memories import make_images
from spikewright.sim.golden.model import Golden
from spikewright.sim.interpreter import Interpreter, traces
from spikewright.sim.rtl.decisions import decisions
from spikewright.sw.passes.place import place
from tests.support.engine import run_engine
from tests.support.placements import random_schedule, small_machine
from tests.support.random_networks import random_frames, random_network


def drawn(seed, machine, size=3000):
    """A random schedule on `machine`, and frames."""
    for trial in range(100):
        rng = np.random.default_rng([seed, trial])
        network = random_network(
            rng,
            neuron=("if", "burst")[seed % 2],
            size=size,
            membrane_bits=22,
            groups=1 + (seed % 3 == 0),
            style=(None, "conv")[seed % 5 < 3],
            firing_output=rng.random() < 0.2,
            max_layers=3,
        )
        try:
            schedule = (
                random_schedule(rng, network, machine) if seed % 4 else place(network, machine)
            )
            make_images(schedule)
        except SpikewrightError:
            continue
        return schedule, random_frames(rng, network, 2)
    raise AssertionError


def check(schedule, frames, **options):
    """Engine and golden model agree, and engine and interpreter on the clocks."""
    golden = Golden(schedule.network).run(frames, trace=True)
    ran = run_engine(schedule, frames, **options)
    for number, cores in enumerate(decisions(schedule, ran.records, len(frames))):
        for made, wanted in zip(traces(schedule, cores), golden.trace, strict=True):
            there = made.times == 1
            for name in ("spikes", "membranes"):
                got, expected = getattr(made, name), getattr(wanted, name)[number]
                assert (got[:, there] == expected[:, there]).all(), (made.name, name, number)
    assert (np.array(ran.outputs) == golden.potentials).all()
    assert (np.array(ran.labels) == golden.classes).all()
    interpreter = Interpreter(schedule.machine, make_images(schedule))
    for frame, clocks in zip(frames, ran.clocks, strict=True):
        predicted = interpreter.run(schedule.frame_words(frame)).total
        assert abs(predicted - clocks) <= max(0.01 * clocks, 1 + len(schedule.layers))


@pytest.mark.parametrize("seed", range(8))
def test_random_networks(seed):
    cores, lanes, fires = [(1, 8, 1), (1, 16, 2), (2, 8, 2), (3, 16, 4)][seed % 4]
    check(*drawn(seed, small_machine(cores, lanes, fires)), stalls=0.3 * (seed % 2))


def test_an_abort_right_behind_the_images_loses_none():
    """Cores far down the load chain still write what the host was told is written."""
    schedule, frames = drawn(3, small_machine(2, 8, 1), size=300)
    check(schedule, frames, abort=True)
