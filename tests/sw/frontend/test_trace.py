"""Whole networks against torch, the example, and what cannot be traced."""

import copy
import random
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

from spikewright.network import (
    INPUT,
    ActivationKind,
    InputSpec,
    Pool,
)
from spikewright.sw.activations import LSQ, NQ, QCFS, FakeQuant, QReLU, quantise_weights
from spikewright.sw.frontend.trace import trace
from tests.support.modules import Forward, Module, conv, lenet, refusal, seeded, traced


@pytest.mark.parametrize(
    ("activation", "kind", "threshold", "levels"),
    [
        (nn.ReLU, ActivationKind.RELU, None, None),
        (nn.ReLU6, ActivationKind.CLIP, 6.0, None),
        (lambda: nn.Hardtanh(0, 1.5), ActivationKind.CLIP, 1.5, None),
        (lambda: QCFS(4, 2.0), ActivationKind.QCFS, 2.0, 4),
        (lambda: NQ(4, 2.0), ActivationKind.QCFS, 2.0, 4),
        (lambda: QReLU(4, 2, 2.0), ActivationKind.QRELU, 2.0, 8),
        (lambda: LSQ(3, 0.25), ActivationKind.QCFS, 1.75, 7),
        (lambda: FakeQuant(8, range=1.5), ActivationKind.QCFS, 1.5, 255),
    ],
)
def test_lenet(
    activation: Callable[[], Module],
    kind: ActivationKind,
    threshold: float | None,
    levels: int | None,
) -> None:
    network = traced(seeded(lenet(activation), 1), 1, 28, 28)
    assert [layer.name for layer in network.layers] == ["0", "4", "9", "12"]
    shapes = [layer.shape for layer in network.layers]
    assert shapes == [(4, 28, 28), (6, 10, 10), (12, 1, 1), (5, 1, 1)]
    assert [layer.synapses[0].source for layer in network.layers] == [INPUT, 0, 1, 2]
    pools = [layer.synapses[0].pool.size for layer in network.layers]
    assert pools == [(1, 1), (2, 2), (2, 2), (1, 1)]
    first = network.layers[0].activation
    assert first.kind is kind
    assert first.levels == levels
    assert first.smax == (2 if kind is ActivationKind.QRELU else None)
    if threshold is None:
        assert first.threshold is None
    else:
        assert first.threshold is not None
        assert first.threshold.tolist() == [threshold] * 4
    assert network.layers[-1].activation.kind is ActivationKind.NONE


