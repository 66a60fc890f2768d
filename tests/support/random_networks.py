"""Seeded random networks and frames whose neurons neither sleep nor saturate, of any neuron model.

A random threshold gives a layer that fires always or never, in which a fault hides. Here each
threshold is found by bisection on the currents that random frames cause, so that what a layer sends
comes near a drawn share, between 0.15 and 0.5, of what it could.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from spikewright.machine.scans import count_bits
from spikewright.network import (
    INPUT,
    InputCode,
    InputSpec,
    Layer,
    Network,
    NeuronModel,
    NeuronSpec,
    Pool,
    PoolKind,
    Synapse,
    Tie,
    scans,
)
from spikewright.network.neuron import Negative, Reset, Rounding, Window
from spikewright.sim.golden.encoders import signed_digits
from spikewright.sim.golden.model import Golden
from spikewright.sim.golden.neurons import fire
from spikewright.sim.golden.synapses import reach

__all__ = ["NEURONS", "STYLES", "Bounds", "random_frames", "random_network", "reweighted"]
__all__ += ["spike_rates"]

Ints = npt.NDArray[np.int64]
Range = tuple[int, int]
Shape = tuple[int, int, int]

STYLES = ("dense", "conv", "mixed")
"""Fully connected layers only, convolutions only (in front of a dense last layer), or both."""

NEURONS = ("if", "hpc", "qffs", "ca-lif", "pool", "tsc", "tsc-overlapped", "max-pool")
"""What fires: one of the papers' neurons throughout, with choices of its own in each layer; or
average-pool or max-pool neurons behind layers of other models."""

_TRIALS = 200
_CALIBRATION = 12


@dataclass(frozen=True)
class Bounds:
    """What a random network may be like; every range includes both ends.

    It has 1 to `max_layers` layers, the last a dense integrator of `channels` outputs. `steps`
    bounds the steps with input, `side` height and width of the frame, `groups` the synapse groups
    of a layer. `size` bounds the additions and neuron updates of an image, if half of the neurons
    fire in every step: about the clocks of a hardware with one lane. `membrane_bits` bounds
    that of the network's ranges. `neuron` is one of `NEURONS`; those that pool need three layers,
    and no ``dense`` style. With `firing_output` the last layer fires, if its model can count.
    """

    max_layers: int = 4
    style: str | None = None
    steps: Range = (1, 9)
    weight_bits: Range = (2, 8)
    channels: Range = (1, 33)
    side: Range = (1, 13)
    kernel: Range = (1, 5)
    stride: Range = (1, 3)
    input_bits: Range = (1, 8)
    groups: int = 1
    size: int = 20_000
    membrane_bits: int = 30
    neuron: str = "if"
    code: InputCode = InputCode.DIRECT
    firing_output: bool = False

    @property
    def pools(self) -> bool:
        """Whether layers that pool are wanted."""
        return self.neuron in ("pool", "max-pool")


def random_network(rng: np.random.Generator, **bounds: Any) -> Network:
    """A network within `bounds`, the fields of :class:`Bounds`.

    Raises ValueError where no network of these bounds is found.
    """
    wanted = Bounds(**bounds)
    if wanted.neuron not in (*NEURONS, "burst"):
        raise ValueError(f"neuron {wanted.neuron!r} is not one of {', '.join(NEURONS)}")
    for trial in range(_TRIALS):
        # Later trials draw smaller networks, so that the search ends.
        smaller: dict[str, Any] = {
            name: (low, max(low, round(high * 0.97**trial)))
            for name, (low, high) in (("channels", wanted.channels), ("side", wanted.side))
        }
        network = _untuned(rng, replace(wanted, **smaller))
        pooled = any(map(_pools, network.layers))
        if _work(network) <= wanted.size and (pooled or not wanted.pools):
            network = _tuned(rng, network)
            if network.ranges.membrane_bits <= wanted.membrane_bits:
                return network
    raise ValueError(
        f"no random network of size {wanted.size} and {wanted.membrane_bits} membrane bits found"
    )


def random_frames(rng: np.random.Generator, network: Network, n: int) -> npt.NDArray[np.uint8]:
    """`n` frames ``(n, C, H, W)``: gradients with noise over the full range of pixels.

    Raw events are drawn with the probabilities that these are. Of four or more frames, the last but
    one is all zero and the last all maximum.
    """
    channels, height, width = network.frame_shape
    maximum = network.input.maximum
    y, x = np.linspace(-1, 1, height)[:, None], np.linspace(-1, 1, width)[None, :]
    slopes = rng.normal(0, 1, (3, n, channels, 1, 1))
    smooth = slopes[0] * y + slopes[1] * x + slopes[2]
    level = 0.5 + 0.25 * smooth + rng.normal(0, 0.3, (n, channels, height, width))
    if network.input.code is InputCode.EVENTS:
        level = np.where(rng.random(level.shape) < level, 1.0, 0.0)
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
    """Other numbers in the same hardware: shapes, steps, shifts, neurons and widths stay.

    No width of the result exceeds that of `network`, nor does the number of scans of a final step:
    the weights of each output channel are shuffled and shrunk, which keeps its sums of positive and
    of negative weights within the old ones. Pooling neurons stay as they are.
    """
    layers = (layer if _pools(layer) else _other_numbers(rng, layer) for layer in network.layers)
    shuffled = replace(network, layers=tuple(layers))
    tuned = _tuned(rng, shuffled, flip=False)
    return tuned if _fits(tuned, network) else shuffled


def _other_numbers(rng: np.random.Generator, layer: Layer) -> Layer:
    order = rng.permutation(layer.shape[0])
    synapses = tuple(replace(s, weight=_shuffled(rng, s.weight[order])) for s in layer.synapses)
    each = ("threshold", "bias", "initial", "unit")
    return replace(layer, synapses=synapses, **{name: getattr(layer, name)[order] for name in each})


def _fits(network: Network, other: Network) -> bool:
    """Whether `network` runs on what was built for `other`, which differs in numbers only."""
    narrow = all(
        getattr(network.ranges, name) <= getattr(other.ranges, name)
        for name in ("membrane_bits", "compare_bits", "current_bits")
    )
    indices = range(len(network.layers))
    narrow = narrow and count_bits(network) <= count_bits(other)
    return narrow and all(scans(network, i)[1] <= scans(other, i)[1] for i in indices)


# ------------------------------------------------------------------------------------------ drawing


def _between(rng: np.random.Generator, bounds: Range) -> int:
    return int(rng.integers(bounds[0], bounds[1] + 1))


def _few(rng: np.random.Generator, bounds: Range) -> int:
    """Log-uniform within `bounds`: small numbers are as likely as large ones."""
    low, high = bounds
    return min(high, int(math.exp(rng.uniform(math.log(low), math.log(high + 1)))))


def _untuned(rng: np.random.Generator, wanted: Bounds) -> Network:
    """Shapes, weights and neurons; thresholds of 1, no bias."""
    style = wanted.style or str(rng.choice(STYLES))
    fewest = 1 if rng.random() < 0.1 else min(2, wanted.max_layers)
    layers = max(3 if wanted.pools else 1, _between(rng, (fewest, wanted.max_layers)))
    steps, bits = _between(rng, wanted.steps), _between(rng, wanted.weight_bits)
    steps = 1 if wanted.neuron == "burst" else steps
    input_bits = _between(rng, wanted.input_bits)
    shape = (_between(rng, (1, 3)), _between(rng, wanted.side), _between(rng, wanted.side))
    seed = int(rng.integers(1, 2**32)) if wanted.code is InputCode.BERNOULLI else 1
    input_bits = 1 if wanted.code is InputCode.EVENTS else input_bits
    spec = InputSpec(shape, input_bits, code=wanted.code, seed=seed)
    made: list[Layer] = []
    for index in range(layers):
        last = index == layers - 1
        if wanted.pools and _poolable(made) and not last and rng.random() < 0.8:
            layer = _pooling(rng, wanted.neuron, index, made[-1])
        else:
            dense = last or style == "dense" or (style == "mixed" and rng.random() < 0.5)
            layer = _layer(rng, wanted, index, shape, bits, dense=dense, last=last)
        made.append(layer)
        shape = layer.shape
    return Network(spec, steps + _after(rng, wanted, made), bits, tuple(made), steps)


def _layer(
    rng: np.random.Generator,
    wanted: Bounds,
    index: int,
    source: Shape,
    bits: int,
    *,
    dense: bool,
    last: bool,
) -> Layer:
    """Layer `index` behind one of the shape `source`."""
    geometry = _geometry(rng, source, index - 1, dense, wanted.kernel, wanted.stride)
    outputs = _few(rng, wanted.channels)
    synapses = tuple(
        replace(
            geometry,
            weight=_weights(rng, bits, (outputs, *geometry.weight.shape[1:])),
            shift=int(rng.choice([0, 0, 1, 3])),
        )
        for _ in range(_between(rng, (1, wanted.groups)))
    )
    shape = synapses[0].output_shape(source)
    fires = not last or (wanted.firing_output and wanted.neuron != "tsc-overlapped")
    neuron = _neuron(rng, wanted.neuron) if fires else NeuronSpec.integrator()
    zeros = np.zeros(outputs, np.int64)
    name = f"{'dense' if dense else 'conv'}{index}"
    return Layer(name, neuron, shape, synapses, zeros + fires, zeros, zeros)


def _after(rng: np.random.Generator, wanted: Bounds, layers: Sequence[Layer]) -> int:
    """Steps without input: a final one, or time to settle, as QFFS has it."""
    if any(layer.neuron.final for layer in layers):
        return 1
    if wanted.neuron in ("if", "burst"):
        return 0
    most = max(layer.neuron.zmax or 0 for layer in layers)
    return int(rng.integers(0, max(2, most) + 1) * (rng.random() < 0.6))


def _neuron(rng: np.random.Generator, model: str) -> NeuronSpec:
    """Any choice that `model` has; a pooling model stands for those in front of its pools."""
    tie = Tie.FIRES if rng.random() < 0.5 else Tie.HOLDS
    smax = int(rng.choice([1, 2, 4, 8]))
    before = {"pool": ["if", "ca-lif"], "max-pool": ["if", "hpc", "qffs", "ca-lif"]}
    if model in before:
        model = str(rng.choice(before[model]))
    match model:
        case "if":
            return NeuronSpec.plain(tie, Reset.ZERO if rng.random() < 0.15 else Reset.SUBTRACT)
        case "hpc":
            return NeuronSpec.buffered(smax, _one_of(rng, Negative), tie)
        case "qffs":
            return NeuronSpec.bounded(int(rng.choice([1, 2, 3, 7, 15])), tie)
        case "ca-lif":
            zmax = int(rng.choice([1, 3, 7, 15])) if rng.random() < 0.25 else None
            return NeuronSpec.calcium(smax, _one_of(rng, Rounding), zmax=zmax, tie=tie)
        case "tsc":
            return NeuronSpec.tsc(tie=tie)
        case "burst":
            return NeuronSpec.burst(int(rng.choice([1, 3, 5, 7, 8, 15])))
        case "tsc-overlapped":
            return NeuronSpec.tsc(Window.OVERLAPPED, latch=rng.random() < 0.5, tie=tie)
    raise ValueError(f"no neuron {model!r}")


def _one_of(rng: np.random.Generator, kind: Any) -> Any:
    return list(kind)[int(rng.integers(len(kind)))]


def _poolable(layers: Sequence[Layer]) -> bool:
    """Whether the last of `layers` has something to pool."""
    return bool(layers) and not _pools(layers[-1]) and max(layers[-1].shape[1:]) > 1


def _pools(layer: Layer) -> bool:
    """Whether it is a layer of average-pool or max-pool neurons."""
    spec = layer.neuron
    ungated = spec.model is NeuronModel.CALCIUM and not spec.gated
    return ungated or spec.model is NeuronModel.MAX_POOL


def _pooling(rng: np.random.Generator, kind: str, index: int, source: Layer) -> Layer:
    """A layer of average-pool or max-pool neurons behind `source`."""
    channels, *sides = source.shape
    size = [_between(rng, (min(2, n), min(3, n))) for n in sides]
    identity = np.eye(channels, dtype=np.int64)[:, :, None, None]
    threshold = np.ones(channels, np.int64)
    if kind == "max-pool":
        spec = NeuronSpec.max_pool(source.neuron.smax)
        pool = Pool((size[0], size[1]), PoolKind.MAX)
    else:
        threshold *= size[0] * size[1]
        tie = Tie.FIRES if rng.random() < 0.5 else Tie.HOLDS
        smax = int(rng.choice([1, 2, 4]))
        spec = NeuronSpec.calcium(smax, _one_of(rng, Rounding), gated=False, tie=tie)
        pool = Pool((size[0], size[1]))
    synapse = Synapse(index - 1, identity, pool=pool)
    zeros = np.zeros(channels, np.int64)
    shape = synapse.output_shape(source.shape)
    return Layer(f"{kind}{index}", spec, shape, (synapse,), threshold, zeros, zeros)


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
    events = network.input_steps / 2
    if network.input.code is InputCode.DIRECT:
        events = int(signed_digits(np.array([network.input.maximum // 3]))[0])
    elif network.input.code is InputCode.TSC:
        events = 2
    total = 0.0
    for layer in network.layers:
        for synapse in layer.synapses:
            if synapse.source != INPUT:
                source = network.layers[synapse.source].neuron
                events = 2 if source.codes else network.steps / 2
            source_shape = network.source_shape(synapse)
            total += events * source_shape[0] * int(reach(synapse, source_shape).sum())
        pooling = layer.neuron.model is NeuronModel.MAX_POOL
        window = layer.synapses[0].pool.area if pooling else 1
        updates = max(1, layer.neuron.step_digits) * network.steps
        total += updates * window * math.prod(layer.shape)
    return math.ceil(total)


# -------------------------------------------------------------------------------------- calibration


def _tuned(rng: np.random.Generator, network: Network, *, flip: bool = True) -> Network:
    """`network` with calibrated thresholds, layer after layer.

    With `flip`, the weights of an output channel whose mean current is negative change sign, and
    each gets a bias; without, weights and biases stay. Of pooling neurons, half of the average-pool
    layers keep the threshold that makes them an average; the others are calibrated too.
    """
    frames = random_frames(rng, network, _CALIBRATION)
    layers: list[Layer] = []
    for layer in network.layers:
        fixed = layer.neuron.model is NeuronModel.MAX_POOL or (_pools(layer) and rng.random() < 0.5)
        if flip and not _pools(layer):
            layer = _balanced(rng, layer, _drive(network, layers, layer, frames))
        if layer.neuron.fires and not fixed:
            layer = _with_threshold(rng, network, layer, _drive(network, layers, layer, frames))
        layers.append(layer)
    return replace(network, layers=tuple(layers))


def _drive(
    network: Network, before: Sequence[Layer], layer: Layer, frames: npt.NDArray[np.uint8]
) -> Ints:
    """Current plus bias of every step, ``(N, T, C, H, W)``, of `layer` behind `before`."""
    integrator = replace(
        layer, neuron=NeuronSpec.integrator(), initial=np.zeros_like(layer.initial)
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


def _with_threshold(rng: np.random.Generator, network: Network, layer: Layer, drive: Ints) -> Layer:
    """Thresholds that bring what each channel sends under `drive` nearest to a drawn target."""
    channels, spec = layer.shape[0], layer.neuron
    target = rng.uniform(0.15, 0.5) * rng.uniform(0.7, 1.3, channels) * _reach(rng, network, spec)
    # V(0) as a fraction of the threshold: half of it as after conversion, nothing, or anything.
    kinds = rng.choice(3, channels, p=[0.5, 0.2, 0.3])
    fraction = np.choose(kinds, [0.5, 0.0, rng.uniform(-0.4, 0.9, channels)])

    def state(threshold: Ints) -> Ints:
        return np.floor(fraction * threshold).astype(np.int64)

    def rate(threshold: Ints) -> npt.NDArray[np.float64]:
        return _rates(network, spec, drive, threshold, state(threshold))

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


def _reach(rng: np.random.Generator, network: Network, spec: NeuronSpec) -> float:
    """Most spikes a step of a neuron that is not to saturate: for several a step, some of them."""
    if spec.codes:
        return (network.input_steps - 1) / network.steps
    most = rng.uniform(1, spec.most) if spec.most > 1 else 1.0
    return most if spec.zmax is None else min(most, spec.zmax / network.steps)


def _rates(
    network: Network, spec: NeuronSpec, drive: Ints, threshold: Ints, initial: Ints
) -> npt.NDArray[Any]:
    """abs(n) a step of each channel under `drive`; of overlapped TSC neurons, how often active."""
    threshold = threshold[:, None, None]
    membrane = np.zeros_like(drive[:, 0]) + initial[:, None, None]
    count = np.zeros_like(membrane)
    spikes = np.zeros(len(threshold))
    for step in range(network.steps):
        membrane += drive[:, step]
        final = network.has_final and step == network.steps - 1
        n = fire(spec, membrane, threshold, count, final=final, most=network.input_steps - 1)
        spikes += (count == 1 if spec.switches else np.abs(n)).mean((0, 2, 3))
    return spikes / network.steps
