"""The picker against the interpreter: what its events make of the accumulators, and when."""

import random

import numpy as np
import pytest
from amaranth.sim import Simulator

from spikewright.hw.cores.picker import Picker
from spikewright.machine.blocks import WORD, Lanes, Machine
from spikewright.machine.configuration import LayerRecord, PassRecord, SourceRecord
from spikewright.sim.interpreter.core import Core, wrapped

LANES = 4
MACHINE = Machine(lanes=Lanes(count=LANES, weight_rows=1024, signed=True))
BITS = MACHINE.lanes.accumulator_bits
MARKS = ("first", "last", "begins", "fills", "group", "end")


class Given(Core):
    """The interpreter, with the words of each pass given; what it makes of them is its own."""

    def step(self, passes):
        self.given = iter(passes)
        self.configuration.sources[0] = SourceRecord()
        self.configuration.layer = LayerRecord(passes=len(passes) - 1)
        for number, (doubles, negative, _) in enumerate(passes):
            self.configuration.passes[number] = PassRecord(0, 0, doubles, negative)
        return self._walk(None, 1)

    def _events(self, item, source, offset, t):
        words = next(self.given)[2]
        rows = [row + bit for row, word in words for bit in range(WORD) if word >> bit & 1]
        return np.array(rows, np.int64), np.array([word.bit_count() for _, word in words])


def draw_word(generator, density):
    kind = generator.random()
    if kind < 0.2 * (density < 1):
        return 0
    if kind < 0.5:
        return 1 << generator.randrange(WORD)
    return sum((generator.random() < density) << bit for bit in range(WORD))


def draw_step(generator):
    """Passes of a step: doublings, sign, words with their rows."""
    density = generator.choice([0, 0.02, 0.1, 0.5, 1])
    passes = []
    for _ in range(generator.randint(1, 4)):
        words = [
            (generator.randrange(900), draw_word(generator, density) * (density > 0))
            for _ in range(generator.randint(1, 3))
        ]
        passes.append((generator.choice([0, 1, 1, 2, 5]), generator.randrange(2), words))
    return passes


def entries_of(passes, mark):
    """What gather makes of a step: words with bits, and the last one."""
    entries, fresh, pending = [], True, 0
    for number, (doubles, negative, words) in enumerate(passes):
        pending = 0 if fresh else pending + doubles
        for place, (row, word) in enumerate(words):
            ends = number == len(passes) - 1 and place == len(words) - 1
            if word or ends:
                flags = {"negative": negative, "fresh": int(fresh), "ends": int(ends)}
                entries.append(
                    {"word": word, "row": row, "doubles": pending, **flags, "mark": mark}
                )
            if word:
                fresh, pending = False, 0
    return entries


def run(entries, generator, *, wait_entry=0.0, wait_round=0.0, clocks=20000):
    """Of each clock, the event, whether an entry was taken, and the mark of a hand-over."""
    dut = Picker(MACHINE)
    seen = []

    async def bench(ctx):
        left = list(entries)
        waiting, quiet = False, 0
        for _ in range(clocks):
            offered = bool(left) and (waiting or generator.random() >= wait_entry)
            waiting = offered
            ctx.set(dut.i.valid, offered)
            if offered:
                ctx.set(dut.i.payload, left[0])
            ctx.set(dut.round.ready, generator.random() >= wait_round)
            took = offered and bool(ctx.get(dut.i.ready))
            handed = ctx.get(dut.round.valid) and ctx.get(dut.round.ready)
            mark = tuple(ctx.get(dut.round.payload[name]) for name in MARKS) if handed else None
            event = ctx.get(dut.event)
            seen.append(({n: event[n] for n in event.shape().members}, took, mark))
            await ctx.tick()
            if took:
                left.pop(0)
                waiting = False
            quiet = 0 if left else quiet + 1
            if quiet > 200 and not ctx.get(dut.round.valid):
                return
        raise AssertionError("it does not end")

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    return seen


def handed_over(seen):
    """The clocks of the hand-overs."""
    return [clock for clock, (_, _, mark) in enumerate(seen) if mark]


def happens(event):
    return event["add"] or event["double"] or event["clear"]


