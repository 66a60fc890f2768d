"""Exact comparison of an execution with the golden model: the first place where they differ.

There is no tolerance: hardware and golden model are equal in every spike, count and membrane of
every step, or one of them is wrong. All later differences may follow from the first, so it is the
only one reported.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from spikewright.errors import SpikewrightError
from spikewright.network import Network
from spikewright.sim.golden.model import LayerTrace

__all__ = ["Mismatch", "first_mismatch", "first_output_mismatch"]

_QUANTITIES = {"spikes": "spike", "counts": "count", "membranes": "membrane"}
"""Arrays of a trace, in the order in which a step makes them, and what one value is called."""


@dataclass(frozen=True)
class Mismatch:
    """One difference. `image`, `channel`, `y` and `x` count from 0, `step` is t = 1..T.

    `quantity` is ``spike``, ``count``, ``membrane``, ``potential`` or ``class``; a class has no
    position.
    """

    layer: str
    channel: int | None
    y: int | None
    x: int | None
    step: int
    quantity: str
    expected: int
    got: int
    image: int

    def __str__(self) -> str:
        place = f"image {self.image}, layer {self.layer}"
        if self.channel is not None:
            place += f", channel {self.channel}, y {self.y}, x {self.x}"
        difference = f"{self.quantity} expected {self.expected}, got {self.got}"
        return f"first mismatch: {place}, step {self.step}: {difference}"


def first_mismatch(expected: Sequence[LayerTrace], got: Sequence[LayerTrace]) -> Mismatch | None:
    """First difference of two traces by image, layer, step, channel, y, x.

    Where several quantities of a neuron differ, the spike comes before the count and the membrane.
    Raises SpikewrightError where the traces are not of the same layers and shapes.
    """
    names, other = [t.name for t in expected], [t.name for t in got]
    if names != other:
        raise SpikewrightError(f"trace: expected layers {names}, got {other}")
    differing = []
    for one, two in zip(expected, got, strict=True):
        for states in _QUANTITIES:
            _same_shape(f"layer {one.name}", states, getattr(one, states), getattr(two, states))
        differing.append(
            np.logical_or.reduce([getattr(one, s) != getattr(two, s) for s in _QUANTITIES])
        )
    images = [int(d.reshape(len(d), -1).any(1).argmax()) if d.any() else None for d in differing]
    image = min((i for i in images if i is not None), default=None)
    if image is None:
        return None
    index = images.index(image)
    step, channel, y, x = (int(i) for i in np.argwhere(differing[index][image])[0])
    place = (image, step, channel, y, x)
    values = {
        quantity: tuple(int(getattr(trace[index], states)[place]) for trace in (expected, got))
        for states, quantity in _QUANTITIES.items()
    }
    quantity, (a, b) = next((name, pair) for name, pair in values.items() if pair[0] != pair[1])
    return Mismatch(expected[index].name, channel, y, x, step + 1, quantity, a, b, image)


def first_output_mismatch(
    network: Network,
    expected: tuple[npt.NDArray[Any], npt.NDArray[Any]],
    got: tuple[npt.NDArray[Any], npt.NDArray[Any]],
) -> Mismatch | None:
    """First difference of two ``(potentials (N, outputs), classes (N,))``, by image, class last.

    Raises SpikewrightError where their shapes differ.
    """
    last = network.layers[-1]
    for quantity, one, two in zip(("potentials", "classes"), expected, got, strict=True):
        _same_shape(f"layer {last.name}", quantity, one, two)
    potentials, classes = (one != two for one, two in zip(expected, got, strict=True))
    differing = potentials.any(1) | classes
    if not differing.any():
        return None
    image = int(differing.argmax())
    if not potentials[image].any():
        values = (int(expected[1][image]), int(got[1][image]))
        return Mismatch(last.name, None, None, None, network.steps, "class", *values, image)
    output = int(potentials[image].argmax())
    channel, y, x = (int(i) for i in np.unravel_index(output, last.shape))
    values = (int(expected[0][image, output]), int(got[0][image, output]))
    quantity = "count" if last.neuron.fires else "potential"
    return Mismatch(last.name, channel, y, x, network.steps, quantity, *values, image)


def _same_shape(where: str, what: str, one: npt.NDArray[Any], two: npt.NDArray[Any]) -> None:
    if one.shape != two.shape:
        raise SpikewrightError(f"{where}: expected {what} of shape {one.shape}, got {two.shape}")
