"""CRC-32 as in zlib, a byte a clock: the register's next value, and what it holds when all is well.

The register begins with all ones and is sent inverted, the low byte first. Taken in with the
message, the CRC leaves :data:`RESIDUE`.
"""

from __future__ import annotations

import functools
import operator

from amaranth.hdl import Cat, Const, Value

__all__ = ["ONES", "RESIDUE", "next_crc"]

_POLYNOMIAL = 0xEDB88320
ONES = (1 << 32) - 1
"""What the register begins with."""


def _folded(byte: int) -> int:
    """What a byte shifted out of the register adds to it."""
    for _ in range(8):
        byte = byte >> 1 ^ (_POLYNOMIAL if byte & 1 else 0)
    return byte


_ROWS = [_folded(1 << bit) for bit in range(8)]

RESIDUE = 0xDEBB20E3
"""The register behind a message and its CRC."""


def next_crc(crc: Value, byte: Value) -> Value:
    """The register after `byte`, the exclusive or of the message's byte and the low byte of `crc`.

    Of zero it is the register shifted by a byte.
    """
    kept = Cat(crc[8:], Const(0, 8))
    return Cat(
        functools.reduce(
            operator.xor, (byte[k] for k in range(8) if _ROWS[k] >> bit & 1), kept[bit]
        )
        for bit in range(32)
    )
