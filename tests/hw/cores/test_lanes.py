"""Lanes against sums in Python: what each take gives, when, and with which widths."""

import itertools
import random

import pytest
from amaranth.sim import Simulator

from spikewright.hw.cores.lanes import Lanes
from spikewright.machine import blocks

SHAPES = [(8, 1), (16, 2), (16, 4), (32, 1), (32, 2), (4, 4)]

START = {"row": 0, "add": 0, "double": 0, "clear": 1, "negative": 0}
NOTHING = dict.fromkeys(START, 0)


def wrapped(value, bits):
    return (value + (1 << bits - 1)) % (1 << bits) - (1 << bits - 1)


def stimulus(generator, rows, length):
    """Events, one a clock or none."""
    return [
        {
            "row": generator.randrange(rows),
            "add": int(generator.random() < 0.8),
            "double": int(generator.random() < 0.1),
            "clear": int(generator.random() < 0.15),
            "negative": int(generator.random() < 0.3),
        }
        for _ in range(length)
    ]


def rounds(generator, slots, length):
    """Takes, by the clock of the last event before them: how many slots, at least so far apart."""
    takes, rest = {}, 0
    for clock in range(length):
        if rest == 0 and generator.random() < 0.6:
            takes[clock] = rest = generator.randint(1, slots)
        rest = max(0, rest - 1)
    return takes


def expected(events, takes, weights, lanes, fire_units):
    """Of each fire unit, by clock of the take plus slot, what it takes."""
    count, bits, signed = lanes.count, lanes.accumulator_bits, lanes.signed
    totals, taken = [0] * count, {}
    for clock, event in enumerate(events):
        for lane in range(count):
            weight = weights[event["row"]][lane] * event["add"]
            sign = -1 if event["negative"] and signed else 1
            total = (totals[lane] << event["double"]) + sign * weight
            totals[lane] = 0 if event["clear"] else wrapped(total, bits)
        for lane in range(takes.get(clock, 0) * fire_units):
            taken[lane % fire_units, clock + lane // fire_units] = totals[lane]
    return taken


def run(dut, weights, events, takes, weight_bits):
    """`first` and `second` of each fire unit after each clock; weights are written first."""
    seen = []

    async def bench(ctx):
        for row, values in enumerate(weights):
            word = sum(
                (v & (1 << weight_bits) - 1) << weight_bits * i for i, v in enumerate(values)
            )
            ctx.set(dut.write.enable, 1)
            ctx.set(dut.write.row, row)
            ctx.set(dut.write.data, word)
            await ctx.tick()
        ctx.set(dut.write.enable, 0)
        # What the accumulators hold is not known before their first clear.
        late = dut.latency - dut.taking
        slots = {start + late + s: s for start, many in takes.items() for s in range(many)}
        for clock in range(len(events) + dut.latency + dut.slots + 2):
            ctx.set(dut.event, events[clock] if clock < len(events) else NOTHING)
            ctx.set(dut.taken, {"valid": clock in slots, "slot": slots.get(clock, 0)})
            await ctx.tick()
            seen.append([(ctx.get(a), ctx.get(b)) for a, b in outputs(dut)])

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    return seen


def outputs(dut):
    return [(dut.first[unit], dut.second[unit]) for unit in range(dut.fire_units)]


@pytest.mark.parametrize(("count", "fire_units"), SHAPES)
@pytest.mark.parametrize(("bits", "weight_bits", "rows"), [(9, 8, 12), (18, 4, 600), (18, 8, 2000)])
@pytest.mark.parametrize("signed", [False, True])
def test_takes(count, fire_units, bits, weight_bits, rows, signed):
    """Every take gives the sums of its slots, `latency` and slot clocks later, else zeros.

    Takes of fewer slots follow each other before the first one's events have left the chain.
    """
    generator = random.Random(f"{count} {fire_units} {rows} {signed}")
    used, top = 12, (1 << weight_bits - 1) - 1
    weights = [[generator.randint(-top, top) for _ in range(count)] for _ in range(used)]
    lanes = blocks.Lanes(count, weight_bits, rows, bits, signed=signed)
    dut = Lanes(lanes, fire_units)
    events = [START, *stimulus(generator, used, 300)]
    takes = rounds(generator, dut.slots, 300)
    taken = expected(events, takes, weights, lanes, fire_units)
    seen = run(dut, weights, events, takes, weight_bits)
    for clock, units in enumerate(seen):
        for unit, (one, other) in enumerate(units):
            assert one == 0 or other == 0
            # `seen` holds what is there after the clock in which the event was.
            assert one + other == taken.get((unit, clock - dut.latency + 1), 0)
    assert len(taken) > 100
    clocks = list(takes)
    closer = [b - a < dut.slots for a, b in itertools.pairwise(clocks)]
    assert any(closer) or dut.slots == 1


def test_latency():
    """From an event to slot 0: two clocks of memory, weight, sum, choice; more for many slots."""
    assert Lanes(blocks.Lanes(16), 2).latency == 5
    assert Lanes(blocks.Lanes(32), 1).latency == 6


def test_initial_weights():
    words = [0x0102, 0x7F80]
    dut = Lanes(blocks.Lanes(2, 8, 2, 12), 1, words)
    seen = run(dut, [], [START, {**NOTHING, "row": 1, "add": 1}], {1: 2}, 8)
    values = [one + other for ((one, other),) in seen]
    assert values[dut.latency : dut.latency + 2] == [-128, 127]


def test_lanes_are_dealt_evenly():
    with pytest.raises(ValueError, match="10 lanes cannot be dealt to 4 fire units"):
        Lanes(blocks.Lanes(10), 4)
