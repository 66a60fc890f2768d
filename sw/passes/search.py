"""The search for the fastest placement: layer after layer, keeping the best of each kind.

How a layer is placed matters to those that read it by how its map lies in words alone, so of two
ways to place the layers so far that leave equal maps to be read, the dearer one is dropped, unless
it needs fewer weight rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np

from spikewright.errors import SpikewrightError
from spikewright.machine.blocks import Machine
from spikewright.machine.choices import LayerPlacement, Placement
from spikewright.machine.configuration import Send
from spikewright.machine.maps import Map
from spikewright.machine.schedule import LayerSchedule, frame_map
from spikewright.network import INPUT, Ints, Network
from spikewright.network.geometry import Pair
from spikewright.sw.passes.activity import Activity
from spikewright.sw.passes.choices import frame_columns, frame_margins, geometries, grids, words
from spikewright.sw.passes.costs import barrier, tile_clocks
from spikewright.sw.passes.runs import cut, in_turn, slowest

__all__ = ["WIDTH", "Found", "search"]

_KEPT = 3
"""Placements of equal maps that are kept, each with fewer weight rows than the faster ones."""
WIDTH, _LEAST, _ALL = 24, 3, 240
"""Placements that are kept behind a layer; fewer, and at least so many, where there would be more
of all layers together."""


@dataclass(frozen=True)
class Found:
    """Placements of the layers so far: estimated clocks, and what they take of the memories.

    `maps` are those that later layers read, `rows` the weight rows of every core, `kept` the words
    of each map that some core keeps.
    """

    frame: Pair
    layers: tuple[LayerPlacement, ...]
    maps: dict[int, Map]
    rows: Ints
    clocks: float = 0
    kept: dict[int, int] = field(default_factory=dict)

    @property
    def placement(self) -> Placement:
        """What it says."""
        return Placement(self.layers, *self.frame)

    @property
    def price(self) -> tuple[float, int]:
        """What is to be small."""
        return self.clocks, int(self.rows.max())


def search(
    network: Network, machine: Machine, activity: Activity, width: int = WIDTH
) -> list[Found]:
    """Placements of `network` that are likely to be fast, the fastest by the estimate first.

    `width` of them are kept behind a layer, and a few more that need fewer weight rows.
    Those that need too many weight rows are left out. Raises SpikewrightError where a layer has no
    legal placement, or the weights do not fit.
    """
    found = [
        Found(
            (columns, margin),
            (),
            {INPUT: frame_map(network, columns, margin)},
            np.zeros(machine.cores, np.int64),
        )
        for columns in frame_columns(network)
        for margin in frame_margins(network)
    ]
    width = min(width, max(_LEAST, _ALL // len(network.layers)))
    for index in range(len(network.layers)):
        found = _Layer(network, index, machine, activity).extend(found, width)
    return found


@dataclass(frozen=True)
class _Choice:
    """A placement of one layer, given its sources' maps, of which it keeps so many words."""

    placement: LayerPlacement
    map: Map | None
    clocks: float
    rows: Ints
    kept: dict[int, int]


