"""The whole accelerator, spoken to through its byte streams and through UART pins."""

import numpy as np
import pytest
from amaranth.sim import Simulator

from spikewright.hw.top import Top, describe, generate
from spikewright.hw.uart import UartTop
from spikewright.machine.images import make_images
from spikewright.machine.protocol import (
    Command,
    Decoder,
    Status,
    parse_result,
    request,
    write_requests,
)
from spikewright.sim.golden.model import Golden
from spikewright.sw.passes.map import map_network
from tests.support.random_networks import random_frames, random_network


class Case:
    """A small network, its images, three frames, and what the golden model makes of them."""

    def __init__(self, seed=3, cores=2, lanes=2):
        rng = np.random.default_rng(seed)
        network = random_network(rng, style="mixed", channels=(2, 5), side=(4, 6), size=3000)
        mapping = map_network(network, cores=cores, lanes=lanes)
        self.shape = mapping.shape
        self.images = make_images(network, mapping)
        self.frames = random_frames(rng, network, 3)
        result = Golden(network).run(self.frames)
        self.expected = [
            (tuple(potentials.tolist()), int(label))
            for potentials, label in zip(result.potentials, result.classes, strict=True)
        ]

    def loading(self):
        return [
            message
            for image in self.images.values()
            for message in write_requests(image.shape.id, image.shape.word_bytes, image.to_bytes())
        ]

    def frame(self, index):
        memory = self.shape.frame
        data = b"".join(
            int(pixel).to_bytes(memory.word_bytes, "little") for pixel in self.frames[index].flat
        )
        return b"".join(write_requests(memory.id, memory.word_bytes, data))

    def run(self, index):
        """Requests for one frame, tagged with its number."""
        return self.frame(index) + request(Command.RUN, index)

    def check(self, reply):
        result = parse_result(reply.payload, self.shape.outputs)
        assert (result.potentials, result.label) == self.expected[reply.tag]
        assert result.clocks > 0


@pytest.fixture(scope="module")
def case():
    return Case()


def simulate(top, script, limit=400_000):
    """Run ``script(exchange)``, where ``await exchange(data, n)`` sends and gives n replies."""
    decoder, replies = Decoder(), []

    async def receive(ctx):
        ctx.set(top.o.ready, 1)
        while True:
            _, _, valid, byte = await ctx.tick().sample(top.o.valid, top.o.payload)
            if valid:
                replies.extend(decoder.feed([byte]))

    async def drive(ctx):
        clock = 0

        async def tick():
            nonlocal clock
            clock += 1
            assert clock < limit, "no answer"
            _, _, ready = await ctx.tick().sample(top.i.ready)
            return ready

        async def exchange(data, count, *, idle=0):
            for byte in data:
                ctx.set(top.i.payload, byte)
                ctx.set(top.i.valid, 1)
                while not await tick():
                    pass
            ctx.set(top.i.valid, 0)
            for _ in range(idle):
                await tick()
            while len(replies) < count:
                await tick()
            result = replies[:count]
            del replies[:count]
            return result

        await script(exchange)
        assert decoder.dropped == 0

    sim = Simulator(top)
    sim.add_clock(1e-8)
    sim.add_testbench(drive)
    sim.add_testbench(receive, background=True)
    sim.run()


def test_equals_the_golden_model(case):
    async def script(exchange):
        for message in case.loading():
            assert [reply.status for reply in await exchange(message, 1)] == [Status.OK]
        replies = await exchange(b"".join(case.run(index) for index in range(3)), 6)
        runs = [reply for reply in replies if reply.command == Command.RUN]
        assert [reply.tag for reply in runs] == [0, 1, 2]
        for reply in runs:
            case.check(reply)

    simulate(Top(case.shape), script)


def test_initial_contents(case):
    """With `init` nothing need be loaded."""
    init = {name: list(image.words) for name, image in case.images.items()}

    async def script(exchange):
        _, reply = await exchange(case.run(1), 2)
        case.check(reply)

    simulate(Top(case.shape, init=init), script)


@pytest.mark.parametrize("delay", [0, 1, 7, 100, 400, 1000])
def test_abort_leaves_nothing_behind(case, delay):
    init = {name: list(image.words) for name, image in case.images.items()}

    async def script(exchange):
        await exchange(case.run(0), 1, idle=delay)
        replies = await exchange(request(Command.ABORT, 9), 1)
        if replies[0].command == Command.RUN:
            case.check(replies[0])
            replies = await exchange(b"", 1)
        assert (replies[0].command, replies[0].tag) == (Command.ABORT, 9)
        for index in (2, 1):
            _, reply = await exchange(case.run(index), 2)
            assert reply.tag == index
            case.check(reply)

    simulate(Top(case.shape, init=init), script)


def test_through_the_pins_of_a_uart(case):
    """A frame in and its result out, a bit every eight clocks."""
    divisor = 8
    init = {name: list(image.words) for name, image in case.images.items()}
    top = UartTop(case.shape, clock_hz=8e6, baud=1e6, init=init)
    assert top.divisor == divisor
    decoder, replies = Decoder(), []

    async def send(ctx):
        ctx.set(top.rx, 1)
        for byte in case.run(2):
            for level in (0, *(byte >> i & 1 for i in range(8)), 1):
                ctx.set(top.rx, level)
                for _ in range(divisor):
                    await ctx.tick()
        for _ in range(200_000):
            await ctx.tick()
            if len(replies) == 2:
                return
        raise AssertionError("no answer")

    async def receive(ctx):
        while True:
            _, _, level = await ctx.tick().sample(top.tx)
            if level:
                continue
            byte = 0
            for position in range(9):
                for _ in range(divisor // 2 if position == 0 else divisor):
                    _, _, level = await ctx.tick().sample(top.tx)
                byte |= level << position
            assert not byte & 1
            replies.extend(decoder.feed([byte >> 1]))
            for _ in range(divisor - 1):
                _, _, level = await ctx.tick().sample(top.tx)
            assert level

    sim = Simulator(top)
    sim.add_clock(1e-8)
    sim.add_testbench(send)
    sim.add_testbench(receive, background=True)
    sim.run()
    assert replies[0].command == Command.WRITE
    case.check(replies[1])


@pytest.mark.parametrize("trace", [False, True])
def test_verilog_has_the_described_ports(case, trace):
    text = generate(case.shape, trace=trace, name="some_top")
    about = describe(case.shape, trace=trace, name="some_top")
    start = text.index("\nmodule some_top(")
    body = text[start : text.index("endmodule", start)]
    header = body[: body.index(");")]
    assert {name.strip() for name in header.split("(")[1].split(",")} == set(about["ports"])
    for name, port in about["ports"].items():
        width = f"[{port['width'] - 1}:0] " if port["width"] > 1 else ""
        assert f"\n  {port['direction']} {width}{name};" in body
    assert about["digest"] == case.shape.digest
    assert ("trace__payload" in about["ports"]) is trace
    assert "src =" not in text