CHAINS: dict[str, tuple[Module, tuple[int, ...]]] = {
    "conv, pool, activation": (conv(nn.AvgPool2d(2), nn.ReLU(), nn.Conv2d(3, 2, 2)), (1, 11, 10)),
    "padded conv, pool": (
        conv(nn.AvgPool2d(2), nn.ReLU(), nn.Conv2d(3, 2, 2), padding=1),
        (1, 9, 8),
    ),
    "strided conv": (
        conv(nn.ReLU(), nn.Conv2d(3, 2, 2), stride=(2, 3), padding=(1, 2)),
        (1, 9, 12),
    ),
    "same": (conv(nn.ReLU(), nn.Conv2d(3, 2, 2, padding="valid"), padding="same"), (1, 6, 7)),
    "odd kernel": (
        nn.Sequential(nn.Conv2d(2, 3, (1, 5), padding=(0, 2)), nn.ReLU(), nn.Conv2d(3, 2, 3)),
        (2, 6, 7),
    ),
    "conv, linear conv": (
        conv(nn.Conv2d(3, 4, 2, stride=2), nn.ReLU(), nn.Conv2d(4, 2, 1)),
        (1, 9, 9),
    ),
    "pointwise in front of padded": (
        nn.Sequential(nn.Conv2d(2, 4, 1, bias=False), nn.Conv2d(4, 3, 3, padding=1)),
        (2, 6, 6),
    ),
    "linear, linear": (
        nn.Sequential(nn.Linear(9, 4), nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)),
        (9,),
    ),
    "norm behind pool": (
        conv(nn.ReLU(), nn.AvgPool2d(2), nn.BatchNorm2d(3), nn.Conv2d(3, 2, 2)),
        (1, 9, 9),
    ),
    "norm behind relu": (conv(nn.ReLU(), nn.BatchNorm2d(3), nn.Conv2d(3, 2, 3)), (1, 8, 8)),
    "norm on the input": (nn.Sequential(nn.BatchNorm2d(2), nn.Conv2d(2, 2, 3)), (2, 5, 5)),
    "norm of positions": (
        nn.Sequential(
            nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.BatchNorm1d(27), nn.Linear(27, 4)
        ),
        (1, 5, 5),
    ),
    "plain norm": (conv(nn.BatchNorm2d(3, affine=False), nn.ReLU(), nn.Conv2d(3, 2, 1)), (1, 5, 5)),
    "pool on the input": (nn.Sequential(nn.AvgPool2d(3), nn.Conv2d(2, 3, 2)), (2, 10, 11)),
    "pool at the end": (conv(nn.ReLU(), nn.AdaptiveAvgPool2d(1)), (1, 7, 8)),
    "fully convolutional": (
        conv(nn.ReLU(), nn.Conv2d(3, 4, 1), nn.AdaptiveAvgPool2d((1, 1)), nn.Flatten()),
        (1, 7, 8),
    ),
    "overlapping pool": (conv(nn.ReLU(), nn.AvgPool2d(3, 2), nn.Conv2d(3, 2, 2)), (1, 12, 12)),
    "two pools": (
        conv(nn.ReLU(), nn.AvgPool2d(2), nn.AvgPool2d((2, 1)), nn.Conv2d(3, 2, 2)),
        (1, 13, 8),
    ),
    "ceil mode that divides": (
        conv(nn.ReLU(), nn.AvgPool2d(2, ceil_mode=True), nn.Conv2d(3, 2, 2)),
        (1, 8, 8),
    ),
    "adaptive to 2x3": (
        conv(nn.ReLU(), nn.AdaptiveAvgPool2d((2, 3)), nn.Flatten(), nn.Linear(18, 4)),
        (1, 8, 8),
    ),
    "adaptive with None": (
        conv(nn.ReLU(), nn.AdaptiveAvgPool2d((None, 1)), nn.Flatten(), nn.Linear(18, 4)),
        (1, 8, 8),
    ),
    "activation on the input": (nn.Sequential(nn.ReLU(), nn.Conv2d(2, 3, 3)), (2, 5, 5)),
    "relu, hardtanh, relu": (
        conv(nn.ReLU(), nn.Hardtanh(0, 0.1), nn.ReLU(), nn.Conv2d(3, 2, 2)),
        (1, 5, 5),
    ),
    "everything dropped": (
        conv(nn.Identity(), nn.ReLU(), nn.Dropout2d(), nn.AlphaDropout(), nn.Conv2d(3, 2, 2)),
        (1, 5, 5),
    ),
    "one linear": (nn.Linear(7, 3), (7,)),
    "one conv": (nn.Conv2d(2, 3, 3, padding=1), (2, 5, 5)),
    "flat frame of three axes": (
        nn.Sequential(nn.Flatten(), nn.Linear(24, 5), nn.ReLU(), nn.Linear(5, 3)),
        (2, 3, 4),
    ),
}


@pytest.mark.parametrize("name", CHAINS)
def test_chain(name: str) -> None:
    module, shape = CHAINS[name]
    traced(seeded(module, 2), *shape)


def test_geometry_of_merged_pools() -> None:
    module, shape = CHAINS["padded conv, pool"]
    synapse = traced(module, *shape).layers[0].synapses[0]
    assert synapse.weight.shape == (3, 1, 4, 4)
    assert (synapse.stride, synapse.padding, synapse.pool) == ((2, 2), (1, 1), Pool())
    module, shape = CHAINS["two pools"]
    assert traced(module, *shape).layers[1].synapses[0].pool == Pool((4, 2))
    module, shape = CHAINS["fully convolutional"]
    network = traced(module, *shape)
    assert network.layers[1].synapses[0].pool == Pool((5, 6))
    assert network.layers[1].shape == (4, 1, 1)
    module, shape = CHAINS["pool at the end"]
    last = traced(module, *shape).layers[-1]
    assert (last.name, last.synapses[0].pool) == ("2", Pool((5, 6)))
    np.testing.assert_array_equal(last.synapses[0].weight[:, :, 0, 0], np.eye(3))


