"""How a trained network becomes spiking: every choice of the conversion, by name.

One contract for the Python API, the command line and what a build directory records. Over T input
steps a neuron counts up to `levels` spikes, and a spike is worth ``lambda * D / levels``: lambda is
what the activation saturates at, and D, the *drive*, how many times all steps together bring the
neuron its input. D is T, but T - 1 where numbers travel as TSC pairs, which enclose at most T - 1
steps. So the sum of a layer's input over all steps is D times that of the ANN, in every layer.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

import numpy as np
from msgspec import Meta

from spikewright.errors import SpikewrightError
from spikewright.network.arrays import Floats
from spikewright.network.float_network import Activation, ActivationKind, FloatNetwork
from spikewright.network.geometry import INPUT
from spikewright.network.input import ISI_STEPS, InputCode
from spikewright.network.limits import STEPS, ZMAX
from spikewright.network.neuron import (
    Negative,
    NeuronModel,
    NeuronSpec,
    Reset,
    Rounding,
    Tie,
    Window,
)
from spikewright.records import check_fields

_Zmax = Annotated[int, Meta(le=ZMAX // 2)]
"""Of a hidden neuron; the output's may have one bit more."""

__all__ = ["NEURONS", "Conversion", "Readout", "drive", "event_value", "exact_settle"]

NEURONS = (
    NeuronModel.IF,
    NeuronModel.BUFFERED,
    NeuronModel.BOUNDED,
    NeuronModel.CALCIUM,
    NeuronModel.TSC,
    NeuronModel.BURST,
)
"""The neurons that activations can become."""

_SMAX = {NeuronModel.BUFFERED: 2, NeuronModel.CALCIUM: 1}
_BURST_LEVELS = 7
_ALPHA = 0.8
"""What TSC 5.2 takes of the greatest value for a threshold."""


class Readout(enum.Enum):
    """What the last layer is read out as."""

    POTENTIALS = "potentials"
    """It integrates and never fires; an activation at the end, which keeps the order, is left out.
    """
    COUNTS = "counts"
    """It fires like the others, and its counts of spikes are the output."""


