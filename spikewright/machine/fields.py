"""Records of bits, each described once: hardware layout, encoder, decoder and the documented table.

A record is a frozen dataclass whose fields are made by :func:`number`. A field's width is a number
or the name of one that depends on the machine, such as ``"weight_row"``; every use takes the
`widths` that resolve the names (:attr:`~spikewright.machine.blocks.Machine.widths`). Fields lie one
behind the other, the first in the lowest bits, as in Amaranth's ``StructLayout``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar, Self

from spikewright.errors import SpikewrightError

__all__ = ["Record", "Widths", "number"]

Widths = Mapping[str, int]
"""Bits of each named width of a machine."""


def number(width: int | str, text: str, *, signed: bool = False) -> Any:
    """A field of `width` bits, 0 unless given; `text` says what it means, in its unit."""
    return dataclasses.field(default=0, metadata={"width": width, "text": text, "signed": signed})


class Record:
    """What every record can do; subclasses are frozen dataclasses of :func:`number` fields."""

    title: ClassVar[str] = ""
    """What the record is, for messages and tables."""

    @classmethod
    def layout(cls, widths: Widths) -> dict[str, tuple[int, bool]]:
        """``name: (bits, signed)`` of every field, the lowest first."""
        return {
            field.name: (widths[width] if isinstance(width, str) else width, signed)
            for field in dataclasses.fields(cls)  # type: ignore[arg-type]
            for width, signed in [(field.metadata["width"], field.metadata["signed"])]
        }

    @classmethod
    def size(cls, widths: Widths) -> int:
        """Bits of the whole record."""
        return sum(bits for bits, _ in cls.layout(widths).values())

    def encode(self, widths: Widths) -> int:
        """The record as one unsigned number; raises SpikewrightError where a field does not fit."""
        word = offset = 0
        for name, (bits, signed) in self.layout(widths).items():
            value = int(getattr(self, name))
            low, high = (-(1 << bits - 1), 1 << bits - 1) if signed else (0, 1 << bits)
            if not low <= value < high:
                raise SpikewrightError(
                    f"{self.title}, {name}: {value} does not fit {bits} bits; "
                    "the network is too large for this machine"
                )
            word |= (value & (1 << bits) - 1) << offset
            offset += bits
        return word

    @classmethod
    def decode(cls, widths: Widths, word: int) -> Self:
        """The record that :meth:`encode` made `word` of; bits above it are ignored."""
        values = {}
        for name, (bits, signed) in cls.layout(widths).items():
            value = word & (1 << bits) - 1
            values[name] = value - (1 << bits) if signed and value >> bits - 1 else value
            word >>= bits
        return cls(**values)

    @classmethod
    def table(cls) -> str:
        """The record as a Markdown table."""
        rows = [
            (field.name, f"{field.metadata['width']}", field.metadata["text"])
            for field in dataclasses.fields(cls)  # type: ignore[arg-type]
        ]
        lines = [f"| `{name}` | {width} | {text} |" for name, width, text in rows]
        return "\n".join(["| field | bits | meaning |", "|---|---|---|", *lines])
