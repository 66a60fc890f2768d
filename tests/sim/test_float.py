"""The float simulator: equal to the golden model on integers, and its activations by hand."""

import numpy as np
import pytest
import torch

from spikewright import SpikewrightError
from spikewright.network import (
    INPUT,
    Activation,
    ActivationKind,
    FloatLayer,
    FloatNetwork,
    FloatSynapse,
    InputSpec,
    Layer,
    Network,
    NeuronModel,
    NeuronSpec,
    Pool,
    Tie,
)
from spikewright.sim.float import ann, snn
from spikewright.sim.golden import Golden
from spikewright.sim.random_networks import random_frames, random_network, spike_rates

NONE = Activation(ActivationKind.NONE)
RELU = Activation(ActivationKind.RELU)


@pytest.fixture(autouse=True)
def one_thread():
    """These networks are too small for threads, which only disturb each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def power_of_two(values):
    return (2 ** np.maximum(np.rint(np.log2(np.maximum(values, 1))), 0)).astype(np.int64)


def exact_network(seed):
    """A random network whose thresholds and window areas are powers of two, or None."""
    network = random_network(np.random.default_rng(seed), groups=2, size=10_000)
    if any(s.pool.area not in (1, 2, 4) for layer in network.layers for s in layer.synapses):
        return None
    layers = tuple(
        Layer(
            layer.name,
            layer.neuron,
            layer.shape,
            layer.synapses,
            power_of_two(layer.threshold) if layer.neuron.fires else layer.threshold,
            layer.bias,
            layer.initial,
        )
        for layer in network.layers
    )
    return Network(network.input, network.steps, network.weight_bits, layers)


def as_float(network):
    """The float network of the same potentials: a spike is worth its threshold, pools average."""
    layers = []
    for layer in network.layers:
        synapses = []
        for s in layer.synapses:
            value = 1.0 if s.source == INPUT else network.layers[s.source].threshold
            weight = (s.weight << s.shift) * s.pool.area / np.reshape(value, (1, -1, 1, 1))
            synapses.append(FloatSynapse(s.source, weight, s.stride, s.padding, s.pool))
        layers.append(
            FloatLayer(
                layer.name,
                layer.shape,
                tuple(synapses),
                layer.bias,
                RELU if layer.neuron.fires else NONE,
                layer.neuron,
                layer.threshold if layer.neuron.fires else None,
                layer.initial,
            )
        )
    spec = network.input
    channels = spec.shape[0]
    return FloatNetwork(
        InputSpec(spec.shape, spec.bits, (1.0,) * channels, (0.0,) * channels), tuple(layers)
    )


def test_integers_give_the_golden_spikes():
    active = ties = tested = 0
    for seed in range(60):
        network = exact_network(seed)
        if network is None:
            continue
        frames = random_frames(np.random.default_rng(seed), network, 5)
        golden = Golden(network).run(frames, trace=True)
        result = snn(as_float(network), frames, network.steps, dtype=torch.float64, batch=3)
        readout = golden.trace[-1].membranes.reshape(len(frames), network.steps, -1)
        np.testing.assert_array_equal(result.potentials, readout)
        for got, expected in zip(result.spike_counts, golden.spike_counts, strict=True):
            np.testing.assert_array_equal(got, expected)
        # Fewer steps are the beginning of more; over the seeds, each step is compared by itself.
        for steps in {1, network.steps - 1} - {0}:
            part = snn(as_float(network), frames, steps, dtype=torch.float64)
            np.testing.assert_array_equal(part.potentials, result.potentials[:, :steps])
            for got, trace in zip(part.spike_counts, golden.trace, strict=False):
                np.testing.assert_array_equal(got, trace.spikes[:, :steps].sum(1))
        tested += 1
        active += any(0 < r < 1 for r in spike_rates(network, frames))
        for layer, trace in zip(network.layers[:-1], golden.trace, strict=False):
            at_threshold = trace.membranes == layer.threshold[:, None, None] * ~trace.spikes
            ties += bool(at_threshold.any())
    assert tested >= 20
    assert active >= tested * 0.8
    assert ties >= 5


def layer(weight, activation=None, *, bias=0.0, source=INPUT, spec=None, theta=None, initial=0.0):
    return FloatLayer(
        f"layer{source + 1}",
        (1, 1, 1),
        (FloatSynapse(source, np.full((1, 1, 1, 1), weight)),),
        np.array([bias]),
        activation or (NONE if spec is None and not theta else RELU),
        NeuronSpec(NeuronModel.IF if theta else NeuronModel.INTEGRATOR) if spec is None else spec,
        np.array([theta]) if theta else None,
        np.array([initial]),
    )


def one_pixel(*layers, scale=1.0, mean=0.0):
    return FloatNetwork(InputSpec((1, 1, 1), 8, (scale,), (mean,)), layers)


def pixels(*values):
    return np.array(values, np.uint8).reshape(-1, 1, 1, 1)


@pytest.mark.parametrize(
    ("activation", "expected"),
    [
        (NONE, [-1.5, -0.5, 0.0, 0.5, 1.5, 2.5]),
        (RELU, [0.0, 0.0, 0.0, 0.5, 1.5, 2.5]),
        (Activation(ActivationKind.CLIP, np.array([1.0])), [0.0, 0.0, 0.0, 0.5, 1.0, 1.0]),
        # 2 levels of 1.0: 0.5 is a tie and rounds up, 1.5 as well.
        (Activation(ActivationKind.QCFS, np.array([2.0]), 2), [0.0, 0.0, 0.0, 1.0, 2.0, 2.0]),
    ],
)
def test_ann_activations_by_hand(activation, expected):
    # z = (pixel - 4) / 4 * 2 + 0.5: the pixels give -1.5, -0.5, 0, 0.5, 1.5, 2.5.
    network = one_pixel(layer(2.0, activation, bias=0.5), scale=0.25, mean=4.0)
    got = ann(network, pixels(0, 2, 3, 4, 6, 8), batch=4)
    np.testing.assert_array_equal(got[:, 0], expected)


def test_snn_by_hand():
    # Input (6 - 4) * 0.25 = 0.5 and bias 0.25 a step on V(0) = 0.5: U = 1.25, 1.0, 0.75, 1.5 at a
    # threshold of 1.0; each spike is worth 1.0 and weighs -2.
    network = one_pixel(
        layer(1.0, bias=0.25, theta=1.0, initial=0.5),
        layer(-2.0, source=0, initial=0.125),
        scale=0.25,
        mean=4.0,
    )
    result = snn(network, torch.from_numpy(pixels(6)), 4)
    assert result.potentials.dtype == np.float32
    assert result.potentials[0, :, 0].tolist() == [-1.875, -3.875, -3.875, -5.875]
    assert result.spike_counts[0].tolist() == [[[[3]]]]
    holds = one_pixel(
        layer(1.0, spec=NeuronSpec(NeuronModel.IF, Tie.HOLDS), theta=1.0, initial=0.5),
        layer(1.0, source=0),
    )
    assert snn(holds, pixels(1), 3).potentials[0, :, 0].tolist() == [1.0, 2.0, 3.0]
    assert snn(holds, pixels(0), 1).potentials[0, :, 0].tolist() == [0.0]


def test_pools_average_and_drop():
    weight = np.ones((1, 1, 1, 2))
    pooled = FloatLayer(
        "pooled",
        (1, 1, 1),
        (FloatSynapse(INPUT, weight, pool=Pool((2, 2))),),
        np.zeros(1),
        NONE,
        NeuronSpec(NeuronModel.INTEGRATOR),
        None,
        np.zeros(1),
    )
    network = FloatNetwork(InputSpec((1, 3, 5), 8, (1.0,), (0.0,)), (pooled,))
    frame = np.arange(15, dtype=np.uint8).reshape(1, 1, 3, 5)
    assert ann(network, frame).tolist() == [[(0 + 1 + 5 + 6 + 2 + 3 + 7 + 8) / 4]]
    assert snn(network, frame, 2).potentials.tolist() == [[[8.0], [16.0]]]


def test_equal_potentials_take_the_lowest_class():
    twice = FloatLayer(
        "readout",
        (3, 1, 1),
        (FloatSynapse(INPUT, np.array([0.0, 1.0, 1.0]).reshape(3, 1, 1, 1)),),
        np.zeros(3),
        NONE,
        NeuronSpec(NeuronModel.INTEGRATOR),
        None,
        np.zeros(3),
    )
    result = snn(one_pixel(twice), pixels(0, 1), 2)
    assert result.classes.tolist() == [[0, 0], [1, 1]]
    assert result.spike_counts == ()


def test_no_images():
    network = one_pixel(layer(1.0, theta=1.0), layer(1.0, source=0))
    assert ann(network, pixels()).shape == (0, 1)
    assert snn(network, pixels(), 3).potentials.shape == (0, 3, 1)


def test_refusals():
    network = one_pixel(layer(1.0))
    with pytest.raises(SpikewrightError, match="T is 0; at least 1 time step"):
        snn(network, pixels(1), 0)
    with pytest.raises(SpikewrightError, match=r"expected shape \(N, 1, 1, 1\), got \(1, 1\)"):
        ann(network, np.zeros((1, 1), np.uint8))
    with pytest.raises(SpikewrightError, match="got float32"):
        snn(network, torch.zeros(1, 1, 1, 1), 1)
    plain = FloatLayer("plain", (1, 1, 1), network.layers[0].synapses, np.zeros(1), NONE)
    with pytest.raises(SpikewrightError, match="layer plain: has no neurons yet"):
        snn(one_pixel(plain), pixels(1), 1)
    with pytest.raises(SpikewrightError, match="layer layer0: the last layer fires"):
        snn(one_pixel(layer(1.0, theta=1.0)), pixels(1), 1)
    unset = layer(1.0, spec=NeuronSpec(NeuronModel.IF))
    with pytest.raises(SpikewrightError, match="layer layer0: has no threshold"):
        snn(one_pixel(unset, layer(1.0, source=0)), pixels(1), 1)
