"""The host protocol: messages framed, split and decoded, and no broken one believed."""

import itertools
import random
import struct
import zlib

import pytest

from spikewright.machine.protocol import (
    END,
    ESC,
    MAX_MESSAGE,
    Command,
    Decoder,
    Reply,
    Result,
    Status,
    parse_result,
    request,
    slip,
    write_requests,
)


def framed(body):
    """A reply around `body`."""
    return slip(body + struct.pack("<I", zlib.crc32(body)))


def unframed(frame):
    """The message in a frame, by RFC 1055 alone."""
    assert frame[0] == frame[-1] == END
    inner = frame[1:-1]
    assert END not in inner
    return inner.replace(b"\xdb\xdc", b"\xc0").replace(b"\xdb\xdd", b"\xdb")


def test_a_request_byte_by_byte():
    crc = zlib.crc32(b"\x01\xc0")
    head = b"\xc0\x01\xdb\xdc"
    assert request(Command.HELLO, 0x1C0).startswith(head)  # tags have one byte
    message = unframed(request(Command.HELLO, 0xC0))
    assert message == b"\x01\xc0" + crc.to_bytes(4, "little")


def test_slip_of_every_pair():
    for pair in itertools.product(range(256), repeat=2):
        assert unframed(slip(bytes(pair))) == bytes(pair)


def test_the_longest_message():
    longest = MAX_MESSAGE - 6
    assert len(unframed(request(Command.WRITE, 0, bytes(longest)))) == MAX_MESSAGE
    with pytest.raises(ValueError, match="message of 1025 bytes is longer than 1024"):
        request(Command.WRITE, 0, bytes(longest + 1))


@pytest.mark.parametrize("word_bytes", [1, 3, 16, 100])
@pytest.mark.parametrize("words", [0, 1, 9, 1015, 3000])
def test_writes_cover_the_data(word_bytes, words):
    data = random.Random(words).randbytes(words * word_bytes)
    memory = bytearray(len(data))
    for index, frame in enumerate(write_requests(0x42, word_bytes, data, tag=250)):
        message = unframed(frame)
        assert len(message) <= MAX_MESSAGE
        command, tag, target = message[:3]
        assert (command, tag, target) == (Command.WRITE, (250 + index) % 256, 0x42)
        payload, first = message[6:-4], int.from_bytes(message[3:6], "little")
        assert payload
        assert len(payload) % word_bytes == 0
        memory[first * word_bytes : first * word_bytes + len(payload)] = payload
    assert memory == data


def test_writes_of_half_words_are_refused():
    with pytest.raises(ValueError, match="7 bytes are not whole words of 2"):
        list(write_requests(0, 2, bytes(7)))


def test_result():
    payload = struct.pack("<3iHI", -5, 2**31 - 1, -(2**31), 2, 4_000_000_000)
    assert parse_result(payload, 3) == Result((-5, 2**31 - 1, -(2**31)), 2, 4_000_000_000)


@pytest.mark.parametrize("portion", [1, 2, 7, 10_000])
def test_replies_in_any_portions(portion):
    rng = random.Random(portion)
    wanted = [
        Reply(rng.choice(list(Command)), rng.randrange(256), rng.choice(list(Status)), payload)
        for payload in (rng.choices([END, ESC, 0xDC, 0xDD, 7], k=n) for n in range(40))
    ]
    wanted = [Reply(r.command, r.tag, r.status, bytes(r.payload)) for r in wanted]
    data = b"".join(framed(bytes([r.command | 0x80, r.tag, r.status]) + r.payload) for r in wanted)
    decoder, got = Decoder(), []
    for start in range(0, len(data), portion):
        got += decoder.feed(data[start : start + portion])
    assert (got, decoder.dropped) == (wanted, 0)


@pytest.mark.parametrize(
    "broken",
    [
        b"garbage" + slip(b"")[1:],
        framed(b"\x01\x00\x00"),  # no reply: the high bit is missing
        framed(b"\x81\x00\x09"),  # no such status
        framed(b"\x81\x00"),  # too short
        framed(b"\x81\x00\x00")[:-3] + bytes([END]),
    ],
)
def test_broken_messages_are_dropped_and_the_next_is_heard(broken):
    decoder = Decoder()
    sound = framed(b"\x83\x05\x00abc")
    assert list(decoder.feed(broken + sound)) == [Reply(3, 5, Status.OK, b"abc")]
    assert decoder.dropped == 1


def test_no_changed_bit_is_believed():
    sound = framed(b"\x83\x05\x00abc\xc0")
    for bit in range(8, 8 * (len(sound) - 1)):
        changed = bytearray(sound)
        changed[bit // 8] ^= 1 << bit % 8
        assert list(Decoder().feed(bytes(changed))) == []