@dataclass(frozen=True)
class Conversion:
    """The choices; None is the default of the neuron's paper. A choice of another model is refused.

    - `neuron`, `code`: the papers' neuron, and how the frame becomes spikes
    - `initial`: V(0) in thresholds, 0 to 1 excluded: 1/2 for IF and QFFS, but 0 behind QReLU; for
      HPC and TSC, whose papers' activations round down, 1/2 behind QCFS only; else 0
    - `smax`: most spikes a step, 1, 2, 4 or 8 (HPC what its QReLU was trained for, else 2; Ca-LIF
      1)
    - `negative`: when HPC takes spikes back (below-zero)
    - `zmax`: greatest count of a hidden neuron, where its activation saturates (QFFS the levels of
      the activations if they agree, T at most; else and Ca-LIF T; ``"none"``: Ca-LIF as printed,
      without a bound; burst: the levels of the activations if they agree, else 7); `output_zmax`
      that of a QFFS layer whose counts are the output (the levels of its activation, at most and
      else 2 zmax + 1, one bit more)
    - `settle`: QFFS's steps after the input (zmax, and what `output_zmax` exceeds T by; where
      `exact`, as many as exactness needs)
    - `rounding`: Ca-LIF's rounding phase (drain)
    - `window`, `latch`: when a TSC layer works (per-layer)
    - `pool_neurons`: Ca-LIF: average pools of spikes become neurons without gate (Eq. 6)
    - `alpha`: a plain ReLU's threshold, as a share of the percentile (1; TSC 0.8)
    - `readout`: what the last layer gives; counts need an activation at the end
    - `seed`: of the Bernoulli code
    - `exact`: refuse what cannot give the quantised activation for every input
    """

    neuron: NeuronModel = NeuronModel.IF
    code: InputCode = InputCode.DIRECT
    tie: Tie | None = None
    reset: Reset = Reset.SUBTRACT
    initial: float | None = None
    smax: int | None = None
    negative: Negative | None = None
    zmax: _Zmax | Literal["none"] | None = None
    output_zmax: Annotated[int, Meta(le=ZMAX)] | None = None
    settle: Annotated[int, Meta(le=STEPS)] | None = None
    rounding: Rounding | None = None
    window: Window | None = None
    latch: bool = False
    pool_neurons: bool = False
    readout: Readout = Readout.POTENTIALS
    alpha: float | None = None
    seed: int = 1
    exact: bool = False

    def __post_init__(self) -> None:
        check_fields(self, "conversion")
        name = self.neuron.value
        if self.neuron not in NEURONS:
            raise SpikewrightError(f"neuron {name}: no activation becomes one; choose {_named()}")
        fields = Conversion.__dataclass_fields__
        for choice in _OWNERS:
            given = getattr(self, choice) != fields[choice].default
            if given and self.neuron not in _OWNERS[choice]:
                owners = ", ".join(model.value for model in _OWNERS[choice])
                raise SpikewrightError(
                    f"neuron {name}: {choice.replace('_', ' ')} is not a choice of this model, "
                    f"only of {owners}"
                )
        if self.initial is not None and not 0 <= self.initial < 1:
            raise SpikewrightError(
                f"V(0): {self.initial:g} thresholds; it must be at least 0 and less than 1"
            )
        if self.alpha is not None and not 0 < self.alpha <= 1:
            raise SpikewrightError(f"alpha {self.alpha:g}: must be above 0, and 1 at most")
        if self.settle is not None and self.settle < 0:
            raise SpikewrightError(f"settle: {self.settle} steps; 0 or more are possible")
        if self.output_zmax is not None and self.readout is not Readout.COUNTS:
            raise SpikewrightError("output zmax: there is none without counts as output")
        if not 1 <= self.seed < 2**32:
            raise SpikewrightError(f"seed {self.seed}: is outside 1..2**32 - 1")
        self.hidden(2), self.last(2)  # their own checks
        if self.exact:
            self._check_exact()
        if self.readout is Readout.COUNTS and self.hidden(2).switches:
            raise SpikewrightError(
                "readout: overlapped TSC neurons have no counts; read potentials, or use a window "
                "per layer"
            )

    def _check_exact(self) -> None:
        name = self.neuron.value
        if self.neuron in (NeuronModel.IF, NeuronModel.BUFFERED):
            raise SpikewrightError(
                f"exact: the counts of {name} neurons depend on when spikes come; use qffs, ca-lif "
                "or tsc"
            )
        if self.neuron is NeuronModel.CALCIUM and self._rounding is not Rounding.DRAIN:
            raise SpikewrightError(
                f"exact: rounding {self._rounding.value} leaves neurons short of their number; use "
                "drain"
            )
        if self.zmax == "none":
            raise SpikewrightError("exact: the activation saturates, so counts need Zmax")
        if self.pool_neurons:
            raise SpikewrightError("exact: pool neurons round each average; leave them out")
        if self.hidden(2).switches:
            raise SpikewrightError(
                "exact: overlapped TSC neurons are still active when the steps end; use a window "
                "per layer"
            )

    # -- what follows for T steps ----------------------------------------------------------------

    def check_steps(self, steps: int) -> None:
        """Raise SpikewrightError if the choices do not work over T = `steps` input steps."""
        if steps < 1:
            raise SpikewrightError(f"T is {steps}; at least 1 time step is needed")
        if steps > STEPS:
            raise SpikewrightError(f"T is {steps}; at most {STEPS} time steps are supported")
        zmax = self._zmax(steps)
        if self.neuron is NeuronModel.CALCIUM and zmax is not None and self._smax > zmax:
            raise SpikewrightError(
                f"Smax {self._smax}: Zmax {zmax} bounds the count, so no neuron ever sends as many "
                "spikes a step; use a smaller Smax, or a greater T or Zmax"
            )
        if self.neuron is NeuronModel.BURST and steps != 1:
            raise SpikewrightError(
                f"T is {steps}; burst neurons send all they have in one time step, so T is 1"
            )
        pairs = self.neuron is NeuronModel.TSC or self.code is InputCode.TSC
        if pairs and steps < 2:
            raise SpikewrightError(
                f"T is {steps}; a TSC pair encloses at most T - 1 steps, so at least 2 are needed"
            )
        if self.code is InputCode.ISI and steps > ISI_STEPS:
            raise SpikewrightError(
                f"T is {steps}; the ISI encoder goes to {ISI_STEPS}, beyond which pixels of 8 bits "
                "have nothing more to tell"
            )

    def suited(self, network: FloatNetwork, steps: int) -> Conversion:
        """With the choices that are still open as the activations of `network` were trained."""
        *hidden, last = (layer.activation for layer in network.layers)
        match self.neuron:
            case NeuronModel.BUFFERED if self.smax is None:
                trained = {a.smax for a in (*hidden, last) if a.smax is not None}
                return replace(self, smax=trained.pop()) if len(trained) == 1 else self
            case NeuronModel.BOUNDED:
                levels = {a.levels for a in hidden if a.levels is not None}
                zmax = self.zmax
                if zmax is None and len(levels) == 1:
                    zmax = min(levels.pop(), steps)
                output = self.output_zmax
                if output is None and self.readout is Readout.COUNTS and last.levels is not None:
                    output = min(last.levels, replace(self, zmax=zmax)._last_zmax(steps) or 1)
                return replace(self, zmax=zmax, output_zmax=output)
            case NeuronModel.BURST if self.zmax is None:
                levels = {a.levels for a in (*hidden, last) if a.levels is not None}
                return replace(self, zmax=levels.pop()) if len(levels) == 1 else self
        return self

    def hidden(self, steps: int) -> NeuronSpec:
        """The neuron of a hidden activation."""
        return self._spec(self._zmax(steps))

    def last(self, steps: int) -> NeuronSpec:
        """The neuron of the last layer."""
        if self.readout is Readout.POTENTIALS:
            return NeuronSpec.integrator()
        return self._spec(self._last_zmax(steps))

    def spike(self, steps: int, *, last: bool = False) -> float:
        """What a spike is worth in lambdas, D over the count at which the activation saturates."""
        match self.neuron:
            case NeuronModel.BUFFERED:
                return 1 / self._smax
            case NeuronModel.BURST:
                return 1 / (self._zmax(steps) or 1)
            case NeuronModel.BOUNDED | NeuronModel.CALCIUM:
                return steps / ((self._last_zmax(steps) if last else self._zmax(steps)) or steps)
        return 1.0

    def start(self, activation: Activation) -> float:
        """V(0) of a neuron that stands for `activation`, in thresholds."""
        if self.initial is not None:
            return self.initial
        if activation.kind is ActivationKind.QRELU:  # Burst neurons round by themselves.
            return -0.5 if self.neuron is NeuronModel.BURST else 0.0
        rounds = activation.kind is ActivationKind.QCFS
        return {
            NeuronModel.CALCIUM: 0.0,
            NeuronModel.BURST: 0.0,
            NeuronModel.BUFFERED: 0.5 * rounds,
            NeuronModel.TSC: 0.5 * rounds,
        }.get(self.neuron, 0.5)

    def settle_steps(self, network: FloatNetwork, steps: int) -> int:
        """E: the steps between the input's end and the network's; `network` is converted."""
        if self.settle is not None:
            return self.settle
        if self.neuron is not NeuronModel.BOUNDED:
            return 0
        if self.exact:
            return exact_settle(network, steps)
        zmax, last = self._zmax(steps) or 0, self._last_zmax(steps) or 0
        return zmax + (max(0, last - steps) if self.readout is Readout.COUNTS else 0)

    @property
    def share(self) -> float:
        """Of a plain ReLU's percentile, what the threshold is."""
        if self.alpha is not None:
            return self.alpha
        return _ALPHA if self.neuron is NeuronModel.TSC else 1.0

    @property
    def percentile(self) -> float:
        """Of a plain ReLU's values, where none is given: TSC balances on the greatest."""
        return 100.0 if self.neuron is NeuronModel.TSC else 99.9

    @property
    def _smax(self) -> int:
        return _SMAX.get(self.neuron, 1) if self.smax is None else self.smax

    @property
    def _rounding(self) -> Rounding:
        return Rounding.DRAIN if self.rounding is None else self.rounding

    def _zmax(self, steps: int) -> int | None:
        if self.zmax == "none":
            return None
        default = _BURST_LEVELS if self.neuron is NeuronModel.BURST else steps
        return default if self.zmax is None else self.zmax

    def _last_zmax(self, steps: int) -> int | None:
        zmax = self._zmax(steps)
        if self.neuron is not NeuronModel.BOUNDED or zmax is None:
            return zmax
        return 2 * zmax + 1 if self.output_zmax is None else self.output_zmax

    def _spec(self, zmax: int | None) -> NeuronSpec:
        tie = Tie.FIRES if self.tie is None else self.tie
        match self.neuron:
            case NeuronModel.BUFFERED:
                negative = Negative.BELOW_ZERO if self.negative is None else self.negative
                return NeuronSpec.buffered(self._smax, negative, tie)
            case NeuronModel.BOUNDED:
                if zmax is None:
                    raise SpikewrightError("neuron qffs: the counts need Zmax")
                return NeuronSpec.bounded(zmax, tie)
            case NeuronModel.CALCIUM:
                return NeuronSpec.calcium(self._smax, self._rounding, zmax=zmax, tie=tie)
            case NeuronModel.TSC:
                window = Window.PER_LAYER if self.window is None else self.window
                return NeuronSpec.tsc(window, latch=self.latch, tie=self.tie)
            case NeuronModel.BURST:
                if zmax is None:
                    raise SpikewrightError("neuron burst: its levels need Zmax")
                return NeuronSpec.burst(zmax)
        return NeuronSpec.plain(tie, self.reset)

    @property
    def pool(self) -> NeuronSpec:
        """The average-pool neuron (Ca-LIF Eq. 6)."""
        tie = Tie.FIRES if self.tie is None else self.tie
        return NeuronSpec.calcium(self._smax, self._rounding, gated=False, tie=tie)

    # -- words -----------------------------------------------------------------------------------

    @classmethod
    def named(cls, **choices: Any) -> Conversion:
        """From the papers' words: ``Conversion.named(neuron="hpc", code="isi", smax=4)``.

        None keeps a default. Time is discrete, so ``poisson`` is another name of ``bernoulli``.
        """
        known = cls.__dataclass_fields__
        values: dict[str, Any] = {}
        for name, value in choices.items():
            if name not in known:
                raise SpikewrightError(
                    f"conversion: {name} is not a choice; there are {', '.join(known)}"
                )
            if value is not None:
                values[name] = _from_word(_WORDS[name], value) if name in _WORDS else value
        return cls(**values)


