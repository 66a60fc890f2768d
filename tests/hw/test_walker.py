"""The walk of a source, word by word, against nested loops."""

import random
from dataclasses import replace

import pytest
from amaranth.sim import Simulator

from spikewright.hw.walker import Walker
from spikewright.machine.instructions import Register
from tests.support.shapes import small_shape

SHAPE = small_shape(
    lanes=4,
    steps=5,
    input_steps=3,
    count_bits=2,
    digits=3,
    shift_max=8,
    frame_words=200,
    program_words=8,
    axis_words=40,
    weight_words=200,
    parameter_words=3,
    membrane_words=64,
    current_words=64,
    spike_words=1000,
)


def run_walker(shape, *walks, frame=False, advance=1.0):
    """Do walks, dicts of registers (and the bank); returns what was given in each clock of a read.

    A silent step gives None.
    """
    dut = Walker(shape, frame=frame)
    rng = random.Random(1)
    results = []

    async def bench(ctx):
        for walk in walks:
            bank = walk.pop("bank", 0)
            ctx.set(dut.setting.valid, 1)
            for name, value in walk.items():
                ctx.set(dut.setting.register, Register[name.upper()])
                ctx.set(dut.setting.value, value)
                await ctx.tick()
            ctx.set(dut.setting.valid, 0)
            ctx.set(dut.bank, bank)
            ctx.set(dut.start, 1)
            await ctx.tick()
            ctx.set(dut.start, 0)
            for _ in range(20_000):
                ctx.set(dut.advance, rng.random() < advance)
                _, _, valid, moved, address, y, x, mark = await ctx.tick().sample(
                    dut.valid, dut.advance, dut.address, dut.axis_y, dut.axis_x, dut.mark
                )
                if not valid:
                    break
                if not moved:
                    continue
                if mark.silent:
                    assert mark.last
                    results.append(None)
                else:
                    place = (address, y, x, mark.channel, mark.digit)
                    results.append((*place, bool(mark.first), bool(mark.last)))
            else:
                pytest.fail("the walk does not end")

    sim = Simulator(dut)
    sim.add_clock(1e-6)
    sim.add_testbench(bench)
    sim.run()
    return results


def walk_of(size, *, steps, channel=0, base=0, planes=1, final=1, repeats=0):
    """Registers of a walk over `size` (groups, height, width)."""
    groups, height, width = size
    return {
        "steps": steps,
        "source_groups": groups,
        "source_height": height,
        "source_width": width,
        "source_channel": channel,
        "source_base": base,
        "axis_y": 3,
        "axis_x": 20,
        "source_planes": planes,
        "source_final": final,
        "source_repeats": repeats,
    }


def expected(walk, *, lanes, again=False, silent_after=None, base=None):
    """The same by nested loops."""
    result = []
    address = base = walk["source_base"] if base is None else base
    for step in range(1, walk["steps"] + 1):
        if silent_after is not None and step > silent_after:
            result.append(None)
            continue
        address = base if again else address
        planes = walk["source_final"] if step == walk["steps"] else walk["source_planes"]
        words = []
        for digit in reversed(range(planes)):
            for g in range(walk["source_groups"]):
                for y in range(walk["source_height"]):
                    for x in range(walk["source_width"]):
                        channel = walk["source_channel"] + lanes * g
                        words.append((address, 3 + y, 20 + x, channel, digit, step == 1))
                        address += 1
        result += [(*word, word is words[-1]) for word in words]
    return result


SIZES = [(1, 1, 1), (2, 1, 3), (1, 4, 1), (3, 2, 2)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("advance", [1.0, 0.5])
def test_spikes_lie_step_after_step_and_plane_after_plane(size, advance):
    walks = [
        walk_of(size, steps=steps, channel=8, base=base, planes=planes, final=final)
        for steps, planes, final, base in [(5, 3, 3, 0), (4, 1, 3, 7), (3, 2, 1, 0), (1, 1, 2, 3)]
    ]
    result = run_walker(SHAPE, *walks, advance=advance)
    assert result == [word for walk in walks for word in expected(walk, lanes=4)]
    plain = replace(SHAPE, digits=1)
    walk = walk_of(size, steps=5, base=2)
    assert run_walker(plain, walk, advance=advance) == expected(walk, lanes=4)


@pytest.mark.parametrize("size", SIZES)
def test_pairs_are_read_again_in_every_step_with_input(size):
    shape = replace(SHAPE, pairs=True)
    pairs = walk_of(size, steps=5, base=5, repeats=1)
    planes = walk_of(size, steps=5, planes=2, final=3)
    again = expected(pairs, lanes=4, again=True, silent_after=3)
    result = run_walker(shape, pairs, planes, pairs)
    assert result == [*again, *expected(planes, lanes=4), *again]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("code", ["isi", "tsc", "bernoulli", "events"])
def test_frames_are_walked_in_their_bank_while_there_is_input(size, code):
    shape = replace(SHAPE, code=code)
    walk = walk_of(size, steps=5)
    result = run_walker(shape, {**walk, "bank": 0}, {**walk, "bank": 1}, frame=True, advance=0.7)
    assert result == [
        word
        for base in (0, 200)
        for word in expected(walk, lanes=1, again=code != "events", silent_after=3, base=base)
    ]


def test_a_direct_frame_is_walked_once():
    walk = walk_of((2, 3, 4), steps=1)
    assert run_walker(SHAPE, {**walk, "bank": 1}, frame=True) == expected(walk, lanes=1, base=200)


def test_a_source_without_groups_does_nothing():
    walk = walk_of((1, 2, 2), steps=2)
    idle = {**walk, "source_groups": 0}
    assert run_walker(SHAPE, idle, walk, idle) == expected(walk, lanes=4)