class _Layer:
    """All choices for one layer."""

    def __init__(self, network: Network, index: int, machine: Machine, activity: Activity) -> None:
        self.network, self.index, self.machine = network, index, machine
        self.activity = activity
        self.failure: SpikewrightError | None = None
        later = network.layers[index + 1 :]
        self.live = {synapse.source for layer in later for synapse in layer.synapses}
        self.last = {s.source: i for i, one in enumerate(network.layers) for s in one.synapses}
        self.sources = {synapse.source for synapse in network.layers[index].synapses}

    def extend(self, found: list[Found], width: int) -> list[Found]:
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
        # Also those that spare weights, lest a later layer finds no room.
        spare = sorted(kept, key=lambda one: one.price[::-1])[: width // 4]
        return list({id(one): one for one in [*kept[:width], *spare]}.values())

    def _keep(self, kinds: dict[object, list[Found]], one: Found, choice: _Choice) -> None:
        rows = one.rows + choice.rows
        if rows.max() > self.machine.lanes.weight_rows:
            self._fails("weight memory", int(rows.max()), self.machine.lanes.weight_rows)
            return
        kept = {
            n: words
            for n, words in one.kept.items()
            if n == INPUT or self.last[n] >= self.index - 1
        }
        for source, number in choice.kept.items():
            kept[source] = max(number, kept.get(source, 0))
        needed = max(self._spike_words(kept, self.index + n) for n in (-1, 0))
        if needed > self.machine.spikes.words:
            self._fails("spike memory", needed, self.machine.spikes.words)
            return
        maps = one.maps if choice.map is None else {**one.maps, self.index: choice.map}
        maps = {source: made for source, made in maps.items() if source in self.live}
        kind = tuple(maps.items()) or one.layers
        layers = (*one.layers, choice.placement)
        made = Found(one.frame, layers, maps, rows, one.clocks + choice.clocks, kept)
        kinds.setdefault(kind, []).append(made)

    def _spike_words(self, kept: dict[int, int], index: int) -> int:
        """A spike memory with room for what is there while layer `index` runs, or a bit less.

        In either half lies a frame, and none of the others lies in both.
        """
        there = [
            words
            for source, words in kept.items()
            if INPUT < source <= index and self.last.get(source, -1) >= index
        ]
        most = max([0, *there, -(-sum(there) // 2)])
        return 2 * (kept[INPUT] + most) if INPUT in kept else most

    def _fails(self, what: str, needed: int, depth: int) -> None:
        self.failure = self.failure or SpikewrightError(
            f"{what}: needs {needed} words, the machine has {depth}; take more cores, more words, "
            "or a smaller network"
        )

    # -- choices of this layer -------------------------------------------------------------------

    def _choices(self, maps: dict[int, Map]) -> Iterator[_Choice]:
        for geometry in geometries(self.network, self.index, self.machine):
            fitting = words(self.network, self.index, geometry)
            schedules = [
                made
                for word in fitting
                if (made := self._schedule(replace(geometry, word=word), maps))
            ]
            if not schedules:
                continue
            most = max(made.tiles_x for made in schedules)
            tiles = tile_clocks(schedules[0], self.activity, most)
            reach = _reach(schedules[0])
            for made in schedules:
                own = tiles[:, :, : made.tiles_x]
                clocks = own.reshape(len(own), -1, made.placement.word).sum(2)
                for dealt in self._dealt(made, clocks):
                    yield self._choice(made, maps, reach, *dealt)

    def _schedule(self, chosen: LayerPlacement, maps: dict[int, Map]) -> LayerSchedule | None:
        try:
            return LayerSchedule(self.network, self.index, self.machine, chosen, maps)
        except SpikewrightError as error:
            self.failure = self.failure or error
            return None

    def _dealt(
        self, layer: LayerSchedule, clocks: Ints
    ) -> Iterator[tuple[LayerPlacement, float, Ints]]:
        """Ways to deal `layer` to cores, their clocks, and the words at the edges of their runs."""
        place, words = layer.placement, clocks.shape[1]
        for rows, columns in grids(self.machine.cores, layer.groups, words):
            most = -(-layer.groups // rows)
            cuts = cut(clocks, columns)
            dealt = replace(place, group_shares=rows, tile_shares=columns, cuts=cuts)
            spent = most * slowest(clocks, cuts)
            edges = np.array([(a, b - 1) for a, b in pairwise((0, *cuts)) if b > a])
            yield dealt, spent, edges
            turned = most * in_turn(clocks, columns)
            turns = replace(dealt, cuts=(), turns=True)
            if turned < spent and layer.takes_turns(columns):
                last = np.arange(words - columns, words)
                yield turns, turned, np.stack([last % columns, last], 1)

    def _choice(
        self,
        layer: LayerSchedule,
        maps: dict[int, Map],
        reach: dict[int, tuple[Ints, Ints]],
        place: LayerPlacement,
        clocks: float,
        edges: Ints,
    ) -> _Choice:
        rows, columns = place.group_shares, place.tile_shares
        row = np.arange(self.machine.cores) // columns
        groups = layer.groups * (row + 1) // rows - layer.groups * row // rows
        tile_rows = edges * place.word // layer.tiles_x
        kept = {
            source: int((ends[tile_rows[:, 1]] - firsts[tile_rows[:, 0]]).max())
            * maps[source].row_words
            for source, (firsts, ends) in reach.items()
        }
        return _Choice(
            place,
            layer.map if layer.send is Send.PLANES else None,
            clocks + barrier(layer, rows * columns),
            groups * (row < rows) * layer.group_rows,
            kept,
        )


def _reach(layer: LayerSchedule) -> dict[int, tuple[Ints, Ints]]:
    """By source, the first and the end of the rows that each row of tiles reads."""
    made: dict[int, tuple[Ints, Ints]] = {}
    parts = layer.parts[0]
    for reading in layer.readings:
        spans = np.array([layer.span(reading, 0, i)[:2] for i in range(layer.height * parts)])
        first = spans[:, 0].reshape(-1, parts).min(1)
        end = spans[:, 1].reshape(-1, parts).max(1) + 1
        if reading.source in made:
            before = made[reading.source]
            first, end = np.minimum(first, before[0]), np.maximum(end, before[1])
        made[reading.source] = first, end
    return made


def _front(kind: list[Found]) -> list[Found]:
    """The fastest, and those that need fewer weight rows than all faster ones."""
    kept: list[Found] = []
    for one in sorted(kind, key=lambda one: one.price):
        if not kept or one.price[1] < kept[-1].price[1]:
            kept.append(one)
        if len(kept) == _KEPT:
            break
    return kept
