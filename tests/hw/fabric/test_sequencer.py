"""The whole fabric around cores that send at random: order, barrier, images, abort."""

import itertools
import random

import pytest
from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.sim import Simulator

from spikewright.hw.cores.streams import Layouts
from spikewright.hw.fabric.load import LoadNode
from spikewright.hw.fabric.readout import Readout
from spikewright.hw.fabric.records import Records
from spikewright.hw.fabric.router import Router
from spikewright.hw.fabric.sequencer import Sequencer
from spikewright.machine.blocks import Machine
from spikewright.machine.configuration import (
    ALL_CORES,
    RECORDS,
    Instruction,
    KeepRecord,
    LayerRecord,
    Opcode,
    record_words,
)
from spikewright.machine.loading import LoadKind, LoadWord


class Fabric(wiring.Component):
    """All of the package, as a machine puts it together; the cores are the test's."""

    def __init__(self, machine):
        cores = range(machine.cores)
        self.sequencer = Sequencer(machine)
        self.nodes = [LoadNode(machine, core) for core in cores]
        self.records = [Records(machine) for _ in cores]
        self.router = Router(Layouts(machine).router, machine.cores)
        self.readout = Readout(machine)
        super().__init__({})

    def elaborate(self, platform):
        m = Module()
        m.submodules += [self.sequencer, *self.nodes, *self.records, self.router, self.readout]
        link = self.sequencer.o
        for node, records in zip(self.nodes, self.records, strict=True):
            m.d.comb += [node.i.eq(link), records.write.eq(node.records)]
            link = node.o
        m.d.comb += [
            self.sequencer.arrived.eq(self.router.arrived),
            self.readout.received.eq(self.router.received[0]),
            self.readout.begin.eq(self.sequencer.frame_taken),
            self.readout.finish.eq(self.sequencer.image_done),
        ]
        return m


class Core:
    """Behind each start it sends some words, at random, and is done then."""

    def __init__(self, number, generator, lengths):
        self.number, self.generator, self.lengths = number, generator, lengths
        self.layers, self.left, self.waiting, self.given = 0, 0, False, []

    def step(self, fabric, ctx, clock):
        """Of one clock: what it offers, and whether it starts. The clock of its start, or None."""
        port, done = fabric.router.i[self.number], fabric.router.done[self.number]
        start = ctx.get(fabric.records[self.number].start)
        if start:
            assert self.left == 0, "a start while a layer runs"
            self.left = self.lengths(self.number, self.layers)
            self.layers += 1
        self.waiting = self.waiting or (self.left > 0 and not start and self.generator() < 0.3)
        ctx.set(port.valid, self.waiting)
        # Done falls in the clock behind the start.
        ctx.set(done, start or self.left == 0)
        return clock if start else None

    def take(self, fabric, ctx, clock):
        """The end of a clock: whether a word went."""
        if self.waiting and ctx.get(fabric.router.i[self.number].ready):
            self.waiting, self.left = False, self.left - 1
            self.given.append((self.layers, clock))


def encode(machine, opcode, core=ALL_CORES, index=0, record=None):
    widths = machine.widths
    size = record_words(RECORDS[opcode], widths) if record is not None else 0
    bits = record.encode(widths) if record is not None else 0
    words = [Instruction(opcode, core, index, size).encode(widths)]
    return words + [bits >> 36 * n & (1 << 36) - 1 for n in range(size)]


def program(machine, layers):
    """A frame, and layers whose number is their layer record; core keeps differ."""
    words = encode(machine, Opcode.KEEP, index=1, record=KeepRecord(1, 2, 3))
    for layer in range(layers):
        words += encode(machine, Opcode.LAYER, record=LayerRecord(layer=layer, row=layer))
        for core in range(machine.cores):
            words += encode(machine, Opcode.KEEP, core, record=KeepRecord(layer, core, 7))
        if layer == 0:
            words += encode(machine, Opcode.FRAME)
        words += encode(machine, Opcode.RUN)
    return words + encode(machine, Opcode.END)


async def load(ctx, sequencer, machine, words):
    for index, word in enumerate(words):
        item = LoadWord(word, index, ALL_CORES, LoadKind.PROGRAM, 1)
        ctx.set(sequencer.load.payload.as_value(), item.encode(machine.widths))
        ctx.set(sequencer.load.valid, 1)
        assert ctx.get(sequencer.load.ready)
        await ctx.tick()
    ctx.set(sequencer.load.valid, 0)


