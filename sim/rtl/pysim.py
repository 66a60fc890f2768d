"""The back end on Amaranth's own simulator: slow, for small networks, needs no compiler.

It runs the same scripts as `bench.v`, on the same top. Registers start from their reset values, not
from random ones.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import numpy as np
from amaranth.hdl import ClockDomain, Module
from amaranth.sim import Simulator as AmaranthSimulator

from spikewright.hw.top import Top
from spikewright.hw.uart import UartTop
from spikewright.machine.hardware import HardwareShape
from spikewright.sim.rtl.stimulus import (
    ACTIVITIES,
    Epoch,
    Op,
    Reset,
    Send,
    StuckError,
    UntilBusy,
    UntilReplies,
    UntilReply,
    Wait,
)

__all__ = ["PysimSimulator", "run_uart"]

END = 0xC0
CLOCK = 1e-8


class _Recorder:
    """Collects one epoch."""

    def __init__(self, cores: int, record_words: int) -> None:
        self.cores, self.record_words = cores, record_words
        self.clock = 0
        self.received = bytearray()
        self.reply_clocks: list[int] = []
        self.spans: list[list[int]] = []
        self.counts = [0] * (cores * ACTIVITIES)
        self.was_busy = False
        self.records: list[bytes] = []

    def byte(self, value: int) -> None:
        if value == END and self.received and self.received[-1] != END:
            self.reply_clocks.append(self.clock)
        self.received.append(value)

    def activity(self, busy: int, activities: int) -> None:
        if busy:
            for core in range(self.cores):
                self.counts[core * ACTIVITIES + (activities >> 3 * core & 7)] += 1
        elif self.was_busy:
            self.spans.append(self.counts)
            self.counts = [0] * (self.cores * ACTIVITIES)
        self.was_busy = bool(busy)

    def record(self, value: int) -> None:
        self.records.append(value.to_bytes(4 * self.record_words, "little"))

    def epoch(self) -> Epoch:
        trace = np.frombuffer(b"".join(self.records), "<u4").reshape(-1, self.record_words)
        spans = np.array(self.spans, np.int64).reshape(-1, self.cores, ACTIVITIES)
        return Epoch(bytes(self.received), tuple(self.reply_clocks), spans, trace)


class _Bench:
    """The state of a script under way; :meth:`clock` is what `bench.v` does in one clock."""

    def __init__(self, script: Sequence[Op], recorder: Any, stalls: float, seed: int) -> None:
        self.script = list(reversed(script))
        self.new_recorder = recorder
        self.recorders: list[_Recorder] = []
        self.random = random.Random(seed)
        self.stalls = stalls
        self.op: Op | None = None
        self.left = 0
        self.pending = False
        """A byte is offered to the host port."""
        self.finished = False
        self.silence = 0

    def flows(self) -> bool:
        """Whether a stream is free to move in the next clock."""
        return self.stalls == 0.0 or self.random.random() >= self.stalls

    def fetch(self) -> None:
        if not self.script:
            self.finished = True
            return
        self.op = self.script.pop()
        if isinstance(self.op, UntilReply):
            raise NotImplementedError("pysim: UntilReply is for Verilator's bench")
        self.left = self.op.count
        self.silence = 0
        if isinstance(self.op, Reset):
            self.recorders.append(self.new_recorder())

    def clock(self, busy: int, replies: int) -> tuple[int | None, bool]:
        """Advance the script; returns a byte to offer next, if there is one, and the reset."""
        if self.op is None and not self.pending:
            self.fetch()
        byte, reset = None, isinstance(self.op, Reset)
        match self.op:
            case Send() if self.left:
                if not self.pending and self.flows():
                    byte = self.op.data[self.op.count - self.left]
                    self.left -= 1
            case UntilReplies() if replies >= self.left:
                self.left = 0
            case Reset() | Wait():
                self.silence = 0
                self.left -= 1
            case UntilBusy():
                self.left -= busy
        if self.left <= 0:
            self.op = None
        return byte, reset


class PysimSimulator:
    """The top of `shape` in Amaranth's simulator."""

    name = "pysim"

    def __init__(self, shape: HardwareShape, *, trace: bool = True) -> None:
        self.shape, self.traced = shape, trace

    def run(
        self,
        script: Sequence[Op],
        *,
        trace: bool = True,
        stalls: float = 0.0,
        seed: int = 0,
        patience: int = 1_000_000,
    ) -> tuple[Epoch, ...]:
        """See :class:`.script.Simulator`."""
        top = Top(self.shape, trace=self.traced)
        domain = ClockDomain("sync")
        module = Module()
        module.domains += domain
        module.submodules.top = top
        words = -(-self.shape.trace_bits // 32)
        bench = _Bench(script, lambda: _Recorder(self.shape.cores, words), stalls, seed)
        observed = [top.i.ready, top.o.valid, top.o.payload]
        if self.traced:
            observed += [top.busy, top.activity, top.trace.valid, top.trace.payload]

        async def testbench(ctx):  # type: ignore[no-untyped-def]
            reset = True
            o_ready = trace_ready = 0
            ctx.set(domain.rst, 1)
            while True:
                _, _, *seen = await ctx.tick().sample(*observed)
                i_ready, o_valid, o_payload = seen[:3]
                busy, activity, trace_valid, record = seen[3:] if self.traced else (0, 0, 0, 0)
                bench.silence += 1
                recorder = bench.recorders[-1] if bench.recorders else None
                if recorder is not None:
                    recorder.clock += 1
                if not reset and recorder is not None:
                    if bench.pending and i_ready:
                        bench.pending, bench.silence = False, 0
                        ctx.set(top.i.valid, 0)
                    if o_valid and o_ready:
                        recorder.byte(o_payload)
                        bench.silence = 0
                    if trace_valid and trace_ready:
                        bench.silence = 0
                        if trace:
                            recorder.record(record)
                    recorder.activity(busy, activity)
                byte, reset = bench.clock(busy, len(recorder.reply_clocks) if recorder else 0)
                if bench.finished:
                    return
                if bench.silence > patience:
                    raise StuckError(f"pysim: nothing moved for {patience} clocks ({bench.op})")
                if byte is not None:
                    bench.pending = True
                    ctx.set(top.i.valid, 1)
                    ctx.set(top.i.payload, byte)
                ctx.set(domain.rst, reset)
                o_ready = int(bench.flows())
                ctx.set(top.o.ready, o_ready)
                if self.traced:
                    trace_ready = int(bench.flows())
                    ctx.set(top.trace.ready, trace_ready)

        simulator = AmaranthSimulator(module)
        simulator.add_clock(CLOCK)
        simulator.add_testbench(testbench)
        simulator.run()
        return tuple(recorder.epoch() for recorder in bench.recorders)


def run_uart(
    shape: HardwareShape, requests: Sequence[bytes], *, divisor: int = 8, patience: int = 1_000_000
) -> bytes:
    """What the board's top of `shape` answers to `requests` over its UART pins, bit by bit.

    Each of the framed requests is sent when the one before has been answered; `divisor` is the
    number of clocks of a bit. Raises :class:`StuckError` after `patience` clocks without an answer.
    """
    top = UartTop(shape, clock_hz=float(divisor), baud=1.0)
    bit = divisor * CLOCK
    received = bytearray()
    answered = 0

    async def receive(ctx):  # type: ignore[no-untyped-def]
        nonlocal answered
        while True:
            await ctx.negedge(top.tx)
            await ctx.delay(1.5 * bit)
            byte = 0
            for position in range(8):
                byte |= ctx.get(top.tx) << position
                await ctx.delay(bit)
            if not ctx.get(top.tx):
                raise StuckError("pysim: a byte on the UART has no stop bit")
            answered += byte == END and bool(received) and received[-1] != END
            received.append(byte)

    async def send(ctx):  # type: ignore[no-untyped-def]
        ctx.set(top.rx, 1)
        await ctx.delay(4 * bit)
        for count, request in enumerate(requests, 1):
            for byte in request:
                for level in (0, *(byte >> position & 1 for position in range(8)), 1):
                    ctx.set(top.rx, level)
                    await ctx.delay(bit)
            waited = 0
            while answered < count:
                await ctx.delay(bit)
                waited += divisor
                if waited > patience:
                    raise StuckError(f"pysim: no answer on the UART for {patience} clocks")
        await ctx.delay(12 * bit)

    simulator = AmaranthSimulator(top)
    simulator.add_clock(CLOCK)
    simulator.add_testbench(send)
    simulator.add_testbench(receive, background=True)
    simulator.run()
    return bytes(received)
