"""Every activation against its formula and the gradients that its paper prints."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from spikewright import SpikewrightError
from spikewright.sw.activations import (
    LSQ,
    NQ,
    QCFS,
    FakeQuant,
    QReLU,
    SymmetricWeight,
    quantise_weights,
)
from spikewright.sw.frontend.trace import trace
from spikewright.sw.models import plain
from spikewright.sw.models.options import Options
from spikewright.sw.passes.convert import convert
from spikewright.sw.passes.quantise import quantise


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


# ----------------------------------------------------------------------------------------- helpers


def double(*values):
    return torch.tensor(values, dtype=torch.float64)


def gradients(activation, x, parameter):
    """What x and the parameter get per element, each element's output weighted by itself."""
    x = x.clone().requires_grad_()
    by_x, by_parameter = [], []
    for i in range(len(x)):
        a = activation(x)[i]
        gx, gp = torch.autograd.grad(a, (x, parameter))
        by_x.append(gx[i].item())
        by_parameter.append(gp.item())
        assert not gx[torch.arange(len(x)) != i].any()
    return by_x, by_parameter


def slope(function, x, width):
    """The mean slope of a staircase over whole steps around x: what straight-through stands for."""
    return (function(x + width) - function(x - width)) / (2 * width)


# --------------------------------------------------------------------------------------- NQ (noise)


def test_noise_comes_behind_the_clip_in_training_only():
    nq, qcfs = NQ(4, 2.0), QCFS(4, 2.0)
    z = torch.linspace(-3, 5, 4001)
    assert nq.noise == 0
    assert torch.equal(nq.train()(z), qcfs(z))  # the first epoch
    nq.noise.fill_(0.25)
    assert torch.equal(nq.eval()(z), qcfs(z))
    torch.manual_seed(0)
    difference = (nq.train()(z) - qcfs(z)).detach()
    torch.manual_seed(0)
    torch.testing.assert_close(difference, 0.25 * torch.randn(4001), atol=1e-6, rtol=0)
    a = nq(z)
    assert a.min() < -0.2  # not clipped again
    assert a.max() > 2.2


def test_noise_changes_no_gradient():
    nq, qcfs = NQ(4, 2.0).double(), QCFS(4, 2.0).double()
    nq.noise.fill_(0.5)
    z = torch.linspace(-3, 5, 41, dtype=torch.float64)
    assert gradients(nq.train(), z, nq.lam) == gradients(qcfs, z, qcfs.lam)


def test_noise_is_saved_with_the_weights():
    nq = NQ(4)
    nq.noise.fill_(0.125)
    other = NQ(4)
    other.load_state_dict(nq.state_dict())
    assert other.noise == 0.125


# -------------------------------------------------------------------------------------- QReLU (HPC)


@pytest.mark.parametrize(("steps", "smax", "lam"), [(1, 1, 1.0), (4, 2, 3.0), (8, 4, 0.7)])
def test_qrelu_is_the_corrected_formula(steps, smax, lam):
    x = torch.linspace(-2 * lam, 3 * lam, 1001, dtype=torch.float64)
    P = steps * smax
    activation = QReLU(steps, smax, lam).double()
    activation.lam.data.fill_(lam)
    expected = lam / P * np.clip(np.floor(P * x.numpy() / lam), 0, P)
    np.testing.assert_allclose(activation(x).detach().numpy(), expected, rtol=1e-12)
    below = activation(torch.tensor(lam * (1 - 1e-9), dtype=torch.float64))
    assert activation(double(lam)).item() == pytest.approx(lam)  # one step higher, no jump
    assert lam - below.item() == pytest.approx(lam / P)


def test_gradients_of_qrelu_at_and_about_the_boundaries():
    activation = QReLU(4, 2, 2.0).double()
    x = double(-1.0, -1e-9, 0.0, 1e-9, 0.5, 1.0, 1.999, 2.0, 2.001, 5.0)
    by_x, by_lam = gradients(activation, x, activation.lam)
    assert by_x == [0, 0, 0, 1, 1, 1, 1, 0, 0, 0]  # Eq. 11, (0, lam_b) open
    assert by_lam == [0, 0, 0, 0, 0, 0, 0, 1, 1, 1]  # Eq. 10, from lam_b on
    # Where it saturates these are derivatives; inside the slope of whole steps is 1 too.
    step = 2.0 / 8
    for x0 in (-1.0, 3.0):
        assert slope(lambda v: activation(double(v)).item(), x0, 2 * step) == 0
    assert slope(lambda v: activation(double(v)).item(), 1.1, 2 * step) == pytest.approx(1)
    above = [QReLU(4, 2, lam).double()(double(5.0)).item() for lam in (1.75, 2.25)]
    assert (above[1] - above[0]) / 0.5 == 1


