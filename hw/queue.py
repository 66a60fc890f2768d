"""What stands between two streams: a queue, or a single register."""

from __future__ import annotations

from amaranth.hdl import Module, ShapeLike, Value
from amaranth.lib import fifo, stream, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["Queue", "Stage"]


class Queue(wiring.Component):
    """First in, first out, in the order and number of the transfers at `i`.

    Latency: two clocks from the transfer at `i` to `o.valid`. Throughput: one transfer a clock.
    Under stall it takes `depth` elements before `i.ready` falls. No output depends combinationally
    on an input: it cuts long paths of ``ready``. For storage that reaches block RAM size, `o` is
    the output of that RAM.

    Parameters
    ----------
    shape
        Shape of the payload.
    depth
        Capacity, at least 3: a smaller buffer of this kind passes one element every second clock.

    Members
    -------
    i, o
        The streams.
    level
        Elements inside, 0 to `depth`.
    """

    def __init__(self, shape: ShapeLike, depth: int) -> None:
        if depth < 3:
            raise ValueError(f"a queue needs a depth of at least 3, not {depth!r}")
        self.shape = shape
        self.depth = depth
        super().__init__(
            {
                "i": In(stream.Signature(shape)),
                "o": Out(stream.Signature(shape)),
                "level": Out(range(depth + 1)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        payload = Value.cast(self.i.payload)
        m.submodules.buffer = buffer = fifo.SyncFIFOBuffered(width=len(payload), depth=self.depth)
        m.d.comb += [
            buffer.w_data.eq(payload),
            buffer.w_en.eq(self.i.valid),
            self.i.ready.eq(buffer.w_rdy),
            Value.cast(self.o.payload).eq(buffer.r_data),
            self.o.valid.eq(buffer.r_rdy),
            buffer.r_en.eq(self.o.ready),
            self.level.eq(buffer.level),
        ]
        return m


class Stage(wiring.Component):
    """One register in a stream, which cuts the paths of ``valid`` and payload but not of ``ready``.

    Latency one clock; throughput one transfer a clock.

    Parameters
    ----------
    shape
        Shape of the payload.

    Members
    -------
    i, o
        The streams; `o` is registered.
    """

    def __init__(self, shape: ShapeLike) -> None:
        self.shape = shape
        super().__init__({"i": In(stream.Signature(shape)), "o": Out(stream.Signature(shape))})

    def elaborate(self, platform):
        m = Module()
        m.d.comb += self.i.ready.eq(~self.o.valid | self.o.ready)
        with m.If(self.i.ready):
            m.d.sync += [self.o.valid.eq(self.i.valid), self.o.payload.eq(self.i.payload)]
        return m
