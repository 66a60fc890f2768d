"""What a layer must keep to on a machine: its sizes, how it is cut, and its numbers."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from spikewright.errors import SpikewrightError
from spikewright.machine.blocks import WORD
from spikewright.machine.configuration import Send
from spikewright.network import PoolKind

if TYPE_CHECKING:
    from spikewright.machine.schedule import LayerSchedule

__all__ = ["check_numbers", "check_placement", "check_room"]


def check_room(layer: LayerSchedule) -> None:
    """Raise SpikewrightError for a layer that the machine is too small for, whatever its numbers.

    It needs no loop over the layer, so that absurd sizes are found before anything is computed.
    """
    machine = layer.machine
    items = max(layer.height * layer.parts[0], layer.tiles_x * layer.parts[1])
    outputs = 0
    if layer.send is not Send.PLANES:
        outputs = layer.groups * layer.pitch * layer.height * layer.width
    rules = [
        (min(layer.height, layer.width) >= 1, "its windows are larger than its map"),
        (
            layer.placement.turns or items <= machine.walker.axis_entries,
            "more rows of items than axis entries",
        ),
        (
            layer.network.weight_bits <= machine.lanes.weight_bits,
            f"weights have more than {machine.lanes.weight_bits} bits",
        ),
        (
            layer.shift <= machine.fire.largest_shift,
            f"its sums are shifted by {layer.shift}, the fire units shift by "
            f"{machine.fire.largest_shift} at most",
        ),
        (items <= 1 << 16, "more than 65,536 rows of items"),
        (outputs <= machine.outputs, f"more than {machine.outputs} outputs"),
    ]
    for holds, text in rules:
        if not holds:
            raise SpikewrightError(f"layer {layer.layer.name}: {text}; {layer.placement}")


def check_placement(layer: LayerSchedule) -> None:
    """Raise SpikewrightError where a layer is not cut as the machine needs it."""
    place, machine, name = layer.placement, layer.machine, layer.layer.name
    for synapse in layer.layer.synapses:
        if synapse.pool.kind is PoolKind.MAX:
            raise SpikewrightError(f"layer {name}: the cores have no max pooling yet")
    sums = place.pool != (1, 1) or layer.send is Send.COUNTS
    steps = 1 if layer.send is Send.COUNTS else layer.network.steps
    several = place.positions // place.windows * layer.parts[0] * layer.parts[1] > 1
    rules = [
        (layer.layer.neuron.model in machine.fire.models, "its neurons are not in the cores"),
        (layer.pitch % machine.fire.count == 0, "groups are not dealt evenly to fire units"),
        (layer.pitch <= WORD, f"groups have more than {WORD} channels"),
        (layer.pitch * place.positions <= machine.lanes.count, "an item needs more lanes"),
        (all(p % m == 0 for p, m in zip(place.pool, place.members, strict=True)), "windows"),
        (place.columns * layer.pitch <= WORD, f"a word holds more than {WORD} values"),
        (place.group_shares * place.tile_shares <= machine.cores, "more parts than cores"),
        (not place.cuts or _covered(layer), "its runs are not all tiles, one after the other"),
        (not place.turns or not place.cuts, "words in turn make no runs"),
        (
            not place.turns or layer.takes_turns(place.tile_shares),
            "words in turn have fields of unequal height",
        ),
        (
            len(layer.passes) <= machine.walker.passes,
            f"more than {machine.walker.passes} digit planes",
        ),
        (
            len(layer.readings) <= machine.walker.sources,
            f"more than {machine.walker.sources} sources",
        ),
        (
            not sums or steps * place.windows * layer.slots <= machine.pool.depth,
            "the window sums of all steps do not fit the pool; sum on read, or take fewer",
        ),
        (
            not several or layer.slots >= machine.pool.latency or place.members == (1, 1),
            "members of a window meet in the pool's pipeline",
        ),
        (
            place.word == 1
            or layer.send is not Send.PLANES
            or layer.map.time_words <= machine.packer.partial,
            "the unfinished words of all steps do not fit the packer",
        ),
        (
            layer.send is Send.PLANES or (place.columns, place.pool) == (1, (1, 1)),
            "outputs are sent one position a word",
        ),
    ]
    for holds, text in rules:
        if not holds:
            raise SpikewrightError(f"layer {name}: {text}; {place}")


def _covered(layer: LayerSchedule) -> bool:
    place = layer.placement
    cuts = [0, *place.cuts]
    ordered = all(start <= end for start, end in pairwise(cuts))
    end = layer.tiles // place.word
    return ordered and len(cuts) == place.tile_shares + 1 and cuts[-1] == end


def check_numbers(layer: LayerSchedule) -> None:
    """Raise SpikewrightError where a number may leave the width that the machine has for it."""
    machine, ranges, name = (
        layer.machine,
        layer.network.ranges.layers[layer.index],
        layer.layer.name,
    )
    bounds = {
        "current": (ranges.current, machine.lanes.accumulator_bits + layer.shift),
        "potential": (ranges.potential, machine.fire.membrane_bits),
    }
    for what, ((low, high), bits) in bounds.items():
        if int(low.min()) < -(1 << bits - 1) or int(high.max()) >= 1 << bits - 1:
            raise SpikewrightError(
                f"layer {name}: its {what} may reach "
                f"{max(int(high.max()), -int(low.min()))}, beyond {bits} bits"
            )
    area = layer.placement.pool[0] * layer.placement.pool[1]
    most = ranges.count if layer.send is Send.COUNTS else area * ranges.spikes[1]
    if layer.layer.neuron.fires and most >= 1 << machine.pool.bits:
        raise SpikewrightError(
            f"layer {name}: a sum may reach {most}, beyond the pool's {machine.pool.bits} bits"
        )
