"""Whole messages of :mod:`.protocol`: received into buffers, and replies sent."""

from amaranth.hdl import Array, Cat, Module, Mux, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.crc.catalog import CRC32_ISO_HDLC
from amaranth.lib.wiring import In, Out, connect, flipped

from spikewright.hw.load import ADDRESS_BITS
from spikewright.hw.memory import make_memory
from spikewright.hw.queue import Stage
from spikewright.hw.slip import BYTE, TOKEN
from spikewright.machine.hardware import HardwareShape
from spikewright.machine.protocol import MAX_MESSAGE

__all__ = [
    "CHUNK",
    "CHUNK_BYTES",
    "MESSAGE_BYTE",
    "Checksum",
    "MemoryTable",
    "Receiver",
    "Serialiser",
    "WriteCheck",
]

CRC_BYTES = 4
MIN_MESSAGE = 2 + CRC_BYTES

MESSAGE_BYTE = data.StructLayout({"data": 8, "last": 1, "writable": 1})
"""A byte of a received message without its CRC. `writable` is the same over the message: read as a
WRITE, every word of it lies in a memory."""

CHUNK_BYTES = 10
CHUNK = data.StructLayout({"data": 8 * CHUNK_BYTES, "last_byte": range(CHUNK_BYTES), "last": 1})
"""A part of a reply: bytes 0 to `last_byte` of `data`; `last` marks the reply's last part."""


