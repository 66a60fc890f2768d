"""The host port against a host and an engine in Python."""

import random
import struct
import zlib
from collections import deque

import pytest
from amaranth.hdl import ResetInserter, Signal
from amaranth.sim import Simulator

from spikewright.hw.host import HostPort
from spikewright.machine.protocol import (
    MAX_MESSAGE,
    VERSION,
    Command,
    Decoder,
    Reply,
    Result,
    Status,
    parse_result,
    request,
    slip,
    write_requests,
)
from tests.support.shapes import small_shape

SHAPE = small_shape(
    cores=2,
    lanes=2,
    weight_bits=5,
    compare_bits=17,
    current_bits=18,
    shift_max=2,
    outputs=3,
    frame_words=12,
    program_words=40,
    axis_words=20,
    weight_words=300,
    parameter_words=9,
    membrane_words=16,
    current_words=16,
    spike_words=32,
)


class Bench:
    """Runs `script(bench)` against a HostPort and collects what it does.

    `memories` holds the words written, by memory id and address (the frame's by bank); `runs` the
    frames of the runs taken; `replies` and `dropped` what the host decoded. `stall` is the
    probability that a party skips a clock; the engine takes `run_clocks` for an image and
    `result_gap` from one result to the next.
    """

    def __init__(
        self,
        script,
        *,
        shape=SHAPE,
        stall=0.0,
        run_clocks=50,
        result_gap=0,
        seed=0,
        limit=100_000,
    ):
        self.shape = shape
        self.rng = random.Random(seed)
        self.stall = stall
        self.run_clocks = run_clocks
        self.result_gap = result_gap
        self.limit = limit
        self.memories = {}
        self.frames = [{}, {}]
        self.runs = []
        self.replies = []
        self.aborts = 0
        self.clock = 0
        self.load_clocks = []
        self.reply_clocks = []
        self.host_reads = True
        self._to_send = deque()
        self._decoder = Decoder()
        self.reset = Signal()
        self.dut = HostPort(shape)
        sim = Simulator(ResetInserter(self.reset)(self.dut))
        sim.add_clock(1e-6)
        for process in (self._send, self._receive, self._engine, self._count):
            sim.add_testbench(process, background=True)

        async def run_script(ctx):
            self._ctx = ctx
            await script(self)

        sim.add_testbench(run_script)
        sim.run()

    # ------------------------------------------------------------------ for scripts

    def send(self, data):
        self._to_send.extend(data)

    async def wait(self, clocks=1):
        for _ in range(clocks):
            await self._ctx.tick()

    async def until(self, condition):
        while not condition():
            await self.wait()

    async def reply(self):
        """The next reply."""
        await self.until(lambda: self.replies)
        return self.replies.pop(0)

    async def sent(self):
        await self.until(lambda: not self._to_send)

    async def pulse_reset(self):
        self._ctx.set(self.reset, 1)
        await self.wait()
        self._ctx.set(self.reset, 0)
        self._to_send.clear()

    def expected(self, frame):
        """What the engine answers for a frame (a tuple of words)."""
        potentials = tuple(
            (-1) ** i * sum((i + j + 1) * word for j, word in enumerate(frame)) * 7919
            for i in range(self.shape.outputs)
        )
        return Result(potentials, potentials.index(max(potentials)), self.run_clocks)

    # ------------------------------------------------------------------ the parties

    def _stalls(self):
        return self.rng.random() < self.stall

    async def _count(self, ctx):
        while True:
            await ctx.tick()
            self.clock += 1
            assert self.clock < self.limit, "the simulation does not end"

    async def _send(self, ctx):
        stream = self.dut.i
        while True:
            if not self._to_send or self._stalls():
                await ctx.tick()
                continue
            ctx.set(stream.payload, self._to_send[0])
            ctx.set(stream.valid, 1)
            ready = reset = 0
            while not ready and not reset:
                _, _, ready, reset = await ctx.tick().sample(stream.ready, self.reset)
            ctx.set(stream.valid, 0)
            if self._to_send:
                self._to_send.popleft()

    async def _receive(self, ctx):
        stream = self.dut.o
        held = None
        while True:
            ctx.set(stream.ready, self.host_reads and not self._stalls())
            _, _, valid, ready, byte, reset = await ctx.tick().sample(
                stream.valid, stream.ready, stream.payload, self.reset
            )
            if held is not None:
                assert (valid, byte) == (1, held), "an offered byte was changed or withdrawn"
            held = byte if valid and not ready and not reset else None
            if valid and ready and not reset:
                for reply in self._decoder.feed([byte]):
                    self.replies.append(reply)
                    self.reply_clocks.append(self.clock)
                assert self._decoder.dropped == 0

    async def _engine(self, ctx):
        """Reads the frame at the end of its run, so that a bank that was not free shows."""
        dut = self.dut
        load, run, result = dut.load, dut.run, dut.result
        bank, countdown, gap, answer = None, 0, 0, deque()
        while True:
            ctx.set(run.ready, bank is None and not answer and not self._stalls())
            gap = max(0, gap - 1)
            if answer and not gap and not ctx.get(result.valid) and not self._stalls():
                ctx.set(result.payload, {"value": answer[0], "last": len(answer) == 1})
                ctx.set(result.valid, 1)
            samples = ctx.tick().sample(
                self.reset,
                dut.abort,
                run.valid & run.ready,
                run.payload,
                result.valid & result.ready,
                *(load.valid, load.memory, load.address, load.bank, load.data),
            )
            _, _, reset, abort, run_taken, run_bank, result_taken, write, *word = await samples
            if write:
                self._write(*word)
            if reset or abort:
                self.aborts += abort
                bank, answer = None, deque()
                ctx.set(result.valid, 0)
                continue
            if result_taken:
                answer.popleft()
                gap = self.result_gap
                ctx.set(result.valid, 0)
                if not answer:
                    ctx.set(dut.label, 0xDEAD)
                    ctx.set(dut.clocks, 0xDEADBEEF)
            if run_taken:
                bank, countdown = run_bank, self.run_clocks
            elif bank is not None:
                countdown -= 1
                if countdown <= 0:
                    frame = self.frame(bank)
                    self.runs.append(frame)
                    expected = self.expected(frame)
                    answer.extend(expected.potentials)
                    ctx.set(dut.label, expected.label)
                    ctx.set(dut.clocks, expected.clocks)
                    bank = None

    def frame(self, bank):
        return tuple(self.frames[bank].get(i, 0) for i in range(self.shape.frame_words))

    def _write(self, memory_id, address, bank, word):
        self.load_clocks.append(self.clock)
        shapes = {memory.id: memory for memory in (self.shape.frame, *self.shape.loadable())}
        memory = shapes[memory_id]
        assert address < memory.words
        word &= (1 << memory.width) - 1
        if memory.id == self.shape.frame.id:
            self.frames[bank][address] = word
        else:
            self.memories[memory.id, address] = word


