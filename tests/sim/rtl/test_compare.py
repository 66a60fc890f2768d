"""The first difference is named, and only a difference is."""

import dataclasses

import numpy as np
import pytest

from spikewright import SpikewrightError
from spikewright.sim.golden.model import Golden, LayerTrace
from spikewright.sim.rtl.compare import first_mismatch, first_output_mismatch
from tests.support.random_networks import random_frames, random_network


def example(seed=0):
    rng = np.random.default_rng(seed)
    network = random_network(rng, style="conv", steps=(5, 5), side=(6, 9), channels=(3, 6))
    assert len(network.layers) >= 3
    return network, Golden(network).run(random_frames(rng, network, 5), trace=True)


def copied(trace):
    return [LayerTrace(t.name, t.membranes.copy(), t.spikes.copy(), t.counts.copy()) for t in trace]


def test_equal():
    network, result = example()
    assert first_mismatch(result.trace, copied(result.trace)) is None
    outputs = (result.potentials, result.classes)
    assert first_output_mismatch(network, outputs, outputs) is None


def test_one_line():
    _, result = example()
    got = copied(result.trace)
    expected = int(got[0].membranes[2, 4, 1, 0, 0])
    got[0].membranes[2, 4, 1, 0, 0] -= 2
    mismatch = first_mismatch(result.trace, got)
    assert str(mismatch) == (
        f"first mismatch: image 2, layer {got[0].name}, channel 1, y 0, x 0, step 5: "
        f"membrane expected {expected}, got {expected - 2}"
    )


def test_spike_before_count_before_membrane():
    _, result = example()
    got = copied(result.trace)
    place = (1, 2, 2, 0, 0)
    got[0].membranes[place] += 1
    assert first_mismatch(result.trace, got).quantity == "membrane"
    got[0].counts[place] += 2
    mismatch = first_mismatch(result.trace, got)
    assert (mismatch.quantity, mismatch.got - mismatch.expected) == ("count", 2)
    got[0].spikes[place] ^= 1
    mismatch = first_mismatch(result.trace, got)
    assert mismatch.quantity == "spike"
    assert mismatch.expected == int(result.trace[0].spikes[place])
    assert mismatch.got == 1 - mismatch.expected


def test_spike_alone():
    _, result = example()
    got = copied(result.trace)
    got[1].spikes[4, 0, 0, 0, 0] ^= 1
    mismatch = first_mismatch(result.trace, got)
    assert (mismatch.quantity, mismatch.layer, mismatch.image) == ("spike", got[1].name, 4)


@pytest.mark.parametrize("seed", range(10))
def test_order_is_image_layer_step_position(seed):
    """Of several planted differences the first is reported, found by sorting their places."""
    _, result = example()
    rng = np.random.default_rng(seed)
    got = copied(result.trace)
    places = []
    for _ in range(4):
        index = int(rng.integers(len(got)))
        image, *rest = (int(rng.integers(n)) for n in got[index].membranes.shape)
        got[index].membranes[(image, *rest)] += 1
        places.append((image, index, *rest))
    image, index, step, *position = min(places)
    found = first_mismatch(result.trace, got)
    assert (found.image, found.layer, found.step) == (image, got[index].name, step + 1)
    assert [found.channel, found.y, found.x] == position
    assert found.got > found.expected


def test_other_layers_or_shapes_are_refused():
    _, result = example()
    with pytest.raises(SpikewrightError, match="trace: expected layers"):
        first_mismatch(result.trace, result.trace[:-1])
    got = copied(result.trace)
    got[0] = dataclasses.replace(got[0], spikes=got[0].spikes[:-1])
    with pytest.raises(SpikewrightError, match=r"expected spikes of shape \(5, 5, .*got \(4, 5"):
        first_mismatch(result.trace, got)


def test_outputs():
    network, result = example()
    expected = (result.potentials, result.classes)
    potentials, classes = result.potentials.copy(), result.classes.copy()
    classes[1] += 1
    mismatch = first_output_mismatch(network, expected, (potentials, classes))
    assert str(mismatch) == (
        f"first mismatch: image 1, layer {network.layers[-1].name}, step 5: "
        f"class expected {result.classes[1]}, got {result.classes[1] + 1}"
    )
    potentials[1, 2] += 7
    mismatch = first_output_mismatch(network, expected, (potentials, classes))
    assert (mismatch.image, mismatch.channel, mismatch.quantity) == (1, 2, "potential")
    assert mismatch.got == mismatch.expected + 7
    potentials[0, 1] -= 1
    assert first_output_mismatch(network, expected, (potentials, classes)).image == 0
    with pytest.raises(SpikewrightError, match="expected potentials of shape"):
        first_output_mismatch(network, expected, (potentials[:, :1], classes))
