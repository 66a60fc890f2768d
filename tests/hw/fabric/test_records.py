"""Records against the interpreter's rule: shadows take effect at RUN, the frame's keep at once."""

import random

import pytest
from amaranth.sim import Simulator

from spikewright.hw.fabric.load import RECORD_KINDS
from spikewright.hw.fabric.records import Records
from spikewright.machine.blocks import Machine, Walker
from spikewright.machine.configuration import RECORDS, Opcode
from spikewright.machine.loading import parts


def write(ctx, dut, machine, opcode, index, bits):
    """A pulse with a record's bits at the top of the row; the rest is whatever was there."""
    size = RECORDS[opcode].size(machine.widths)
    total = len(dut.write["row"])
    row = random.getrandbits(total) & (1 << total - 36 * parts(size)) - 1
    ctx.set(dut.write.row, row | bits << total - 36 * parts(size))
    ctx.set(dut.write.index, index)
    ctx.set(dut.write.kind, 1 << RECORD_KINDS.index(opcode))


@pytest.mark.parametrize("sources", [1, 2, 3])
def test_records(sources):
    generator = random.Random(sources)
    machine = Machine(walker=Walker(sources=sources, passes=6))
    dut = Records(machine)

    def bits(opcode):
        return generator.getrandbits(RECORDS[opcode].size(machine.widths))

    async def pulse(ctx, name):
        ctx.set(dut.write.kind, 0)
        ctx.set(dut.write[name], 1)
        await ctx.tick()
        ctx.set(dut.write[name], 0)

    async def bench(ctx):
        frame_keep = bank = 0
        before = {}
        for layer in range(12):
            shadow = {}
            todo = [(op, 0) for op in (Opcode.LAYER, Opcode.SHARE, Opcode.KEEP)]
            todo += [(Opcode.SOURCE, n) for n in range(sources)]
            todo += [(Opcode.PASS, n) for n in range(6)]
            todo += [(Opcode.KEEP, 1)]
            todo += generator.sample(todo, 3)  # written twice
            generator.shuffle(todo)
            for opcode, index in todo:
                if (
                    layer > 3
                    and generator.random() < 0.3
                    and opcode in (Opcode.LAYER, Opcode.SHARE)
                ):
                    shadow.setdefault((opcode, index), before[opcode, index])  # kept
                    continue
                value = bits(opcode)
                write(ctx, dut, machine, opcode, index, value)
                await ctx.tick()
                if (opcode, index) == (Opcode.KEEP, 1):
                    frame_keep = value
                else:
                    shadow[opcode, index] = value
                assert ctx.get(dut.frame_keep.as_value()) == frame_keep  # one clock behind
                assert ctx.get(dut.start) == 0
                if layer:
                    check(ctx, before)
            if generator.random() < 0.5:
                await pulse(ctx, "frame")
                bank ^= 1
            assert ctx.get(dut.bank) == bank
            await pulse(ctx, "run")
            assert ctx.get(dut.start) == 1
            check(ctx, shadow)
            before = shadow
            for _ in range(generator.randrange(3)):
                await ctx.tick()
                assert ctx.get(dut.start) == 0
                check(ctx, shadow)

    def check(ctx, active):
        assert ctx.get(dut.layer.as_value()) == active[Opcode.LAYER, 0]
        assert ctx.get(dut.share.as_value()) == active[Opcode.SHARE, 0]
        assert ctx.get(dut.keep.as_value()) == active[Opcode.KEEP, 0]
        item, walk = generator.randrange(sources), generator.randrange(sources)
        digit = generator.randrange(6)
        ctx.set(dut.item_source_number, item)
        ctx.set(dut.walk_source_number, walk)
        ctx.set(dut.pass_number, digit)
        assert ctx.get(dut.item_source.as_value()) == active[Opcode.SOURCE, item]
        assert ctx.get(dut.walk_source.as_value()) == active[Opcode.SOURCE, walk]
        assert ctx.get(dut.digit.as_value()) == active[Opcode.PASS, digit]

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
