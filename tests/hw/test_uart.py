import random
from itertools import pairwise

import pytest
from amaranth.sim import Simulator

from spikewright.errors import SpikewrightError
from spikewright.hw.uart import Uart, uart_divisor


def frame(byte, stop=1):
    """The levels of a byte on the line."""
    return [0, *(byte >> i & 1 for i in range(8)), stop]


def run_receiver(levels, *, divisor=16, bit_clocks=None, take=True):
    """Put `levels` on the line, each `bit_clocks` long; returns the bytes that came out."""
    dut = Uart(divisor)
    received = []

    async def line(ctx):
        clock, edge = 0, 20.0
        ctx.set(dut.rx, 1)
        for level in [*levels, 1, 1, 1]:
            while clock < edge:
                await ctx.tick()
                clock += 1
            ctx.set(dut.rx, level)
            edge += bit_clocks or divisor
        for _ in range(3 * divisor):
            await ctx.tick()

    async def sink(ctx):
        while True:
            ctx.set(dut.o.ready, take)
            _, _, valid, byte = await ctx.tick().sample(dut.o.valid & dut.o.ready, dut.o.payload)
            if valid:
                received.append(byte)

    async def late_sink(ctx):
        """Takes what was held back until the end of the line."""
        await line(ctx)
        ctx.set(dut.o.ready, 1)
        for _ in range(4):
            _, _, valid, byte = await ctx.tick().sample(dut.o.valid, dut.o.payload)
            if valid:
                received.append(byte)

    sim = Simulator(dut)
    sim.add_clock(1e-6)
    if take:
        sim.add_testbench(line)
        sim.add_testbench(sink, background=True)
    else:
        sim.add_testbench(late_sink)
    sim.run()
    return received


def run_transmitter(data, *, divisor=16, seed=0, stall=0.0):
    """Send `data`; returns the levels of the line, clock by clock."""
    dut = Uart(divisor)
    rng = random.Random(seed)
    levels = []

    async def source(ctx):
        for byte in data:
            while rng.random() < stall:
                await ctx.tick()
            ctx.set(dut.i.payload, byte)
            ctx.set(dut.i.valid, 1)
            ready = 0
            while not ready:
                _, _, ready = await ctx.tick().sample(dut.i.ready)
            ctx.set(dut.i.valid, 0)
        for _ in range(12 * divisor):
            await ctx.tick()

    async def watch(ctx):
        while True:
            _, _, level = await ctx.tick().sample(dut.tx)
            levels.append(level)

    sim = Simulator(dut)
    sim.add_clock(1e-6)
    sim.add_testbench(source)
    sim.add_testbench(watch, background=True)
    sim.run()
    return levels


def decode(levels, divisor):
    """The bytes on a line, with every level checked over the whole of its bit."""
    received, position = [], 0
    while 0 in levels[position:]:
        position = levels.index(0, position)
        bits = [levels[position + i * divisor : position + (i + 1) * divisor] for i in range(10)]
        assert all(len(set(bit)) == 1 for bit in bits)
        assert (bits[0][0], bits[9][0]) == (0, 1)
        received.append(sum(bits[1 + i][0] << i for i in range(8)))
        position += 10 * divisor
    return received


def random_bytes(count, seed=0):
    return random.Random(seed).randbytes(count)


@pytest.mark.parametrize("divisor", [8, 9, 33, 100])
@pytest.mark.parametrize("error", [-0.035, 0.0, 0.035])
def test_receives_at_the_tolerated_rates(divisor, error):
    data = bytes([0, 0xFF, 0x55, 0xAA]) + random_bytes(12, divisor)
    levels = [level for byte in data for level in frame(byte)]
    assert bytes(run_receiver(levels, divisor=divisor, bit_clocks=divisor * (1 + error))) == data


@pytest.mark.parametrize("divisor", [8, 16])
def test_receives_every_byte_value(divisor):
    levels = [level for byte in range(256) for level in frame(byte)]
    assert run_receiver(levels, divisor=divisor) == list(range(256))


def test_drops_a_byte_without_stop_bit():
    """And a line held low sends nothing, however long."""
    levels = [*frame(0x12), *frame(0x34, stop=0), 1, *frame(0x56), *[0] * 40, 1, *frame(0x78)]
    assert run_receiver(levels) == [0x12, 0x56, 0x78]


def test_ignores_a_glitch():
    """A low level of less than half a bit starts nothing."""
    fine = [level for bit in [1, *frame(0x9A)] for level in [bit] * 4]
    glitch = [1, 1, 0, 1, 1, 1, 1, 1]
    assert run_receiver([*glitch, *fine], divisor=16, bit_clocks=4) == [0x9A]


def test_overrun_drops_the_newer_byte():
    levels = [level for byte in (1, 2, 3) for level in frame(byte)]
    assert run_receiver(levels, take=False) == [1]


@pytest.mark.parametrize("stall", [0.0, 0.99])
@pytest.mark.parametrize("divisor", [8, 33])
def test_sends(divisor, stall):
    data = bytes([0, 0xFF]) + random_bytes(14, divisor)
    levels = run_transmitter(data, divisor=divisor, stall=stall)
    assert bytes(decode(levels, divisor)) == data


def test_sends_a_byte_every_ten_bits():
    levels = run_transmitter(bytes(10), divisor=8)
    edges = [i for i, (a, b) in enumerate(pairwise(levels)) if (a, b) == (1, 0)]
    assert len(edges) == 10
    assert {b - a for a, b in pairwise(edges)} == {81}


@pytest.mark.parametrize(
    ("clock", "baud", "divisor"),
    [(80e6, 1e6, 80), (100e6, 1e6, 100), (100e6, 3e6, 33), (80e6, 3e6, 27), (25e6, 115200, 217)],
)
def test_divisor(clock, baud, divisor):
    assert uart_divisor(clock, baud) == divisor


def test_bad_rates():
    with pytest.raises(
        SpikewrightError,
        match=r"^UART: 1e\+07 baud from 50 MHz leaves 5 clocks for a bit, 8 are needed; "
        r"choose at most 6250000 baud$",
    ):
        uart_divisor(50e6, 10e6)
    with pytest.raises(
        SpikewrightError,
        match=r"^UART: 3e\+06 baud from 25\.5 MHz is \+6\.2% off with 8 clocks a bit, 2% is the "
        r"limit; choose 3187500 baud or another clock$",
    ):
        uart_divisor(25.5e6, 3e6)
    with pytest.raises(ValueError, match="at least 8 clocks a bit, not 7"):
        Uart(7)