def _named() -> str:
    return ", ".join(model.value for model in NEURONS)


def _from_word(kind: type[enum.Enum], value: Any) -> enum.Enum:
    if isinstance(value, kind):
        return value
    words = [member.value for member in kind]
    word = "bernoulli" if value == "poisson" else value
    if word not in words:
        allowed = _named() if kind is NeuronModel else ", ".join(words)
        raise SpikewrightError(f"conversion: {value!r} is not known; choose one of {allowed}")
    return kind(word)


_WORDS: dict[str, type[enum.Enum]] = {
    "neuron": NeuronModel,
    "code": InputCode,
    "tie": Tie,
    "reset": Reset,
    "negative": Negative,
    "rounding": Rounding,
    "window": Window,
    "readout": Readout,
}

_OWNERS: dict[str, tuple[NeuronModel, ...]] = {
    "reset": (NeuronModel.IF,),
    "smax": (NeuronModel.BUFFERED, NeuronModel.CALCIUM),
    "negative": (NeuronModel.BUFFERED,),
    "tie": NEURONS[:-1],
    "zmax": (NeuronModel.BOUNDED, NeuronModel.CALCIUM, NeuronModel.BURST),
    "output_zmax": (NeuronModel.BOUNDED,),
    "settle": (NeuronModel.BOUNDED,),
    "rounding": (NeuronModel.CALCIUM,),
    "window": (NeuronModel.TSC,),
    "latch": (NeuronModel.TSC,),
    "pool_neurons": (NeuronModel.CALCIUM,),
}
"""The models that have a choice, of those that not all have."""


