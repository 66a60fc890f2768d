"""The host protocol of the second machine, version 2.

Framing, CRC and tags are those of :mod:`spikewright.machine.protocol`: SLIP frames, a request of
``command, tag, payload, CRC-32``, a reply of ``command | 0x80, tag, status, payload, CRC-32``. A
message with a wrong CRC, or of more than MAX_MESSAGE bytes, has no effect and no reply. Numbers are
little endian.

**No message waits.** What cannot be done now is answered BUSY and has had no effect; the host sends
it again. So HELLO and ABORT are answered within :data:`ANSWER_CLOCKS` of their last byte, whatever
the machine does, as long as the host takes a byte a clock. A line without flow control (a UART) can
lose bytes only where the host has more than two requests without an answer, RUN apart.

HELLO  -> version (1), runs outstanding (1: accepted and not yet answered, 0..2), dropped messages
          (1, saturating), machine digest (4)
WRITE   kind (1), core (1; 63: all), index (2), then words of 5 bytes, 36 bits each. They go to the
        memory of that :class:`Kind` from `index` on. A row is :func:`row_words` words, the low bits
        first, and one index. BUSY while a run is outstanding.
        WRITE stops the program and forgets a frame that was not run.
FRAME   bytes (1: 1..5), 0 (1), index (2), then words of so many bytes. They go to the map addresses
        from `index` on, of the next image's frame. The bytes are a word's upper ones: a word is the
        number that they are, shifted until its top bit is bit 35 (of 5 bytes the low 4 bits drop).
        BUSY while a frame waits for its image to begin, and while there is no room: the words of
        one message may wait, and those of the next.
RUN     The frame is complete. BUSY while another frame waits for its image to begin, so that at
        most two runs are outstanding.
        -> when the image is done, one reply or several, each: class (2), clocks (4), first (2),
        then up to :data:`PART` outputs from number `first` on, of 5 bytes each, signed. Replies to
        other requests may come in between.
ABORT   stops and forgets outstanding runs and the next frame. A run that was not answered in full
        before ABORT's reply never is. What WRITE loaded stays.
"""

from __future__ import annotations

import enum
import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from spikewright.machine.blocks import WORD, Machine, address_bits
from spikewright.machine.configuration import AxisEntry
from spikewright.machine.protocol import MAX_MESSAGE, Decoder, Reply, Status, slip

__all__ = [
    "ALL",
    "ANSWER_CLOCKS",
    "MAX_MESSAGE",
    "PART",
    "VERSION",
    "WORD_BYTES",
    "Answer",
    "Answers",
    "Command",
    "Decoder",
    "Hello",
    "Kind",
    "Reply",
    "Status",
    "depth",
    "digest",
    "frame_bytes",
    "frame_requests",
    "parse_hello",
    "request",
    "row_words",
    "slip",
    "write_requests",
]

VERSION = 2
WORD_BYTES = 5
"""Bytes of a word of WRITE, and of an output."""
PART = 16
"""Outputs in one reply to RUN, at most."""
ANSWER_CLOCKS = 2000
"""Clocks from the last byte of a HELLO or an ABORT to the last byte of its reply, at most."""
ALL = 63
"""The core of a WRITE that all cores obey."""
_HEAD, _CRC = 6, 4


class Command(enum.IntEnum):
    """What a request asks for."""

    HELLO = 1
    WRITE = 2
    RUN = 3
    ABORT = 4
    FRAME = 5


class Kind(enum.IntEnum):
    """What a WRITE loads; the codes are those of the load chain."""

    PROGRAM = 3
    AXIS = 4
    WEIGHTS = 5
    PARAMETERS = 6
    """The fire unit above the address in its memory, as on the load chain."""
    OUTPUTS = 7
    """At index 0: how many outputs RUN answers, at most the machine's `outputs`. It is the host
    port's own; 0 after reset."""


def depth(machine: Machine, kind: Kind) -> int:
    """Rows of a memory: index + rows are at most this."""
    return {
        Kind.PROGRAM: machine.program_words,
        Kind.AXIS: machine.walker.axis_entries,
        Kind.WEIGHTS: machine.lanes.weight_rows,
        Kind.PARAMETERS: machine.fire.count << address_bits(2 * machine.fire.parameter_rows),
        Kind.OUTPUTS: 1,
    }[kind]


