"""Activations to train with, whose quantisation is what a spiking neuron computes over T steps.

Each saturates at its `threshold`, which it reaches in `levels` equal steps; a number half way
between two of them goes up, as in the neurons. The gradients are those of the papers, and given
with each class.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from spikewright.errors import SpikewrightError

__all__ = ["LSQ", "NQ", "QCFS", "FakeQuant", "QReLU", "SymmetricWeight", "quantise_weights"]

_SMALLEST = 1e-6
"""Of what divides."""


def _stairs(x: Tensor, threshold: Tensor, levels: int, half: float = 0.5) -> Tensor:
    """The value of them all, in the very operations of :mod:`.ann`."""
    level = (x * levels).div_(threshold).add_(half).floor_().div_(levels)
    return level.clamp_(0.0, 1.0).mul_(threshold)


def _check(name: str, **numbers: float) -> None:
    """Refuse counts below one and starts that are not positive."""
    for what, number in numbers.items():
        if what in ("lam", "step", "range"):
            if not 0 < number < math.inf:
                advice = "; start it at 4 or 8" if what == "lam" else ""
                raise SpikewrightError(f"{name}: {what} {number} is not a positive number{advice}")
        elif what == "bits":
            if not 1 <= number <= 16:
                raise SpikewrightError(f"{name}: {number} bits; choose 1 to 16")
        elif number < 1:
            raise SpikewrightError(f"{name}: {number} {what}; at least 1 is needed")


class _QCFS(torch.autograd.Function):
    """The straight-through gradients, in one pass: it is half the time of a small network."""

    @staticmethod
    def forward(ctx: Any, z: Tensor, lam: Tensor, levels: int) -> Tensor:
        a = _stairs(z, lam, levels)
        ctx.save_for_backward(z, a, lam)
        ctx.levels = levels
        return a

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None]:
        (gradient,) = gradients
        z, a, lam = ctx.saved_tensors
        u, edge = z / lam, 0.5 / ctx.levels
        inside = torch.where((u >= -edge) & (u < 1 + edge), gradient, 0.0)
        return inside, (gradient * a).sum() / lam - (inside * u).sum(), None


class _Learned(nn.Module):
    """What saturates at a learned scalar `lam`, in `levels` steps."""

    def __init__(self, levels: int, lam: float) -> None:
        super().__init__()
        self.levels = levels
        self.lam = nn.Parameter(torch.tensor(float(lam)))

    @property
    def threshold(self) -> Tensor:
        """The lam in use, positive even where an optimiser step drove the parameter below zero."""
        return self.lam.abs().clamp_min(_SMALLEST)

    def extra_repr(self) -> str:
        return f"levels={self.levels}, lam={self.lam.item():.4g}"


class QCFS(_Learned):
    """Quantisation-clip-floor-shift, ``lam * clip(floor(z * L / lam + 0.5) / L, 0, 1)`` (NQ Eq. 6).

    The value is the mean output of an IF neuron with threshold `lam` and V(0) = lam / 2 over T = L
    steps of constant input. The floor is straight-through, so with ``u = z / lam`` the gradient to
    z is 1 for ``-0.5 / L <= u < 1 + 0.5 / L`` and 0 elsewhere; the gradient to lam is
    ``a / lam - u`` inside that window, 0 below it and 1 above it.

    `levels` is L, at least 1. `lam` is one learned scalar; it starts at 8.0, since small starts can
    drive it through zero. Raises SpikewrightError for other values.
    """

    def __init__(self, levels: int = 8, lam: float = 8.0) -> None:
        _check(type(self).__name__, levels=levels, lam=lam)
        super().__init__(levels, lam)

    def forward(self, z: Tensor) -> Tensor:
        return _QCFS.apply(z, self.threshold, self.levels)


class NQ(QCFS):
    """QCFS with layer-wise noise, ``QCFS(z) + noise * G`` with G ~ N(0, 1) per element (NQ Eq. 13).

    Only in training mode, and behind the clip, so that values may leave 0..lam. The noise changes
    no gradient. `noise` starts at 0; :func:`.induce` sets it after an epoch.
    """

    noise: Tensor

    def __init__(self, levels: int = 8, lam: float = 8.0) -> None:
        super().__init__(levels, lam)
        self.register_buffer("noise", torch.tensor(0.0))

    def forward(self, z: Tensor) -> Tensor:
        a = super().forward(z)
        return a + self.noise * torch.randn_like(a) if self.training else a


class _QReLU(torch.autograd.Function):
    """The gradients of HPC Eq. 10 and 11, with lam_b for lam."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, lam: Tensor, levels: int) -> Tensor:
        ctx.save_for_backward(x, lam)
        return _stairs(x, lam, levels, half=0.0)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None]:
        (gradient,) = gradients
        x, lam = ctx.saved_tensors
        inside = torch.where((x > 0) & (x < lam), gradient, 0.0)
        return inside, torch.where(x >= lam, gradient, 0.0).sum(), None


