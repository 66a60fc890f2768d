"""Seeded random networks and frames whose neurons neither sleep nor saturate.

A random threshold gives a layer that fires always or never, in which a fault hides. Here each
threshold is found by bisection on the currents that random frames cause, so that a layer's spike
rate (spikes per neuron and step) comes near a drawn target between 0.15 and 0.5.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ..network import InputSpec, Layer, Network, NeuronModel, NeuronSpec, Pool, Synapse, Tie
from .golden import Golden

__all__ = ["STYLES", "random_frames", "random_network", "reweighted", "spike_rates"]

Ints = npt.NDArray[np.int64]
Range = tuple[int, int]
Shape = tuple[int, int, int]

STYLES = ("dense", "conv", "mixed")
"""Fully connected layers only, convolutions only (in front of a dense last layer), or both."""

_TRIALS = 200
_CALIBRATION = 12


def random_network(
    rng: np.random.Generator,
    *,
    max_layers: int = 4,
    style: str | None = None,
    steps: Range = (1, 9),
    weight_bits: Range = (2, 8),
    channels: Range = (1, 33),
    side: Range = (1, 13),
    kernel: Range = (1, 5),
    stride: Range = (1, 3),
    input_bits: Range = (1, 8),
    groups: int = 1,
    size: int = 20_000,
    membrane_bits: int = 30,
) -> Network:
    """A network of 1 to `max_layers` layers, the last a dense integrator of `channels` outputs.

    Every range includes both ends. `side` bounds height and width of the frame, `groups` the
    synapse groups of a layer. `size` bounds the additions and neuron updates of an image, if half
    of the neurons fire in every step: about the clocks of a hardware with one lane.
    `membrane_bits` bounds :attr:`~spikewright.network.Network.membrane_bits`. Raises ValueError
    where no network of these bounds is found.
    """
    for trial in range(_TRIALS):
        # Later trials draw smaller networks, so that the search ends.
        most = max(channels[0], round(channels[1] * 0.97**trial))
        widest = max(side[0], round(side[1] * 0.97**trial))
        network = _untuned(
            rng,
            style or str(rng.choice(STYLES)),
            layers=_between(rng, (1 if rng.random() < 0.1 else min(2, max_layers), max_layers)),
            steps=_between(rng, steps),
            bits=_between(rng, weight_bits),
            channels=(channels[0], most),
            side=(side[0], widest),
            kernel=kernel,
            stride=stride,
            input_bits=_between(rng, input_bits),
            groups=groups,
        )
        if _work(network) > size:
            continue
        network = _tuned(rng, network)
        if network.membrane_bits <= membrane_bits:
            return network
    raise ValueError(f"no random network of size {size} and {membrane_bits} membrane bits found")


def random_frames(rng: np.random.Generator, network: Network, n: int) -> npt.NDArray[np.uint8]:
    """`n` frames ``(n, C, H, W)``: gradients with noise over the full range of pixels.

    Of four or more, the last but one is all zero and the last all maximum.
    """
    channels, height, width = network.input.shape
    maximum = network.input.maximum
    y, x = np.linspace(-1, 1, height)[:, None], np.linspace(-1, 1, width)[None, :]
    slopes = rng.normal(0, 1, (3, n, channels, 1, 1))
    smooth = slopes[0] * y + slopes[1] * x + slopes[2]
    level = 0.5 + 0.25 * smooth + rng.normal(0, 0.3, (n, channels, height, width))
    frames = np.clip(np.rint(level * maximum), 0, maximum).astype(np.uint8)
    if n >= 4:
        frames[-2:] = 0
        frames[-1] = maximum
    return frames


def spike_rates(network: Network, frames: npt.NDArray[np.uint8]) -> list[float]:
    """Spikes per neuron, step and frame of each firing layer."""
    counts = Golden(network).run(frames).spike_counts
    return [float(count.mean()) / network.steps for count in counts]


def reweighted(rng: np.random.Generator, network: Network) -> Network:
    """Other numbers in the same hardware: shapes, steps, shifts, ties and widths stay.

    Neither `weight_bits`, `membrane_bits` nor `current_bits` of the result exceeds those of
    `network`: the weights of each output channel are shuffled and shrunk, which keeps its sums of
    positive and of negative weights within the old ones.
    """
    layers = []
    for layer in network.layers:
        order = rng.permutation(layer.shape[0])
        synapses = tuple(replace(s, weight=_shuffled(rng, s.weight[order])) for s in layer.synapses)
        layers.append(
            replace(
                layer,
                synapses=synapses,
                threshold=layer.threshold[order],
                bias=layer.bias[order],
                initial=layer.initial[order],
                unit=layer.unit[order],
            )
        )
    shuffled = replace(network, layers=tuple(layers))
    tuned = _tuned(rng, shuffled, flip=False)
    return tuned if tuned.membrane_bits <= network.membrane_bits else shuffled


# ------------------------------------------------------------------------------------------ drawing


def _between(rng: np.random.Generator, bounds: Range) -> int:
    return int(rng.integers(bounds[0], bounds[1] + 1))


def _few(rng: np.random.Generator, bounds: Range) -> int:
    """Log-uniform within `bounds`: small numbers are as likely as large ones."""
    low, high = bounds
    return min(high, int(math.exp(rng.uniform(math.log(low), math.log(high + 1)))))


def _untuned(
    rng: np.random.Generator,
    style: str,
    *,
    layers: int,
    steps: int,
    bits: int,
    channels: Range,
    side: Range,
    kernel: Range,
    stride: Range,
    input_bits: int,
    groups: int,
) -> Network:
    """Shapes and weights; thresholds of 1, no bias."""
    shape = (_between(rng, (1, 3)), _between(rng, side), _between(rng, side))
    spec = InputSpec(shape, input_bits)
    made: list[Layer] = []
    for index in range(layers):
        last = index == layers - 1
        dense = last or style == "dense" or (style == "mixed" and rng.random() < 0.5)
        geometry = _geometry(rng, shape, index - 1, dense, kernel, stride)
        outputs = _few(rng, channels)
        synapses = tuple(
            replace(
                geometry,
                weight=_weights(rng, bits, (outputs, *geometry.weight.shape[1:])),
                shift=int(rng.choice([0, 0, 1, 3])),
            )
            for _ in range(_between(rng, (1, groups)))
        )
        shape = synapses[0].output_shape(shape)
        model = NeuronModel.INTEGRATOR if last else NeuronModel.IF
        made.append(
            Layer(
                f"{'dense' if dense else 'conv'}{index}",
                NeuronSpec(model, Tie.FIRES if last or rng.random() < 0.5 else Tie.HOLDS),
                shape,
                synapses,
                threshold=np.zeros(outputs, np.int64) + (not last),
                bias=np.zeros(outputs, np.int64),
                initial=np.zeros(outputs, np.int64),
            )
        )
    return Network(spec, steps, bits, tuple(made))


def _geometry(
    rng: np.random.Generator, shape: Shape, source: int, dense: bool, kernel: Range, stride: Range
) -> Synapse:
    """One synapse group on a source of `shape`, its weights still empty."""
    pool = (1, 1)
    if rng.random() < 0.4:
        pool = (_between(rng, (1, min(3, shape[1]))), _between(rng, (1, min(3, shape[2]))))
    pooled = (shape[1] // pool[0], shape[2] // pool[1])
    if dense:
        return Synapse(source, np.zeros((1, shape[0], *pooled), np.int64), pool=Pool(pool))
    sizes, paddings, strides = [], [], []
    for n in pooled:
        size = _between(rng, kernel)
        least = max(0, -((n - size) // 2))
        if least >= size:
            size, least = n, 0
        sizes.append(size)
        paddings.append(_between(rng, (least, max(least, min(size - 1, 2)))))
        strides.append(_between(rng, stride))
    return Synapse(
        source,
        np.zeros((1, shape[0], sizes[0], sizes[1]), np.int64),
        (strides[0], strides[1]),
        (paddings[0], paddings[1]),
        Pool(pool),
    )


def _weights(rng: np.random.Generator, bits: int, shape: tuple[int, ...]) -> Ints:
    """Uniform, sparse or only the two extremes: each finds other faults."""
    limit = 2 ** (bits - 1) - 1
    weight = rng.integers(-limit, limit + 1, shape)
    kind = rng.random()
    if kind < 0.2:
        weight = weight * (rng.random(shape) < 0.5)
    elif kind < 0.3:
        weight = np.where(weight < 0, -limit, limit)
    return weight.astype(np.int64)


def _shuffled(rng: np.random.Generator, weight: Ints) -> Ints:
    rows = rng.permuted(weight.reshape(len(weight), -1), axis=1)
    shrunk = np.sign(rows) * rng.integers((np.abs(rows) + 1) // 2, np.abs(rows) + 1)
    return shrunk.reshape(weight.shape).astype(np.int64)


def _work(network: Network) -> int:
    """Additions and neuron updates of an image, if half of the neurons fire in every step."""
    full = np.full((1, *network.input.shape), network.input.maximum // 3, np.uint8)
    result = Golden(_always_firing(network)).run(full)
    synaptic = sum(
        int(n[0]) // (1 if network.direct(layer) else 2)
        for n, layer in zip(result.synaptic_operations, network.layers, strict=True)
    )
    return synaptic + sum(result.scan_operations)


def _always_firing(network: Network) -> Network:
    """The same shapes without weights, every neuron firing in every step."""
    layers = []
    for layer in network.layers:
        synapses = tuple(replace(s, weight=np.zeros_like(s.weight)) for s in layer.synapses)
        ones = np.ones_like(layer.bias)
        layers.append(replace(layer, synapses=synapses, threshold=ones, bias=2 * ones))
    return replace(network, layers=tuple(layers))


# -------------------------------------------------------------------------------------- calibration


def _tuned(rng: np.random.Generator, network: Network, *, flip: bool = True) -> Network:
    """`network` with calibrated thresholds, layer after layer.

    With `flip`, the weights of an output channel whose mean current is negative change sign, and
    each gets a bias; without, weights and biases stay.
    """
    frames = random_frames(rng, network, _CALIBRATION)
    layers: list[Layer] = []
    for layer in network.layers:
        if flip:
            layer = _balanced(rng, layer, _drive(network, layers, layer, frames))
        if layer.neuron.fires:
            layer = _with_threshold(rng, layer, _drive(network, layers, layer, frames))
        layers.append(layer)
    return replace(network, layers=tuple(layers))


def _drive(
    network: Network, before: Sequence[Layer], layer: Layer, frames: npt.NDArray[np.uint8]
) -> Ints:
    """Current plus bias of every step, ``(N, T, C, H, W)``, of `layer` behind `before`."""
    integrator = replace(
        layer, neuron=NeuronSpec(NeuronModel.INTEGRATOR), initial=np.zeros_like(layer.initial)
    )
    probe = replace(network, layers=(*before, integrator))
    trace = Golden(probe).run(frames, trace=True).trace
    assert trace is not None
    return np.diff(trace[-1].membranes, axis=1, prepend=0)


def _balanced(rng: np.random.Generator, layer: Layer, drive: Ints) -> Layer:
    """Mean currents made positive by sign flips, and a bias of a fraction of their spread."""
    mean, spread = drive.mean((0, 1, 3, 4)), drive.std((0, 1, 3, 4))
    sign = np.where(mean < 0, -1, 1)
    bias = np.rint(rng.uniform(-0.2, 0.5, len(sign)) * (spread + 1)).astype(np.int64)
    bias += ((mean == 0) & (spread == 0)).astype(np.int64)
    synapses = tuple(
        replace(s, weight=s.weight * sign[:, None, None, None]) for s in layer.synapses
    )
    initial = np.zeros_like(bias)
    if not layer.neuron.fires:
        initial = np.rint(rng.uniform(-1, 1, len(sign)) * (spread + 1)).astype(np.int64)
    return replace(layer, synapses=synapses, bias=bias, initial=initial)


def _with_threshold(rng: np.random.Generator, layer: Layer, drive: Ints) -> Layer:
    """Thresholds that bring each channel's spike rate under `drive` nearest to a drawn target."""
    channels = layer.shape[0]
    target = rng.uniform(0.15, 0.5) * rng.uniform(0.7, 1.3, channels)
    # V(0) as a fraction of the threshold: half of it as after conversion, nothing, or anything.
    kinds = rng.choice(3, channels, p=[0.5, 0.2, 0.3])
    fraction = np.choose(kinds, [0.5, 0.0, rng.uniform(-0.4, 0.9, channels)])

    def state(threshold: Ints) -> Ints:
        return np.floor(fraction * threshold).astype(np.int64)

    def rate(threshold: Ints) -> npt.NDArray[np.float64]:
        return _rates(drive, threshold, state(threshold), layer.neuron.tie)

    # The rate exceeds the target at `low` (or low is 1) and does not at `high`.
    low = np.ones(channels, np.int64)
    high = 2 + 4 * np.abs(drive).sum(1).max((0, 2, 3))
    while (high - low > 1).any():
        middle = (low + high) // 2
        above = rate(middle) > target
        low, high = np.where(above, middle, low), np.where(above, high, middle)
    nearer = np.abs(rate(low) - target) <= np.abs(rate(high) - target)
    threshold = np.where(nearer, low, high)
    return replace(layer, threshold=threshold, initial=state(threshold))


def _rates(drive: Ints, threshold: Ints, initial: Ints, tie: Tie) -> npt.NDArray[Any]:
    """Spike rate of each channel of IF neurons under `drive`."""
    threshold, initial = threshold[:, None, None], initial[:, None, None]
    membrane = np.zeros_like(drive[:, 0]) + initial
    spikes = np.zeros(len(threshold))
    for step in range(drive.shape[1]):
        membrane = membrane + drive[:, step]
        fired = membrane >= threshold if tie is Tie.FIRES else membrane > threshold
        membrane = membrane - fired * threshold
        spikes += fired.mean((0, 2, 3))
    return spikes / drive.shape[1]
