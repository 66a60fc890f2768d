"""Places a network on a second machine: a legal placement, not yet the fastest.

Positions of a window, then neighbouring windows, are packed into the lanes that a channel group
leaves free; groups and tiles are dealt so that the busiest core has the fewest items. Where weights
or window sums do not fit that way, the next simpler placement is tried.
"""

from __future__ import annotations

from itertools import product

from spikewright.errors import SpikewrightError
from spikewright.machine.blocks import WORD, Machine
from spikewright.machine.choices import LayerPlacement, Placement
from spikewright.machine.memories import make_images
from spikewright.machine.schedule import Schedule
from spikewright.network import INPUT, Network
from spikewright.network.geometry import Pair

__all__ = ["place"]

_ROUNDED = 1.1
"""How much longer than a row its tiles may be, so that they fill words."""


def place(network: Network, machine: Machine) -> Schedule:
    """The schedule of `network` on `machine`; raises SpikewrightError where it does not fit."""
    failure = None
    for packs, sums in ((True, True), (False, True), (True, False), (False, False)):
        try:
            schedule = Schedule(network, machine, _placement(network, machine, packs, sums))
            make_images(schedule)
            return schedule
        except SpikewrightError as error:
            failure = failure or error
    raise failure or AssertionError


def _placement(network: Network, machine: Machine, packs: bool, sums: bool) -> Placement:
    channels, _, width = network.input.shape
    layers = tuple(
        _layer(network, index, machine, packs, sums) for index in range(len(network.layers))
    )
    return Placement(layers, max(1, min(width, WORD // min(channels, WORD))))


def _layer(
    network: Network, index: int, machine: Machine, packs: bool, sums: bool
) -> LayerPlacement:
    channels, height, width = network.layers[index].shape
    fires = machine.fire.count
    groups = -(-channels // (min(machine.lanes.count, WORD) // fires * fires))
    pitch = -(-channels // (groups * fires)) * fires
    pool = _pool(network, index) if sums else (1, 1)
    last = index == len(network.layers) - 1
    members, windows = (1, 1), 1
    if packs and not last:
        members = _members(pool, machine, pitch)
        free = machine.lanes.count // (pitch * members[0] * members[1])
        windows = max(1, min(free, width // pool[1], WORD // pitch))
    rows, tiles_x = height // pool[0], -(-(width // pool[1]) // windows)
    word = 1 if last else _word(network, index, machine, pool, tiles_x, windows * pitch)
    shares = _shares(machine.cores, groups, rows * -(-tiles_x // word))
    return LayerPlacement(pitch, pool, members, windows, word, *shares)


def _pool(network: Network, index: int) -> Pair:
    """The window that all readers of a layer sum, if they agree."""
    windows = {
        synapse.pool.size
        for layer in network.layers
        for synapse in layer.synapses
        if synapse.source == index != INPUT
    }
    return windows.pop() if len(windows) == 1 else (1, 1)


def _members(pool: Pair, machine: Machine, pitch: int) -> Pair:
    """The most positions of a window that fit an item; one where the pool's pipeline forbids."""
    if pitch // machine.fire.count < machine.pool.latency:
        return 1, 1
    room = machine.lanes.count // pitch
    shapes = product(_divisors(pool[0]), _divisors(pool[1]))
    return max((s for s in shapes if s[0] * s[1] <= room), key=lambda s: s[0] * s[1])


def _word(
    network: Network, index: int, machine: Machine, pool: Pair, tiles_x: int, values: int
) -> int:
    """As many tiles as a word holds, if few lie beyond the row and the packer can wait."""
    most = network.ranges.layers[index].spikes[1] * pool[0] * pool[1]
    if network.steps * max(1, most.bit_length()) > machine.packer.partial:
        return 1
    fitting = range(1, min(tiles_x, WORD // values) + 1)
    return max(n for n in fitting if -(-tiles_x // n) * n <= _ROUNDED * tiles_x)


def _shares(cores: int, groups: int, words: int) -> Pair:
    """Rows of cores for groups, and cores of a row for words; of equal ones, fewest weights."""
    grids = [(g, min(words, cores // g)) for g in range(1, min(groups, cores) + 1)]
    return min(grids, key=lambda s: (-(-groups // s[0]) * -(-words // s[1]), -s[0]))


def _divisors(n: int) -> list[int]:
    return [d for d in range(1, n + 1) if n % d == 0]
