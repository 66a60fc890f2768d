"""The counter against integers; registers that step or begin anew."""

import random

from amaranth.hdl import Module, Signal
from amaranth.sim import Simulator

from spikewright.hw.cells.counter import Countdown, advance


def test_countdown():
    """`last` is true for one clock in value + 1, and from the start."""
    generator = random.Random(1)
    dut = Countdown(3)
    seen = []

    async def bench(ctx):
        count = 0
        for _ in range(300):
            assert ctx.get(dut.last) == (count == 0)
            value, enable = generator.randrange(8), generator.random() < 0.8
            ctx.set(dut.value, value)
            ctx.set(dut.load, count == 0)
            ctx.set(dut.enable, enable)
            if enable:
                count = count - 1 if count else value
                seen.append(count)
            await ctx.tick()

    simulate(dut, bench)
    assert {*range(8)} == {*seen}


def test_advance():
    m, register, load, enable = Module(), Signal(4), Signal(), Signal(init=1)
    advance(m, register, enable, 5, load, 9)

    async def bench(ctx):
        for expected in (0, 5, 10, 15, 4):
            assert ctx.get(register) == expected
            await ctx.tick()
        ctx.set(load, 1)
        await ctx.tick()
        assert ctx.get(register) == 9
        ctx.set(enable, 0)
        await ctx.tick()
        assert ctx.get(register) == 9

    simulate(m, bench)


def simulate(dut, bench):
    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
