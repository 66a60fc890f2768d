"""The last pass: network and hardware to mapping, or to a machine and its schedule."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from spikewright.errors import SpikewrightError
from spikewright.machine.device import Device
from spikewright.machine.mapping import Mapping
from spikewright.machine.placement import place
from spikewright.network import Network, NeuronModel
from spikewright.sw.passes.machines import Chosen, choose_machine

__all__ = ["bursts", "map_network", "schedule_network"]

FRAMES = 4
"""Sample frames by which placements are compared."""


def bursts(network: Network) -> bool:
    """Whether `network` has burst neurons, and so is for the second machine."""
    return any(layer.neuron.model is NeuronModel.BURST for layer in network.layers)


def map_network(network: Network, *, cores: int = 1, lanes: int = 16) -> Mapping:
    """Lay `network` out on `cores` cores of `lanes` lanes.

    Raises SpikewrightError for shapes that the hardware does not have.
    """
    if bursts(network):
        raise SpikewrightError("mapping: burst neurons need the second machine")
    return place(network, cores, lanes)


def schedule_network(
    network: Network,
    device: Device | None,
    *,
    cores: int | None = None,
    lanes: int | None = None,
    fire_units: int | None = None,
    frames: npt.NDArray[np.uint8] | None = None,
) -> Chosen:
    """The fastest machine for `network` that `device` holds, with as many of each as are given.

    Without a device that is one core of 16 lanes with two fire units, where none are given.
    `frames` are samples of the input. Raises SpikewrightError if the network does not fit.
    """
    if device is None:
        cores, lanes, fire_units = cores or 1, lanes or 16, fire_units or 2
    if lanes and fire_units and lanes % fire_units:
        raise SpikewrightError(
            f"mapping: {lanes} lanes cannot be dealt to {fire_units} fire units; give a divisor"
        )
    given = {"cores": cores, "lanes": lanes, "fire_units": fire_units}
    bounds = {name: (number,) for name, number in given.items() if number is not None}
    few = None if frames is None else frames[:FRAMES]
    return choose_machine([network], device, few, **bounds)
