"""What lies between host port and engine: the load bus and the results."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import Out

from spikewright.machine.hardware import HardwareShape

__all__ = ["ADDRESS_BITS", "RESULT", "LoadSignature"]

ADDRESS_BITS = 24

RESULT = data.StructLayout({"value": signed(32), "last": 1})
"""One potential of the last layer; `last` marks the last output of an image."""


class LoadSignature(wiring.Signature):
    """Words from the host, at most one a clock; there is no back-pressure.

    Members
    -------
    valid
        The other members hold a word to write.
    memory
        Memory id (see :class:`~spikewright.machine.hardware.Region`), always a known one.
    address
        Word in the memory, always below its depth.
    bank
        Which bank a word of the frame goes to.
    data
        The word in the low bits; the bits above the memory's width are undefined.
    """

    def __init__(self, shape: HardwareShape) -> None:
        self.shape = shape
        members: dict[str, Any] = {
            "valid": Out(1),
            "memory": Out(8),
            "address": Out(ADDRESS_BITS),
            "bank": Out(1),
            "data": Out(max(memory.width for memory in (*shape.loadable(), shape.frame))),
        }
        super().__init__(members)
