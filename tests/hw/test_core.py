"""One core against a plain model: random blocks of events, signs, exponents, ties, hazards."""

import random
from dataclasses import replace

import pytest
from amaranth.sim import Simulator

from spikewright.hw.core import Core
from spikewright.machine.hardware import Activity, Region, memory_id
from spikewright.machine.instructions import Mode, Register
from tests.support.shapes import small_shape

LANES = 2
SHAPE = small_shape(
    lanes=LANES,
    steps=5,
    input_steps=5,
    pixel_bits=4,
    membrane_bits=12,
    compare_bits=13,
    current_bits=11,
    shift_max=4,
    modes=Mode.FIRES | Mode.HOLDS,
    frame_words=4,
    program_words=4,
    axis_words=4,
    weight_words=40,
    parameter_words=9,
    membrane_words=24,
    current_words=24,
    spike_words=5 * 24,
)
# Layer geometry: 2 groups of 4x3 outputs, a 3x3 kernel on 2 channels.
GROUPS, HEIGHT, WIDTH, CHANNELS, KERNEL = 2, 4, 3, 2, 3
WORDS, PER_GROUP = HEIGHT * WIDTH, KERNEL * KERNEL * CHANNELS


def run_core(weights, parameters, steps, *, fire=1, direct=0, shift=0, ready=1.0, gaps=0.0, seed=0):
    """Run one layer; `steps` are lists of events (dicts), each list followed by a token.

    `weights[word][lane]`; `parameters[group]` are (initial, bias, threshold) per lane. Returns the
    trace records (step, word, spikes, membranes) and the core's activity in every clock.
    """
    dut = Core(SHAPE, 0, trace=True)
    rng = random.Random(seed)
    records, activity = [], []
    count = SHAPE.steps

    def pack(values, bits):
        return sum((value & (1 << bits) - 1) << bits * i for i, value in enumerate(values))

    async def load(ctx, memory, address, word):
        ctx.set(dut.load.memory, memory)
        ctx.set(dut.load.address, address)
        ctx.set(dut.load.data, word)
        ctx.set(dut.load.valid, 1)
        await ctx.tick()
        ctx.set(dut.load.valid, 0)

    async def host(ctx):
        for address, row in enumerate(weights):
            await load(ctx, memory_id(Region.WEIGHT), address, pack(row, SHAPE.weight_bits))
        initial = [group[0] for group in parameters]
        scan = [row for group in parameters for row in group[1:]]
        for i, row in enumerate((*initial, *scan)):
            word = pack(row, SHAPE.compare_bits)
            await load(ctx, memory_id(Region.PARAMETER), i, word)
        settings = {
            "steps": count, "groups": GROUPS, "words": WORDS, "fire": (0, 1, 3)[fire], "tokens": 1,
            "current": direct, "outputs": WORDS, "window": 1, "input_steps": count, "passes": 1,
            "final": 0, "final_passes": 0, "limit": 0, "shift": shift, "weight_base": 2,
            "weight_column": CHANNELS,
            "weight_row": KERNEL * CHANNELS, "weight_group": PER_GROUP, "word_row": WIDTH,
            "parameter_base": 0, "spike_base": 0, "source_groups": 0, "layer": 3,
        }  # fmt: skip
        for name, value in settings.items():
            ctx.set(dut.setting.register, Register[name.upper()])
            ctx.set(dut.setting.value, value)
            ctx.set(dut.setting.valid, 1)
            await ctx.tick()
        ctx.set(dut.setting.valid, 0)
        ctx.set(dut.start, 1)
        await ctx.tick()
        ctx.set(dut.start, 0)
        for step in steps:
            for event in [*step, {"token": 1}]:
                while rng.random() < gaps:
                    await ctx.tick()
                ctx.set(dut.i.payload, event)
                ctx.set(dut.i.valid, 1)
                taken = 0
                while not taken:
                    _, _, taken = await ctx.tick().sample(dut.i.ready)
                ctx.set(dut.i.valid, 0)

    async def monitor(ctx):
        fields = SHAPE.trace_fields
        expected = count * GROUPS * WORDS
        for _ in range(40_000):
            ctx.set(dut.trace.ready, rng.random() < ready)
            _, _, valid, taken, record, act, busy = await ctx.tick().sample(
                dut.trace.valid, dut.trace.ready, dut.trace.payload, dut.activity, dut.busy
            )
            if busy:
                activity.append(Activity(act))
            if valid and taken:
                values = {}
                for name, width in fields.items():
                    values[name] = record & (1 << width) - 1
                    record >>= width
                assert (values["core"], values["layer"]) == (0, 3)
                bits = SHAPE.membrane_bits
                membranes = [
                    values["membranes"] >> bits * k & (1 << bits) - 1 for k in range(LANES)
                ]
                membranes = [v - (v >> bits - 1 << bits) for v in membranes]
                spikes = [values["spikes"] >> k & 1 for k in range(LANES)]
                records.append((values["step"], values["word"], spikes, membranes))
            if len(records) == expected and not busy:
                return
        pytest.fail(f"{len(records)} of {expected} scan results came")

    sim = Simulator(dut)
    sim.add_clock(1e-6)
    sim.add_testbench(host)
    sim.add_testbench(monitor)
    sim.run()
    return records, activity


