"""The host port against a host and a machine in Python."""

import random
import struct
import zlib

import pytest

from spikewright.machine.link import (
    ANSWER_CLOCKS,
    MAX_MESSAGE,
    VERSION,
    Command,
    Hello,
    Kind,
    Reply,
    Status,
    depth,
    digest,
    frame_requests,
    parse_hello,
    request,
    row_words,
    slip,
    write_requests,
)
from tests.hw.link.bench import MACHINE, Bench

OK, BUSY = Status.OK, Status.BUSY
WEIGHT = row_words(MACHINE, Kind.WEIGHTS)


def hello(runs=0, dropped=0):
    return Hello(VERSION, runs, dropped, digest(MACHINE))


def rows_of(kind, count, seed=0):
    rng = random.Random(seed)
    return [rng.getrandbits(36 * row_words(MACHINE, kind)) for _ in range(count)]


def words_of(kind, core, index, rows):
    words = row_words(MACHINE, kind)
    return [
        (kind, core, index + n, int(part == words - 1), row >> 36 * part & (1 << 36) - 1)
        for n, row in enumerate(rows)
        for part in range(words)
    ]


def frame_of(seed, count=20, low=0):
    rng = random.Random(seed)
    return [rng.getrandbits(36 - low) << low for _ in range(count)]


async def write_frame(bench, words, index=0):
    for message in frame_requests(words, index):
        assert (await bench.ask(message)).status is OK


def run(tag):
    return request(Command.RUN, tag)


@pytest.mark.parametrize("stall", [0.0, 0.8])
def test_hello(stall):
    async def script(bench):
        reply = await bench.ask(request(Command.HELLO, 0xC0))
        assert (reply.command, reply.tag, reply.status) == (Command.HELLO, 0xC0, OK)
        assert parse_hello(reply.payload) == hello()

    Bench(script, stall=stall)


@pytest.mark.parametrize("stall", [0.0, 0.4])
def test_loads_every_memory(stall):
    images = {kind: rows_of(kind, min(30, depth(MACHINE, kind)), kind) for kind in Kind}
    cores = dict.fromkeys(Kind, 63) | {Kind.WEIGHTS: 1, Kind.PARAMETERS: 0}

    async def script(bench):
        for kind, rows in images.items():
            for message in write_requests(MACHINE, kind, cores[kind], 0, rows, tag=kind):
                bench.send(message)
                assert (await bench.reply()).status is OK

    bench = Bench(script, stall=stall)
    assert bench.loaded == [
        word for kind, rows in images.items() for word in words_of(kind, cores[kind], 0, rows)
    ]
    assert (bench.starts, bench.aborts) == (0, 0)


def test_write_up_to_the_end_of_a_memory():
    rows = rows_of(Kind.WEIGHTS, 3)

    async def script(bench):
        for message in write_requests(MACHINE, Kind.WEIGHTS, 63, 61, rows):
            assert await bench.ask(message) == Reply(Command.WRITE, 0, OK, b"")

    assert Bench(script).loaded == words_of(Kind.WEIGHTS, 63, 61, rows)


def test_throughput_of_loading():
    """A byte a clock on the line: messages are executed while the next comes in."""
    messages = list(write_requests(MACHINE, Kind.PROGRAM, 63, 0, rows_of(Kind.PROGRAM, 240)))

    async def script(bench):
        for message in messages:
            bench.send(message)
        for _ in messages:
            assert (await bench.reply()).status is OK

    bench = Bench(script)
    line = sum(map(len, messages))
    assert bench.load_clocks[-1] < len(messages[0]) + line + 50 * len(messages)
    steps = [b - a for a, b in zip(bench.load_clocks, bench.load_clocks[1:], strict=False)]
    assert min(steps) == 5


def head(kind, core, index, words=b""):
    return struct.pack("<BBH", kind, core, index) + words


BAD_WRITES = [
    b"",
    bytes([Kind.PROGRAM]),
    head(Kind.PROGRAM, 63, 0)[:3],
    head(Kind.PROGRAM, 63, 0),  # no words
    head(Kind.PROGRAM, 63, 0, bytes(4)),
    head(Kind.PROGRAM, 63, 0, bytes(16)),
    head(Kind.WEIGHTS, 1, 0, bytes(5 * 3)),  # one row and a half
    head(8, 63, 0, bytes(5)),
    head(2, 63, 0, bytes(5)),
    head(0x13, 63, 0, bytes(5)),
    head(0x85, 63, 0, bytes(5)),
    head(Kind.PARAMETERS, 2, 0, bytes(5)),  # no such core
    head(Kind.PARAMETERS, 127, 0, bytes(5)),
    head(Kind.PROGRAM, 63, 300, bytes(5)),
    head(Kind.PROGRAM, 63, 299, bytes(10)),
    head(Kind.PROGRAM, 63, 0xFFFF, bytes(10)),
    head(Kind.PROGRAM, 63, 0x1000, bytes(10)),
    head(Kind.PROGRAM, 63, 0x100, bytes(5 * 45)),
    head(Kind.AXIS, 63, 0, bytes(5 * 21)),
    head(Kind.WEIGHTS, 0, 63, bytes(20)),
    head(Kind.OUTPUTS, 63, 1, bytes(5)),
]


