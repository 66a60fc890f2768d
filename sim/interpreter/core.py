"""One core: walker, picker, lanes, fire units, pool and packer, as its records tell it.

Integers wrap where the hardware's registers do: accumulators at the lanes' width, sums of a fire
unit at the membrane's, window sums at the pool's, addresses at their memory's.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from spikewright.errors import SpikewrightError
from spikewright.machine.blocks import WORD, Machine
from spikewright.machine.clocks import CoreClocks, StepLoad
from spikewright.machine.configuration import (
    MODELS,
    AxisEntry,
    KeepRecord,
    LayerRecord,
    PassRecord,
    RouterWord,
    Send,
    ShareRecord,
    SourceRecord,
)
from spikewright.network import Ints, NeuronModel

__all__ = ["Configuration", "Core", "LayerRun"]

_BITS = np.arange(WORD)
_NONE = np.zeros(0, np.int64)
_MASK = (1 << WORD) - 1


@dataclass
class Configuration:
    """The records that a core holds for a layer."""

    layer: LayerRecord = field(default_factory=LayerRecord)
    share: ShareRecord = field(default_factory=ShareRecord)
    keep: KeepRecord = field(default_factory=KeepRecord)
    sources: dict[int, SourceRecord] = field(default_factory=dict)
    passes: dict[int, PassRecord] = field(default_factory=dict)

    def copy(self) -> Configuration:
        """What the next layer's records are written over."""
        return Configuration(
            self.layer, self.share, self.keep, dict(self.sources), dict(self.passes)
        )


@dataclass(frozen=True)
class LayerRun:
    """What a core did in a layer, int64 ``(items, steps, lanes)``: V after firing, and n sent."""

    layer: int
    membranes: Ints
    spikes: Ints
    clocks: CoreClocks


@dataclass(frozen=True)
class _Item:
    """A work item as the walker counts it."""

    group: int
    row: int
    column: int
    first: bool
    last: bool
    begins: bool  # its tile is the first of a word
    fills: bool  # or the last


