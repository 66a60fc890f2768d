"""Items against the interpreter's, in order, with their sums; and how soon they come."""

from dataclasses import replace

import numpy as np
import pytest

from spikewright.hw.cores.items import Items
from tests.support.walks import Bed, items_of, random_core, read, small_machine


def offered(cores, stall=0.0, rng=None, limit=4000):
    """For the layers of `cores`, run one after the other, the items and their clocks from start."""
    dut = Items(cores[0].machine)
    bed = Bed(cores[0], {"items": dut})
    seen = [[] for _ in cores]

    async def bench(ctx):
        await ctx.tick().repeat(3)
        assert not ctx.get(dut.o.valid)
        for core, found in zip(cores, seen, strict=True):
            bed.configure(ctx, core.configuration)
            ctx.set(dut.start, 1)
            wanted, clock, quiet = len(list(core._items())), 0, 0
            held = None
            while quiet < 30 and clock < limit:
                ready = rng is None or rng.random() >= stall
                ctx.set(dut.o.ready, ready)
                valid = ctx.get(dut.o.valid)
                if valid:
                    now = read(ctx, dut.o.payload)
                    assert held in (None, now)
                    held = None if ready else now
                    if ready:
                        found.append((clock, now))
                await ctx.tick()
                ctx.set(dut.start, 0)
                clock += 1
                quiet = 0 if len(found) < wanted else quiet + 1

    bed.run(bench)
    return seen


def in_one_machine(cores):
    """They have the first one's axis memory and bank."""
    for core in cores:
        core.axis, core.bank = cores[0].axis, cores[0].bank
    return cores


@pytest.mark.parametrize("sources", [1, 2, 3, 4])
@pytest.mark.parametrize("stall", [0.0, 0.9])
def test_items(sources, stall):
    """All items and sums of layer after layer, whoever waits."""
    rng = np.random.default_rng((sources, int(stall * 10)))
    machine = small_machine(sources)
    cores = [random_core(rng, machine, 10**6) for _ in range(6)]
    cores = in_one_machine(cores)
    for core, found in zip(cores, offered(cores, stall, rng), strict=True):
        assert [item for _, item in found] == list(items_of(core))


@pytest.mark.parametrize("sources", [1, 3])
def test_clocks(sources):
    """From start to the first item, and from item to item, also to the next row and group."""
    rng = np.random.default_rng(5)
    (found,) = offered([random_core(rng, small_machine(sources), 10**6, (20, 40))])
    clocks = [clock for clock, _ in found]
    assert clocks[0] == Items.FIRST + Items.FETCH * sources
    assert set(np.diff(clocks)) == {Items.FETCH * sources}


def test_no_groups():
    rng = np.random.default_rng(6)
    cores = [random_core(rng, small_machine(), 10**6) for _ in range(3)]
    none = replace(cores[1].configuration.share, groups=0)
    cores[1].configuration.share = none
    cores = in_one_machine(cores)
    found = offered(cores)
    assert [len(items) > 0 for items in found] == [True, False, True]