PROGRAM, AXIS, *CORES = SHAPE.loadable()
WEIGHT = CORES[0]
ALL = SHAPE.loadable()


def image(memory, seed=0):
    """Random words for the whole of a memory, and the bytes that the host sends."""
    rng = random.Random(seed)
    words = [rng.getrandbits(memory.width) for _ in range(memory.words)]
    return words, b"".join(word.to_bytes(memory.word_bytes, "little") for word in words)


def frame_of(seed):
    words, data = image(SHAPE.frame, seed)
    return tuple(words), data


def write(memory, data, first=0, tag=0):
    return request(Command.WRITE, tag, bytes([memory.id]) + first.to_bytes(3, "little") + data)


def write_frame(data, tag=0):
    return write(SHAPE.frame, data, tag=tag)


def hello_payload(busy=0, dropped=0):
    return struct.pack("<BBBI", VERSION, busy, dropped, SHAPE.digest)


OK = Status.OK


@pytest.mark.parametrize("stall", [0.0, 0.3, 0.8])
def test_hello(stall):
    async def script(bench):
        bench.send(request(Command.HELLO, 0xC0))
        assert await bench.reply() == Reply(Command.HELLO, 0xC0, OK, hello_payload())

    Bench(script, stall=stall)


@pytest.mark.parametrize("stall", [0.0, 0.4])
def test_loads_every_memory(stall):
    images = {memory.id: image(memory, memory.id) for memory in ALL}

    async def script(bench):
        for memory in ALL:
            for message in write_requests(memory.id, memory.word_bytes, images[memory.id][1]):
                bench.send(message)
                assert (await bench.reply()).status is OK

    bench = Bench(script, stall=stall)
    assert bench.memories == {
        (memory.id, address): word
        for memory in ALL
        for address, word in enumerate(images[memory.id][0])
    }


