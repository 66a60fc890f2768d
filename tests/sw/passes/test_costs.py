"""Predicted clocks are the interpreter's, whatever the network and the placement."""

import numpy as np
import pytest

from spikewright.machine.memories import make_images
from spikewright.network import INPUT
from spikewright.sim.interpreter import Interpreter
from spikewright.sw.passes.activity import Activity, assumed, observed
from spikewright.sw.passes.costs import barrier, mean, predict, tile_clocks
from tests.sim.interpreter.test_interpreter import drawn


@pytest.mark.parametrize("seed", range(100, 124))
def test_predicted_clocks_are_the_interpreters(seed):
    schedule, frames = drawn(seed)
    interpreter = Interpreter(schedule.machine, make_images(schedule))
    runs = [interpreter.run(schedule.frame_words(frame)) for frame in frames]
    predicted = predict(schedule, observed(schedule.network, frames))
    assert predicted == [run.clocks for run in runs]


def test_estimates_are_near():
    """Of the clocks of all layers that take a while on one core."""
    wrong = []
    for seed in range(100, 124):
        schedule, frames = drawn(seed)
        activity = observed(schedule.network, frames)
        exact = zip(*predict(schedule, activity), strict=True)
        for layer, clocks in zip(schedule.layers, exact, strict=True):
            tiles = tile_clocks(layer, activity, layer.tiles_x).reshape(len(frames), -1)
            cores = []
            for core in range(schedule.machine.cores):
                share = layer.share(core)
                word = layer.placement.word
                own = [w * word + n for w in share.words for n in range(word)]
                cores.append(share.groups * tiles[:, own].sum(1))
            waits = barrier(layer, int(np.flatnonzero(np.max(cores, 1))[-1]) + 1)
            estimate = np.max(cores, 0).mean() + waits
            wrong.append(abs(estimate / mean(list(clocks)).total - 1))
    assert np.mean(wrong) < 0.06, np.mean(wrong)
    assert np.max(wrong) < 0.5, np.max(wrong)


def test_assumed_bits_have_the_density():
    schedule, _ = drawn(3)
    network = schedule.network
    activity = assumed(network, 0.4)
    bits = activity.planes(INPUT, schedule.maps[INPUT])
    assert abs(bits.mean() - 0.4) < 0.1
    for index, layer in enumerate(network.layers[:-1]):
        assert activity.sent[index].shape == (1, network.steps, *layer.shape)
        assert activity.sent[index].max() <= network.ranges.layers[index].spikes[1]


def test_the_first_frames_alone():
    activity = Activity({INPUT: np.arange(3 * 4).reshape(3, 1, 1, 2, 2)})
    assert activity.first(2).frames == 2
