"""The router: order, no loss, no doubling, nothing crosses a token, latency, throughput."""

import random

import pytest
from amaranth.lib import data
from amaranth.sim import Simulator

from spikewright.hw.router import Merge, Router

EVENT = data.StructLayout({"tag": 12, "token": 1})


def run_router(sources, sinks, steps, *, active=None, takes=None, stall=0.0, late=0.0, seed=0):
    """Send `steps[source][step]` (lists of tags), each step ended by a token.

    Returns per sink the (tag or None for a token) it received and the clocks of the transfers.
    """
    rng = random.Random(seed)
    active = (1 << sources) - 1 if active is None else active
    takes = (1 << sinks) - 1 if takes is None else takes
    dut = Router(EVENT, sources, sinks)
    senders = [s for s in range(sources) if active >> s & 1]
    expected = sum(len(step) + 1 for s in senders for step in steps[s])
    received = [[] for _ in range(sinks)]
    clocks = [[] for _ in range(sinks)]

    def sender(source):
        async def process(ctx):
            for step in steps[source]:
                for tag, token in [*((tag, 0) for tag in step), (0, 1)]:
                    while rng.random() < stall:
                        await ctx.tick()
                    ctx.set(dut.i[source].payload, {"tag": tag, "token": token})
                    ctx.set(dut.i[source].valid, 1)
                    ready = 0
                    while not ready:
                        _, _, ready = await ctx.tick().sample(dut.i[source].ready)
                    ctx.set(dut.i[source].valid, 0)

        return process

    async def monitor(ctx):
        ctx.set(dut.sources, active)
        ctx.set(dut.sinks, takes)
        wanted = sum(expected for k in range(sinks) if takes >> k & 1)
        for clock in range(60 * (expected + 20)):
            for sink in dut.o:
                ctx.set(sink.ready, rng.random() >= late)
            sampled = [x for sink in dut.o for x in (sink.valid, sink.ready, sink.payload)]
            _, _, *values = await ctx.tick().sample(*sampled)
            for k in range(sinks):
                valid, ready, event = values[3 * k : 3 * k + 3]
                if valid and ready:
                    received[k].append(None if event.token else event.tag)
                    clocks[k].append(clock)
            if sum(map(len, received)) >= wanted:
                break
        else:
            pytest.fail(f"only {sum(map(len, received))} of {wanted} events arrived")
        for _ in range(20):  # nothing may follow
            _, _, *valid = await ctx.tick().sample(*(sink.valid for sink in dut.o))
            assert not any(valid)

    sim = Simulator(dut)
    sim.add_clock(1e-6)
    for source in senders:
        sim.add_testbench(sender(source), background=True)
    sim.add_testbench(monitor)
    sim.run()
    return received, clocks


def split_steps(received, tokens):
    """Cut what one sink saw at every complete set of tokens."""
    steps, current, seen = [], [], 0
    for item in received:
        if item is not None:
            current.append(item)
            continue
        seen += 1
        if seen == tokens:
            steps.append(current)
            current, seen = [], 0
    assert not current
    assert not seen
    return steps


@pytest.mark.parametrize(("sources", "sinks"), [(1, 1), (2, 1), (3, 2), (5, 4)])
@pytest.mark.parametrize(("stall", "late"), [(0.0, 0.0), (0.5, 0.0), (0.0, 0.6), (0.3, 0.3)])
def test_every_event_arrives_once_and_in_its_step(sources, sinks, stall, late):
    rng = random.Random(sources * 100 + sinks)
    # Tags say source, step and place. Some sources are much faster than others.
    steps = [
        [[s << 9 | t << 5 | n for n in range(rng.choice([0, 1, 20]))] for t in range(6)]
        for s in range(sources)
    ]
    received, _ = run_router(sources, sinks, steps, stall=stall, late=late, seed=sinks)
    for sink in received:
        got = split_steps(sink, sources)
        assert len(got) == 6
        for t, step in enumerate(got):
            assert sorted(step) == sorted(tag for s in range(sources) for tag in steps[s][t])
            for s in range(sources):
                assert [tag for tag in step if tag >> 9 == s] == steps[s][t]


def test_silent_sources_and_idle_sinks_take_no_part():
    steps = [[[1, 2], [3]], [[], []], [[513], [514, 515]]]
    received, _ = run_router(3, 3, steps, active=0b101, takes=0b110, late=0.3)
    assert received[0] == []
    assert [sorted(step) for step in split_steps(received[1], 2)] == [[1, 2, 513], [3, 514, 515]]
    assert received[1] == received[2]


def test_latency_is_three_clocks_and_throughput_one_event_a_clock():
    received, clocks = run_router(1, 2, [[list(range(200))]])
    assert received[0] == [*range(200), None]
    # The sender's first offer is sampled at clock 0.
    assert clocks[0][0] == 3
    assert clocks[0] == list(range(3, 204))


def test_merge_serves_every_source():
    dut = Merge(8, 3)
    served = []

    async def monitor(ctx):
        for index, source in enumerate(dut.i):
            ctx.set(source.payload, index)
            ctx.set(source.valid, 1)
        ctx.set(dut.o.ready, 1)
        for _ in range(30):
            _, _, valid, payload = await ctx.tick().sample(dut.o.valid, dut.o.payload)
            if valid:
                served.append(payload)

    sim = Simulator(dut)
    sim.add_clock(1e-6)
    sim.add_testbench(monitor)
    sim.run()
    assert len(served) == 29
    assert {served.count(k) for k in range(3)} <= {9, 10}


def test_events_need_a_token():
    with pytest.raises(ValueError, match="events need a member 'token'"):
        Router(data.StructLayout({"tag": 3}), 1, 1)
