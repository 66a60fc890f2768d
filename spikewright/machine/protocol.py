"""The host protocol: framed, CRC-checked messages over any byte stream (a UART, or a simulation).

A message is SLIP-framed (RFC 1055): END bytes around it, END and ESC inside it escaped. Garbage
before an END is dropped with the broken message it makes, so both sides are in step again after one
END. Inside the frame::

    request: command, tag, payload..., CRC-32 (little endian, as in zlib, over all before it)
    reply:   command | 0x80, tag, status, payload..., CRC-32

A message with a wrong CRC, or of more than MAX_MESSAGE bytes, has no effect and no reply; the host
sends again when it hears nothing. Numbers are little endian. `tag` is the host's own, and returned.

HELLO  -> version (1), runs outstanding (1: accepted and not yet answered, 0..2), dropped messages
          (1, saturating), shape digest (4)
WRITE   memory id (1), first word (3), then whole words of `word_bytes` bytes each.
        The frame goes to the bank that is free; while neither is, the message waits
        (back-pressure). Any other memory is refused with BUSY while a run is outstanding.
RUN    -> when the image is done: potentials (4 each, signed, `outputs` of them), class (2),
          clocks (4). Two runs may be outstanding, a third waits. The answers come in order.
ABORT   stops and forgets outstanding runs (they get no reply); loaded memories stay.
"""

from __future__ import annotations

import enum
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

__all__ = [
    "MAX_MESSAGE",
    "VERSION",
    "Command",
    "Decoder",
    "Reply",
    "Result",
    "Status",
    "parse_result",
    "request",
    "slip",
    "write_requests",
]

VERSION = 1
MAX_MESSAGE = 1024
"""Bytes of a request between its ENDs before escaping, CRC included."""

END, ESC, ESC_END, ESC_ESC = 0xC0, 0xDB, 0xDC, 0xDD


class Command(enum.IntEnum):
    """What a request asks for."""

    HELLO = 0x01
    WRITE = 0x02
    RUN = 0x03
    ABORT = 0x04


class Status(enum.IntEnum):
    """How a request went."""

    OK = 0
    BUSY = 1
    """A run is outstanding; wait for its reply, or abort."""
    BAD_COMMAND = 2
    BAD_WRITE = 3
    """Unknown memory, words beyond its end, or not whole words; nothing was written."""


def slip(message: bytes) -> bytes:
    """Frame one message."""
    body = message.replace(bytes([ESC]), bytes([ESC, ESC_ESC])).replace(
        bytes([END]), bytes([ESC, ESC_END])
    )
    return bytes([END]) + body + bytes([END])


def request(command: Command, tag: int, payload: bytes = b"") -> bytes:
    """A framed request, ready to send."""
    message = bytes([command, tag & 0xFF]) + payload
    message += struct.pack("<I", zlib.crc32(message))
    if len(message) > MAX_MESSAGE:
        raise ValueError(f"message of {len(message)} bytes is longer than {MAX_MESSAGE}")
    return slip(message)


def write_requests(memory: int, word_bytes: int, data: bytes, tag: int = 0) -> Iterator[bytes]:
    """Split `data` (whole words, from word 0 on) into framed WRITE requests of consecutive tags."""
    if len(data) % word_bytes:
        raise ValueError(f"{len(data)} bytes are not whole words of {word_bytes}")
    words = (MAX_MESSAGE - 10) // word_bytes
    step = words * word_bytes
    for index, start in enumerate(range(0, len(data), step)):
        head = bytes([memory]) + (start // word_bytes).to_bytes(3, "little")
        yield request(Command.WRITE, tag + index, head + data[start : start + step])


@dataclass(frozen=True)
class Reply:
    """A message whose CRC holds."""

    command: int
    tag: int
    status: Status
    payload: bytes


@dataclass(frozen=True)
class Result:
    """What a RUN answers: final potentials of the last layer, their argmax, clocks in flight."""

    potentials: tuple[int, ...]
    label: int
    clocks: int


def parse_result(payload: bytes, outputs: int) -> Result:
    """The payload of a reply to RUN, of `outputs` potentials."""
    *potentials, label, clocks = struct.unpack(f"<{outputs}iHI", payload)
    return Result(tuple(potentials), label, clocks)


class Decoder:
    """Takes received bytes in any portions, yields the replies whose CRC holds."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._escaped = False
        self.dropped = 0

    def feed(self, data: bytes) -> Iterator[Reply]:
        """The replies that end in `data`."""
        for byte in data:
            if byte == END:
                message, self._buffer = bytes(self._buffer), bytearray()
                self._escaped = False
                if not message:
                    continue
                body, crc = message[:-4], message[-4:]
                good = len(body) >= 3 and struct.pack("<I", zlib.crc32(body)) == crc
                if good and body[0] & 0x80 and body[2] in list(Status):
                    yield Reply(body[0] & 0x7F, body[1], Status(body[2]), body[3:])
                else:
                    self.dropped += 1
            elif self._escaped:
                self._buffer.append({ESC_END: END, ESC_ESC: ESC}.get(byte, byte))
                self._escaped = False
            elif byte == ESC:
                self._escaped = True
            else:
                self._buffer.append(byte)
