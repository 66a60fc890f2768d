"""Traced networks against torch, and every refusal with its message."""

import copy
import logging
import operator
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from spikewright import SpikewrightError
from spikewright.network import (
    INPUT,
    ActivationKind,
    FloatNetwork,
    InputSpec,
    Pool,
    PoolKind,
)
from spikewright.sim.ann import ann_forward
from spikewright.sw.activations import LSQ, NQ, QCFS, FakeQuant, QReLU, quantise_weights
from spikewright.sw.frontend.trace import trace

Module = torch.nn.Module


class Forward(nn.Module):
    """A module from a function and its parts; the function gets the module and x."""

    def __init__(self, function: Callable[..., Any], **parts: Any) -> None:
        super().__init__()
        self.function = function
        for name, part in parts.items():
            if isinstance(part, torch.Tensor):
                self.register_buffer(name, part)
            else:
                setattr(self, name, part)

    def forward(self, x: torch.Tensor) -> Any:
        return self.function(self, x)


def seeded(module: Module, seed: int) -> Module:
    """`module` with random parameters and statistics."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in [*module.named_parameters(), *module.named_buffers()]:
            if name.endswith("running_var"):
                value.uniform_(0.5, 2.0, generator=generator)
            elif value.is_floating_point() and not name.endswith(("lam", "step", "range")):
                value.normal_(0.0, 0.3, generator=generator)
    return module


def traced(module: Module, *shape: int, spec: InputSpec | None = None) -> FloatNetwork:
    """The trace of `module`, compared with it on random inputs of its domain, in float64."""
    network = trace(module, torch.rand(1, *shape), input_spec=spec)
    reference = copy.deepcopy(module).double().eval()
    x = torch.randn(3, *shape, dtype=torch.float64)
    with torch.no_grad():
        expected = torch.cat([reference(frame[None]).reshape(1, -1) for frame in x])
    got = ann_forward(network, x.reshape(3, *network.input.shape))
    torch.testing.assert_close(got, expected, rtol=1e-6, atol=1e-9)
    assert expected.std() > 0
    return network


def refusal(module: Module, *shape: int, spec: InputSpec | None = None) -> str:
    with pytest.raises(SpikewrightError) as error:
        trace(module, torch.rand(1, *shape), input_spec=spec)
    assert "\n" not in str(error.value)
    return str(error.value)


def conv(*parts: Module, inputs: int = 1, out: int = 3, **kwargs: Any) -> Module:
    """A 3x3 convolution and what follows it."""
    return seeded(nn.Sequential(nn.Conv2d(inputs, out, 3, **kwargs), *parts), 5)


# --------------------------------------------------------------------------------------- supported


def lenet(activation: Callable[[], Module]) -> Module:
    return nn.Sequential(
        nn.Conv2d(1, 4, 5, padding=2),
        nn.BatchNorm2d(4),
        activation(),
        nn.AvgPool2d(2),
        nn.Conv2d(4, 6, 5, bias=False),
        activation(),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Dropout(),
        nn.Linear(6 * 25, 12),
        nn.BatchNorm1d(12),
        activation(),
        nn.Linear(12, 5),
    )


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


FUNCTIONS: dict[str, Callable[..., torch.Tensor]] = {
    "F.relu": lambda m, x: m.fc(functional.relu(m.conv(x)).flatten(1)),
    "torch.relu": lambda m, x: m.fc(torch.relu(m.conv(x)).view(x.size(0), -1)),
    "x.relu": lambda m, x: m.fc(m.conv(x).relu().reshape(x.shape[0], -1)),
    "relu_": lambda m, x: m.fc(torch.flatten(m.conv(x).relu_(), start_dim=1)),
    "relu6": lambda m, x: m.fc(functional.relu6(m.conv(x), inplace=True).flatten(1).contiguous()),
    "hardtanh": lambda m, x: m.fc(functional.hardtanh(m.conv(x), 0, 2).view(-1, 48)),
    "clamp": lambda m, x: m.fc(torch.clamp(m.conv(x), 0, 0.7).flatten(1)),
    "clamp min": lambda m, x: m.fc(m.conv(x).clamp(min=0).flatten(1)),
    "clamp_min": lambda m, x: m.fc(m.conv(x).clamp_min(0).flatten(1)),
    "keywords": lambda m, x: m.fc(
        torch.flatten(input=functional.relu(input=m.conv(input=x)), start_dim=1)
    ),
    "F.conv2d": lambda m, x: m.fc(
        functional.conv2d(x, m.conv.weight, m.conv.bias).relu().flatten(1)
    ),
    "F.linear": lambda m, x: functional.linear(
        m.conv(x).relu().flatten(1), m.fc.weight * 2, m.fc.bias
    ),
    "F.batch_norm": lambda m, x: m.fc(
        functional.batch_norm(m.conv(x), m.mean, m.mean**2 + 1, m.scale, m.mean).relu().flatten(1)
    ),
    "torch.batch_norm": lambda m, x: m.fc(
        torch.batch_norm(m.conv(x), m.scale, m.mean, m.mean, m.mean**2 + 1, False, 0.1, 1e-5, False)
        .relu()
        .flatten(1)
    ),
    "F.dropout": lambda m, x: m.fc(
        functional.dropout(m.conv(x).relu(), training=m.training).flatten(1)
    ),
    "F.avg_pool2d": lambda m, x: m.head(functional.avg_pool2d(m.conv(x).relu(), 4).squeeze()),
    "F.adaptive": lambda m, x: m.head(
        functional.adaptive_avg_pool2d(m.conv(x).relu(), 1).squeeze(-1).squeeze(-1)
    ),
    "mean": lambda m, x: m.head(m.conv(x).relu().mean((2, 3))),
    "mean, keepdim": lambda m, x: m.head(
        torch.mean(m.conv(x).relu(), [-1, -2], keepdim=True).flatten(1)
    ),
    "constants": lambda m, x: m.fc(
        (1 - m.conv((x * 2 - 0.5) / 0.25 + 1) * 3).relu().flatten(1) / 4
    ),
    "normalised": lambda m, x: m.fc(
        m.conv((x - m.offset) / (m.offset.abs() + 1)).relu().flatten(1)
    ),
    "in place": lambda m, x: m.fc(in_place(m, x)),
    "negated": lambda m, x: m.fc((-m.conv(x)).relu().flatten(1)),
    "twice": lambda m, x: m.fc(m.same(m.act(m.same(m.act(m.conv(x))))).relu().flatten(1)),
    "a dead branch": lambda m, x: (m.conv(x).sigmoid(), m.fc(m.conv(x).relu().flatten(1)))[1],
}


RESIDUAL: dict[str, tuple[Callable[..., torch.Tensor], list[list[int]]]] = {
    "identity": (lambda m, x: m.a1(m.c1(x) + x), [[0, 0], [1]]),
    "identity first": (lambda m, x: m.a1(x + m.c1(x)), [[0, 0], [1]]),
    "two layers": (lambda m, x: m.a2(x + m.n(m.c2(m.a1(m.c1(x))))), [[0], [0, 1], [2]]),
    "in place": (lambda m, x: m.a2(operator.iadd(m.n(m.c2(m.a1(m.c1(x)))), x)), [[0], [1, 0], [2]]),
    "norm behind": (lambda m, x: m.a1(m.n(m.c1(x) + x)), [[0, 0], [1]]),
    "strided": (lambda m, x: m.a1(m.n(m.down(x)) + m.short_norm(m.short(x))), [[0, 0], [1]]),
    "pooled shortcut": (
        lambda m, x: m.a1(m.down(x) + functional.avg_pool2d(x, 2)),
        [[0, 0], [1]],
    ),
    "pooled sum": (lambda m, x: m.a2(functional.avg_pool2d(m.c1(x) + x, 2)), [[0, 0], [1]]),
    "pool neurons": (lambda m, x: m.a2(functional.max_pool2d(x, 2) + m.down(x)), [[0, 0], [1]]),
    "max pool of a sum": (
        lambda m, x: m.c2(functional.max_pool2d(m.a1(m.c1(x) + x), 2)),
        [[0, 0], [1]],
    ),
    "max pool before": (
        lambda m, x: m.c2(m.a1(functional.max_pool2d(m.c1(x) + x, 2))),
        [[0, 0], [1]],
    ),
    "three branches": (lambda m, x: m.a2(m.c1(x) + m.c2(m.a1(x)) + x), [[-1], [0, 1, 0], [2]]),
    "a sum of sums": (
        lambda m, x: m.a2((x + m.c1(m.a1(m.c2(x)))) + (x - 0.5 * m.a1(m.c2(x)))),
        [[0], [0], [0, 1, 0, 2], [3]],
    ),
    "two blocks": (
        lambda m, x: _block(m, _block(m, x)),
        [[0], [1, 0], [2], [3, 2], [4]],
    ),
    "difference": (lambda m, x: m.a2(m.c2(m.a1(m.c1(x))) - x), [[0], [1, 0], [2]]),
    "negative": (lambda m, x: m.a2(x - m.n(m.c2(x) + 1)), [[0, 0], [1]]),
    "convolved sum": (lambda m, x: m.a2(m.down(m.c1(x) + m.a1(m.c2(x)) + 1)), [[0], [0, 1], [2]]),
    "an activation used as it is and clipped": (
        lambda m, x: m.a2(m.c1(functional.relu6(x)) + x),
        [[-1], [0, 1], [2]],
    ),
    "flat": (
        lambda m, x: m.a2(m.flat(x.flatten(1)) + x.mean((2, 3))).view(1, 4, 1, 1),
        [[0, 0], [1]],
    ),
    "at the end": (lambda m, x: m.c1(m.a1(m.c2(x))) + x, [[0], [1, 0]]),
}
"""Forward functions behind a first activation, and the sources of the layers that they make."""


def _block(m: Module, x: torch.Tensor) -> torch.Tensor:
    return torch.relu(m.c2(m.a1(m.c1(x))) + x)


def residual_module(function: Callable[..., Any]) -> Module:
    return seeded(
        Forward(
            lambda m, x: m.head(function(m, m.a0(m.first(x))).mean((2, 3))),
            first=nn.Conv2d(2, 4, 3, padding=1),
            head=nn.Linear(4, 5),
            a0=nn.ReLU(),
            a1=QCFS(4, 2.0),
            a2=nn.ReLU(),
            c1=nn.Conv2d(4, 4, 3, padding=1, bias=False),
            c2=nn.Conv2d(4, 4, 3, padding=1, groups=2),
            n=nn.BatchNorm2d(4),
            down=nn.Conv2d(4, 4, 2, stride=2),
            short=nn.Conv2d(4, 4, 1, stride=2, bias=False),
            short_norm=nn.BatchNorm2d(4),
            flat=nn.Linear(144, 4),
        ),
        11,
    )


@pytest.mark.parametrize("name", RESIDUAL)
def test_sums_of_branches(name: str) -> None:
    function, sources = RESIDUAL[name]
    network = traced(residual_module(function), 2, 6, 6)
    assert [[s.source for s in layer.synapses] for layer in network.layers[1:]] == sources


def test_names_and_weights_of_a_residual_block() -> None:
    module = residual_module(lambda m, x: m.a2(x + m.n(m.c2(m.a1(m.c1(x))))))
    network = traced(module, 2, 6, 6)
    assert [layer.name for layer in network.layers] == ["first", "c1", "c2", "head"]
    identity, conv = network.layers[2].synapses
    np.testing.assert_array_equal(identity.weight[:, :, 0, 0], np.eye(4))
    assert (identity.stride, identity.padding, identity.pool) == ((1, 1), (0, 0), Pool())
    assert not conv.weight[:2, 2:].any()
    assert conv.weight[:2, :2].all()


@pytest.mark.parametrize(("inputs", "out", "groups"), [(4, 4, 4), (4, 8, 4), (6, 4, 2), (1, 3, 1)])
def test_grouped_convolutions_are_block_diagonal(inputs: int, out: int, groups: int) -> None:
    module = nn.Sequential(
        nn.Conv2d(inputs, out, 3, 2, 1, groups=groups),
        nn.BatchNorm2d(out),
        nn.ReLU(),
        nn.Conv2d(out, 2, 2),
    )
    network = traced(seeded(module, 3), inputs, 7, 7)
    assert [layer.name for layer in network.layers] == ["0", "3"]
    weight = network.layers[0].synapses[0].weight
    assert weight.shape == (out, inputs, 3, 3)
    block = np.kron(np.eye(groups), np.ones((out // groups, inputs // groups))) > 0
    assert weight[block].all()
    assert not weight[~block].any()


def in_place(m: Module, x: torch.Tensor) -> torch.Tensor:
    x = m.conv(x)
    x += 1
    x *= 2
    x -= 0.5
    x /= 3
    return x.relu().flatten(1)


def functional_module(function: Callable[..., Any]) -> Module:
    return seeded(
        Forward(
            function,
            conv=nn.Conv2d(2, 3, 3),
            same=nn.Conv2d(3, 3, 3, padding=1),
            act=QCFS(4, 2.0),
            fc=nn.Linear(48, 4),
            head=nn.Linear(3, 4),
            mean=torch.zeros(3),
            scale=torch.zeros(3),
            offset=torch.zeros(1, 2, 1, 1),
        ),
        7,
    )


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functional_form(name: str) -> None:
    traced(functional_module(FUNCTIONS[name]), 2, 6, 6)


def test_names() -> None:
    inner = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU())
    module = Forward(
        lambda m, x: m.classifier(m.features(x).flatten(1)),
        features=inner,
        classifier=nn.Linear(32, 2),
    )
    assert [layer.name for layer in traced(module, 1, 6, 6).layers] == ["features.0", "classifier"]
    twice = traced(functional_module(FUNCTIONS["twice"]), 2, 6, 6)
    assert [layer.name for layer in twice.layers] == ["conv", "same", "same:2", "fc"]
    own = traced(functional_module(FUNCTIONS["F.conv2d"]), 2, 6, 6)
    assert own.layers[0].name == "conv"


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


# ------------------------------------------------------------------------------------------- input


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


@pytest.mark.parametrize("first", [nn.Identity(), nn.AvgPool2d(2)])
def test_mean_under_zero_padding(first: Module) -> None:
    spec = InputSpec((1, 6, 6), mean=(3.0,))
    module = nn.Sequential(first, nn.Conv2d(1, 2, 3, padding=1))
    assert refusal(module, 1, 6, 6, spec=spec) == (
        "1 (Conv2d): pads zeros around an input of mean (3.0,) pixel steps, and a mean under zero "
        "padding is not exact; set padding=0 or use a mean of 0"
    )


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


@pytest.mark.parametrize(
    "last",
    [nn.Softmax(1), nn.LogSoftmax(dim=-1), Forward(lambda m, x: functional.log_softmax(x, dim=1))],
)
def test_softmax_at_the_end_is_dropped(last: Module, caplog: pytest.LogCaptureFixture) -> None:
    body = seeded(nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 4)), 3)
    with caplog.at_level(logging.WARNING):
        network = trace(nn.Sequential(body, last), torch.rand(6))
    assert caplog.messages[0].endswith(
        ": dropped; the outputs are those in front of it, in the same order"
    )
    x = torch.rand(3, 6, dtype=torch.float64)
    torch.testing.assert_close(ann_forward(network, x[:, :, None, None]), body.double()(x).detach())


def pools(network: FloatNetwork) -> list[Pool]:
    return [layer.synapses[0].pool for layer in network.layers]


def test_max_pools() -> None:
    """Behind an activation or before it, one behind the other, and where rows are left over."""
    none, two = Pool(), Pool((2, 2), PoolKind.MAX)
    last = nn.Conv2d(3, 2, 2)
    for order in ([nn.ReLU(), nn.MaxPool2d(2)], [nn.MaxPool2d(2), nn.ReLU()]):
        network = traced(conv(*order, last), 1, 9, 9)
        assert pools(network) == [none, two]
        assert [layer.shape for layer in network.layers] == [(3, 7, 7), (2, 2, 2)]
    both = [nn.ReLU6(), nn.MaxPool2d((1, 2)), nn.ReLU(), nn.Dropout(), nn.MaxPool2d((3, 1))]
    network = traced(conv(*both, nn.Conv2d(3, 2, 1)), 1, 9, 9)
    assert pools(network) == [none, Pool((3, 2), PoolKind.MAX)]
    assert network.layers[0].activation.kind is ActivationKind.CLIP
    # The greatest means are no means of the greatest: this average becomes weights.
    network = traced(conv(nn.ReLU(), nn.MaxPool2d(2), nn.AvgPool2d(2), last), 1, 14, 14)
    assert pools(network) == [none, two]
    assert network.layers[1].synapses[0].stride == (2, 2)
    network = traced(
        conv(nn.ReLU(), nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(3, 2)), 1, 8, 8
    )
    assert pools(network) == [none, Pool((6, 6), PoolKind.MAX)]
    function = Forward(lambda m, x: functional.max_pool2d(x.relu(), 3))
    network = traced(conv(function), 1, 8, 8)
    assert pools(network) == [none, Pool((3, 3), PoolKind.MAX)]
    assert network.layers[-1].activation.kind is ActivationKind.NONE


def test_max_pool_of_the_frame_is_refused() -> None:
    message = refusal(nn.Sequential(nn.MaxPool2d(2), nn.Conv2d(1, 1, 1)), 1, 6, 6)
    assert message == (
        "0 (MaxPool2d): pools the input frame; max pooling compares counts of spikes, so put a "
        "layer with an activation before it"
    )


@pytest.mark.parametrize("tail", [[], [nn.Flatten()], [nn.Flatten(), nn.Softmax(1)]])
def test_an_activation_at_the_end_stays(tail: list[Module]) -> None:
    module = conv(nn.ReLU(), nn.Conv2d(3, 4, 6), QCFS(4, 0.5), *tail)
    network = trace(module, torch.rand(1, 1, 8, 8))
    assert len(network.layers) == 2
    assert network.layers[-1].activation.kind is ActivationKind.QCFS
    assert network.layers[-1].activation.levels == 4


@pytest.mark.parametrize(
    "make",
    [
        lambda: QCFS(3, 0.7),
        lambda: NQ(5, 0.7),
        lambda: QReLU(3, 4, 0.7),
        lambda: LSQ(2, 0.3),
        lambda: LSQ(3, 0.1),
        lambda: FakeQuant(8, range=0.9),
    ],
)
def test_a_trained_activation_is_bit_for_bit_its_own(make: Callable[[], Module]) -> None:
    """On ties too: the inputs lie on the activation's own steps and half way between."""
    activation = make().double()
    steps = activation.threshold.item() / (2 * activation.levels)
    inputs = torch.cat([torch.rand(500).double() * 3 - 1, steps * torch.arange(-4, 600)])
    module = nn.Sequential(nn.Conv2d(1, 1, 1, bias=False), activation).double().eval()
    module[0].weight.data.fill_(1.0)
    network = trace(module, torch.rand(1, 1, 1, 1))
    x = inputs[:, None, None, None]
    with torch.no_grad():
        assert torch.equal(ann_forward(network, x), module(x).flatten(1))


