"""Pool against sums in Python: what each slot gives, when, and what is peeked at."""

import random

import pytest
from amaranth.sim import Simulator

from spikewright.hw.cores.pool import Pool
from spikewright.machine import blocks
from spikewright.machine.blocks import FireUnit, Lanes, Machine

SHAPES = [(1, 5, 64), (2, 5, 64), (4, 1, 16), (2, 8, 65), (4, 3, 256), (1, 12, 2000)]


def machine(fires, bits, depth):
    return Machine(lanes=Lanes(16), fire=FireUnit(fires), pool=blocks.Pool(bits, depth))


def stimulus(generator, made, length):
    """Slots, one a clock or none: entry, opens, n; an entry not within the latency."""
    slots, recent, opened = [], [], set()
    for _ in range(length):
        entry = generator.choice(range(min(7, made.pool.depth))) * 9 % made.pool.depth
        if entry in recent or generator.random() < 0.2:
            slots.append(None)
            recent = [*recent, None][1 - made.pool.latency :]
            continue
        opens = entry not in opened or generator.random() < 0.2
        opened.add(entry)
        n = [generator.randrange(1 << made.fire.digits) for _ in range(made.fire.count)]
        slots.append((entry, opens, n))
        recent = [*recent, entry][1 - made.pool.latency :]
    return slots


def expected(slots, bits):
    """The sums after each slot, and those of all entries at the end."""
    sums, made = {}, []
    for slot in slots:
        if slot is None:
            made.append(None)
            continue
        entry, opens, n = slot
        before = [0] * len(n) if opens else sums[entry]
        sums[entry] = [(b + x) % (1 << bits) for b, x in zip(before, n, strict=True)]
        made.append(sums[entry])
    return made, sums


@pytest.mark.parametrize(("fires", "bits", "depth"), SHAPES)
def test_sums(fires, bits, depth):
    """Every slot gives its entry's sums `latency` clocks later; peeking gives the last ones."""
    made = machine(fires, bits, depth)
    dut = Pool(made)
    slots = stimulus(random.Random(f"{fires} {bits} {depth}"), made, 400)
    wanted, last = expected(slots, bits)
    seen, peeked = [], {}

    def values(ctx, port):
        return [ctx.get(port[unit]) for unit in range(fires)]

    async def bench(ctx):
        for slot in [*slots, *[None] * made.pool.latency]:
            entry, opens, n = slot or (0, 0, [0] * fires)
            ctx.set(dut.stage.valid, slot is not None)
            ctx.set(dut.stage.entry, entry)
            ctx.set(dut.stage.opens, opens)
            for unit, value in enumerate(n):
                ctx.set(dut.n[unit], value)
            seen.append((ctx.get(dut.o_stage), values(ctx, dut.sums)))
            await ctx.tick()
        ctx.set(dut.peek, 1)
        for entry in last:
            ctx.set(dut.peek_entry, entry)
            for _ in range(made.pool.peek):
                await ctx.tick()
            await ctx.delay(1e-9)
            peeked[entry] = values(ctx, dut.peeked)

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    for (stage, sums), slot, values_ in zip(seen[made.pool.latency :], slots, wanted, strict=True):
        assert stage.valid == (slot is not None)
        if slot is not None:
            assert (stage.entry, stage.opens, sums) == (slot[0], slot[1], values_)
    assert peeked == last
    assert sum(slot is not None and not slot[1] for slot in slots) > 50


def test_latency():
    """Read and add; block RAM has a register more."""
    assert (blocks.Pool(depth=64).latency, blocks.Pool(depth=65).latency) == (2, 3)
