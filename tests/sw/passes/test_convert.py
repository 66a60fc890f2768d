"""Conversion: every activation gets the threshold that it saturates at."""

import dataclasses
import warnings

import numpy as np
import pytest

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
)
from spikewright.network.conversion import Conversion, Readout
from spikewright.network.neuron import NeuronSpec
from spikewright.sim.golden.model import Golden
from spikewright.sw.passes.convert import ConversionWarning, convert
from spikewright.sw.passes.quantise import quantise

RNG = np.random.default_rng(5)
FACTORS = np.array([1.0, 3.0, -2.0])  # the third is silent for pixels above the mean


def network(activation, size=8):
    """Three channels, `FACTORS` times the one of the input, and an integrator that adds them up."""
    factors = FACTORS[:, None, None, None]
    hidden = FloatLayer(
        "hidden", (3, size, size), (FloatSynapse(INPUT, factors),), np.zeros(3), activation
    )
    total = FloatSynapse(0, np.ones((1, 3, size, size)))
    last = FloatLayer("out", (1, 1, 1), (total,), np.zeros(1), Activation(ActivationKind.NONE))
    return FloatNetwork(InputSpec((1, size, size), mean=(10.0,)), (hidden, last))


RELU = network(Activation(ActivationKind.RELU))
IMAGES = RNG.integers(10, 256, size=(250, 1, 8, 8), dtype=np.uint8)


def activations(images):
    real = (images.astype(float) - 10) / 255
    return np.maximum(real * FACTORS[:, None, None], 0)


@pytest.mark.parametrize("percentile", [50, 99, 99.9, 100])
def test_relu_thresholds_are_percentiles_of_the_activations(percentile):
    values = activations(IMAGES)
    layer, _ = convert(RELU, calibration=IMAGES, percentile=percentile).layers
    np.testing.assert_allclose(layer.threshold, np.percentile(values, percentile), rtol=1e-5)
    layer, _ = convert(RELU, calibration=IMAGES, percentile=percentile, channelwise=True).layers
    each = [np.percentile(values[:, c], percentile) for c in (0, 1)]
    # The silent channel takes the threshold of the whole layer.
    whole = np.percentile(values, percentile)
    np.testing.assert_allclose(layer.threshold, [*each, whole], rtol=1e-5)


def test_a_percentile_of_zero_gives_way_to_the_maximum():
    layer, _ = convert(RELU, calibration=IMAGES, percentile=1).layers
    np.testing.assert_allclose(layer.threshold, activations(IMAGES).max(), rtol=1e-5)


def test_a_silent_layer_gets_threshold_one():
    black = np.zeros((4, 1, 8, 8), np.uint8)
    silent = network(Activation(ActivationKind.RELU))
    silent = dataclasses.replace(silent, input=InputSpec((1, 8, 8)))
    for channelwise in (False, True):
        layer, _ = convert(silent, calibration=black, channelwise=channelwise).layers
        assert layer.threshold.tolist() == [1, 1, 1]


def test_thresholds_follow_the_images_through_the_layers():
    """The second layer is calibrated on what the first one gives, its clipping included."""
    clip = Activation(ActivationKind.CLIP, [0.5, 0.5, 0.5])
    first, last = network(clip).layers
    last = dataclasses.replace(last, activation=Activation(ActivationKind.RELU))
    net = FloatNetwork(InputSpec((1, 8, 8)), (first, last))
    white = np.full((2, 1, 8, 8), 255, np.uint8)
    counts = Conversion(readout=Readout.COUNTS)
    layer = convert(net, counts, calibration=white).layers[1]
    assert layer.threshold == pytest.approx([0.5 * 64 * 2])


