"""Rounds against the interpreter: stages of all steps in their order, and their distances."""

import itertools
import random
from types import SimpleNamespace

import numpy as np
import pytest
from amaranth.sim import Simulator

from spikewright.hw.cores.rounds import Rounds
from spikewright.machine.blocks import FireUnit, Lanes, Machine
from spikewright.machine.configuration import LayerRecord, Send, ShareRecord
from spikewright.sim.interpreter.core import Core, _Packer

MACHINE = Machine(lanes=Lanes(count=8), fire=FireUnit(count=1))
ROWS = MACHINE.fire.parameter_rows
MARKS = ("first", "last", "begins", "fills", "group", "end")


def draw_layer(generator):
    slots, members, windows = generator.choice(
        [(0, 0, 0), (7, 0, 0), (1, 3, 0), (1, 0, 3), (1, 1, 1), (0, 1, 3), (2, 1, 0), (0, 0, 2)]
    )
    steps = generator.randrange(7)
    return LayerRecord(
        steps=steps,
        walks=generator.randrange(steps + 1),
        driven=generator.randrange(steps + 1),
        hold=generator.randrange(2),
        slots=slots,
        members=members,
        windows=windows,
        parts_x=generator.randrange(2),
        send=generator.choice(list(Send)),
        planes=generator.choice([0, 0, 2, 7, 11]),
    )


def draw_items(generator, layer, groups):
    """Parts of windows, one tile after the other, for each group."""
    items = []
    for group in range(groups):
        for tile in range(2):
            for part in range(layer.parts_x + 1):
                last = part == layer.parts_x
                ends = tile == 1 and last
                flags = (part == 0, last, generator.randrange(2), generator.randrange(2))
                flags = (*flags, ends, ends and group == groups - 1)
                items.append((group, dict(zip(MARKS, map(int, flags), strict=True))))
    return items


def expected_rounds(core, layer, items):
    """Of each round: whether it is handed over, its mark, and its stages without sums."""
    rounds = []
    for group, mark in items:
        rows = core._parameters(group)[0]
        for t in range(layer.steps + 1):
            driven, walked = t <= layer.driven, t <= layer.walks
            flags = {
                "first": t == 0,
                "last": t == layer.steps,
                "driven": driven,
                "walked": walked,
                "held": layer.hold and driven and not walked,
            }
            stages = [
                {**flags, "slot": s, "parameter": row, "final": s == len(rows) - 1}
                for s, row in enumerate(rows)
            ]
            rounds.append((walked, group, mark, t, stages))
    return rounds


def core_of(layer, share):
    """The interpreter, with a threshold in each parameter row that is its number."""
    words = [row for row in range(ROWS) for _ in range(2)]
    core = Core(MACHINE, [], np.zeros((1, 8), np.int64), [words])
    core.configuration.layer, core.configuration.share = layer, share
    return core


def fields(view, names):
    return {name: int(view[name]) for name in names}


def run(layers, generator, *, wait=0.0, full=0.0):
    """Of each layer, clock by clock: promise, whether a hand-over was taken, stage after that."""
    dut, found = Rounds(MACHINE), []

    def promise(ctx):
        made = ctx.get(dut.promise)
        if not made.valid:
            return None
        assert ctx.get(dut.room)
        return {**fields(made, ["last"]), "mark": fields(made.mark, MARKS)}

    def stage(ctx):
        shown = ctx.get(dut.stage)
        names = [name for name in shown.shape().members if name not in ("valid", "mark")]
        made = {**fields(shown, names), "mark": fields(shown.mark, MARKS)}
        return made if shown.valid else None

    async def bench(ctx):
        for layer, share, marks, count in layers:
            ctx.set(dut.start, 1)
            ctx.set(dut.layer, vars(layer))
            ctx.set(dut.share, vars(share))
            ctx.set(dut.room, 0)
            await ctx.tick()
            ctx.set(dut.start, 0)
            seen, left, waiting, promised, quiet = [], list(marks), False, 0, 0
            while quiet < 30:
                waiting = bool(left) and (waiting or generator.random() >= wait)
                ctx.set(dut.i.valid, waiting)
                ctx.set(dut.i.payload, left[0] if waiting else dict.fromkeys(MARKS, 1))
                ctx.set(dut.room, generator.random() >= full)
                taken, made = waiting and bool(ctx.get(dut.i.ready)), promise(ctx)
                await ctx.tick()
                seen.append((made, taken, stage(ctx)))
                if taken:
                    left.pop(0)
                    waiting = False
                promised += made is not None
                assert promised <= count
                quiet = quiet + 1 if promised == count else 0
                assert len(seen) < 20000, f"{promised} of {count} rounds"
            found.append(seen)

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    return found


