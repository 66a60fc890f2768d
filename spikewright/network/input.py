"""The input frame, and how it becomes events."""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass

from spikewright.errors import SpikewrightError
from spikewright.network.geometry import Shape, check_shape
from spikewright.records import check_fields

__all__ = ["ISI_STEPS", "InputCode", "InputSpec"]


class InputCode(enum.Enum):
    """How the frame becomes events, on the chip."""

    DIRECT = "direct"
    """The signed digits of every pixel, integrated once; the current stays for all steps."""

    ISI = "isi"
    """N = T * pixel // max spikes, the n-th at step n * max // pixel (Ca-LIF 4.1)."""

    TSC = "tsc"
    """A pair of spikes that encloses n = pixel * (T - 1) // max steps: + at step 1, - at step n + 1
    (TSC Eq. 1, 2)."""

    BERNOULLI = "bernoulli"
    """In every step a spike with probability pixel / (max + 1), from a documented generator."""

    EVENTS = "events"
    """No code: the frame holds the spikes (0 or 1) of every step, step after step."""

    @property
    def repeats(self) -> bool:
        """Whether the encoder reads the same pixels again in every step."""
        return self in (InputCode.ISI, InputCode.TSC, InputCode.BERNOULLI)


ISI_STEPS = 256
"""The most steps of an ISI code: with more, no pixel of 8 bits would tell another."""


@dataclass(frozen=True)
class InputSpec:
    """The input frame: unsigned pixels of `bits` bits; the model sees ``(pixel - mean) * scale``.

    `scale` and `mean` hold one number per channel; `mean` is in pixel steps. `code` says how the
    frame enters the SNN, `seed` (1..2**32 - 1) starts the generator of the Bernoulli code.
    """

    shape: Shape
    bits: int = 8
    scale: tuple[float, ...] = ()
    mean: tuple[float, ...] = ()
    code: InputCode = InputCode.DIRECT
    seed: int = 1

    def __post_init__(self) -> None:
        check_fields(self, "input")
        check_shape(self.shape, "input")
        c = self.shape[0]
        if not 1 <= self.bits <= 8:
            raise SpikewrightError(f"input: {self.bits} bits a pixel; 1 to 8 are supported")
        if not self.scale:
            object.__setattr__(self, "scale", (1.0 / (2**self.bits - 1),) * c)
        if not self.mean:
            object.__setattr__(self, "mean", (0.0,) * c)
        if self.code is InputCode.EVENTS and self.bits != 1:
            raise SpikewrightError(f"input: raw events are 0 or 1, not {self.bits} bits")
        if not 1 <= self.seed < 2**32:
            raise SpikewrightError(f"input: seed {self.seed} is outside 1..2**32 - 1")
        for name in ("scale", "mean"):
            values = getattr(self, name)
            if len(values) != c or not all(math.isfinite(v) for v in values):
                raise SpikewrightError(f"input: {name} must hold {c} finite numbers, one a channel")

    @property
    def maximum(self) -> int:
        """Largest pixel value."""
        return 2**self.bits - 1

    def frame_shape(self, input_steps: int) -> Shape:
        """One frame as the host sends it: raw events are as many frames as steps, stacked."""
        c, h, w = self.shape
        return (c * input_steps if self.code is InputCode.EVENTS else c), h, w