def test_clipped_relu_keeps_its_bound_or_the_lower_percentile():
    net = network(Activation(ActivationKind.CLIP, [0.5, 1.0, 2.0]))
    assert convert(net).layers[0].threshold.tolist() == [0.5, 1.0, 2.0]
    layer, _ = convert(net, calibration=IMAGES // 4, percentile=100).layers
    whole = activations(IMAGES // 4)[:, 1].max()
    assert 0.5 < whole < 1
    np.testing.assert_allclose(layer.threshold, [0.5, whole, whole], rtol=1e-5)


def test_qcfs_thresholds_are_the_learned_ones():
    net = network(Activation(ActivationKind.QCFS, [0.5, 1.0, 2.0], 4))
    for calibration in (None, IMAGES):
        layer, last = convert(net, calibration=calibration).layers
        assert layer.threshold.tolist() == [0.5, 1.0, 2.0]
        assert layer.initial.tolist() == [0.25, 0.5, 1.0]
        assert layer.neuron.model is NeuronModel.IF
        assert last.neuron.model is NeuronModel.INTEGRATOR
        assert last.threshold is None
        assert last.initial.tolist() == [0]


@pytest.mark.parametrize("levels", [1, 4, 7])
def test_a_converted_qcfs_layer_gives_its_activation_after_as_many_steps_as_levels(levels):
    """NQ Eq. 7 for constant input: the spike count is the quantised activation, for every pixel."""
    threshold = np.array([0.45, 1.3, 2.0])
    net = network(Activation(ActivationKind.QCFS, threshold, levels), size=16)
    pixels = np.arange(256, dtype=np.uint8).reshape(1, 1, 16, 16)
    # Sixteen-fold resolution of the weights: what is compared is the neuron, not its rounding.
    counts = Golden(quantise(convert(net), steps=levels)).run(pixels).spike_counts[0][0]
    z = (pixels[0] - 10.0) / 255 * FACTORS[:, None, None]
    u = z * levels / threshold[:, None, None] + 0.5
    expected = np.clip(np.floor(u), 0, levels)
    near = np.abs(u - np.rint(u)) < 0.01
    np.testing.assert_array_equal(counts[~near], expected[~near])
    assert near.mean() < 0.05
    assert len(np.unique(expected)) == levels + 1


@pytest.mark.parametrize(("steps", "smax"), [(1, 1), (4, 1), (3, 2), (5, 2)])
def test_a_converted_qrelu_layer_gives_its_activation(steps, smax):
    """HPC Eq. 4: the count is the activation rounded down, with V(0) = 0 and lam_b / Smax."""
    bound, levels = np.array([0.45, 1.3, 2.0]), steps * smax
    net = network(Activation(ActivationKind.QRELU, bound, levels, smax), size=16)
    hpc = convert(net, Conversion.named(neuron="hpc"), steps=steps)
    assert hpc.layers[0].neuron == NeuronSpec.buffered(smax)
    np.testing.assert_allclose(hpc.layers[0].threshold, bound / smax)
    assert hpc.layers[0].initial.tolist() == [0, 0, 0]
    pixels = np.arange(256, dtype=np.uint8).reshape(1, 1, 16, 16)
    counts = Golden(quantise(hpc, steps=steps)).run(pixels).spike_counts[0][0]
    u = (pixels[0] - 10.0) / 255 * FACTORS[:, None, None] * levels / bound[:, None, None]
    expected = np.clip(np.floor(u), 0, levels)
    near = np.abs(u - np.rint(u)) < 0.02
    np.testing.assert_array_equal(counts[~near], expected[~near])
    assert near.mean() < 0.1
    assert len(np.unique(expected)) == levels + 1


def test_qrelu_starts_other_neurons_at_zero_too():
    net = network(Activation(ActivationKind.QRELU, [0.5, 1.0, 2.0], 8, 2))
    for name in ("if", "hpc", "qffs", "ca-lif", "tsc"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConversionWarning)
            converted = convert(net, Conversion.named(neuron=name), steps=8)
        assert converted.layers[0].initial.tolist() == [0, 0, 0]
    half = convert(net, Conversion.named(neuron="if", initial=0.5))
    assert half.layers[0].initial.tolist() == [0.25, 0.5, 1.0]
    with pytest.raises(SpikewrightError, match=r"^layer \w+: rounds down, and the rounding phase"):
        convert(net, Conversion.named(neuron="ca-lif", exact=True), steps=8)


def test_without_images_seeded_noise_is_used_and_said():
    with pytest.warns(ConversionWarning, match=r"no calibration images"):
        first = convert(network(Activation(ActivationKind.RELU), size=1), percentile=80)
    with pytest.warns(ConversionWarning):
        again = convert(network(Activation(ActivationKind.RELU), size=1), percentile=80)
    np.testing.assert_array_equal(first.layers[0].threshold, again.layers[0].threshold)
    with pytest.warns(ConversionWarning):
        first = convert(RELU)
    assert 2.8 < first.layers[0].threshold[0] < 3
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        convert(network(Activation(ActivationKind.QCFS, [1.0, 1.0, 1.0], 4)))


@pytest.mark.parametrize(
    ("calibration", "message"),
    [
        (IMAGES.astype(float), "images are float64 of shape"),
        (IMAGES[:, 0], r"uint8 of shape \(250, 8, 8\); they must be uint8 \(N, 1, 8, 8\)"),
        (IMAGES[:, :, 1:], r"of shape \(250, 1, 7, 8\)"),
        (IMAGES[:0], "needs at least one image"),
    ],
)
def test_other_calibration_images_are_refused(calibration, message):
    with pytest.raises(SpikewrightError, match=message):
        convert(RELU, calibration=calibration)


def test_calibration_pixels_beyond_the_inputs_bits_are_refused():
    net = dataclasses.replace(RELU, input=InputSpec((1, 8, 8), bits=4))
    with pytest.raises(SpikewrightError, match=r"of pixels in 0\.\.15"):
        convert(net, calibration=IMAGES)


@pytest.mark.parametrize("percentile", [0, -1, 100.1, float("nan")])
def test_impossible_percentiles_are_refused(percentile):
    with pytest.raises(SpikewrightError, match=r"percentile .*: must lie in"):
        convert(RELU, calibration=IMAGES, percentile=percentile)
