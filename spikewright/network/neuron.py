"""The neuron contract: which state equation a layer follows, with every choice by name.

All models are one family. In a time step a neuron adds its current and bias to its membrane, giving
the potential U; at the end of the step it decides how many thresholds it sends, n, and keeps
``V = U - n * threshold`` (soft reset). The models differ in what n may be:

- upwards ``floor(U / threshold)`` and at most `smax`, and with `zmax` no more than keeps the count
  of spikes sent so far, y, at or below `zmax`;
- downwards, as `negative` says, and with `gated` no more than y;
- as `digits` says, the greatest power of two in that number, or all of it in binary digits.

Burst neurons work in a single step: U gains half a threshold, rounded down, which V keeps, and n is
``floor(U / threshold)`` within ``0..levels``.

`docs/neurons.md` has the formulas of the papers and what they leave open.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Annotated

from msgspec import Meta

from spikewright.errors import SpikewrightError
from spikewright.network.limits import ZMAX
from spikewright.records import check_fields

__all__ = [
    "LEVELS",
    "SMAX",
    "Digits",
    "Negative",
    "NeuronModel",
    "NeuronSpec",
    "Reset",
    "Rounding",
    "Tie",
    "Window",
]

SMAX = 8
"""The most spikes a neuron may send in an ordinary step."""

LEVELS = 255
"""The most levels of a burst neuron."""


class NeuronModel(enum.Enum):
    """Which paper's neuron it is."""

    IF = "if"
    """Integrate and fire, soft reset (NQ Eq. 2-5; QCFS)."""

    BUFFERED = "hpc"
    """Buffered IF: signed spikes, powers of two up to `smax`, gated by the count (Eq. 12-15)."""

    BOUNDED = "qffs"
    """Bounded signed IF: the count stays within 0..`zmax` (QFFS 4.4.2)."""

    CALCIUM = "ca-lif"
    """Ca-LIF: thresholds of both signs, calcium gate, rounding phase (Ca-LIF 3.2). Without the gate
    it is the average-pool neuron (Eq. 6)."""

    TSC = "tsc"
    """Temporal switch coding: on and off spikes, two accumulators (TSC Eq. 3-7)."""

    MAX_POOL = "max-pool"
    """Sends the change of the greatest spike count in its window (QFFS 4.5); no threshold."""

    BURST = "burst"
    """The quantised ANN in one step: sends n = clip(floor(U / threshold + 1/2), 0, `levels`) as a
    value (kin to Polarity Multi-Spike Mapping, arXiv 2508.14520)."""

    INTEGRATOR = "integrator"
    """Accumulates and never fires: the last layer, read out as potentials."""


class Tie(enum.Enum):
    """What a potential exactly at a threshold does; the papers disagree. FIRES is the default, but
    for overlapped TSC. HOLDS holds at every multiple of the threshold."""

    FIRES = "fires"
    HOLDS = "holds"


class Reset(enum.Enum):
    """What a spike leaves behind; all five papers subtract."""

    SUBTRACT = "subtract"
    ZERO = "zero"


class Negative(enum.Enum):
    """When a neuron takes spikes back."""

    NONE = "none"
    BELOW_ZERO = "below-zero"
    """n = -ceil(-U / threshold) where U < 0: the residue becomes positive (QFFS; HPC Eq. 13)."""
    AT_THRESHOLD = "at-threshold"
    """n = -floor(-U / threshold) (Ca-LIF; HPC Eq. 14 with its floor)."""


class Digits(enum.Enum):
    """How n becomes events of value +-2**k."""

    POWER = "power"
    """The greatest power of two not above n (HPC Eq. 15)."""
    BINARY = "binary"
    """Every binary digit of n (all of n)."""


class Rounding(enum.Enum):
    """The rounding phase, one more step without input after all others (Ca-LIF 3.2, Eq. 3c)."""

    NONE = "none"
    ONE = "one"
    """At most one spike: +1 where 2U >= threshold, -1 where 2U < -threshold."""
    DRAIN = "drain"
    """n = max(round_half_up(U / threshold), -y), in binary digits."""


