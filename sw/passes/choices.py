"""The placements of a layer that are worth a look; whether each is legal, the schedule says."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

from spikewright.machine.blocks import WORD, Machine
from spikewright.machine.choices import LayerPlacement
from spikewright.network import INPUT, Network
from spikewright.network.geometry import Pair

__all__ = ["frame_columns", "frame_margins", "geometries", "grids", "words"]

_GROUPINGS = 4
"""So many numbers of channel groups are tried, from the fewest on."""
_ROUNDED = 1.5
"""How much longer than a row its tiles may be, so that they fill words."""


def frame_columns(network: Network) -> list[int]:
    """Columns of the frame in a word: the most, and the fewest that take no more words."""
    channels, _, width = network.input.shape
    most = max(1, min(width, WORD // min(channels, WORD)))
    fewest = -(-width // -(-width // most))
    return sorted({most, fewest}, reverse=True)


def frame_margins(network: Network) -> list[int]:
    """Rows of zeros above and below the frame: none, or as far as all fields reach beyond it."""
    synapses = [s for layer in network.layers for s in layer.synapses if s.source == INPUT]
    if any(s.pool.size != (1, 1) for s in synapses):
        return [0]
    return sorted({0, min((s.padding[0] for s in synapses), default=0)})


def geometries(network: Network, index: int, machine: Machine) -> Iterator[LayerPlacement]:
    """Channels, windows summed on write or on read, and positions in an item.

    A layer whose outputs go to the readout takes one position an item and sums nothing.
    """
    last = index == len(network.layers) - 1
    width = network.layers[index].shape[2]
    for pool in [(1, 1)] if last else _pools(network, index):
        for channels in _channels(network.layers[index].shape[0], machine):
            room = machine.lanes.count // channels
            if last:
                yield LayerPlacement(channels)
                continue
            for members in product(_divisors(pool[0]), _divisors(pool[1])):
                most = room // (members[0] * members[1])
                for windows in range(1, min(most, width // pool[1], WORD // channels) + 1):
                    yield LayerPlacement(channels, pool, members, windows)


def words(network: Network, index: int, chosen: LayerPlacement) -> list[int]:
    """Tiles that may fill a word."""
    if index == len(network.layers) - 1:
        return [1]
    tiles = -(-(network.layers[index].shape[2] // chosen.pool[1]) // chosen.windows)
    fitting = range(1, min(tiles, WORD // (chosen.channels * chosen.windows)) + 1)
    return [n for n in fitting if -(-tiles // n) * n <= _ROUNDED * tiles]


def grids(cores: int, groups: int, runs: int) -> list[Pair]:
    """Shares of `groups` and of `runs` words that give some core less than any smaller grid."""
    rows = {-(-groups // -(-groups // g)) for g in range(1, min(groups, cores) + 1)}
    return [(g, min(runs, cores // g)) for g in sorted(rows)]


def _channels(channels: int, machine: Machine) -> list[int]:
    """Sizes of a group, without lanes that no group needs."""
    fires = machine.fire.count
    most = min(machine.lanes.count, WORD) // fires * fires
    fewest = -(-channels // most)
    made = (-(-channels // (groups * fires)) * fires for groups in range(fewest, channels + 1))
    return list(dict.fromkeys(made))[:_GROUPINGS]


def _pools(network: Network, index: int) -> list[Pair]:
    """(1, 1), and the window that all readers of a layer sum, if they agree."""
    windows = {
        synapse.pool.size
        for layer in network.layers
        for synapse in layer.synapses
        if synapse.source == index != INPUT
    }
    return sorted({(1, 1), *windows}, reverse=True) if len(windows) == 1 else [(1, 1)]


def _divisors(n: int) -> list[int]:
    return [d for d in range(1, n + 1) if n % d == 0]
