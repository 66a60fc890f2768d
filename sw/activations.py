"""Activations to train with, whose quantisation is what a spiking neuron computes over T steps."""

from __future__ import annotations

import torch

from ..errors import SpikewrightError

__all__ = ["QCFS"]


def _floor(x: torch.Tensor) -> torch.Tensor:
    """Floor whose gradient is that of the identity (straight-through)."""
    return x + (torch.floor(x) - x).detach()


class QCFS(torch.nn.Module):
    """Quantisation-clip-floor-shift, ``lam * clip(floor(z * L / lam + 0.5) / L, 0, 1)`` (NQ Eq. 6).

    The value is the mean output of an IF neuron with threshold `lam` and V(0) = lam / 2 over T = L
    steps of constant input. The floor is straight-through, so with ``u = z / lam`` the gradient to
    z is 1 for ``-0.5 / L <= u < 1 + 0.5 / L`` and 0 elsewhere; the gradient to lam is
    ``a / lam - u`` inside that window, 0 below it and 1 above it.

    `levels` is L, at least 1. `lam` is one learned scalar; it starts at 8.0, since small starts can
    drive it through zero. Raises SpikewrightError for other values.
    """

    def __init__(self, levels: int = 8, lam: float = 8.0) -> None:
        super().__init__()
        if levels < 1:
            raise SpikewrightError(f"QCFS: {levels} levels; at least 1 is needed")
        if not 0 < lam < float("inf"):
            raise SpikewrightError(f"QCFS: lam {lam} is not a positive number; start it at 4 or 8")
        self.levels = levels
        self.lam = torch.nn.Parameter(torch.tensor(float(lam)))

    @property
    def threshold(self) -> torch.Tensor:
        """The lam in use, positive even where an optimiser step drove the parameter below zero."""
        return self.lam.abs().clamp_min(1e-6)

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        lam = self.threshold
        return lam * torch.clamp(_floor(z * self.levels / lam + 0.5) / self.levels, 0.0, 1.0)

    def extra_repr(self) -> str:
        return f"levels={self.levels}, lam={self.lam.item():.4g}"
