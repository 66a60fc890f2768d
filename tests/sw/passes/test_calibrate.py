"""Calibration against brute force with the float simulator."""

import dataclasses

import numpy as np
import pytest

from spikewright import SpikewrightError
from spikewright.network import (
    INPUT,
    Activation,
    ActivationKind,
    FloatLayer,
    FloatNetwork,
    FloatSynapse,
    InputSpec,
    Pool,
    PoolKind,
)
from spikewright.network.conversion import Conversion
from spikewright.sim.float import ann, snn
from spikewright.sw.passes.calibrate import IMAGES, SHARES, calibrate
from spikewright.sw.passes.convert import convert

RNG = np.random.default_rng(8)
FRAMES = np.kron(RNG.integers(256, size=(40, 1, 5, 5)), np.ones((2, 2))).astype(np.uint8)
RELU = Activation(ActivationKind.RELU)
STEPS = 3


def network(pool=PoolKind.AVERAGE):
    """Two layers of ReLU, the first with a pool behind it, and a linear one."""
    rng = np.random.default_rng(2)

    def layer(name, shape, source, kernel, activation, window=(1, 1)):
        weight = 2 * rng.normal(size=(shape[0], *kernel)) / np.sqrt(np.prod(kernel))
        kind = pool if max(window) > 1 else PoolKind.AVERAGE
        synapse = FloatSynapse(source, weight, pool=Pool(window, kind))
        return FloatLayer(name, shape, (synapse,), rng.normal(size=shape[0]) / 9, activation)

    layers = (
        layer("first", (4, 8, 8), INPUT, (1, 3, 3), RELU),
        layer("second", (5, 3, 3), 0, (4, 2, 2), RELU, (2, 2)),
        layer("last", (3, 1, 1), 1, (5, 3, 3), Activation(ActivationKind.NONE)),
    )
    return FloatNetwork(InputSpec((1, 10, 10)), layers)


def with_layer(net, index, **changes):
    layers = list(net.layers)
    layers[index] = dataclasses.replace(layers[index], **changes)
    return dataclasses.replace(net, layers=tuple(layers))


def lacking(net, index):
    """``(N, C, ...)``: the ANN's activation less the mean output of the SNN, of one layer."""
    head = dataclasses.replace(net, layers=net.layers[: index + 1])
    values = ann(head, FRAMES).reshape(-1, *net.layers[index].shape)
    result = snn(net, FRAMES, STEPS)
    if index == len(net.layers) - 1:
        return values - result.potentials[:, -1].reshape(values.shape) / STEPS
    threshold = net.layers[index].threshold[:, None, None]
    return values - result.counts[index] * threshold / STEPS


CONVERTED = convert(network(), calibration=FRAMES)
CALIBRATED = calibrate(CONVERTED, FRAMES, STEPS)


@pytest.mark.parametrize("index", [0, 1])
def test_each_channel_takes_the_best_threshold_of_the_grid(index):
    before = CONVERTED.layers[index].threshold
    errors = []
    for share in SHARES:
        threshold = share * before
        trial = with_layer(CALIBRATED, index, threshold=threshold, initial=threshold / 2)
        errors.append((lacking(trial, index) ** 2).mean((0, 2, 3)))
    best = np.array(SHARES)[np.argmin(errors, axis=0)]
    np.testing.assert_allclose(CALIBRATED.layers[index].threshold, best * before)
    assert len({*best}) > 1  # the channels do not agree


@pytest.mark.parametrize("index", [0, 1, 2])
def test_the_start_makes_up_for_the_mean_error(index):
    layer = CALIBRATED.layers[index]
    start = np.zeros(3) if layer.threshold is None else layer.threshold / 2
    before = with_layer(CALIBRATED, index, initial=start)
    missed = lacking(before, index).mean((0, 2, 3))
    np.testing.assert_allclose(layer.initial, start + STEPS * missed, rtol=1e-4, atol=1e-6)
    left = np.abs(lacking(CALIBRATED, index).mean((0, 2, 3)))
    assert (left <= np.abs(missed)).all()  # equal where hardly a neuron fires
    assert left.sum() < np.abs(missed).sum() / 2
    if layer.threshold is None:
        assert left.max() < 1e-6  # an integrator makes up for all


