"""The float simulator: equal to the golden model on integers, and its activations by hand."""

import dataclasses

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
    InputCode,
    InputSpec,
    NeuronModel,
    NeuronSpec,
    Pool,
    PoolKind,
    Tie,
)
from spikewright.network.conversion import drive, event_value
from spikewright.sim.float import ann, mean_outputs, snn
from spikewright.sim.golden.model import Golden
from tests.support.random_networks import NEURONS, random_frames, random_network, spike_rates

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
    return (2 ** np.maximum(np.rint(np.log2(np.maximum(values, 2))), 1)).astype(np.int64)


def exact_network(seed, **options):
    """A random network whose thresholds and window areas are powers of two, or None."""
    rng = np.random.default_rng(seed)
    network = random_network(rng, size=8_000, side=(1, 9), channels=(1, 12), **options)
    averages = [s.pool for layer in network.layers for s in layer.synapses]
    if any(p.area not in (1, 2, 4) for p in averages if p.kind is PoolKind.AVERAGE):
        return None
    layers = tuple(
        layer
        if layer.neuron.model in (NeuronModel.MAX_POOL, NeuronModel.INTEGRATOR)
        else dataclasses.replace(layer, threshold=power_of_two(layer.threshold))
        for layer in network.layers
    )
    return dataclasses.replace(network, layers=layers)


def as_float(network):
    """The float network of the same potentials: a spike is worth its threshold, pools average."""
    spec, steps = network.input, network.input_steps
    ones = (1.0,) * spec.shape[0]
    worth, layers = {INPUT: 1.0}, []
    pairs = any(layer.neuron.sends_pairs for layer in network.layers)
    for index, layer in enumerate(network.layers):
        synapses = []
        pooling = layer.neuron.model is NeuronModel.MAX_POOL
        for s in layer.synapses:
            area = s.pool.area if s.pool.kind is PoolKind.AVERAGE else 1
            weight = (s.weight << s.shift) * area / np.reshape(worth[s.source], (1, -1, 1, 1))
            weight = s.weight if pooling else weight
            synapses.append(FloatSynapse(s.source, weight, s.stride, s.padding, s.pool))
        worth[index] = worth[layer.synapses[0].source] if pooling else layer.threshold
        layers.append(
            FloatLayer(
                layer.name,
                layer.shape,
                tuple(synapses),
                layer.bias * steps / (steps - pairs) if steps > pairs else 0 * layer.bias,
                RELU if layer.neuron.fires else NONE,
                layer.neuron,
                worth[index] if layer.neuron.fires else None,
                layer.initial,
            )
        )
    spec = dataclasses.replace(spec, scale=ones, mean=(0.0,) * spec.shape[0])
    unscaled = FloatNetwork(spec, tuple(layers))
    scale = tuple(1 / event_value(unscaled, steps))
    return dataclasses.replace(unscaled, input=dataclasses.replace(spec, scale=scale))


def is_exact(network, real):
    """Whether `real` brings events of 1 and the integer biases, without rounding errors."""
    steps = network.input_steps
    bias = [layer.bias * drive(real, steps) / steps for layer in real.layers]
    return (event_value(real, steps) == 1).all() and all(
        np.array_equal(got, layer.bias) for got, layer in zip(bias, network.layers, strict=True)
    )


def run_exact(network, real, frames):
    settle = network.ordinary_steps - network.input_steps
    steps = network.input_steps
    return snn(real, frames, steps, settle=settle, dtype=torch.float64, batch=3)


CASES = [(neuron, InputCode.DIRECT) for neuron in (*NEURONS, "burst")] + [
    (neuron, code)
    for code in InputCode
    for neuron in ("if", "tsc", "tsc-overlapped", "max-pool")
    if code is not InputCode.DIRECT
]


