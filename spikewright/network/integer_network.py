"""The integer network with what no input can leave."""

from __future__ import annotations

from functools import cached_property

from spikewright.network.neuron import NeuronModel
from spikewright.network.ranges import Ranges, analyse
from spikewright.network.structure import Structure

__all__ = ["Network", "scans"]


class Network(Structure):
    """The integer network, run by the golden model and by the hardware; and its proven ranges."""

    @cached_property
    def ranges(self) -> Ranges:
        """What no input can leave; see :mod:`spikewright.network.ranges`."""
        return analyse(self)


def scans(network: Network, index: int) -> tuple[int, int]:
    """Digits that layer `index` decides in an ordinary step, and in the final one.

    0 in the final step: it is an ordinary one.
    """
    spec = network.layers[index].neuron
    pools = spec.model is NeuronModel.MAX_POOL and network.has_final
    final = network.ranges.layers[index].final_digits if spec.final or pools else 0
    return max(1, spec.step_digits), final
