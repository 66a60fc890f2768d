"""The memories of a machine: the documented table, their sizes, and the block RAM they take."""

from dataclasses import replace
from pathlib import Path

import pytest
from amaranth.hdl import Fragment

from spikewright.hw.cells.memory import BlockMemory
from spikewright.hw.cores.lanes import Lanes
from spikewright.machine.area import block_rams
from spikewright.machine.blocks import Machine, Packer, Pool
from spikewright.machine.storage import loadable, memories, table


def test_the_documented_table():
    text = (Path(__file__).parents[2] / "docs" / "formats.md").read_text()
    assert table(Machine()) in text


def test_sizes_follow_the_machine():
    machine = replace(Machine(), pool=Pool(8, 64), packer=Packer(0))
    by_name = {memory.name: memory for memory in memories(machine)}
    assert len(by_name) == len(memories(machine))
    assert not by_name["sums_0"].block
    assert machine.packer.partial == 0
    assert "partial_0" not in by_name
    assert by_name["weights_0"].bits == 1024 * 16 * 8
    more = {memory.name for memory in memories(replace(machine, cores=4))}
    assert {"weights_3", "axis_3", "parameters_3_1"} <= more
    paired = replace(machine, cores=4, lanes=replace(machine.lanes, sharing=2))
    assert {"weights_2", "weights_3"}.isdisjoint(memory.name for memory in memories(paired))
    assert block_rams(machine) == sum(memory.blocks for memory in memories(machine)) == 20
    names = [shape.name for shape in loadable(replace(machine, cores=2))]
    assert names == [
        *("program", "weights_0", "weights_1", "axis"),
        *("parameters_0_0", "parameters_0_1", "parameters_1_0", "parameters_1_1"),
    ]


@pytest.mark.parametrize("rows", [512, 1024, 2048, 3000])
@pytest.mark.parametrize(("lanes", "fires"), [(16, 2), (32, 4), (8, 1), (24, 2)])
def test_the_lanes_have_these_banks(monkeypatch, rows, lanes, fires):
    """What the hardware is made of, and what is counted, are the same memories."""
    made = []
    real = BlockMemory.__init__

    def noted(self, width, depth, init=()):
        made.append((width, depth))
        real(self, width, depth, init)

    monkeypatch.setattr(BlockMemory, "__init__", noted)
    machine = Machine()
    machine = replace(
        machine,
        lanes=replace(machine.lanes, count=lanes, weight_rows=rows),
        fire=replace(machine.fire, count=fires),
    )
    Fragment.get(Lanes(machine.lanes, fires), None)
    (weights,) = (memory for memory in memories(machine) if memory.name == "weights_0")
    assert made == [(width, weights.words) for width in weights.columns]
    assert sum(weights.columns) == weights.width
