"""Float simulator: a float network in torch, as an ANN and as an SNN over its steps.

The SNN is the golden model's counterpart with real numbers, for every neuron and input code. In a
step a neuron has the potential ``U(t) = V(t-1) + I(t) + bias``, sends n spikes, and keeps
``V(t) = U(t) - n * threshold``; a spike is worth the threshold of the neuron that sent it, and a
pool averages. Input and bias are there in the first T steps; the steps behind them, and the final
one of a rounding phase or a TSC window, are those of :class:`~spikewright.network.Network`. What a
TSC pair encloses counts in every step between its two spikes.

Layers are executed one behind the other, each through all steps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from spikewright.errors import SpikewrightError
from spikewright.network import (
    INPUT,
    FloatLayer,
    FloatNetwork,
    FloatSynapse,
    InputCode,
    NeuronModel,
    NeuronSpec,
    Tie,
)
from spikewright.network.conversion import drive, event_value
from spikewright.network.neuron import Digits, Negative, Reset, Rounding
from spikewright.sim.ann import ann_forward, model_input, pooled
from spikewright.sim.golden.encoders import check_frames, encode

__all__ = ["SnnResult", "ann", "mean_outputs", "snn"]

_CHUNK = 1 << 25
"""Numbers that the spikes of a batch may hold."""


@dataclass(frozen=True)
class SnnResult:
    """What N images gave over all steps.

    - `potentials`: ``(N, steps, outputs)`` of the simulation's type, in (c, y, x) order, the last
      layer's potential after each step, or its counts so far where it fires. With IF or HPC neurons
      and a direct frame one run serves every shorter one; others need all their steps.
    - `spike_counts`: for each firing layer int64 ``(N, C, H, W)``, spikes of both signs over all
      steps; of TSC neurons those of their pairs.
    - `counts`: for each firing layer int64 ``(N, C, H, W)``, the sum of the signed spikes; of TSC
      neurons the steps that their pairs enclose.
    """

    potentials: npt.NDArray[Any]
    spike_counts: tuple[npt.NDArray[np.int64], ...]
    counts: tuple[npt.NDArray[np.int64], ...]

    @property
    def classes(self) -> npt.NDArray[np.int64]:
        """int64 ``(N, steps)``: the greatest output after each step; of equals the lowest index."""
        return self.potentials.argmax(2).astype(np.int64)


@torch.inference_mode()
def ann(
    network: FloatNetwork,
    pixels: Tensor | npt.NDArray[np.uint8],
    *,
    batch: int = 256,
    steps: int = 1,
) -> npt.NDArray[Any]:
    """Outputs ``(N, outputs)`` of the ANN, every layer followed by its activation.

    `pixels` is uint8 ``(N, C, H, W)``, or raw events of `steps` steps, of which the ANN sees the
    rate; raises SpikewrightError on other frames.
    """
    frames = _frames(network, pixels, steps)
    outputs = []
    for start in range(0, max(1, len(frames)), batch):
        part = torch.from_numpy(np.ascontiguousarray(frames[start : start + batch]))
        outputs.append(
            ann_forward(network, model_input(network.input, part, torch.float32)).numpy()
        )
    return np.concatenate(outputs)


@torch.inference_mode()
def snn(
    network: FloatNetwork,
    pixels: Tensor | npt.NDArray[np.uint8],
    steps: int,
    *,
    settle: int = 0,
    dtype: torch.dtype = torch.float32,
    batch: int = 256,
) -> SnnResult:
    """Run a converted network for `steps` steps with input, T, and `settle` without.

    A rounding phase or the end of a TSC window adds one. `pixels` is uint8 ``(N, C, H, W)``, of raw
    events ``(N, T * C, H, W)``. Raises SpikewrightError on other frames, on `steps` below 1, and on
    a network that is not converted.
    """
    _check_run(network, steps)
    times = _times(network, steps, settle)
    layers = [_Layer(network, index, times, dtype) for index in range(len(network.layers))]
    frames = _frames(network, pixels, steps)
    batch = _batch(network, times, batch)
    parts = []
    for start in range(0, max(1, len(frames)), batch):
        source = _input_train(network, frames[start : start + batch], times, dtype)
        parts.append(_run(layers, source, len(frames[start : start + batch])))
    potentials, spikes, counts = zip(*parts, strict=True)
    return SnnResult(np.concatenate(potentials), _joined(spikes), _joined(counts))


@torch.inference_mode()
def mean_outputs(
    network: FloatNetwork,
    pixels: Tensor | npt.NDArray[np.uint8],
    steps: int,
    index: int,
    trials: Sequence[FloatLayer],
    *,
    batch: int = 256,
) -> Iterator[tuple[npt.NDArray[np.uint8], Tensor]]:
    """What layer `index` gives in the mean of `steps` steps, with each of `trials` in its place.

    Yields batches of frames, and for them ``(trials, N, C, H, W)`` in units of the activation that
    the layer stands for: counts times threshold, or an integrator's potential, over the steps. The
    layers before it run as they are. Pixels and errors are those of :func:`snn`.
    """
    _check_run(network, steps)
    times = _times(network, steps, settle=0)
    before = [_Layer(network, place, times) for place in range(index)]
    head, tail = network.layers[:index], network.layers[index + 1 :]
    layers = [
        _Layer(replace(network, layers=(*head, trial, *tail)), index, times) for trial in trials
    ]
    frames = _frames(network, pixels, steps)
    batch = _batch(network, times, batch)
    for start in range(0, len(frames), batch):
        part = frames[start : start + batch]
        trains = {INPUT: _input_train(network, part, times)}
        for place, layer in enumerate(before):
            trains[place], _ = layer.run(trains, len(part), last=False)
        totals = [layer.total(trains, len(part)) for layer in layers]
        yield part, torch.stack(totals) / drive(network, steps)


def _batch(network: FloatNetwork, times: _Times, most: int) -> int:
    """How many images to run at once."""
    neurons = sum(int(np.prod(layer.shape)) for layer in network.layers)
    return max(1, min(most, _CHUNK // (neurons * times.total)))


def _joined(parts: Iterable[list[npt.NDArray[Any]]]) -> tuple[npt.NDArray[np.int64], ...]:
    columns = zip(*parts, strict=True)
    return tuple(np.rint(np.concatenate(column)).astype(np.int64) for column in columns)


def _run(
    layers: Sequence[_Layer], source: _Train, images: int
) -> tuple[npt.NDArray[Any], list[npt.NDArray[Any]], list[npt.NDArray[Any]]]:
    """Outputs ``(N, steps, outputs)``, spikes and counts of one batch."""
    trains = {INPUT: source}
    spikes, counts = [], []
    outputs = source.at(1).new_empty(0)
    for index, layer in enumerate(layers):
        trains[index], outputs = layer.run(trains, images, last=index == len(layers) - 1)
        if layer.spec.fires:
            spikes.append(trains[index].spikes().numpy())
            counts.append(trains[index].total().numpy())
    return outputs.flatten(2).transpose(0, 1).numpy(), spikes, counts


# ------------------------------------------------------------------------------------------- trains


@dataclass(frozen=True)
class _Times:
    """Steps with input, and all of them, of which the last may be a final one."""

    steps: int
    total: int
    final: bool


def _times(network: FloatNetwork, steps: int, settle: int) -> _Times:
    final = any(layer.neuron is not None and layer.neuron.final for layer in network.layers)
    return _Times(steps, steps + settle + final, final)


class _Train:
    """What a source gives: in spikes, or, from the input, in real units."""

    def __init__(self, values: Tensor, *, held: int | None = None) -> None:
        """`values` holds one for every step.

        With `held` the targets hold them through so many steps, and changes are what is sent.
        """
        self._values, self._held = values, held

    @property
    def steps(self) -> int:
        """So many, and none afterwards."""
        return len(self._values) if self._held is None else self._held

    def at(self, step: int) -> Tensor:
        """``(N, C, H, W)`` of a step, from 1 on."""
        return self._values[step - 1]

    def total(self) -> Tensor:
        return self._values.sum(0)

    def spikes(self) -> Tensor:
        """How many were sent, of both signs."""
        if self._held is None:
            return self._values.abs().sum(0)
        before = functional.pad(self._values, (0,) * 8 + (1, 0))[:-1]
        return (self._values - before).abs().sum(0)


class _Held(_Train):
    """The same value in every one of `steps` steps."""

    def __init__(self, value: Tensor, steps: int) -> None:
        super().__init__(value.expand(steps, *value.shape))

    def total(self) -> Tensor:
        return self.steps * self.at(1)


class _Pairs(_Train):
    """TSC: the numbers that pairs of spikes enclose, which count as 1 for so many steps."""

    def __init__(self, number: Tensor, steps: int) -> None:
        super().__init__(number.expand(steps, *number.shape))

    def at(self, step: int) -> Tensor:
        number = super().at(step)
        return (number >= step).to(number.dtype)

    def total(self) -> Tensor:
        return super().at(1)

    def spikes(self) -> Tensor:
        return 2 * self.at(1)


def _frames(
    network: FloatNetwork, pixels: Tensor | npt.NDArray[np.uint8], steps: int
) -> npt.NDArray[np.uint8]:
    given = pixels.numpy() if isinstance(pixels, Tensor) else pixels
    return check_frames(given, network.input, steps)


def _input_train(
    network: FloatNetwork,
    frames: npt.NDArray[np.uint8],
    times: _Times,
    dtype: torch.dtype = torch.float32,
) -> _Train:
    """The input in real units, its mean taken off in every step."""
    spec = network.input
    value, mean, scale = (
        torch.tensor(numbers, dtype=dtype)[:, None, None]
        for numbers in (event_value(network, times.steps), spec.mean, spec.scale)
    )
    if spec.code is InputCode.DIRECT:
        pixels = torch.from_numpy(np.ascontiguousarray(frames)).to(dtype)
        return _Held((pixels - mean) * value, times.steps)
    spikes = encode(spec, times.steps, np.ascontiguousarray(np.moveaxis(frames, 0, -1)))
    if spec.code is InputCode.TSC:
        spikes = spikes.cumsum(0, dtype=spikes.dtype)
    levels = torch.from_numpy(np.ascontiguousarray(np.moveaxis(spikes, -1, 1)))
    off = mean * scale * drive(network, times.steps) / times.steps
    return _Train(levels.to(dtype) * value - off)


# ------------------------------------------------------------------------------------------- layers


class _Layer:
    """A layer's numbers as tensors, those of a channel as ``(C, 1, 1)``."""

    def __init__(
        self,
        network: FloatNetwork,
        index: int,
        times: _Times,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        layer = network.layers[index]
        assert layer.neuron is not None

        def tensor(values: npt.NDArray[np.float64]) -> Tensor:
            return torch.tensor(values, dtype=dtype)

        def per_channel(values: npt.NDArray[np.float64] | None) -> Tensor:
            given = np.zeros(layer.shape[0]) if values is None else values
            return tensor(given)[:, None, None]

        self.shape, self.spec, self._times = layer.shape, layer.neuron, times
        self._synapses = [
            (synapse, tensor(synapse.weight * _worth(network, synapse.source)))
            for synapse in layer.synapses
        ]
        self._bias = per_channel(layer.bias * drive(network, times.steps) / times.steps)
        self._threshold = per_channel(layer.threshold)
        self._initial = per_channel(layer.initial)

    def run(self, trains: dict[int, _Train], images: int, *, last: bool) -> tuple[_Train, Tensor]:
        """What the layer sends; of the last one also its outputs after every step."""
        if self.spec.codes:
            return self._window(trains, images)
        sent, outputs = [], []
        pools = self.spec.model is NeuronModel.MAX_POOL
        states = self._pools(trains) if pools else self._states(trains, images)
        for spikes, output in states:
            if self.spec.fires:
                sent.append(spikes)
            if last:
                outputs.append(output)
        nothing = self._threshold.new_empty(0)
        held = self._times.steps if self.spec.switches else None
        train = _Train(torch.stack(sent) if sent else nothing, held=held)
        return train, torch.stack(outputs) if last else nothing

    def total(self, trains: dict[int, _Train], images: int) -> Tensor:
        """``(N, C, H, W)``: all that the layer gives, in real units."""
        train, outputs = self.run(trains, images, last=not self.spec.fires)
        return train.total() * self._threshold if self.spec.fires else outputs[-1]

    def _states(self, trains: dict[int, _Train], images: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Spikes and outputs of each step."""
        spec, times, threshold = self.spec, self._times, self._threshold
        potential = self._initial.expand(images, *self.shape)
        count = torch.zeros_like(potential)
        ceased = torch.zeros_like(potential, dtype=torch.bool)
        for step, current in enumerate(self._currents(trains), 1):
            potential = potential + current
            if step <= times.steps:
                potential = potential + self._bias
            if not spec.fires:
                yield count, potential
                continue
            if spec.switches:
                active = _compare(spec)(potential, threshold) & ~ceased
                ceased = ceased | ((count > 0) & ~active & spec.latch)
                spikes = active.to(potential.dtype)
            elif times.final and step == times.total and spec.rounding is not Rounding.NONE:
                potential = potential + threshold / 2
                spikes = _rounding(spec, potential, threshold, count)
            elif spec.levels is not None:
                potential = potential + threshold / 2
                spikes = (potential / threshold).floor().clamp(0, spec.levels)
            else:
                spikes = _step(spec, potential, threshold, count)
            if spec.reset is Reset.ZERO:
                potential = torch.where(spikes != 0, torch.zeros_like(potential), potential)
            else:
                potential = potential - spikes * threshold
            count = count + spikes
            yield spikes, count

    def _currents(self, trains: dict[int, _Train]) -> Iterator[Tensor]:
        """Synaptic current of each step."""
        sources = [trains[synapse.source] for synapse, _ in self._synapses]
        held = all(isinstance(source, _Held) for source in sources)
        current = self._convolved([source.at(1) for source in sources]) if held else None
        silent = torch.zeros_like(self._threshold)
        for step in range(1, self._times.total + 1):
            if any(step > source.steps for source in sources):
                yield silent
            elif current is not None:
                yield current
            else:
                yield self._convolved([source.at(step) for source in sources])

    def _convolved(self, sources: Sequence[Tensor]) -> Tensor:
        currents = [
            functional.conv2d(
                pooled(synapse.pool, source),
                weight,
                stride=synapse.stride,
                padding=synapse.padding,
            )
            for (synapse, weight), source in zip(self._synapses, sources, strict=True)
        ]
        return sum(currents[1:], currents[0])

    def _window(self, trains: dict[int, _Train], images: int) -> tuple[_Train, Tensor]:
        """TSC, window per layer: all steps at once, since nothing happens before the last."""
        times = self._times
        totals = [trains[synapse.source].total() for synapse, _ in self._synapses]
        potential = self._initial + times.steps * self._bias + self._convolved(totals)
        reached = potential / self._threshold
        number = reached.floor() if self.spec.tie is Tie.FIRES else reached.ceil() - 1
        number = number.clamp(0, times.steps - 1)
        outputs = number.new_zeros(times.total, images, *self.shape)
        outputs[-1] = number
        return _Pairs(number, times.steps), outputs

    def _pools(self, trains: dict[int, _Train]) -> Iterator[tuple[Tensor, Tensor]]:
        """Changes of the greatest spike count of each window."""
        ((synapse, _),) = self._synapses
        source = trains[synapse.source]
        counts = torch.zeros_like(source.at(1))
        sent = torch.zeros_like(_greatest(synapse, counts))
        for step in range(1, self._times.total + 1):
            counts = counts + source.at(step)
            spikes = _greatest(synapse, counts) - sent
            if not (self._times.final and step == self._times.total):
                spikes = spikes.clamp(-self.spec.smax, self.spec.smax)
            sent = sent + spikes
            yield spikes, sent


def _greatest(synapse: FloatSynapse, counts: Tensor) -> Tensor:
    sy, sx = synapse.stride
    return functional.max_pool2d(counts, synapse.pool.size)[..., ::sy, ::sx]


def _worth(network: FloatNetwork, source: int) -> npt.NDArray[np.float64]:
    """Real value of a spike of each channel of `source`; the input comes in real units."""
    threshold = None if source == INPUT else network.layers[source].threshold
    return np.ones((1, 1, 1)) if threshold is None else threshold[:, None, None]


# ---------------------------------------------------------------------------------------- decisions


def _compare(spec: NeuronSpec) -> Callable[[Tensor, Tensor], Tensor]:
    return torch.ge if spec.tie is Tie.FIRES else torch.gt


def _passed(
    compare: Callable[[Tensor, Tensor], Tensor], potential: Tensor, limits: Iterable[Tensor]
) -> Tensor:
    """How many of `limits` each potential passes."""
    return sum(compare(potential, limit).to(potential.dtype) for limit in limits)  # type: ignore[return-value]


def _step(spec: NeuronSpec, potential: Tensor, threshold: Tensor, count: Tensor) -> Tensor:
    """n of an ordinary step; :mod:`spikewright.network.neuron` has the rules."""
    multiples = range(1, spec.smax + 1)
    n = _passed(_compare(spec), potential, (k * threshold for k in multiples))
    if spec.zmax is not None:
        n = torch.minimum(n, spec.zmax - count)
    if spec.negative is not Negative.NONE:
        if spec.negative is Negative.BELOW_ZERO:
            back = _passed(torch.gt, -potential, ((k - 1) * threshold for k in multiples))
        else:
            back = _passed(_compare(spec), -potential, (k * threshold for k in multiples))
        n = n - (torch.minimum(back, count) if spec.gated else back)
    if spec.digits is Digits.POWER and spec.smax > 1:
        return n.sign() * torch.where(n != 0, n.abs().log2().floor().exp2(), n)
    return n


def _rounding(spec: NeuronSpec, potential: Tensor, threshold: Tensor, count: Tensor) -> Tensor:
    """n of the rounding phase, from potentials that hold half a threshold already."""
    n = (potential / threshold).floor()
    if spec.zmax is not None:
        n = torch.minimum(n, spec.zmax - count)
    if spec.gated:
        n = torch.maximum(n, -count)
    return n.clamp(-1, 1) if spec.rounding is Rounding.ONE else n


def _check_run(network: FloatNetwork, steps: int) -> None:
    if steps < 1:
        raise SpikewrightError(f"float simulator: T is {steps}; at least 1 time step is needed")
    for layer in network.layers:
        if layer.neuron is None or layer.initial is None:
            raise SpikewrightError(f"layer {layer.name}: has no neurons yet; convert the network")
        if layer.neuron.fires and layer.threshold is None:
            raise SpikewrightError(f"layer {layer.name}: has no threshold; convert the network")
        if not layer.neuron.fires and layer is not network.layers[-1]:
            raise SpikewrightError(f"layer {layer.name}: an integrator can only be the last layer")