def check_sums(layer, items, stages, generator):
    """Sums by `entry`, `opens` and `closes`, against what the interpreter keeps."""
    packer, kept, place = _Packer(MACHINE, layer, ShareRecord()), {}, 0
    lanes = (layer.windows + 1) * (layer.members + 1) * (layer.slots + 1)
    for group, mark in items:
        item = SimpleNamespace(group=group, **{name: mark[name] for name in MARKS[:4]})
        for t in range(layer.steps + 1):
            n = np.array([generator.randrange(16) for _ in range(lanes)])
            closed = []
            for value in n.tolist():
                stage = stages[place]
                place += 1
                before = 0 if stage["opens"] else kept[stage["entry"]]
                kept[stage["entry"]] = before + value & 255
                if stage["closes"]:
                    closed.append(kept[stage["entry"]])
            packer.take(item, t, n, n)
            if layer.send != Send.MEMBRANES and mark["last"]:
                entry = 0 if layer.send == Send.COUNTS else t
                assert closed == packer.sums[entry].ravel().tolist()
            else:
                assert mark["last"] or not closed


def draw(generator, count, **changes):
    """Layers with their items: what they need, and what must come."""
    drawn = []
    for _ in range(count):
        layer = draw_layer(generator)
        layer = LayerRecord(**{**vars(layer), **changes})
        groups = generator.randint(1, 3)
        share = ShareRecord(groups=groups, parameter_base=generator.randrange(200))
        items = draw_items(generator, layer, groups)
        rounds = expected_rounds(core_of(layer, share), layer, items)
        drawn.append((layer, share, items, rounds))
    return drawn


def given(drawn):
    return [
        (layer, share, [mark for walked, _, mark, _, _ in rounds if walked], len(rounds))
        for layer, share, _, rounds in drawn
    ]


@pytest.mark.parametrize(("wait", "full"), [(0, 0), (0.9, 0), (0, 0.8), (0.6, 0.6)])
def test_layers(wait, full):
    """Each promise, the stages that follow at once, sums, and at least the gap in between."""
    generator = random.Random(f"{wait} {full}")
    drawn = draw(generator, 20)
    seen = run(given(drawn), generator, wait=wait, full=full)
    for (layer, _, items, rounds), clocks in zip(drawn, seen, strict=True):
        starts = [clock for clock, (promise, _, _) in enumerate(clocks) if promise]
        slots = len(rounds[0][-1])
        gap = MACHINE.gap(slots, layer.planes + 1)
        distances = [b - a for a, b in itertools.pairwise(starts)]
        assert len(starts) == len(rounds)
        assert all(d >= gap for d in distances)
        if not wait and not full:
            assert all(d == gap for d in distances)
        stages = []
        for start, (walked, _, mark, t, expected) in zip(starts, rounds, strict=True):
            promise, taken, _ = clocks[start]
            assert promise == {"last": t == layer.steps, "mark": mark}
            assert taken == walked
            # Entry `clock` holds the stage of the clock behind it.
            begin = start + Rounds.LATENCY - 1
            found = [stage for _, _, stage in clocks[begin : begin + slots]]
            for stage, one in zip(found, expected, strict=True):
                assert {name: stage[name] for name in one} == one
                assert stage["mark"] == mark
            stages += found
        assert sum(stage is not None for _, _, stage in clocks) == len(stages)
        check_sums(layer, items, stages, generator)


def test_a_machine_of_one_slot():
    """A round of one slot is as far from the next as the fire unit's loop takes."""
    generator = random.Random(5)
    drawn = draw(generator, 3, slots=0, members=0, windows=0, planes=0)
    for seen in run(given(drawn), generator):
        starts = [clock for clock, (promise, _, _) in enumerate(seen) if promise]
        assert {b - a for a, b in itertools.pairwise(starts)} == {MACHINE.fire.latency}


def test_nothing_happens_before_the_first_hand_over():
    layer, share = LayerRecord(steps=3), ShareRecord(groups=1)
    (seen,) = run([(layer, share, [], 0)], random.Random(6))
    assert all(entry == (None, False, None) for entry in seen)