@pytest.mark.parametrize(
    ("neuron", "code", "firing"),
    [
        (neuron, code, firing)
        for neuron, code in CASES
        for firing in (False, True)
        if not (firing and neuron == "tsc-overlapped")  # which have no counts to read
    ],
)
def test_integers_give_the_golden_spikes_of_every_model_and_code(neuron, code, firing):
    active = tested = 0
    for seed in range(60):
        options = {"input_bits": (1, 1)} if code is InputCode.EVENTS else {}
        # Sums of pairs are exact in floating point where T - 1 is a power of two.
        steps = [2, 3, 5, 9][seed % 4] if "tsc" in neuron or code is InputCode.TSC else None
        if steps:
            options["steps"] = (steps, steps)
        network = exact_network(
            seed, neuron=neuron, code=code, firing_output=firing, groups=2, **options
        )
        if network is None:
            continue
        real = as_float(network)
        if not is_exact(network, real):
            continue
        frames = random_frames(np.random.default_rng(seed), network, 5)
        golden = Golden(network).run(frames, trace=True)
        result = run_exact(network, real, frames)
        np.testing.assert_array_equal(result.potentials[:, -1], golden.potentials)
        for got, expected in zip(result.spike_counts, golden.spike_counts, strict=True):
            np.testing.assert_array_equal(got, expected)
        last = golden.trace[-1]
        steps = last.counts if network.layers[-1].neuron.fires else last.membranes
        steps = steps.reshape(len(frames), network.steps, -1)
        np.testing.assert_array_equal(result.potentials, steps)
        firing_layers = [i for i, layer in enumerate(network.layers) if layer.neuron.fires]
        for index, got in zip(firing_layers, result.counts, strict=True):
            if not network.layers[index].neuron.switches:
                np.testing.assert_array_equal(got, golden.trace[index].spikes.sum(1))
        tested += 1
        top = network.layers[0].neuron.most if neuron == "burst" else 1
        active += any(0 < r < top for r in spike_rates(network, frames))
        if tested == 8:
            break
    assert tested == 8
    assert active >= 5


def test_shorter_runs_are_the_beginning_of_longer_ones():
    ties = tested = 0
    for seed in range(20):
        network = exact_network(seed, groups=2)
        if network is None or network.steps == 1:
            continue
        real = as_float(network)
        frames = random_frames(np.random.default_rng(seed), network, 5)
        golden = Golden(network).run(frames, trace=True)
        result = run_exact(network, real, frames)
        for steps in {1, network.steps - 1}:
            part = snn(real, frames, steps, dtype=torch.float64)
            np.testing.assert_array_equal(part.potentials, result.potentials[:, :steps])
            for got, trace in zip(part.spike_counts, golden.trace, strict=False):
                np.testing.assert_array_equal(got, trace.spikes[:, :steps].sum(1))
        for layer, trace in zip(network.layers[:-1], golden.trace, strict=False):
            silent = trace.spikes == 0
            ties += bool((trace.membranes == layer.threshold[:, None, None] * silent).any())
        tested += 1
    assert tested >= 6
    assert ties >= 2


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
        (Activation(ActivationKind.QRELU, np.array([1.5]), 3), [0.0, 0.0, 0.0, 0.5, 1.5, 1.5]),
        (Activation(ActivationKind.QRELU, np.array([4.0]), 4), [0.0, 0.0, 0.0, 0.0, 1.0, 2.0]),
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


def test_mean_outputs_are_those_of_the_whole_run():
    """Of every trial, batch by batch; the layers before it see nothing of the trials."""
    hidden = layer(1.0, theta=0.5, initial=0.25, bias=0.1)
    second = layer(0.7, source=0, theta=0.3)
    network = one_pixel(hidden, second, layer(2.0, source=1, bias=-0.2), scale=0.01)
    frames, steps = pixels(*range(0, 250, 11)), 5
    for index, trained in enumerate(network.layers):
        trials = [trained, dataclasses.replace(trained, bias=trained.bias + 0.05)]
        parts, outputs = zip(
            *mean_outputs(network, frames, steps, index, trials, batch=7), strict=True
        )
        assert [len(part) for part in parts] == [7, 7, 7, 2]
        np.testing.assert_array_equal(np.concatenate(parts), frames)
        for trial, got in zip(trials, np.concatenate(outputs, axis=1), strict=True):
            layers = (*network.layers[:index], trial, *network.layers[index + 1 :])
            run = snn(dataclasses.replace(network, layers=layers), frames, steps)
            if trial.threshold is None:
                expected = run.potentials[:, -1, :, None, None] / steps
            else:
                expected = run.counts[index] * trial.threshold[:, None, None] / steps
            np.testing.assert_allclose(got, expected, atol=1e-6)


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
    with pytest.raises(SpikewrightError, match="layer layer0: an integrator can only be the last"):
        snn(one_pixel(layer(1.0, RELU), layer(1.0, source=0)), pixels(1), 1)
    unset = layer(1.0, spec=NeuronSpec(NeuronModel.IF))
    with pytest.raises(SpikewrightError, match="layer layer0: has no threshold"):
        snn(one_pixel(unset, layer(1.0, source=0)), pixels(1), 1)
