"""The walker's words against loops over the fields, with items and room that come and go."""

import numpy as np
import pytest

from spikewright.hw.cores.items import Items
from spikewright.hw.cores.walker import Walker
from tests.support.walks import Bed, items_of, random_core, read, small_machine, walked


def words(cores, rng=None, busy=1.0, room=1.0):
    """Clock, address and word of all words of all layers; clocks in which each was issued."""
    dut = Walker(cores[0].machine)
    bed = Bed(cores[0], {"walker": dut})
    seen, issued, granted = [], [], []

    async def bench(ctx):
        clock = 0
        for core in cores:
            bed.configure(ctx, core.configuration)
            waiting, quiet = list(items_of(core)), 0
            valid = False
            while quiet < 12:
                valid = bool(waiting) and (valid or rng is None or rng.random() < busy)
                granted.append(rng is None or rng.random() < room)
                ctx.set(dut.room, granted[-1])
                ctx.set(dut.items.valid, valid)
                if valid:
                    ctx.set(dut.items.payload, waiting[0])
                taken = valid and ctx.get(dut.items.ready)
                if ctx.get(dut.issued):
                    issued.append(clock)
                    assert granted[-2]
                if ctx.get(dut.valid):
                    seen.append((clock, ctx.get(dut.address), read(ctx, dut.walked)))
                await ctx.tick()
                clock += 1
                if taken:
                    waiting.pop(0)
                    valid = False
                quiet = 0 if waiting or issued[-1] + 20 > clock else quiet + 1

    bed.run(bench)
    return seen, issued


@pytest.mark.parametrize(
    ("sources", "busy", "room"),
    [(1, 1.0, 1.0), (1, 0.2, 1.0), (1, 1.0, 0.5), (2, 0.5, 0.8), (3, 1.0, 1.0), (4, 0.5, 0.8)],
)
def test_words(sources, busy, room):
    """Every word in order, in layer after layer."""
    rng = np.random.default_rng((sources, int(busy * 10), int(room * 10)))
    machine = small_machine(sources)
    cores = [random_core(rng, machine, 150) for _ in range(3)]
    seen, issued = words(cores, rng, busy, room)
    assert [word[1:] for word in seen] == [word for core in cores for word in walked(core)]
    assert [clock for clock, *_ in seen] == [t + Walker(machine).latency for t in issued]


def item_sizes(core):
    """Words of each item."""
    made = core.configuration
    for item in items_of(core):
        size = 0
        for number in range(made.layer.passes + 1):
            source = made.passes[number].source
            field = item["fields"][source]
            blocks = made.sources[source].blocks + 1
            size += (field["rows"] + 1) * blocks * (field["words"] + 1)
        yield size * (made.layer.walks + 1)


@pytest.mark.parametrize("sources", [1, 3])
def test_clocks(sources):
    """A word a clock, across rows, blocks, passes, steps and items; small items are `apart`."""
    rng = np.random.default_rng(7)
    machine = small_machine(sources)
    apart = Walker(machine).apart
    small = 0
    for _ in range(3):
        core = random_core(rng, machine, 200, (2, 40))
        seen, _ = words([core])
        expected, start = [], seen[0][0]
        for size in item_sizes(core):
            expected += range(start, start + size)
            start += max(size, apart)
            small += size < apart
        assert [clock for clock, *_ in seen] == expected
    assert small or sources > 1
    assert apart <= Items.FETCH * sources
