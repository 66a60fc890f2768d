"""What a machine takes of a device: its memories, block RAMs and look-up tables.

Block RAMs are counted as :mod:`spikewright.hw.cells.memory` lays them out. LUTs are estimates, to
be replaced by synthesis.
"""

from __future__ import annotations

from spikewright.machine.blocks import WORD, Machine
from spikewright.machine.configuration import AxisEntry
from spikewright.machine.hardware import MemoryShape

__all__ = ["BLOCK_SHAPES", "block_count", "block_rams", "block_shape", "luts", "memories"]

BLOCK_SHAPES = ((512, 36), (1024, 18), (2048, 9))
"""Words of one block RAM of an ECP5, and their bits: deeper ones are narrower."""

DISTRIBUTED = 64
"""Window sums and unfinished words of up to so many words lie in LUTs."""

_FIXED, _CORE, _FIRE_UNIT, _LANE = 1800, 440, 180, 56
"""LUTs, estimated: host port and sequencer; and a core without fire units and lanes."""


def block_shape(depth: int, ports: int = 1) -> tuple[int, int]:
    """The shallowest block shape that holds `depth` words, or the deepest that there is.

    With two read ports (true dual port) the shallowest is not there.
    """
    shapes = BLOCK_SHAPES[ports - 1 :]
    return next((shape for shape in shapes if shape[0] >= depth), shapes[-1])


def block_count(width: int, depth: int, ports: int = 1) -> int:
    """Block RAMs of an ECP5 that a memory of `depth` words of `width` bits takes."""
    words, bits = block_shape(depth, ports)
    return -(-width // bits) * -(-depth // words)


def memories(machine: Machine) -> list[MemoryShape]:
    """The memories of one core, but its weights."""
    fire = machine.fire
    axis = AxisEntry.size(machine.widths)
    return [
        MemoryShape("spikes", machine.spikes.words, WORD),
        MemoryShape("axis", machine.walker.axis_entries, axis),
        *(
            MemoryShape(f"parameters_{unit}", 2 * fire.parameter_rows, fire.parameter_bits)
            for unit in range(fire.count)
        ),
        MemoryShape("pool", machine.pool.depth, fire.count * machine.pool.bits),
        MemoryShape("packer", machine.packer.partial, WORD),
    ]


def block_rams(machine: Machine) -> int:
    """Block RAMs of the whole machine."""
    lanes = machine.lanes
    small = ("pool", "packer")
    core = sum(
        block_count(memory.width, memory.words)
        for memory in memories(machine)
        if memory.words > DISTRIBUTED or memory.name not in small
    )
    weights = block_count(lanes.count * lanes.weight_bits, lanes.weight_rows, lanes.sharing)
    program = block_count(WORD, machine.program_words)
    readout = block_count(machine.fire.membrane_bits, machine.outputs)
    return machine.cores * core + machine.weight_memories * weights + program + readout


def luts(machine: Machine) -> int:
    """Look-up tables of the whole machine, estimated."""
    core = _CORE + _FIRE_UNIT * machine.fire.count + _LANE * machine.lanes.count
    return _FIXED + machine.cores * core