class QReLU(_Learned):
    """``lam_b / P * clip(floor(P * x / lam_b), 0, P)`` with ``P = T * Smax`` (HPC Eq. 8, 9).

    The value is what a neuron of Smax spikes a step reaches in T steps. The printed third cases of
    Eq. 9 and 16 lack a factor; this is continuous where it saturates. ``lam_b = lam * Smax`` is the
    learned scalar `lam`. The gradient to x is 1 for ``0 < x < lam_b`` and 0 elsewhere; the gradient
    to lam_b is 1 for ``x >= lam_b`` and 0 below it (Eq. 10, 11).

    `steps` is T and `smax` 1, 2, 4 or 8. Raises SpikewrightError for other values.
    """

    def __init__(self, steps: int = 8, smax: int = 2, lam: float = 8.0) -> None:
        _check("QReLU", steps=steps, lam=lam)
        if smax not in (1, 2, 4, 8):
            raise SpikewrightError(f"QReLU: Smax {smax}; choose 1, 2, 4 or 8")
        super().__init__(steps * smax, lam)
        self.smax = smax

    def forward(self, x: Tensor) -> Tensor:
        return _QReLU.apply(x, self.threshold, self.levels)


class _LSQ(torch.autograd.Function):
    """The gradients of LSQ (Esser et al. 2020, Eq. 3 and 5, and the scale of section 2.2)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, step: Tensor, levels: int) -> Tensor:
        ctx.save_for_backward(x, step)
        ctx.levels = levels
        return _stairs(x, levels * step, levels)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None]:
        (gradient,) = gradients
        x, step = ctx.saved_tensors
        v = x / step
        inside = (v > 0) & (v < ctx.levels)
        by_step = torch.where(inside, torch.floor(v + 0.5) - v, (v >= ctx.levels) * ctx.levels)
        features = x[0].numel() if x.ndim > 1 else x.numel()
        scale = 1 / math.sqrt(features * ctx.levels)
        return gradient * inside, scale * (gradient * by_step).sum(), None


class LSQ(nn.Module):
    """``s * clip(round(x / s), 0, Q)``, ``Q = 2**bits - 1``: the learned step of QFFS (4.2).

    With ``v = x / s`` the gradient to x is 1 for ``0 < v < Q`` and 0 elsewhere; the gradient to s
    is ``round(v) - v`` inside that window, 0 below it and Q above it, times ``1 / sqrt(N * Q)``
    where N counts the features of one image (Esser et al. 2020). The first batch in training mode
    sets s to ``2 * mean(max(x, 0)) / sqrt(Q)``, as they do; `step` starts it elsewhere.

    `bits` is 1 to 16. Raises SpikewrightError for other values.
    """

    started: Tensor

    def __init__(self, bits: int = 2, step: float | None = None) -> None:
        super().__init__()
        _check("LSQ", bits=bits, step=1.0 if step is None else step)
        self.bits, self.levels = bits, 2**bits - 1
        self.step = nn.Parameter(torch.tensor(1.0 if step is None else float(step)))
        self.register_buffer("started", torch.tensor(step is not None))

    @property
    def threshold(self) -> Tensor:
        """``Q * s``, where it saturates."""
        return self.levels * self._step

    @property
    def _step(self) -> Tensor:
        return self.step.abs().clamp_min(_SMALLEST)

    def forward(self, x: Tensor) -> Tensor:
        if self.training and not self.started:
            mean = x.detach().relu().mean().item()
            self.step.data.fill_(2 * mean / math.sqrt(self.levels) or 1.0)
            self.started.fill_(True)
        return _LSQ.apply(x, self._step, self.levels)

    def extra_repr(self) -> str:
        return f"bits={self.bits}, step={self.step.item():.4g}"


class FakeQuant(nn.Module):
    """ReLU in `bits` unsigned bits without zero point, ``s * clip(round(x / s), 0, Q)``.

    ``Q = 2**bits - 1`` and ``s = range / Q``, where `range` is a moving average of the greatest
    value of each batch: the first one's, then ``(1 - momentum) * range + momentum * greatest``. The
    gradient to x is 1 for ``0 < x < range`` and 0 elsewhere; nothing is learned. It is what Ca-LIF
    (section 3.1) takes from a quantisation toolkit, with zero points of zero as its Eq. 4 needs.

    `bits` is 1 to 16, `momentum` above 0 and 1 at most. Raises SpikewrightError for other values.
    """

    range: Tensor
    started: Tensor

    def __init__(
        self, bits: int = 8, *, momentum: float = 0.01, range: float | None = None
    ) -> None:
        super().__init__()
        _check("FakeQuant", bits=bits, range=1.0 if range is None else range)
        if not 0 < momentum <= 1:
            raise SpikewrightError(f"FakeQuant: momentum {momentum}; it must be above 0, at most 1")
        self.bits, self.levels, self.momentum = bits, 2**bits - 1, momentum
        self.register_buffer("range", torch.tensor(1.0 if range is None else float(range)))
        self.register_buffer("started", torch.tensor(range is not None))

    @property
    def threshold(self) -> Tensor:
        """Where it saturates."""
        return self.range.clamp_min(_SMALLEST)

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self._observe(x.detach().max().float())
        inside = (x > 0) & (x < self.threshold)
        straight = torch.where(inside, x - x.detach(), 0.0)
        return _stairs(x.detach(), self.threshold, self.levels) + straight

    def _observe(self, greatest: Tensor) -> None:
        if self.started:
            greatest = torch.lerp(self.range, greatest, self.momentum)
        self.range.copy_(greatest.clamp_min(_SMALLEST))
        self.started.fill_(True)

    def extra_repr(self) -> str:
        return f"bits={self.bits}, range={self.range.item():.4g}"


class SymmetricWeight(nn.Module):
    """Weights in `bits` signed bits without zero point, one scale an output channel.

    ``s * round(w / s)`` with ``s = max |w| / (2**(bits - 1) - 1)`` of the channel, or with `shared`
    of all, so nothing is clipped; the gradient is that of the identity. A parametrisation: see
    :func:`quantise_weights`. `bits` is 2 to 16; raises SpikewrightError for others.
    """

    def __init__(self, bits: int = 8, *, shared: bool = False) -> None:
        super().__init__()
        if not 2 <= bits <= 16:
            raise SpikewrightError(f"SymmetricWeight: {bits} bits; choose 2 to 16")
        self.bits, self.shared = bits, shared

    def forward(self, weight: Tensor) -> Tensor:
        fixed = weight.detach()
        axes = tuple(range(0 if self.shared else 1, weight.ndim))
        scale = fixed.abs().amax(axes, keepdim=True).clamp_min(_SMALLEST**2)
        scale = scale / (2 ** (self.bits - 1) - 1)
        return weight + (scale * torch.round(fixed / scale) - fixed)

    def right_inverse(self, weight: Tensor) -> Tensor:
        """What is assigned to the layer is what training goes on from."""
        return weight

    def extra_repr(self) -> str:
        return f"bits={self.bits}, shared={self.shared}"


def quantise_weights(module: nn.Module, bits: int = 8, *, integrator: bool = True) -> nn.Module:
    """`module` itself, the weight of every Conv2d and Linear in it from now on as `bits` bits.

    The scales are those of :mod:`.quantise`, one an output channel, but where the last layer is an
    `integrator` one for all its outputs. So a trained network's integers are those of its training
    wherever the thresholds of a layer agree.
    """
    layers = [m for m in module.modules() if isinstance(m, (nn.Conv2d, nn.Linear))]
    for layer in layers:
        weight = SymmetricWeight(bits, shared=integrator and layer is layers[-1])
        parametrize.register_parametrization(layer, "weight", weight)
    return module