def test_the_gradient_of_lam_is_summed_and_weighted():
    activation = QReLU(4, 2, 2.0)
    x = torch.tensor([[1.0, 2.0], [3.0, -4.0]], requires_grad=True)
    (activation(x) * torch.tensor([[1.0, 10.0], [100.0, 1000.0]])).sum().backward()
    assert activation.lam.grad == 110
    assert x.grad.tolist() == [[1, 0], [0, 0]]
    activation.lam.data.neg_()  # what an optimiser may do: the threshold is the magnitude
    assert activation(torch.tensor(9.0)).item() == 2


# --------------------------------------------------------------------------------------- LSQ (QFFS)


@pytest.mark.parametrize(("bits", "step"), [(1, 1.0), (2, 0.5), (3, 0.3)])
def test_lsq_is_the_formula(bits, step):
    Q = 2**bits - 1
    activation = LSQ(bits, step).double()
    activation.step.data.fill_(step)
    x = torch.linspace(-2, (Q + 2) * step, 997, dtype=torch.float64)
    expected = step * np.clip(np.floor(x.numpy() / step + 0.5), 0, Q)
    np.testing.assert_allclose(activation(x).detach().numpy(), expected, rtol=1e-12)
    assert activation.threshold.item() == pytest.approx(Q * step)
    assert LSQ(bits, 1.0)(torch.tensor(0.5)).item() == 1  # half goes up


def test_gradients_of_lsq_at_and_about_the_boundaries():
    s, Q = 0.5, 3
    activation = LSQ(2, s).double()
    v = double(-2.0, -1e-9, 0.0, 1e-9, 0.25, 0.5, 0.75, 1.0, 1.5, 2.9, 3.0, 3.01, 9.0)
    by_x, by_step = gradients(activation, s * v, activation.step)
    assert by_x == [0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0]
    inside = [0, 0, 0, -1e-9, -0.25, 0.5, 0.25, 0, 0.5, 0.1, Q, Q, Q]
    scale = 1 / (len(v) * Q) ** 0.5  # one image of so many features
    assert by_step == pytest.approx([g * scale for g in inside], abs=1e-12)


def test_the_step_of_lsq_has_its_derivative_where_it_is_defined():
    """Away from ties dy/ds is round(v) exactly; straight-through takes v off inside."""
    x, s, h = 1.3, 0.5, 1e-6

    def value(step):
        activation = LSQ(2).double()
        activation.step.data.fill_(step)
        return activation.eval()(double(x)).item()

    difference = (value(s + h) - value(s - h)) / (2 * h)
    activation = LSQ(2, s).double()
    activation(double(x)).backward()
    unscaled = activation.step.grad.item() * 3**0.5  # N = 1, Q = 3
    assert unscaled == pytest.approx(difference - x / s, abs=1e-6)


def test_the_gradient_scale_counts_the_features_of_one_image():
    grads = []
    for n in (1, 4):
        activation = LSQ(2, 0.5)
        activation(torch.full((n, 3, 2, 2), 9.0)).mean(0).sum().backward()
        grads.append(activation.step.grad.item())
    assert grads == pytest.approx([12 * 3 / (12 * 3) ** 0.5] * 2)


def test_the_first_batch_starts_the_step_and_no_other():
    activation = LSQ(2)
    x = torch.tensor([[-4.0, 1.0], [2.0, 3.0]])
    activation.eval()(x)
    assert activation.step == 1
    activation.train()(x)
    assert activation.step.item() == pytest.approx(2 * 1.5 / 3**0.5)
    activation(10 * x)
    assert activation.step.item() == pytest.approx(2 * 1.5 / 3**0.5)
    again = LSQ(2)
    again.load_state_dict(activation.state_dict())  # goes on after a checkpoint
    again.train()(10 * x)
    assert torch.equal(again.step, activation.step)
    given = LSQ(2, 0.25)
    given.train()(x)
    assert given.step == 0.25
    silent = LSQ(2)
    silent.train()(-x.abs())
    assert silent.step == 1


# ------------------------------------------------------------------------------- FakeQuant (Ca-LIF)


def test_fake_quantisation_is_the_formula():
    activation = FakeQuant(3, range=1.4).double().eval()
    activation.range.fill_(1.4)
    x = torch.linspace(-1, 2, 601, dtype=torch.float64)
    expected = 0.2 * np.clip(np.floor(x.numpy() / 0.2 + 0.5), 0, 7)
    got = activation(x).numpy()
    assert np.isclose(got, expected, atol=1e-12).mean() > 0.99  # but for ties, off by an ulp
    assert np.abs(got - expected).max() < 0.2 + 1e-9
    assert activation(double(0.0)).item() == 0  # no zero point
    assert FakeQuant().levels == 255


def test_gradients_of_fake_quantisation():
    activation = FakeQuant(3, range=1.4).eval()
    x = torch.tensor([-1.0, 0.0, 1e-6, 0.05, 0.7, 1.39, 1.4, 1.5], requires_grad=True)
    activation(x).sum().backward()
    assert x.grad.tolist() == [0, 0, 1, 1, 1, 1, 0, 0]
    assert not list(activation.parameters())
    step = 1.4 / 7
    exact = FakeQuant(3, range=1.4).double().eval()
    assert slope(lambda v: exact(double(v)).item(), 0.73, 2 * step) == pytest.approx(1)


