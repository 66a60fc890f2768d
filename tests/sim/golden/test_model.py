"""The golden model by hand, its number types, chunks and refusals; see also `test_neurons.py`."""

import numpy as np
import pytest

from spikewright import SpikewrightError
from spikewright.network import (
    INPUT,
    InputSpec,
    Layer,
    Network,
    NeuronModel,
    NeuronSpec,
    Synapse,
    Tie,
)
from spikewright.sim.golden.model import Golden


def one_neuron(weight=1, *, threshold=4, tie=Tie.FIRES, initial=0, steps=4, shift=0, bits=8):
    """A 1x1 frame, one IF neuron, one integrator of weight 1."""
    neuron = Layer(
        "neuron",
        NeuronSpec(NeuronModel.IF, tie),
        (1, 1, 1),
        (Synapse(INPUT, np.full((1, 1, 1, 1), weight), shift=shift),),
        np.array([threshold]),
        np.array([0]),
        np.array([initial]),
    )
    readout = Layer(
        "readout",
        NeuronSpec(NeuronModel.INTEGRATOR),
        (1, 1, 1),
        (Synapse(0, np.ones((1, 1, 1, 1))),),
        np.array([0]),
        np.array([0]),
        np.array([0]),
    )
    return Network(InputSpec((1, 1, 1)), steps, bits, (neuron, readout))


def pixels(*values):
    return np.array(values, np.uint8).reshape(-1, 1, 1, 1)


@pytest.mark.parametrize(
    ("tie", "spikes", "membranes"),
    [(Tie.FIRES, [0, 1, 0, 1], [2, 0, 2, 0]), (Tie.HOLDS, [0, 0, 1, 0], [2, 4, 2, 4])],
)
def test_tie_by_hand(tie, spikes, membranes):
    result = Golden(one_neuron(tie=tie)).run(pixels(2), trace=True)
    assert result.trace[0].spikes.ravel().tolist() == spikes
    assert result.trace[0].membranes.ravel().tolist() == membranes
    assert result.potentials.tolist() == [[sum(spikes)]]


@pytest.mark.parametrize(
    ("weight", "shift", "bits", "dtype"),
    [(127, 0, 8, np.float32), (127, 10, 8, np.float64), (127, 15, 8, np.float64)],
)
def test_number_type_is_exact(reference, weight, shift, bits, dtype):
    network = one_neuron(weight, shift=shift, bits=bits, threshold=3, initial=1, steps=9)
    golden = Golden(network)
    assert golden._layers[0].bias.dtype == dtype
    result, _ = reference.check(network, pixels(0, 1, 255))
    assert result.trace[0].membranes[2, -1, 0, 0, 0] == 1 + 9 * (255 * (weight << shift) - 3)


def test_integers_where_float64_would_round(reference):
    network = one_neuron(127, shift=15, bits=8, threshold=2**60, initial=2**55 + 1)
    assert Golden(network)._layers[0].bias.dtype == np.int64
    reference.check(network, pixels(0, 1, 255))


def test_refuses_what_no_type_holds():
    network = one_neuron(threshold=2**62, initial=2**62)
    with pytest.raises(SpikewrightError, match=r"neuron: potentials may reach \d+, beyond 63 bits"):
        Golden(network)


def test_ties_of_potentials_take_the_lowest_class():
    network = one_neuron()
    readout = network.layers[1]
    same = Layer(
        "readout",
        readout.neuron,
        (3, 1, 1),
        (Synapse(0, np.array([0, 1, 1]).reshape(3, 1, 1, 1)),),
        np.zeros(3),
        np.zeros(3),
        np.zeros(3),
    )
    network = Network(network.input, 4, 8, (network.layers[0], same))
    result = Golden(network).run(pixels(0, 8))
    assert result.potentials.tolist() == [[0, 0, 0], [0, 4, 4]]
    assert result.classes.tolist() == [0, 1]
    assert result.trace is None


def test_chunks_do_not_show():
    network = one_neuron()
    frames = pixels(*range(200))
    golden = Golden(network)
    whole = golden.run(frames, trace=True)
    golden._chunk = 7
    parts = golden.run(frames, trace=True)
    np.testing.assert_array_equal(whole.potentials, parts.potentials)
    np.testing.assert_array_equal(whole.spike_counts[0], parts.spike_counts[0])
    np.testing.assert_array_equal(whole.trace[0].membranes, parts.trace[0].membranes)
    for name in ("outputs", "spikes", "synaptic_operations"):
        np.testing.assert_array_equal(getattr(whole.course, name), getattr(parts.course, name))
    assert golden.run(frames[:0]).potentials.shape == (0, 1)


def test_course_ends_with_the_totals_and_holds_every_shorter_run():
    frames = pixels(*range(256))
    result = Golden(one_neuron(weight=1, threshold=300, initial=150, steps=9)).run(frames)
    course = result.course
    np.testing.assert_array_equal(course.outputs[:, -1], result.potentials)
    np.testing.assert_array_equal(course.spikes[:, -1], result.spike_counts[0].sum((1, 2, 3)))
    np.testing.assert_array_equal(
        course.synaptic_operations[:, -1], sum(result.synaptic_operations)
    )
    for steps in range(1, 9):
        shorter = Golden(one_neuron(threshold=300, initial=150, steps=steps)).run(frames)
        np.testing.assert_array_equal(course.outputs[:, :steps], shorter.course.outputs)
        np.testing.assert_array_equal(course.spikes[:, steps - 1], shorter.course.spikes[:, -1])


def test_sums_of_many_spikes():
    """128 spikes of a neuron do not fit 8 bits."""
    network = one_neuron(threshold=1, steps=128)
    result = Golden(network).run(pixels(1))
    assert result.spike_counts[0].ravel().tolist() == [128]
    assert result.course.spikes[0].tolist() == list(range(1, 129))
    assert result.synaptic_operations[1].tolist() == [128]


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        (np.zeros((1, 1, 1, 1)), "expected an array of uint8 pixels, got float64"),
        ([[[[1]]]], "expected an array of uint8 pixels, got list"),
        (np.zeros((1, 1, 1), np.uint8), r"expected shape \(N, 1, 1, 1\), got \(1, 1, 1\)"),
        (np.zeros((2, 1, 1, 2), np.uint8), r"expected shape \(N, 1, 1, 1\), got \(2, 1, 1, 2\)"),
    ],
)
def test_bad_frames(frames, message):
    with pytest.raises(SpikewrightError, match=message):
        Golden(one_neuron()).run(frames)


def test_pixel_beyond_the_input_bits():
    network = one_neuron()
    network = Network(InputSpec((1, 1, 1), bits=4), network.steps, 8, network.layers)
    with pytest.raises(SpikewrightError, match=r"expected pixels of 4 bits, 0\.\.15, got 16"):
        Golden(network).run(pixels(3, 16))


def test_a_last_layer_that_fires_gives_counts():
    network = one_neuron()
    result = Golden(Network(network.input, 4, 8, network.layers[:1])).run(
        pixels(0, 2, 5), trace=True
    )
    assert result.potentials.tolist() == [[0], [2], [4]]
    assert result.trace[0].counts[1].ravel().tolist() == [0, 1, 1, 2]