def test_write_in_the_middle_of_a_memory():
    async def script(bench):
        bench.send(write(AXIS, bytes(range(1, 1 + 2 * AXIS.word_bytes)), first=AXIS.words - 2))
        assert await bench.reply() == Reply(Command.WRITE, 0, OK, b"")

    bench = Bench(script)
    assert sorted(bench.memories) == [(AXIS.id, AXIS.words - 2), (AXIS.id, AXIS.words - 1)]


def test_throughput_of_loading():
    """Nearly one byte a clock on the line, several messages in flight."""
    _, data = image(WEIGHT, 1)
    messages = list(write_requests(WEIGHT.id, WEIGHT.word_bytes, data))

    async def script(bench):
        for message in messages:
            bench.send(message)
        for _ in messages:
            assert (await bench.reply()).status is OK

    bench = Bench(script)
    line = sum(map(len, messages))
    last = len(messages[-1])
    # The last message is executed after it has been received; all before it, meanwhile.
    assert bench.load_clocks[-1] < line + 3 * len(messages) + last + 12
    steps = {b - a for a, b in zip(bench.load_clocks[:500], bench.load_clocks[1:], strict=False)}
    assert min(steps) == WEIGHT.word_bytes


def test_latency_of_hello():
    """From the last byte of a request to the last of its reply."""

    async def script(bench):
        bench.send(request(Command.HELLO, 1))
        await bench.reply()

    request_bytes = len(request(Command.HELLO, 1))
    reply_bytes = len(slip(bytes([0x81, 1, 0]) + hello_payload() + bytes(4)))
    clocks = Bench(script).reply_clocks[0] - request_bytes
    assert reply_bytes < clocks <= reply_bytes + 16


def at(memory_id, first):
    return bytes([memory_id]) + first.to_bytes(3, "little")


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        bytes([WEIGHT.id]),
        at(WEIGHT.id, 0),  # no words
        at(WEIGHT.id, 0) + bytes(WEIGHT.word_bytes - 1),
        at(WEIGHT.id, 0) + bytes(3 * WEIGHT.word_bytes + 1),
        at(0x77, 0) + bytes(8),  # unknown
        at(0x42, 0) + bytes(8),  # no such core
        at(WEIGHT.id, WEIGHT.words) + bytes(WEIGHT.word_bytes),
        at(WEIGHT.id, WEIGHT.words - 1) + bytes(2 * WEIGHT.word_bytes),
        at(WEIGHT.id, 0xFFFFFF) + bytes(2 * WEIGHT.word_bytes),
        at(SHAPE.frame.id, 0) + bytes(SHAPE.frame_words + 1),
    ],
)
@pytest.mark.parametrize("stall", [0.0, 0.5])
def test_bad_write(payload, stall):
    async def script(bench):
        bench.send(request(Command.WRITE, 9, payload))
        assert await bench.reply() == Reply(Command.WRITE, 9, Status.BAD_WRITE, b"")
        bench.send(write(PROGRAM, b"\x01\x02\x03\x04", first=1))
        assert (await bench.reply()).status is OK

    bench = Bench(script, stall=stall)
    assert bench.memories == {(PROGRAM.id, 1): 0x04030201}
    assert bench.frames == [{}, {}]