def model(weights, parameters, steps, *, fire=1, direct=0, shift=0):
    """The same layer in plain integers."""
    words = range(GROUPS * WORDS)
    potential = {(w, k): parameters[w // WORDS][0][k] for w in words for k in range(LANES)}
    current = dict.fromkeys(potential, 0)
    records = []
    for step in range(1, SHAPE.steps + 1):
        target = current if direct else potential
        for event in [] if direct and step > 1 else steps[step - 1]:
            for g in range(GROUPS):
                for row in range(event["rows"]):
                    for col in range(event["cols"]):
                        word = g * WORDS + event["word"] - row * WIDTH - col
                        tap = event["weight"] + row * KERNEL * CHANNELS + col * CHANNELS
                        for k in range(LANES):
                            value = weights[2 + g * PER_GROUP + tap][k] << event["shift"] + shift
                            target[word, k] += -value if event["negative"] else value
        for w in words:
            spikes, membranes = [], []
            for k in range(LANES):
                _, bias, threshold = (values[k] for values in parameters[w // WORDS])
                u = potential[w, k] + current[w, k] + bias
                spike = (u >= threshold and fire == 1) or (u > threshold and fire == 2)
                potential[w, k] = u - threshold if spike else u
                spikes.append(int(spike))
                membranes.append(potential[w, k])
            records.append((step, w, spikes, membranes))
    return records


def draw(rng, *, events, exponents=(0, 1)):
    weights = [[rng.randint(-7, 7) for _ in range(LANES)] for _ in range(2 + 2 * PER_GROUP)]
    parameters = [
        tuple([rng.randint(lo, hi) for _ in range(LANES)] for lo, hi in ((0, 9), (-3, 6), (2, 12)))
        for _ in range(GROUPS)
    ]
    steps = []
    for _ in range(SHAPE.steps):
        step = []
        for _ in range(rng.randint(0, events)):
            rows, cols = rng.randint(1, KERNEL), rng.randint(1, KERNEL)
            y, x = rng.randint(rows - 1, HEIGHT - 1), rng.randint(cols - 1, WIDTH - 1)
            tap = rng.randint(0, KERNEL - rows) * KERNEL + rng.randint(0, KERNEL - cols)
            step.append(
                {
                    "weight": tap * CHANNELS + rng.randrange(CHANNELS),
                    "word": y * WIDTH + x,
                    "rows": rows,
                    "cols": cols,
                    "shift": rng.choice(exponents),
                    "negative": rng.randint(0, 1),
                }
            )
        steps.append(step)
    return weights, parameters, steps


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("fire", [0, 1, 2])
@pytest.mark.parametrize(("ready", "gaps"), [(1.0, 0.0), (0.2, 0.5)])
def test_every_scan_equals_the_model(seed, fire, ready, gaps):
    rng = random.Random(seed)
    layer = draw(rng, events=12)
    shift = rng.randint(0, 2)
    records, _ = run_core(*layer, fire=fire, shift=shift, ready=ready, gaps=gaps, seed=seed)
    expected = model(*layer, fire=fire, shift=shift)
    assert records == expected
    if fire:
        rate = sum(sum(r[2]) for r in expected) / (len(expected) * LANES)
        assert 0.02 < rate < 0.98


@pytest.mark.parametrize("seed", range(4))
def test_the_frame_goes_into_the_second_accumulator(seed):
    weights, parameters, steps = draw(random.Random(seed), events=8, exponents=(0, 1, 2))
    layer = (weights, parameters, steps[:1])
    assert run_core(*layer, direct=1, seed=seed)[0] == model(*layer, direct=1)


def test_a_tie_fires_only_where_the_register_says_so():
    weights = [[0, 0]] * (2 + 2 * PER_GROUP)
    parameters = [([0, 3], [4, 5], [4, 8]), ([0, 0], [3, 0], [4, 1])]
    steps = [[] for _ in range(SHAPE.steps)]
    fired = {fire: run_core(weights, parameters, steps, fire=fire)[0][0][2] for fire in (0, 1, 2)}
    assert fired == {0: [0, 0], 1: [1, 1], 2: [0, 0]}


def test_throughput_and_interlock():
    """A word operation every clock; the same word again after six."""
    weights, parameters, _ = draw(random.Random(0), events=0)
    block = {"weight": 0, "word": 2 * WIDTH + 2, "rows": 3, "cols": 3, "shift": 0, "negative": 0}
    steps = [[block] * 8] + [[] for _ in range(SHAPE.steps - 1)]
    _, activity = run_core(weights, parameters, steps)
    first = activity.index(Activity.INTEGRATE)
    busy = [Activity.INTEGRATE] * (8 * GROUPS * 9)
    assert activity[first : first + len(busy)] == busy
    assert activity.count(Activity.SCAN) == SHAPE.steps * GROUPS * WORDS
    assert activity.count(Activity.INITIALISE) == GROUPS * WORDS

    single = block | {"rows": 1, "cols": 1}
    steps = [[single] * 9] + [[] for _ in range(SHAPE.steps - 1)]
    _, activity = run_core(weights, parameters, steps)
    places = [i for i, act in enumerate(activity) if act is Activity.INTEGRATE]
    # Two groups take two clocks, then the first word is met again.
    assert [b - a for a, b in zip(places[::2], places[2::2], strict=False)] == [6] * 8
    assert set(activity[places[0] + 2 : places[2]]) == {Activity.STALLED}


def test_shape_is_validated():
    with pytest.raises(Exception, match="3 lanes; use a power of two up to 64"):
        replace(SHAPE, lanes=3)
