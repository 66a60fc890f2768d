"""From the words of the second machine's memories back to the numbers of the layers.

So the golden model is rebuilt from files alone; :mod:`.memories` is the way there. A number that
stands in several places is read from one of them: whoever packs what is found here, and compares it
with the words, finds the others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from spikewright.machine.memories import Base, bases, tap_rows
from spikewright.machine.schedule import LayerSchedule, Schedule, Share
from spikewright.machine.unpacking import unpack_lanes
from spikewright.network import Ints, Layer, NeuronModel

__all__ = ["read_numbers"]

Words = Mapping[str, Sequence[int]]


def read_numbers(schedule: Schedule, words: Words) -> tuple[Layer, ...]:
    """The layers whose numbers stand in `words`, by image name.

    `schedule` is that of a network of the same structure, whatever its numbers. Raises
    SpikewrightError if what is found breaks the contract, e.g. a threshold that is not positive.
    """
    made = zip(schedule.layers, bases(schedule), strict=True)
    return tuple(_layer(layer, own, words) for layer, own in made)


def _layer(layer: LayerSchedule, own: list[Base], words: Words) -> Layer:
    """The numbers of one layer; each channel group from the first core that has it."""
    weights = [np.zeros_like(synapse.weight) for synapse in layer.layer.synapses]
    parameters = np.zeros((3, layer.groups * layer.pitch), np.int64)
    found: set[int] = set()
    for core, base in enumerate(own):
        share = layer.share(core)
        if share.idle or share.first_group in found:
            continue
        found.add(share.first_group)
        rows = words[f"weights_{core // layer.machine.lanes.sharing}"]
        _read_weights(layer, share, rows[base.weight :], weights)
        first, end = (n * layer.pitch for n in (share.first_group, _end(share)))
        for unit in range(layer.machine.fire.count):
            read = _parameters(
                layer, share, words[f"parameters_{core}_{unit}"][2 * base.parameter :]
            )
            parameters[:, first + unit : end : layer.machine.fire.count] = read
    synapses = [
        replace(synapse, weight=weight)
        for synapse, weight in zip(layer.layer.synapses, weights, strict=True)
    ]
    threshold, bias, initial = parameters[:, : layer.layer.shape[0]]
    return replace(
        layer.layer, synapses=tuple(synapses), threshold=threshold, bias=bias, initial=initial
    )


def _end(share: Share) -> int:
    return share.first_group + share.groups


def _read_weights(
    layer: LayerSchedule, share: Share, rows: Sequence[int], weights: list[Ints]
) -> None:
    """Fill the output channels of a share from its `rows`: the lanes of an item's first position.

    Where windows are summed on read, their weight stands once for each of their places.
    """
    lanes = layer.machine.lanes
    count = layer.group_rows
    for group in range(share.first_group, _end(share)):
        start = (group - share.first_group) * count
        values = unpack_lanes(rows[start : start + count], layer.pitch, lanes.weight_bits)
        for number, (reading, weight) in enumerate(zip(layer.readings, weights, strict=True)):
            height, width = (reading.weight.shape[axis] // weight.shape[axis] for axis in (2, 3))
            taps = tap_rows(layer, reading)[::height, ::width] + layer.first_row(number)
            channels = slice(group * layer.pitch, (group + 1) * layer.pitch)
            own = weight[channels]
            own[:] = values[taps].transpose(3, 2, 0, 1)[: len(own)]


def _parameters(layer: LayerSchedule, share: Share, words: Sequence[int]) -> Ints:
    """Threshold, bias and V(0) of a fire unit's channels, from the first of its `words` on."""
    fire = layer.machine.fire
    pairs = words[: 2 * share.groups * layer.slots]
    mask, sign = (1 << fire.threshold_bits) - 1, 1 << fire.drive_bits - 1
    thresholds = np.array([word & mask for word in pairs[::2]], np.int64)
    drives = np.array([(word >> fire.threshold_bits ^ sign) - sign for word in pairs], np.int64)
    initial = drives[1::2] - drives[::2]
    if layer.layer.neuron.model is NeuronModel.BURST:
        initial -= thresholds // 2
    return np.stack([thresholds, drives[::2], initial])