def test_the_range_follows_the_greatest_values_in_training():
    activation = FakeQuant(4, momentum=0.25)
    activation.train()(torch.tensor([1.0, -7.0, 4.0]))
    assert activation.range == 4  # the first batch's
    activation(torch.tensor([8.0, 1.0]))
    assert activation.range == 0.75 * 4 + 0.25 * 8
    activation.eval()(torch.tensor([100.0]))
    assert activation.range == 5
    assert copy.deepcopy(activation).train()(torch.tensor([5.0])).item() == 5
    silent = FakeQuant()
    assert torch.isfinite(silent.train()(torch.tensor([-1.0, 0.0]))).all()


# --------------------------------------------------------------------------------- weights (Ca-LIF)


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_weights_are_on_a_symmetric_grid_of_each_channel(bits):
    layer = nn.Conv2d(3, 4, 3)
    real = layer.weight.detach().clone()
    real[2] *= 100
    layer.weight.data.copy_(real)
    quantise_weights(nn.Sequential(layer), bits, integrator=False)
    limit = 2 ** (bits - 1) - 1
    scale = real.abs().amax((1, 2, 3), keepdim=True) / limit
    integers = layer.weight.detach() / scale
    torch.testing.assert_close(integers, integers.round(), atol=1e-4, rtol=0)
    assert integers.abs().amax((1, 2, 3)).round().tolist() == [limit] * 4
    torch.testing.assert_close(integers.round(), (real / scale).round())
    assert SymmetricWeight(bits)(torch.zeros(2, 3)).tolist() == [[0.0] * 3] * 2


def test_an_integrator_has_one_scale():
    module = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2))
    real = module[1].weight.detach().clone()
    quantise_weights(module, 4)
    scale = real.abs().max() / 7
    torch.testing.assert_close(module[1].weight, scale * (real / scale).round())
    first = module[0].weight.abs().amax(1)
    torch.testing.assert_close(first, module[0].parametrizations.weight.original.abs().amax(1))


@pytest.mark.parametrize("norm", [False, True])
@pytest.mark.parametrize("bits", [4, 8])
def test_the_integers_of_training_are_the_compilers(bits, norm):
    """Per channel, batch norms folded in, and shared by the outputs of the integrator."""
    torch.manual_seed(2)
    module = plain.lenet5(Options(norm=norm))
    for name, value in [*module.named_parameters(), *module.named_buffers()]:
        if "norm" in name and value.ndim:
            value.data.uniform_(0.5, 2.0)
    quantise_weights(module.eval(), bits)
    network = convert(trace(module, torch.rand(1, 1, 28, 28)))
    integer = quantise(network, steps=8, weight_bits=bits)
    layers = [m for m in module.modules() if isinstance(m, (nn.Conv2d, nn.Linear))]
    limit = 2 ** (bits - 1) - 1
    for layer, made in zip(layers, integer.layers, strict=True):
        real = layer.parametrizations.weight.original.detach().double()
        axes = (1, 2, 3) if real.ndim == 4 else (1,)
        peak = real.abs().max() if layer is layers[-1] else real.abs().amax(axes, keepdim=True)
        expected = (real / peak * limit).round().numpy()
        np.testing.assert_array_equal(made.synapses[0].weight.reshape(expected.shape), expected)


def test_weights_learn_straight_through():
    layer = quantise_weights(nn.Linear(3, 2), 4)
    x = torch.tensor([[1.0, 2.0, 3.0]])
    layer(x).sum().backward()
    original = layer.parametrizations.weight.original
    assert original.grad.tolist() == [[1, 2, 3]] * 2
    assert original.ndim == 2


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: NQ(0), "NQ: 0 levels; at least 1 is needed"),
        (lambda: QReLU(0), "QReLU: 0 steps; at least 1 is needed"),
        (lambda: QReLU(4, 3), "QReLU: Smax 3; choose 1, 2, 4 or 8"),
        (lambda: QReLU(4, 2, -1.0), "QReLU: lam -1.0 is not a positive number; start it at 4 or 8"),
        (lambda: LSQ(0), "LSQ: 0 bits; choose 1 to 16"),
        (lambda: LSQ(2, 0.0), "LSQ: step 0.0 is not a positive number"),
        (lambda: FakeQuant(17), "FakeQuant: 17 bits; choose 1 to 16"),
        (lambda: FakeQuant(range=float("inf")), "FakeQuant: range inf is not a positive number"),
        (lambda: FakeQuant(momentum=0.0), "FakeQuant: momentum 0.0; it must be above 0, at most 1"),
        (lambda: SymmetricWeight(1), "SymmetricWeight: 1 bits; choose 2 to 16"),
    ],
)
def test_other_bad_parameters_are_refused(make, message):
    with pytest.raises(SpikewrightError) as error:
        make()
    assert str(error.value) == message