def test_short_write_behind_a_good_one():
    """What was found out about a message does not outlive it."""

    async def script(bench):
        for size in range(1, 8):
            bench.send(
                write(PROGRAM, bytes(4)) + request(Command.WRITE, 1, at(PROGRAM.id, 0)[:size])
            )
            assert (await bench.reply()).status is OK
            assert (await bench.reply()).status is Status.BAD_WRITE

    Bench(script)


@pytest.mark.parametrize("payload", [b"", b"some payload"])
@pytest.mark.parametrize("command", [0, 5, 0x81, 0xC0, 0xFF])
def test_unknown_command(command, payload):
    message = bytes([command, 7]) + payload
    message += struct.pack("<I", zlib.crc32(message))

    async def script(bench):
        bench.send(slip(message))
        assert await bench.reply() == Reply(command & 0x7F, 7, Status.BAD_COMMAND, b"")

    Bench(script)


@pytest.mark.parametrize("stall", [0.0, 0.5])
def test_runs_one_after_the_other(stall):
    async def script(bench):
        for tag in range(5):
            frame, data = frame_of(tag)
            bench.send(write_frame(data) + request(Command.RUN, tag + 100))
            assert (await bench.reply()).command == Command.WRITE
            reply = await bench.reply()
            assert (reply.command, reply.tag, reply.status) == (Command.RUN, tag + 100, OK)
            assert parse_result(reply.payload, SHAPE.outputs) == bench.expected(frame)

    Bench(script, stall=stall)


@pytest.mark.parametrize("stall", [0.0, 0.5])
@pytest.mark.parametrize("run_clocks", [1, 400])
def test_everything_sent_at_once(stall, run_clocks):
    """Third and later frames and runs wait; the answers come in order."""
    frames = [frame_of(seed) for seed in range(7)]

    async def script(bench):
        for tag, (_, data) in enumerate(frames):
            bench.send(write_frame(data, tag) + request(Command.RUN, tag))
        results = []
        while len(results) < len(frames):
            reply = await bench.reply()
            assert reply.status is OK
            if reply.command == Command.RUN:
                assert reply.tag == len(results)
                results.append(parse_result(reply.payload, SHAPE.outputs))
        assert results == [bench.expected(frame) for frame, _ in frames]

    bench = Bench(script, stall=stall, run_clocks=run_clocks)
    assert bench.runs == [frame for frame, _ in frames]


def test_other_replies_do_not_split_an_answer():
    frame, data = frame_of(6)

    async def script(bench):
        bench.send(write_frame(data) + request(Command.RUN, 1) + request(Command.HELLO, 2) * 30)
        replies = [await bench.reply() for _ in range(32)]
        runs = [reply for reply in replies if reply.command == Command.RUN]
        assert [parse_result(run.payload, SHAPE.outputs) for run in runs] == [bench.expected(frame)]

    Bench(script, result_gap=60)


def test_busy_count_and_refusal():
    _, data = frame_of(1)

    async def script(bench):
        word = b"\x01\x02\x03\x04"
        for outstanding in (1, 2):
            bench.send(write_frame(data) + request(Command.RUN, 0))
            assert (await bench.reply()).command == Command.WRITE
            bench.send(request(Command.HELLO, 0))
            assert (await bench.reply()).payload == hello_payload(busy=outstanding)
            bench.send(write(PROGRAM, word, tag=3))
            assert await bench.reply() == Reply(Command.WRITE, 3, Status.BUSY, b"")
            # A bad write is called bad whether or not a run is outstanding.
            bench.send(write(PROGRAM, word + b"x", tag=3))
            assert await bench.reply() == Reply(Command.WRITE, 3, Status.BAD_WRITE, b"")
        for _ in range(2):
            assert (await bench.reply()).command == Command.RUN
        bench.send(request(Command.HELLO, 0) + write(PROGRAM, word, tag=4))
        assert (await bench.reply()).payload == hello_payload(busy=0)
        assert await bench.reply() == Reply(Command.WRITE, 4, OK, b"")

    bench = Bench(script, run_clocks=2000)
    assert bench.memories == {(PROGRAM.id, 0): 0x04030201}


