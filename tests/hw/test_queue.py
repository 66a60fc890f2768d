import random

import pytest
from amaranth.hdl import signed
from amaranth.lib import data
from amaranth.sim import Simulator

from spikewright.hw.memory import make_memory
from spikewright.hw.queue import Queue

ITEM = data.StructLayout({"value": signed(12), "last": 1})


def run_queue(depth, items, *, write=1.0, read=1.0, after_valid=False, seed=0):
    """Pass `items`; returns what came out and the clock of every output transfer."""
    dut = Queue(ITEM, depth)
    rng = random.Random(seed)
    received, clocks, levels = [], [], []

    async def source(ctx):
        for value, last in items:
            while rng.random() >= write:
                await ctx.tick()
            ctx.set(dut.i.payload, {"value": value, "last": last})
            ctx.set(dut.i.valid, 1)
            ready = 0
            while not ready:
                _, _, ready = await ctx.tick().sample(dut.i.ready)
            ctx.set(dut.i.valid, 0)

    async def sink(ctx):
        held = None
        clock = 0
        while len(received) < len(items):
            assert clock < 40 * len(items) + 100, "the queue lost an element"
            offered = after_valid and ctx.get(dut.o.valid)
            ctx.set(dut.o.ready, offered if after_valid else rng.random() < read)
            _, _, valid, ready, payload, level = await ctx.tick().sample(
                dut.o.valid, dut.o.ready, dut.o.payload, dut.level
            )
            levels.append(level)
            item = (payload.value, payload.last)
            if held is not None:
                assert (valid, item) == (1, held), "an offer was changed or withdrawn"
            held = item if valid and not ready else None
            if valid and ready:
                received.append(item)
                clocks.append(clock)
            clock += 1

    sim = Simulator(dut)
    sim.add_clock(1e-6)
    sim.add_testbench(source)
    sim.add_testbench(sink)
    sim.run()
    return received, clocks, levels


ITEMS = [(value, index % 2) for index, value in enumerate(range(-60, 60))]


@pytest.mark.parametrize("depth", [3, 4, 16])
@pytest.mark.parametrize(
    "stalls", [{}, {"write": 0.4, "read": 0.5}, {"read": 0.2}, {"after_valid": True}]
)
def test_passes_everything_in_order(depth, stalls):
    received, _, levels = run_queue(depth, ITEMS, seed=depth, **stalls)
    assert received == ITEMS
    assert max(levels) <= depth


@pytest.mark.parametrize("depth", [3, 4, 16])
def test_latency_and_throughput(depth):
    _, clocks, _ = run_queue(depth, ITEMS)
    assert clocks == list(range(2, 2 + len(ITEMS)))


def test_takes_depth_elements_when_stalled():
    _, _, levels = run_queue(5, ITEMS, read=0.05, seed=3)
    assert max(levels) == 5


def test_bad_depth():
    with pytest.raises(ValueError, match=r"^a queue needs a depth of at least 3, not 2$"):
        Queue(8, 2)


def test_memory_sizes():
    with pytest.raises(ValueError, match="at least one row, not 0"):
        make_memory(8, 0)
    with pytest.raises(ValueError, match="3 initial rows do not fit a memory of 2"):
        make_memory(8, 2, [1, 2, 3])
    memories = [make_memory(8, 1, [7]), make_memory(8, 4, [1])]
    assert [memory.depth for memory in memories] == [2, 4]
    assert all(memory.attrs == {"no_rw_check": 1} for memory in memories)