class MemoryTable(wiring.Component):
    """Looks up the geometry of a host-loadable memory; latency one clock.

    Members
    -------
    id
        Memory id.
    known
        There is such a memory.
    word_last
        Bytes of a word less one.
    words
        Depth.
    """

    def __init__(self, shape: HardwareShape) -> None:
        self.memories = (shape.frame, *shape.loadable())
        super().__init__(
            {
                "id": In(8),
                "known": Out(1),
                "word_last": Out(range(max(memory.word_bytes for memory in self.memories))),
                "words": Out(range(max(memory.words for memory in self.memories) + 1)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.d.sync += self.known.eq(0)
        with m.Switch(self.id):
            for memory in self.memories:
                with m.Case(memory.id):
                    m.d.sync += [
                        self.known.eq(1),
                        self.word_last.eq(memory.word_bytes - 1),
                        self.words.eq(memory.words),
                    ]
        return m


class WriteCheck(wiring.Component):
    """Watches a message come in and decides whether it is a good WRITE.

    The last four bytes are the CRC, which shows only at the end: byte `index` proves that byte
    ``index - 4`` was payload, so payload is counted from byte 10 on, without looking at it.

    Members
    -------
    valid, index, data
        A byte of the message, and its number in it (or anything above MAX_MESSAGE).
    good
        A clock after the last byte: the words are whole, at least one, and all inside a memory.
    """

    FIRST, END = 2, 6
    """Position of the header: memory id and first word."""

    def __init__(self, shape: HardwareShape) -> None:
        self.shape = shape
        super().__init__(
            {
                "valid": In(1),
                "index": In(range(MAX_MESSAGE + 2)),
                "data": In(8),
                "good": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.table = table = MemoryTable(self.shape)
        header = Signal(8 + ADDRESS_BITS)
        room = Signal(signed(ADDRESS_BITS + 2))
        position = Signal.like(table.word_last)
        whole = Signal()
        bad = Signal()
        m.d.comb += [table.id.eq(header[:8]), self.good.eq(whole & ~bad)]

        with m.If(self.valid):
            with m.If(self.index == 0):
                m.d.sync += whole.eq(0)
            with m.If((self.index >= self.FIRST) & (self.index < self.END)):
                m.d.sync += header.eq(Cat(header[8:], self.data))
            # The header and its table entry have settled, the count has not begun.
            with m.If(self.index == self.END + 2):
                m.d.sync += [
                    room.eq(table.words - header[8:]),
                    position.eq(0),
                    bad.eq(~table.known),
                ]
            with m.If(self.index >= self.END + CRC_BYTES):
                with m.If(position == table.word_last):
                    m.d.sync += [
                        position.eq(0),
                        whole.eq(1),
                        room.eq(room - 1),
                        bad.eq(bad | (room <= 0)),
                    ]
                with m.Else():
                    m.d.sync += [position.eq(position + 1), whole.eq(0)]
        return m


class Receiver(wiring.Component):
    """Stores messages until their CRC has held, then passes them on; others are dropped.

    Two buffers in one block RAM: a message is received while the one before is read out. While
    both are full, `i` is held back. Dropped are messages with a wrong CRC, of more than MAX_MESSAGE
    bytes, or too short for a command, a tag and a CRC; frames without bytes are ignored.

    From the END of a message to its first byte at `o` pass 4 clocks (if the one before is gone);
    throughput of both sides one byte a clock, but for one clock a message at `i`.

    Members
    -------
    i
        Tokens of the SLIP decoder.
    o
        Bytes of good messages, without the CRC; registered.
    dropped
        How many messages were dropped; stays at 255.
    """

    def __init__(self, shape: HardwareShape) -> None:
        self.shape = shape
        super().__init__(
            {
                "i": In(stream.Signature(TOKEN)),
                "o": Out(stream.Signature(MESSAGE_BYTE)),
                "dropped": Out(8),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.crc = crc = CRC32_ISO_HDLC(data_width=8).create()
        m.submodules.check = check = WriteCheck(self.shape)
        m.submodules.storage = storage = make_memory(8, 2 * MAX_MESSAGE)
        write, read = storage.write_port(), storage.read_port()
        slots = Array(
            Signal(
                data.StructLayout({"full": 1, "end": range(MAX_MESSAGE), "writable": 1}),
                name=f"slot_{bank}",
            )
            for bank in range(2)
        )

        # Reception: `index` counts the bytes, and stays just above MAX_MESSAGE.
        bank = Signal()
        index = Signal(range(MAX_MESSAGE + 2))
        byte_taken = Signal()
        match = Signal()
        m.d.sync += match.eq(crc.match_detected)
        m.d.comb += [
            write.addr.eq(Cat(index[: len(write.addr) - 1], bank)),
            write.data.eq(self.i.payload.data),
            write.en.eq(byte_taken),
            crc.data.eq(self.i.payload.data),
            crc.valid.eq(byte_taken),
            check.data.eq(self.i.payload.data),
            check.index.eq(index),
            check.valid.eq(byte_taken),
        ]
        with m.FSM():
            with m.State("RECEIVE"):
                m.d.comb += [
                    self.i.ready.eq(~slots[bank].full),
                    byte_taken.eq(self.i.valid & self.i.ready & ~self.i.payload.end),
                ]
                with m.If(byte_taken & (index != MAX_MESSAGE + 1)):
                    m.d.sync += index.eq(index + 1)
                with m.If(self.i.valid & self.i.ready & self.i.payload.end & (index != 0)):
                    m.next = "CHECK"
            with m.State("CHECK"):
                m.d.comb += crc.start.eq(1)
                m.d.sync += index.eq(0)
                with m.If(match & (index >= MIN_MESSAGE) & (index <= MAX_MESSAGE)):
                    m.d.sync += [
                        slots[bank].full.eq(1),
                        slots[bank].end.eq(index - CRC_BYTES - 1),
                        slots[bank].writable.eq(check.good),
                        bank.eq(~bank),
                    ]
                with m.Elif(self.dropped != 255):
                    m.d.sync += self.dropped.eq(self.dropped + 1)
                m.next = "RECEIVE"
        self._add_reading(m, read, slots)
        return m

    def _add_reading(self, m, read, slots):
        """Reading out. The second register keeps logic out of the clock of the block RAM."""
        m.submodules.stage = stage = Stage(MESSAGE_BYTE)
        connect(m, stage.o, flipped(self.o))
        slot = Signal(slots[0].shape())
        read_bank = Signal()
        read_index = Signal(range(MAX_MESSAGE))
        is_last = Signal()
        m.d.comb += [
            slot.eq(slots[read_bank]),
            is_last.eq(read_index == slot.end),
            read.addr.eq(Cat(read_index, read_bank)),
            read.en.eq(~stage.i.valid | stage.i.ready),
            stage.i.payload.data.eq(read.data),
        ]
        with m.If(read.en):
            m.d.sync += [
                stage.i.valid.eq(slot.full),
                stage.i.payload.last.eq(is_last),
                stage.i.payload.writable.eq(slot.writable),
            ]
            with m.If(slot.full):
                m.d.sync += read_index.eq(read_index + 1)
                with m.If(is_last):
                    m.d.sync += [
                        read_index.eq(0),
                        read_bank.eq(~read_bank),
                        slots[read_bank].full.eq(0),
                    ]


class Serialiser(wiring.Component):
    """Turns parts of replies into bytes; the parts of one reply stay together.

    Latency one clock; one clock a byte, and one more for each part.

    Members
    -------
    i_first, i_second
        Parts of replies; replies at `i_first` go first.
    o
        Bytes; registered.
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "i_first": In(stream.Signature(CHUNK)),
                "i_second": In(stream.Signature(CHUNK)),
                "o": Out(stream.Signature(BYTE)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        chunk = Signal(CHUNK)
        inside = Signal()
        take_second = Signal()
        # A reply of the second that has several parts would have to be protected likewise.
        m.d.comb += take_second.eq(~inside & ~self.i_first.valid)
        with m.If(~self.o.valid):
            m.d.comb += [
                self.i_first.ready.eq(~take_second),
                self.i_second.ready.eq(take_second),
            ]
            m.d.sync += chunk.eq(Mux(take_second, self.i_second.payload, self.i_first.payload))
            m.d.sync += self.o.valid.eq(Mux(take_second, self.i_second.valid, self.i_first.valid))
            with m.If(self.i_first.valid & self.i_first.ready):
                m.d.sync += inside.eq(~self.i_first.payload.last)
        with m.Elif(self.o.ready):
            m.d.sync += [chunk.data.eq(chunk.data >> 8), chunk.last_byte.eq(chunk.last_byte - 1)]
            with m.If(chunk.last_byte == 0):
                m.d.sync += self.o.valid.eq(0)
        m.d.comb += [
            self.o.payload.data.eq(chunk.data[:8]),
            self.o.payload.last.eq(chunk.last & (chunk.last_byte == 0)),
        ]
        return m


class Checksum(wiring.Component):
    """Appends the CRC-32 to every message; no latency, one byte a clock, one more a message.

    Members
    -------
    i, o
        Messages without and with their CRC.
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "i": In(stream.Signature(BYTE)),
                "o": Out(stream.Signature(BYTE)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.crc = crc = CRC32_ISO_HDLC(data_width=8).create()
        position = Signal(range(CRC_BYTES))
        m.d.comb += crc.data.eq(self.i.payload.data)
        with m.FSM():
            with m.State("BODY"):
                m.d.comb += [
                    self.o.valid.eq(self.i.valid),
                    self.o.payload.data.eq(self.i.payload.data),
                    self.i.ready.eq(self.o.ready),
                    crc.valid.eq(self.i.valid & self.i.ready),
                ]
                with m.If(self.i.valid & self.i.ready & self.i.payload.last):
                    m.next = "CRC"
            with m.State("CRC"):
                m.d.comb += [
                    self.o.valid.eq(1),
                    self.o.payload.data.eq(crc.crc.word_select(position, 8)),
                    self.o.payload.last.eq(position == CRC_BYTES - 1),
                ]
                with m.If(self.o.ready):
                    m.d.sync += position.eq(position + 1)
                    with m.If(self.o.payload.last):
                        m.d.comb += crc.start.eq(1)
                        m.next = "BODY"
        return m