def test_noise_has_no_part_in_the_trace() -> None:
    module = conv(NQ(4, 0.5), nn.Conv2d(3, 2, 2))
    for m in module.modules():
        if isinstance(m, NQ):
            m.noise.fill_(100.0)
    module.train()
    assert traced(module, 1, 8, 8).layers[0].activation.levels == 4


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


# ---------------------------------------------------------------------------------------- refusals

SUPPORTED = (
    "supported are Conv2d, Linear, BatchNorm, ReLU, ReLU6, Hardtanh(0, a), QCFS, NQ, QReLU, LSQ, "
    "FakeQuant, average and max pooling, Flatten and Dropout"
)
PART_REFUSALS: list[tuple[Module, str]] = [
    (nn.GELU(), "1 (GELU): is not supported; use ReLU or QCFS and retrain"),
    (nn.Sigmoid(), "1 (Sigmoid): is not supported; use ReLU or QCFS and retrain"),
    (
        nn.Sequential(nn.ReLU(), nn.MaxPool2d(3, 2)),
        "1.1 (MaxPool2d): has 3x3 windows every 2x2, which overlap; a spike can belong to one "
        "window only; use a stride equal to kernel_size and retrain",
    ),
    (
        nn.Sequential(nn.ReLU(), nn.MaxPool2d(2, (2, 3))),
        "1.1 (MaxPool2d): has 2x2 windows every 2x3, which leave gaps; a spike can belong to one "
        "window only; use a stride equal to kernel_size and retrain",
    ),
    (
        nn.Sequential(nn.ReLU(), nn.MaxPool2d(2, padding=1)),
        "1.1 (MaxPool2d): pads its 2x2 windows by (1, 1); use padding=0 and retrain",
    ),
    (
        nn.Sequential(nn.ReLU(), nn.MaxPool2d(2, dilation=2)),
        "1.1 (MaxPool2d): dilates its 2x2 windows; use dilation=1 and retrain",
    ),
    (
        nn.Sequential(nn.ReLU(), nn.MaxPool2d(4, ceil_mode=True)),
        "1.1 (MaxPool2d): makes windows that reach over the edge of its 6x6 input; use "
        "ceil_mode=False and retrain",
    ),
    (
        nn.Sequential(nn.ReLU(), nn.MaxPool2d(2, return_indices=True)),
        "1.1 (MaxPool2d): returns indices; leave return_indices out",
    ),
    (
        nn.Sequential(nn.ReLU(), nn.AdaptiveMaxPool2d(4)),
        "1.1 (AdaptiveMaxPool2d): makes 4x4 of 6x6 with unequal windows; use an output size that "
        "divides the input, such as 1",
    ),
    (
        nn.Sequential(nn.ReLU(), nn.BatchNorm2d(3), nn.MaxPool2d(2), nn.Conv2d(3, 1, 1)),
        "1.2 (MaxPool2d): pools what 1.1 (BatchNorm2d) gives; max pooling compares counts of "
        "spikes, so put it directly before or behind an activation",
    ),
    (
        nn.Sequential(nn.MaxPool2d(2), nn.Conv2d(3, 1, 1)),
        "1.0 (MaxPool2d): pools what 0 (Conv2d) gives; max pooling compares counts of "
        "spikes, so put it directly before or behind an activation",
    ),
    (nn.ConvTranspose2d(3, 3, 3), f"1 (ConvTranspose2d): is not supported; {SUPPORTED}"),
    (
        nn.LSTM(6, 2),
        "1 (LSTM): is not supported; recurrent layers have no counterpart; use a feed-forward "
        "network",
    ),
    (nn.Conv2d(3, 3, 2, dilation=2), "1 (Conv2d): has dilation (2, 2); use dilation=1 and retrain"),
    (
        nn.Conv2d(3, 3, 3, padding=1, padding_mode="reflect"),
        "1 (Conv2d): pads with padding_mode='reflect'; use padding_mode='zeros' and retrain",
    ),
    (
        nn.Conv2d(3, 3, 1, padding=1),
        "1 (Conv2d): pads (1, 1) around a 1x1 kernel, so outputs see padding alone; pad less than "
        "the kernel",
    ),
    (
        nn.AvgPool2d(2, padding=1),
        "1 (AvgPool2d): pads its 2x2 windows by (1, 1); a padded average pool is not exact; use "
        "padding=0 and retrain",
    ),
    (
        nn.AvgPool2d(4, ceil_mode=True),
        "1 (AvgPool2d): makes windows that reach over the edge of its 6x6 input; use "
        "ceil_mode=False and retrain",
    ),
    (
        nn.AvgPool2d(2, divisor_override=3),
        "1 (AvgPool2d): divides by divisor_override=3; leave divisor_override out",
    ),
    (
        nn.AdaptiveAvgPool2d(4),
        "1 (AdaptiveAvgPool2d): makes 4x4 of 6x6 with unequal windows; use an output size that "
        "divides the input, such as 1",
    ),
    (
        nn.BatchNorm2d(3, track_running_stats=False),
        "1 (BatchNorm2d): normalises with the statistics of its batch; use "
        "track_running_stats=True and evaluation mode",
    ),
    (nn.Hardtanh(), "1 (Hardtanh): clips at -1.0 from below; the lower bound must be 0"),
    (
        nn.Linear(6, 2),
        "1 (Linear): acts on the last axis of an input of shape (1, 3, 6, 6); put "
        "torch.nn.Flatten() in front of it",
    ),
    (
        nn.Sequential(nn.Flatten(), nn.AvgPool2d(2)),
        "1.1 (AvgPool2d): has an input of shape (1, 108) and not (1, C, H, W); put it in front of "
        "the flattening",
    ),
    (
        nn.Flatten(2),
        "1 (Flatten): makes (1, 3, 36) of (1, 3, 6, 6); only flattening to (1, N) is supported",
    ),
    (
        nn.Softmax(1),
        "1 (Softmax): does not run over all outputs; use it on (1, N) with dim=1",
    ),
    (
        nn.Sequential(QCFS(4), QCFS(8), nn.Conv2d(3, 1, 1)),
        "1.1 (QCFS): directly follows 1.0 (QCFS); keep one of the two",
    ),
    (
        nn.Sequential(nn.Flatten(), nn.Linear(108, 4), nn.LogSoftmax(1), nn.Linear(4, 2)),
        "1.3 (Linear): follows a softmax; a softmax must be the last operation; remove it",
    ),
    (
        nn.Conv2d(3, 2, 3, padding=1),
        "0 (Conv2d): shifts the input of the padded 1 (Conv2d), and a mean under zero padding is "
        "not exact; set that padding to 0, or move the shift behind it",
    ),
    (
        nn.Sequential(nn.ReLU(), nn.BatchNorm2d(3), nn.Conv2d(3, 2, 3, padding=1)),
        "1.1 (BatchNorm2d): shifts the input of the padded 1.2 (Conv2d), and a mean under zero "
        "padding is not exact; set that padding to 0, or move the shift behind it",
    ),
]


