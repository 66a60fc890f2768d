"""Items, walker and gather together against the interpreter's events; each part's clocks."""

from copy import copy
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
from amaranth.lib import data
from amaranth.sim import Simulator

from spikewright.hw.cores.gather import Filter, Gather, Queue
from spikewright.hw.cores.items import Items
from spikewright.hw.cores.walker import Walker
from spikewright.machine.blocks import WORD
from spikewright.machine.configuration import KeepRecord, RouterWord
from spikewright.machine.memories import make_images
from spikewright.sim.interpreter import Interpreter
from spikewright.sim.interpreter.core import Core
from tests.support.placements import large_machine, random_schedule
from tests.support.random_networks import random_frames, random_network
from tests.support.walks import (
    Bed,
    entries_of,
    numbers,
    random_core,
    random_words,
    read,
    small_machine,
    walked,
)


async def receive(ctx, gather, core, words):
    """The router's words, one a clock."""
    ctx.set(gather.keep, numbers(core.configuration.keep))
    ctx.set(gather.frame_keep, numbers(core.frame_keep))
    for word in words:
        ctx.set(gather.received, {"valid": 1, "word": numbers(word)})
        await ctx.tick()
    ctx.set(gather.received.valid, 0)
    await ctx.tick().repeat(2)


def expanded(core, entry):
    """An entry's bits as weight rows."""
    word, row = entry.pop("word"), entry.pop("row")
    depth = core.machine.lanes.weight_rows
    return {"rows": [(row + bit) % depth for bit in range(WORD) if word >> bit & 1], **entry}


def gathered(core, words, rng=None, ready=1.0):
    """The entries of a layer with their clocks, the clocks of all words, and the highest level."""
    machine = core.machine
    blocks = {"items": Items(machine), "walker": Walker(machine), "gather": Gather(machine)}
    bed = Bed(core, blocks)
    gather = blocks["gather"]
    seen, valids = [], []

    async def bench(ctx):
        await receive(ctx, gather, core, words)
        bed.configure(ctx, core.configuration)
        ctx.set(blocks["items"].start, 1)
        quiet, clock, held = 0, 0, None
        while quiet < 60:
            take = rng is None or rng.random() < ready
            ctx.set(gather.o.ready, take)
            valid = ctx.get(gather.o.valid)
            if valid:
                entry = read(ctx, gather.o.payload)
                assert held in (None, entry)
                held = None if take else entry
                if take:
                    seen.append((clock, expanded(core, dict(entry))))
            if ctx.get(gather.valid):
                valids.append(clock)
            quiet = 0 if valid or ctx.get(gather.valid) else quiet + 1
            await ctx.tick()
            ctx.set(blocks["items"].start, 0)
            clock += 1

    bed.run(bench)
    return seen, valids


@pytest.mark.parametrize(
    ("sources", "ready", "queue"),
    [(1, 1.0, 16), (1, 0.5, 16), (1, 0.2, 4), (1, 0.1, 16), (2, 0.7, 16), (4, 0.4, 11)],
)
def test_entries(sources, ready, queue):
    """Weight rows of all bits in order, ends of steps, doublings, under stalls."""
    rng = np.random.default_rng((sources, int(ready * 100), queue))
    for _ in range(2):
        core = random_core(rng, small_machine(sources, queue), 150)
        words = random_words(rng, core, 150)
        seen, _ = gathered(core, words, rng, ready)
        assert [entry for _, entry in seen] == list(entries_of(core))


def scheduled(seed, most):
    """Cores of a random schedule as they are before a layer of at most so many words."""
    rng = np.random.default_rng(seed)
    network = random_network(rng, neuron=("if", "burst")[seed % 2], size=1000, groups=2)
    machine = large_machine(int(rng.integers(1, 4)), 16, 2)
    schedule = random_schedule(rng, network, machine)
    found = []

    class Kept(Core):
        def run(self):
            before = copy(self)
            before.spikes, before.configuration = self.spikes.copy(), self.configuration.copy()
            if 0 < len(set(places(self))) <= most:
                found.append(before)
            return super().run()

    interpreter = Interpreter(machine, make_images(schedule))
    for core in interpreter.cores:
        core.__class__ = Kept
    for frame in random_frames(rng, network, 2):
        interpreter.run(schedule.frame_words(frame))
    return found


def places(core, most=400):
    """The addresses walked, as long as they are few."""
    return [address for address, _ in islice(walked(core), most + 1)]