def row_words(machine: Machine, kind: Kind) -> int:
    """Words of a row."""
    bits = {
        Kind.AXIS: AxisEntry.size(machine.widths),
        Kind.WEIGHTS: machine.lanes.count * machine.lanes.weight_bits,
        Kind.PARAMETERS: machine.fire.parameter_bits,
    }
    return -(-bits.get(kind, WORD) // WORD)


def digest(machine: Machine) -> int:
    """What HELLO tells of the machine: 32 bits of all its parameters."""
    return zlib.crc32(f"{VERSION} {machine!r}".encode())


# ------------------------------------------------------------------------------------------ to send


def request(command: Command, tag: int, payload: bytes = b"") -> bytes:
    """A framed request, ready to send."""
    message = bytes([command, tag & 0xFF]) + payload
    message += struct.pack("<I", zlib.crc32(message))
    if len(message) > MAX_MESSAGE:
        raise ValueError(f"message of {len(message)} bytes is longer than {MAX_MESSAGE}")
    return slip(message)


def write_requests(
    machine: Machine, kind: Kind, core: int, index: int, rows: Sequence[int], tag: int = 0
) -> Iterator[bytes]:
    """Framed WRITE requests, of consecutive tags, for `rows` from `index` on."""
    words = row_words(machine, kind)
    if index + len(rows) > depth(machine, kind):
        raise ValueError(f"{len(rows)} rows from {index} on do not fit {kind.name}")
    step = (MAX_MESSAGE - _HEAD - _CRC) // (words * WORD_BYTES)
    if step == 0:
        raise ValueError(f"a row of {words} words does not fit a message")
    mask = (1 << WORD) - 1
    for number, start in enumerate(range(0, len(rows), step)):
        body = b"".join(
            (row >> WORD * part & mask).to_bytes(WORD_BYTES, "little")
            for row in rows[start : start + step]
            for part in range(words)
        )
        head = struct.pack("<BBH", kind, core, index + start)
        yield request(Command.WRITE, tag + number, head + body)


def frame_bytes(words: Sequence[int]) -> int:
    """The fewest bytes a word that lose nothing of `words`."""
    used = 0
    for word in words:
        used |= word
    low = (used & -used).bit_length() - 1 if used else WORD - 1
    return -(-(WORD - low) // 8)


def frame_requests(words: Sequence[int], index: int = 0, tag: int = 0) -> Iterator[bytes]:
    """Framed FRAME requests, of consecutive tags, for spike words from map address `index` on."""
    size = frame_bytes(words)
    step = (MAX_MESSAGE - _HEAD - _CRC) // size
    excess = 8 * size - WORD
    for number, start in enumerate(range(0, len(words), step)):
        body = b"".join(
            (word << excess if excess > 0 else word >> -excess).to_bytes(size, "little")
            for word in words[start : start + step]
        )
        head = struct.pack("<BBH", size, 0, index + start)
        yield request(Command.FRAME, tag + number, head + body)


# --------------------------------------------------------------------------------------- to receive


@dataclass(frozen=True)
class Hello:
    """What HELLO answers."""

    version: int
    runs: int
    dropped: int
    digest: int


def parse_hello(payload: bytes) -> Hello:
    """The payload of a reply to HELLO."""
    return Hello(*struct.unpack("<BBBI", payload))


@dataclass(frozen=True)
class Answer:
    """What a RUN answers: class, clocks of the image, and the outputs."""

    tag: int
    label: int
    clocks: int
    outputs: tuple[int, ...]


class Answers:
    """Joins the parts of answers with `outputs` outputs; other replies may come in between."""

    def __init__(self, outputs: int) -> None:
        self._count = outputs
        self._outputs: list[int] = []

    def feed(self, reply: Reply) -> Answer | None:
        """The answer that `reply` completes.

        Raises ValueError where a part is missing or not as long as it must be; what came before is
        forgotten. A reply that is no part of an answer is none of its business.
        """
        if reply.command != Command.RUN or reply.status is not Status.OK:
            return None
        before, self._outputs = self._outputs, []
        body = reply.payload[8:]
        if len(reply.payload) < 8 or len(body) % WORD_BYTES:
            raise ValueError(f"an answer of {len(reply.payload)} bytes")
        label, clocks, first = struct.unpack("<HIH", reply.payload[:8])
        if first == 0:
            before = []  # the run before was aborted
        outputs = [
            int.from_bytes(body[at : at + WORD_BYTES], "little", signed=True)
            for at in range(0, len(body), WORD_BYTES)
        ]
        if first != len(before) or len(outputs) != min(PART, self._count - first):
            raise ValueError(f"{len(outputs)} outputs from {first} on came behind {len(before)}")
        before += outputs
        if len(before) == self._count:
            return Answer(reply.tag, label, clocks, tuple(before))
        self._outputs = before
        return None
