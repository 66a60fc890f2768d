"""Every neuron model and input code: golden model and hardware are equal in the full trace.

Each model runs on ELABORATIONS pieces of hardware of its own, each with SETS weight sets on FRAMES
frames as data; the input codes take turns. A campaign of all pieces of hardware, and ten times as
many weight sets::

    SPIKEWRIGHT_ELABORATIONS=8 SPIKEWRIGHT_CASES=1000 pytest -n 2 tests/sim/rtl/test_models.py
"""

import os
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from spikewright.machine.images import make_images
from spikewright.machine.mapping import Mapping
from spikewright.network import InputCode, Network
from spikewright.sim.golden.model import Golden
from spikewright.sim.rtl.compare import first_mismatch, first_output_mismatch
from spikewright.sim.rtl.run import simulate_all
from spikewright.sw.passes.map import map_network
from tests.support.random_networks import NEURONS, random_frames, random_network, reweighted

ELABORATIONS = int(os.environ.get("SPIKEWRIGHT_ELABORATIONS", "3"))
CASES = int(os.environ.get("SPIKEWRIGHT_CASES", "100"))
FRAMES = 10
CODES = tuple(InputCode)
HARDWARE = ((1, 4), (2, 2), (1, 8), (1, 1), (3, 4), (1, 16), (2, 8), (4, 1))
"""Cores and lanes, one of each model's elaborations after the other."""


def code_of(model: str, number: int) -> InputCode:
    return CODES[(NEURONS.index(model) + number) % len(CODES)]


@cache
def drawn(model: str, number: int) -> tuple[Network, Mapping]:
    rng = np.random.default_rng([7, NEURONS.index(model), number])
    cores, lanes = HARDWARE[number]
    network = random_network(
        rng,
        neuron=model,
        code=code_of(model, number),
        firing_output=number % 3 == 2,
        steps=(1, 1) if number == 3 else (2, 9),
        size=2500 * lanes * cores,
        side=(2, 9),
        channels=(1, 2 * lanes * cores + 3),
    )
    return network, map_network(network, cores=cores, lanes=lanes)


def frames_of(network: Network, seed: int) -> npt.NDArray[np.uint8]:
    """Of every ten, the last but one is all zero and the last all ones."""
    return random_frames(np.random.default_rng(seed), network, FRAMES)


@pytest.mark.parametrize("number", range(ELABORATIONS))
@pytest.mark.parametrize("model", NEURONS)
def test_hardware_equals_the_golden_model(model: str, number: int, simulators: Path) -> None:
    network, mapping = drawn(model, number)
    rng = np.random.default_rng([8, NEURONS.index(model), number])
    sets = [network, *(reweighted(rng, network) for _ in range(CASES // FRAMES - 1))]
    inputs = [frames_of(one, seed) for seed, one in enumerate(sets)]
    got = simulate_all(
        [(make_images(one, mapping), x) for one, x in zip(sets, inputs, strict=True)],
        network,
        mapping,
        stalls=(0.0, 0.3)[number % 2],
        seed=number,
        cache=simulators,
        brief=True,
    )
    for one, x, result in zip(sets, inputs, got, strict=True):
        expected = Golden(one).run(x, trace=True)
        assert expected.trace is not None
        assert result.trace is not None
        mismatch = first_mismatch(expected.trace, result.trace)
        assert mismatch is None, mismatch
        outputs = (expected.potentials, expected.classes)
        assert first_output_mismatch(one, outputs, (result.potentials, result.classes)) is None
