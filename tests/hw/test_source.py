"""Sources: the events of a frame or of spike words, against the layout's axis tables."""

import random
from dataclasses import replace

import numpy as np
import pytest
from amaranth.sim import Simulator

from spikewright.hardware import HardwareShape, Region, Register, memory_id
from spikewright.hw.source import Source
from spikewright.layout import axis_table

SHAPE = HardwareShape(
    cores=1,
    lanes=4,
    steps=4,
    pixel_bits=8,
    weight_bits=4,
    membrane_bits=16,
    compare_bits=16,
    current_bits=16,
    shift_max=8,
    holds=False,
    taps=3,
    outputs=2,
    frame_words=2 * 7 * 5,
    program_words=8,
    axis_words=12,
    weight_words=200,
    parameter_words=3,
    membrane_words=64,
    current_words=64,
    spike_words=4 * 2 * 7 * 5,
)


def run_source(shape, *, frame, words, y, x, steps, groups, channel=0, bank=0, ready=1.0, seed=0):
    """Walk `words`; returns the events and tokens (None) and the clock of each transfer.

    `y` and `x` are axis tables of (weight, word, count) entries.
    """
    dut = Source(shape, frame=frame)
    rng = random.Random(seed)
    events, clocks = [], []

    async def bench(ctx):
        widths = list(shape.axis_fields.values())
        for index, (weight, word, count) in enumerate([*y, *x]):
            value = weight | word << widths[0] | count << widths[0] + widths[1]
            ctx.set(dut.load.valid, 1)
            ctx.set(dut.load.memory, memory_id(Region.AXIS))
            ctx.set(dut.load.address, index)
            ctx.set(dut.load.data, value)
            await ctx.tick()
        ctx.set(dut.load.valid, 0)
        offset = shape.frame_words * bank
        for index, value in enumerate(words):
            ctx.set(dut.write.enable, 1)
            ctx.set(dut.write.address, offset + index)
            ctx.set(dut.write.data, int(value))
            await ctx.tick()
        ctx.set(dut.write.enable, 0)
        for register, value in {
            Register.STEPS: steps,
            Register.SOURCE_GROUPS: groups,
            Register.SOURCE_CHANNEL: channel,
            Register.SOURCE_HEIGHT: len(y),
            Register.SOURCE_WIDTH: len(x),
            Register.SOURCE_BASE: 0,
            Register.AXIS_Y: 0,
            Register.AXIS_X: len(y),
        }.items():
            ctx.set(dut.setting.valid, 1)
            ctx.set(dut.setting.register, register)
            ctx.set(dut.setting.value, value)
            await ctx.tick()
        ctx.set(dut.setting.valid, 0)
        ctx.set(dut.bank, bank)
        ctx.set(dut.start, 1)
        await ctx.tick()
        ctx.set(dut.start, 0)
        tokens = 0
        for clock in range(50_000):
            if tokens == steps or not groups:
                break
            ctx.set(dut.o.ready, rng.random() < ready)
            _, _, valid, taken, event = await ctx.tick().sample(
                dut.o.valid, dut.o.ready, dut.o.payload
            )
            if valid and taken:
                clocks.append(clock)
                tokens += event.token
                events.append(
                    None
                    if event.token
                    else (
                        event.weight,
                        event.word,
                        event.rows,
                        event.cols,
                        event.shift,
                        event.negative,
                    )
                )
        else:
            pytest.fail(f"only {tokens} of {steps} tokens came")
        for _ in range(30):
            _, _, valid, busy = await ctx.tick().sample(dut.o.valid, dut.busy)
            assert not valid
        assert not busy

    sim = Simulator(dut)
    sim.add_clock(1e-6)
    sim.add_testbench(bench)
    sim.run()
    return events, clocks


