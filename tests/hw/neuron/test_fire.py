"""The fire unit against the interpreter: n and V of every step, at every distance of rounds."""

import random
from types import SimpleNamespace

import numpy as np
import pytest
from amaranth.sim import Simulator

from spikewright.hw.neuron.fire import Decision, Fire
from spikewright.machine.blocks import FireUnit, Lanes, Machine
from spikewright.machine.clocks import StepLoad
from spikewright.machine.configuration import MODELS, LayerRecord
from spikewright.network import NeuronModel
from spikewright.sim.interpreter.core import Core

IF_ONLY = (NeuronModel.IF, NeuronModel.INTEGRATOR)
SMALL = {"membrane_bits": 10, "threshold_bits": 6, "drive_bits": 8}
UNITS = {
    "default": FireUnit(count=1),
    "unshifted": FireUnit(count=1, largest_shift=0),
    "small": FireUnit(count=1, largest_shift=3, **SMALL),
    "two digits": FireUnit(count=1, largest_shift=0, burst_levels=2, **SMALL),
    "wide threshold": FireUnit(
        count=1, largest_shift=0, membrane_bits=8, threshold_bits=8, drive_bits=8, burst_levels=7
    ),
    "if": FireUnit(count=1, largest_shift=0, models=IF_ONLY, **SMALL),
}


def machine(unit, slots=8):
    bits = {24: 18, 10: 8, 8: 7}[unit.membrane_bits]
    return Machine(
        fire=unit, lanes=Lanes(count=slots, accumulator_bits=bits, weight_bits=min(8, bits))
    )


class Given(Core):
    """The interpreter, with accumulators that are given: what follows is its own."""

    def _walk(self, item, t):
        return self.sums[t], StepLoad(np.zeros(0, np.int64), np.zeros(0, np.int64))

    def item(self, sums):
        self.sums, nothing = sums, SimpleNamespace(take=lambda *_: None)
        item = SimpleNamespace(group=0, last=False, fills=False)
        return self._item(item, nothing, nothing)


def draw_layer(generator, unit):
    model = generator.choice(unit.models)
    steps = generator.randrange(1, 6)
    walks = generator.randrange(steps + 1)
    levels = {NeuronModel.INTEGRATOR: 0, NeuronModel.IF: 1}.get(model)
    if levels is None:
        levels = generator.randint(1, unit.burst_levels)
    return LayerRecord(
        steps=steps,
        walks=walks,
        driven=generator.randint(0, steps),
        hold=generator.randrange(2),
        shift=generator.randint(0, unit.largest_shift),
        model=MODELS.index(model),
        holds=int(model is NeuronModel.IF) * generator.randrange(2),
        zero=int(model is NeuronModel.IF) * generator.randrange(2),
        levels=levels,
        slots=generator.randrange(8),
    )