def test_bad_writes():
    async def script(bench):
        good = request(Command.WRITE, 1, head(Kind.PROGRAM, 0, 1, b"\x01\x02\x03\x04\xf5"))
        for payload in BAD_WRITES:
            bad = request(Command.WRITE, 9, payload)
            assert await bench.ask(bad) == Reply(Command.WRITE, 9, Status.BAD_WRITE, b"")
            assert await bench.ask(good) == Reply(Command.WRITE, 1, OK, b"")

    assert Bench(script).loaded == [(Kind.PROGRAM, 0, 1, 1, 0x504030201)] * len(BAD_WRITES)


BAD_FRAMES = [
    b"",
    head(5, 0, 0)[:3],
    head(5, 0, 0),
    head(5, 0, 0, bytes(9)),
    head(2, 0, 0, bytes(3)),
    head(0, 0, 0, bytes(8)),
    head(6, 0, 0, bytes(6)),
    head(9, 0, 0, bytes(9)),
    head(0x81, 0, 0, bytes(9)),
]


def test_bad_frames():
    async def script(bench):
        for number, payload in enumerate(BAD_FRAMES):
            bad = request(Command.FRAME, 9, payload)
            assert await bench.ask(bad) == Reply(Command.FRAME, 9, Status.BAD_WRITE, b"")
            await write_frame(bench, [1 << 35], number)
        await bench.wait(100)
        assert bench.next_frame == dict.fromkeys(range(len(BAD_FRAMES)), 1 << 35)

    Bench(script)


def test_unknown_commands():
    async def script(bench):
        for command in (0, 6, 0x81, 0xC0, 0xFF):
            for payload in (b"", b"some payload"):
                message = bytes([command, 7]) + payload
                message += struct.pack("<I", zlib.crc32(message))
                bad = Reply(command & 0x7F, 7, Status.BAD_COMMAND, b"")
                assert await bench.ask(slip(message)) == bad

    Bench(script)


@pytest.mark.parametrize("stall", [0.0, 0.3])
def test_frames(stall):
    """Every number of bytes a word; the words come out with their addresses."""
    frames = [frame_of(low, 12, low) for low in (0, 4, 5, 12, 20, 28, 35)]

    async def script(bench):
        for tag, words in enumerate(frames):
            await write_frame(bench, words, 0xFFF0)
            assert (bench.starts, bench.aborts) == (1, 0)
            bench.send(run(tag))
            answer = await bench.answer()
            assert (answer.tag, answer.label, answer.outputs) == (tag, tag * 0x101, ())

    assert Bench(script, stall=stall).frames == [
        {0xFFF0 + n & 0xFFFF: word for n, word in enumerate(words)} for words in frames
    ]


@pytest.mark.parametrize(("low", "clocks"), [(0, 10), (28, 4)])
def test_throughput_of_frames(low, clocks):
    words = [1 << low | 1 << 35] * 100

    async def script(bench):
        await write_frame(bench, words)
        bench.send(run(0))
        await bench.until(lambda: bench.frames)
        size = 5 if low == 0 else 1
        assert bench.clock < 2 * (100 * size + 30) + 100 * max(0, clocks - size)

    Bench(script)


@pytest.mark.parametrize(
    ("outputs", "stall"), [(0, 0), (1, 0), (3, 0.5), (15, 0), (16, 0), (17, 0.5), (32, 0), (64, 0)]
)
def test_runs_one_after_the_other(outputs, stall):
    frames = [frame_of(seed, 3) for seed in range(2)]

    async def script(bench):
        for number, frame in enumerate(frames):
            await write_frame(bench, frame)
            bench.send(run(number + 100))
            answer = await bench.answer()
            assert (answer.tag, answer.label) == (number + 100, number * 0x101)
            assert answer.clocks == 0xDBC0_0000 | bench.run_clocks
            assert answer.outputs == tuple(bench.readout(number, n) for n in range(outputs))

    bench = Bench(script, stall=stall, outputs=outputs)
    assert bench.frames == [dict(enumerate(frame)) for frame in frames]
    assert bench.starts == 1


