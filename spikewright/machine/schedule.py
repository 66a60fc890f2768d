"""The one schedule of the second machine: in which order everything happens, and where it lies.

Packing, trace, mapper and tests iterate over what is here; the hardware and the interpreter follow
the same order with nothing but the records and memories that :mod:`.memories` makes of it.

Order of a layer on a core: its channel groups; of a group, the tiles of its run, row after row; of
a tile, the items of its windows (parts, row after row); of an item, the time steps; of a step, the
passes (digit planes of the sources, the heaviest first); of a pass, the rows of the field; of a
row, the channel blocks; of a block, the words from left to right; of a word, its bits.

A *map* is what a layer sends, or the frame: for every position and step a number a channel, in
digit planes of one bit. A word holds the same plane of `columns` neighbouring columns times the
`pitch` channels of a block. It is filled from the top: value i of n lies in bit ``36 - n + i``, the
channel running fastest. Bits of columns beyond the width are undefined; those of channels beyond
the last, and those below the values, are 0. A word's address is
``(((y * words_x + x) * blocks + block) * steps + t) * planes + p``, plane p = 0 the heaviest.

Lane ``k * pitch + c`` of an item computes channel c of its group at position k; positions run over
windows, and within a window over members, row after row.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from math import gcd

import numpy as np

from spikewright.errors import SpikewrightError
from spikewright.machine.blocks import WORD, Machine
from spikewright.machine.choices import LayerPlacement, Placement
from spikewright.machine.configuration import Send
from spikewright.machine.maps import Map
from spikewright.machine.rules import check_numbers, check_placement, check_room
from spikewright.machine.work import Field, Item, Pass, Reading, Share
from spikewright.network import (
    INPUT,
    InputCode,
    Ints,
    Layer,
    Network,
    Synapse,
)
from spikewright.network.geometry import Pair

__all__ = [
    "Field",
    "Item",
    "LayerSchedule",
    "Map",
    "Pass",
    "Reading",
    "Schedule",
    "Share",
    "frame_map",
]


class LayerSchedule:
    """One layer. Raises SpikewrightError where `placement` is not legal on `machine`."""

    def __init__(
        self,
        network: Network,
        index: int,
        machine: Machine,
        placement: LayerPlacement,
        maps: dict[int, Map],
    ) -> None:
        self.network, self.index, self.machine, self.placement = network, index, machine, placement
        self.layer: Layer = network.layers[index]
        self.direct = network.direct(self.layer)
        self.walks = 1 if self.direct else network.steps
        self.shift = min(s.shift for s in self.layer.synapses)
        self.readings = [self._reading(s, maps[s.source]) for s in self.layer.synapses]
        check_room(self)
        check_placement(self)
        check_numbers(self)

    # -- shape -----------------------------------------------------------------------------------

    @property
    def pitch(self) -> int:
        """Lanes of a position."""
        return self.placement.channels

    @property
    def slots(self) -> int:
        """Slots of a position."""
        return self.pitch // self.machine.fire.count

    @property
    def groups(self) -> int:
        """Channel groups."""
        return -(-self.layer.shape[0] // self.pitch)

    @property
    def height(self) -> int:
        """Rows of windows."""
        return self.layer.shape[1] // self.placement.pool[0]

    @property
    def width(self) -> int:
        """Columns of windows."""
        return self.layer.shape[2] // self.placement.pool[1]

    @property
    def tiles_x(self) -> int:
        """Tiles of a row, to the end of its last word: some may lie beyond the width."""
        columns = self.placement.columns
        return -(-self.width // columns) * self.placement.word

    @property
    def tiles(self) -> int:
        """Tiles of a group."""
        return self.height * self.tiles_x

    @property
    def parts(self) -> Pair:
        """Items of a window, downwards and sideways."""
        pool, members = self.placement.pool, self.placement.members
        return pool[0] // members[0], pool[1] // members[1]

    @property
    def send(self) -> Send:
        """What the layer sends."""
        if self.index < len(self.network.layers) - 1:
            return Send.PLANES
        return Send.COUNTS if self.layer.neuron.fires else Send.MEMBRANES

    @cached_property
    def map(self) -> Map:
        """What it sends, if it sends planes."""
        area = self.placement.pool[0] * self.placement.pool[1]
        most = area * self.network.ranges.layers[self.index].spikes[1]
        return Map(
            self.layer.shape[0],
            self.height,
            self.width,
            self.network.steps,
            max(1, most.bit_length()),
            self.pitch,
            self.placement.columns,
            self.placement.pool,
        )

    # -- what it reads ---------------------------------------------------------------------------

    def _reading(self, synapse: Synapse, source: Map) -> Reading:
        weight, stride, padding = synapse.weight, synapse.stride, synapse.padding
        size = (source.height, source.width)
        least = weight[0].size * (synapse.pool.area if source.pool != synapse.pool.size else 1)
        if least > self.machine.lanes.weight_rows:  # before they are made
            raise SpikewrightError(
                f"weight memory: needs {least} words or more for a channel group of layer "
                f"{self.layer.name}, the machine has {self.machine.lanes.weight_rows}"
            )
        margin = (source.height - self.network.input.shape[1]) // 2
        if synapse.source == INPUT and margin:
            padding = (padding[0] - margin, padding[1])
            if padding[0] < 0 or synapse.pool.size != (1, 1):
                raise SpikewrightError(
                    f"layer {self.layer.name}: a frame with a margin of {margin} rows does not fit "
                    f"its fields"
                )
        if source.pool != synapse.pool.size:
            if source.pool != (1, 1):
                raise SpikewrightError(
                    f"layer {self.layer.name}: its source is sent in sums of {source.pool} windows"
                )
            ph, pw = synapse.pool.size
            weight = weight.repeat(ph, 2).repeat(pw, 3)
            stride = (stride[0] * ph, stride[1] * pw)
            padding = (padding[0] * ph, padding[1] * pw)
            size = (size[0] // ph * ph, size[1] // pw * pw)
        return Reading(
            synapse.source, source, weight, stride, padding, size, synapse.shift - self.shift
        )

    def field(self, reading: Reading) -> Field:
        """Its weight rows; where words have one column, the channels of all blocks are one run."""
        place, source = self.placement, reading.map
        reach = (place.members[0], (place.windows - 1) * place.pool[1] + place.members[1])
        y, x = (
            reading.weight.shape[2 + axis] + (reach[axis] - 1) * reading.stride[axis]
            for axis in (0, 1)
        )
        if source.columns == 1:
            tap, block = source.channels, source.pitch
            row = x * tap
        else:
            tap, block = source.pitch, x * source.pitch
            row = source.blocks * block
        return Field((y, x), tap, source.columns * tap, block, row, y * row)

    @cached_property
    def passes(self) -> list[Pass]:
        """The planes of all readings, the heaviest first."""
        planes = [
            (reading.map.planes - 1 - plane + reading.shift, number, plane)
            for number, reading in enumerate(self.readings)
            for plane in range(reading.map.planes)
        ]
        planes.sort(key=lambda entry: -entry[0])
        before = [planes[0], *planes]
        return [
            Pass(number, plane, before[i][0] - exponent)
            for i, (exponent, number, plane) in enumerate(planes)
        ]

    @cached_property
    def group_rows(self) -> int:
        """Weight rows of a channel group, the readings one behind the other."""
        return sum(self.field(reading).rows for reading in self.readings)

    def first_row(self, number: int) -> int:
        """First weight row of reading `number` in a group."""
        return sum(self.field(reading).rows for reading in self.readings[:number])

    def origin(self, axis: int, item: int) -> int:
        """The first output coordinate of item row (axis 0) or item column (1) `item`."""
        place, parts = self.placement, self.parts[axis]
        tile = place.pool[0] if axis == 0 else place.pool[1] * place.windows
        return item // parts * tile + item % parts * place.members[axis]

    def span(self, reading: Reading, axis: int, item: int) -> tuple[int, int, int]:
        """Source coordinates ``first..last`` of an item's field, and the taps cut off in front.

        ``last`` is before ``first`` where the field lies beyond the source.
        """
        taps = self.field(reading).taps[axis]
        start = self.origin(axis, item) * reading.stride[axis] - reading.padding[axis]
        first, last = max(0, start), min(reading.size[axis], start + taps) - 1
        return first, last, first - start

    # -- who does what ---------------------------------------------------------------------------

    def share(self, core: int) -> Share:
        """The part of `core`; tiles are dealt in whole words."""
        place = self.placement
        row, column = divmod(core, place.tile_shares)
        if row >= place.group_shares:
            return Share(0, 0, range(0))
        first, end = _cut(self.groups, place.group_shares, row)
        words = self.tiles // place.word
        if place.turns:
            return Share(first, end - first, range(column, words, place.tile_shares))
        cuts = (0, *place.cuts)
        run = cuts[column : column + 2] if place.cuts else _cut(words, place.tile_shares, column)
        return Share(first, end - first, range(*run))

    @property
    def step(self) -> int:
        """From one word of a core to its next."""
        return self.placement.tile_shares if self.placement.turns else 1

    @property
    def period(self) -> int:
        """Words of a core's row: where it takes words in turn, until the same column comes again.

        All rows of a core have the same columns, and go down by the same number of rows.
        """
        return self._period(self.step)

    def _period(self, step: int) -> int:
        words_x = self.tiles_x // self.placement.word
        return words_x // gcd(step, words_x)

    def takes_turns(self, cores: int) -> bool:
        """Whether `cores` can take words in turn: in a row of one of them, as :attr:`period` has
        it, all fields are equally high and reach equally far beyond the source."""
        kinds = self._kinds
        if len(set(kinds)) == 1:
            return True
        words, period = self.tiles // self.placement.word, self._period(cores)
        for core in range(min(cores, words)):
            own = [kinds[self.tile(word)[0]] for word in range(core, words, cores)]
            if any(len(set(own[n : n + period])) > 1 for n in range(0, len(own), period)):
                return False
        return True

    @cached_property
    def _kinds(self) -> list[tuple[Pair, ...]]:
        """Of every row of tiles, how high its fields are, less 1, and how far they reach beyond."""
        kinds, parts = [], self.parts[0]
        for row in range(self.height):
            items = range(row * parts, (row + 1) * parts)
            spans = [self.span(reading, 0, item) for item in items for reading in self.readings]
            kinds.append(tuple((last - first, cut) for first, last, cut in spans))
        return kinds

    def tile(self, word: int, number: int = 0) -> Pair:
        """Row and column of tile `number` of a word."""
        return divmod(word * self.placement.word + number, self.tiles_x)

    def items(self, core: int) -> Iterator[Item]:
        """The items of `core` in their order."""
        share, (parts_y, parts_x) = self.share(core), self.parts
        tiles = [self.tile(w, n) for w in share.words for n in range(self.placement.word)]
        for group in range(share.first_group, share.first_group + share.groups):
            for y, x in tiles:
                for part in range(parts_y * parts_x):
                    down, right = divmod(part, parts_x)
                    yield Item(
                        group,
                        y,
                        x,
                        y * parts_y + down,
                        x * parts_x + right,
                        part == 0,
                        part == parts_y * parts_x - 1,
                    )

    def neurons(self, item: Item) -> Ints:
        """``(lanes, 3)``: channel, y and x of the neuron of every lane, -1 where there is none."""
        place = self.placement
        lanes = np.full((self.machine.lanes.count, 3), -1, np.int64)
        y0, x0 = self.origin(0, item.row), self.origin(1, item.column)
        for k, (dy, dx) in enumerate(self.offsets()):
            for c in range(self.pitch):
                neuron = (item.group * self.pitch + c, y0 + dy, x0 + dx)
                inside = all(n < size for n, size in zip(neuron, self.layer.shape, strict=True))
                if inside and neuron[2] < self.width * place.pool[1]:
                    lanes[k * self.pitch + c] = neuron
        return lanes

    def offsets(self) -> list[Pair]:
        """For every position of an item, how far it lies from the item's first one."""
        place = self.placement
        return [
            (dy, window * place.pool[1] + dx)
            for window in range(place.windows)
            for dy in range(place.members[0])
            for dx in range(place.members[1])
        ]

    def output_address(self, channel: int, y: int, x: int) -> int:
        """Where the readout finds a neuron of a layer that sends membranes or counts."""
        return (y * self.width + x) * self.groups * self.pitch + channel


