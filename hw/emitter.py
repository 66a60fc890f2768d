"""The last stage of a source: from the spikes of a word to events, one after the other."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from spikewright.hw.encoder import Encoder
from spikewright.hw.event import event_layout
from spikewright.hw.walker import mark_layout
from spikewright.machine.hardware import HardwareShape

__all__ = ["Emitter", "record_layout"]


def record_layout(shape: HardwareShape, encoder: Encoder) -> data.StructLayout:
    """A memory word with at least one event in it, or the last word of a step."""
    return data.StructLayout(
        {
            "mask": encoder.mask.shape(),
            "negative": encoder.negative.shape(),
            "digit": mark_layout(shape)["digit"].shape if encoder.planes else 0,
            "weight": shape.weight_address_bits,
            "word": shape.word_address_bits,
            "rows": shape.tap_bits,
            "cols": shape.tap_bits,
            "last": 1,
        }
    )


class Emitter(wiring.Component):
    """Sends an event for each set bit of a record's mask, lowest first, then the token of the last.

    One event a clock as long as the sink is ready; two clocks from record to event.

    Members
    -------
    i : records
    o : events; the bit's index becomes the exponent (as `encoder` says) or is added to the weight
        address
    busy : something is still inside
    """

    def __init__(self, shape: HardwareShape, encoder: Encoder) -> None:
        self._exponents = encoder.exponents
        super().__init__(
            {
                "i": In(stream.Signature(record_layout(shape, encoder))),
                "o": Out(stream.Signature(event_layout(shape))),
                "busy": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        record, full = Signal(self.i.p.shape(), reset_less=True), Signal()
        mask, negative, event = record.mask, record.negative, self.o.p
        lowest, rest = mask & -mask, Signal.like(mask)
        index = Signal(range(max(2, len(mask))))
        for bit in range(len(mask)):
            with m.If(lowest[bit]):
                m.d.comb += index.eq(bit)
        m.d.comb += rest.eq(mask & (mask - 1))
        some = mask.any()
        # Done with the record in this clock: its only bit goes out, or its token, or it was empty.
        final = Mux(record.last, ~some, ~rest.any())
        send = Signal()
        m.d.comb += [
            send.eq(full & (~self.o.valid | self.o.ready)),
            self.i.ready.eq(~full | (send & final)),
            self.busy.eq(full | self.o.valid),
        ]
        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        with m.If(send):
            m.d.sync += [
                self.o.valid.eq(1),
                event.weight.eq(record.weight + (0 if self._exponents else index)),
                event.word.eq(record.word),
                event.rows.eq(record.rows),
                event.cols.eq(record.cols),
                event.shift.eq(index if self._exponents else record.digit),
                # One sign for all, or a sign each.
                event.negative.eq(negative if len(negative) < 2 else (negative & lowest).any()),
                event.token.eq(~some),
                mask.eq(rest),
            ]
            with m.If(final):
                m.d.sync += full.eq(0)
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += [record.eq(self.i.p), full.eq(1)]
        return m