@pytest.mark.parametrize("stall", [0.0, 0.5])
def test_runs_without_new_frames(stall):
    """More than two wait; they use the two banks in turn."""

    async def script(bench):
        bench.send(b"".join(request(Command.RUN, tag) for tag in range(5)))
        for tag in range(5):
            reply = await bench.reply()
            assert (reply.command, reply.tag) == (Command.RUN, tag)

    Bench(script, stall=stall, run_clocks=300)


@pytest.mark.parametrize("outstanding", [0, 1, 2])
def test_abort(outstanding):
    frames = [frame_of(seed) for seed in range(3)]

    async def script(bench):
        for _, data in frames[:outstanding]:
            bench.send(write_frame(data) + request(Command.RUN, 1))
            assert (await bench.reply()).command == Command.WRITE
        bench.send(request(Command.ABORT, 5))
        assert await bench.reply() == Reply(Command.ABORT, 5, OK, b"")
        bench.send(request(Command.HELLO, 6))
        assert await bench.reply() == Reply(Command.HELLO, 6, OK, hello_payload())
        await bench.wait(3000)
        assert bench.replies == []
        bench.run_clocks = 20
        for tag, (frame, data) in enumerate(reversed(frames)):
            bench.send(write_frame(data) + request(Command.RUN, tag))
            await bench.reply()
            reply = await bench.reply()
            assert reply.tag == tag
            assert parse_result(reply.payload, SHAPE.outputs) == bench.expected(frame)

    bench = Bench(script, run_clocks=1500)
    assert bench.aborts == 1
    assert len(bench.runs) == 3


def test_abort_keeps_a_frame_that_was_not_run():
    (_, first_data), (second, second_data) = frame_of(1), frame_of(2)

    async def script(bench):
        bench.send(write_frame(first_data) + request(Command.RUN, 1) + write_frame(second_data))
        bench.send(request(Command.ABORT, 2))
        for _ in range(3):
            await bench.reply()
        bench.run_clocks = 20
        bench.send(request(Command.RUN, 3))
        reply = await bench.reply()
        assert (reply.command, reply.tag) == (Command.RUN, 3)

    assert Bench(script, run_clocks=2000).runs == [second]


@pytest.mark.parametrize("run_clocks", range(1, 60))
def test_abort_at_any_time(run_clocks):
    """An answer is either complete and before the reply to ABORT, or never sent."""
    frame, data = frame_of(4)

    async def script(bench):
        bench.send(write_frame(data))
        await bench.reply()
        bench.send(request(Command.RUN, 1) + request(Command.ABORT, 2))
        bench.send(write_frame(data) + request(Command.RUN, 3))
        replies = [await bench.reply()]
        if replies[0].command == Command.RUN:
            assert parse_result(replies[0].payload, SHAPE.outputs) == bench.expected(frame)
            replies = [await bench.reply()]
        assert replies[0] == Reply(Command.ABORT, 2, OK, b"")
        assert (await bench.reply()).command == Command.WRITE
        reply = await bench.reply()
        assert (reply.command, reply.tag) == (Command.RUN, 3)
        assert parse_result(reply.payload, SHAPE.outputs) == bench.expected(frame)

    Bench(script, run_clocks=run_clocks)


