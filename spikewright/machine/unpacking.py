"""From the words of the memories back to the numbers of the layers.

So the golden model is rebuilt from files alone; :mod:`.packing` is the way there.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from collections.abc import Mapping as AnyMapping
from dataclasses import replace

import numpy as np

from spikewright.machine.axes import only_synapse, weight_words
from spikewright.machine.mapping import Mapping
from spikewright.network import Ints, Layer

__all__ = ["unpack", "unpack_lanes"]


def unpack_lanes(words: Iterable[int], lanes: int, bits: int) -> Ints:
    """The inverse of :func:`pack_lanes`: shape ``(words, lanes)``, signed."""
    mask, sign = (1 << bits) - 1, 1 << (bits - 1)
    rows = [
        [((word >> bits * lane & mask) ^ sign) - sign for lane in range(lanes)] for word in words
    ]
    return np.array(rows, dtype=np.int64).reshape(-1, lanes)


def unpack(
    layers: Sequence[Layer], mapping: Mapping, memories: AnyMapping[str, Sequence[int]]
) -> tuple[Layer, ...]:
    """The layers whose weights, thresholds, biases and initial potentials stand in `memories`.

    `layers` give the structure (their numbers are ignored). Raises SpikewrightError if the numbers
    break the contract, e.g. a threshold that is not positive, and ValueError if words are missing.
    """
    shape = mapping.shape
    rows = [
        (
            unpack_lanes(memories[f"weight_{core}"], shape.lanes, shape.weight_bits),
            unpack_lanes(memories[f"parameter_{core}"], shape.lanes, shape.compare_bits),
        )
        for core in range(shape.cores)
    ]
    made = []
    for layer, where in zip(layers, mapping.layers, strict=True):
        synapse = only_synapse(layer)
        out, channels, kernel_y, kernel_x = synapse.weight.shape
        per_group = weight_words(synapse)
        passes = where.passes
        weights, initials, biases, thresholds = [], [], [], []
        for core, (weight_rows, parameter_rows) in enumerate(rows):
            start, count = where.weight_base[core], where.groups[core]
            weights.append(weight_rows[start : start + count * per_group])
            start = where.parameter_base[core]
            initials.append(parameter_rows[start : start + count])
            # Bias: first row of the first scan; threshold: second row of the scan of digit 0.
            scanned = parameter_rows[start + count :][: passes * count * shape.rows]
            scanned = scanned.reshape(passes, count, shape.rows, shape.lanes)
            biases.append(scanned[0, :, 0])
            thresholds.append(scanned[-1, :, 1])
        weight = np.concatenate(weights).reshape(-1, kernel_y, kernel_x, channels, shape.lanes)
        weight = weight.transpose(0, 4, 3, 1, 2).reshape(-1, channels, kernel_y, kernel_x)[:out]
        initial, bias, threshold = (
            np.concatenate(parts).reshape(-1)[:out] for parts in (initials, biases, thresholds)
        )
        made.append(
            replace(
                layer,
                synapses=(replace(synapse, weight=weight),),
                initial=initial,
                bias=bias,
                threshold=threshold,
            )
        )
    return tuple(made)
