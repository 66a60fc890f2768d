"""Float simulator: a float network in torch, as an ANN and as an SNN over T steps.

The SNN is the golden model's counterpart with real numbers. A neuron follows
``U(t) = V(t-1) + I(t) + bias``, fires at its threshold and keeps ``V(t) = U(t) - threshold`` where
it fired (NQ, Eq. 2-5); a spike is worth the threshold of the neuron that sent it, a pool averages,
and the frame enters as ``(pixel - mean) * scale`` in every step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from ..errors import SpikewrightError
from ..network import INPUT, Activation, ActivationKind, FloatLayer, FloatNetwork, Tie
from .golden import check_frames

__all__ = ["SnnResult", "ann", "snn"]


@dataclass(frozen=True)
class SnnResult:
    """What N images gave over T steps.

    - `potentials`: ``(N, T, outputs)`` of the simulation's type, the last layer's potential after
      each step in (c, y, x) order, so that one run serves every shorter one.
    - `spike_counts`: for each firing layer int64 ``(N, C, H, W)``, spikes over the T steps.
    """

    potentials: npt.NDArray[Any]
    spike_counts: tuple[npt.NDArray[np.int64], ...]

    @property
    def classes(self) -> npt.NDArray[np.int64]:
        """int64 ``(N, T)``: the greatest potential after each step; of equals the lowest index."""
        return self.potentials.argmax(2).astype(np.int64)


@torch.inference_mode()
def ann(
    network: FloatNetwork,
    pixels: Tensor | npt.NDArray[np.uint8],
    *,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str | None = None,
    batch: int = 256,
) -> npt.NDArray[Any]:
    """Outputs ``(N, outputs)`` of the ANN, every layer followed by its activation.

    `pixels` is uint8 ``(N, C, H, W)``; raises SpikewrightError on other frames.
    """
    layers = [_Layer(layer, dtype, device) for layer in network.layers]

    def forward(frames: Tensor) -> Tensor:
        outputs: list[Tensor] = []
        for layer in layers:
            outputs.append(layer.activate(layer.drive([*outputs, frames])))
        return outputs[-1].flatten(1)

    return np.concatenate(
        [forward(part).cpu().numpy() for part in _batches(network, pixels, dtype, device, batch)]
    )


@torch.inference_mode()
def snn(
    network: FloatNetwork,
    pixels: Tensor | npt.NDArray[np.uint8],
    steps: int,
    *,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str | None = None,
    batch: int = 256,
) -> SnnResult:
    """Run a converted network for `steps` steps.

    `pixels` is uint8 ``(N, C, H, W)``. Raises SpikewrightError on other frames, on `steps` below 1,
    and on a network that is not converted or whose last layer fires.
    """
    if steps < 1:
        raise SpikewrightError(f"float simulator: T is {steps}; at least 1 time step is needed")
    _check_converted(network)
    layers = [_Layer(layer, dtype, device) for layer in network.layers]
    potentials, counts = [], []
    for frames in _batches(network, pixels, dtype, device, batch):
        part, spikes = _run(layers, frames, steps)
        potentials.append(part.cpu().numpy())
        counts.append([count.cpu().numpy() for count in spikes])
    return SnnResult(
        np.concatenate(potentials),
        tuple(np.concatenate(parts) for parts in zip(*counts, strict=True)),
    )


def _run(layers: Sequence[_Layer], frames: Tensor, steps: int) -> tuple[Tensor, list[Tensor]]:
    """Potentials ``(N, T, outputs)`` and spike counts of one batch."""
    constant = [layer.drive([frames]) if layer.direct else None for layer in layers]
    membranes = [layer.initial.expand(len(frames), *layer.shape) for layer in layers]
    counts = [torch.zeros(m.shape, dtype=torch.int64, device=m.device) for m in membranes[:-1]]
    readings = []
    for _ in range(steps):
        spikes: list[Tensor] = []
        for index, layer in enumerate(layers):
            drive = constant[index]
            potential = membranes[index] + (
                layer.drive([*spikes, frames]) if drive is None else drive
            )
            if index < len(counts):
                fired = layer.fires(potential)
                counts[index] += fired
                spikes.append(fired * layer.threshold)
                potential = potential - spikes[-1]
            membranes[index] = potential
        readings.append(membranes[-1].flatten(1))
    return torch.stack(readings, 1), counts


class _Layer:
    """A layer's numbers as tensors, those of a channel as ``(C, 1, 1)``."""

    def __init__(
        self, layer: FloatLayer, dtype: torch.dtype, device: torch.device | str | None
    ) -> None:
        def tensor(values: npt.NDArray[np.float64]) -> Tensor:
            return torch.tensor(values, dtype=dtype, device=device)

        def per_channel(values: npt.NDArray[np.float64] | None) -> Tensor:
            given = np.zeros(layer.shape[0]) if values is None else values
            return tensor(given)[:, None, None]

        self.shape = layer.shape
        self.direct = all(s.source == INPUT for s in layer.synapses)
        self.synapses = [(s, tensor(s.weight)) for s in layer.synapses]
        self.bias = per_channel(layer.bias)
        self.threshold = per_channel(layer.threshold)
        self.initial = per_channel(layer.initial)
        self.activate = _activation(layer.activation, per_channel(layer.activation.threshold))
        holds = layer.neuron is not None and layer.neuron.tie is Tie.HOLDS
        self._compare = torch.gt if holds else torch.ge

    def drive(self, sources: Sequence[Tensor]) -> Tensor:
        """Current plus bias. The frame stands last in `sources`, where its index -1 finds it."""
        total = self.bias
        for synapse, weight in self.synapses:
            source = sources[synapse.source]
            if synapse.pool.area > 1:
                source = functional.avg_pool2d(source, synapse.pool.size)
            total = total + functional.conv2d(
                source, weight, stride=synapse.stride, padding=synapse.padding
            )
        return total

    def fires(self, potential: Tensor) -> Tensor:
        return self._compare(potential, self.threshold)


