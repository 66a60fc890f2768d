"""The load chain: a node a core, and what it writes there."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from spikewright.hw.cores.streams import record_layout
from spikewright.machine.blocks import WORD, Machine, address_bits
from spikewright.machine.configuration import (
    ALL_CORES,
    RECORDS,
    AxisEntry,
)
from spikewright.machine.fields import Record
from spikewright.machine.loading import LoadKind, LoadWord, parts, row_bits

__all__ = ["RECORD_KINDS", "LoadNode", "link_layout", "record_write_layout", "whole"]

RECORD_KINDS = tuple(LoadKind(opcode) for opcode in RECORDS)
"""The load kinds that are records."""


def link_layout(machine: Machine) -> data.StructLayout:
    """From a node to the next: `word`, where `valid`."""
    return data.StructLayout({"valid": 1, "word": record_layout(LoadWord, machine)})


def record_write_layout(machine: Machine) -> data.StructLayout:
    """What a node tells the records of its core; each is a pulse.

    `kind` has a bit for each of :data:`RECORD_KINDS`: a record is whole in `row` (see
    :func:`whole`), `index` is its number. `run`: all take effect; `frame`: the bank changes.
    """
    return data.StructLayout(
        {
            "kind": len(RECORD_KINDS),
            "run": 1,
            "frame": 1,
            "index": 16,
            "row": WORD * _row_words(machine),
        }
    )


def _row_words(machine: Machine) -> int:
    widths = machine.widths
    kinds: list[type[Record]] = [*RECORDS.values(), AxisEntry]
    sizes = [kind.size(widths) for kind in kinds]
    return max(map(parts, (*sizes, row_bits(machine), machine.fire.parameter_bits)))


def whole(row: Value, bits: int) -> Value:
    """What has come last into a node's `row`, of `bits` bits: words are shifted in at the top."""
    return row[len(row) - WORD * parts(bits) :][:bits]


class LoadNode(wiring.Component):
    """The node of core `core`.

    Latency: one clock from `i` to `o`. `run` and `frame` come with `o`; everything else one clock
    behind. Throughput: a word a clock. There is no back-pressure. A RUN or FRAME is at least two
    clocks behind the last word of a record.

    All rows and records are collected in one shift register, `row`, which costs no LUT. It is the
    data of all write ports, each of which has its own enable.

    Members
    -------
    abort
        A pulse: words of the program that are on their way are dropped, those for memories are not:
        the host was told that they are written.
    axis, weights, parameters
        Write ports: `enable`, `data` and `address` (of weights: `row`). `parameters.enable` has a
        bit for each fire unit.
    records
        See :func:`record_write_layout`.
    """

    def __init__(self, machine: Machine, core: int | Value) -> None:
        self.machine, self.core = machine, core
        link = link_layout(machine)
        axis, rows = AxisEntry.size(machine.widths), row_bits(machine)
        super().__init__(
            {
                "abort": In(1),
                "i": In(link),
                "o": Out(link),
                "axis": Out(
                    wiring.Signature(
                        {
                            "enable": Out(1),
                            "address": Out(machine.widths["axis"]),
                            "data": Out(axis),
                        }
                    )
                ),
                "weights": Out(
                    wiring.Signature(
                        {"enable": Out(1), "row": Out(machine.widths["weight"]), "data": Out(rows)}
                    )
                ),
                "parameters": Out(
                    wiring.Signature(
                        {
                            "enable": Out(machine.fire.count),
                            "address": Out(address_bits(2 * machine.fire.parameter_rows)),
                            "data": Out(machine.fire.parameter_bits),
                        }
                    )
                ),
                "records": Out(record_write_layout(machine)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        i = self.i
        word = Signal(i.word.shape(), reset_less=True)
        valid, own, run, frame = Signal(), Signal(), Signal(), Signal()
        record, memory = Signal(), Signal()  # the last word of a record, of a memory's row
        mine = Signal()
        m.d.comb += [
            mine.eq(i.valid & ((i.word.core == self.core) | (i.word.core == ALL_CORES))),
            self.o.valid.eq(valid),
            self.o.word.eq(word),
            self.records.run.eq(run),
            self.records.frame.eq(frame),
        ]
        m.d.sync += [
            word.eq(i.word),
            valid.eq(i.valid),
            # Decoded as the word comes in, so that what it enables follows a register.
            own.eq(mine),
            record.eq(mine & i.word.last & i.word.kind[3]),
            memory.eq(mine & i.word.last & (i.word.kind[2:] == LoadKind.AXIS >> 2)),
            run.eq(i.valid & (i.word.kind == LoadKind.RUN)),
            frame.eq(i.valid & (i.word.kind == LoadKind.FRAME)),
        ]
        row = Signal(WORD * _row_words(self.machine), reset_less=True)
        index = Signal(16, reset_less=True)
        with m.If(own):
            m.d.sync += [row.eq(Cat(row, word.data)[WORD:]), index.eq(word.index)]
        strobes = Signal(len(RECORD_KINDS))
        for bit, kind in enumerate(RECORD_KINDS):
            m.d.sync += strobes[bit].eq(record & (word.kind[:3] == kind & 7))
        with m.If(self.abort):
            m.d.sync += [s.eq(0) for s in (run, frame, record, strobes)]
            with m.If(i.word.kind[2:] != LoadKind.AXIS >> 2):
                m.d.sync += valid.eq(0)
        m.d.comb += [
            self.records.kind.eq(strobes),
            self.records.index.eq(index),
            self.records.row.eq(row),
        ]
        self._write_memories(m, memory, word, index, row)
        return m

    def _write_memories(
        self, m: Module, memory: Value, word: data.View, index: Value, row: Value
    ) -> None:
        """The ports of all memories; of the parameters' by the upper bits of the index."""
        low, units = len(self.parameters.address), self.machine.fire.count
        unit = word.index[low : low + address_bits(units)]
        axis, weights, parameters = Signal(), Signal(), Signal(units)
        code = word.kind[:2]
        m.d.sync += [
            axis.eq(memory & (code == LoadKind.AXIS & 3)),
            weights.eq(memory & (code == LoadKind.WEIGHTS & 3)),
        ]
        for number in range(units):
            named = unit == number if units > 1 else Const(1)
            m.d.sync += parameters[number].eq(memory & (code == LoadKind.PARAMETERS & 3) & named)
        m.d.comb += [
            self.axis.enable.eq(axis),
            self.axis.address.eq(index),
            self.axis.data.eq(whole(row, len(self.axis.data))),
            self.weights.enable.eq(weights),
            self.weights.row.eq(index),
            self.weights.data.eq(whole(row, len(self.weights.data))),
            self.parameters.enable.eq(parameters),
            self.parameters.address.eq(index),
            self.parameters.data.eq(whole(row, len(self.parameters.data))),
        ]
