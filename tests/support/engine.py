"""The engine in Amaranth's simulator: images in, decisions, outputs and clocks out."""

import random
from dataclasses import dataclass

import numpy as np
from amaranth.sim import Simulator

from spikewright.hw.fabric.engine import Engine
from spikewright.machine.loading import load_words
from spikewright.machine.memories import make_images
from spikewright.sim.interpreter import output_places

PATIENCE = 10_000


@dataclass
class Ran:
    """`records` as a bench writes them; of each image its class, clocks and outputs by place."""

    records: np.ndarray
    labels: list
    clocks: list
    outputs: list


def run_engine(
    schedule, frames, *, images=None, stalls=0.0, seed=0, patience=PATIENCE, abort=False
):
    """Load `images` and compute `frames`, ``(N, C, H, W)``; the next comes in meanwhile.

    With `abort` there is one right behind the last word of the images.
    """
    machine = schedule.machine
    dut = Engine(machine)
    images = make_images(schedule) if images is None else images
    words = [schedule.frame_words(frame) for frame in frames]
    places = output_places(schedule)
    trace = dut.trace.as_value()
    size = -(-len(trace) // 32)
    ran = Ran(np.zeros(0), [], [], [])
    records = []
    valid = sum(1 << core * (len(trace) // machine.cores) for core in range(machine.cores))
    generator = random.Random(seed)

    async def send(ctx):
        for word in load_words(machine, images):
            ctx.set(dut.load.valid, 1)
            ctx.set(dut.load.payload, vars(word))
            await ctx.tick().until(dut.load.ready)
        ctx.set(dut.load.valid, 0)
        ctx.set(dut.abort, abort)
        await ctx.tick()
        ctx.set(dut.abort, 0)
        for _ in range(2 * machine.cores + 4):
            await ctx.tick()
        ctx.set(dut.start, 1)
        await ctx.tick()
        ctx.set(dut.start, 0)
        for number, frame in enumerate(words):
            for address, data in enumerate(frame):
                while generator.random() < stalls:
                    await ctx.tick()
                ctx.set(dut.frame.valid, 1)
                ctx.set(dut.frame.payload, {"data": data, "address": address, "kind": 1})
                await ctx.tick().until(dut.frame.ready)
                ctx.set(dut.frame.valid, 0)
            while len(ran.labels) < number:  # the outputs before are being read
                await ctx.tick()
            ctx.set(dut.frame_ready, 1)
            await ctx.tick().until(dut.frame_taken)
            ctx.set(dut.frame_ready, 0)

    async def watch(ctx):
        silence = 0
        while len(ran.labels) < len(words):
            *_, done, clocks, record = await ctx.tick().sample(dut.image_done, dut.clocks, trace)
            silence += 1
            if record & valid:
                silence = 0
                records.append(record.to_bytes(4 * size, "little"))
            if done:
                silence = 0
                ran.clocks.append(clocks)
                got = {}
                for place in places:
                    ctx.set(dut.address, place)
                    await ctx.tick().repeat(2)
                    got[place] = ctx.get(dut.output)
                ran.outputs.append([got[place] for place in places])
                ran.labels.append(ctx.get(dut.label))
            assert silence < patience, "the engine stands still"

    simulator = Simulator(dut)
    simulator.add_clock(1e-8)
    simulator.add_testbench(send, background=True)
    simulator.add_testbench(watch)
    simulator.run()
    ran.records = np.frombuffer(b"".join(records), "<u4").reshape(-1, size)
    return ran
