"""What a network is made of, in plain words: its neurons, input code, time and output."""

from __future__ import annotations

from spikewright.network import InputCode, Layer, Network
from spikewright.network.neuron import (
    Negative,
    NeuronModel,
    NeuronSpec,
    Reset,
    Rounding,
    Tie,
    Window,
)

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
    NeuronModel.MAX_POOL: "event max pool (QFFS)",
    NeuronModel.INTEGRATOR: "integrator",
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
    words = ["average pool without gate (Ca-LIF)" if average else _MODELS[spec.model]]
    if spec.smax > 1:
        words.append(f"up to {spec.smax} spikes a step")
    if spec.model is NeuronModel.BUFFERED:
        words.append(
            {
                Negative.NONE: "none taken back",
                Negative.BELOW_ZERO: "taken back below zero",
                Negative.AT_THRESHOLD: "taken back at the negative threshold",
            }[spec.negative]
        )
    if spec.zmax is not None:
        words.append(f"counts up to {spec.zmax}")
    if spec.model is NeuronModel.CALCIUM:
        words.append(
            {
                Rounding.NONE: "no rounding phase",
                Rounding.ONE: "rounded by one spike",
                Rounding.DRAIN: "rounded until drained",
            }[spec.rounding]
        )
    if spec.model is NeuronModel.TSC:
        words.append("a window per layer" if spec.window is Window.PER_LAYER else "overlapped")
        if spec.latch:
            words.append("at most one pair")
    if spec.reset is Reset.ZERO:
        words.append("reset to zero")
    if spec.tie is Tie.HOLDS and not spec.switches:
        words.append("silent at the threshold")
    elif spec.tie is Tie.FIRES and spec.switches:
        words.append("firing at the threshold")
    return ", ".join(words)


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