class Schedule:
    """All layers of `network` on `machine`, as `placement` says."""

    def __init__(self, network: Network, machine: Machine, placement: Placement) -> None:
        if network.input.code is not InputCode.DIRECT:
            raise SpikewrightError(f"input: the cores have no {network.input.code.value} code yet")
        self.network, self.machine, self.placement = network, machine, placement
        if len(placement.layers) != len(network.layers):
            raise SpikewrightError(
                f"placement: of {len(placement.layers)} layers, the network has "
                f"{len(network.layers)}"
            )
        self.maps = {INPUT: frame_map(network, placement.frame_columns, placement.frame_margin)}
        self.layers: list[LayerSchedule] = []
        for index, chosen in enumerate(placement.layers):
            made = LayerSchedule(network, index, machine, chosen, self.maps)
            self.layers.append(made)
            if made.send is Send.PLANES:
                self.maps[index] = made.map

    def readers(self, source: int) -> list[int]:
        """The layers that read layer `source`, or the frame."""
        return [
            index
            for index, layer in enumerate(self.network.layers)
            if any(synapse.source == source for synapse in layer.synapses)
        ]

    def rows_read(self, source: int, core: int) -> tuple[int, int]:
        """First and end of the rows of a map that `core` reads in any layer; (0, 0): none.

        Fields go down with their items: the first item's begins first, the last one's ends last.
        """
        spans = [
            self.layers[index].span(reading, 0, item)
            for index in self.readers(source)
            for rows in [self._item_rows(index, core)]
            for item in {*rows[:1], *rows[-1:]}
            for reading in self.layers[index].readings
            if reading.source == source
        ]
        if not spans:
            return 0, 0
        return min(first for first, _, _ in spans), max(last for _, last, _ in spans) + 1

    def _item_rows(self, index: int, core: int) -> range:
        layer = self.layers[index]
        share = layer.share(core)
        if share.idle:
            return range(0)
        first, last = layer.tile(share.words[0])[0], layer.tile(share.words[-1])[0]
        return range(first * layer.parts[0], (last + 1) * layer.parts[0])

    def frame_words(self, frame: Ints) -> list[int]:
        """The words of a frame ``(C, H, W)``, by map address."""
        margin = self.placement.frame_margin
        rows = np.pad(np.asarray(frame, np.int64), [(0, 0), (margin, margin), (0, 0)])
        return self.maps[INPUT].pack(rows[None])


def frame_map(network: Network, columns: int, margin: int) -> Map:
    """How the frame lies, with `columns` in a word and `margin` rows of zeros above and below."""
    c, h, w = network.input.shape
    pitch = min(c, WORD)
    if columns * pitch > WORD:
        raise SpikewrightError(f"input: {columns} columns do not fit a word")
    return Map(c, h + 2 * margin, w, 1, network.input.bits, pitch, columns)


def _cut(count: int, parts: int, part: int) -> tuple[int, int]:
    """First and end of part `part` of ``range(count)``, cut as evenly as it goes."""
    return count * part // parts, count * (part + 1) // parts