class Core:
    """One core with its memories; `spikes` are the words of its spike memory."""

    def __init__(
        self,
        machine: Machine,
        axis: list[AxisEntry],
        weights: Ints,
        parameters: list[list[int]],
    ) -> None:
        self.machine, self.axis, self.weights = machine, axis, weights
        self.spikes = np.zeros(machine.spikes.words, np.int64)
        self.frame_keep = KeepRecord()
        self.bank = 0
        self.configuration = Configuration()
        fire = machine.fire
        words: Ints = np.array(parameters, np.int64).reshape(fire.count, -1, 2).transpose(1, 0, 2)
        words = words.reshape(-1, 2)  # (row * fire units + unit, first drive or bias)
        self.thresholds = words[:, 0] & (1 << fire.threshold_bits) - 1
        self.drives = wrapped(words >> fire.threshold_bits, fire.drive_bits)

    # -- router ----------------------------------------------------------------------------------

    def receive(self, word: RouterWord) -> None:
        """Keep a word of the running layer, or of the next frame, if it lies in the slice."""
        keep = self.frame_keep if word.kind == 1 else self.configuration.keep
        place = (word.address - keep.start) % (1 << self.machine.router.address_bits)
        if word.kind > 1 or place >= keep.words:
            return
        at = keep.at + place
        if word.kind == 1 and not self.bank:
            at ^= self._top
        self.spikes[at % self.machine.spikes.words] = word.data

    @property
    def _top(self) -> int:
        return 1 << self.machine.widths["spike"] - 1

    # -- a layer ---------------------------------------------------------------------------------

    def run(self) -> tuple[list[RouterWord], LayerRun]:
        """Execute the layer that is configured; the words it sends, in their order."""
        layer, share = self.configuration.layer, self.configuration.share
        clocks = CoreClocks(self.machine, layer)
        packer = _Packer(self.machine, layer, share)
        membranes, spikes = [], []
        for item in self._items():
            v, n = self._item(item, packer, clocks)
            membranes.append(v)
            spikes.append(n)
        shape = (len(membranes), layer.steps + 1, self.machine.lanes.count)
        made = [np.array(x, np.int64).reshape(shape) for x in (membranes, spikes)]
        return packer.words, LayerRun(layer.layer, made[0], made[1], clocks)

    @property
    def _positions(self) -> int:
        layer = self.configuration.layer
        return (layer.members + 1) * (layer.windows + 1)

    def _items(self) -> Iterator[_Item]:
        layer, share = self.configuration.layer, self.configuration.share
        parts = [(y, x) for y in range(layer.parts_y + 1) for x in range(layer.parts_x + 1)]
        for group in range(share.groups):
            row, column, left = share.item_y, share.item_x, share.first
            for tile in range(share.tiles + 1):
                place = tile % (layer.word + 1)
                for y, x in parts:
                    ends = (y, x) == parts[0], (y, x) == parts[-1]
                    yield _Item(group, row + y, column + x, *ends, not place, place == layer.word)
                if left:
                    column, left = column + layer.parts_x + 1, left - 1
                else:
                    row, column, left = row + layer.parts_y + 1, 0, layer.row

    def _item(self, item: _Item, packer: _Packer, clocks: CoreClocks) -> tuple[Ints, Ints]:
        """All steps of an item: V and n, ``(steps, lanes)``."""
        layer, bits = self.configuration.layer, self.machine.fire.membrane_bits
        steps, lanes = layer.steps + 1, self.machine.lanes.count
        membranes, spikes = (np.zeros((steps, lanes), np.int64) for _ in range(2))
        threshold, first, bias = self._parameters(item.group)
        used = len(threshold)
        v, current = np.zeros(used, np.int64), np.zeros(used, np.int64)
        loads = []
        for t in range(steps):
            driven = t <= layer.driven
            if t <= layer.walks:
                sums, load = self._walk(item, t)
                current = wrapped(sums[:used] << layer.shift, bits)
            else:
                load = StepLoad(_NONE, _NONE)
                current = current * (layer.hold and driven)
            loads.append(load)
            drive = first if t == 0 else bias * driven
            u = wrapped(wrapped(v + drive, bits) + current, bits)
            n, v = self._fire(u, threshold)
            membranes[t, :used], spikes[t, :used] = v, n
            packer.take(item, t, n, v)
        clocks.take(loads, item.last and item.fills)
        return membranes, spikes

    # -- walker, picker and lanes ----------------------------------------------------------------

    def _walk(self, item: _Item, t: int) -> tuple[Ints, StepLoad]:
        """The accumulators after a step's passes, and what that cost."""
        configuration = self.configuration
        total = np.zeros(self.machine.lanes.count, np.int64)
        fresh, pending, counts, alone = True, 0, [], []
        for number in range(configuration.layer.passes + 1):
            one = configuration.passes[number]
            if one.negative and not self.machine.lanes.signed:
                raise SpikewrightError("interpreter: the lanes of this machine cannot subtract")
            pending = 0 if fresh else pending + one.doubles
            events, bits = self._events(item, configuration.sources[one.source], one.offset, t)
            counts.append(bits)
            alone.append(np.zeros_like(bits))
            if len(events):  # the first addition doubles as well, but does not clear
                total = total << pending
                alone[-1][np.flatnonzero(bits)[0]] = 1 if fresh else max(0, pending - 1)
                fresh, pending = False, 0
                added = self.weights[events % (1 << self.machine.widths["weight"])].sum(0)
                total += -added if one.negative else added
        total = total << pending
        alone[-1][-1] += max(0, pending - 1)  # the hand-over doubles as well
        load = StepLoad(np.concatenate(counts), np.concatenate(alone), t == 0)
        return wrapped(total, self.machine.lanes.accumulator_bits), load

    def _events(self, item: _Item, source: SourceRecord, offset: int, t: int) -> tuple[Ints, Ints]:
        """Weight rows of a pass's events in their order, and the bits of each word walked."""
        layer, share = self.configuration.layer, self.configuration.share
        y, x = self.axis[source.axis_y + item.row], self.axis[source.axis_x + item.column]
        counts = (y.count + 1, source.blocks + 1, x.count + 1)
        rows, blocks, words = np.meshgrid(*map(np.arange, counts), indexing="ij")
        first = source.base + y.spike + x.spike + t * source.time_step + offset
        address: Ints = first + rows * source.row_step + blocks * source.block_step
        address = (address + words * source.word_step) % self.machine.spikes.words
        if source.frame and self.bank:
            address ^= self._top
        group = share.weight_base + item.group * layer.weight_group
        row: Ints = group + source.weight_base + y.weight + x.weight + rows * source.weight_row
        row = row + blocks * source.weight_block + words * source.weight_word
        found = self.spikes[address]
        found &= np.where(words == 0, _MASK << x.low & _MASK, _MASK)
        found &= np.where(words == x.count, (2 << x.high) - 1, _MASK)
        bits = (found.reshape(-1, 1) >> _BITS) & 1
        return (row.reshape(-1, 1) + _BITS)[bits == 1], bits.sum(1)

    # -- fire units ------------------------------------------------------------------------------

    def _parameters(self, group: int) -> tuple[Ints, Ints, Ints]:
        """Threshold, first drive and bias of every lane of an item."""
        layer, count = self.configuration.layer, self.machine.fire.count
        slots = layer.slots + 1
        first = (self.configuration.share.parameter_base + group * slots) * count
        rows = np.tile(np.arange(first, first + slots * count), self._positions)
        return self.thresholds[rows], self.drives[rows, 1], self.drives[rows, 0]

    def _fire(self, u: Ints, threshold: Ints) -> tuple[Ints, Ints]:
        """n and V of potentials."""
        layer, bits = self.configuration.layer, self.machine.fire.membrane_bits
        match MODELS[layer.model]:
            case NeuronModel.INTEGRATOR:
                return np.zeros_like(u), u
            case NeuronModel.IF:
                n = (u > threshold if layer.holds else u >= threshold).astype(np.int64)
                return n, np.where(n & layer.zero, 0, wrapped(u - n * threshold, bits))
            case NeuronModel.BURST:
                n = np.zeros_like(u)
                rest = u
                for digit in reversed(range(layer.levels.bit_length())):
                    more = (rest >= threshold << digit) & (n + (1 << digit) <= layer.levels)
                    n = n + (more << digit)
                    rest = np.where(more, rest - (threshold << digit), rest)
                return n, rest
            case model:
                raise SpikewrightError(f"interpreter: the cores have no {model.value} neurons yet")