# ------------------------------------------------------------------------- what events are worth


def drive(network: FloatNetwork, steps: int) -> int:
    """D: how many times T = `steps` input steps together bring a neuron its input and bias."""
    specs = [layer.neuron for layer in network.layers]
    return steps - any(spec is not None and spec.sends_pairs for spec in specs)


def event_value(network: FloatNetwork, steps: int) -> Floats:
    """What an input event is worth in every step it counts, ``(channels,)``; direct: a pixel step.

    All events of a pixel together bring D times what the model sees, but for its mean, which is
    part of the bias.
    """
    spec = network.input
    if spec.code is InputCode.TSC and steps < 2:
        raise SpikewrightError(
            f"T is {steps}; a TSC pair encloses at most T - 1 steps, so at least 2 are needed"
        )
    per_step = drive(network, steps) / (steps - 1 if spec.code is InputCode.TSC else steps)
    size = {
        InputCode.DIRECT: 1,
        InputCode.EVENTS: 1,
        InputCode.BERNOULLI: spec.maximum + 1,
        InputCode.ISI: spec.maximum,
        InputCode.TSC: spec.maximum,
    }[spec.code]
    return np.array(spec.scale) * size * per_step


def exact_settle(network: FloatNetwork, steps: int) -> int:
    """E after which the counts of QFFS neurons are their activations, whatever the input.

    After the last change of its input a neuron comes nearer to its count by one a step, and Zmax
    steps are always enough; so the layers settle one after the other. A layer that a direct frame
    drives evenly lacks no more than what T steps are too few for. Pools follow at once.
    """
    settled: list[int] = []
    for layer in network.layers:
        after = max((settled[s.source] for s in layer.synapses if s.source != INPUT), default=0)
        zmax = 0 if layer.neuron is None else layer.neuron.zmax or 0
        even = network.input.code is InputCode.DIRECT and layer.synapses[0].source == INPUT
        settled.append(after + (max(0, zmax - steps) if even else zmax))
    return settled[-1]
