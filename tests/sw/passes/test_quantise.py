"""The quantiser: what integers may and may not do to a converted network."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from spikewright.errors import SpikewrightError
from spikewright.network import (
    INPUT,
    Activation,
    ActivationKind,
    FloatLayer,
    FloatNetwork,
    FloatSynapse,
    InputSpec,
    NeuronModel,
    NeuronSpec,
    Pool,
)
from spikewright.sim.golden.model import Golden
from spikewright.sw.passes.quantise import THRESHOLD_ERROR, quantisation_error, quantise


def layer(name, source, weight, bias, threshold=None, *, shape=(1, 1), **geometry):
    """A converted layer: IF with V(0) = threshold / 2, or without a threshold an integrator."""
    weight = np.asarray(weight, float)
    channels = len(weight)
    bias = np.broadcast_to(np.asarray(bias, float), channels)
    synapses = (FloatSynapse(source, weight, **geometry),)
    if threshold is None:
        kind, neuron, initial = Activation(ActivationKind.NONE), NeuronModel.INTEGRATOR, bias * 0
    else:
        threshold = np.broadcast_to(np.asarray(threshold, float), channels)
        kind, neuron = Activation(ActivationKind.CLIP, threshold), NeuronModel.IF
        initial = threshold / 2
    return FloatLayer(
        name, (channels, *shape), synapses, bias, kind, NeuronSpec(neuron), threshold, initial
    )


def network(spec, *layers):
    return FloatNetwork(spec, layers)


@st.composite
def networks(draw):
    """conv - pool - dense - integrator with magnitudes spread over decades."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    c, hidden = draw(st.integers(1, 4)), draw(st.integers(1, 5))
    spread = draw(st.floats(0, 2))

    def some(*shape):
        return rng.normal(size=shape) * 10 ** rng.uniform(-spread, spread)

    def thresholds(n):
        return 10 ** rng.uniform(-spread, spread, size=n)

    spec = InputSpec((2, 6, 6), scale=tuple(10 ** rng.uniform(-3, -1, size=2)))
    return network(
        spec,
        layer("a", INPUT, some(c, 2, 3, 3), some(c), thresholds(c), shape=(4, 4)),
        layer("b", 0, some(hidden, c, 2, 2), some(hidden), thresholds(hidden), pool=Pool((2, 2))),
        layer("c", 1, some(3, hidden, 1, 1), some(3)),
    )


def event_values(net, synapse):
    """Real value of one event of each source channel, as the integer network sees it."""
    source = net.input.scale if synapse.source == INPUT else net.layers[synapse.source].threshold
    return np.array(source)[:, None, None] / synapse.pool.area


def quantised(net, **options):
    """The integer network, unless its magnitudes are refused for being too far apart."""
    try:
        return quantise(net, **options)
    except SpikewrightError as error:
        if "too small to represent" not in str(error):
            raise
        reject()


@settings(max_examples=150, deadline=None)
@given(networks(), st.integers(1, 9), st.integers(2, 8), st.booleans())
def test_every_integer_is_as_near_as_it_should_be(net, steps, bits, per_channel):
    made = quantised(net, steps=steps, weight_bits=bits, per_channel=per_channel)
    limit = 2 ** (bits - 1) - 1
    for real, got in zip(net.layers, made.layers, strict=True):
        shift, weight = got.synapses[0].shift, got.synapses[0].weight
        effective = real.synapses[0].weight * event_values(net, real.synapses[0])
        scale = got.unit * 2**shift
        error = np.abs(weight * scale[:, None, None, None] - effective)
        assert (error <= scale[:, None, None, None] * 0.5000001).all()
        peaks = np.abs(weight).max(axis=(1, 2, 3))
        firing = got.neuron.fires
        # No bit of the weights lies idle, but for channels far below their threshold.
        event = real.synapses[0].pool.area * (255 if made.direct(got) else 1)
        reference = real.threshold if firing else np.abs(real.bias)
        kept = reference / scale > 2**14 * event * 0.99
        if firing and per_channel:
            assert ((peaks == limit) | kept).all()
        else:
            assert peaks.max() == limit or kept.any()
            assert (got.unit == got.unit[0]).all()
        half = got.threshold // 2
        if firing:
            assert (got.threshold % 2 == 0).all()
            exact = real.threshold / got.unit
            assert (np.abs(got.threshold - exact) < THRESHOLD_ERROR * exact).all()
        # All steps together add the rounded total bias, to the last unit.
        total = steps * got.bias + got.initial - half
        np.testing.assert_array_equal(total, np.rint(steps * real.bias / got.unit))
        assert (np.abs(2 * (got.initial - half)) <= steps).all()


@settings(max_examples=60, deadline=None)
@given(networks(), st.integers(1, 9), st.integers(2, 8))
def test_the_shift_is_the_least_that_serves(net, steps, bits):
    made = quantised(net, steps=steps, weight_bits=bits)
    for real, got in zip(net.layers[:-1], made.layers, strict=False):
        if not got.synapses[0].shift:
            continue
        unit = 2 * got.unit
        threshold, bias = real.threshold / unit, steps * real.bias / unit
        worst = np.maximum(
            np.abs(2 * np.rint(threshold / 2) - threshold), np.abs(np.rint(bias) - bias)
        )
        assert (worst >= THRESHOLD_ERROR * threshold).any()


