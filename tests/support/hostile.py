"""What a broken or hostile host sends to a machine, and what must be right in spite of it.

A *stream* is a few pieces of random kinds (:data:`PIECES`), each perhaps damaged byte by byte, with
pauses and resets. Behind it HELLO and ABORT are sent, then the good images are loaded and run.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, field

import numpy as np

from spikewright.machine.configuration import RECORDS, Opcode
from spikewright.machine.fields import Record
from spikewright.machine.link import (
    MAX_MESSAGE,
    PART,
    Command,
    Kind,
    depth,
    frame_requests,
    request,
    row_words,
    slip,
    write_requests,
)
from spikewright.machine.memories import Images
from spikewright.machine.protocol import END, ESC, ESC_END, ESC_ESC
from spikewright.machine.schedule import Schedule
from spikewright.sim.rtl.session import load_requests, readout_places
from spikewright.sim.rtl.stimulus import Op, Reset, Send, UntilReply, Wait

TAG = 0x5A
"""Of the HELLO and the ABORT behind a stream, and of the first good RUN."""


class Line:
    """What the host port takes of the bytes that are sent: messages, and how many it drops."""

    def __init__(self):
        self.messages, self.dropped = [], 0
        self._bytes, self._escaped = bytearray(), False

    def feed(self, data):
        """Take bytes in."""
        for byte in data:
            if byte == END:
                if self._bytes:
                    self._end(bytes(self._bytes))
                self._bytes, self._escaped = bytearray(), False
            elif self._escaped:
                self._bytes.append({ESC_END: END, ESC_ESC: ESC}.get(byte, byte))
                self._escaped = False
            elif byte == ESC:
                self._escaped = True
            else:
                self._bytes.append(byte)

    def _end(self, message):
        body, crc = message[:-4], message[-4:]
        good = len(body) >= 2 and len(message) <= MAX_MESSAGE
        if good and struct.pack("<I", zlib.crc32(body)) == crc:
            self.messages.append(body)
        else:
            self.dropped = min(255, self.dropped + 1)


def message(command, tag, payload=b""):
    """A framed message with a good CRC, of any length."""
    body = bytes([command, tag]) + payload
    return slip(body + struct.pack("<I", zlib.crc32(body)))


@dataclass
class Victim:
    """A machine with good images, and what its host sends."""

    schedule: Schedule
    images: Images
    frames: np.ndarray
    loads: list = field(init=False)
    shots: list = field(init=False)

    def __post_init__(self):
        self.loads = list(load_requests(self.schedule, self.images))
        words = [self.schedule.frame_words(frame) for frame in self.frames]
        self.shots = [b"".join(frame_requests(one)) for one in words]

    @property
    def machine(self):
        """Its machine."""
        return self.schedule.machine

    @property
    def parts(self):
        """Replies of a RUN."""
        return -(-readout_places(self.schedule) // PART)

    def behind(self, rng, commands) -> list[Op]:
        """HELLO and ABORT in an order, and the good images again."""
        script: list[Op] = []
        for command in commands:
            script += [Send(request(command, TAG)), UntilReply(command, TAG)]
        load = b"".join(self.loads)
        if rng.random() < 0.3:  # what is still on its way to the memories is not lost
            load += request(Command.ABORT, TAG)
        script.append(Send(load))
        for number, shot in enumerate(self.shots):
            script.append(Send(shot + request(Command.RUN, TAG + number)))
            script += [UntilReply(Command.RUN, TAG + number)] * self.parts
        return script

    def stream(self, rng) -> list[Op]:
        """One hostile stream."""
        script: list[Op] = []
        for _ in range(int(rng.integers(1, 4))):
            piece = PIECES[int(rng.integers(len(PIECES)))]
            rate = float(rng.choice([0, 0, 0.0005, 0.005, 0.05]))
            for part in piece(self, rng):
                if not isinstance(part, bytes):
                    script.append(part)
                elif part:
                    data = damaged(rng, part, rate)
                    script += [Send(data)] if data else []
        return script


def damaged(rng, data, rate):
    """`data`, its bytes flipped, dropped, doubled or put in at `rate`."""
    if not rate:
        return data
    found = bytearray()
    for byte, hit in zip(data, rng.random(len(data)) < rate, strict=True):
        if not hit:
            found.append(byte)
            continue
        kind = int(rng.integers(5))
        if kind == 0:
            found.append(byte ^ 1 << int(rng.integers(8)))
        elif kind == 1:
            found += bytes([byte, byte])
        elif kind == 2:
            found += bytes([byte, int(rng.choice([END, ESC, int(rng.integers(256))]))])
        elif kind == 3:
            found.append(int(rng.integers(256)))
    return bytes(found)


def pause(rng):
    """A wait, mostly a short one."""
    return Wait(int(rng.integers(1, int(rng.choice([4, 30, 300, 3000])))))


def runs(victim, rng):
    """Frames and RUNs, more or less in their order, with pauses, ABORTs and HELLOs."""
    shot = lambda: victim.shots[int(rng.integers(len(victim.shots)))]  # noqa: E731
    for _ in range(int(rng.integers(1, 6))):
        chance = rng.random()
        if chance < 0.4:
            yield shot() + request(Command.RUN, int(rng.integers(128)))
        elif chance < 0.55:
            yield shot()
        elif chance < 0.7:
            yield request(Command.RUN, int(rng.integers(128)))
        elif chance < 0.8:
            yield request(Command.ABORT, int(rng.integers(128)))
        elif chance < 0.9:
            yield request(Command.HELLO, int(rng.integers(64)))
        else:
            yield random_frame(victim, rng)
        if rng.random() < 0.6:
            yield pause(rng)
        if rng.random() < 0.05:
            yield Reset(int(rng.choice([1, 1, 2, 4])))


def session(victim, rng):
    """A good session whose messages are cut, doubled, left out and out of order."""
    parts = [*victim.loads, *victim.shots, request(Command.RUN, 7), request(Command.RUN, 8)]
    first = int(rng.integers(len(parts)))
    parts = parts[first : first + int(rng.integers(2, 9))]
    kind = int(rng.integers(5))
    if kind == 0:
        parts = [parts[i] for i in rng.permutation(len(parts))]
    elif kind == 1:
        parts = [part for part in parts for _ in range(int(rng.integers(3)))]
    elif kind == 2:
        parts = [part[: int(rng.integers(len(part) + 1))] for part in parts]
    elif kind == 3:
        joined = b"".join(parts)
        parts = [joined[int(rng.integers(len(joined))) :], *parts[-2:]]
    for part in parts:
        yield part
        if rng.random() < 0.1:
            yield pause(rng)
    if rng.random() < 0.03:
        yield Reset(1)


def messages(victim, rng):
    """Messages with a good CRC and random contents."""
    machine = victim.machine
    for _ in range(int(rng.integers(1, 9))):
        command = int(rng.choice([1, 2, 2, 2, 3, 4, 5, 5, int(rng.integers(256))]))
        tag = int(rng.integers(TAG)) if command == Command.HELLO else int(rng.integers(256))
        payload = rng.bytes(int(rng.choice([0, 1, 3, 4, 9, 24, 100, 1014, 1030])))
        if command == Command.WRITE and rng.random() < 0.8:
            kind = int(rng.choice([*Kind, int(rng.integers(256))]))
            core = int(rng.choice([0, machine.cores - 1, machine.cores, 63, 62, 255]))
            top = depth(machine, Kind(kind)) if kind in list(Kind) else 1 << 16
            index = max(0, int(rng.choice([0, top - int(rng.integers(4)), rng.integers(top)])))
            size = 5 * (row_words(machine, Kind(kind)) if kind in list(Kind) else 1)
            body = rng.bytes(
                max(0, size * int(rng.integers(5)) + int(rng.choice([0, 0, 0, 1, -1])))
            )
            payload = struct.pack("<BBH", kind, core, index & 0xFFFF) + body
        elif command == Command.FRAME and rng.random() < 0.8:
            size = int(rng.integers(8))
            body = rng.bytes(size * int(rng.integers(6)) + int(rng.choice([0, 0, 0, 1])))
            payload = struct.pack("<BBH", size, 0, int(rng.integers(1 << 16))) + body
        yield message(command, tag, payload)
        if rng.random() < 0.2:
            yield pause(rng)


def random_frame(victim, rng):
    """A FRAME of random words at a random place, perhaps one that is kept."""
    size, index = int(rng.integers(1, 6)), int(rng.choice([0, int(rng.integers(1 << 16))]))
    body = rng.bytes(size * int(rng.integers(1, 40)))
    return request(Command.FRAME, 9, struct.pack("<BBH", size, 0, index) + body)


def header(widths, opcode, core, index, words):
    """A program word of any fields."""
    bits = widths["pass"]
    return (opcode | core << 4 | index << 10 | words << 10 + bits) & (1 << 36) - 1


def record(rng, machine, kind: type[Record], code):
    """A record of a program: its fields random, most of them small."""
    widths = machine.widths
    value = offset = 0
    for bits, _ in kind.layout(widths).values():
        few = min(bits, int(rng.integers(bits + 1)))
        value |= int(rng.integers(1 << few)) << offset
        offset += bits
    words = -(-offset // 36)
    core = int(rng.choice([63, 63, *range(machine.cores)]))
    index = int(rng.integers(1 << widths["pass"]))
    body = [value >> 36 * word & (1 << 36) - 1 for word in range(words)]
    return [header(widths, code, core, index, words), *body]


def program(victim, rng):
    """Words of a bad program."""
    machine, widths = victim.machine, victim.machine.widths
    kind, most = int(rng.integers(6)), machine.program_words
    if kind == 0:
        return [int(rng.integers(1 << 36)) for _ in range(most)]
    if kind == 1:  # nothing but one instruction
        one = header(widths, int(rng.choice([*map(int, Opcode), 3, 13])), 63, 0, 0)
        return [one] * most
    if kind == 2:  # the good one with bits flipped or words missing
        words = list(victim.images.program)
        for _ in range(int(rng.integers(1, 6))):
            at = int(rng.integers(len(words)))
            if rng.random() < 0.5:
                words[at] ^= 1 << int(rng.integers(36))
            else:
                del words[at]
                words = words or [0]
        return words
    share = float(rng.choice([0.05, 0.3, 0.7]))
    controls = [Opcode.RUN, Opcode.FRAME, Opcode.END][: int(rng.integers(1, 4))]
    words = [header(widths, Opcode.FRAME, 0, 0, 0)] if rng.random() < 0.5 else []
    kinds = list(RECORDS.items())
    while len(words) < most:
        if rng.random() < share:
            words.append(header(widths, int(rng.choice(controls)), 63, 0, 0))
        else:
            code, layout = kinds[int(rng.integers(len(kinds)))]
            words += record(rng, machine, layout, int(code))
    return words[:most]


def programs(victim, rng):
    """A bad program, other memories with random contents, and runs of it."""
    machine = victim.machine
    parts = list(write_requests(machine, Kind.PROGRAM, 0, 0, program(victim, rng)))
    for kind in (Kind.AXIS, Kind.PARAMETERS, Kind.WEIGHTS):
        if rng.random() < 0.3:
            bits = 36 * row_words(machine, kind)
            count = int(rng.integers(1, 1 + min(depth(machine, kind), 32)))
            index = int(rng.integers(depth(machine, kind) - count + 1))
            rows = [int.from_bytes(rng.bytes(bits // 8 + 1)) % (1 << bits) for _ in range(count)]
            parts += write_requests(machine, kind, 63, index, rows)
    yield b"".join(parts)
    for _ in range(int(rng.integers(1, 4))):
        yield random_frame(victim, rng) if rng.random() < 0.5 else victim.shots[0]
        yield request(Command.RUN, int(rng.integers(128))) * int(rng.integers(1, 3))
        yield pause(rng)
        if rng.random() < 0.1:
            yield request(Command.ABORT, 1)
        if rng.random() < 0.05:
            yield Reset(1)


PIECES = (runs, session, messages, programs, programs)