@pytest.mark.parametrize(("part", "message"), PART_REFUSALS, ids=[m for _, m in PART_REFUSALS])
def test_part_is_refused(part: Module, message: str) -> None:
    assert refusal(conv(part), 1, 8, 8) == message


def test_two_convolutions_that_meet_at_the_border_are_refused() -> None:
    module = nn.Sequential(nn.Conv2d(1, 2, 3, bias=False), nn.Conv2d(2, 2, 3, padding=1))
    assert refusal(module, 1, 8, 8) == (
        "1 (Conv2d): pads the output of 0 (Conv2d), which has no activation behind it, so the two "
        "cannot be merged exactly; put an activation between them or set padding=0"
    )


def test_uneven_same_padding_is_refused() -> None:
    assert refusal(nn.Conv2d(1, 2, 4, padding="same"), 1, 8, 8) == (
        "0 (Conv2d): pads 'same' around an even 4x4 kernel, so one side more than the other; use "
        "an odd kernel or a number as padding"
    )


ONE_CHAIN = "two tensors can be added, and nothing else; remove the branch"
FUNCTION_REFUSALS: list[tuple[Callable[..., Any], str]] = [
    (
        lambda m, x: m.fc((m.conv(x) + m.conv(x).relu()).flatten(1)),
        "add (add): adds the input frame to spikes, which no layer takes together; put an "
        "activation into the branch from the input",
    ),
    (
        lambda m, x: m.fc((m.conv(x) * m.conv(x).relu()).flatten(1)),
        f"mul (mul): combines two tensors made from the input; {ONE_CHAIN}",
    ),
    (
        lambda m, x: m.conv(x).relu() + m.conv(x).relu().mean((2, 3), True),
        "add (add): adds tensors of shape (1, 3, 4, 4) and (1, 3, 1, 1); give both the same "
        "channels, height and width",
    ),
    (
        lambda m, x: (
            m.conv(x).relu().flatten(1)
            + functional.linear(m.conv(x).flatten(1), torch.ones(48, 48).double())
        ),
        "add (add): adds tensors of shape (3, 4, 4) and (48, 1, 1); give both the same channels, "
        "height and width",
    ),
    (
        lambda m, x: torch.add(m.conv(x), m.conv(x), alpha=2),
        "add (add): has arguments that are not supported (got an unexpected keyword argument "
        f"'alpha'); {SUPPORTED}",
    ),
    (
        lambda m, x: m.fc(m.fc(m.conv(x).flatten(1)).softmax(1) + m.fc(m.conv(x).flatten(1))),
        "add (add): follows a softmax; a softmax must be the last operation; remove it",
    ),
    (
        lambda m, x: m.act(m.conv(x)) + functional.max_pool2d(m.same(m.act(m.conv(x))), 1),
        "max_pool2d (max_pool2d): pools what same (Conv2d) gives; max pooling compares counts of "
        "spikes, so put it directly before or behind an activation",
    ),
    (
        lambda m, x: m.same(functional.max_pool2d(m.conv(x) + m.conv(x), 2)),
        "max_pool2d (max_pool2d): pools what add (add) gives; max pooling compares counts of "
        "spikes, so put it directly before or behind an activation",
    ),
    (
        lambda m, x: m.fc(torch.cat([m.conv(x), m.conv(x)], 1).flatten(1)),
        f"cat (cat): combines two tensors made from the input; {ONE_CHAIN}",
    ),
    (
        lambda m, x: m.conv(functional.gelu(x)),
        "gelu (gelu): is not supported; use ReLU or QCFS and retrain",
    ),
    (
        lambda m, x: m.conv(x.sigmoid()),
        "sigmoid (sigmoid): is not supported; use ReLU or QCFS and retrain",
    ),
    (
        lambda m, x: functional.max_pool2d(m.conv(x), 2) + 1,
        "max_pool2d (max_pool2d): pools what conv (Conv2d) gives; max pooling compares counts of "
        "spikes, so put it directly before or behind an activation",
    ),
    (
        lambda m, x: m.conv(x.transpose(2, 3)),
        f"transpose (transpose): is not supported; {SUPPORTED}",
    ),
    (lambda m, x: m.conv(x[:, :, 1:]), f"getitem (getitem): is not supported; {SUPPORTED}"),
    (
        lambda m, x: m.conv(1 / x),
        "truediv (truediv): divides by a tensor made from the input; divide by constants only",
    ),
    (
        lambda m, x: m.conv(torch.div(x, 2, rounding_mode="floor")),
        "div (div): has arguments that are not supported (got an unexpected keyword argument "
        f"'rounding_mode'); {SUPPORTED}",
    ),
    (
        lambda m, x: m.conv(x.clamp(-1, 1)),
        "clamp (clamp): clips at -1 from below; the lower bound must be 0",
    ),
    (
        lambda m, x: m.conv(x.clamp(0, -1)),
        "clamp (clamp): clips at -1 from above; the upper bound must be positive",
    ),
    (
        lambda m, x: m.conv(x.clamp(max=1)),
        "clamp (clamp): clips at None from below; the lower bound must be 0",
    ),
    (
        lambda m, x: m.conv(torch.clamp(x, m.offset, m.offset)),
        "clamp (clamp): has a bound that is not a number; clip to 0 and one number",
    ),
    (
        lambda m, x: m.conv(functional.dropout(x)),
        "dropout (dropout): stays active in evaluation; pass training=self.training",
    ),
    (
        lambda m, x: m.conv(x).mean(1),
        "mean (mean): averages over axes 1; average over (2, 3), the height and width",
    ),
    (
        lambda m, x: m.conv(x.view(2, 3, 12)),
        "view (view): makes (2, 3, 12) of (1, 2, 6, 6); only flattening to (1, N) is supported",
    ),
    (
        lambda m, x: m.conv(x + torch.zeros(2, 2, 6, 6)),
        "add (add): makes (2, 2, 6, 6) of (1, 2, 6, 6); use constants that keep the shape",
    ),
    (
        lambda m, x: m.conv(x * torch.arange(6.0)),
        "mul (mul): scales every position by itself and no Linear follows it directly; put it "
        "behind the next Linear layer, or use one factor a channel",
    ),
    (
        lambda m, x: (m.conv(x), x),
        "forward: returns something of type tuple and not one tensor made from the input; return "
        "the outputs of the last layer alone",
    ),
    (
        lambda m, x: m.conv(x) if x.sum() > 0 else m.conv(-x),
        "Forward.forward: cannot be traced (symbolically traced variables cannot be used as inputs "
        "to control flow); remove control flow that depends on data or shapes",
    ),
    (
        lambda m, x: x.flatten(1),
        "module: has no linear layer; give a network with at least one Conv2d or Linear",
    ),
    (
        lambda m, x: x.relu(),
        "module: has no linear layer; give a network with at least one Conv2d or Linear",
    ),
]


