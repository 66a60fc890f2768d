"""The golden model: an integer network over T steps, exactly as the hardware computes it.

A firing layer follows ``U(t) = V(t-1) + I(t) + bias``; it fires where U reaches the threshold (see
:class:`~spikewright.network.Tie`) and keeps ``V(t) = U(t) - threshold`` there, ``V(t) = U(t)``
elsewhere (soft reset; NQ, Eq. 2-5). An integrator keeps ``V(t) = U(t)``. The current I(t) is the
convolution of the window sums of the source with ``weight << shift``: of the spikes of step t, or,
in a direct layer, of the frame, whose current is the same in every step.

Convolutions run as floating-point matrix products. They are exact because no sum of a layer, in any
order, can leave the integers that its number type holds: the bound is computed from the weights and
decides the type. Arrays carry the batch as last axis, ``(channel, y, x, image)``, so that every
inner loop is long and contiguous.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import SpikewrightError
from ..network import INPUT, InputSpec, Layer, Network, Synapse, Tie

__all__ = ["Golden", "GoldenResult", "LayerTrace", "check_frames", "signed_digits"]

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Frames = npt.NDArray[np.uint8]
Shape = tuple[int, int, int]

_CHUNK = 1_000_000
"""Numbers that the largest intermediate array of a chunk of images may hold."""

_SERIAL = 1 << 18
"""Multiplications up to which OpenBLAS, NumPy's BLAS, computes a product in the calling thread."""


@dataclass(frozen=True)
class LayerTrace:
    """One layer's `membranes` after firing and reset, and its `spikes`, ``(N, T, C, H, W)``."""

    name: str
    membranes: Ints
    spikes: Bools


@dataclass(frozen=True)
class GoldenResult:
    """What N images gave. All arrays are int64 with the image as first axis.

    - `potentials`: ``(N, outputs)``, the last layer's membranes after step T in (c, y, x) order.
    - `classes`: ``(N,)``, the greatest potential; of equal ones the lowest index.
    - `spike_counts`: for each firing layer ``(N, C, H, W)``, spikes over the T steps.
    - `events`: for each layer ``(N,)``, events sent to its synapse groups over all steps: spikes of
      their sources, or the frame's non-zero signed digits, once.
    - `synaptic_operations`: for each layer ``(N,)``, additions these events require: one for each
      output position and channel an event reaches, whatever the weight.
    - `scan_operations`: for each layer, neuron updates of its T end-of-step scans, of any image.
    - `trace`: for each layer its :class:`LayerTrace`, if asked for.
    """

    potentials: Ints
    classes: Ints
    spike_counts: tuple[Ints, ...]
    events: tuple[Ints, ...]
    synaptic_operations: tuple[Ints, ...]
    scan_operations: tuple[int, ...]
    trace: tuple[LayerTrace, ...] | None = None


def check_frames(pixels: npt.NDArray[Any], spec: InputSpec) -> Frames:
    """`pixels` if they are uint8 frames ``(N, C, H, W)`` of `spec`; raises SpikewrightError."""
    if not isinstance(pixels, np.ndarray) or pixels.dtype != np.uint8:
        got = pixels.dtype if isinstance(pixels, np.ndarray) else type(pixels).__name__
        raise SpikewrightError(f"frames: expected an array of uint8 pixels, got {got}")
    if pixels.ndim != 4 or pixels.shape[1:] != tuple(spec.shape):
        expected = ", ".join(str(n) for n in spec.shape)
        raise SpikewrightError(f"frames: expected shape (N, {expected}), got {pixels.shape}")
    if pixels.size and pixels.max() > spec.maximum:
        raise SpikewrightError(
            f"frames: expected pixels of {spec.bits} bits, 0..{spec.maximum}, got {pixels.max()}"
        )
    return pixels


