"""QCFS against its formula (NQ Eq. 6) and its documented gradients."""

import numpy as np
import pytest
import torch

from spikewright import SpikewrightError
from spikewright.sw.activations import QCFS


@pytest.mark.parametrize(("levels", "lam"), [(1, 1.0), (4, 8.0), (7, 0.3), (16, 2.5)])
def test_forward_is_the_formula(levels: int, lam: float) -> None:
    z = torch.linspace(-2 * lam, 3 * lam, 1001, dtype=torch.float64)
    expected = lam * np.clip(np.floor(z.numpy() * levels / lam + 0.5) / levels, 0, 1)
    got = QCFS(levels, lam).double()
    with torch.no_grad():
        got.lam.fill_(lam)  # float64, not rounded to float32
        np.testing.assert_allclose(got(z).numpy(), expected, rtol=1e-12)


@pytest.mark.parametrize("levels", [1, 4, 9])
def test_gradients_are_straight_through(levels: int) -> None:
    lam = 2.0
    activation = QCFS(levels, lam).double()
    z = torch.linspace(-5, 7, 477, dtype=torch.float64, requires_grad=True)
    a = activation(z)
    a.sum().backward()
    u = z.detach() / lam
    inside = (u >= -0.5 / levels) & (u < 1 + 0.5 / levels)
    assert z.grad is not None
    torch.testing.assert_close(z.grad, inside.double())
    per_element = torch.where(inside, a.detach() / lam - u, (u > 0).double())
    assert activation.lam.grad is not None
    torch.testing.assert_close(activation.lam.grad, per_element.sum())


def test_lam_stays_positive_in_use() -> None:
    activation = QCFS(4)
    assert activation.lam.item() == 8.0
    with torch.no_grad():
        activation.lam.fill_(-2.0)
    assert activation.threshold.item() == 2.0
    assert activation(torch.tensor([9.0])).item() == 2.0
    with torch.no_grad():
        activation.lam.fill_(0.0)
    assert activation.threshold.item() > 0
    assert torch.isfinite(activation(torch.tensor([1.0]))).all()


@pytest.mark.parametrize(
    ("levels", "lam", "message"),
    [
        (0, 8.0, "QCFS: 0 levels; at least 1 is needed"),
        (4, 0.0, "QCFS: lam 0.0 is not a positive number; start it at 4 or 8"),
        (4, float("nan"), "QCFS: lam nan is not a positive number; start it at 4 or 8"),
    ],
)
def test_bad_parameters_are_refused(levels: int, lam: float, message: str) -> None:
    with pytest.raises(SpikewrightError) as error:
        QCFS(levels, lam)
    assert str(error.value) == message
