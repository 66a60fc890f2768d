"""The layers that come of sums of branches, and their names."""

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from spikewright.network import (
    InputSpec,
    Pool,
)
from spikewright.sw.activations import QCFS
from tests.support.modules import Forward, Module, refusal, seeded, traced

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


def test_names() -> None:
    inner = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU())
    module = Forward(
        lambda m, x: m.classifier(m.features(x).flatten(1)),
        features=inner,
        classifier=nn.Linear(32, 2),
    )
    assert [layer.name for layer in traced(module, 1, 6, 6).layers] == ["features.0", "classifier"]


@pytest.mark.parametrize("first", [nn.Identity(), nn.AvgPool2d(2)])
def test_mean_under_zero_padding(first: Module) -> None:
    spec = InputSpec((1, 6, 6), mean=(3.0,))
    module = nn.Sequential(first, nn.Conv2d(1, 2, 3, padding=1))
    assert refusal(module, 1, 6, 6, spec=spec) == (
        "1 (Conv2d): pads zeros around an input of mean (3.0,) pixel steps, and a mean under zero "
        "padding is not exact; set padding=0 or use a mean of 0"
    )
