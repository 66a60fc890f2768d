"""Functions and methods in every form, and those that are refused."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from tests.support.modules import functional_module, in_place, refusal, traced

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


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functional_form(name: str) -> None:
    traced(functional_module(FUNCTIONS[name]), 2, 6, 6)


def test_names_of_layers() -> None:
    twice = traced(functional_module(FUNCTIONS["twice"]), 2, 6, 6)
    assert [layer.name for layer in twice.layers] == ["conv", "same", "same:2", "fc"]
    own = traced(functional_module(FUNCTIONS["F.conv2d"]), 2, 6, 6)
    assert own.layers[0].name == "conv"


SUPPORTED = (
    "supported are Conv2d, Linear, BatchNorm, ReLU, ReLU6, Hardtanh(0, a), QCFS, NQ, QReLU, LSQ, "
    "FakeQuant, average and max pooling, Flatten and Dropout"
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


def test_a_second_input_is_refused() -> None:
    class Two(nn.Module):
        def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            return x + y

    assert refusal(Two(), 2, 6, 6) == (
        "forward: takes a second input, 'y'; a network has exactly one"
    )