@pytest.mark.parametrize(
    ("function", "message"), FUNCTION_REFUSALS, ids=[m for _, m in FUNCTION_REFUSALS]
)
def test_function_is_refused(function: Callable[..., Any], message: str) -> None:
    assert refusal(functional_module(function), 2, 6, 6) == message


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


def test_a_second_input_is_refused() -> None:
    class Two(nn.Module):
        def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            return x + y

    assert refusal(Two(), 2, 6, 6) == (
        "forward: takes a second input, 'y'; a network has exactly one"
    )


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        (
            "0.weight",
            float("nan"),
            "0 (Conv2d): weight holds 1 value(s) that are NaN or infinite, the first at index "
            "(1, 0, 0, 0)",
        ),
        (
            "0.bias",
            float("inf"),
            "0 (Conv2d): bias holds 1 value(s) that are NaN or infinite, the first at index (1,)",
        ),
        (
            "1.running_var",
            float("nan"),
            "1 (BatchNorm2d): running_var holds 1 value(s) that are NaN or infinite, the first at "
            "index (1,)",
        ),
    ],
)
def test_broken_numbers_are_named(name: str, value: float, message: str) -> None:
    module = conv(nn.BatchNorm2d(3), nn.ReLU(), nn.Conv2d(3, 2, 1))
    module.state_dict()[name][1:2].view(1, -1)[:, 0] = value
    assert refusal(module, 1, 6, 6) == f"{message}; retrain or repair the weights"