def integer_network(rng, bits):
    """A network whose numbers are integers in units of the membrane, with unequal thresholds."""
    limit = 2 ** (bits - 1) - 1

    def weights(*shape):
        w = rng.integers(-limit, limit + 1, size=shape)
        w[:, 0, 0, 0] = limit  # every channel's scale is one
        return w

    th = [2 * rng.integers(limit, 20 * limit, size=n) for n in (3, 4)]
    bias = [rng.integers(-limit, limit, size=n) for n in (3, 4, 5)]
    integers = [weights(3, 2, 3, 3), weights(4, 3, 2, 2), weights(5, 4, 1, 1)]
    net = network(
        InputSpec((2, 7, 7), bits=2, scale=(1.0, 1.0)),
        layer("a", INPUT, integers[0], bias[0], th[0], shape=(5, 5)),
        layer("b", 0, integers[1] / th[0][:, None, None] * 4, bias[1], th[1], pool=Pool((2, 2))),
        layer("c", 1, integers[2] / th[1][:, None, None], bias[2]),
    )
    return net, integers, th, bias


def float_run(net, pixels, steps):
    """A float SNN, written out for the geometry of `integer_network`: spikes and last potential."""

    def current(weight, x):
        kh, kw = weight.shape[2:]
        windows = np.lib.stride_tricks.sliding_window_view(x, (kh, kw), axis=(1, 2))
        return np.einsum("oiyx,ihwyx->ohw", weight, windows)

    potentials = [np.broadcast_to(r.initial[:, None, None], r.shape).copy() for r in net.layers]
    counts = [np.zeros(r.shape, int) for r in net.layers]
    for _ in range(steps):
        x = pixels.astype(float)
        for i, r in enumerate(net.layers):
            p = r.synapses[0].pool.size[0]
            n = x.shape[1] // p * p
            x = x[:, :n, :n].reshape(len(x), n // p, p, n // p, p).mean(axis=(2, 4))
            potentials[i] += current(r.synapses[0].weight, x) + r.bias[:, None, None]
            if r.threshold is not None:
                th = r.threshold[:, None, None]
                fired = potentials[i] >= th - 1e-6
                potentials[i] -= fired * th
                counts[i] += fired
                x = fired * th
    return counts, potentials[-1]


@pytest.mark.parametrize("bits", [2, 3, 5, 8])
def test_a_network_of_integers_stays_as_it_is(bits):
    rng = np.random.default_rng(bits)
    net, integers, th, bias = integer_network(rng, bits)
    made = quantise(net, steps=6, weight_bits=bits)
    for got, w, b in zip(made.layers, integers, bias, strict=True):
        np.testing.assert_array_equal(got.synapses[0].weight, w)
        np.testing.assert_array_equal(got.bias, b)
        np.testing.assert_allclose(got.unit, 1, rtol=1e-12)
    for got, t in zip(made.layers, th, strict=False):
        np.testing.assert_array_equal(got.threshold, t)
        np.testing.assert_array_equal(got.initial, t // 2)
    pixels = rng.integers(4, size=(8, 2, 7, 7), dtype=np.uint8)
    result = Golden(made).run(pixels)
    spikes = 0
    for i, image in enumerate(pixels):
        counts, potential = float_run(net, image, 6)
        for got, expected in zip(result.spike_counts, counts, strict=False):
            np.testing.assert_array_equal(got[i], expected)
            spikes += int(expected.sum())
        np.testing.assert_allclose(result.potentials[i], potential.ravel(), atol=1e-6)
    assert spikes > 0
    for entry in quantisation_error(net, made).values():
        assert entry["weight_rms"] < 1e-12
        assert entry["threshold"] < 1e-12
        assert entry["bias"] < 1e-9
        assert (entry["shift"], entry["bits"]) == (0, bits)


def test_mean_and_pool_of_the_input_go_into_weights_and_bias():
    rng = np.random.default_rng(3)
    spec = InputSpec((3, 6, 6), scale=(0.02, 0.01, 0.03), mean=(120.0, 99.5, 7.25))
    weight, bias = rng.normal(size=(4, 3, 2, 2)), rng.normal(size=4)
    net = network(spec, layer("out", INPUT, weight, bias, shape=(2, 2), pool=Pool((2, 2))))
    made = quantise(net, steps=3)
    pixels = rng.integers(256, size=(1, 3, 6, 6), dtype=np.uint8)
    got = Golden(made).run(pixels).potentials.reshape(4, 2, 2) * made.layers[0].unit[:, None, None]

    real = (pixels[0] - np.array(spec.mean)[:, None, None]) * np.array(spec.scale)[:, None, None]
    pooled = real.reshape(3, 3, 2, 3, 2).mean(axis=(2, 4))
    windows = np.lib.stride_tricks.sliding_window_view(pooled, (2, 2), axis=(1, 2))
    rounded = made.layers[0].synapses[0].weight * made.layers[0].unit[0]
    rounded = rounded / event_values(net, net.layers[0].synapses[0])
    expected = 3 * (np.einsum("oiyx,ihwyx->ohw", rounded, windows) + bias[:, None, None])
    assert np.abs(got - expected).max() <= 0.5001 * made.layers[0].unit[0]
    exact = 3 * (np.einsum("oiyx,ihwyx->ohw", weight, windows) + bias[:, None, None])
    assert np.abs(got - exact).max() < 0.02 * np.abs(exact).max()


def test_a_mean_under_padding_is_refused():
    spec = InputSpec((1, 4, 4), mean=(1.0,))
    net = network(spec, layer("out", INPUT, np.ones((1, 1, 3, 3)), 0, shape=(4, 4), padding=(1, 1)))
    with pytest.raises(SpikewrightError, match=r"^layer out: pads an input with a mean"):
        quantise(net, steps=1)


def small(weight=((1.0, -0.5),), bias=0.25, threshold=1.0):
    weight = np.array(weight)[:, :, None, None]
    return network(
        InputSpec((weight.shape[1], 1, 1), bits=1),
        layer("hidden", INPUT, weight, bias, threshold),
        layer("out", 0, np.ones((2, len(weight), 1, 1)), 0),
    )


def test_numbers_out_of_range_are_refused():
    with pytest.raises(SpikewrightError, match=r"^quantise: T is 0; at least 1 time step"):
        quantise(small(), steps=0)
    for bits in (1, 9):
        with pytest.raises(
            SpikewrightError, match=rf"^quantise: {bits}-bit weights; choose 2 to 8"
        ):
            quantise(small(), steps=1, weight_bits=bits)


def test_a_network_without_neurons_is_refused():
    net = small()
    bare = dataclasses.replace(net.layers[0], neuron=None, threshold=None, initial=None)
    with pytest.raises(SpikewrightError, match=r"convert it first"):
        quantise(network(net.input, bare, net.layers[1]), steps=4)


def test_a_threshold_below_all_weights_is_refused():
    with pytest.raises(
        SpikewrightError, match=r"^layer hidden: the threshold of channel 0 is .* too"
    ):
        quantise(small(threshold=1e-5), steps=4)


def test_an_absurd_bias_is_refused():
    with pytest.raises(SpikewrightError, match=r"^layer hidden: a bias is too large"):
        quantise(small(bias=1e20), steps=4)


@pytest.mark.parametrize("tiny", [0.0, 1e-12, 1e-308])
def test_a_vanished_channel_does_not_widen_the_membranes(tiny):
    made = quantise(small([[1.0, -0.5], [tiny, -tiny]]), steps=4)
    assert made.layers[0].synapses[0].weight.tolist() == [[[[127]], [[-64]]], [[[0]], [[0]]]]
    assert made.ranges.membrane_bits <= 17
    # Its bias of a quarter of the threshold still fires it: at steps 2 (V(0) is half) and 6.
    made = quantise(small([[1.0, -0.5], [tiny, -tiny]]), steps=6)
    counts = Golden(made).run(np.zeros((1, 2, 1, 1), np.uint8)).spike_counts[0]
    assert counts.ravel().tolist() == [2, 2]


def test_an_all_zero_integrator_keeps_its_bias():
    net = small()
    out = layer("out", 0, np.zeros((2, 1, 1, 1)), [0.5, -0.25])
    made = quantise(network(net.input, net.layers[0], out), steps=4).layers[1]
    total = 4 * made.bias + made.initial
    np.testing.assert_allclose(total * made.unit, [2.0, -1.0], rtol=1e-4)
    out = layer("out", 0, np.zeros((2, 1, 1, 1)), 0)
    assert not quantise(network(net.input, net.layers[0], out), steps=4).layers[1].bias.any()


def test_one_scale_for_a_layer_costs_small_channels_their_bits():
    net = small([[1.0, -0.5], [0.01, 0.004]], threshold=[1.0, 0.01])
    each = quantise(net, steps=4).layers[0]
    one = quantise(net, steps=4, per_channel=False).layers[0]
    assert np.abs(each.synapses[0].weight).max(axis=(1, 2, 3)).tolist() == [127, 127]
    assert np.abs(one.synapses[0].weight).max(axis=(1, 2, 3)).tolist() == [127, 1]
    assert one.unit[0] == one.unit[1]


def test_the_error_report_measures_what_was_rounded():
    net = small([[1.0, 0.3]], bias=0.0, threshold=1.0)
    report = quantisation_error(net, quantise(net, steps=4, weight_bits=2))["hidden"]
    # One bit and a sign: 0.3 becomes 0 beside the full 1.
    assert report["weight_rms"] == pytest.approx(0.3 / np.hypot(1, 0.3))
    assert report["bits"] == 2
    assert 0 <= report["threshold"] < THRESHOLD_ERROR