class _Packer:
    """Pool and packer: window sums, then words of digit planes with their addresses."""

    def __init__(self, machine: Machine, layer: LayerRecord, share: ShareRecord) -> None:
        self.machine, self.layer, self.share = machine, layer, share
        self.pitch = (layer.slots + 1) * machine.fire.count
        self.sums = np.zeros((layer.steps + 1, layer.windows + 1, self.pitch), np.int64)
        self.partial = np.zeros((layer.steps + 1, layer.planes + 1), object)
        self.words: list[RouterWord] = []
        self.group, self.out = 0, share.out

    def take(self, item: _Item, t: int, n: Ints, v: Ints) -> None:
        """What the fire units give for a step of an item."""
        layer, last = self.layer, t == self.layer.steps
        if item.group != self.group:
            self.group = item.group
            self.out = self.share.out + item.group * layer.out_group
        if layer.send == Send.MEMBRANES:
            if last:
                self._outputs(v)
            return
        entry = 0 if layer.send == Send.COUNTS else t
        members = n.reshape(layer.windows + 1, layer.members + 1, self.pitch)
        for member in range(layer.members + 1):
            first = item.first and member == 0 and (layer.send == Send.PLANES or t == 0)
            before = 0 if first else self.sums[entry]
            self.sums[entry] = (before + members[:, member]) % (1 << self.machine.pool.bits)
        if layer.send == Send.COUNTS:
            if last:
                self._outputs(self.sums[0].ravel())
        elif item.last:
            self._planes(item, t)

    def _planes(self, item: _Item, t: int) -> None:
        """Shift a step's sums into the word of each plane, and send those that are full."""
        layer, values = self.layer, self.sums[t].ravel()
        for plane in range(layer.planes + 1):
            word = 0 if item.begins else self.partial[t, plane]
            for value in values.tolist():
                word = word >> 1 | (value >> layer.planes - plane & 1) << WORD - 1
            self.partial[t, plane] = word
            if item.fills:
                address = self.out + t * (layer.planes + 1) + plane
                self.words.append(RouterWord(int(word), self._address(address), 0))
        if item.fills and t == layer.steps:
            self.out += layer.out_word

    def _outputs(self, values: npt.NDArray[np.int64]) -> None:
        for c, value in enumerate(values.tolist()):
            self.words.append(RouterWord(value & _MASK, self._address(self.out + c), 2))
        self.out += self.layer.out_word

    def _address(self, address: int) -> int:
        return address % (1 << self.machine.router.address_bits)


def wrapped(values: Ints, bits: int) -> Ints:
    """`values` as two's complement numbers of `bits` bits hold them."""
    half = 1 << bits - 1
    result: Ints = (values + half & (1 << bits) - 1) - half
    return result
