"""Banked memory: contents, latency and throughput across the banks' borders."""

import random

import pytest
from amaranth.sim import Simulator

from spikewright.hw.memory import BankedMemory


@pytest.mark.parametrize("depth", [1, 5, 1024, 1025, 2100])
def test_reads_one_row_a_clock_two_clocks_later(depth):
    rng = random.Random(depth)
    init = [rng.randrange(256) for _ in range(depth)]
    dut = BankedMemory(8, depth, init)
    edges = [a for a in (0, 1, 1022, 1023, 1024, 1025, 2047, 2048, depth - 1) if a < depth]
    written = {a: rng.randrange(256) for a in edges[::2]}
    reads = [rng.choice([*edges, rng.randrange(depth)]) for _ in range(200)]
    seen = []

    async def bench(ctx):
        for address, value in written.items():
            ctx.set(dut.write.enable, 1)
            ctx.set(dut.write.address, address)
            ctx.set(dut.write.data, value)
            await ctx.tick()
        ctx.set(dut.write.enable, 0)
        await ctx.tick()
        for address in reads:
            ctx.set(dut.read, 1)
            ctx.set(dut.address, address)
            _, _, data = await ctx.tick().sample(dut.data)
            seen.append(data)
        ctx.set(dut.read, 0)
        for _ in range(5):  # then the last row stays
            _, _, data = await ctx.tick().sample(dut.data)
            seen.append(data)

    sim = Simulator(dut)
    sim.add_clock(1e-6)
    sim.add_testbench(bench)
    sim.run()
    expected = [written.get(a, init[a]) for a in reads]
    assert seen[2:] == [*expected, *expected[-1:] * 3]
