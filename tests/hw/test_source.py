"""Sources: the events of frames and of spike words, against plain models and the axis tables."""

import random
from dataclasses import dataclass, replace

import numpy as np
import pytest
from amaranth.sim import Simulator

from spikewright.hw.source import Source
from spikewright.machine.axes import axis_table
from spikewright.machine.hardware import Region, memory_id
from spikewright.machine.instructions import Register
from tests.support.shapes import small_shape

SHAPE = small_shape(
    lanes=4,
    shift_max=8,
    frame_words=2 * 7 * 5,
    program_words=8,
    axis_words=12,
    weight_words=200,
    parameter_words=3,
    membrane_words=64,
    current_words=64,
    spike_words=4 * 2 * 7 * 5,
)


@dataclass
class Walk:
    """What the registers say of a source, and what lies in its memory from `base` on.

    `y` and `x` are axis tables of (weight, word, count) entries.
    """

    words: object
    y: list
    x: list
    steps: int = 1
    groups: int = 1
    channel: int = 0
    base: int = 0
    bank: int = 0
    planes: int = 1
    final: int = 1
    repeats: int = 0


async def prepare(ctx, dut, shape, walk):
    """Fill the tables and the memory, set the registers."""
    widths = list(shape.axis_fields.values())
    ctx.set(dut.load.valid, 1)
    ctx.set(dut.load.memory, memory_id(Region.AXIS))
    for index, (weight, word, count) in enumerate([*walk.y, *walk.x]):
        ctx.set(dut.load.address, index)
        ctx.set(dut.load.data, weight | word << widths[0] | count << widths[0] + widths[1])
        await ctx.tick()
    ctx.set(dut.load.valid, 0)
    ctx.set(dut.write.enable, 1)
    for index, value in enumerate(walk.words):
        ctx.set(dut.write.address, shape.frame_words * walk.bank + walk.base + index)
        ctx.set(dut.write.data, int(value))
        await ctx.tick()
    ctx.set(dut.write.enable, 0)
    ctx.set(dut.setting.valid, 1)
    for register, value in {
        Register.STEPS: walk.steps,
        Register.SOURCE_GROUPS: walk.groups,
        Register.SOURCE_CHANNEL: walk.channel,
        Register.SOURCE_HEIGHT: len(walk.y),
        Register.SOURCE_WIDTH: len(walk.x),
        Register.SOURCE_BASE: walk.base,
        Register.AXIS_Y: 0,
        Register.AXIS_X: len(walk.y),
        Register.SOURCE_PLANES: walk.planes,
        Register.SOURCE_FINAL: walk.final,
        Register.SOURCE_REPEATS: walk.repeats,
    }.items():
        ctx.set(dut.setting.register, register)
        ctx.set(dut.setting.value, value)
        await ctx.tick()
    ctx.set(dut.setting.valid, 0)


def run_source(shape, *walks, frame=False, ready=1.0, seed=0):
    """Do `walks`, one after the other.

    Returns the events, as tuples, and tokens (None) of all of them, and the clock of each transfer,
    counted from the start of its walk.
    """
    dut = Source(shape, frame=frame)
    rng = random.Random(seed)
    events, clocks = [], []

    async def bench(ctx):
        for walk in walks:
            await prepare(ctx, dut, shape, walk)
            ctx.set(dut.bank, walk.bank)
            ctx.set(dut.start, 1)
            await ctx.tick()
            ctx.set(dut.start, 0)
            tokens = 0
            for clock in range(100_000):
                if tokens == walk.steps or not walk.groups:
                    break
                ctx.set(dut.o.ready, rng.random() < ready)
                _, _, valid, taken, event = await ctx.tick().sample(
                    dut.o.valid, dut.o.ready, dut.o.payload
                )
                if valid and taken:
                    clocks.append(clock)
                    tokens += event.token
                    names = ("weight", "word", "rows", "cols", "shift", "negative")
                    events.append(None if event.token else tuple(event[name] for name in names))
            else:
                pytest.fail(f"only {tokens} of {walk.steps} tokens came")
            for _ in range(30):
                _, _, valid, busy = await ctx.tick().sample(dut.o.valid, dut.busy)
                assert not valid
            assert not busy

    sim = Simulator(dut)
    sim.add_clock(1e-6)
    sim.add_testbench(bench)
    sim.run()
    return events, clocks


