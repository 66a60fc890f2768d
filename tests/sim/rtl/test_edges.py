"""Corners of the widths: what random networks seldom draw, on the hardware."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from spikewright.errors import SpikewrightError
from spikewright.machine.images import make_images
from spikewright.network import INPUT, InputCode, InputSpec, Layer, Network, Synapse
from spikewright.network.neuron import NeuronSpec, Rounding
from spikewright.sim.golden.model import Golden
from spikewright.sim.rtl.compare import first_mismatch
from spikewright.sim.rtl.run import simulate, simulate_uart
from spikewright.sw.passes.map import map_network


def layer(weight: np.ndarray, spec: NeuronSpec, *, bias: int = 0, threshold: int = 1) -> Layer:
    """A dense layer on the frame."""
    ones = np.ones(len(weight), np.int64)
    synapses = (Synapse(INPUT, weight[:, :, None, None]),)
    shape = (len(weight), 1, 1)
    return Layer("out", spec, shape, synapses, threshold * ones, bias * ones, 0 * ones)


def check(network: Network, frames: np.ndarray, tmp_path: Path, lanes: int = 4) -> None:
    mapping = map_network(network, lanes=lanes)
    images = make_images(network, mapping)
    got = simulate(images, network, mapping, frames, backend="pysim", cache=tmp_path)
    expected = Golden(network).run(frames, trace=True)
    assert expected.trace is not None
    assert got.trace is not None
    assert first_mismatch(expected.trace, got.trace) is None
    np.testing.assert_array_equal(got.potentials, expected.potentials)


def test_current_wider_than_every_potential(tmp_path: Path) -> None:
    """One step, and a bias that centres the potential of a one-sided current."""
    weight = np.ones((4, 1), np.int64)
    network = Network(
        InputSpec((1, 1, 1)), 1, 2, (layer(weight, NeuronSpec.integrator(), bias=-128),)
    )
    assert network.ranges.current_bits > network.ranges.compare_bits
    check(network, np.array([0, 100, 200, 255], np.uint8)[:, None, None, None], tmp_path)


@pytest.mark.parametrize("channels", [1, 2, 4, 8, 16])
def test_as_many_channels_as_weight_words(channels: int, tmp_path: Path) -> None:
    weight = np.arange(4 * channels).reshape(4, channels) % 3 - 1
    network = Network(
        InputSpec((channels, 1, 1), 3), 2, 2, (layer(weight, NeuronSpec.integrator()),)
    )
    frames = np.random.default_rng(0).integers(8, size=(3, channels, 1, 1)).astype(np.uint8)
    check(network, frames, tmp_path)


def test_counts_that_do_not_fit_are_refused() -> None:
    spec = NeuronSpec.calcium(1, Rounding.DRAIN)
    small, large = (
        Network(
            InputSpec((1, 1, 1), 1, code=InputCode.EVENTS),
            2,
            6,
            (layer(np.full((1, 1), value), spec, threshold=2),),
        )
        for value in (9, 15)
    )
    mapping = map_network(small, lanes=1)
    assert large.ranges.layers[0].final_digits == mapping.layers[0].final_passes
    wide = replace(mapping.shape, membrane_bits=16, compare_bits=16)
    with pytest.raises(SpikewrightError, match="counts need 4 bits, the hardware has 3"):
        make_images(large, replace(mapping, shape=wide))


def test_a_bounded_count_needs_the_gate() -> None:
    with pytest.raises(SpikewrightError, match="Zmax bounds a count, which needs the gate"):
        NeuronSpec.calcium(gated=False, zmax=2)


def test_raw_events_through_the_pins() -> None:
    network = Network(
        InputSpec((1, 1, 1), 1, code=InputCode.EVENTS),
        3,
        3,
        (layer(np.full((1, 1), 3), NeuronSpec.integrator()),),
    )
    frames = np.array([[1, 0, 1]], np.uint8)[:, :, None, None]
    mapping = map_network(network, lanes=1)
    got = simulate_uart(make_images(network, mapping), network, mapping, frames)
    assert got.potentials.tolist() == [[6]]