def test_two_runs_and_what_is_refused():
    frames = [frame_of(seed, 10) for seed in range(2)]
    program = request(Command.WRITE, 3, head(Kind.PROGRAM, 63, 0, bytes(5)))
    frame = next(iter(frame_requests([1], tag=4)))

    async def script(bench):
        for outstanding, words in enumerate(frames, 1):
            await write_frame(bench, words)
            bench.send(run(outstanding))
            await bench.wait(40)
            reply = await bench.ask(request(Command.HELLO, 0))
            assert parse_hello(reply.payload) == hello(outstanding)
            assert await bench.ask(program) == Reply(Command.WRITE, 3, BUSY, b"")
            # A bad write is called bad whether or not a run is outstanding.
            bad = await bench.ask(request(Command.WRITE, 3, head(Kind.PROGRAM, 63, 0, bytes(6))))
            assert bad == Reply(Command.WRITE, 3, Status.BAD_WRITE, b"")
        assert await bench.ask(frame) == Reply(Command.FRAME, 4, BUSY, b"")
        assert await bench.ask(run(9)) == Reply(Command.RUN, 9, BUSY, b"")
        for tag in (1, 2):
            assert (await bench.answer()).tag == tag
        assert bench.aborts == 0
        assert (await bench.ask(program)).status is OK
        assert (bench.starts, bench.aborts) == (1, 1)  # WRITE stops the program
        await write_frame(bench, frames[0])
        bench.send(run(5))
        assert (await bench.answer()).tag == 5
        assert bench.starts == 2

    bench = Bench(script, run_clocks=1500)
    assert bench.frames == [dict(enumerate(frames[n])) for n in (0, 1, 0)]
    assert len(bench.loaded) == 1


def test_the_next_image_begins_behind_the_answer():
    async def script(bench):
        for tag in (1, 2):
            await write_frame(bench, frame_of(tag, 4))
            bench.send(run(tag))
            await bench.wait(60)
        bench.host_reads = False
        await bench.wait(600)
        assert len(bench.frames) == 1
        bench.host_reads = True
        for tag in (1, 2):
            answer = await bench.answer()
            assert answer.tag == tag
            assert answer.outputs == tuple(bench.readout(tag - 1, n) for n in range(20))

    Bench(script, outputs=20, run_clocks=300)


def test_frames_wait_in_the_buffer():
    """What does not fit is refused, nothing is lost."""
    words = frame_of(1, 410)
    messages = list(frame_requests(words))

    async def script(bench):
        bench.takes = False
        statuses = [(await bench.ask(message)).status for message in messages]
        assert statuses == [OK, OK, BUSY]
        bench.takes = True
        await bench.wait(1500)
        while (await bench.ask(messages[-1])).status is BUSY:
            pass
        bench.send(run(1))
        await bench.answer()

    assert Bench(script).frames == [dict(enumerate(words))]


def test_other_replies_do_not_split_a_part():
    async def script(bench):
        await write_frame(bench, frame_of(1))
        bench.send(run(1) + request(Command.HELLO, 2) * 40)
        answer = await bench.answer()
        assert answer.outputs == tuple(bench.readout(0, n) for n in range(40))

    Bench(script, outputs=40, stall=0.1)


@pytest.mark.parametrize("begun", [0, 1, 2])
def test_abort(begun):
    async def script(bench):
        for tag in range(begun):
            await write_frame(bench, frame_of(tag))
            bench.send(run(tag))
            await bench.wait(40)
        await write_frame(bench, frame_of(9)) if begun < 2 else None
        assert await bench.ask(request(Command.ABORT, 5)) == Reply(Command.ABORT, 5, OK, b"")
        assert parse_hello((await bench.ask(request(Command.HELLO, 6))).payload) == hello()
        await bench.wait(700)
        assert bench.answers == []
        bench.run_clocks = 20
        for tag in range(3):
            await write_frame(bench, frame_of(tag))
            bench.send(run(tag))
            assert (await bench.answer()).tag == tag

    bench = Bench(script, run_clocks=900, outputs=3)
    assert bench.aborts == 1
    assert bench.frames[-3:] == [dict(enumerate(frame_of(tag))) for tag in range(3)]


@pytest.mark.parametrize("run_clocks", range(1, 120, 17))
def test_abort_at_any_time(run_clocks):
    """An answer is either complete and before the reply to ABORT, or never is."""

    async def script(bench):
        await write_frame(bench, frame_of(4, 3))
        bench.send(run(1) + request(Command.ABORT, 2))
        await bench.reply()
        expected = bench.readout
        if bench.answers:
            answer = bench.answers.pop()
            assert answer.label == 0
            assert answer.outputs == tuple(expected(0, n) for n in range(20))
        await write_frame(bench, frame_of(5, 3))
        bench.send(run(3))
        answer = await bench.answer()
        assert answer.tag == 3
        image = answer.label // 0x101
        assert answer.outputs == tuple(expected(image, n) for n in range(20))

    Bench(script, run_clocks=run_clocks, outputs=20)


