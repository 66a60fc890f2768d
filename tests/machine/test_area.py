"""What machines take of a device, counted by hand."""

import pytest

from spikewright.machine.area import block_rams, luts
from spikewright.machine.blocks import (
    FireUnit,
    Lanes,
    Machine,
    Packer,
    Pool,
    SpikeMemory,
)
from spikewright.machine.storage import block_count, memories


@pytest.mark.parametrize(
    ("width", "depth", "blocks"),
    [(36, 512, 1), (37, 512, 2), (18, 1024, 1), (128, 784, 8), (128, 512, 4), (9, 4096, 2)],
)
def test_block_count(width, depth, blocks):
    assert block_count(width, depth) == blocks


def test_two_ports_have_no_shallow_shape():
    assert block_count(36, 512, 2) == 2
    assert block_count(128, 1024, 2) == 8


@pytest.mark.parametrize(("cores", "sharing", "weights"), [(2, 1, 2 * 4), (2, 2, 8)])
def test_block_rams_of_a_machine(cores, sharing, weights):
    machine = Machine(
        cores,
        spikes=SpikeMemory(1024),
        lanes=Lanes(16, weight_rows=512, sharing=sharing),
        fire=FireUnit(2),
        pool=Pool(depth=64),
        packer=Packer(64),
        program_words=1024,
        outputs=512,
    )
    axis = next(memory for memory in memories(machine) if memory.name == "axis_0")
    core = 2 + 2 * 1 + block_count(axis.width, 512)
    assert block_rams(machine) == weights + cores * core + 2 + 1


def test_luts_grow_with_lanes_and_cores():
    small, wide = Machine(1), Machine(1, lanes=Lanes(32))
    assert abs(luts(small) - 1800 - 1700) < 100
    assert abs(luts(wide) - 1800 - 2600) < 100
    assert luts(Machine(4)) - luts(Machine(3)) == luts(Machine(2)) - luts(small)