async def pulse(ctx, signal):
    ctx.set(signal, 1)
    await ctx.tick()
    ctx.set(signal, 0)


def simulate(design, bench):
    simulator = Simulator(design)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()


@pytest.mark.parametrize(("cores", "layers"), [(1, 1), (1, 3), (3, 3), (5, 2)])
def test_images(cores, layers):
    """Every layer starts when all words of the one before have come, no clock later."""
    random_one = random.Random(f"{cores} {layers}")
    machine = Machine(cores=cores, program_words=256, outputs=16)
    fabric = Fabric(machine)
    sequencer, router = fabric.sequencer, fabric.router

    def lengths(core, layer):  # some have no part in a layer
        return random_one.choice([0, 1, 3, 40]) if cores > 1 else 30 + layer % 3

    units = [Core(core, random_one.random, lengths) for core in range(cores)]
    starts, received, done, results, taken = [], [], [], [], []

    async def bench(ctx):
        await load(ctx, sequencer, machine, program(machine, layers))
        await pulse(ctx, sequencer.start)
        ready = 40
        for clock in range(1200):
            ctx.set(sequencer.frame_ready, clock >= ready)
            for unit in units:
                at = unit.step(fabric, ctx, clock)
                if at is not None:
                    records = fabric.records[unit.number]
                    layer = (unit.layers - 1) % layers
                    assert ctx.get(records.layer.layer) == ctx.get(records.layer.row) == layer
                    assert ctx.get(records.keep.start) == layer
                    assert ctx.get(records.keep.words) == unit.number
                    image = (unit.layers - 1) // layers
                    assert ctx.get(records.bank) == (image + 1) % 2
                    assert ctx.get(records.frame_keep.at) == 3
                    starts.append((unit.layers, unit.number, clock))
            for unit in units:
                unit.take(fabric, ctx, clock)
            received.extend((n, clock) for n, r in enumerate(router.received) if ctx.get(r.valid))
            if ctx.get(sequencer.image_done):
                done.append(clock)
            if ctx.get(fabric.readout.valid):
                results.append((clock, ctx.get(sequencer.clocks)))
            if ctx.get(sequencer.frame_taken):
                taken.append(clock)
                ready = clock + 30
            await ctx.tick()

    simulate(fabric, bench)
    check_barrier(units, starts, received, layers)
    # Two clocks from the clock in which FRAME goes on to `frame_taken`.
    expected = [
        (valid, valid - begin + 2) for (valid, _), begin in zip(results, taken, strict=False)
    ]
    assert results == expected
    assert len(done) == len(results) >= 2
    assert [clock + Readout.LATENCY for clock in done][: len(results)] == [c for c, _ in results]


def check_barrier(units, starts, received, layers):
    """The clocks from each layer's last word to the next start: ``k + j + 5`` for the last core."""
    tight = 0
    for layer in range(1, max(s[0] for s in starts)):
        first = {core: clock for number, core, clock in starts if number == layer + 1}
        before = {core: clock for number, core, clock in starts if number == layer}
        if len(first) < len(units):
            break
        ends = [clock + unit.number + 5 for unit in units for n, clock in unit.given if n == layer]
        soonest = max(ends, default=0)
        for core, clock in first.items():
            assert clock >= soonest + core
            assert clock - core == first[0]
            # All words of the layer were there at least three clocks before.
            assert not any(n == core and clock - 3 < c < clock + 3 for n, c in received)
        tight += bool(layer % layers and first[0] == soonest and first[0] - before[0] > 60)
        if layer % layers and soonest - before[0] > 60:  # its records were sent by then
            assert first[0] == soonest
    assert tight or layers == 1


def test_idle_layers_do_not_hang():
    """Cores that have nothing to do: a layer takes as long as the chains need to settle."""
    machine = Machine(cores=2, program_words=64)
    fabric = Fabric(machine)
    starts = []

    async def bench(ctx):
        for done in fabric.router.done:
            ctx.set(done, 1)
        await load(ctx, fabric.sequencer, machine, encode(machine, Opcode.RUN) * 64)
        await pulse(ctx, fabric.sequencer.start)
        for clock in range(300):
            if ctx.get(fabric.records[0].start):
                starts.append(clock)
            await ctx.tick()

    simulate(fabric, bench)
    gaps = {b - a for a, b in itertools.pairwise(starts[1:])}
    assert gaps == {fabric.sequencer.settle + Sequencer.ISSUE}