def test_weights_and_the_ann_are_left_alone():
    np.testing.assert_array_equal(ann(CALIBRATED, FRAMES), ann(CONVERTED, FRAMES))
    for before, after in zip(CONVERTED.layers, CALIBRATED.layers, strict=True):
        assert (before.name, before.neuron) == (after.name, after.neuron)


def distance(net):
    return np.abs(ann(net, FRAMES) - snn(net, FRAMES, STEPS).potentials[:, -1] / STEPS).mean()


def test_the_outputs_come_nearer():
    assert distance(CALIBRATED) < distance(CONVERTED)


def test_an_snn_that_equals_its_ann_is_left_unchanged():
    """Evenly driven through L steps, QCFS is what an IF neuron does; one channel never fires."""
    qcfs = Activation(ActivationKind.QCFS, np.full(3, 1.0), levels=4)
    synapse = FloatSynapse(INPUT, np.array([1.0, 2.0, -1.0]).reshape(3, 1, 1, 1))
    hidden = FloatLayer("hidden", (3, 10, 10), (synapse,), np.array([0.0, -0.25, 0.0]), qcfs)
    total = FloatSynapse(0, np.ones((1, 3, 10, 10)))
    last = FloatLayer("last", (1, 1, 1), (total,), np.zeros(1), Activation(ActivationKind.NONE))
    net = convert(FloatNetwork(InputSpec((1, 10, 10), scale=(1 / 256,)), (hidden, last)))
    for before, after in zip(net.layers, calibrate(net, FRAMES, 4).layers, strict=True):
        np.testing.assert_array_equal(after.initial, before.initial)
        if before.threshold is not None:
            np.testing.assert_array_equal(after.threshold, before.threshold)


def test_max_pool_neurons_follow_their_source():
    net = convert(network(PoolKind.MAX), calibration=FRAMES)
    fitted = calibrate(net, FRAMES, STEPS)
    first, pool, *_ = fitted.layers
    assert pool.name == "first.pool"
    assert (first.threshold != net.layers[0].threshold).any()
    np.testing.assert_array_equal(pool.threshold, first.threshold)
    assert not pool.initial.any()
    assert distance(fitted) < distance(net)


def test_no_more_images_than_it_says():
    many = np.concatenate([np.tile(FRAMES, (7, 1, 1, 1))[:IMAGES], 255 - FRAMES])
    for few, all_of_them in zip(
        calibrate(CONVERTED, many[:IMAGES], 1).layers,
        calibrate(CONVERTED, many, 1).layers,
        strict=True,
    ):
        np.testing.assert_array_equal(few.initial, all_of_them.initial)


def converted(**choices):
    return convert(network(), Conversion.named(**choices), steps=4, calibration=FRAMES)


@pytest.mark.parametrize(
    ("net", "frames", "steps", "message"),
    [
        (network(), FRAMES, 4, "calibrate: the network has no neurons yet"),
        (converted(neuron="hpc"), FRAMES, 4, "calibrate: layer first has hpc neurons"),
        (converted(reset="zero"), FRAMES, 4, "if neurons with reset zero"),
        (converted(code="isi"), FRAMES, 4, "calibrate: the input code is isi"),
        (CONVERTED, FRAMES[:0], 4, "calibrate: there are no images"),
        (CONVERTED, FRAMES[:, :, 1:], 4, r"\(40, 1, 9, 10\)"),
        (CONVERTED, FRAMES, 0, "T is 0"),
    ],
)
def test_refusals(net, frames, steps, message):
    with pytest.raises(SpikewrightError, match=message) as caught:
        calibrate(net, frames, steps)
    assert "\n" not in str(caught.value)
