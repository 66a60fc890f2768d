"""The readout against Python: places, ties, any order of arrival, one image after another."""

import random

import pytest
from amaranth.sim import Simulator

from spikewright.hw.fabric.readout import Readout
from spikewright.machine.blocks import FireUnit, Machine, Pool


def word(kind, address, data):
    return {"kind": kind, "address": address, "data": data & (1 << 36) - 1}


@pytest.mark.parametrize(("outputs", "membrane_bits"), [(10, 8), (1, 9), (1024, 24)])
def test_images(outputs, membrane_bits):
    generator = random.Random(outputs)
    fire = FireUnit(membrane_bits=membrane_bits, threshold_bits=4, drive_bits=4)
    machine = Machine(outputs=outputs, fire=fire, pool=Pool(bits=6))
    dut = Readout(machine)
    assert dut.bits == membrane_bits

    async def give(ctx, received, **pulses):
        ctx.set(dut.received.valid, received is not None)
        if received is not None:
            ctx.set(dut.received.word, received)
        for name in ("begin", "finish"):
            ctx.set(getattr(dut, name), pulses.get(name, 0))
        await ctx.tick()
        return ctx.get(dut.valid)

    async def bench(ctx):
        for image in range(30):
            used = generator.sample(range(outputs), generator.randint(1, min(outputs, 12)))
            span = (2, 1 << membrane_bits - 1)[image % 2]
            values = {place: generator.randrange(-span, span) for place in used}
            best = max(values.values())
            label = min(place for place, value in values.items() if value == best)
            words = [word(2, place, value) for place, value in values.items()]
            words += [word(generator.randrange(2), 0, 1 << membrane_bits - 2) for _ in range(4)]
            generator.shuffle(words)
            words = [w for one in words for w in [one, *[None] * generator.randrange(3)]]
            for n, one in enumerate(words):
                assert not await give(ctx, one, begin=n == 0, finish=n == len(words) - 1)
            # `LATENCY` clocks from the pulse, the first of which is over.
            seen = [await give(ctx, None) for _ in range(dut.LATENCY)]
            assert seen == [*[0] * (dut.LATENCY - 2), 1, 0]
            assert (ctx.get(dut.label), ctx.get(dut.value)) == (label, best)
            for place, value in values.items():
                ctx.set(dut.address, place)
                await ctx.tick().repeat(2)
                assert ctx.get(dut.data) == value

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()


def test_counts_need_a_bit_more_than_the_pool():
    fire = FireUnit(membrane_bits=8, threshold_bits=4, drive_bits=4)
    assert Readout(Machine(fire=fire, pool=Pool(bits=12))).bits == 13
