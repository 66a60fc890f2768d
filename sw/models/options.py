"""What a net of ours is built from: its sizes and activations, as a saved network names them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from msgspec import Meta
from torch import nn

from spikewright.errors import SpikewrightError
from spikewright.network import Shape
from spikewright.sw.activations import LSQ, NQ, QCFS, FakeQuant, QReLU, quantise_weights

__all__ = ["ACTIVATIONS", "Options"]

ACTIVATIONS = ("qcfs", "nq", "hpc", "qffs", "calif", "relu")

_LAMBDA = 2.0
"""Lambda of QCFS and QReLU at the start: its first step is then within reach of untrained, unnormed
layers. At the 8 that suits deep nets with batch norms all outputs start as zero, and often stay so.
"""

_WIDEST = 64

_Size = Annotated[int, Meta(ge=1, le=65536)]


@dataclass(frozen=True)
class Options:
    """Images of `shape` ``(C, H, W)`` go in, scores of `classes` come out.

    `width` multiplies the channels of the hidden layers, `norm` puts a batch norm behind each.

    `activation` is a method's: QCFS, NQ, QReLU (hpc), LSQ (qffs), FakeQuant (calif) or ReLU.
    `levels` is how many steps it has, which ReLU has no use for: QCFS's L, QReLU's T * Smax, of LSQ
    and FakeQuant 2**b - 1. `smax` is QReLU's. With `counts` there is an activation behind the last
    layer too, whose counts can be read out; LSQ has one bit more there. Weights are trained as
    integers of `weight_bits`, 0 for real ones. Raises SpikewrightError for other values.
    """

    shape: tuple[_Size, _Size, _Size] = (1, 28, 28)
    classes: _Size = 10
    width: float = 1.0
    norm: bool = False
    activation: str = "qcfs"
    levels: Annotated[int, Meta(ge=0, le=65535)] = 8
    smax: Annotated[int, Meta(ge=1, le=8)] = 2
    counts: bool = False
    weight_bits: int = 0

    def __post_init__(self) -> None:
        kind, levels = self.activation, self.levels
        if not 0 < self.width <= _WIDEST:
            raise SpikewrightError(f"width {self.width}: must be positive, at most {_WIDEST}")
        if kind not in ACTIVATIONS:
            raise SpikewrightError(
                f"activation {kind}: is not known; choose one of {', '.join(ACTIVATIONS)}"
            )
        if kind == "hpc" and (levels < self.smax or levels % self.smax):
            raise SpikewrightError(
                f"levels {levels}: QReLU has T * Smax, a multiple of Smax = {self.smax}"
            )
        if kind in ("qffs", "calif") and (levels < 1 or levels & (levels + 1)):
            raise SpikewrightError(f"levels {levels}: b bits have 2**b - 1, such as 3 or 255")

    def scaled(self, channels: int) -> int:
        """`channels` times the width, rounded, and at least one."""
        return max(1, round(channels * self.width))

    def need(self, smallest: int) -> Shape:
        """The shape; raises SpikewrightError where height or width is below `smallest`."""
        if min(self.shape[1:]) < smallest:
            raise SpikewrightError(
                f"takes images of at least {smallest}x{smallest}, not "
                f"{self.shape[1]}x{self.shape[2]}"
            )
        return self.shape

    def act(self, *, last: bool = False) -> nn.Module:
        """A fresh activation."""
        bits = self.levels.bit_length()
        match self.activation:
            case "qcfs":
                return QCFS(self.levels, _LAMBDA)
            case "nq":
                return NQ(self.levels, _LAMBDA)
            case "hpc":
                return QReLU(self.levels // self.smax, self.smax, _LAMBDA)
            case "qffs":
                return LSQ(bits + last)
            case "calif":
                return FakeQuant(bits)
        return nn.ReLU()

    def finish(self, net: nn.Sequential) -> nn.Sequential:
        """`net`, which ends in a linear layer, with what comes last."""
        if self.counts:
            # An output that starts below zero for its own images would get no gradient, ever.
            last = net[-1]
            assert isinstance(last, nn.Linear)
            nn.init.constant_(last.bias, _LAMBDA / 2)
            net.add_module("act", self.act(last=True))
        if self.weight_bits:
            quantise_weights(net, self.weight_bits, integrator=not self.counts)
        return net