def _activation(activation: Activation, threshold: Tensor) -> Callable[[Tensor], Tensor]:
    """The function that `activation` names, `threshold` as ``(C, 1, 1)`` (QCFS: NQ, Eq. 6)."""

    def clip(z: Tensor) -> Tensor:
        return torch.minimum(z.clamp(min=0), threshold)

    def qcfs(z: Tensor) -> Tensor:
        levels = activation.levels or 1
        return threshold * ((z * levels / threshold + 0.5).floor() / levels).clamp(0, 1)

    return {
        ActivationKind.NONE: lambda z: z,
        ActivationKind.RELU: torch.relu,
        ActivationKind.CLIP: clip,
        ActivationKind.QCFS: qcfs,
    }[activation.kind]


def _check_converted(network: FloatNetwork) -> None:
    for index, layer in enumerate(network.layers):
        last = index == len(network.layers) - 1
        if layer.neuron is None or layer.initial is None:
            raise SpikewrightError(f"layer {layer.name}: has no neurons yet; convert the network")
        if last and layer.neuron.fires:
            raise SpikewrightError(
                f"layer {layer.name}: the last layer fires; the float simulator reads an integrator"
            )
        if not last and layer.threshold is None:
            raise SpikewrightError(f"layer {layer.name}: has no threshold; convert the network")


def _batches(
    network: FloatNetwork,
    pixels: Tensor | npt.NDArray[np.uint8],
    dtype: torch.dtype,
    device: torch.device | str | None,
    batch: int,
) -> Iterator[Tensor]:
    """What the model sees of the frames, ``(pixel - mean) * scale``, `batch` images at a time."""
    frames = check_frames(
        pixels.cpu().numpy() if isinstance(pixels, Tensor) else pixels, network.input
    )
    mean, scale = (
        torch.tensor(values, dtype=dtype, device=device)[:, None, None]
        for values in (network.input.mean, network.input.scale)
    )
    for start in range(0, max(1, len(frames)), batch):
        part = torch.from_numpy(np.ascontiguousarray(frames[start : start + batch]))
        yield (part.to(device=device, dtype=dtype) - mean) * scale
