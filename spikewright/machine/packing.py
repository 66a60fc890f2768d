"""From a network and its mapping to the words of every loadable memory.

`docs/formats.md` has the same in prose; :mod:`.unpacking` is the way back.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from spikewright.errors import SpikewrightError
from spikewright.machine.axes import axis_words, only_synapse
from spikewright.machine.hardware import HardwareShape
from spikewright.machine.instructions import pack_fields
from spikewright.machine.mapping import LayerMapping, Mapping
from spikewright.machine.program import program
from spikewright.machine.scans import count_bits
from spikewright.network import Ints, Layer, Network, Synapse, scans
from spikewright.network.neuron import Rounding

__all__ = ["check_ranges", "pack", "pack_lanes"]


def check_ranges(network: Network, mapping: Mapping) -> None:
    """Refuse numbers for which a membrane could wrap on the hardware of `mapping`."""
    shape = mapping.shape
    for name in ("membrane_bits", "compare_bits", "current_bits"):
        needed, there = getattr(network.ranges, name), getattr(shape, name)
        if needed > there:
            raise SpikewrightError(
                f"network: needs {name} {needed}, the hardware has {there}; compile it again"
            )
    if count_bits(network) > shape.count_bits:
        raise SpikewrightError(
            f"network: counts need {count_bits(network)} bits, the hardware has "
            f"{shape.count_bits}; compile it again"
        )
    for index, (layer, where) in enumerate(zip(network.layers, mapping.layers, strict=True)):
        needed = scans(network, index)[1]
        if needed > where.final_passes:
            raise SpikewrightError(
                f"layer {layer.name}: its rounding phase needs {needed} scans, the program has "
                f"{where.final_passes}; compile it again"
            )


def pack_lanes(rows: npt.NDArray[np.int64], bits: int) -> list[int]:
    """Words of one two's complement number of `bits` bits a lane, lane 0 in the low bits."""
    mask = (1 << bits) - 1
    return [
        sum((value & mask) << bits * lane for lane, value in enumerate(row))
        for row in rows.tolist()
    ]


def _grouped(values: npt.NDArray[np.int64], lanes: int, fill: int) -> Ints:
    """Pad the channel axis (the first) to whole groups: shape ``(groups, lanes, ...)``."""
    missing = -values.shape[0] % lanes
    padding = np.full((missing, *values.shape[1:]), fill, np.int64)
    return np.concatenate([values, padding]).reshape(-1, lanes, *values.shape[1:])


def _weight_rows(synapse: Synapse, lanes: int) -> Ints:
    """Weights as ``(groups, taps * source channels, lanes)``, in the order of their addresses."""
    grouped = _grouped(synapse.weight, lanes, 0)  # groups, lanes, channels, ky, kx
    return grouped.transpose(0, 3, 4, 2, 1).reshape(grouped.shape[0], -1, lanes)


def _parameter_rows(layer: Layer, where: LayerMapping, shape: HardwareShape) -> tuple[Ints, Ints]:
    """V(0) as ``(groups, lanes)``, and the rows of all scans, ``(scans, groups, rows, lanes)``.

    A scan of digit k adds its first row (bias or half a threshold in the first scan of a step, 0 in
    the others), compares with ``threshold << k``, and adds ``(threshold << k) - threshold`` to
    compare with zero. A lane without a channel never fires.
    """
    half = layer.threshold // 2 * (layer.neuron.rounding is not Rounding.NONE)
    made = []
    for count, first in ((where.passes, layer.bias), (where.final_passes, half)):
        for digit in reversed(range(count)):
            top = layer.threshold << digit
            rows = [
                _grouped(first * (digit == count - 1), shape.lanes, 0),
                _grouped(top, shape.lanes, 1),
                _grouped(top - layer.threshold, shape.lanes, 0),
            ]
            made.append(np.stack(rows[: shape.rows], axis=1))
    return _grouped(layer.initial, shape.lanes, 0), np.stack(made)


def pack(network: Network, mapping: Mapping) -> dict[str, list[int]]:
    """The words of every memory in `mapping.shape.loadable()`, by memory name."""
    shape = mapping.shape
    memories: dict[str, list[int]] = {
        "program": [instruction.encode() for instruction in program(network, mapping)]
    }
    axis = [0] * shape.axis_words
    for layer, where in zip(network.layers, mapping.layers, strict=True):
        y, x = axis_words(network, layer)
        for base, entries in ((where.axis_y, y), (where.axis_x, x)):
            for i, values in enumerate(entries):
                axis[base + i] = pack_fields(values, shape.axis_fields)
    memories["axis"] = axis
    layer_parameters = [
        _parameter_rows(layer, where, shape)
        for layer, where in zip(network.layers, mapping.layers, strict=True)
    ]
    for core in range(shape.cores):
        weights = np.zeros((shape.weight_words, shape.lanes), np.int64)
        parameters = np.zeros((shape.parameter_words, shape.lanes), np.int64)
        for layer, where, (initial, rows) in zip(
            network.layers, mapping.layers, layer_parameters, strict=True
        ):
            own = slice(where.first_group[core], where.first_group[core] + where.groups[core])
            words = _weight_rows(only_synapse(layer), shape.lanes)[own].reshape(-1, shape.lanes)
            weights[where.weight_base[core] :][: len(words)] = words
            numbers = np.concatenate([initial[own], rows[:, own].reshape(-1, shape.lanes)])
            parameters[where.parameter_base[core] :][: len(numbers)] = numbers
        memories[f"weight_{core}"] = pack_lanes(weights, shape.weight_bits)
        memories[f"parameter_{core}"] = pack_lanes(parameters, shape.compare_bits)
    return memories