def test_random_networks() -> None:
    rng = random.Random(4)
    for seed in range(25):
        channels, size = rng.randint(1, 3), rng.randint(8, 14)
        shape, parts = (channels, size, size), list[Module]()
        for _ in range(rng.randint(1, 3)):
            kernel, out = rng.randint(1, 4), rng.randint(1, 5)
            parts.append(nn.Conv2d(channels, out, kernel, rng.randint(1, 2), rng.randrange(kernel)))
            channels = out
            if rng.random() < 0.5:
                parts.append(nn.BatchNorm2d(channels))
            order = [nn.AvgPool2d(rng.randint(1, 2)), QCFS(rng.randint(1, 8), 2.0)]
            parts += rng.sample(order, 2)
            if nn.Sequential(*parts).eval()(torch.rand(1, *shape)).shape[-1] < 6:
                break
        flat = nn.Sequential(*parts, nn.Flatten()).eval()(torch.rand(1, *shape)).shape[1]
        traced(seeded(nn.Sequential(*parts, nn.Flatten(), nn.Linear(flat, 4)), seed), *shape)


@pytest.mark.parametrize("shape", [(1, 2, 5, 5), (2, 5, 5)])
def test_example_with_and_without_batch(shape: tuple[int, ...]) -> None:
    assert trace(nn.Conv2d(2, 3, 3), torch.rand(shape)).input == InputSpec((2, 5, 5))


@pytest.mark.parametrize("shape", [(1, 6), (6,)])
def test_flat_example(shape: tuple[int, ...]) -> None:
    network = trace(nn.Linear(6, 2), torch.rand(shape))
    assert network.input == InputSpec((6, 1, 1))
    assert network.layers[0].synapses[0].weight.shape == (2, 6, 1, 1)


def test_default_input_is_pixel_over_255() -> None:
    spec = trace(nn.Conv2d(2, 3, 3), torch.rand(2, 5, 5)).input
    assert (spec.bits, spec.scale, spec.mean) == (8, (1 / 255,) * 2, (0.0, 0.0))


def test_input_spec_is_kept() -> None:
    spec = InputSpec((1, 6, 6), 4, (0.5,), (3.0,))
    assert traced(conv(nn.ReLU(), nn.Conv2d(3, 2, 2)), 1, 6, 6, spec=spec).input == spec


def test_input_refusals() -> None:
    assert refusal(nn.Conv2d(1, 1, 3), 1, 6, 6, spec=InputSpec((1, 6, 7))) == (
        "input: the specification says (1, 6, 7), the example has (1, 6, 6); make them equal"
    )
    assert refusal(nn.Conv2d(1, 1, 3), 1, 6, 6, 2) == (
        "input: an example of shape (1, 1, 6, 6, 2); give one of shape (1, C, H, W) or (1, N)"
    )
    assert refusal(nn.Sequential(nn.Flatten(), nn.Linear(35, 2)), 1, 6, 6) == (
        "1 (Linear): fails on its input of shape (1, 36) (mat1 and mat2 shapes cannot be "
        "multiplied (1x36 and 35x2)); check the input shape"
    )


def test_the_module_is_not_changed() -> None:
    module = lenet(nn.ReLU).train()
    before = copy.deepcopy(module.state_dict())
    trace(module, torch.rand(1, 28, 28))
    assert all(part.training for part in module.modules())
    assert all(p.dtype is torch.float32 and p.requires_grad for p in module.parameters())
    for name, value in module.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)


def test_quantised_weights_are_traced_as_they_are_used() -> None:
    module = seeded(lenet(lambda: FakeQuant(8, range=1.5)), 1)
    before = traced(module, 1, 28, 28)
    network = traced(quantise_weights(module, 4), 1, 28, 28)
    for layer, free in zip(network.layers, before.layers, strict=True):
        weight = layer.synapses[0].weight
        assert not np.array_equal(weight, free.synapses[0].weight)
        # A batch norm's factors are folded in; the last layer has one scale for all channels.
        axes = None if layer is network.layers[-1] else (1, 2, 3)
        scale = np.abs(weight).max(axis=axes, keepdims=True) / 7
        np.testing.assert_allclose(weight / scale, np.rint(weight / scale), atol=1e-5)


def test_an_unsupported_module_is_named_whatever_precedes_it() -> None:
    module = Forward(
        lambda m, x: m.fc(m.inner(x.squeeze(1))[0][:, -1]),
        inner=nn.GRU(6, 5, batch_first=True),
        fc=nn.Linear(5, 2),
    )
    assert refusal(module, 1, 6, 6) == (
        "inner (GRU): is not supported; recurrent layers have no counterpart; use a feed-forward "
        "network"
    )


def test_a_module_that_cannot_be_copied_is_refused() -> None:
    module = conv(nn.ReLU())
    module.history = nn.Parameter(torch.ones(1)) * 2
    message = refusal(module, 1, 6, 6)
    assert message.startswith("Sequential: cannot be copied (Only Tensors created explicitly")
    assert message.endswith("keep only parameters, buffers and plain values in the module")