def landing(walk, steps):
    """The events and tokens of `steps`, lists of (group, y, x, channel, exponent, negative)."""
    result = []
    for step in steps:
        for y, x, channel, exponent, negative in step:
            (weight, word, rows), (weight_x, word_x, cols) = walk.y[y], walk.x[x]
            if rows and cols:
                weight += weight_x + walk.channel + channel
                result.append((weight, word + word_x, rows, cols, exponent, int(negative)))
        result.append(None)
    return result


def axes(channels, height, width, kernel=3, stride=1, padding=1, pool=1):
    """Axis tables as the layout packs them, for a square kernel."""
    tables = []
    for size, tap, rows in ((height, kernel * channels, True), (width, channels, False)):
        outputs = (size // pool + 2 * padding - kernel) // stride + 1
        entries = axis_table(size, pool, kernel, stride, padding, outputs)
        pitch = (width // pool + 2 * padding - kernel) // stride + 1 if rows else 1
        tables.append([(e.tap * tap, e.output * pitch, e.count) for e in entries])
    return tables


def line(words):
    """Axis tables of one row of `words`, each of which lands on its own."""
    return [(0, 0, 1)], [(0, word, 1) for word in range(words)]


GEOMETRIES = [(3, 1, 1, 1), (3, 2, 1, 1), (2, 1, 0, 2), (3, 3, 0, 1), (1, 1, 0, 3)]


# ---------------------------------------------------------------------------------- spikes of cores


def spike_words(spikes, lanes, bits=1):
    """One word for each of the last axis of `spikes`, `bits` bits a lane, lane 0 lowest."""
    return [
        sum(int(value) << bits * lane for lane, value in enumerate(word))
        for word in spikes.reshape(-1, lanes)
    ]


@pytest.mark.parametrize("geometry", GEOMETRIES)
@pytest.mark.parametrize("ready", [1.0, 0.4])
def test_spikes_become_events_where_their_taps_land(geometry, ready):
    rng = np.random.default_rng(3)
    spikes = rng.random((3, 2, 7, 5, 4)) < rng.choice([0.05, 0.5, 1.0])
    y, x = axes(8, 7, 5, *geometry)
    walk = Walk(spike_words(spikes, 4), y, x, steps=3, groups=2, channel=4, base=9)
    shape = replace(SHAPE, taps=max(e[2] for e in y + x))
    events, _ = run_source(shape, walk, ready=ready)
    assert events == landing(
        walk,
        [[(i, j, 4 * g + lane, 0, 0) for g, i, j, lane in np.argwhere(step)] for step in spikes],
    )


def planes_walk(rng, shape, *, planes, final, steps, groups=2, height=3, width=4):
    """A walk over random signed digits, and what it must send."""
    y, x = axes(groups * shape.lanes, height, width)
    words, expected = [], []
    for step in range(1, steps + 1):
        events = []
        for digit in reversed(range(final if step == steps else planes)):
            density = rng.choice([0.0, 0.1, 0.6, 1.0])
            spikes = rng.random((groups, height, width, shape.lanes)) < density
            # Signs of lanes that do not spike mean nothing.
            signs = (rng.random(spikes.shape) < 0.5) & shape.signed
            words += spike_words(np.concatenate([spikes, signs], -1), 2 * shape.lanes)
            events += [
                (i, j, shape.lanes * g + lane, digit, signs[g, i, j, lane])
                for g, i, j, lane in np.argwhere(spikes)
            ]
        expected.append(events)
    walk = Walk(words, y, x, steps, groups, planes=planes, final=final, base=int(rng.integers(20)))
    return walk, landing(walk, expected)


@pytest.mark.parametrize("lanes", [1, 2, 8])
@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("digits", [1, 2, 3, 5])
def test_planes_bring_exponents_and_signs(lanes, signed, digits):
    shape = replace(
        SHAPE, lanes=lanes, signed=signed, digits=digits, spike_words=20 + 4 * digits * 24
    )
    rng = np.random.default_rng(digits)
    cases = [
        planes_walk(rng, shape, planes=planes, final=final, steps=steps)
        for planes, final, steps in [
            (digits, digits, 4),
            (1, digits, 3),
            (digits, 1, 3),
            (1, digits, 1),
        ]
    ]
    events, _ = run_source(shape, *(walk for walk, _ in cases), ready=0.8)
    assert events == [event for _, expected in cases for event in expected]


def pair_walk(rng, shape, *, steps, groups=2, height=3, width=4):
    """A walk over random numbers 0..T-1, the bounds among them, and what it must send."""
    y, x = axes(groups * shape.lanes, height, width)
    numbers = rng.integers(0, shape.input_steps, (groups, height, width, shape.lanes))
    bounds = rng.random(numbers.shape)
    numbers[bounds < 0.2] = 0
    numbers[bounds > 0.8] = shape.input_steps - 1
    expected = []
    for step in range(1, steps + 1):
        on = step == 1
        hit = (numbers >= 1) if on else (numbers == step - 1)
        expected.append(
            [(i, j, shape.lanes * g + lane, 0, not on) for g, i, j, lane in np.argwhere(hit)]
        )
    walk = Walk(spike_words(numbers, shape.lanes, shape.count_bits), y, x, steps, groups, repeats=1)
    walk.base = int(rng.integers(20))
    return walk, landing(walk, expected)


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("lanes", [1, 4])
@pytest.mark.parametrize("window", [1, 2, 3, 4, 8, 9])
@pytest.mark.parametrize("final", [0, 1])
def test_numbers_become_pairs(signed, lanes, window, final):
    shape = replace(
        SHAPE,
        lanes=lanes,
        steps=window + final,
        input_steps=window,
        signed=signed,
        pairs=True,
        digits=2,
        count_bits=max(1, (window - 1).bit_length()),
        spike_words=20 + 24 * 6,
    )
    rng = np.random.default_rng(window)
    cases = [
        pair_walk(rng, shape, steps=window + final),
        planes_walk(rng, shape, planes=2, final=1, steps=min(3, shape.steps)),
        pair_walk(rng, shape, steps=window + final),
    ]
    events, _ = run_source(shape, *(walk for walk, _ in cases), ready=0.8)
    assert events == [event for _, expected in cases for event in expected]


# ------------------------------------------------------------------------------------------- frames


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


@pytest.mark.parametrize("bank", [0, 1])
def test_a_frame_becomes_its_signed_digits(bank):
    y, x = axes(2, 7, 5)
    pixels = np.random.default_rng(4).integers(0, 256, 70)
    pixels[:6] = [0, 255, 1, 128, 170, 85]
    walk = Walk(pixels, y, x, groups=2, bank=bank)
    events, _ = run_source(SHAPE, walk, frame=True, ready=0.7)
    step = [
        (i, j, c, place, negative)
        for c, i, j in np.ndindex(2, 7, 5)
        for place, negative in signed_digits(int(pixels[(c * 7 + i) * 5 + j]))
    ]
    assert events == landing(walk, [step])


@pytest.mark.parametrize("bits", range(1, 9))
def test_every_pixel_value_is_the_sum_of_its_digits(bits):
    size = 1 << bits
    shape = replace(
        SHAPE, pixel_bits=bits, frame_words=size, axis_words=size + 1, membrane_words=size
    )
    events, _ = run_source(shape, Walk(range(size), *line(size)), frame=True)
    values = [0] * size
    for _, word, _, _, place, negative in events[:-1]:
        values[word] += -(1 << place) if negative else 1 << place
    assert values == list(range(size))
    assert len(events) - 1 == sum(len(signed_digits(value)) for value in range(size))


def isi_spikes(pixels, maximum, steps):
    """Steps of spike n = 1..N are n * M // p."""
    times = [
        {n * maximum // p for n in range(1, steps * p // maximum + 1)} if p else set()
        for p in pixels
    ]
    return [[int(step in spikes) for spikes in times] for step in range(1, steps + 1)]


def tsc_spikes(pixels, maximum, steps):
    """+1 in step 1 and -1 in step n + 1, for n = p * (T - 1) // M of at least 1."""
    rows = [[0] * len(pixels) for _ in range(steps)]
    for index, p in enumerate(pixels):
        n = p * (steps - 1) // maximum
        if n:
            rows[0][index], rows[n][index] = 1, -1
    return rows


def bernoulli_spikes(pixels, maximum, steps, seed):
    """Marsaglia's xorshift, before each pixel; its high bits against the pixel."""
    rows = []
    for _ in range(steps):
        row = []
        for p in pixels:
            seed ^= seed << 13
            seed &= 2**32 - 1
            seed ^= seed >> 17
            seed ^= seed << 5
            seed &= 2**32 - 1
            row.append(int(seed >> 32 - maximum.bit_length() < p))
        rows.append(row)
    return rows


def coded(shape, pixels):
    """The values that the pixels send in each step with input."""
    maximum, steps = 2**shape.pixel_bits - 1, shape.input_steps
    pixels = [int(p) for p in pixels]
    if shape.code == "bernoulli":
        return bernoulli_spikes(pixels, maximum, steps, shape.seed)
    return {"isi": isi_spikes, "tsc": tsc_spikes}[shape.code](pixels, maximum, steps)


def code_shape(code, bits, steps, rests, words, axis):
    return replace(
        SHAPE,
        code=code,
        pixel_bits=bits,
        input_steps=steps,
        steps=steps + rests,
        seed=0x12345678 if code == "bernoulli" else 0,
        frame_words=words,
        axis_words=axis,
        membrane_words=max(words, 64),
        shift_max=0,
    )


STEPS = {1: 1, 2: 7, 3: 8, 4: 16, 5: 3, 6: 2, 7: 5, 8: 21}


@pytest.mark.parametrize("code", ["isi", "tsc", "bernoulli"])
@pytest.mark.parametrize("bits", range(1, 9))
@pytest.mark.parametrize("rests", [0, 2])
def test_every_pixel_value_is_coded(code, bits, rests):
    size = 1 << bits
    for steps in {1, 2, STEPS[bits], 4} if bits < 6 else {1, STEPS[bits]}:
        shape = code_shape(code, bits, steps, rests, size, size + 1)
        pixels = np.random.default_rng(steps).permutation(size)
        walk = Walk(pixels, *line(size), steps=steps + rests)
        events, _ = run_source(shape, walk, frame=True)
        rows = coded(shape, pixels) + [[0] * size] * rests
        expected = [[(0, i, 0, 0, v < 0) for i, v in enumerate(row) if v] for row in rows]
        assert events == landing(walk, expected)


@pytest.mark.parametrize("code", ["isi", "tsc", "bernoulli"])
def test_long_codes(code):
    """As many steps as ISI may have, and more than there are pixel values."""
    for bits, steps in ((3, 256), (1, 40), (8, 256)):
        shape = code_shape(code, bits, steps, 1, 8, 9)
        maximum = 2**bits - 1
        pixels = [0, 1, maximum, maximum // 2, maximum // 2 + 1, 5 % (maximum + 1), maximum - 1, 0]
        walk = Walk(pixels, *line(8), steps=steps + 1)
        events, _ = run_source(shape, walk, frame=True)
        rows = [*coded(shape, pixels), [0] * 8]
        expected = [[(0, i, 0, 0, v < 0) for i, v in enumerate(row) if v] for row in rows]
        assert events == landing(walk, expected)


@pytest.mark.parametrize("code", ["isi", "tsc", "bernoulli"])
@pytest.mark.parametrize("size", [(1, 1, 1), (1, 1, 2), (1, 2, 2), (2, 2, 1), (5, 1, 1), (2, 3, 4)])
@pytest.mark.parametrize("ready", [1.0, 0.4])
def test_codes_walk_both_banks_again_and_again(code, size, ready):
    """Frames so small that a step ends while its first words are still on their way."""
    channels, height, width = size
    words = channels * height * width
    shape = code_shape(code, 4, 6, 1, words, 12)
    rng = np.random.default_rng(words)
    y, x = axes(channels, height, width)
    walks, expected = [], []
    frames = [np.full(words, 15), rng.integers(0, 16, words), np.zeros(words, int)]
    for bank, pixels in zip((0, 1, 1, 0), [*frames, frames[1]], strict=True):
        walks.append(Walk(pixels, y, x, steps=7, groups=channels, bank=bank))
        rows = [*coded(shape, pixels), [0] * words]
        places = list(np.ndindex(channels, height, width))
        steps = [
            [(i, j, c, 0, v < 0) for (c, i, j), v in zip(places, row, strict=True) if v]
            for row in rows
        ]
        expected += landing(walks[-1], steps)
    assert run_source(shape, *walks, frame=True, ready=ready)[0] == expected


@pytest.mark.parametrize("rests", [0, 2])
@pytest.mark.parametrize("bits", [1, 3])
def test_raw_events_are_sent_as_they_lie(rests, bits):
    steps, size = 5, (2, 3, 4)
    shape = replace(code_shape("events", bits, steps, rests, steps * 24, 12), membrane_words=64)
    y, x = axes(2, 3, 4)
    walks, expected = [], []
    for bank in (0, 1):
        frame = np.random.default_rng(bank).integers(-2, 1 << bits, (steps, *size)).clip(0)
        walk = Walk(frame.reshape(-1), y, x, steps=steps + rests, groups=2, bank=bank)
        walks.append(walk)
        expected += landing(
            walk,
            [[(i, j, c, 0, 0) for c, i, j in np.argwhere(step)] for step in frame] + [[]] * rests,
        )
    assert run_source(shape, *walks, frame=True, ready=0.8)[0] == expected


# ---------------------------------------------------------------------------------------- its speed


def test_throughput_is_one_event_a_clock():
    y, x = axes(4, 7, 5)
    _, clocks = run_source(SHAPE, Walk([15] * 140, y, x, steps=4))
    assert clocks == list(range(clocks[0], clocks[0] + 4 * 140 + 4))
    # From start: walker, memory, register, adder, queue (2), emitter (2).
    assert clocks[0] == 7
    _, clocks = run_source(SHAPE, Walk([2] * 140, y, x, steps=4))
    assert clocks == list(range(clocks[0], clocks[0] + 140 + 4))


@pytest.mark.parametrize("code", ["isi", "tsc", "bernoulli"])
def test_codes_look_at_one_word_a_clock(code):
    size, steps = 40, 6
    shape = code_shape(code, 8, steps, 3, size, size + 1)
    _, clocks = run_source(shape, Walk([0] * size, *line(size), steps=steps + 3), frame=True)
    # ISI waits until the phases of a step are written.
    wait = 4 if code == "isi" else 0
    every, rest = size + wait, 1 + wait
    first = 7 + size - 1
    assert clocks == [first + every * k for k in range(steps)] + [
        first + every * (steps - 1) + rest * (k + 1) for k in range(3)
    ]


def test_words_without_events_cost_a_clock_for_each_plane():
    shape = replace(SHAPE, digits=3, signed=True, spike_words=3 * 3 * 12)
    y, x = axes(4, 3, 4)
    walk = Walk([0] * 108, y, x, steps=3, planes=3, final=2)
    _, clocks = run_source(shape, walk)
    assert clocks == [7 + 35, 7 + 71, 7 + 95]


def test_silence_sends_tokens_alone():
    y, x = axes(4, 7, 5)
    events, _ = run_source(SHAPE, Walk([0] * 140, y, x, steps=4))
    assert events == [None] * 4
    assert run_source(SHAPE, Walk([15] * 9, y, x, steps=4, groups=0))[0] == []
