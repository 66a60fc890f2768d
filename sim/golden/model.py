"""The golden model: an integer network over all its steps, exactly as the hardware computes it.

Steps are t = 1..T. Input and bias are there in the first `input_steps` of them. In a step a neuron
has the potential ``U(t) = V(t-1) + I(t) + bias``, decides how many spikes n it sends, and keeps
``V(t) = U(t) - n * threshold`` (soft reset); :mod:`.neurons` has the decisions of every model. The
current I(t) is the convolution of the window sums of the source with ``weight << shift``:

- of the spikes of step t, in any step;
- in a direct layer, of the frame: the same in every step with input;
- behind TSC neurons or input, of the sum of all events so far, in every step with input.

If the network has a rounding phase or TSC windows, its last step is the final one. Neurons with
rounding add half a threshold to U there, rounded down, which V(T) keeps; TSC neurons of window
`per-layer` decide there, and their pair of spikes reaches their targets from their step 1 on.

Layers are executed one behind the other, each through all steps. Convolutions run as floating-point
matrix products. They are exact because no sum of a layer, in any order, can leave the integers that
its number type holds: the bound is computed from the proven ranges and decides the type. Arrays
carry the batch as last axis, ``(channel, y, x, image)``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from itertools import repeat
from typing import Any

import numpy as np
import numpy.typing as npt

from spikewright.errors import SpikewrightError
from spikewright.network import INPUT, InputCode, Layer, Network, NeuronModel, scans
from spikewright.sim.golden.encoders import check_frames, encode, signed_digits
from spikewright.sim.golden.neurons import fire, max_pool_spikes
from spikewright.sim.golden.synapses import SynapseGroup, reach

__all__ = ["Course", "Golden", "GoldenResult", "LayerTrace", "check_frames"]

Ints = npt.NDArray[np.int64]
SmallInts = npt.NDArray[Any]
Frames = npt.NDArray[np.uint8]

_CHUNK = 1_000_000
"""Numbers that the largest intermediate array of a chunk of images may hold."""


@dataclass(frozen=True)
class LayerTrace:
    """One layer after every step, ``(N, T, C, H, W)`` integers each.

    - `membranes`: V after the step; of max-pool neurons the greatest count less what they sent.
    - `spikes`: n, the signed sum of what a neuron sent; of TSC neurons of window `per-layer`, in
      the final step, the number that their pair encloses.
    - `counts`: of layers with :meth:`~spikewright.network.Network.counts`, the sum of n so far; of
      overlapped TSC neurons 0: never active, 1: active, 2: has ceased (with the latch). Others: 0.
    """

    name: str
    membranes: Ints
    spikes: SmallInts
    counts: Ints


@dataclass(frozen=True)
class Course:
    """N images step by step: column t - 1 holds what steps 1..t gave, of all layers together.

    Where nothing depends on T (IF neurons, a direct frame) it is also what a run of t steps gives.
    Steps are those of each layer: where each has a window of its own (TSC), of its window.

    - `outputs`: int64 ``(N, steps, outputs)``, as :attr:`GoldenResult.potentials`.
    - `spikes`: int64 ``(N, steps)``, those that neurons have sent.
    - `synaptic_operations`: int64 ``(N, steps)``, additions so far.
    """

    outputs: Ints
    spikes: Ints
    synaptic_operations: Ints

    @property
    def classes(self) -> Ints:
        """int64 ``(N, steps)``: the greatest output after each step; of equals the lowest index."""
        return self.outputs.argmax(2).astype(np.int64)


@dataclass(frozen=True)
class GoldenResult:
    """What N images gave. All arrays are int64 with the image as first axis.

    - `potentials`: ``(N, outputs)`` in (c, y, x) order, the outputs: the membranes of an integrator
      after the last step; of a last layer that fires, its counts.
    - `classes`: ``(N,)``, the greatest output; of equal ones the lowest index.
    - `spike_counts`: for each firing layer ``(N, C, H, W)``, the sum of abs(n) over all steps; of
      TSC neurons the spikes of their pairs.
    - `events`: for each layer ``(N,)``, events sent to its synapse groups over all steps: binary
      digits of abs(n), spikes of TSC pairs, or the frame's non-zero signed digits, once.
    - `synaptic_operations`: for each layer ``(N,)``, additions these events require: one for each
      output position and channel an event reaches, whatever the weight.
    - `scan_operations`: for each layer, membranes that its end-of-step scans read, of any image.
    - `course`: outputs, spikes and synaptic operations after every step.
    - `trace`: for each layer its :class:`LayerTrace`, if asked for.
    """

    potentials: Ints
    classes: Ints
    spike_counts: tuple[Ints, ...]
    events: tuple[Ints, ...]
    synaptic_operations: tuple[Ints, ...]
    scan_operations: tuple[int, ...]
    course: Course
    trace: tuple[LayerTrace, ...] | None = None


_State = tuple[npt.NDArray[Any], SmallInts, Ints | None]
"""Membranes, spikes and counts after a step, ``(C, H, W, N)``; the next step changes the arrays."""

Trains = dict[int, SmallInts]
"""By source, its spikes ``(steps, C, H, W, N)``; a direct frame is a train of one step."""


# ------------------------------------------------------------------------------------------ layers


class _Layer:
    """One layer of neurons with membranes, in the number type that is exact for it."""

    def __init__(self, network: Network, index: int) -> None:
        layer: Layer = network.layers[index]
        peaks = [_peak(network, synapse.source) for synapse in layer.synapses]
        dtype = _exact_type(network, index, peaks)
        self.network, self.layer, self.spec = network, layer, layer.neuron
        self.bias = _per_channel(layer.bias, dtype)
        self.initial = _per_channel(layer.initial, dtype)
        self.threshold = _per_channel(layer.threshold, dtype)
        self.groups = [
            SynapseGroup(synapse, network.source_shape(synapse), peak, dtype)
            for synapse, peak in zip(layer.synapses, peaks, strict=True)
        ]

    @property
    def unrolled(self) -> int:
        """Numbers of the largest unrolled source of one image."""
        return max(group.unrolled for group in self.groups)

    def states(self, trains: Trains, images: int) -> Iterator[_State]:
        """The layer after each step."""
        network, shape = self.network, (*self.layer.shape, images)
        membrane = np.broadcast_to(self.initial, shape).copy()
        count = np.zeros(shape, np.int64) if network.counts(self.layer) else None
        for step, drive in enumerate(self._drives(trains), 1):
            if drive is not None:
                membrane += drive
            final = network.has_final and step == network.steps
            most = network.input_steps - 1
            spikes = fire(self.spec, membrane, self.threshold, count, final=final, most=most)
            yield membrane, spikes, count

    def _drives(self, trains: Trains) -> Iterator[npt.NDArray[Any] | None]:
        """Current and bias of each step; None where there is neither."""
        network, driven = self.network, self.network.input_steps
        if network.direct(self.layer):
            yield from repeat(self._current(trains, 0) + self.bias, driven)
        elif network.accumulates(self.layer):
            total = np.zeros_like(self.bias)
            for step in range(driven):
                total = total + self._current(trains, step)
                yield total + self.bias
        else:
            sent = driven if self.layer.reads_input else network.steps
            for step in range(sent):
                current = self._current(trains, step)
                if step < driven:
                    current += self.bias
                yield current
            driven = sent
        yield from repeat(None, network.steps - driven)

    def _current(self, trains: Trains, step: int) -> npt.NDArray[Any]:
        first, *others = (group.current(trains[group.source][step]) for group in self.groups)
        for current in others:
            first += current
        return first


class _MaxPool:
    """One layer of max-pool neurons, which hold the spike counts of their windows."""

    def __init__(self, network: Network, index: int) -> None:
        self.network, self.layer = network, network.layers[index]
        (self.synapse,) = self.layer.synapses
        self.unrolled = int(np.prod(network.source_shape(self.synapse)))

    def states(self, trains: Trains, images: int) -> Iterator[_State]:
        """The layer after each step."""
        network = self.network
        train = trains[self.synapse.source]
        counts = np.zeros(train.shape[1:], np.int64)
        sent = np.zeros((*self.layer.shape, images), np.int64)
        for step, spikes in enumerate(train, 1):
            counts += spikes
            greatest = self._greatest(counts)
            final = network.has_final and step == network.steps
            n = max_pool_spikes(self.layer.neuron, greatest - sent, final=final)
            sent += n
            yield greatest - sent, n, sent

    def _greatest(self, counts: Ints) -> Ints:
        _, h, w = self.synapse.pool.output_shape(self.network.source_shape(self.synapse))
        (ph, pw), (sy, sx) = self.synapse.pool.size, self.synapse.stride
        cut = counts[:, : h * ph, : w * pw]
        windows = cut.reshape(len(counts), h, ph, w, pw, counts.shape[-1])
        greatest: Ints = windows.max((2, 4))[:, ::sy, ::sx]
        return greatest


def _per_channel(values: Ints, dtype: Any) -> npt.NDArray[Any]:
    return values.astype(dtype)[:, None, None, None]


def _peak(network: Network, source: int) -> int:
    """The greatest magnitude of what a position of `source` sends in a step."""
    if source == INPUT:
        return network.input.maximum if network.input.code is InputCode.DIRECT else 1
    if network.layers[source].neuron.sends_pairs:
        return 1
    return _most_spikes(network, source)


def _most_spikes(network: Network, index: int) -> int:
    """The greatest magnitude of n in any step of layer `index`."""
    ranges = network.ranges.layers[index]
    return max(1, *map(abs, (*ranges.spikes, *ranges.final_spikes)))


def _exact_type(network: Network, index: int, peaks: list[int]) -> Any:
    """The fastest number type that holds every intermediate sum of a layer exactly.

    No partial sum of a matrix product exceeds ``sum |weight| * peak``, nor does a sum of TSC
    events, which no more than switch each weight on. No later sum exceeds that plus the greatest
    potential, the bias, and the multiples of the threshold that a decision takes.
    """
    layer = network.layers[index]
    low, high = network.ranges.layers[index].potential
    bound = int(np.abs(layer.bias).max()) + int(max(high.max(), -low.min()))
    bound += (1 + layer.neuron.most) * int(layer.threshold.max())
    for synapse, peak in zip(layer.synapses, peaks, strict=True):
        total = np.abs(synapse.weight).reshape(layer.shape[0], -1).sum(1).max()
        bound += int(total) * (peak * synapse.pool.area << synapse.shift)
    for dtype, limit in ((np.float32, 2**24), (np.float64, 2**53), (np.int64, 2**63)):
        if bound < limit:
            return dtype
    raise SpikewrightError(
        f"layer {layer.name}: potentials may reach {bound}, beyond 63 bits; "
        "scale its parameters down"
    )


# ----------------------------------------------------------------------------------------- network


class Golden:
    """Executes `network`; raises SpikewrightError if no number type holds its potentials."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self._layers = [
            (_MaxPool if layer.neuron.model is NeuronModel.MAX_POOL else _Layer)(network, index)
            for index, layer in enumerate(network.layers)
        ]
        self._chunk = max(1, min(128, _CHUNK // max(layer.unrolled for layer in self._layers)))

    def run(self, pixels: npt.NDArray[np.uint8], *, trace: bool = False) -> GoldenResult:
        """All steps on `pixels`, uint8 ``(N, C, H, W)`` with the network's `frame_shape`.

        Raises SpikewrightError on other frames.
        """
        frames = check_frames(pixels, self.network.input, self.network.input_steps)
        starts = range(0, max(1, len(frames)), self._chunk)
        parts = [self._run(frames[start : start + self._chunk], trace) for start in starts]
        result: GoldenResult = _joined(parts)
        return result

    def _run(self, frames: Frames, trace: bool) -> GoldenResult:
        """One chunk of frames, layer after layer."""
        network, images = self.network, len(frames)
        pixels = np.ascontiguousarray(np.moveaxis(frames, 0, -1))
        trains, events = _input_train(network, pixels)
        counts, traces = [], []
        fired = np.zeros((network.steps, images), np.int64)
        for index, layer in enumerate(network.layers):
            spikes, outputs, states = self._train(index, trains, images, trace)
            traces += states
            if not layer.neuron.fires:
                continue
            trains[index] = _pairs(network, spikes) if layer.neuron.codes else spikes
            sent = _sent(trains[index], _peak(network, index))
            events[index] = sent.events
            counts.append(_images_first(sent.counts))
            fired[: len(sent.spikes)] += sent.spikes
        size = math.prod(network.layers[-1].shape)
        course = _images_first(outputs).reshape(images, network.steps, size)
        loads = [_load(network, layer, events) for layer in network.layers]
        required = [additions for _, additions in loads]
        return GoldenResult(
            potentials=course[:, -1],
            classes=course[:, -1].argmax(1).astype(np.int64),
            spike_counts=tuple(counts),
            events=tuple(received.sum(0) for received, _ in loads),
            synaptic_operations=tuple(additions.sum(0) for additions in required),
            scan_operations=tuple(_scanned(network, i) for i in range(len(network.layers))),
            course=Course(course, fired.cumsum(0).T, sum(required[1:], required[0]).cumsum(0).T),
            trace=tuple(traces) if trace else None,
        )

    def _train(
        self, index: int, trains: Trains, images: int, trace: bool
    ) -> tuple[SmallInts, npt.NDArray[Any], list[LayerTrace]]:
        """A layer's spikes ``(T, C, H, W, N)``, the same of its outputs, and its trace if wanted.

        Outputs of any but the last layer are not kept.
        """
        network, layer = self.network, self.network.layers[index]
        shape = (network.steps, *layer.shape, images)
        spikes = np.empty(shape, np.min_scalar_type(-_most_spikes(network, index) - 1))
        last = index == len(network.layers) - 1
        outputs = np.empty(shape if last else 0, np.int64)
        membranes, counts = (np.zeros(shape if trace else 0, np.int64) for _ in range(2))
        for step, (membrane, n, count) in enumerate(self._layers[index].states(trains, images)):
            spikes[step] = n
            if last:
                outputs[step] = membrane if count is None else count
            if trace:
                membranes[step] = membrane
                counts[step] = 0 if count is None else count
        record = (_images_first(states) for states in (membranes, spikes, counts))
        return spikes, outputs, [LayerTrace(layer.name, *record)] if trace else []


def _input_train(network: Network, pixels: Frames) -> tuple[Trains, dict[int, Ints]]:
    """The input's spikes, or the frame, and its events as :class:`_Sent` has them."""
    if network.input.code is InputCode.DIRECT:
        return {INPUT: pixels[None]}, {INPUT: signed_digits(pixels).sum(0, np.int64)[None]}
    train = encode(network.input, network.input_steps, pixels)
    return {INPUT: train}, {INPUT: _sent(train, 1).events}


def _pairs(network: Network, spikes: SmallInts) -> SmallInts:
    """What the targets of TSC neurons see, in their own window, of the number of the final step."""
    number = spikes[-1]
    steps = np.arange(network.input_steps).reshape(-1, 1, 1, 1, 1)
    on = (number > 0) & (steps == 0)
    off = (number > 0) & (steps == number)
    return on.view(np.int8) - off


@dataclass(frozen=True)
class _Sent:
    """What a layer has sent.

    - `events`: binary digits of each step and position, of all channels, ``(steps, H, W, N)``.
    - `spikes`: magnitudes of each step, ``(steps, N)``.
    - `counts`: magnitudes of each neuron in all steps, int64 ``(C, H, W, N)``.
    """

    events: SmallInts
    spikes: Ints
    counts: Ints


def _sent(train: SmallInts, peak: int) -> _Sent:
    """The sums of a train ``(steps, C, H, W, N)`` whose numbers have at most the magnitude `peak`.

    Their types are as narrow as the sums allow, which is faster.
    """
    steps, channels = train.shape[:2]
    magnitudes = np.abs(train)
    counts = magnitudes.sum(0, np.min_scalar_type(-peak * steps - 1)).astype(np.int64)
    spikes = magnitudes.sum(1, np.min_scalar_type(-peak * channels - 1))
    events = spikes
    if peak > 1:
        digits = np.bitwise_count(train)
        events = digits.sum(1, np.min_scalar_type(-peak.bit_length() * channels - 1))
    return _Sent(events, spikes.sum((1, 2), np.int64), counts)


def _load(network: Network, layer: Layer, events: dict[int, SmallInts]) -> tuple[Ints, Ints]:
    """Events and additions of each step and image, ``(T, N)``; a direct frame's in step 1."""
    images = events[INPUT].shape[-1]
    received, required = (np.zeros((network.steps, images), np.int64) for _ in range(2))
    for synapse in layer.synapses:
        sent = events[synapse.source]
        reached = reach(synapse, network.source_shape(synapse))
        received[: len(sent)] += sent.sum((1, 2), np.int64)
        required[: len(sent)] += np.einsum("yx,tyxn->tn", reached, sent)
    return received, required


def _scanned(network: Network, index: int) -> int:
    """Membranes read by all scans of a layer: of every window, if it takes the greatest of it."""
    layer = network.layers[index]
    passes, final = scans(network, index)
    pooling = layer.neuron.model is NeuronModel.MAX_POOL
    window = layer.synapses[0].pool.area if pooling else 1
    return int(np.prod(layer.shape)) * window * (passes * (network.steps - 1) + (final or passes))


def _images_first(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return np.moveaxis(array, -1, 0)


def _joined(parts: Sequence[Any]) -> Any:
    """What all chunks gave as one: their arrays joined; what is no array is the same in all."""
    first = parts[0]
    if isinstance(first, np.ndarray):
        return np.concatenate(parts)
    if isinstance(first, tuple):
        return tuple(map(_joined, zip(*parts, strict=True)))
    if is_dataclass(first) and not isinstance(first, type):
        names = [field.name for field in fields(first)]
        return replace(first, **{n: _joined([getattr(part, n) for part in parts]) for n in names})
    return first
