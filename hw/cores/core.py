"""One core: its blocks, its memories and the records that they work by.

    load --> Records, axis, weights, parameters
    router --> Gather (spike memory) <-- Walker <-- Items
                  |
               Picker --> Lanes --> Fire x F --> Pool --> Packer --> router
                  |                  ^
                  +----> Rounds -----+
"""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Value, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from spikewright.hw.cells.memory import BlockMemory
from spikewright.hw.cores.gather import Gather
from spikewright.hw.cores.items import Items
from spikewright.hw.cores.lanes import Lanes, delayed
from spikewright.hw.cores.packer import Packer
from spikewright.hw.cores.picker import Picker
from spikewright.hw.cores.pool import Pool
from spikewright.hw.cores.rounds import Rounds
from spikewright.hw.cores.streams import Layouts
from spikewright.hw.cores.walker import Walker
from spikewright.hw.fabric.load import Writes
from spikewright.hw.fabric.records import Records
from spikewright.hw.neuron.fire import Fire
from spikewright.machine.blocks import Machine
from spikewright.machine.configuration import AxisEntry

__all__ = ["Core", "trace_layout"]


def trace_layout(machine: Machine) -> data.StructLayout:
    """What the fire units of a core decide in a clock.

    `valid`, the `slot` of all of them, and of each unit the number `n` it sends and V after it.
    """
    fire = machine.fire
    return data.StructLayout(
        {
            "valid": 1,
            "slot": machine.widths["slot"],
            "n": data.ArrayLayout(fire.digits, fire.count),
            "v": data.ArrayLayout(signed(fire.membrane_bits), fire.count),
        }
    )