def draw_parameters(generator, unit, slots):
    """Of each row, a threshold with its bias, and the same one with the first drive."""
    words = []
    top = 1 << unit.threshold_bits
    for _ in range(slots):
        threshold = generator.choice([0, 1, 5, top // 8, generator.randrange(top)])
        for _ in range(2):
            drive = generator.randrange(1 << unit.drive_bits)
            if generator.random() < 0.5:
                drive = generator.choice([0, threshold, -threshold]) % (1 << unit.drive_bits)
            words.append(threshold | drive << unit.threshold_bits)
    return words


def draw_sums(generator, layer, bits, lanes):
    small = generator.random() < 0.5
    top = 9 if small else (1 << bits - 1) - 1
    return np.array(
        [
            [generator.randint(-top - (not small), top) for _ in range(lanes)]
            for _ in range(layer.walks + 1)
        ]
    )


def stages_of(layer, sums, words, slots, gap, generator):
    """Clock by clock, what the unit gets for an item; empty clocks are None."""
    clocks = []
    for t in range(layer.steps + 1):
        for slot in range(slots):
            walked, driven = t <= layer.walks, t <= layer.driven
            stage = {
                "valid": 1,
                "slot": slot,
                "first": int(t == 0),
                "last": int(t == layer.steps),
                "driven": int(driven),
                "walked": int(walked),
                "held": int(layer.hold and driven),
                "final": int(slot == slots - 1),
                "entry": generator.randrange(256),
            }
            halves = [int(sums[t][slot]) if walked else 0, 0]
            generator.shuffle(halves)
            clocks.append((stage, halves, words[2 * slot + (t == 0)]))
        wait = max(0, gap - slots) + generator.choice([0, 0, 1, 5])
        clocks += [None] * wait
    return clocks


async def feed(ctx, dut, clocks, seen):
    for given in clocks:
        stage, (first, second), word = given or ({"valid": 0, "slot": 1}, (0, 0), 0)
        ctx.set(dut.stage, stage)
        ctx.set(dut.first, first)
        ctx.set(dut.second, second)
        ctx.set(dut.parameter, word)
        await ctx.tick()
        if ctx.get(dut.o_stage.valid):
            stage = ctx.get(dut.o_stage)
            seen.append((stage.slot, stage.entry, stage.last, ctx.get(dut.n), ctx.get(dut.v)))
        else:
            seen.append(None)


def simulate(dut, bench):
    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()


@pytest.mark.parametrize("name", UNITS)
def test_items(name):
    """Items of random layers, with the least distance of rounds and others."""
    unit = UNITS[name]
    dut = Fire(machine(unit))
    generator = random.Random(name)
    fired = [0] * (1 << unit.digits)

    async def bench(ctx):
        for _ in range(60):
            layer = draw_layer(generator, unit)
            slots = layer.slots + 1
            words = draw_parameters(generator, unit, slots)
            core = Given(machine(unit), [], np.zeros((1, 8), np.int64), [words])
            core.configuration.layer = layer
            sums = draw_sums(generator, layer, machine(unit).lanes.accumulator_bits, 8)
            v, n = core.item(sums)
            clocks = stages_of(layer, sums, words, slots, unit.latency, generator)
            clocks += [None] * (dut.latency + 1)
            ctx.set(dut.layer, vars(layer))
            seen = []
            await feed(ctx, dut, clocks, seen)
            results = iter(zip(n[:, :slots].ravel(), v[:, :slots].ravel(), strict=True))
            for clock, given in enumerate(clocks[: len(clocks) - dut.latency]):
                found = seen[clock + dut.latency - 1]
                if given is None:
                    assert found is None
                    continue
                stage, sent_v = given[0], next(results)
                assert found == (stage["slot"], stage["entry"], stage["last"], *sent_v)
                fired[found[3]] += 1
            ctx.set(dut.peek, 1)
            for slot in range(slots):
                ctx.set(dut.peek_slot, slot)
                assert ctx.get(dut.peeked) == v[-1, slot]
            ctx.set(dut.peek, 0)

    simulate(dut, bench)
    assert sum(map(bool, fired)) > (unit.burst_levels // 2 if unit.digits > 1 else 1)


def test_one_slot_at_the_least_distance():
    """Every clock of the loop counts: a round a clock sooner finds the V before."""
    unit = FireUnit(count=1, largest_shift=0)
    sums = [3, 5, 7, 11]
    for gap, right in ((unit.latency, True), (unit.latency - 1, False)):
        dut = Fire(machine(unit, 2))
        layer = LayerRecord(steps=3, walks=3, driven=3)
        generator = SimpleNamespace(
            randrange=lambda _: 0, choice=lambda _: 0, shuffle=lambda _: None
        )
        clocks = stages_of(layer, [[s] for s in sums], [0, 0], 1, gap, generator)
        seen = []

        async def bench(ctx, dut=dut, layer=layer, clocks=clocks, seen=seen):
            ctx.set(dut.layer, vars(layer))
            await feed(ctx, dut, clocks + [None] * dut.latency, seen)

        simulate(dut, bench)
        found = [each[-1] for each in seen if each]
        assert (found == [3, 8, 15, 26]) is right
        assert len(found) == 4


@pytest.mark.parametrize(
    ("shift", "models", "loop", "whole"),
    [
        (0, FireUnit.models, 7, 7),
        (15, FireUnit.models, 7, 8),
        (0, IF_ONLY, 4, 4),
    ],
)
def test_latency(shift, models, loop, whole):
    """V with the drive, current, digits, write; the shift is in front of the loop."""
    unit = FireUnit(largest_shift=shift, models=models)
    assert unit.latency == loop
    assert Fire(Machine(fire=unit)).latency == whole


def test_decisions_of_all_small_numbers():
    """n is the clipped quotient, for every potential, threshold and level."""
    dut = Decision(5, 2, 2)
    cases = [
        (u, threshold, levels)
        for levels in range(4)
        for threshold in range(4)
        for u in range(-16, 16)
    ]
    seen = []

    async def bench(ctx):
        for u, threshold, levels in cases:
            ctx.set(dut.levels, levels)
            ctx.set(dut.u, u)
            ctx.set(dut.threshold, threshold)
            await ctx.tick().repeat(2)
            seen.append((ctx.get(dut.n), ctx.get(dut.v)))

    simulate(dut, bench)
    for (u, threshold, levels), (n, v) in zip(cases, seen, strict=True):
        quotient = u // threshold if threshold else levels * (u >= 0)
        assert n == min(max(quotient, 0), levels)
        assert v == u - n * threshold