def test_lam_that_is_not_a_number_is_named() -> None:
    module = conv(QCFS(4), nn.Conv2d(3, 2, 1))
    module.state_dict()["1.lam"].fill_(float("nan"))
    assert refusal(module, 1, 6, 6) == (
        "1 (QCFS): lam holds 1 value(s) that are NaN or infinite, the first at index (); retrain "
        "or repair the weights"
    )


def test_a_module_whose_trace_differs_is_refused() -> None:
    def noisy(m: Module, x: torch.Tensor) -> torch.Tensor:
        return m.conv(x + torch.rand(1))

    message = refusal(functional_module(noisy), 2, 6, 6)
    assert message.startswith("module: differs from its trace by ")
    assert message.endswith(
        "make forward do the same for every input, without random numbers or state"
    )


def test_a_module_that_cannot_be_copied_is_refused() -> None:
    module = conv(nn.ReLU())
    module.history = nn.Parameter(torch.ones(1)) * 2
    message = refusal(module, 1, 6, 6)
    assert message.startswith("Sequential: cannot be copied (Only Tensors created explicitly")
    assert message.endswith("keep only parameters, buffers and plain values in the module")


def test_ann_refuses_frames_of_another_shape() -> None:
    network = trace(nn.Linear(6, 2), torch.rand(6))
    with pytest.raises(SpikewrightError) as error:
        ann_forward(network, torch.rand(3, 6))
    assert str(error.value) == "input: frames of shape (6,); the network takes (6, 1, 1)"


def test_ann_keeps_the_dtype() -> None:
    network = trace(nn.Linear(6, 2), torch.rand(6))
    assert ann_forward(network, torch.rand(3, 6, 1, 1)).dtype is torch.float32
