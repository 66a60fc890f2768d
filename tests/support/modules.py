"""Modules to trace, and what tracing them gives."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from spikewright import SpikewrightError
from spikewright.network import (
    FloatNetwork,
    InputSpec,
)
from spikewright.sim.ann import ann_forward
from spikewright.sw.activations import QCFS
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
    """What `trace` says of `module`, in one line."""
    with pytest.raises(SpikewrightError) as error:
        trace(module, torch.rand(1, *shape), input_spec=spec)
    assert "\n" not in str(error.value)
    return str(error.value)


def conv(*parts: Module, inputs: int = 1, out: int = 3, **kwargs: Any) -> Module:
    """A 3x3 convolution and what follows it."""
    return seeded(nn.Sequential(nn.Conv2d(inputs, out, 3, **kwargs), *parts), 5)


def lenet(activation: Callable[[], Module]) -> Module:
    """LeNet-5, smaller, with any activation."""
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


def in_place(m: Module, x: torch.Tensor) -> torch.Tensor:
    """Operators that change their operand."""
    x = m.conv(x)
    x += 1
    x *= 2
    x -= 0.5
    x /= 3
    return x.relu().flatten(1)


def functional_module(function: Callable[..., Any]) -> Module:
    """A module with parts that `function` may use in its forward."""
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
