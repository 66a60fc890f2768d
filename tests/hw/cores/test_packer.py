"""Packer behind its pool, against the interpreter's: every router word, in its order.

Rounds come as `Rounds` will make them, of random schedules and of random records: as closely as is
allowed, or not; slots come long after the promise; the router stalls.
"""

import random
from collections import deque
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from amaranth.hdl import Array, Module, ResetInserter, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped
from amaranth.sim import Simulator

from spikewright.hw.cores import packer, pool
from spikewright.hw.cores.streams import Layouts, record_layout
from spikewright.machine.blocks import FireUnit, Lanes, Machine, Packer, Pool
from spikewright.machine.configuration import (
    RECORDS,
    Instruction,
    LayerRecord,
    Opcode,
    RouterWord,
    Send,
    ShareRecord,
)
from spikewright.machine.memories import make_images
from spikewright.sim.interpreter.core import Configuration, Core, _Packer
from tests.support.placements import large_machine, random_schedule
from tests.support.random_networks import random_network


class Chain(wiring.Component):
    """Pool and packer, and the V that fire units would show."""

    def __init__(self, machine):
        self.machine = machine
        layouts, self.fires = Layouts(machine), machine.fire.count
        self.pool, self.packer = pool.Pool(machine), packer.Packer(machine)
        super().__init__(
            {
                "layer": In(record_layout(LayerRecord, machine)),
                "share": In(record_layout(ShareRecord, machine)),
                "start": In(1),
                "stage": In(layouts.stage),
                "n": In(self.pool.n.shape()),
                "v": In(data.ArrayLayout(self.packer.peeked_v.shape(), machine.slots)),
                "promise": In(layouts.promise),
                "room": Out(1),
                "done": Out(1),
                "o": Out(stream.Signature(layouts.router)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.pool, m.submodules.packer = first, second = self.pool, self.packer
        connect(m, second.o, flipped(self.o))
        m.d.comb += [
            first.stage.eq(self.stage),
            first.n.eq(self.n),
            first.peek.eq(second.peek),
            first.peek_entry.eq(second.peek_slot),
            second.stage.eq(first.o_stage),
            second.sums.eq(first.sums),
            second.peeked_sum.eq(first.peeked),
            second.peeked_v.as_value().eq(Array([v.as_value() for v in self.v])[second.peek_slot]),
            second.layer.eq(self.layer),
            second.share.eq(self.share),
            second.start.eq(self.start),
            second.promise.eq(self.promise),
            self.room.eq(second.room),
            self.done.eq(second.done),
        ]
        return m


@dataclass
class Round:
    """A step of an item: what is promised, and then the slots with what is sent; V at the end."""

    promise: dict
    stages: list = field(default_factory=list)
    numbers: list = field(default_factory=list)
    potentials: list | None = None


def rounds(generator, machine, layer, share):
    """The rounds of a share with random numbers, and the words that the interpreter makes."""
    core = Core(machine, [], np.zeros((1, 1), np.int64), [[]] * machine.fire.count)
    core.configuration = Configuration(layer, share)
    model = _Packer(machine, layer, share)
    pitch = (layer.slots + 1) * machine.fire.count
    lanes = pitch * (layer.members + 1) * (layer.windows + 1)
    items, made = list(core._items()), []
    half = 1 << machine.fire.membrane_bits - 1
    for number, item in enumerate(items):
        following = items[number + 1] if number + 1 < len(items) else None
        mark = {
            "first": item.first,
            "last": item.last,
            "begins": item.begins,
            "fills": item.fills,
            "group": following is None or following.group != item.group,
            "end": following is None,
        }
        for t in range(layer.steps + 1):
            most = generator.choice([2, 1 << machine.fire.digits])
            n = np.array([generator.randrange(most) for _ in range(lanes)], np.int64)
            v = np.array([generator.randrange(-half, half) for _ in range(lanes)], np.int64)
            model.take(item, t, n, v)
            last = t == layer.steps
            one = Round({"valid": 1, "last": last, "mark": mark})
            one.stages = stages(machine, layer, t, mark)
            one.numbers = n.reshape(-1, machine.fire.count).tolist()
            if layer.send == Send.MEMBRANES and last:
                one.potentials = v.reshape(-1, machine.fire.count).tolist()
            made.append(one)
    return made, model.words


def stages(machine, layer, t, mark):
    """The slots of a round: window after window, member after member."""
    counts = layer.send == Send.COUNTS
    made, slots = [], layer.slots + 1
    for window in range(layer.windows + 1):
        for member in range(layer.members + 1):
            for slot in range(slots):
                entry = (window + (0 if counts else t * (layer.windows + 1))) * slots + slot
                made.append(
                    {
                        "valid": 1,
                        "slot": len(made),
                        "first": t == 0,
                        "last": t == layer.steps,
                        "opens": mark["first"] and member == 0 and not (counts and t),
                        "closes": member == layer.members,
                        "entry": entry % machine.pool.depth,
                        "final": 0,
                        "mark": mark,
                    }
                )
    made[-1]["final"] = 1
    return made


class Bench:
    """Plays layers and collects the words."""

    def __init__(self, generator, machine, *, obey=True):
        self.generator, self.machine, self.obey = generator, machine, obey
        self.dut, self.words, self.outstanding = Chain(machine), [], 0
        self.most = self.clocks = 0

    def run(self, layers, *, late, stall, idle):
        """`layers`: records and rounds; `late` clocks from promise to slot; odds of a stall."""

        async def bench(ctx):
            for layer, share, made in layers:
                await self.layer(ctx, layer, share, deque(made), late, stall, idle)

        simulator = Simulator(self.dut)
        simulator.add_clock(1e-6)
        simulator.add_testbench(bench)
        simulator.run()
        return self.words

    async def layer(self, ctx, layer, share, made, late, stall, idle):
        """Plays one layer until it has been done for a while."""
        dut, machine, generator = self.dut, self.machine, self.generator
        slots = (layer.slots + 1) * (layer.members + 1) * (layer.windows + 1)
        gap = machine.gap(slots, layer.planes + 1)
        coming, rest, nothing, after = {}, 0, 0, 0
        ctx.set(dut.layer, vars(layer))
        ctx.set(dut.share, vars(share))
        ctx.set(dut.start, 1)
        ctx.set(dut.o.ready, 1)
        assert not ctx.get(dut.done)
        await ctx.tick()
        ctx.set(dut.start, 0)
        while after < 12:
            self.clocks += 1
            promise = None
            free = not rest and (ctx.get(dut.room) or not self.obey)
            if made and free and generator.random() >= idle:
                promise, rest = made.popleft(), gap
                self._promised(layer, promise)
                for number in range(len(promise.stages)):
                    coming[self.clocks + late + number] = (promise, number)
            rest = max(0, rest - 1)
            ctx.set(dut.promise, promise.promise if promise else {"valid": 0})
            self._slot(ctx, coming.pop(self.clocks, None))
            ctx.set(dut.o.ready, generator.random() >= stall)
            await self._word(ctx)
            nothing = nothing + 1
            if made or coming or ctx.get(dut.o.valid):
                assert not ctx.get(dut.done) or not self.obey
                nothing = 0
            after = after + 1 if ctx.get(dut.done) else 0
            assert nothing < 400

    def _slot(self, ctx, found):
        """A slot with its numbers, or none."""
        dut = self.dut
        if found is None:
            ctx.set(dut.stage.valid, 0)
            return
        one, number = found
        ctx.set(dut.stage, one.stages[number])
        for unit, n in enumerate(one.numbers[number]):
            ctx.set(dut.n[unit], n)
        if one.potentials is not None and one.stages[number]["final"]:
            for slot, values in enumerate(one.potentials):
                for unit, value in enumerate(values):
                    ctx.set(dut.v[slot][unit], value)

    def _promised(self, layer, promise):
        """Never more words are under way than the queue holds."""
        mark = promise.promise["mark"]
        if layer.send == Send.PLANES and mark["last"] and mark["fills"]:
            self.outstanding += layer.planes + 1
        self.most = max(self.most, self.outstanding)
        if self.obey:
            assert self.outstanding <= self.machine.packer.queue

    async def _word(self, ctx):
        """One clock; what is accepted in it."""
        o = self.dut.o
        await ctx.delay(1e-9)
        if ctx.get(o.valid) and ctx.get(o.ready):
            word = ctx.get(o.payload)
            self.words.append(RouterWord(word.data, word.address, word.kind))
            self.outstanding -= word.kind == 0
        await ctx.tick()


def machine_of(lanes=16, fires=2, bits=5, depth=64, partial=64):
    return Machine(
        lanes=Lanes(lanes),
        fire=FireUnit(fires),
        pool=Pool(bits, depth),
        packer=Packer(partial),
    )


def check(seed, machine, layers, *, late=20, stall=0.3, idle=0.3, obey=True):
    """Plays `layers` of records, one after the other; the bench with what it has seen."""
    generator = random.Random(seed)
    played, wanted = [], []
    for layer, share in layers:
        made, words = rounds(generator, machine, layer, share)
        played.append((layer, share, made))
        wanted += words
    bench = Bench(generator, machine, obey=obey)
    assert bench.run(played, late=late, stall=stall, idle=idle) == wanted
    return bench


def records(generator, machine, send=Send.PLANES, items=6):
    """Random records of a layer and a share, small, that the machine can do."""
    fires, slots = machine.fire.count, machine.slots
    while True:
        own = generator.randint(1, slots)
        windows = generator.randint(1, max(1, slots // own))
        members = generator.choice([1, 1, slots // own // windows or 1])
        parts = generator.choice([(1, 1), (1, 1), (2, 1), (1, 2), (2, 2)])
        steps, planes = generator.randint(1, 4), generator.randint(1, machine.pool.bits)
        values = own * fires * windows
        most = 36 // values if values <= 36 else 0
        word = generator.randint(1, max(1, most)) if machine.packer.partial else 1
        sums = members > 1 or parts != (1, 1)
        if send != Send.PLANES:
            windows, members, parts, planes, word, sums = 1, 1, (1, 1), 1, 1, send == Send.COUNTS
        legal = (
            windows * members * own <= slots
            and values <= 36
            and (not sums or steps * windows * own <= machine.pool.depth)
            and (members == 1 or own >= machine.pool.latency)
            and (word == 1 or steps * planes <= machine.packer.partial)
        )
        if legal:
            break
    tiles = word * generator.randint(1, max(1, items // word // parts[0] // parts[1]))
    row = generator.choice([word, tiles])
    layer = LayerRecord(
        steps=steps - 1,
        slots=own - 1,
        members=members - 1,
        windows=windows - 1,
        parts_y=parts[0] - 1,
        parts_x=parts[1] - 1,
        row=row - 1,
        send=send,
        planes=planes - 1,
        word=word - 1,
        out_word=generator.randrange(1 << 16),
        out_group=generator.randrange(1 << 16),
    )
    share = ShareRecord(
        groups=generator.choice([0, 1, 1, 2, 3]),
        tiles=tiles - 1,
        first=row - 1,
        out=generator.randrange(1 << 16),
    )
    return layer, share


MACHINES = [
    machine_of(partial=0),
    machine_of(),
    machine_of(8, 1, bits=8, depth=256),
    machine_of(8, 4, bits=3, depth=16, partial=0),
    machine_of(32, 4, bits=5, depth=64, partial=100),
    machine_of(32, 1, bits=8, depth=256, partial=0),
    machine_of(16, 2, bits=1, depth=256, partial=16),
]


@pytest.mark.parametrize("number", range(len(MACHINES)))
@pytest.mark.parametrize(("stall", "idle"), [(0, 0), (0.6, 0.1)])
def test_random_records(number, stall, idle):
    """Layers of all kinds, one after the other."""
    generator = random.Random(f"{number} {stall}")
    machine = MACHINES[number]
    kinds = [*[Send.PLANES] * 3, Send.COUNTS, Send.MEMBRANES, Send.PLANES]
    layers = [records(generator, machine, send) for send in kinds]
    check(number, machine, layers, late=generator.randint(1, 30), stall=stall, idle=idle)


def placed(seed, machine):
    """Records of all layers and cores of a random schedule."""
    rng = np.random.default_rng(seed)
    network = random_network(rng, neuron=("if", "burst")[seed % 2], size=3_000, membrane_bits=26)
    words = deque(make_images(random_schedule(rng, network, machine)).program)
    layer, shares, made = LayerRecord(), {}, []
    while words:
        instruction = Instruction.decode(machine.widths, words.popleft())
        taken = [words.popleft() for _ in range(instruction.words)]
        record = sum(word << 36 * n for n, word in enumerate(taken))
        opcode = Opcode(instruction.opcode)
        if opcode is Opcode.LAYER:
            layer = RECORDS[opcode].decode(machine.widths, record)
        elif opcode is Opcode.SHARE:
            shares[instruction.core] = RECORDS[opcode].decode(machine.widths, record)
        elif opcode is Opcode.RUN:
            made += [(layer, share) for share in shares.values()]
            shares = {}
    return made


@pytest.mark.parametrize("seed", range(4))
def test_random_schedules(seed):
    """The first items of what placements of random networks give, on another machine each."""
    lanes, fires = [(8, 1), (16, 2), (16, 4), (32, 2)][seed]
    machine = replace(large_machine(4, lanes, fires), packer=Packer(64 if seed % 2 else 70))
    layers = []
    for layer, share in placed(seed, machine)[-8:]:
        tiles = min(share.tiles + 1, (layer.word + 1) * 3) - 1
        layers.append((layer, replace(share, groups=min(2, share.groups), tiles=tiles)))
    check(seed, machine, layers, stall=0.2, idle=0.1)


def test_rounds_follow_at_the_least_distance():
    """One plane, eight slots: with a ready router a round every eight clocks, all the while."""
    machine = machine_of(partial=0)
    layer = LayerRecord(steps=0, slots=7, out_word=1)
    share = ShareRecord(groups=1, tiles=99, first=0, out=5)
    bench = check(0, machine, [(layer, share)], late=25, stall=0, idle=0)
    assert bench.clocks <= 100 * machine.gap(8, 1) + 25 + 8 + 60


def test_the_queue_is_used():
    """Where the router stalls, rounds are promised until the queue is spoken for."""
    machine = machine_of()
    layer = LayerRecord(steps=5, slots=0, planes=3, out_word=24)
    share = ShareRecord(groups=1, tiles=9, first=0)
    assert check(0, machine, [(layer, share)], stall=0.9, idle=0).most == machine.packer.queue


def test_words_are_lost_without_room():
    """A planted fault: whoever does not heed `room` loses words."""
    machine = machine_of(partial=0)
    layer = LayerRecord(steps=5, slots=0, planes=3, out_word=24)
    share = ShareRecord(groups=1, tiles=9, first=0)
    with pytest.raises(AssertionError):
        check(0, machine, [(layer, share)], stall=0.9, idle=0, obey=False)


LATENCIES = [
    (Send.PLANES, machine_of(partial=0), 5),
    (Send.PLANES, machine_of(partial=64), 5),
    (Send.PLANES, machine_of(partial=100), 5),
    (Send.MEMBRANES, machine_of(partial=0), 8),
    (Send.COUNTS, machine_of(partial=0), 8),
    (Send.COUNTS, machine_of(partial=0, depth=256), 8),
]


@pytest.mark.parametrize(("send", "machine", "count"), LATENCIES)
def test_latency(send, machine, count):
    """From a round's last slot to the words of its planes, or to its lanes: one a clock."""
    layer = LayerRecord(planes=count - 1 if send == Send.PLANES else 0, slots=3, send=send)
    share = ShareRecord(groups=1, first=0)
    bench = Bench(random.Random(0), machine)
    made, words = rounds(bench.generator, machine, layer, share)
    seen = []

    async def watch(ctx):
        while len(seen) < 40:
            stage = ctx.get(bench.dut.packer.stage)
            seen.append((stage.valid and stage.final, ctx.get(bench.dut.o.valid)))
            await ctx.tick()

    async def play(ctx):
        await bench.layer(ctx, layer, share, deque(made), 3, 0, 0)

    simulator = Simulator(bench.dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(play)
    simulator.add_testbench(watch)
    simulator.run()
    last = next(clock for clock, (stage, _) in enumerate(seen) if stage)
    late = machine.packer.latency if send == Send.PLANES else 3 + machine.pool.peek
    valid = [clock for clock, (_, there) in enumerate(seen) if there]
    assert valid == list(range(last + late, last + late + count))
    assert bench.words == words


@pytest.mark.parametrize("send", [Send.PLANES, Send.MEMBRANES, Send.COUNTS])
@pytest.mark.parametrize("machine", [machine_of(depth=256, partial=100), machine_of()])
def test_nothing_is_left_behind_a_reset(machine, send):
    """Whenever it comes, no word leaves after it."""
    generator = random.Random(str(send))
    layer, share = records(generator, machine, send)
    share = replace(share, groups=1)
    made, _ = rounds(generator, machine, layer, share)
    marks = {"last": True, "fills": True}
    one = next(
        one for one in made if one.promise["last"] and marks.items() <= one.promise["mark"].items()
    )
    bench, reset = Bench(generator, machine), Signal()
    dut = bench.dut

    async def play(ctx):
        ctx.set(dut.layer, vars(layer))
        ctx.set(dut.share, vars(share))
        for clocks in range(1, 16):
            for number in range(len(one.stages)):
                bench._slot(ctx, (one, number))
                await ctx.tick()
            bench._slot(ctx, None)
            await ctx.tick().repeat(clocks)
            ctx.set(reset, 1)
            await ctx.tick()
            ctx.set(reset, 0)
            for _ in range(12):
                assert not ctx.get(dut.o.valid), clocks
                await ctx.tick()

    simulator = Simulator(ResetInserter(reset)(dut))
    simulator.add_clock(1e-6)
    simulator.add_testbench(play)
    simulator.run()
