"""The host's side of protocol version 2: what is sent can be read, and answers are joined."""

import struct
import zlib
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from spikewright.machine.blocks import Lanes, Machine
from spikewright.machine.link import (
    MAX_MESSAGE,
    PART,
    VERSION,
    Answer,
    Answers,
    Command,
    Decoder,
    Hello,
    Kind,
    Reply,
    Status,
    depth,
    digest,
    frame_bytes,
    frame_requests,
    parse_hello,
    request,
    row_words,
    slip,
    write_requests,
)
from spikewright.machine.loading import LoadKind

PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
MACHINE = Machine()
WORDS = st.integers(0, (1 << 36) - 1)


def opened(messages):
    """Command, tag and payload of framed requests whose CRC holds."""
    for message in messages:
        body = message[1:-1].replace(b"\xdb\xdc", b"\xc0").replace(b"\xdb\xdd", b"\xdb")
        assert len(body) <= MAX_MESSAGE
        assert zlib.crc32(body[:-4]) == int.from_bytes(body[-4:], "little")
        yield body[0], body[1], body[2:-4]


@PATIENT
@given(st.lists(WORDS, max_size=600), st.integers(0, 0xFFFF - 600), st.integers(0, 255))
def test_frames_lose_nothing(words, index, tag):
    got = {}
    for number, (command, its_tag, payload) in enumerate(opened(frame_requests(words, index, tag))):
        assert (command, its_tag) == (Command.FRAME, tag + number & 0xFF)
        size, spare, first = struct.unpack("<BBH", payload[:4])
        assert (size, spare) == (frame_bytes(words), 0)
        for place, at in enumerate(range(4, len(payload), size)):
            value = int.from_bytes(payload[at : at + size], "little")
            got[first + place] = value << 40 - 8 * size >> 4
    assert got == {index + place: word for place, word in enumerate(words)}


@pytest.mark.parametrize(
    ("words", "size"),
    [([], 1), ([0], 1), ([1 << 35], 1), ([0xFF << 28], 1), ([1 << 27], 2), ([1 << 4], 4), ([8], 5)],
)
def test_frame_bytes(words, size):
    assert frame_bytes(words) == size


@PATIENT
@given(st.data(), st.sampled_from(list(Kind)))
def test_writes_lose_nothing(data, kind):
    words = row_words(MACHINE, kind)
    first = data.draw(st.integers(0, depth(MACHINE, kind) - 1))
    most = min(400, depth(MACHINE, kind) - first)
    rows = data.draw(st.lists(st.integers(0, (1 << 36 * words) - 1), max_size=most))
    got = {}
    for command, _, payload in opened(write_requests(MACHINE, kind, 2, first, rows)):
        its_kind, core, index = struct.unpack("<BBH", payload[:4])
        assert (command, its_kind, core) == (Command.WRITE, kind, 2)
        step = 5 * words
        assert (len(payload) - 4) % step == 0
        for place, at in enumerate(range(4, len(payload), step)):
            parts = [int.from_bytes(payload[k : k + 5], "little") for k in range(at, at + step, 5)]
            got[index + place] = sum(part << 36 * n for n, part in enumerate(parts))
    assert got == {first + place: row for place, row in enumerate(rows)}


def test_writes_that_do_not_fit():
    with pytest.raises(ValueError, match="do not fit AXIS"):
        next(write_requests(MACHINE, Kind.AXIS, 63, 500, [0] * 13))
    wide = replace(MACHINE, lanes=Lanes(count=1024, weight_bits=8, weight_rows=4))
    with pytest.raises(ValueError, match="does not fit a message"):
        next(write_requests(wide, Kind.WEIGHTS, 0, 0, [0]))
    with pytest.raises(ValueError, match="longer than"):
        request(Command.HELLO, 0, bytes(MAX_MESSAGE))


def test_kinds_are_those_of_the_load_chain():
    kinds = {kind.name: kind.value for kind in Kind}
    others = {kind.name: kind.value for kind in LoadKind}
    own = kinds.pop("OUTPUTS")
    assert own not in others.values()
    assert kinds.items() <= others.items()


def test_depths():
    assert depth(MACHINE, Kind.PARAMETERS) == 2 * 512
    assert [row_words(MACHINE, kind) for kind in Kind] == [1, 2, 4, 1, 1]


def parts(tag, label, clocks, outputs):
    """The replies to a RUN."""
    for first in range(0, max(1, len(outputs)), PART):
        body = b"".join(v.to_bytes(5, "little", signed=True) for v in outputs[first : first + PART])
        yield Reply(Command.RUN, tag, Status.OK, struct.pack("<HIH", label, clocks, first) + body)


OUTPUTS = st.lists(st.integers(-(1 << 35), (1 << 35) - 1), max_size=70)


@PATIENT
@given(OUTPUTS, st.integers(0, 255), st.integers(0, 0xFFFF), st.integers(0, 0xFFFF_FFFF))
def test_answers_are_joined(outputs, tag, label, clocks):
    answers = Answers(len(outputs))
    other = Reply(Command.HELLO, 3, Status.OK, b"")
    refusal = Reply(Command.RUN, 3, Status.BUSY, b"")
    for _ in range(2):
        got = []
        for part in parts(tag, label, clocks, outputs):
            got.append(answers.feed(part))
            assert answers.feed(other) is None
            assert answers.feed(refusal) is None
        assert got[:-1] == [None] * (len(got) - 1)
        assert got[-1] == Answer(tag, label, clocks, tuple(outputs))


def test_answers_behind_an_abort():
    first, second = (list(parts(tag, tag, 9, range(20))) for tag in (1, 2))
    answers = Answers(20)
    assert answers.feed(first[0]) is None
    assert [answers.feed(part) for part in second] == [None, Answer(2, 2, 9, tuple(range(20)))]


def test_parts_that_do_not_fit():
    whole = list(parts(1, 2, 3, range(40)))
    answers = Answers(40)
    assert answers.feed(whole[0]) is None
    with pytest.raises(ValueError, match="8 outputs from 32 on came behind 16"):
        answers.feed(whole[2])
    with pytest.raises(ValueError, match="16 outputs from 16 on came behind 0"):
        answers.feed(whole[1])
    with pytest.raises(ValueError, match="an answer of 7 bytes"):
        answers.feed(Reply(Command.RUN, 1, Status.OK, bytes(7)))
    with pytest.raises(ValueError, match="16 outputs from 0"):
        Answers(3).feed(whole[0])


@PATIENT
@given(st.integers(0, 2), st.integers(0, 255), st.binary(max_size=20))
def test_hello(runs, dropped, garbage):
    body = bytes([Command.HELLO | 0x80, 7, 0])
    body += struct.pack("<BBBI", VERSION, runs, dropped, digest(MACHINE))
    message = slip(body + struct.pack("<I", zlib.crc32(body)))
    (*_, reply) = Decoder().feed(garbage + message)
    assert parse_hello(reply.payload) == Hello(VERSION, runs, dropped, digest(MACHINE))


def test_digests_tell_machines_apart():
    assert digest(MACHINE) == digest(Machine())
    assert digest(MACHINE) != digest(replace(MACHINE, outputs=10))
