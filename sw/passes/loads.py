"""What the items of a layer bring, from what its sources send: bits, doublings and words.

All frames, steps and items at once; an item is named by its row and column, for it brings the same
in every channel group.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

import numpy as np
import numpy.typing as npt

from spikewright.machine.clocks import StepLoad
from spikewright.machine.schedule import LayerSchedule, Reading
from spikewright.network import Ints
from spikewright.sw.passes.activity import Activity

__all__ = ["Loads"]


class Loads:
    """The loads of `layer`; `columns` item columns of it, or all."""

    def __init__(
        self, layer: LayerSchedule, activity: Activity, columns: int | None = None
    ) -> None:
        self.layer, self.activity = layer, activity
        self.items = (
            layer.height * layer.parts[0],
            layer.tiles_x * layer.parts[1] if columns is None else columns,
        )
        self.spans = [
            tuple(_spans(layer, reading, axis, self.items[axis]) for axis in (0, 1))
            for reading in layer.readings
        ]
        self._walked: dict[tuple[int, int], tuple[Ints, Ints]] = {}

    @cached_property
    def events(self) -> Ints:
        """Bits of every step, and clocks without any, ``(frames, steps, rows, columns)``.

        They do not depend on how the sources lie in words.
        """
        place, cache = self.layer.placement, self.activity.cache
        pools = tuple(reading.map.pool for reading in self.layer.readings)
        key = ("events", self.layer.index, place.pool, place.members, place.windows, pools)
        if key not in cache or cache[key][0].shape[3] < self.items[1]:
            cache[key] = (self._events(),)
        events: Ints = cache[key][0]
        return events[..., : self.items[1]]

    @property
    def words(self) -> Ints:
        """Words walked in a step, ``(rows, columns)``."""
        total = np.zeros(self.items, np.int64)
        for one in self.layer.passes:
            source = self.layer.readings[one.reading].map
            (y0, y1), x = self.spans[one.reading]
            first, last = _words(x, source.columns)
            total += np.outer(y1 - y0, last - first + 1) * source.blocks
        return total

    @property
    def ends_empty(self) -> Ints:
        """Whether the last word of a step has no bit, ``(frames, steps, rows, columns)``."""
        one = self.layer.passes[-1]
        source = self.layer.readings[one.reading].map
        runs = self._runs(one.reading)[:, :, one.plane, -1]
        (_, y1), x = self.spans[one.reading]
        last = _words(x, source.columns)[1]
        rows = runs[:, :, y1 - 1]
        low = np.clip(last * source.columns, x[0], x[1])
        return rows[..., x[1]] == rows[..., low]

    def steps(self, frame: int, row: int, column: int) -> Iterator[StepLoad]:
        """The steps of an item, in their order."""
        counts, alone = self._item(row, column)
        for t in range(self.layer.walks):
            yield StepLoad(counts[frame, t], alone[frame, t], t == 0)
        nothing = np.zeros(0, np.int64)
        for _ in range(self.layer.walks, self.layer.network.steps):
            yield StepLoad(nothing, nothing)

    # -- bits ------------------------------------------------------------------------------------

    def _events(self) -> Ints:
        """As :attr:`events`: bits, clearing, and doublings without a bit."""
        count = _Doublings()
        total = np.zeros(1, np.int64)
        for one in self.layer.passes:
            bits = self._fields(one.reading, one.plane)
            total = total + bits + count.before(one.doubles, bits > 0)
        return total + count.behind()

    def _fields(self, number: int, plane: int) -> Ints:
        """The set bits of a plane in the field of every item."""
        source = self.layer.readings[number]
        area = self.activity.areas(source.source, source.map)[:, :, plane]
        (y0, y1), (x0, x1) = self.spans[number]
        rows: Ints = area[:, :, y1] - area[:, :, y0]
        return rows[..., x1] - rows[..., x0]

    def _runs(self, number: int) -> Ints:
        reading = self.layer.readings[number]
        return self.activity.runs(reading.source, reading.map)

    @cached_property
    def _counts(self) -> list[tuple[Ints, Ints]]:
        """By reading, the bits of each word of each row of the field of every item column,
        ``(frames, steps, planes, y, column, blocks, words)``, and the words that there are."""
        made = []
        for number, reading in enumerate(self.layer.readings):
            x, columns = self.spans[number][1], reading.map.columns
            first, last = _words(x, columns)
            edges = (first[:, None] + np.arange((last - first).max() + 2)) * columns
            edges = np.clip(edges, x[0][:, None], x[1][:, None])
            runs = self._runs(number)
            bits = runs[..., edges[:, 1:]] - runs[..., edges[:, :-1]]
            made.append((bits.transpose(0, 1, 2, 4, 5, 3, 6), last - first + 1))
        return made

    def _item(self, row: int, column: int) -> tuple[Ints, Ints]:
        """Of the words walked, ``(frames, steps, words)``, bits, and clocks alone before them."""
        if (row, column) not in self._walked:
            parts, waits, count = [], [], _Doublings()
            for one in self.layer.passes:
                bits, words = self._counts[one.reading]
                y0, y1 = (int(edge[row]) for edge in self.spans[one.reading][0])
                part = bits[:, :, one.plane, y0:y1, column, :, : words[column]]
                part = part.reshape(*part.shape[:2], -1)
                first = (part > 0) & (np.cumsum(part > 0, 2) == 1)
                waits.append(first * count.before(one.doubles, part.sum(2) > 0)[..., None])
                parts.append(part)
            waits[-1][..., -1] += count.behind()
            self._walked[row, column] = np.concatenate(parts, 2), np.concatenate(waits, 2)
        return self._walked[row, column]


class _Doublings:
    """Clocks of many steps in which the accumulators are cleared or only doubled."""

    def __init__(self) -> None:
        self._fresh: npt.NDArray[np.bool_] = np.ones(1, bool)
        self._pending: Ints = np.zeros(1, np.int64)

    def before(self, doubles: int, there: npt.NDArray[np.bool_]) -> Ints:
        """Before the first bit of a pass, in the steps where that has any."""
        pending = np.where(self._fresh, 0, self._pending + doubles)
        alone: Ints = np.where(there, np.where(self._fresh, 1, np.maximum(pending - 1, 0)), 0)
        self._pending = np.where(there, 0, pending)
        self._fresh = self._fresh & np.logical_not(there)
        return alone

    def behind(self) -> Ints:
        """Before the hand-over."""
        return np.maximum(self._pending - 1, 0)


def _spans(layer: LayerSchedule, reading: Reading, axis: int, items: int) -> tuple[Ints, Ints]:
    """First and end of the fields; an empty one where nothing of the source is read."""
    made = np.array([layer.span(reading, axis, item)[:2] for item in range(items)], np.int64)
    there = made[:, 1] >= made[:, 0]
    return made[:, 0] * there, (made[:, 1] + 1) * there


def _words(x: tuple[Ints, Ints], columns: int) -> tuple[Ints, Ints]:
    """The first and last word of a row, also of an empty field."""
    return x[0] // columns, np.maximum(x[1] - 1, x[0]) // columns