class Window(enum.Enum):
    """When a TSC layer works."""

    PER_LAYER = "per-layer"
    """It integrates T steps, then sends n = clip(floor(U / threshold), 0, T - 1) as one pair of
    spikes, on and off, during the next layer's T steps."""
    OVERLAPPED = "overlapped"
    """As printed: all layers at once; a neuron sends a spike when it begins or ceases to fire."""


@dataclass(frozen=True)
class NeuronSpec:
    """Every choice of a neuron model, by name; thresholds, biases and V(0) are the layer's numbers.

    Raises SpikewrightError for a combination that the model does not have. Steps with input and
    bias, and steps to settle, belong to the whole network: see
    :class:`~spikewright.network.network.Network`.
    """

    model: NeuronModel
    tie: Tie = Tie.FIRES
    reset: Reset = Reset.SUBTRACT
    negative: Negative = Negative.NONE
    gated: bool = False
    smax: int = 1
    digits: Digits = Digits.BINARY
    zmax: Annotated[int, Meta(le=ZMAX)] | None = None
    rounding: Rounding = Rounding.NONE
    window: Window = Window.PER_LAYER
    latch: bool = False
    """TSC, overlapped: a neuron that has ceased to fire stays silent: at most one pair."""
    levels: int | None = None
    """Burst: the most that a neuron sends, L."""

    # -- the papers' neurons ---------------------------------------------------------------------

    @classmethod
    def plain(cls, tie: Tie = Tie.FIRES, reset: Reset = Reset.SUBTRACT) -> NeuronSpec:
        """Integrate and fire (NQ, QCFS)."""
        return cls(NeuronModel.IF, tie, reset)

    @classmethod
    def buffered(
        cls, smax: int = 2, negative: Negative = Negative.BELOW_ZERO, tie: Tie = Tie.FIRES
    ) -> NeuronSpec:
        """HPC's neuron; `negative` AT_THRESHOLD has the floor of Eq. 14."""
        gated = negative is not Negative.NONE
        return cls(
            NeuronModel.BUFFERED,
            tie,
            negative=negative,
            gated=gated,
            smax=smax,
            digits=Digits.POWER,
        )

    @classmethod
    def bounded(cls, zmax: int, tie: Tie = Tie.FIRES) -> NeuronSpec:
        """QFFS's neuron; `zmax` is 2**b - 1."""
        return cls(NeuronModel.BOUNDED, tie, negative=Negative.BELOW_ZERO, gated=True, zmax=zmax)

    @classmethod
    def calcium(
        cls,
        smax: int = 1,
        rounding: Rounding = Rounding.DRAIN,
        *,
        gated: bool = True,
        zmax: int | None = None,
        tie: Tie = Tie.FIRES,
    ) -> NeuronSpec:
        """Ca-LIF; with ``gated=False`` the average-pool neuron."""
        return cls(
            NeuronModel.CALCIUM,
            tie,
            negative=Negative.AT_THRESHOLD,
            gated=gated,
            smax=smax,
            zmax=zmax,
            rounding=rounding,
        )

    @classmethod
    def tsc(
        cls, window: Window = Window.PER_LAYER, *, latch: bool = False, tie: Tie | None = None
    ) -> NeuronSpec:
        """TSC's neuron; overlapped it fires strictly above its threshold, as the text says."""
        default = Tie.FIRES if window is Window.PER_LAYER else Tie.HOLDS
        return cls(NeuronModel.TSC, default if tie is None else tie, window=window, latch=latch)

    @classmethod
    def max_pool(cls, smax: int = 1) -> NeuronSpec:
        """Event max pooling of a source whose spikes are at most `smax`."""
        return cls(NeuronModel.MAX_POOL, negative=Negative.AT_THRESHOLD, smax=smax)

    @classmethod
    def burst(cls, levels: int) -> NeuronSpec:
        """The quantised ANN's neuron of `levels` levels."""
        return cls(NeuronModel.BURST, levels=levels)

    @classmethod
    def integrator(cls) -> NeuronSpec:
        """Accumulates and never fires."""
        return cls(NeuronModel.INTEGRATOR)

    # -- checks ----------------------------------------------------------------------------------

    def __post_init__(self) -> None:
        check_fields(self, "neuron")
        name = self.model.value
        if not 1 <= self.smax <= SMAX or self.smax & (self.smax - 1):
            raise SpikewrightError(
                f"neuron {name}: Smax {self.smax} is not a power of two from 1 to {SMAX}"
            )
        if self.zmax is not None and self.zmax < 1:
            raise SpikewrightError(f"neuron {name}: Zmax {self.zmax}; it must be at least 1")
        allowed = _CHOICES[self.model]
        default = NeuronSpec.__dataclass_fields__
        for field_name in default:
            value = getattr(self, field_name)
            if field_name == "model" or value == default[field_name].default:
                continue
            if field_name not in allowed:
                raise SpikewrightError(
                    f"neuron {name}: {field_name}={_text(value)} is not a choice of this model"
                )
        self._check_model()

    def _check_model(self) -> None:
        name = self.model.value
        if self.model is NeuronModel.BOUNDED and (
            self.zmax is None or not self.gated or self.negative is not Negative.BELOW_ZERO
        ):
            raise SpikewrightError(
                f"neuron {name}: needs Zmax, the gate, and negative spikes below zero"
            )
        if self.model is NeuronModel.BUFFERED and (
            self.digits is not Digits.POWER or self.gated != (self.negative is not Negative.NONE)
        ):
            raise SpikewrightError(
                f"neuron {name}: sends powers of two, and gates negative spikes by the count"
            )
        if self.model is NeuronModel.CALCIUM and self.negative is not Negative.AT_THRESHOLD:
            raise SpikewrightError(f"neuron {name}: takes spikes back at the negative threshold")
        if self.model is NeuronModel.MAX_POOL and self.negative is not Negative.AT_THRESHOLD:
            raise SpikewrightError(f"neuron {name}: takes spikes back where its maximum falls")
        if self.zmax is not None and not self.gated:
            raise SpikewrightError(
                f"neuron {name}: Zmax bounds a count, which needs the gate to stay above zero"
            )
        bursts = self.model is NeuronModel.BURST
        if bursts and (self.levels is None or not 1 <= self.levels <= LEVELS):
            raise SpikewrightError(
                f"neuron {name}: {self.levels} levels; it needs 1 to {LEVELS} of them"
            )
        if self.latch and self.window is not Window.OVERLAPPED:
            raise SpikewrightError(f"neuron {name}: the latch belongs to overlapped windows")

    # -- what follows from the choices -----------------------------------------------------------

    @property
    def fires(self) -> bool:
        """Whether it ever sends a spike."""
        return self.model is not NeuronModel.INTEGRATOR

    @property
    def most(self) -> int:
        """The most that it may send in an ordinary step."""
        return self.smax if self.levels is None else self.levels

    @property
    def sends_pairs(self) -> bool:
        """Whether its events switch a current on and off, so that its targets sum them up."""
        return self.model is NeuronModel.TSC

    @property
    def codes(self) -> bool:
        """TSC with a window a layer: decides once, after all steps, and sends a pair."""
        return self.model is NeuronModel.TSC and self.window is Window.PER_LAYER

    @property
    def switches(self) -> bool:
        """TSC as printed: sends the changes of whether it fires."""
        return self.model is NeuronModel.TSC and self.window is Window.OVERLAPPED

    @property
    def signed(self) -> bool:
        """Whether a step may bring a negative event."""
        return self.negative is not Negative.NONE or self.sends_pairs

    @property
    def final(self) -> bool:
        """Whether it does something of its own in a last step behind all others."""
        return self.rounding is not Rounding.NONE or self.codes

    @property
    def step_digits(self) -> int:
        """Binary digits of what it may send in an ordinary step; 0 if it never does."""
        return self.most.bit_length() if self.fires and not self.codes else 0


def _text(value: object) -> object:
    return value.value if isinstance(value, enum.Enum) else value


_CHOICES: dict[NeuronModel, set[str]] = {
    NeuronModel.IF: {"tie", "reset"},
    NeuronModel.BUFFERED: {"tie", "negative", "gated", "smax", "digits"},
    NeuronModel.BOUNDED: {"tie", "negative", "gated", "zmax"},
    NeuronModel.CALCIUM: {"tie", "negative", "gated", "smax", "zmax", "rounding"},
    NeuronModel.TSC: {"tie", "window", "latch"},
    NeuronModel.MAX_POOL: {"negative", "smax"},
    NeuronModel.BURST: {"levels"},
    NeuronModel.INTEGRATOR: set(),
}
