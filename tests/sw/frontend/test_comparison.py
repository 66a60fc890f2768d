"""A trace that differs from its module."""

import torch

from tests.support.modules import Module, functional_module, refusal


def test_a_module_whose_trace_differs_is_refused() -> None:
    def noisy(m: Module, x: torch.Tensor) -> torch.Tensor:
        return m.conv(x + torch.rand(1))

    message = refusal(functional_module(noisy), 2, 6, 6)
    assert message.startswith("module: differs from its trace by ")
    assert message.endswith(
        "make forward do the same for every input, without random numbers or state"
    )