def signed_digits(values: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """Non-zero digits of each unsigned value in non-adjacent form (Reitwiesner 1960).

    They stand where ``x`` and ``3 x`` differ: 7 is 8 - 1 and has two.
    """
    wide = values.astype(np.uint64)
    return np.bitwise_count(wide ^ (3 * wide))


class _Synapses:
    """One synapse group as a matrix product over the unrolled windows of its source."""

    def __init__(self, synapse: Synapse, source: Shape, peak: int, dtype: Any) -> None:
        self.source = synapse.source
        self.geometry = synapse
        self.pooled = synapse.pool.output_shape(source)
        self.outputs = synapse.output_shape(source)
        self.matrix = (synapse.weight << synapse.shift).reshape(self.outputs[0], -1).astype(dtype)
        self.sums = np.min_scalar_type(peak * synapse.pool.area)

    @property
    def unrolled(self) -> int:
        """Numbers of the unrolled source of one image."""
        return int(self.matrix.shape[1]) * self.outputs[1] * self.outputs[2]

    def current(self, source: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Synaptic current ``(out, y, x, N)`` of `source`, uint8 or bool ``(C, H, W, N)``."""
        kernel = self.geometry.weight.shape[2:]
        sy, sx = self.geometry.stride
        windows = np.lib.stride_tricks.sliding_window_view(
            self._summed(source), kernel, axis=(1, 2)
        )[:, ::sy, ::sx]
        unrolled = windows.transpose(0, 4, 5, 1, 2, 3).astype(self.matrix.dtype, order="C")
        current = _product(self.matrix, unrolled.reshape(self.matrix.shape[1], -1))
        return current.reshape(*self.outputs, source.shape[-1])

    def _summed(self, source: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Sums over the pooling windows, with the zero padding around them."""
        c, h, w = self.pooled
        (ph, pw), (py, px) = self.geometry.pool.size, self.geometry.padding
        if (ph, pw, py, px) == (1, 1, 0, 0):
            return source
        padded = np.zeros((c, h + 2 * py, w + 2 * px, source.shape[-1]), self.sums)
        inner = padded[:, py : py + h, px : px + w]
        for y in range(ph):
            for x in range(pw):
                inner += source[:, y : h * ph : ph, x : w * pw : pw]
        return padded

    def reach(self, source: Shape) -> Ints:
        """``(H, W)``: output neurons an event at each position of the source adds to."""
        rows, columns = (
            _landings(n, size, kernel, stride, padding, outputs)
            for n, size, kernel, stride, padding, outputs in zip(
                source[1:],
                self.geometry.pool.size,
                self.geometry.weight.shape[2:],
                self.geometry.stride,
                self.geometry.padding,
                self.outputs[1:],
                strict=True,
            )
        )
        return self.outputs[0] * np.outer(rows, columns)


def _product(a: npt.NDArray[Any], b: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """``a @ b`` in blocks of columns, each small enough for BLAS to start no threads.

    Threads that wait for each other in every product cost far more than they give once anything
    else runs on the machine (measured on two busy cores: 300 images/s of a LeNet-5 with them,
    5,000 without). Where blocks would become too narrow the product is large enough for threads.
    """
    rows, inner = a.shape
    columns = b.shape[1]
    width = _SERIAL // (rows * inner)
    whole = columns - columns % width if width >= 4 else 0
    product = np.empty((rows, columns), a.dtype)
    if whole:
        np.matmul(
            a,
            b[:, :whole].reshape(inner, -1, width).swapaxes(0, 1),
            out=product[:, :whole].reshape(rows, -1, width).swapaxes(0, 1),
        )
    if whole < columns:
        np.matmul(a, b[:, whole:], out=product[:, whole:])
    return product


def _landings(n: int, size: int, kernel: int, stride: int, padding: int, outputs: int) -> Ints:
    """For each of `n` coordinates of an axis, the output coordinates it reaches."""
    window = np.arange(n) // size + padding
    first = np.arange(outputs) * stride
    offset = window[:, None] - first[None, :]
    whole = window - padding < n // size
    return (((offset >= 0) & (offset < kernel)).sum(1) * whole).astype(np.int64)


def _per_channel(values: Ints, dtype: Any) -> npt.NDArray[Any]:
    return values.astype(dtype)[:, None, None, None]


class _Layer:
    """One layer: its parameters in the number type that is exact for it, and its step."""

    def __init__(self, network: Network, index: int) -> None:
        layer: Layer = network.layers[index]
        dtype = _exact_type(network, index)
        self.layer = layer
        self.bias = _per_channel(layer.bias, dtype)
        self.initial = _per_channel(layer.initial, dtype)
        self.threshold = _per_channel(layer.threshold, dtype)
        peak = network.input.maximum if network.direct(layer) else 1
        self.groups = [_Synapses(s, network.source_shape(s), peak, dtype) for s in layer.synapses]

    def drive(self, sources: list[npt.NDArray[Any]]) -> npt.NDArray[Any]:
        """Current and bias of a step. The frame stands last in `sources`, where -1 finds it."""
        first, *others = (group.current(sources[group.source]) for group in self.groups)
        for current in others:
            first += current
        first += self.bias
        return first

    def fire(self, membrane: npt.NDArray[Any]) -> Bools:
        """Which neurons fire; takes the threshold off their `membrane` in place."""
        if not self.layer.neuron.fires:
            return np.zeros(membrane.shape, np.bool_)
        compare = np.greater_equal if self.layer.neuron.tie is Tie.FIRES else np.greater
        fired: Bools = compare(membrane, self.threshold)
        membrane -= fired * self.threshold
        return fired


def _exact_type(network: Network, index: int) -> Any:
    """The fastest number type that holds every intermediate sum of a layer exactly.

    No partial sum of a matrix product exceeds ``sum |weight| * peak``, and no later sum exceeds
    that plus the bias, the threshold and the greatest potential.
    """
    layer = network.layers[index]
    peak = network.input.maximum if network.direct(layer) else 1
    low, high = network.potential_ranges[index]
    bound = int(np.abs(layer.bias).max()) + int(max(high.max(), -low.min()))
    bound += int(layer.threshold.max())
    for synapse in layer.synapses:
        total = np.abs(synapse.weight).reshape(layer.shape[0], -1).sum(1).max()
        bound += int(total) * (peak * synapse.pool.area << synapse.shift)
    for dtype, limit in ((np.float32, 2**24), (np.float64, 2**53), (np.int64, 2**63)):
        if bound < limit:
            return dtype
    raise SpikewrightError(
        f"layer {layer.name}: potentials may reach {bound}, beyond 63 bits; "
        "scale its parameters down"
    )


class Golden:
    """Executes `network`; raises SpikewrightError if its last layer fires: it has no potentials."""

    def __init__(self, network: Network) -> None:
        last = network.layers[-1]
        if last.neuron.fires:
            raise SpikewrightError(
                f"layer {last.name}: the last layer fires; the golden model reads out an integrator"
            )
        self.network = network
        self._layers = [_Layer(network, index) for index in range(len(network.layers))]
        largest = max(group.unrolled for layer in self._layers for group in layer.groups)
        self._chunk = max(1, min(128, _CHUNK // largest))

    def run(self, pixels: npt.NDArray[np.uint8], *, trace: bool = False) -> GoldenResult:
        """All T steps on `pixels`, uint8 ``(N, C, H, W)``; raises SpikewrightError on others."""
        network = self.network
        frames = check_frames(pixels, network.input)
        images, steps = len(frames), network.steps
        counts = [np.zeros((images, *layer.shape), np.int64) for layer in network.layers]
        potentials = np.zeros((images, int(np.prod(network.layers[-1].shape))), np.int64)
        traces = tuple(
            LayerTrace(
                layer.name,
                np.zeros((images, steps, *layer.shape), np.int64),
                np.zeros((images, steps, *layer.shape), np.bool_),
            )
            for layer in (network.layers if trace else ())
        )
        for start in range(0, images, self._chunk):
            part = slice(start, start + self._chunk)
            size = len(frames[part])
            sums = [np.zeros((*layer.shape, size), np.int64) for layer in network.layers]
            for step, states in enumerate(self._steps(frames[part])):
                for index, (membrane, fired) in enumerate(states):
                    sums[index] += fired
                    if trace:
                        traces[index].membranes[part, step] = np.moveaxis(membrane, -1, 0)
                        traces[index].spikes[part, step] = np.moveaxis(fired, -1, 0)
            for count, total in zip(counts, sums, strict=True):
                count[part] = np.moveaxis(total, -1, 0)
            potentials[part] = states[-1][0].reshape(potentials.shape[1], -1).T
        return self._result(frames, potentials, counts, traces if trace else None)

    def _steps(self, frames: Frames) -> Iterator[list[tuple[npt.NDArray[Any], Bools]]]:
        """Membranes and spikes ``(C, H, W, N)`` of every layer after each step."""
        pixels = np.ascontiguousarray(np.moveaxis(frames, 0, -1))
        layers = self._layers
        constant = [
            layer.drive([pixels]) if self.network.direct(layer.layer) else None for layer in layers
        ]
        membranes = [
            np.broadcast_to(layer.initial, (*layer.layer.shape, len(frames))).copy()
            for layer in layers
        ]
        for _ in range(self.network.steps):
            spikes: list[Bools] = []
            for layer, membrane, drive in zip(layers, membranes, constant, strict=True):
                membrane += layer.drive(spikes) if drive is None else drive
                spikes.append(layer.fire(membrane))
            yield list(zip(membranes, spikes, strict=True))

    def _result(
        self,
        frames: Frames,
        potentials: Ints,
        counts: list[Ints],
        traces: tuple[LayerTrace, ...] | None,
    ) -> GoldenResult:
        digits = signed_digits(frames).astype(np.int64)
        events, operations = [], []
        for layer in self._layers:
            received = np.zeros(len(frames), np.int64)
            required = np.zeros(len(frames), np.int64)
            for group in layer.groups:
                sent = digits if group.source == INPUT else counts[group.source]
                received += sent.sum((1, 2, 3))
                required += (
                    sent.sum(1) * group.reach(self.network.source_shape(group.geometry))
                ).sum((1, 2))
            events.append(received)
            operations.append(required)
        layers = self.network.layers
        return GoldenResult(
            potentials=potentials,
            classes=potentials.argmax(1).astype(np.int64),
            spike_counts=tuple(
                c for c, layer in zip(counts, layers, strict=True) if layer.neuron.fires
            ),
            events=tuple(events),
            synaptic_operations=tuple(operations),
            scan_operations=tuple(
                int(np.prod(layer.shape)) * self.network.steps for layer in layers
            ),
            trace=traces,
        )
