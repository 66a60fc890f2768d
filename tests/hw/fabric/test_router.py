"""The router with random senders: latencies, order, fairness, and `done` behind the words."""

import random

import pytest
from amaranth.sim import Simulator

from spikewright.hw.fabric.router import Router


class Sender:
    """Offers numbered words at random; a word stays until it is taken."""

    def __init__(self, generator, source, rate):
        self.generator, self.source, self.rate = generator, source, rate
        self.number, self.waiting, self.waited, self.longest = 0, None, 0, 0

    def offer(self, ctx, port, stop=False):
        if self.waiting is None and not stop and self.generator.random() < self.rate:
            self.waiting = self.source << 16 | self.number
            self.number += 1
        ctx.set(port.valid, self.waiting is not None)
        ctx.set(port.payload, self.waiting or 0)

    def taken(self, ctx, port):
        """The word that goes in this clock, or None."""
        if self.waiting is None:
            return None
        self.waited += 1
        if not ctx.get(port.ready):
            return None
        word, self.waiting = self.waiting, None
        self.longest, self.waited = max(self.longest, self.waited), 0
        return word


def run(dut, senders, clocks, stops=()):
    """What was taken as (clock, source, word), what came as (clock, core, word); `arrived`."""
    taken, came, arrived = [], [], []
    ports = [*dut.i, dut.frame]

    async def bench(ctx):
        for clock in range(clocks):
            for source, (port, sender) in enumerate(zip(ports, senders, strict=True)):
                stop = source < len(stops) and clock >= stops[source]
                sender.offer(ctx, port, stop)
                if source < dut.cores:
                    ctx.set(dut.done[source], stop and sender.waiting is None)
            for source, (port, sender) in enumerate(zip(ports, senders, strict=True)):
                word = sender.taken(ctx, port)
                if word is not None:
                    taken.append((clock, source, word))
            for core, received in enumerate(dut.received):
                if ctx.get(received.valid):
                    came.append((clock, core, ctx.get(received.word)))
            arrived.append(ctx.get(dut.arrived))
            await ctx.tick()

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    return taken, came, arrived


def latency(dut, source, core):
    return core + (1 if source == dut.cores else source + 2)


@pytest.mark.parametrize(("cores", "rate"), [(1, 0.5), (2, 0.3), (4, 0.05), (4, 0.4), (3, 1.0)])
def test_words(cores, rate):
    """Every word is at every core, at the clock that the docstring says; nothing else is."""
    generator = random.Random(f"{cores} {rate}")
    dut = Router(24, cores)
    senders = [Sender(generator, source, rate) for source in range(cores + 1)]
    taken, came, _ = run(dut, senders, 400)
    end = 400 - dut.latency - 2
    expected = {
        (clock + latency(dut, source, core), core, word)
        for clock, source, word in taken
        for core in range(cores)
        if clock < end
    }
    assert dut.latency == latency(dut, cores - 1, cores - 1)
    assert expected == {one for one in came if (one[2] in {w for c, _, w in taken if c < end})}
    assert len(came) == len(set(came))
    for source in range(cores + 1):
        order = [word & 0xFFFF for _, own, word in taken if own == source]
        assert order == list(range(len(order)))  # none left out
        assert order


@pytest.mark.parametrize("cores", [1, 3, 5])
def test_fairness(cores):
    """Where all send all the time nobody waits longer than the bound, and no slot is empty."""
    dut = Router(24, cores)
    senders = [Sender(random.Random(0), source, 1.0) for source in range(cores + 1)]
    taken, _, _ = run(dut, senders, 4 * dut.wait)
    assert max(sender.longest for sender in senders) <= dut.wait
    assert len({source for _, source, _ in taken}) == cores + 1
    assert len(taken) >= 4 * dut.wait - cores - 1
    alone = [
        Sender(random.Random(0), source, float(source == cores - 1)) for source in range(cores + 1)
    ]
    taken, _, _ = run(Router(24, cores), alone, 400)
    assert len(taken) >= 400 * (dut.TURN - 1) // dut.TURN


def test_done_stays_behind_the_words():
    """`arrived` rises in the clock in which the last word is at core 0, or with the last `done`."""
    for seed in range(10):
        generator = random.Random(seed)
        cores = generator.randint(1, 4)
        dut = Router(24, cores)
        senders = [Sender(generator, source, 0.3) for source in range(cores)]
        senders.append(Sender(generator, cores, 0.2))
        stops = [generator.randrange(5, 60) for _ in range(cores)]
        taken, came, arrived = run(dut, senders, 200, stops)
        ends = [max([stops[s], *(c + 1 for c, own, _ in taken if own == s)]) for s in range(cores)]
        rises = max(end + 1 + source for source, end in enumerate(ends))
        assert arrived == [int(clock >= rises) for clock in range(200)]
        words = [clock for clock, core, word in came if core == 0 and word >> 16 < cores]
        assert max(words) <= rises
