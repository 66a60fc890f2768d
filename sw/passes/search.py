"""The search for the fastest placement: layer after layer, keeping the best of each kind.

How a layer is placed matters to those that read it by how its map lies in words alone, so of two
ways to place the layers so far that leave equal maps to be read, the dearer one is dropped, unless
it needs fewer weight rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np

from spikewright.errors import SpikewrightError
from spikewright.machine.blocks import WORD, Machine
from spikewright.machine.choices import LayerPlacement, Placement
from spikewright.machine.configuration import Send
from spikewright.machine.maps import Map
from spikewright.machine.schedule import LayerSchedule
from spikewright.network import INPUT, Ints, Network
from spikewright.sw.passes.activity import Activity
from spikewright.sw.passes.choices import frame_columns, geometries, grids, words
from spikewright.sw.passes.costs import barrier, tile_clocks
from spikewright.sw.passes.runs import cut, slowest

__all__ = ["Found", "search"]

_KEPT = 3
"""Placements of equal maps that are kept, each with fewer weight rows than the faster ones."""
_WIDTH = 48
"""Placements that are kept behind a layer."""


@dataclass(frozen=True)
class Found:
    """Placements of the layers so far: estimated clocks, and what they take of the memories.

    `maps` are those that later layers read, `rows` the weight rows of every core.
    """

    frame_columns: int
    layers: tuple[LayerPlacement, ...]
    maps: dict[int, Map]
    clocks: float = 0
    rows: Ints = field(default_factory=lambda: np.zeros(1, np.int64))

    @property
    def placement(self) -> Placement:
        """What it says."""
        return Placement(self.layers, self.frame_columns)

    @property
    def price(self) -> tuple[float, int]:
        """What is to be small."""
        return self.clocks, int(self.rows.max())


def search(network: Network, machine: Machine, activity: Activity) -> list[Found]:
    """Placements of `network` that are likely to be fast, the fastest by the estimate first.

    Those that need too many weight rows are left out. Raises SpikewrightError where a layer has no
    legal placement, or the weights do not fit.
    """
    found = [_empty(network, machine, columns) for columns in frame_columns(network)]
    for index in range(len(network.layers)):
        found = _Layer(network, index, machine, activity).extend(found)
    return found


def _empty(network: Network, machine: Machine, columns: int) -> Found:
    c, h, w = network.input.shape
    frame = Map(c, h, w, 1, network.input.bits, min(c, WORD), columns)
    return Found(columns, (), {INPUT: frame}, rows=np.zeros(machine.cores, np.int64))


@dataclass(frozen=True)
class _Choice:
    """A placement of one layer, given its sources' maps."""

    placement: LayerPlacement
    map: Map | None
    clocks: float
    rows: Ints


class _Layer:
    """All choices for one layer."""

    def __init__(self, network: Network, index: int, machine: Machine, activity: Activity) -> None:
        self.network, self.index, self.machine = network, index, machine
        self.activity = activity
        self.failure: SpikewrightError | None = None
        later = network.layers[index + 1 :]
        self.live = {synapse.source for layer in later for synapse in layer.synapses}
        self.sources = {synapse.source for synapse in network.layers[index].synapses}

    def extend(self, found: list[Found]) -> list[Found]:
        """Every one of `found` with every choice for this layer; the best of them."""
        kinds: dict[object, list[Found]] = {}
        choices: dict[object, list[_Choice]] = {}
        for one in found:
            read = tuple((source, one.maps[source]) for source in sorted(self.sources))
            if read not in choices:
                choices[read] = list(self._choices(one.maps))
            for choice in choices[read]:
                self._keep(kinds, one, choice)
        kept = [one for kind in kinds.values() for one in _front(kind)]
        if not kept:
            raise self.failure or AssertionError
        kept.sort(key=lambda one: one.price)
        # The widest and those that spare weights, lest a later layer finds no room.
        spare = sorted(kept, key=lambda one: one.price[::-1])[: _WIDTH // 4]
        return list({id(one): one for one in [*kept[:_WIDTH], *spare]}.values())

    def _keep(self, kinds: dict[object, list[Found]], one: Found, choice: _Choice) -> None:
        rows = one.rows + choice.rows
        if rows.max() > self.machine.lanes.weight_rows:
            self.failure = self.failure or SpikewrightError(
                f"weight memory: needs {rows.max()} words, the machine has "
                f"{self.machine.lanes.weight_rows}; take more cores, more words, or a smaller "
                "network"
            )
            return
        maps = one.maps if choice.map is None else {**one.maps, self.index: choice.map}
        maps = {source: made for source, made in maps.items() if source in self.live}
        kind = tuple(maps.items())
        made = Found(
            one.frame_columns,
            (*one.layers, choice.placement),
            maps,
            one.clocks + choice.clocks,
            rows,
        )
        kinds.setdefault(kind, []).append(made)

    def _choices(self, maps: dict[int, Map]) -> Iterator[_Choice]:
        for geometry in geometries(self.network, self.index, self.machine):
            fitting = words(self.network, self.index, geometry)
            schedules = [
                (word, made)
                for word in fitting
                if (made := self._schedule(replace(geometry, word=word), maps))
            ]
            if not schedules:
                continue
            most = max(made.tiles_x for _, made in schedules)
            tiles = tile_clocks(schedules[0][1], self.activity, most)
            for _, made in schedules:
                yield from self._dealt(made, tiles)

    def _schedule(self, chosen: LayerPlacement, maps: dict[int, Map]) -> LayerSchedule | None:
        try:
            return LayerSchedule(self.network, self.index, self.machine, chosen, maps)
        except SpikewrightError as error:
            self.failure = self.failure or error
            return None

    def _dealt(self, layer: LayerSchedule, tiles: Ints) -> Iterator[_Choice]:
        place, cores = layer.placement, np.arange(self.machine.cores)
        waits = barrier(self.machine, layer.slots * place.positions)
        made = layer.map if layer.send is Send.PLANES else None
        own = tiles[:, :, : layer.tiles_x].reshape(len(tiles), -1, place.word).sum(2)
        for rows, columns in grids(len(cores), layer.groups, layer.tiles // place.word):
            most = -(-layer.groups // rows)
            cuts = cut(own, columns)
            clocks = most * slowest(own, cuts) + waits
            row = cores // columns
            groups = layer.groups * (row + 1) // rows - layer.groups * row // rows
            used = groups * (row < rows) * layer.group_rows
            chosen = replace(place, group_shares=rows, tile_shares=columns, cuts=cuts)
            yield _Choice(chosen, made, clocks, used)


def _front(kind: list[Found]) -> list[Found]:
    """The fastest, and those that need fewer weight rows than all faster ones."""
    kept: list[Found] = []
    for one in sorted(kind, key=lambda one: one.price):
        if not kept or one.price[1] < kept[-1].price[1]:
            kept.append(one)
        if len(kept) == _KEPT:
            break
    return kept
