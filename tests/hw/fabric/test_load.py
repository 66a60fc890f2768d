"""Load nodes: what each writes of a random stream of words, and when it passes them on."""

import itertools
import random

import pytest
from amaranth.hdl import Module, Signal
from amaranth.sim import Simulator

from spikewright.hw.fabric.load import RECORD_KINDS, LoadNode
from spikewright.machine.blocks import FireUnit, Lanes, Machine
from spikewright.machine.configuration import ALL_CORES, RECORDS, AxisEntry
from spikewright.machine.loading import LoadKind, LoadWord, parameter_index, parts

WORD = (1 << 36) - 1
QUICK = (LoadKind.RUN, LoadKind.FRAME)


def rows(machine, generator):
    """Random rows and records: kind, core, index, value, bits."""
    fire = machine.fire
    sizes = {
        LoadKind.AXIS: AxisEntry.size(machine.widths),
        LoadKind.WEIGHTS: machine.lanes.count * machine.lanes.weight_bits,
        LoadKind.PARAMETERS: fire.parameter_bits,
        LoadKind.PROGRAM: 36,
        LoadKind.RUN: 1,
        LoadKind.FRAME: 1,
        **{LoadKind(code): kind.size(machine.widths) for code, kind in RECORDS.items()},
    }
    for _ in range(120):
        kind = generator.choice(list(sizes))
        index = generator.randrange(8)
        if kind is LoadKind.PARAMETERS:
            unit = generator.randrange(fire.count)
            index = parameter_index(machine, unit, generator.randrange(2 * fire.parameter_rows))
        core = generator.choice([*range(machine.cores), ALL_CORES])
        yield kind, core, index, generator.getrandbits(sizes[kind]), sizes[kind]


def words(rows, generator):
    """The load words of rows, with pauses (None) between them."""
    for kind, core, index, value, bits in rows:
        for part in range(parts(bits)):
            last = int(part == parts(bits) - 1)
            yield LoadWord(value >> 36 * part & WORD, index, core, kind, last)
            while generator.random() < 0.2:
                yield None


def written(ctx, node, machine):
    """What a node writes in this clock, as (kind, index, value)."""
    record = node.records
    if ctx.get(record.run):
        yield LoadKind.RUN, None, None
    if ctx.get(record.frame):
        yield LoadKind.FRAME, None, None
    kinds, row, index = (ctx.get(record[name]) for name in ("kind", "row", "index"))
    for bit, kind in enumerate(RECORD_KINDS):
        if kinds >> bit & 1:
            size = RECORDS[kind].size(machine.widths)
            total = len(record["row"])
            yield kind, index, row >> total - 36 * parts(size) & (1 << size) - 1
    if ctx.get(node.axis.enable):
        yield LoadKind.AXIS, ctx.get(node.axis.address), ctx.get(node.axis.data)
    if ctx.get(node.weights.enable):
        yield LoadKind.WEIGHTS, ctx.get(node.weights.row), ctx.get(node.weights.data)
    for unit in range(machine.fire.count):
        if ctx.get(node.parameters.enable) >> unit & 1:
            index = parameter_index(machine, unit, ctx.get(node.parameters.address))
            yield LoadKind.PARAMETERS, index, ctx.get(node.parameters.data)


def expected(rows, core):
    for kind, target, index, value, _ in rows:
        if kind in (LoadKind.RUN, LoadKind.FRAME):
            yield kind, None, None
        elif kind is not LoadKind.PROGRAM and target in (core, ALL_CORES):
            yield kind, index, value


@pytest.mark.parametrize(("lanes", "units"), [(8, 1), (16, 2), (32, 4), (12, 3)])
def test_writes(lanes, units):
    """Every node writes what is meant for its core; words move a node a clock."""
    generator = random.Random(f"{lanes} {units}")
    machine = Machine(
        cores=3, lanes=Lanes(count=lanes), fire=FireUnit(count=units, parameter_rows=5)
    )
    made = list(rows(machine, generator))
    sent = list(words(made, generator))
    nodes = [LoadNode(machine, core) for core in range(machine.cores)]
    m = Module()
    m.submodules += nodes
    m.d.comb += [b.i.eq(a.o) for a, b in itertools.pairwise(nodes)]
    found = [[] for _ in nodes]
    passed = [[] for _ in nodes]

    async def bench(ctx):
        for word in [*sent, *[None] * (machine.cores + 2)]:
            ctx.set(nodes[0].i.valid, word is not None)
            if word is not None:
                ctx.set(nodes[0].i.word.as_value(), word.encode(machine.widths))
            await ctx.tick()
            for core, node in enumerate(nodes):
                found[core] += written(ctx, node, machine)
                valid, value = ctx.get(node.o.valid), ctx.get(node.o.word.as_value())
                passed[core].append(LoadWord.decode(machine.widths, value) if valid else None)

    simulator = Simulator(m)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    for core in range(machine.cores):
        # RUN and FRAME are decoded one clock before a record of the word before is written.
        for quick in (False, True):
            right = [row for row in expected(made, core) if (row[0] in QUICK) == quick]
            assert [row for row in found[core] if (row[0] in QUICK) == quick] == right
        assert passed[core][core : core + len(sent)] == sent  # one clock a node
        assert found[core]


def test_abort_drops_the_program_alone():
    """Whenever it comes: what goes to memories is written, no RUN, FRAME or record goes on."""
    machine = Machine(cores=4)
    kinds = (LoadKind.AXIS, LoadKind.RUN, LoadKind.PARAMETERS, LoadKind.KEEP, LoadKind.FRAME)
    for clock in range(9):
        nodes = [LoadNode(machine, core) for core in range(machine.cores)]
        m = Module()
        m.submodules += nodes
        m.d.comb += [b.i.eq(a.o) for a, b in itertools.pairwise(nodes)]
        abort = Signal()
        m.d.comb += [node.abort.eq(abort) for node in nodes]
        before, behind = ([[] for _ in nodes] for _ in range(2))

        async def bench(ctx, nodes=nodes, clock=clock, abort=abort, before=before, behind=behind):
            for now in range(16):
                there = now < len(kinds) and now <= clock  # none is sent behind it
                ctx.set(nodes[0].i.valid, there)
                if there:
                    word = LoadWord(now, now, ALL_CORES, kinds[now], 1)
                    ctx.set(nodes[0].i.word.as_value(), word.encode(machine.widths))
                ctx.set(abort, now == clock)
                await ctx.tick()
                for core, node in enumerate(nodes):
                    found = [one[0] for one in written(ctx, node, machine)]
                    (behind if now >= clock else before)[core].extend(found)

        simulator = Simulator(m)
        simulator.add_clock(1e-6)
        simulator.add_testbench(bench)
        simulator.run()
        sent = kinds[: clock + 1]
        memories = [kind for kind in sent if kind in (LoadKind.AXIS, LoadKind.PARAMETERS)]
        for core in range(machine.cores):
            assert set(behind[core]) <= set(memories), clock
            whole = [one for one in before[core] + behind[core] if one in memories]
            assert whole == memories, (clock, core)
