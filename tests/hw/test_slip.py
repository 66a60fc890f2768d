import random

import pytest
from amaranth.sim import Simulator

from spikewright.hw.slip import SlipDecoder, SlipEncoder
from spikewright.machine.protocol import END, ESC, ESC_END, ESC_ESC, Decoder, slip


def run_stream(dut, items, *, stall=0.0, after_valid=False, seed=0):
    """Pass `items` from `dut.i` to `dut.o`; returns the outputs and the clock of each."""
    rng = random.Random(seed)
    outputs, clocks = [], []
    clock = 0

    async def source(ctx):
        for item in items:
            while rng.random() < stall:
                await ctx.tick()
            ctx.set(dut.i.payload, item)
            ctx.set(dut.i.valid, 1)
            ready = 0
            while not ready:
                _, _, ready = await ctx.tick().sample(dut.i.ready)
            ctx.set(dut.i.valid, 0)
        for _ in range(20 if not stall else 200):
            await ctx.tick()

    async def sink(ctx):
        nonlocal clock
        held = None
        while True:
            ctx.set(dut.o.ready, ctx.get(dut.o.valid) if after_valid else rng.random() >= stall)
            _, _, valid, ready, item = await ctx.tick().sample(
                dut.o.valid, dut.o.ready, dut.o.payload
            )
            if held is not None:
                assert (valid, item) == (1, held), "an offer was changed or withdrawn"
            held = item if valid and not ready else None
            if valid and ready:
                outputs.append(item)
                clocks.append(clock)
            clock += 1
            assert clock < 100 * len(items) + 1000

    sim = Simulator(dut)
    sim.add_clock(1e-6)
    sim.add_testbench(source)
    sim.add_testbench(sink, background=True)
    sim.run()
    return outputs, clocks


STALLS = [{}, {"stall": 0.4}, {"stall": 0.8}, {"after_valid": True}]


def random_bytes(count, seed):
    """Bytes in which END and ESC are frequent."""
    rng = random.Random(seed)
    special = (END, ESC, ESC_END, ESC_ESC)
    return bytes(
        rng.choice(special) if rng.random() < 0.4 else rng.randrange(256) for _ in range(count)
    )


def tokens(data):
    """What the host's own rules make of a byte stream: bytes, and None for END."""
    result, escaped = [], False
    for byte in data:
        if byte == END:
            result.append(None)
            escaped = False
        elif escaped:
            result.append({ESC_END: END, ESC_ESC: ESC}.get(byte, byte))
            escaped = False
        elif byte == ESC:
            escaped = True
        else:
            result.append(byte)
    return result


def decode(data, **stalls):
    outputs, clocks = run_stream(SlipDecoder(), data, **stalls)
    return [None if token.end else token.data for token in outputs], clocks


def encode(messages, **stalls):
    items = [
        {"data": byte, "last": index == len(message) - 1}
        for message in messages
        for index, byte in enumerate(message)
    ]
    return run_stream(SlipEncoder(), items, **stalls)


@pytest.mark.parametrize("stalls", STALLS)
def test_decoder(stalls):
    data = random_bytes(400, 1) + bytes(range(256))
    assert decode(data, seed=1, **stalls)[0] == tokens(data)


@pytest.mark.parametrize("first", [END, ESC, ESC_END, ESC_ESC, 0])
def test_decoder_on_every_pair(first):
    for second in range(256):
        data = bytes([first, second, 1])
        if second % 16 == 0 or second in (END, ESC, ESC_END, ESC_ESC):
            assert decode(data)[0] == tokens(data)


def test_decoder_latency_and_throughput():
    assert decode(bytes(range(100)))[1] == list(range(1, 101))


@pytest.mark.parametrize("stalls", STALLS)
def test_encoder(stalls):
    messages = [random_bytes(length, length) for length in (1, 2, 3, 30, 100)]
    messages += [bytes([END]), bytes([ESC]), bytes(range(256))]
    outputs, _ = encode(messages, seed=2, **stalls)
    assert bytes(outputs) == b"".join(map(slip, messages))


def test_encoder_latency_and_throughput():
    message = bytes(range(50))
    outputs, clocks = encode([message, message])
    assert bytes(outputs) == slip(message) * 2
    assert clocks == list(range(1, 1 + len(outputs)))
    assert outputs[1] == message[0]


def test_both_ends_agree():
    message = bytes([0x81, 0, 0]) + random_bytes(60, 5)
    outputs, _ = encode([message])
    assert decode(outputs)[0] == [None, *message, None]
    assert list(Decoder().feed(bytes(outputs))) == []  # no CRC
