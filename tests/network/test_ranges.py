"""Ranges: no run leaves them, and where every input can be tried they are reached exactly."""

import itertools

import numpy as np
import pytest

from spikewright.network import INPUT, InputSpec, Layer, Network, NeuronSpec, Pool, Synapse
from spikewright.network.neuron import Negative, Rounding
from spikewright.network.ranges import signed_bits
from spikewright.sim.golden.model import Golden
from tests.support.random_networks import random_frames, random_network


def test_signed_bits():
    for low, high in itertools.combinations_with_replacement(range(-40, 41), 2):
        bits = next(b for b in range(1, 9) if -(2 ** (b - 1)) <= low <= high < 2 ** (b - 1))
        assert signed_bits(low, high) == bits
    with pytest.raises(ValueError, match=r"empty range 1\.\.0"):
        signed_bits(1, 0)


def dense(weights, spec, source=INPUT, threshold=5, bias=0, initial=0, shift=0, pool=(1, 1)):
    weight = np.array(weights)[:, :, None, None]
    n = len(weight)
    synapse = Synapse(source, weight, shift=shift, pool=Pool(pool))
    numbers = ([value] * n for value in (threshold, bias, initial))
    return Layer(f"from {source}", spec, (n, 1, 1), (synapse,), *numbers)


def test_currents_are_reached():
    """The least and the greatest current of a step, over all frames of three 2-bit pixels."""
    weights = np.array([[3, -2, 1], [-1, -1, 0]])
    layer = dense(weights, NeuronSpec.integrator(), shift=2)
    network = Network(InputSpec((3, 1, 1), bits=2), 3, 4, (layer,))
    low, high = network.ranges.layers[0].current
    currents = [4 * weights @ frame for frame in itertools.product(range(4), repeat=3)]
    assert low.tolist() == np.min(currents, 0).tolist()
    assert high.tolist() == np.max(currents, 0).tolist()


def test_a_pool_sums_its_window():
    layer = dense([[3]], NeuronSpec.integrator(), pool=(2, 3))
    network = Network(InputSpec((1, 2, 3), bits=2), 1, 4, (layer,))
    assert network.ranges.layers[0].current[1].tolist() == [3 * 6 * 3]


def test_potentials_of_an_integrator_are_reached():
    layer = dense([[3, -2]], NeuronSpec.integrator(), bias=1, initial=2)
    network = Network(InputSpec((2, 1, 1), bits=1), 4, 4, (layer,))
    low, high = network.ranges.layers[0].potential
    assert (low.tolist(), high.tolist()) == ([2 + 4 * (-2 + 1)], [2 + 4 * (3 + 1)])
    assert network.ranges.membrane_bits == signed_bits(-2, 18)


@pytest.mark.parametrize(
    ("spec", "spikes", "count", "digits"),
    [
        (NeuronSpec.plain(), (0, 1), 6, 1),
        (NeuronSpec.buffered(4), (-4, 4), 24, 3),
        (NeuronSpec.buffered(4, Negative.NONE), (0, 4), 24, 3),
        (NeuronSpec.bounded(3), (-1, 1), 3, 1),
        (NeuronSpec.calcium(2, Rounding.NONE, zmax=5), (-2, 2), 5, 2),
    ],
)
def test_spikes_and_counts(spec, spikes, count, digits):
    layers = (dense([[3]], spec), dense([[1]], NeuronSpec.integrator(), 0))
    ranges = Network(InputSpec((1, 1, 1), bits=2), 6, 4, layers).ranges.layers[0]
    assert (ranges.spikes, ranges.count, ranges.final_digits) == (spikes, count, digits)


@pytest.mark.parametrize("neuron", ["if", "hpc", "qffs", "ca-lif", "tsc", "tsc-overlapped"])
def test_no_run_leaves_them(neuron):
    for seed in range(4):
        rng = np.random.default_rng(seed)
        network = random_network(rng, neuron=neuron, size=4000)
        result = Golden(network).run(random_frames(rng, network, 12), trace=True)
        for layer, ranges, trace in zip(
            network.layers, network.ranges.layers, result.trace, strict=True
        ):
            low, high = (bound[:, None, None] for bound in ranges.potential)
            assert (low <= trace.membranes).all()
            assert (trace.membranes <= high).all()
            ordinary = trace.spikes[:, : network.ordinary_steps]
            for spikes, (least, most) in (
                (ordinary, ranges.spikes),
                (trace.spikes[:, network.ordinary_steps :], ranges.final_spikes),
            ):
                assert spikes.size == 0 or (least <= spikes.min() and spikes.max() <= most)
            if network.counts(layer):
                assert trace.counts.max() <= ranges.count