@pytest.mark.parametrize("seed", range(2))
def test_damaged_messages_have_no_effect(seed):
    """A wrong bit anywhere between the ENDs; also cut messages, garbage, empty frames."""
    rng = random.Random(seed)
    good = request(Command.WRITE, 1, head(Kind.PROGRAM, 63, 2, b"\x11\x22\x33\x44\x05"))
    damaged = []
    for _ in range(12):
        broken = bytearray(good)
        broken[rng.randrange(1, len(good) - 1)] ^= 1 << rng.randrange(8)
        damaged.append(bytes(broken))
        damaged.append(good[: rng.randrange(2, len(good) - 1)] + good[:1])
        damaged.append(bytes(rng.getrandbits(8) & 0x3F for _ in range(30)) + b"\xc0\xc0\xc0")
    rng.shuffle(damaged)

    async def script(bench):
        for message in damaged:
            bench.send(message)
        reply = await bench.ask(request(Command.HELLO, 1))
        # A bit error that makes an END or joins two frames changes the count a little.
        assert 36 <= parse_hello(reply.payload).dropped <= 45
        assert (await bench.ask(good)).status is OK

    bench = Bench(script, stall=0.1, seed=seed)
    assert bench.loaded == [(Kind.PROGRAM, 63, 2, 1, 0x544332211)]


def test_messages_too_long_or_short():
    async def script(bench):
        dropped = 0
        for size in (
            *range(1, 7),
            MAX_MESSAGE,
            MAX_MESSAGE + 1,
            2 * MAX_MESSAGE + 9,
        ):
            body = (bytes([Command.HELLO, 2]) + bytes(MAX_MESSAGE * 3))[: max(0, size - 4)]
            message = (body + struct.pack("<I", zlib.crc32(body)))[:size]
            bench.send(slip(message) + request(Command.HELLO, 3))
            if 6 <= size <= MAX_MESSAGE:
                assert (await bench.reply()).tag == 2
            else:
                dropped += 1
            reply = await bench.reply()
            assert (reply.tag, parse_hello(reply.payload)) == (3, hello(dropped=dropped))

    Bench(script)


def test_dropped_count_saturates():
    async def script(bench):
        reply = await bench.ask(b"xyz\xc0" * 260 + request(Command.HELLO, 3))
        assert parse_hello(reply.payload) == hello(dropped=255)

    Bench(script)


@pytest.mark.parametrize("cut", [1, 12, 30, 60, 70])
def test_reset_in_the_middle(cut):
    frame = frame_of(5, 8)
    messages = b"".join(frame_requests(frame)) + run(1)

    async def script(bench):
        bench.send(messages[:cut])
        await bench.until(lambda: not bench.to_send)
        await bench.pulse_reset()
        bench.running, bench.replies[:] = False, []
        bench.decoder.__init__()
        await write_frame(bench, frame)
        assert parse_hello((await bench.ask(request(Command.HELLO, 1))).payload) == hello()
        bench.send(run(2))
        assert (await bench.answer()).tag == 2

    assert Bench(script).frames[-1] == dict(enumerate(frame))


@pytest.mark.parametrize("lies", [False, True])
@pytest.mark.parametrize("seed", range(1))
def test_bound_beside_hostile_neighbours(seed, lies):
    """A machine that never answers, or says anything at any time: HELLO and ABORT are in time."""
    rng = random.Random(seed)
    longest = request(Command.FRAME, 0, head(1, 0, 0, bytes([0xC0]) * 1014))
    program = request(Command.WRITE, 0, head(Kind.PROGRAM, 63, 0, bytes(5 * 202)))
    others = [longest, longest, program, run(1), request(9, 0, bytes(1016)), b"\xc0\x00\xc0"]
    late = []

    async def script(bench):
        for _ in range(3):
            bench.send(b"".join(rng.sample(others, 3)))
            command = rng.choice([Command.HELLO, Command.ABORT])
            bench.send(request(command, 77))
            await bench.until(lambda: not bench.to_send)
            since = bench.clock
            while (await bench.reply()).tag != 77:
                pass
            late.append(bench.reply_clocks[-1][1] - since)
            await bench.wait(rng.randrange(300))

    def no_parts(reply):
        return None

    async def tolerant(bench):
        bench.lies = lies
        bench.joiner.feed = no_parts  # what a lying machine makes of answers is its own affair
        await script(bench)

    Bench(tolerant, takes=False, outputs=40, seed=seed)
    assert len(late) == 3
    assert max(late) <= ANSWER_CLOCKS
