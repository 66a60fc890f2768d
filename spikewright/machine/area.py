"""What a machine takes of a device: block RAMs and look-up tables.

Block RAMs are counted memory by memory (:mod:`.storage`). LUTs are estimates, to
be replaced by synthesis.
"""

from __future__ import annotations

from spikewright.machine.blocks import Machine
from spikewright.machine.storage import memories

__all__ = ["block_rams", "luts"]

_FIXED, _CORE, _FIRE_UNIT, _LANE = 1800, 440, 180, 56
"""LUTs, estimated: host port and sequencer; and a core without fire units and lanes."""


def block_rams(machine: Machine) -> int:
    """Block RAMs of the whole machine."""
    return sum(memory.blocks for memory in memories(machine))


def luts(machine: Machine) -> int:
    """Look-up tables of the whole machine, estimated."""
    core = _CORE + _FIRE_UNIT * machine.fire.count + _LANE * machine.lanes.count
    return _FIXED + machine.cores * core