@pytest.mark.parametrize("seed", range(4))
def test_schedules(seed):
    """Layers of random networks, as the images hold them: padding, pooling, groups, planes."""
    rng = np.random.default_rng(seed)
    found = [core for core in scheduled(seed, 400) if len(places(core)) <= 400]
    core = max(found, key=lambda core: len(places(core)))
    core.configuration.keep = KeepRecord(0, core.machine.spikes.words, 0)
    words = [RouterWord(int(core.spikes[at]), at, 0) for at in sorted(set(places(core)))]
    seen, _ = gathered(core, words, rng, 0.8)
    assert [entry for _, entry in seen] == list(entries_of(core))
    assert any(entry["rows"] for _, entry in seen)


@pytest.mark.parametrize("full", [False, True])
def test_clocks(full):
    """A word a clock, whether all are dropped or all are queued; `LATENCY` to the entry."""
    rng = np.random.default_rng(8)
    size = 0
    while size < 100:
        core = random_core(rng, small_machine(), 200, (1, 3))
        core.axis = [replace(entry, low=0, high=WORD - 1) for entry in core.axis]
        size = sum(1 for _ in walked(core))
    core.configuration.keep = KeepRecord(5, 64, 0)
    ones = ((1 << WORD) - 1) * full
    seen, valids = gathered(core, [RouterWord(ones, 5 + at, 0) for at in range(64)])
    assert valids == list(range(valids[0], valids[0] + size))
    wanted = [
        clock for clock, (_, word) in zip(valids, walked(core), strict=True) if full or word["ends"]
    ]
    assert [clock for clock, _ in seen] == [clock + Gather.LATENCY for clock in wanted]


def test_queue_is_used_to_its_end():
    """While nobody takes an entry, so many words as the queue has entries are issued."""
    rng = np.random.default_rng(9)
    core = random_core(rng, small_machine(), 200, (3, 10))
    while sum(1 for _ in walked(core)) < 60:
        core = random_core(rng, small_machine(), 200, (3, 10))
    core.axis = [replace(entry, low=0, high=WORD - 1) for entry in core.axis]
    core.configuration.keep = KeepRecord(5, 64, 0)
    words = [RouterWord((1 << WORD) - 1, 5 + at, 0) for at in range(64)]

    class Late:
        """Takes nothing for a while, then all."""

        calls = 0

        def random(self):
            self.calls += 1
            return 1.0 if self.calls < 80 else 0.0

    seen, valids = gathered(core, words, Late(), 0.5)
    assert len(seen) == len(valids) >= 60
    assert sum(clock < seen[0][0] for clock in valids) == core.machine.picker.queue


@pytest.mark.parametrize("bank", [0, 1])
def test_filter(bank):
    """What the interpreter's core keeps, and where; a clock later."""
    rng = np.random.default_rng(bank)
    core = random_core(rng, small_machine())
    core.bank = bank
    before = core.spikes.copy()
    dut = Filter(core.machine)
    words = random_words(rng, core, 200)

    async def bench(ctx):
        ctx.set(dut.bank, bank)
        ctx.set(dut.keep, numbers(core.configuration.keep))
        ctx.set(dut.frame_keep, numbers(core.frame_keep))
        for word in words:
            ctx.set(dut.received, {"valid": 1, "word": numbers(word)})
            await ctx.tick()
            if ctx.get(dut.write.enable):
                before[ctx.get(dut.write.address)] = ctx.get(dut.write.data)
        ctx.set(dut.received.valid, 0)
        await ctx.tick()
        assert not ctx.get(dut.write.enable)

    simulate(dut, bench)
    assert (before == core.spikes).all()
    assert before.any()


def test_queue():
    """Full and empty, one in and one out a clock; as a list."""
    rng = np.random.default_rng(10)
    layout = data.StructLayout({"number": 8})
    dut = Queue(layout, 4)
    kept = []

    async def bench(ctx):
        for clock in range(400):
            often = (0.9, 0.3)[clock // 100 % 2]
            assert ctx.get(dut.o.valid) == bool(kept)
            if kept:
                assert ctx.get(dut.o.payload.number) == kept[0]
            write, ready = len(kept) < 4 and rng.random() < often, rng.random() < 0.6
            ctx.set(dut.offered, len(kept) < 4)
            ctx.set(dut.write, write)
            ctx.set(dut.i.number, clock % 256)
            ctx.set(dut.o.ready, ready)
            if kept and ready:
                kept.pop(0)
            if write:
                kept.append(clock % 256)
            await ctx.tick()

    simulate(dut, bench)
    with pytest.raises(ValueError, match="a queue of 6 entries; use a power of two"):
        Queue(layout, 6)


def simulate(dut, bench):
    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
