"""Words out of FRAME messages, clock by clock."""

import pytest
from amaranth.sim import Simulator

from spikewright.hw.link.frames import FrameFeeder
from spikewright.machine.blocks import Machine


def offers(message, clocks=200):
    """The clock of each word, from the message's first byte on, and address and word."""
    dut, found = FrameFeeder(Machine()), []

    async def script(ctx):
        ctx.set(dut.o.ready, 1)
        for clock in range(clocks):
            byte = message[clock] if clock < len(message) else 0
            ctx.set(dut.i, {"valid": clock < len(message), "data": byte, "first": clock == 0})
            if ctx.get(dut.o.valid):
                assert not ctx.get(dut.idle)
                found.append((clock, ctx.get(dut.o.p.address), ctx.get(dut.o.p.data)))
            await ctx.tick()
        assert ctx.get(dut.idle)

    sim = Simulator(dut)
    sim.add_clock(1e-6)
    sim.add_testbench(script)
    sim.run()
    return found


@pytest.mark.parametrize("size", range(1, 6))
def test_latency_and_throughput(size):
    words = [bytes(range(16 * n + 1, 16 * n + 1 + size)) for n in range(6)]
    found = offers(bytes([size, 0, 0xFE, 0xFF]) + b"".join(words))
    step = 4 if size == 1 else size + 5
    assert [clock for clock, _, _ in found] == [9 + step + n * step for n in range(6)]
    assert [address for _, address, _ in found] == [0xFFFE + n & 0xFFFF for n in range(6)]
    values = [int.from_bytes(word, "little") << 40 - 8 * size >> 4 for word in words]
    assert [word for _, _, word in found] == values
