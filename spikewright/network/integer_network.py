"""The integer network with what no input can leave."""

from __future__ import annotations

from functools import cached_property

from spikewright.network.arrays import Ints
from spikewright.network.neuron import NeuronModel
from spikewright.network.ranges import Ranges, analyse
from spikewright.network.structure import Structure

__all__ = ["Network", "scans"]


class Network(Structure):
    """The integer network, run by the golden model and by the hardware; and its proven ranges."""

    # -- proven ranges ---------------------------------------------------------------------------

    @cached_property
    def ranges(self) -> Ranges:
        """What no input can leave; see :mod:`spikewright.network.ranges`."""
        return analyse(self)

    @property
    def current_ranges(self) -> tuple[tuple[Ints, Ints], ...]:
        """Per layer, the least and greatest synaptic current of one step, per channel."""
        return tuple(layer.current for layer in self.ranges.layers)

    @property
    def potential_ranges(self) -> tuple[tuple[Ints, Ints], ...]:
        """Per layer, the least and greatest potential U (before firing), per channel."""
        return tuple(layer.potential for layer in self.ranges.layers)

    @property
    def membrane_bits(self) -> int:
        """Width in which no membrane of any layer can wrap, whatever the input."""
        return self.ranges.membrane_bits

    @property
    def compare_bits(self) -> int:
        """Width in which no potential less its threshold wraps; parameters have it too."""
        return self.ranges.compare_bits

    @property
    def current_bits(self) -> int:
        """Width of the second accumulator: input current of direct layers, TSC's currents."""
        return self.ranges.current_bits


def scans(network: Network, index: int) -> tuple[int, int]:
    """Digits that layer `index` decides in an ordinary step, and in the final one.

    0 in the final step: it is an ordinary one.
    """
    spec = network.layers[index].neuron
    pools = spec.model is NeuronModel.MAX_POOL and network.has_final
    final = network.ranges.layers[index].final_digits if spec.final or pools else 0
    return max(1, spec.step_digits), final