@pytest.mark.parametrize("seed", range(4))
def test_damaged_messages_have_no_effect(seed):
    """A wrong bit anywhere between the ENDs; also cut messages, garbage, empty frames."""
    rng = random.Random(seed)
    good = write(PROGRAM, b"\x11\x22\x33\x44", first=2, tag=1)
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
        bench.send(request(Command.HELLO, 1))
        reply = await bench.reply()
        assert reply.command == Command.HELLO
        # A bit error that makes an END or joins two frames changes the count a little.
        assert 36 <= reply.payload[2] <= 45
        bench.send(good)
        assert (await bench.reply()).status is OK

    bench = Bench(script, stall=0.1, seed=seed)
    assert bench.memories == {(PROGRAM.id, 2): 0x44332211}


def test_every_single_bit_error_is_refused():
    good = write(PROGRAM, b"\x11\x22\x33\x44", tag=1)
    body = range(8, 8 * (len(good) - 1))

    async def script(bench):
        for bit in body:
            broken = bytearray(good)
            broken[bit // 8] ^= 1 << bit % 8
            bench.send(bytes(broken))
        bench.send(request(Command.HELLO, 1))
        assert (await bench.reply()).payload[2] >= len(body)

    assert Bench(script).memories == {}


@pytest.mark.parametrize("size", [MAX_MESSAGE, MAX_MESSAGE + 1, MAX_MESSAGE + 2, 3 * MAX_MESSAGE])
def test_overlong_messages(size):
    body = bytes([Command.HELLO, 2]) + bytes(size - 6)
    message = body + struct.pack("<I", zlib.crc32(body))

    async def script(bench):
        bench.send(slip(message) + request(Command.HELLO, 3))
        fits = size <= MAX_MESSAGE
        if fits:
            assert await bench.reply() == Reply(Command.HELLO, 2, OK, hello_payload())
        expected = hello_payload(dropped=int(not fits))
        assert await bench.reply() == Reply(Command.HELLO, 3, OK, expected)

    Bench(script)


@pytest.mark.parametrize("size", range(1, 6))
def test_messages_too_short(size):
    body = bytes([Command.HELLO, 2])[: max(0, size - 4)]
    message = (body + struct.pack("<I", zlib.crc32(body)))[:size]

    async def script(bench):
        bench.send(slip(message) + request(Command.HELLO, 3))
        assert await bench.reply() == Reply(Command.HELLO, 3, OK, hello_payload(dropped=1))

    Bench(script)


def test_dropped_count_saturates():
    async def script(bench):
        bench.send(b"xyz\xc0" * 260 + request(Command.HELLO, 3))
        assert (await bench.reply()).payload == hello_payload(dropped=255)

    Bench(script)


def test_replies_wait_for_a_host_that_does_not_read():
    frames = [frame_of(seed) for seed in range(3)]

    async def script(bench):
        bench.host_reads = False
        for tag, (_, data) in enumerate(frames):
            bench.send(write_frame(data) + request(Command.RUN, tag))
        await bench.wait(2000)
        bench.host_reads = True
        tags = []
        while len(tags) < len(frames):
            reply = await bench.reply()
            if reply.command == Command.RUN:
                tags.append(reply.tag)
        assert tags == [0, 1, 2]

    assert Bench(script).runs == [frame for frame, _ in frames]


@pytest.mark.parametrize("cut", [1, 5, 12, 16, 30, 60])
def test_reset_in_the_middle(cut):
    frame, data = frame_of(5)

    async def script(bench):
        bench.send((write_frame(data) + request(Command.RUN, 1))[:cut])
        await bench.sent()
        await bench.pulse_reset()
        bench.replies.clear()
        bench._decoder.__init__()
        bench.send(write_frame(data) + request(Command.HELLO, 1) + request(Command.RUN, 2))
        assert (await bench.reply()).command == Command.WRITE
        assert await bench.reply() == Reply(Command.HELLO, 1, OK, hello_payload())
        reply = await bench.reply()
        assert (reply.command, reply.tag) == (Command.RUN, 2)
        assert parse_result(reply.payload, SHAPE.outputs) == bench.expected(frame)

    Bench(script)
