"""Machines in Verilator, loaded and run through their host ports, against the golden model.

Every spike, membrane, output and class of random networks on random machines is compared, and the
clocks with the interpreter's. `python -m tests.sim.rtl.test_machines 200` is the campaign; it
prints how many layers of each kind there were, and `--first` goes on with one.
"""

import argparse
import collections
import json
import sys
import tempfile
import time
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from spikewright.errors import SpikewrightError
from spikewright.machine.memories import make_images
from spikewright.sim.rtl.machines import build_machine, difference, run_machine
from spikewright.sim.rtl.verilator import BRIEF
from spikewright.sw.passes.place import place
from tests.support.placements import features, random_schedule, small_machine
from tests.support.random_networks import random_frames, random_network

IN_CI = 4
"""Elaborations on each push: 1, 2, 3 and 4 cores. Verilator takes minutes for the largest."""
CORES = (1, 2, 3, 4, 6, 8, 12, 16)
LANES = (8, 16, 32)
FIRES = (1, 2, 4)
NETWORKS, FRAMES = 3, 2
"""Networks of an elaboration, and frames of a network."""


def machine_of(number):
    """The machine of an elaboration: every pair of its choices comes soon."""
    rng = np.random.default_rng([11, number])
    cores, lanes = CORES[number % len(CORES)], LANES[number // 2 % len(LANES)]
    return small_machine(cores, lanes, int(rng.choice(FIRES)))


def drawn(number, case, machine):
    """The schedule of a random network on `machine`, and its frames."""
    for trial in range(200):
        rng = np.random.default_rng([12, number, case, trial])
        network = random_network(
            rng,
            neuron=("if", "burst")[(number + case) % 2],
            size=20_000,
            membrane_bits=22,
            groups=1 + (rng.random() < 0.3),
            style=(None, "conv", "dense")[int(rng.integers(3))],
            firing_output=rng.random() < 0.2,
            channels=(1, 40),
            steps=(1, 8),
        )
        try:
            own = rng.random() < 0.7
            schedule = random_schedule(rng, network, machine) if own else place(network, machine)
            make_images(schedule)
        except SpikewrightError:
            continue
        return schedule, random_frames(rng, network, FRAMES)
    raise AssertionError(f"no network fits {machine}")


def check(number, cache):
    """Compare the networks of an elaboration; the features of their layers."""
    machine = machine_of(number)
    simulator = build_machine(machine, cache, traced=True, optimisation=BRIEF)
    seen = []
    for case in range(NETWORKS):
        schedule, frames = drawn(number, case, machine)
        stalls = (0.0, 0.3)[case % 2]
        run = run_machine(simulator, schedule, frames, traced=True, stalls=stalls, seed=number)
        found = difference(schedule, frames, run, traced=True)
        assert found is None, (number, case, found)
        for layer in schedule.layers:
            seen.append(
                {*features(layer), f"{machine.lanes.count} lanes", f"{machine.cores} cores"}
            )
    return seen


@pytest.mark.parametrize("number", range(IN_CI))
def test_machines(number, simulators):
    check(number, simulators)


def test_a_wrong_weight_is_found(simulators):
    machine = machine_of(0)
    simulator = build_machine(machine, simulators, traced=True, optimisation=BRIEF)
    schedule, frames = drawn(0, 0, machine)
    images = make_images(schedule)
    weights = [[word ^ 1 for word in rows] for rows in images.weights]
    wrong = replace(images, weights=weights)
    run = run_machine(simulator, schedule, frames, traced=True, images=wrong)
    found = difference(schedule, frames, run, traced=True)
    assert found is not None
    assert found.expected != found.got
    assert (found.image, found.step >= 1) == (0, True)


def pairs(seen):
    """How many layers have each pair of features."""
    counts = collections.Counter()
    for one in seen:
        counts.update(combinations(sorted(one), 2))
    return counts


def main():
    """The campaign."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("elaborations", type=int)
    parser.add_argument("--first", type=int, default=0)
    args = parser.parse_args()
    began, seen = time.time(), []
    with tempfile.TemporaryDirectory(prefix="machines-") as place_of:
        for number in range(args.first, args.first + args.elaborations):
            seen += check(number, Path(place_of))
            print(f"{number}: equal, {time.time() - began:.0f} s", file=sys.stderr, flush=True)
    counts = pairs(seen)
    print(
        json.dumps(
            {
                "elaborations": args.elaborations,
                "first": args.first,
                "layers": len(seen),
                "seconds": round(time.time() - began),
                "features": dict(collections.Counter(f for one in seen for f in one)),
                "pairs": {" and ".join(pair): count for pair, count in sorted(counts.items())},
            },
            indent=1,
        )
    )


if __name__ == "__main__":
    main()
