"""From the value that leaves the graph to the layers of the float network."""

from collections.abc import Mapping, Sequence

import numpy as np

from spikewright.errors import SpikewrightError
from spikewright.network import (
    INPUT,
    Activation,
    ActivationKind,
    FloatLayer,
    FloatSynapse,
    InputSpec,
)
from spikewright.sw.frontend.merge import Average, Linear, merge
from spikewright.sw.frontend.site import Floats
from spikewright.sw.frontend.values import Branch, Neurons, Shape, Squash, Value

__all__ = ["layers_of"]

_Sum = tuple[tuple[Branch, ...], Squash | None]


def layers_of(output: Value, spec: InputSpec) -> tuple[FloatLayer, ...]:
    """One layer for every activation, and the last one where none stands at the end."""
    neurons = _needed(output.terms)
    sums: list[_Sum] = [(n.branches, n.squash) for n in neurons]
    if len(output.terms) > 1 or not output.terms[0].bare:
        sums.append((output.terms, None))
    operations = [op for branches, _ in sums for branch in branches for op in branch.operations]
    if not any(isinstance(operation, (Linear, Average)) for operation in operations):
        raise SpikewrightError(
            "module: has no linear layer; give a network with at least one Conv2d or Linear"
        )
    places: dict[Neurons | None, int] = {None: INPUT, **{n: i for i, n in enumerate(neurons)}}
    layers: list[FloatLayer] = []
    shapes = {INPUT: spec.shape}
    for index, (branches, squash) in enumerate(sums):
        groups = [_group(branch, places[branch.source], shapes, spec) for branch in branches]
        synapses = tuple(synapse for synapse, _ in groups)
        shapes[index] = synapses[0].output_shape(shapes[synapses[0].source])
        name = _unique(_layer_name(branches, squash, output), [layer.name for layer in layers])
        bias = np.sum([bias for _, bias in groups], axis=0)
        activation = _activation(squash, len(bias))
        layers.append(FloatLayer(name, shapes[index], synapses, bias, activation))
    return tuple(layers)


def _needed(branches: tuple[Branch, ...]) -> list[Neurons]:
    """The neurons that `branches` come from, sources first."""
    found: dict[Neurons, None] = {}
    waiting = [branches]
    while waiting:
        for branch in waiting.pop():
            if branch.source is not None and branch.source not in found:
                found[branch.source] = None
                waiting.append(branch.source.branches)
    return sorted(found, key=lambda neurons: neurons.depth)


def _group(
    branch: Branch, source: int, shapes: Mapping[int, Shape], spec: InputSpec
) -> tuple[FloatSynapse, Floats]:
    """The synapses and the bias that equal `branch` on layer `source`, or on the input."""
    pool, linear = merge(branch.operations, shapes[source], branch.maxima)
    if source == INPUT and linear.padding != (0, 0) and any(spec.mean):
        raise SpikewrightError(
            f"{linear.where}: pads zeros around an input of mean {spec.mean} pixel steps, and "
            "a mean under zero padding is not exact; set padding=0 or use a mean of 0"
        )
    synapse = FloatSynapse(source, linear.weight, linear.stride, linear.padding, pool)
    return synapse, linear.bias


def _layer_name(branches: tuple[Branch, ...], squash: Squash | None, output: Value) -> str:
    """The path of the first operation with weights of its own, else of what there is."""
    steps = [step for branch in branches for step in (*branch.maxima, *branch.operations)]
    weighted = [
        step
        for step in steps
        if isinstance(step, Linear) and not (step.depthwise and step.is_pointwise)
    ]
    names = [step.where for step in (*weighted, *steps, squash) if step is not None]
    return [*names, output.where][0].split(" ")[0]


def _unique(name: str, taken: Sequence[str]) -> str:
    """A module that is used twice gives two layers."""
    candidate, use = name, 1
    while candidate in taken:
        use += 1
        candidate = f"{name}:{use}"
    return candidate


def _activation(squash: Squash | None, channels: int) -> Activation:
    if squash is None:
        return Activation(ActivationKind.NONE)
    threshold = None if squash.threshold is None else np.full(channels, squash.threshold)
    return Activation(squash.kind, threshold, squash.levels, squash.smax)
