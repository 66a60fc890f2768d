"""Neurons under currents that are drawn at random, alone and in chains of layers."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from spikewright.network import InputCode, InputSpec, Layer, Network, Synapse
from spikewright.network.neuron import NeuronSpec
from spikewright.sim.golden.neurons import fire

__all__ = ["NEURONS", "STEPS", "THRESHOLD", "Ints", "Run", "agreement", "chain", "currents", "run"]

Ints = npt.NDArray[np.int64]

STEPS = 16
THRESHOLD = 16
NEURONS = 20_000


@dataclass(frozen=True)
class Run:
    """Neurons after all their steps: V and y, ``(neurons,)``, and n of every step in `spikes`."""

    membrane: Ints
    count: Ints
    spikes: Ints


def run(
    spec: NeuronSpec,
    drive: Ints,
    threshold: int = THRESHOLD,
    *,
    initial: int = 0,
    settle: int = 0,
    final: bool = False,
) -> Run:
    """Neurons of `spec` under `drive`, current and bias ``(T, neurons)``, then `settle` steps
    without, and with `final` the final step."""
    silence = np.zeros((settle + final, *drive.shape[1:]), np.int64)
    membrane = np.full(drive.shape[1:], initial, np.int64)
    count = np.zeros_like(membrane)
    steps = [*drive, *silence]
    spikes = np.zeros((len(steps), *membrane.shape), np.int64)
    for step, current in enumerate(steps):
        membrane += current
        spikes[step] = fire(
            spec,
            membrane,
            np.array(threshold),
            count,
            final=final and step == len(steps) - 1,
            most=len(drive) - 1,
        )
    return Run(membrane, count, spikes)


def currents(
    rng: np.random.Generator,
    reach: float,
    *,
    steps: int = STEPS,
    threshold: int = THRESHOLD,
    bias: int = 0,
) -> Ints:
    """Currents ``(steps, NEURONS)`` drawn evenly from +-`reach` thresholds, plus `bias`."""
    most = int(reach * threshold)
    return rng.integers(-most, most + 1, (steps, NEURONS)) + bias


def agreement(found: Any, expected: Any) -> float:
    """How many of `found` are as `expected`, of 1."""
    return float(np.mean(found == expected))


def chain(
    spec: NeuronSpec, weights: Sequence[Ints], threshold: int, steps: int, settle: int = 0
) -> Network:
    """Dense layers of `spec` behind raw events, the last one's counts as output."""
    layers = []
    for index, weight in enumerate(weights):
        zeros = np.zeros(len(weight), np.int64)
        half = zeros + threshold // 2 * (spec.zmax is not None)
        synapse = Synapse(index - 1, weight[:, :, None, None])
        layers.append(
            Layer(
                f"layer{index}",
                spec,
                (len(weight), 1, 1),
                (synapse,),
                threshold=zeros + threshold,
                bias=zeros,
                initial=half,
            )
        )
    source = InputSpec((weights[0].shape[1], 1, 1), 1, code=InputCode.EVENTS)
    return Network(source, steps + settle + spec.final, 4, tuple(layers), steps)
