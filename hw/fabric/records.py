"""The records of a core: those in force, and those that are written for the next layer."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from spikewright.hw.cores.streams import record_layout
from spikewright.hw.fabric.load import RECORD_KINDS, record_write_layout, whole
from spikewright.machine.blocks import WORD, Machine
from spikewright.machine.configuration import (
    KeepRecord,
    LayerRecord,
    PassRecord,
    ShareRecord,
    SourceRecord,
)
from spikewright.machine.loading import LoadKind

__all__ = ["Records"]


class Records(wiring.Component):
    """Takes records from a load node; RUN takes them into force.

    Latency: one clock from `write.run` to `start`, the first clock in which the new records are
    valid; one from `write.frame` to `bank`, and from a frame's keep record to `frame_keep`, which
    is in force at once. Records stay until the next RUN.

    `layer`, `share` and `keep` are each two registers, and so are one or two sources. More of them,
    and the passes, are distributed RAM in two halves that change places at RUN: what is not written
    anew before a RUN is what it was two layers ago, so that a program sends all sources and passes
    of every layer.

    Members
    -------
    write
        A load node's `records`.
    item_source_number, item_source, walk_source_number, walk_source, pass_number, digit
        Read ports: the record of that number, in the same clock.
    """

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        source, digit = (record_layout(kind, machine) for kind in (SourceRecord, PassRecord))
        keep = record_layout(KeepRecord, machine)
        super().__init__(
            {
                "write": In(record_write_layout(machine)),
                "layer": Out(record_layout(LayerRecord, machine)),
                "share": Out(record_layout(ShareRecord, machine)),
                "keep": Out(keep),
                "frame_keep": Out(keep),
                "start": Out(1),
                "bank": Out(1),
                "item_source_number": In(machine.widths["source"]),
                "item_source": Out(source),
                "walk_source_number": In(machine.widths["source"]),
                "walk_source": Out(source),
                "pass_number": In(machine.widths["pass"]),
                "digit": Out(digit),
            }
        )

    def elaborate(self, platform):
        m = Module()
        start, bank, half = Signal(), Signal(), Signal()
        m.d.sync += [
            start.eq(self.write.run),
            bank.eq(bank ^ self.write.frame),
            half.eq(half ^ self.write.run),
        ]
        m.d.comb += [self.start.eq(start), self.bank.eq(bank)]
        self._double(m, "layer", self._kind(LoadKind.LAYER), self.layer)
        self._double(m, "share", self._kind(LoadKind.SHARE), self.share)
        of_frame = self.write.index[: len(self.pass_number)].any()  # as an instruction's index
        keep = self._kind(LoadKind.KEEP)
        self._double(m, "keep", keep & ~of_frame, self.keep)
        frame_keep = Signal(self.frame_keep.shape())  # none, until the first record
        with m.If(keep & of_frame):
            m.d.sync += frame_keep.eq(whole(self.write.row, len(Value.cast(frame_keep))))
        m.d.comb += self.frame_keep.eq(frame_keep)

        self._sources(m, half)
        self._table(m, "digit", self._kind(LoadKind.PASS), half, self.pass_number, self.digit)
        return m

    def _kind(self, kind: LoadKind) -> Value:
        return self.write.kind[RECORD_KINDS.index(kind)]

    def _sources(self, m: Module, half: Value) -> None:
        """Registers where a choice of them is smaller than two memories."""
        write, count = self._kind(LoadKind.SOURCE), self.machine.walker.sources
        reads = {
            "item": (self.item_source_number, self.item_source),
            "walk": (self.walk_source_number, self.walk_source),
        }
        if count > 2:
            for name, (number, record) in reads.items():
                self._table(m, name, write, half, number, record)
            return
        sources = [Signal(self.item_source.shape(), name=f"source_{n}") for n in range(count)]
        for place, source in enumerate(sources):
            named = self.write.index[0] == place if count > 1 else Const(1)
            self._double(m, f"source_{place}", write & named, source)
        for number, record in reads.values():
            m.d.comb += record.eq(Mux(number, sources[1], sources[0]) if count > 1 else sources[0])

    def _double(self, m: Module, name: str, write: Value, record: Any) -> None:
        """A record in force, and the next one. Without reset: nothing reads before a RUN."""
        bits = len(Value.cast(record))
        following = Signal(bits, name=f"next_{name}", reset_less=True)
        current = Signal(bits, name=f"current_{name}", reset_less=True)
        with m.If(write):
            m.d.sync += following.eq(whole(self.write.row, bits))
        with m.If(self.write.run):
            m.d.sync += current.eq(following)
        m.d.comb += record.as_value().eq(current)

    def _table(
        self, m: Module, name: str, write: Value, half: Value, number: Value, record: Any
    ) -> None:
        """A read port. A memory of its own for each field of a wide record: some are not read."""
        row = whole(self.write.row, len(Value.cast(record)))
        fields = [(key, len(Value.cast(record[key]))) for key, _ in record.shape()]
        wide = len(row) > WORD
        parts = [(record[key], bits) for key, bits in fields] if wide else [(record, len(row))]
        offset = 0
        for place, (part, bits) in enumerate(parts):
            m.submodules[f"{name}_{place}"] = memory = Memory(
                shape=bits, depth=2 << len(number), init=[]
            )
            writer, reader = memory.write_port(), memory.read_port(domain="comb")
            m.d.comb += [
                writer.addr.eq(Cat(self.write.index[: len(number)], ~half)),
                writer.data.eq(row[offset : offset + bits]),
                writer.en.eq(write),
                reader.addr.eq(Cat(number, half)),
                Value.cast(part).eq(reader.data),
            ]
            offset += bits