@pytest.mark.parametrize(("wait_entry", "wait_round"), [(0, 0), (0.6, 0), (0, 0.8), (0.4, 0.5)])
def test_sums(wait_entry, wait_round):
    """The accumulators at every hand-over, and the mark, whatever waits."""
    generator = random.Random(f"{wait_entry} {wait_round}")
    weights = np.array([[generator.randint(-127, 127) for _ in range(LANES)] for _ in range(1024)])
    core = Given(MACHINE, [], weights, [[0, 0]] * MACHINE.fire.count)
    steps, entries, marks = [], [], []
    for _ in range(80):
        marks.append({name: generator.randrange(2) for name in MARKS})
        passes = draw_step(generator)
        steps.append(core.step(passes)[0])
        entries += entries_of(passes, marks[-1])
    seen = run(entries, generator, wait_entry=wait_entry, wait_round=wait_round)
    total = np.full(LANES, 12345)  # of what was before nothing stays
    found, handed = [], handed_over(seen)
    for clock, (event, _, _) in enumerate(seen):
        weight = weights[event["row"]] * event["add"]
        total = total << event["double"]
        total = wrapped(total - weight if event["negative"] else total + weight, BITS)
        if event["clear"]:
            assert not event["add"]
            total = np.zeros_like(total)
        if clock - Picker.LATENCY in handed:
            found.append(total)
    assert np.array_equal(found, steps)
    assert [mark for _, _, mark in seen if mark] == [tuple(mark.values()) for mark in marks]


def test_events_are_in_their_order_without_a_bubble():
    """An event a clock over words and steps: all bits, and the doublings of the interpreter."""
    generator = random.Random(1)
    core = Given(MACHINE, [], np.zeros((1024, LANES), np.int64), [[0, 0]] * MACHINE.fire.count)
    rows, entries, clocks = [], [], 0
    for _ in range(60):
        passes = draw_step(generator)
        _, load = core.step(passes)
        found = [
            r + b for _, _, words in passes for r, w in words for b in range(WORD) if w >> b & 1
        ]
        rows += found
        step = entries_of(passes, dict.fromkeys(MARKS, 0))
        clocks += len(found) + load.alone.sum() + (not step[-1]["word"])
        entries += step
    seen = run(entries, generator)
    handed = handed_over(seen)
    events = [
        happens(event) or clock - Picker.LATENCY in handed
        for clock, (event, _, _) in enumerate(seen)
    ]
    first, taken = events.index(1), [took for _, took, _ in seen].index(True)
    assert first - taken == Picker.FIRST
    assert all(events[first : first + clocks])
    assert not any(events[first + clocks :])
    assert [event["row"] for event, _, _ in seen if event["add"]] == rows


def test_words_of_one_bit():
    """Also they follow each other clock by clock, each of them a step that is cleared before."""
    entry = {"row": 7, "doubles": 0, "negative": 1, "fresh": 1, "ends": 1, "mark": {"end": 1}}
    seen = run([{**entry, "word": 1 << bit} for bit in range(WORD)], random.Random(2))
    handed = handed_over(seen)
    events = [(clock, event) for clock, (event, _, _) in enumerate(seen) if happens(event)]
    assert [clock for clock, _ in events] == list(range(events[0][0], events[0][0] + 2 * WORD))
    assert all(event["clear"] and not event["add"] for _, event in events[::2])
    assert [event["row"] for _, event in events[1::2]] == list(range(7, 7 + WORD))
    assert all(event["add"] and event["negative"] for _, event in events[1::2])
    assert [clock + Picker.LATENCY for clock in handed] == [clock for clock, _ in events[1::2]]


def test_it_waits_for_the_hand_over():
    """Nothing is made of a last bit before that is accepted; the event before it is made once."""
    entry = {"row": 0, "word": 0b101 << 30, "doubles": 3, "ends": 1, "mark": {}}
    seen = run([entry] * 3, random.Random(3), wait_round=0.9)
    handed = handed_over(seen)
    made = [
        (event["row"] * event["add"], event["add"], event["double"], clock - 1 in handed)
        for clock, (event, _, _) in enumerate(seen)
        if happens(event)
    ]
    assert made == 3 * [(0, 0, 1, 0), (0, 0, 1, 0), (30, 1, 1, 0), (32, 1, 0, 1)]
