"""The last pass: network and hardware to mapping."""

from __future__ import annotations

from spikewright.errors import SpikewrightError
from spikewright.machine.mapping import Mapping
from spikewright.machine.placement import place
from spikewright.network import Network

__all__ = ["map_network"]


def map_network(network: Network, *, cores: int = 1, lanes: int = 16) -> Mapping:
    """Lay `network` out on `cores` cores of `lanes` lanes.

    Raises SpikewrightError for shapes that the hardware does not have.
    """
    if any(layer.neuron.levels is not None for layer in network.layers):
        raise SpikewrightError(
            "mapping: burst neurons need the second machine, which cannot be built yet"
        )
    return place(network, cores, lanes)