def axes(channels, height, width, kernel, stride, padding, pool):
    """Axis tables as the layout packs them, for a square kernel."""
    tables = []
    for size, tap, rows in ((height, kernel * channels, True), (width, channels, False)):
        outputs = (size // pool + 2 * padding - kernel) // stride + 1
        entries = axis_table(size, pool, kernel, stride, padding, outputs)
        pitch = (width // pool + 2 * padding - kernel) // stride + 1 if rows else 1
        tables.append([(e.tap * tap, e.output * pitch, e.count) for e in entries])
    return tables


GEOMETRIES = [(3, 1, 1, 1), (3, 2, 1, 1), (2, 1, 0, 2), (3, 3, 0, 1), (1, 1, 0, 3)]


def signed_digits(value):
    """Non-adjacent form by its definition: an odd rest gives the digit 2 - rest mod 4."""
    digits, place = [], 0
    while value:
        if value & 1:
            digit = 2 - value % 4
            digits.append((place, digit < 0))
            value -= digit
        value //= 2
        place += 1
    return digits


@pytest.mark.parametrize("geometry", GEOMETRIES)
@pytest.mark.parametrize("ready", [1.0, 0.4])
def test_spikes_become_events_where_their_taps_land(geometry, ready):
    y, x = axes(8, 7, 5, *geometry)
    rng = np.random.default_rng(3)
    spikes = rng.random((3, 2, 7, 5, 4)) < rng.choice([0.05, 0.5, 1.0])
    words = (spikes * (1 << np.arange(4))).sum(-1).reshape(-1)
    shape = replace(SHAPE, taps=max(e[2] for e in y + x))
    events, _ = run_source(
        shape, frame=False, words=words, y=y, x=x, steps=3, groups=2, channel=4, ready=ready
    )
    expected = []
    for step in spikes:
        for g, i, j, lane in np.argwhere(step):
            if y[i][2] and x[j][2]:
                weight = y[i][0] + x[j][0] + 4 + 4 * g + lane
                expected.append((weight, y[i][1] + x[j][1], y[i][2], x[j][2], 0, 0))
        expected.append(None)
    assert events == expected


@pytest.mark.parametrize("bank", [0, 1])
def test_a_frame_becomes_its_signed_digits(bank):
    y, x = axes(2, 7, 5, 3, 1, 1, 1)
    pixels = np.random.default_rng(4).integers(0, 256, 70)
    pixels[:6] = [0, 255, 1, 128, 170, 85]
    events, _ = run_source(
        SHAPE, frame=True, words=pixels, y=y, x=x, steps=1, groups=2, bank=bank, ready=0.7
    )
    expected = [
        (y[i][0] + x[j][0] + c, y[i][1] + x[j][1], y[i][2], x[j][2], place, negative)
        for c, i, j in np.ndindex(2, 7, 5)
        for place, negative in signed_digits(int(pixels[(c * 7 + i) * 5 + j]))
    ]
    assert events == [*expected, None]


def test_every_pixel_value_is_the_sum_of_its_digits():
    shape = replace(SHAPE, frame_words=256, axis_words=32, taps=1)
    line = [(0, 0, 1)] * 16
    events, _ = run_source(
        shape,
        frame=True,
        words=range(256),
        y=line,
        x=[(0, n, 1) for n in range(16)],
        steps=1,
        groups=1,
    )
    assert len(events) - 1 == sum(len(signed_digits(v)) for v in range(256))
    values, word, previous = [0] * 256, 0, (-1, -1)
    for _, column, _, _, place, negative in events[:-1]:
        # A pixel's digits come lowest first: a new word begins where the order starts again.
        while word % 16 != column or (previous[0] == column and place <= previous[1]):
            word += 1
            previous = (-1, -1)
        previous = (column, place)
        values[word] += -(1 << place) if negative else 1 << place
    assert [v for v in values if v] == [v for v in range(256) if v]


def test_throughput_is_one_event_a_clock():
    y, x = axes(4, 7, 5, 3, 1, 1, 1)
    _, clocks = run_source(SHAPE, frame=False, words=[15] * 140, y=y, x=x, steps=4, groups=1)
    assert clocks == list(range(clocks[0], clocks[0] + 4 * 140 + 4))
    # From start: walker, memory, register, adder, queue (2), emitter (2).
    assert clocks[0] == 7
    _, clocks = run_source(SHAPE, frame=False, words=[2] * 140, y=y, x=x, steps=4, groups=1)
    assert clocks == list(range(clocks[0], clocks[0] + 140 + 4))


def test_silence_sends_tokens_alone():
    y, x = axes(4, 7, 5, 3, 1, 1, 1)
    events, _ = run_source(SHAPE, frame=False, words=[0] * 140, y=y, x=x, steps=4, groups=1)
    assert events == [None] * 4
    assert run_source(SHAPE, frame=False, words=[15] * 9, y=y, x=x, steps=4, groups=0)[0] == []
