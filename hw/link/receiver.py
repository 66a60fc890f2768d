"""Messages from the host: kept until their CRC has held."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from spikewright.hw.cells.memory import BlockMemory
from spikewright.hw.link.crc import ONES, RESIDUE, next_crc
from spikewright.hw.slip import TOKEN
from spikewright.machine.blocks import Machine
from spikewright.machine.link import MAX_MESSAGE, WORD_BYTES, Command, Kind, row_words

__all__ = ["MESSAGE", "Receiver", "choose_last_part", "last_part"]

MESSAGE = data.StructLayout({"left": 10, "rows": 8, "whole": 1})
"""A message whose CRC has held. `left`: bytes less 1, without CRC. Read as a WRITE or FRAME, it is
made of `whole` rows, at least one; `rows` of a WRITE."""

_CRC = 4


def last_part(machine: Machine) -> Signal:
    """A register for the number of the last word of a row."""
    return Signal(range(max(2, *(row_words(machine, kind) for kind in Kind))), name="last_part")


def choose_last_part(
    m: Module, machine: Machine, kind: Value, register: Signal, writes: Value
) -> None:
    """What that is for the memory `kind` of a WRITE; 0 of anything else."""
    m.d.sync += register.eq(0)
    with m.If(writes), m.Switch(kind):
        for one in Kind:
            if row_words(machine, one) > 1:
                with m.Case(one):
                    m.d.sync += register.eq(row_words(machine, one) - 1)


class Receiver(wiring.Component):
    """Takes a message in while the one before is executed; drops what is none.

    Dropped are messages with a wrong CRC, of more than MAX_MESSAGE bytes, or too short for a
    command, a tag and a CRC; frames without bytes are ignored.

    Latency: two clocks from a message's end at `i` to `message`. Throughput: a byte a clock. `i`
    waits from a message's end until it is taken.

    Members
    -------
    i
        Tokens of the SLIP decoder.
    message
        The message; its bytes can be read from when it is taken until the next is offered.
    address, data
        Byte `address` - 5 of it, two clocks later. All is modulo 1024.
    dropped
        How many messages were dropped; stays at 255.
    """

    OFFSET = _CRC + 1
    """The byte counter begins so far below zero: behind the CRC it is the payload less 1."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        super().__init__(
            {
                "i": In(stream.Signature(TOKEN)),
                "message": Out(stream.Signature(MESSAGE)),
                "address": In(10),
                "data": Out(8),
                "dropped": Out(8),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.memory = memory = BlockMemory(8, 2 * MAX_MESSAGE)
        bank, dropped = Signal(), Signal(8)
        crc = Signal(32, init=ONES)
        count = Signal(11, init=2048 - self.OFFSET)
        overlong, match, fresh = Signal(), Signal(), Signal(init=1)
        byte = self.i.payload.data
        taken, clear = Signal(), Signal()
        m.d.comb += [
            memory.write.enable.eq(taken),
            memory.write.address.eq(Cat(count[:10], bank)),
            memory.write.data.eq(byte),
            memory.address.eq(Cat(self.address, ~bank)),
            self.data.eq(memory.data),
            self.dropped.eq(dropped),
            self.message.payload.left.eq(count),
        ]
        m.d.sync += match.eq(crc == RESIDUE)
        with m.If(taken):
            m.d.sync += [
                crc.eq(next_crc(crc, crc[:8] ^ byte)),
                count.eq(count + 1),
                overlong.eq(overlong | (count == MAX_MESSAGE - self.OFFSET)),
                fresh.eq(0),
            ]
        self._watch(m, taken, clear, count, byte)
        with m.FSM():
            with m.State("RECEIVE"):
                m.d.comb += [
                    self.i.ready.eq(1),
                    taken.eq(self.i.valid & ~self.i.payload.end),
                ]
                with m.If(self.i.valid & self.i.payload.end & ~fresh):
                    m.next = "CHECK"
            with m.State("CHECK"):
                with m.If(match & ~overlong & ~count[-1] & count[:10].any()):
                    m.next = "OFFER"
                with m.Else():
                    m.d.comb += clear.eq(1)
                    m.d.sync += dropped.eq(dropped + ~dropped.all())
                    m.next = "RECEIVE"
            with m.State("OFFER"):
                m.d.comb += [self.message.valid.eq(1), clear.eq(self.message.ready)]
                with m.If(self.message.ready):
                    m.d.sync += bank.eq(~bank)
                    m.next = "RECEIVE"
        with m.If(clear):
            m.d.sync += [
                crc.eq(ONES),
                count.eq(-self.OFFSET),
                overlong.eq(0),
                fresh.eq(1),
            ]
        return m

    def _watch(self, m: Module, taken: Value, clear: Value, count: Value, byte: Value) -> None:
        """Counts rows. The last four bytes are the CRC, which shows only at the end: byte n proves
        that byte n - 4 was payload, so rows are counted four bytes late, without looking."""
        head, low = count[-1], count[:3]  # bytes 0 to 4; the last three bits of n - 5
        writes, frames, sized = Signal(), Signal(), Signal()
        counting, whole = Signal(), Signal()
        place, size = Signal(range(WORD_BYTES)), Signal(range(WORD_BYTES))
        final = last_part(self.machine)
        part, rows = Signal.like(final, name="part"), Signal(8)
        with m.If(taken & head & (low == 3)):
            m.d.sync += [writes.eq(byte == Command.WRITE), frames.eq(byte == Command.FRAME)]
        with m.If(taken & head & (low == 5)):
            choose_last_part(m, self.machine, byte, final, writes)
            m.d.sync += [
                sized.eq(writes | ((byte != 0) & (byte <= WORD_BYTES))),
                size.eq(WORD_BYTES - 1),
            ]
            with m.If(frames):
                m.d.sync += size.eq(byte[:3] - 1)
        with m.If(taken & ~head & (low == 4)):
            m.d.sync += counting.eq(1)
        with m.If(taken & counting):
            m.d.sync += [place.eq(place + 1), whole.eq(0)]
            with m.If(place == size):
                m.d.sync += [place.eq(0), part.eq(part + 1)]
                with m.If(part == final):
                    m.d.sync += [part.eq(0), rows.eq(rows + 1), whole.eq(1)]
        with m.If(clear):
            m.d.sync += [s.eq(0) for s in (counting, whole, place, part, rows)]
        m.d.comb += [
            self.message.payload.rows.eq(rows),
            self.message.payload.whole.eq(whole & sized),
        ]
