"""Random networks: golden model and hardware are equal in every output, membrane and spike."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from spikewright.machine.images import make_images
from spikewright.machine.mapping import Mapping
from spikewright.network import Network
from spikewright.sim.golden.model import Golden
from spikewright.sim.rtl.compare import first_mismatch, first_output_mismatch
from spikewright.sim.rtl.run import Backend, RtlResult, simulate, simulate_all
from spikewright.sw.passes.map import map_network
from tests.support.random_networks import random_frames, random_network, reweighted, spike_rates

LARGE = {  # cores, lanes, stalls
    "1x1": (1, 1, 0.0),
    "1x4": (1, 4, 0.2),
    "1x8": (1, 8, 0.0),
    "1x16": (1, 16, 0.6),
    "2x4": (2, 4, 0.1),
    "2x16": (2, 16, 0.0),
    "4x1": (4, 1, 0.3),
    "4x8": (4, 8, 0.0),
    "4x16": (4, 16, 0.3),
}
"""Hardware that Verilator simulates, each with WEIGHT_SETS networks of one shape."""
WEIGHT_SETS = 18
SMALL = 40
"""Networks for Amaranth's simulator, each on hardware of its own."""


@dataclass(frozen=True)
class Case:
    network: Network
    mapping: Mapping
    frames: npt.NDArray[np.uint8]
    stalls: float
    seed: int


@cache
def small_case(seed: int) -> Case:
    rng = np.random.default_rng([1, seed])
    network = random_network(
        rng, size=1500, channels=(1, 33) if seed % 4 == 0 else (1, 9), side=(1, 7), max_layers=3
    )
    cores, lanes = (1, 2, 4)[seed % 3], (1, 4, 8, 16)[seed // 3 % 4]
    mapping = map_network(network, cores=cores, lanes=lanes)
    stalls = (0.0, 0.3)[seed % 2]
    return Case(network, mapping, random_frames(rng, network, 4), stalls, seed)


@cache
def large_cases(name: str) -> list[Case]:
    cores, lanes, stalls = LARGE[name]
    number = list(LARGE).index(name)
    rng = np.random.default_rng([2, number])
    network = random_network(
        rng, size=15_000 * lanes, steps=(number % 9 + 1,) * 2, weight_bits=(2 + number % 7,) * 2
    )
    mapping = map_network(network, cores=cores, lanes=lanes)
    networks = [network, *(reweighted(rng, network) for _ in range(WEIGHT_SETS - 1))]
    return [
        Case(network, mapping, random_frames(rng, network, 6), stalls, seed)
        for seed, network in enumerate(networks)
    ]


def run(case: Case, backend: Backend, simulators: Path, **options: bool) -> RtlResult:
    return simulate(
        make_images(case.network, case.mapping),
        case.network,
        case.mapping,
        case.frames,
        backend=backend,
        stalls=case.stalls,
        seed=case.seed,
        cache=simulators,
        **options,
    )


def check(case: Case, got: RtlResult) -> None:
    expected = Golden(case.network).run(case.frames, trace=True)
    assert expected.trace is not None
    if got.trace is not None:
        assert first_mismatch(expected.trace, got.trace) is None
    outputs = (got.potentials, got.classes)
    mismatch = first_output_mismatch(case.network, (expected.potentials, expected.classes), outputs)
    assert mismatch is None


@pytest.mark.parametrize("seed", range(SMALL))
def test_small_networks(seed: int, simulators: Path) -> None:
    case = small_case(seed)
    check(case, run(case, "pysim", simulators))


@pytest.mark.parametrize("name", LARGE)
def test_large_networks(name: str, simulators: Path) -> None:
    cases = large_cases(name)
    first = cases[0]
    sets = [(make_images(case.network, case.mapping), case.frames) for case in cases]
    got = simulate_all(
        sets, first.network, first.mapping, stalls=first.stalls, cache=simulators, brief=True
    )
    for case, result in zip(cases, got, strict=True):
        check(case, result)


def test_without_trace(simulators: Path) -> None:
    """The top without trace, which a bitstream holds, gives the same outputs and clocks."""
    for case in large_cases("2x16")[:3]:
        traced = run(case, "verilator", simulators)
        plain = run(case, "verilator", simulators, trace=False, traced_top=False)
        check(case, plain)
        assert plain.activity is None
        np.testing.assert_array_equal(plain.clocks, traced.clocks)


def test_cases_are_telling() -> None:
    """At least 200 cases; in 80 % of them every layer fires at 5 to 95 % of its chances."""
    cases = [small_case(seed) for seed in range(SMALL)]
    cases += [case for name in LARGE for case in large_cases(name)]
    alive = 0
    for case in cases:
        rates = spike_rates(case.network, case.frames)
        alive += all(0.05 <= rate <= 0.95 for rate in rates)
    assert len(cases) >= 200
    assert alive >= 0.8 * len(cases)
    assert {case.network.steps for case in cases} == set(range(1, 10))
    assert {case.network.weight_bits for case in cases} == set(range(2, 9))
    widest = max(layer.shape[0] for case in cases for layer in case.network.layers)
    assert widest >= 32
