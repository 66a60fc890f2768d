"""Broken numbers are named."""

import pytest
from torch import nn

from spikewright.sw.activations import QCFS
from tests.support.modules import conv, refusal


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
