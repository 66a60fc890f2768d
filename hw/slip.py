"""SLIP framing (RFC 1055) of byte streams, as :mod:`spikewright.machine.protocol` uses it."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from spikewright.machine.protocol import END, ESC, ESC_END, ESC_ESC

__all__ = ["BYTE", "TOKEN", "SlipDecoder", "SlipEncoder"]

BYTE = data.StructLayout({"data": 8, "last": 1})
"""A byte of a message; `last` marks the message's last byte."""

TOKEN = data.StructLayout({"data": 8, "end": 1})
"""A received byte, or (`end`) the end of a frame, whose `data` is undefined."""


class SlipDecoder(wiring.Component):
    """Takes the escapes out of a byte stream; every END byte becomes one `end` token.

    A byte after ESC that is no escape code stands for itself, and ESC before END is ignored: only a
    damaged message holds either.

    Latency one clock; throughput one byte a clock. `o` is registered.

    Members
    -------
    i
        Bytes from the line.
    o
        Tokens.
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "i": In(stream.Signature(8)),
                "o": Out(stream.Signature(TOKEN)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        escaped = Signal()
        m.d.comb += self.i.ready.eq(~self.o.valid | self.o.ready)

        with m.If(self.i.ready):
            m.d.sync += self.o.valid.eq(0)
        with m.If(self.i.ready & self.i.valid):
            byte = self.i.payload
            is_end, is_escape = byte == END, byte == ESC
            m.d.sync += [
                escaped.eq(is_escape & ~escaped),
                self.o.valid.eq(~is_escape | escaped),
                self.o.payload.end.eq(is_end),
                self.o.payload.data.eq(byte),
            ]
            with m.If(escaped & (byte == ESC_END)):
                m.d.sync += self.o.payload.data.eq(END)
            with m.If(escaped & (byte == ESC_ESC)):
                m.d.sync += self.o.payload.data.eq(ESC)
        return m


class SlipEncoder(wiring.Component):
    """Frames messages: END, the bytes with END and ESC escaped, END.

    Latency two clocks from a message's first byte at `i` to that byte at `o` (its END comes in
    between); throughput one byte of `o` a clock. `o` is registered.

    Members
    -------
    i
        Bytes of messages.
    o
        Bytes for the line.
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "i": In(stream.Signature(BYTE)),
                "o": Out(stream.Signature(8)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        free = Signal()
        byte = self.i.payload.data
        is_end = Signal()
        is_special = Signal()
        m.d.comb += [
            free.eq(~self.o.valid | self.o.ready),
            is_end.eq(byte == END),
            is_special.eq(is_end | (byte == ESC)),
        ]
        with m.If(free):
            m.d.sync += self.o.valid.eq(0)

        def send(value):
            m.d.sync += [self.o.valid.eq(1), self.o.payload.eq(value)]

        with m.FSM():
            with m.State("START"), m.If(free & self.i.valid):
                send(END)
                m.next = "BODY"
            with m.State("BODY"), m.If(free & self.i.valid):
                with m.If(is_special):
                    send(ESC)
                    m.next = "CODE"
                with m.Else():
                    send(byte)
                    m.d.comb += self.i.ready.eq(1)
                    with m.If(self.i.payload.last):
                        m.next = "END"
            with m.State("CODE"), m.If(free):
                send(Mux(is_end, ESC_END, ESC_ESC))
                m.d.comb += self.i.ready.eq(1)
                m.next = "BODY"
                with m.If(self.i.payload.last):
                    m.next = "END"
            with m.State("END"), m.If(free):
                send(END)
                m.next = "START"
        return m
