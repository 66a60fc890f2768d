"""What FPGAs have, as data: boards and the mapper read it here."""

from __future__ import annotations

from dataclasses import dataclass

from spikewright.machine.hardware import MemoryShape

__all__ = ["LFE5U_85F", "BlockRam", "Device"]


@dataclass(frozen=True)
class BlockRam:
    """A kind of block RAM, and how many a device has of it.

    `shapes` are its (words, bits) with one read and one write port. A memory of up to
    `distributed_bits` bits goes into LUTs instead.
    """

    name: str
    count: int
    shapes: tuple[tuple[int, int], ...]
    distributed_bits: int

    def needed(self, memory: MemoryShape) -> int:
        """Block RAMs that one memory takes, in the shape that takes fewest."""
        if memory.words * memory.width <= self.distributed_bits:
            return 0
        return min(
            -(-memory.words // words) * -(-memory.width // bits) for words, bits in self.shapes
        )


@dataclass(frozen=True)
class Device:
    """An FPGA: its name, family (as nextpnr calls it), look-up tables and block RAM."""

    name: str
    family: str
    luts: int
    block_ram: BlockRam


LFE5U_85F = Device(
    "LFE5U-85F",
    "ecp5",
    luts=83_640,
    block_ram=BlockRam(
        "DP16KD",
        208,
        ((512, 36), (1024, 18), (2048, 9), (4096, 4), (8192, 2), (16384, 1)),
        distributed_bits=512,  # about what Yosys puts into LUTs rather than into a block RAM
    ),
)
"""Lattice ECP5 (data sheet FPGA-DS-02012, table 1.1)."""