def test_records_go_a_word_a_clock():
    """An instruction takes a clock, and each of its words; a RUN stops the flow for a while."""
    machine = Machine(cores=2, program_words=64)
    sequencer = Sequencer(machine)
    record = encode(machine, Opcode.LAYER, record=LayerRecord(layer=1))
    parts = len(record) - 1
    words = record * 2 + encode(machine, Opcode.RUN) + record
    seen = []

    async def bench(ctx):
        await load(ctx, sequencer, machine, words)
        await pulse(ctx, sequencer.start)
        for clock in range(100):
            if ctx.get(sequencer.o.valid):
                seen.append((clock, LoadKind(ctx.get(sequencer.o.word.kind))))
            await ctx.tick()

    simulate(sequencer, bench)
    first = seen[0][0]
    run = first + 2 * parts + 2  # the second header, and RUN's
    again = run + Sequencer.BUBBLE
    assert first == Sequencer.BUBBLE
    assert seen[: 3 * parts + 1] == [
        *((first + n, LoadKind.LAYER) for n in range(parts)),
        *((first + parts + 1 + n, LoadKind.LAYER) for n in range(parts)),
        (run, LoadKind.RUN),
        *((again + n, LoadKind.LAYER) for n in range(parts)),
    ]


@pytest.mark.parametrize("seed", range(6))
def test_abort(seed):
    """Any program, any time: it is idle in the next clock, and starts at the first instruction."""
    generator = random.Random(seed)
    machine = Machine(cores=2, program_words=64)
    fabric = Fabric(machine)
    sequencer = fabric.sequencer
    codes = [[0], [1], [2], [1, 0], [0, 1, 2, 8, 9, 12], range(16)][seed]
    junk = [
        Instruction(generator.choice(codes), 63, generator.randrange(2), generator.randrange(3))
        for _ in range(64)
    ]

    async def bench(ctx):
        for _ in range(6):
            await load(ctx, sequencer, machine, [one.encode(machine.widths) for one in junk])
            await pulse(ctx, sequencer.start)
            for _ in range(generator.randrange(150)):
                ctx.set(sequencer.frame_ready, generator.random() < 0.5)
                for done in fabric.router.done:
                    ctx.set(done, generator.random() < 0.8)
                assert ctx.get(sequencer.busy)
                await ctx.tick()
            await pulse(ctx, sequencer.abort)
            assert not ctx.get(sequencer.busy)
            assert not ctx.get(sequencer.o.valid)
            assert not ctx.get(sequencer.frame_open)
            await ctx.tick().repeat(generator.randint(1, 3))
            words = encode(machine, Opcode.LAYER, record=LayerRecord(layer=9))
            await load(ctx, sequencer, machine, words + encode(machine, Opcode.RUN))
            await pulse(ctx, sequencer.start)
            waited = 0
            while not ctx.get(fabric.records[1].start):
                await ctx.tick()
                waited += 1
                assert waited < 20
            assert ctx.get(fabric.records[1].layer.layer) == 9
            await pulse(ctx, sequencer.abort)

    simulate(fabric, bench)


def test_words_of_the_host_reach_the_cores():
    """While idle, a clock behind `load`; not while a program runs."""
    machine = Machine(cores=1, program_words=16)
    fabric = Fabric(machine)
    sequencer = fabric.sequencer

    async def bench(ctx):
        item = LoadWord(5, 3, 0, LoadKind.PARAMETERS, 1)
        ctx.set(sequencer.load.payload.as_value(), item.encode(machine.widths))
        await pulse(ctx, sequencer.load.valid)
        assert ctx.get(sequencer.o.valid)
        assert ctx.get(sequencer.o.word.as_value()) == item.encode(machine.widths)
        await ctx.tick().repeat(2)
        assert ctx.get(fabric.nodes[0].parameters.enable) == 1
        assert ctx.get(fabric.nodes[0].parameters.address) == 3
        assert ctx.get(fabric.nodes[0].parameters.data) == 5
        await pulse(ctx, sequencer.start)
        assert not ctx.get(sequencer.load.ready)
        ctx.set(sequencer.load.valid, 1)
        for _ in range(50):
            await ctx.tick()
            assert not ctx.get(sequencer.o.valid)  # a program of END alone

    simulate(fabric, bench)
