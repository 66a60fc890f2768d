"""What a network is made of, in plain words: its neurons, input code, time and output."""

from __future__ import annotations

from spikewright.network import InputCode, Layer, Network
from spikewright.network.neuron import Negative, NeuronModel, NeuronSpec, Reset, Rounding, Tie

__all__ = ["describe"]

_CODES = {
    InputCode.DIRECT: "direct, every pixel's signed digits integrated once",
    InputCode.ISI: "ISI, a pixel's spikes at equal distances",
    InputCode.TSC: "TSC, a pair of spikes that encloses a pixel's number of steps",
    InputCode.BERNOULLI: "Bernoulli, a spike with a pixel's probability (Poisson in steps)",
    InputCode.EVENTS: "raw events from the host",
}

_MODELS = {
    NeuronModel.IF: "IF",
    NeuronModel.BUFFERED: "buffered IF (HPC)",
    NeuronModel.BOUNDED: "bounded signed IF (QFFS)",
    NeuronModel.CALCIUM: "Ca-LIF",
    NeuronModel.TSC: "TSC",
    NeuronModel.BURST: "burst (the quantised ANN in one step)",
    NeuronModel.MAX_POOL: "event max pool (QFFS)",
    NeuronModel.INTEGRATOR: "integrator",
}

_TAKEN_BACK = {
    Negative.NONE: "none taken back",
    Negative.BELOW_ZERO: "taken back below zero",
    Negative.AT_THRESHOLD: "taken back at the negative threshold",
}

_ROUNDED = {
    Rounding.NONE: "no rounding phase",
    Rounding.ONE: "rounded by one spike",
    Rounding.DRAIN: "rounded until drained",
}


def describe(network: Network) -> dict[str, str]:
    """One line each for ``neurons``, ``code``, ``time`` and ``output``."""
    firing = [layer for layer in network.layers if layer.neuron.fires]
    kinds = list(dict.fromkeys(_neuron(layer.neuron) for layer in firing))
    code = _CODES[network.input.code]
    if network.input.code is InputCode.BERNOULLI:
        code += f", seed {network.input.seed}"
    return {
        "neurons": "; ".join(kinds) or "none",
        "code": code,
        "time": _time(network),
        "output": _output(network.layers[-1]),
    }


def _neuron(spec: NeuronSpec) -> str:
    average = spec.model is NeuronModel.CALCIUM and not spec.gated
    name = "average pool without gate (Ca-LIF)" if average else _MODELS[spec.model]
    said = {
        f"up to {spec.smax} spikes a step": spec.smax > 1,
        _TAKEN_BACK[spec.negative]: spec.model is NeuronModel.BUFFERED,
        f"counts up to {spec.zmax}": spec.zmax is not None,
        f"up to {spec.levels} at once": spec.levels is not None,
        _ROUNDED[spec.rounding]: spec.model is NeuronModel.CALCIUM,
        "a window per layer": spec.codes,
        "overlapped": spec.switches,
        "at most one pair": spec.latch,
        "reset to zero": spec.reset is Reset.ZERO,
        "silent at the threshold": spec.tie is Tie.HOLDS and not spec.switches,
        "firing at the threshold": spec.tie is Tie.FIRES and spec.switches,
    }
    return ", ".join([name, *(words for words, true in said.items() if true)])


def _time(network: Network) -> str:
    driven = network.input_steps
    if any(layer.neuron.codes for layer in network.layers):
        return f"a window of {driven} steps for each layer"
    words = f"{driven} step{'s' * (driven > 1)} with input"
    settle = network.ordinary_steps - driven
    if settle:
        words += f", {settle} to settle"
    if any(layer.neuron.rounding is not Rounding.NONE for layer in network.layers):
        words += ", then the rounding phase"
    return words


def _output(layer: Layer) -> str:
    return f"{'counts' if layer.neuron.fires else 'potentials'} of {layer.name}"
