"""Golden model and interpreter agree exactly, whatever the network, the machine and the placement.

`python -m tests.sim.interpreter.test_interpreter 2000` runs a campaign of so many networks.
"""

import collections
import sys
from dataclasses import replace

import numpy as np
import pytest

from spikewright.errors import SpikewrightError
from spikewright.machine.memories import make_images
from spikewright.network import InputSpec, Layer, Network, NeuronSpec, Synapse
from spikewright.sim.interpreter.core import Core
from spikewright.sw.passes.place import place
from tests.support.placements import (
    check_equal,
    features,
    large_machine,
    random_machine,
    random_schedule,
)
from tests.support.random_networks import random_frames, random_network


def drawn(seed):
    """A random network of IF or burst neurons, its random schedule, and frames."""
    rng = np.random.default_rng(seed)
    network = random_network(
        rng,
        neuron=("if", "burst")[seed % 2],
        size=8_000,
        membrane_bits=26,
        groups=1 + (seed % 3 == 0),
        style=(None, "conv")[seed % 5 < 3],
        firing_output=rng.random() < 0.2,
    )
    machine = random_machine(rng)
    schedule = random_schedule(rng, network, machine) if seed % 4 else place(network, machine)
    return schedule, random_frames(rng, network, 2)


def test_random_networks():
    seen = collections.Counter()
    for seed in range(120):
        schedule, frames = drawn(seed)
        check_equal(schedule, frames)
        seen.update(set().union(*map(features, schedule.layers)))
    assert min(seen.values()) >= 3, seen
    assert len(seen) == 20, seen


def test_planted_faults_are_found(monkeypatch):
    """A bit of any kind of memory, an event, a carry: none stays hidden."""
    schedule, frames = drawn(8)
    check_equal(schedule, frames)
    images = make_images(schedule)
    for bit in range(3):
        weights = [[word ^ 1 << bit for word in rows] for rows in images.weights]
        with pytest.raises(AssertionError):
            check_equal(schedule, frames, replace(images, weights=weights))
    parameters = [[[w ^ 1 for w in words] for words in core] for core in images.parameters]
    with pytest.raises(AssertionError):
        check_equal(schedule, frames, replace(images, parameters=parameters))
    real = Core._events

    def lossy(self, *args):
        events, bits = real(self, *args)
        return events[1:], bits

    monkeypatch.setattr(Core, "_events", lossy)
    with pytest.raises(AssertionError):
        check_equal(schedule, frames)


def chain(layers, rng):
    """A network of `layers` layers, most of them 3x3 convolutions of 4 channels."""
    made = []
    for index in range(layers):
        last = index == layers - 1
        size = (3, 4, 5, 5) if last else (4, 2 if index == 0 else 4, 3, 3)
        made.append(
            Layer(
                f"layer{index}",
                NeuronSpec.integrator() if last else NeuronSpec.plain(),
                (3, 1, 1) if last else (4, 5, 5),
                (
                    Synapse(
                        index - 1,
                        rng.integers(-3, 8, size),
                        padding=(0, 0) if last else (1, 1),
                    ),
                ),
                threshold=np.full(size[0], 0 if last else 2000 if index == 0 else 25),
                bias=np.zeros(size[0]),
                initial=np.zeros(size[0]),
            )
        )
    return Network(InputSpec((2, 5, 5)), 2, 8, tuple(made))


@pytest.mark.parametrize("layers", [34, 128])
def test_long_chains(layers):
    rng = np.random.default_rng(layers)
    network = chain(layers, rng)
    frames = rng.integers(0, 256, (1, 2, 5, 5)).astype(np.uint8)
    run = check_equal(place(network, large_machine(3, 16, 2)), frames)
    assert len(run.layers) == layers
    assert run.layers[-2][0].spikes.any(), "the chain has fallen silent"


def test_what_does_not_fit_is_said():
    schedule, _ = drawn(8)
    machine = schedule.machine
    small = replace(machine, lanes=replace(machine.lanes, weight_rows=2))
    with pytest.raises(SpikewrightError, match=r"too large for this machine|weight memory: needs "):
        place(schedule.network, small)


if __name__ == "__main__":
    found = collections.Counter()
    for number in range(int(sys.argv[1])):
        case, images_in = drawn(number)
        check_equal(case, images_in)
        found.update(set().union(*map(features, case.layers)))
    print(f"{sys.argv[1]} networks equal; layers' features: {dict(found)}")
