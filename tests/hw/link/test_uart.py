"""A host on two pins."""

from amaranth.sim import Simulator

from spikewright.hw.link.uart import UartTop
from spikewright.machine.blocks import Lanes, Machine
from spikewright.machine.link import Command, Decoder, digest, parse_hello, request

DIVISOR = 8


def test_hello():
    """A request and its reply, bit by bit."""
    machine = Machine(lanes=Lanes(count=4, weight_rows=16))
    dut = UartTop(machine, 8e6, 1e6)
    assert dut.divisor == DIVISOR
    levels = []

    async def send(ctx):
        for byte in request(Command.HELLO, 7):
            for bit in (0, *(byte >> i & 1 for i in range(8)), 1):
                ctx.set(dut.rx, bit)
                await ctx.tick().repeat(DIVISOR)
        await ctx.tick().repeat(20 * 10 * DIVISOR)

    async def watch(ctx):
        async for _, _, level in ctx.tick().sample(dut.tx):
            levels.append(level)

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(send)
    simulator.add_testbench(watch, background=True)
    simulator.run()
    replies, clock, decoder = [], 0, Decoder()
    while 0 in levels[clock:]:
        clock = levels.index(0, clock) + DIVISOR // 2
        bits = [levels[clock + DIVISOR * (1 + i)] for i in range(8)]
        replies += decoder.feed(bytes([sum(bit << i for i, bit in enumerate(bits))]))
        clock += 9 * DIVISOR
    (reply,) = replies
    assert (reply.command, reply.tag) == (Command.HELLO, 7)
    assert parse_hello(reply.payload).digest == digest(machine)
