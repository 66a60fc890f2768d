"""What fire units decided, from the trace of a simulated machine: V and n of every lane and step.

A trace record holds what all cores decide in a clock, core after core (:func:`layout`). Which
neuron a decision belongs to follows from its place in the order of a core's decisions: the schedule
says how many there are of each layer.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from spikewright.errors import SpikewrightError
from spikewright.machine.blocks import Machine
from spikewright.machine.schedule import LayerSchedule, Schedule
from spikewright.network import Ints

__all__ = ["Decisions", "decisions", "layout", "unpack"]


def layout(machine: Machine) -> dict[str, int]:
    """Bits of what a core traces, the lowest first: `valid`, `slot`, then each unit's n, and V."""
    fire = machine.fire
    widths = {"valid": 1, "slot": machine.widths["slot"]}
    widths |= {f"n{unit}": fire.digits for unit in range(fire.count)}
    return widths | {f"v{unit}": fire.membrane_bits for unit in range(fire.count)}


@dataclass(frozen=True)
class Decisions:
    """A layer on a core: int64 ``(items, steps, lanes)``, V after firing and n sent."""

    membranes: Ints
    spikes: Ints


def unpack(machine: Machine, records: npt.NDArray[np.uint32]) -> list[tuple[Ints, Ints, Ints]]:
    """For each core the slots ``(k,)``, and n and V ``(k, fire units)``, of its k decisions.

    `records` are ``(records, words)`` little-endian words of 32 bits.
    """
    bits = np.unpackbits(np.ascontiguousarray(records).view(np.uint8), axis=1, bitorder="little")
    widths, found, offset = layout(machine), [], 0
    units = range(machine.fire.count)
    for _ in range(machine.cores):
        numbers = {}
        for name, width in widths.items():
            cut = bits[:, offset : offset + width].astype(np.int64)
            numbers[name] = cut @ (1 << np.arange(width, dtype=np.int64))
            offset += width
        there = numbers["valid"] == 1
        sign = 1 << machine.fire.membrane_bits - 1
        v = np.stack([(numbers[f"v{unit}"] ^ sign) - sign for unit in units], 1)
        n = np.stack([numbers[f"n{unit}"] for unit in units], 1)
        found.append((numbers["slot"][there], n[there], v[there]))
    return found


def decisions(
    schedule: Schedule, records: npt.NDArray[np.uint32], images: int = 1
) -> list[list[list[Decisions]]]:
    """For each image and layer what every core decided.

    Raises SpikewrightError where a core decided more or less often than the schedule says, or in
    another order of its slots.
    """
    cores = [_Reader(*numbers) for numbers in unpack(schedule.machine, records)]
    found = [
        [
            [reader.take(layer, core) for core, reader in enumerate(cores)]
            for layer in schedule.layers
        ]
        for _ in range(images)
    ]
    for core, reader in enumerate(cores):
        if reader.at != len(reader.slot):
            raise SpikewrightError(
                f"core {core}: {len(reader.slot)} decisions, the schedule has {reader.at}"
            )
    return found


@dataclass
class _Reader:
    """A core's decisions, taken layer after layer."""

    slot: Ints
    n: Ints
    v: Ints
    at: int = 0

    def take(self, layer: LayerSchedule, core: int) -> Decisions:
        """Those of the next layer."""
        slots, steps = layer.slots * layer.placement.positions, layer.network.steps
        items = sum(1 for _ in layer.items(core))
        own = slice(self.at, self.at + items * steps * slots)
        if not np.array_equal(self.slot[own], np.tile(np.arange(slots), items * steps)):
            raise SpikewrightError(
                f"layer {layer.layer.name}, core {core}: its {len(self.slot[own])} decisions are "
                f"not those of {items} items in {steps} steps"
            )
        self.at = own.stop
        membranes, spikes = (
            np.zeros((items, steps, layer.machine.lanes.count), np.int64) for _ in range(2)
        )
        used = slots * layer.machine.fire.count
        membranes[:, :, :used] = self.v[own].reshape(items, steps, used)
        spikes[:, :, :used] = self.n[own].reshape(items, steps, used)
        return Decisions(membranes, spikes)
