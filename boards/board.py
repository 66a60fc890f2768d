"""What a board is: its device, and whether an accelerator fits it."""

from __future__ import annotations

import abc
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from amaranth.build import Platform
from amaranth.hdl import Elaboratable

from spikewright.errors import SpikewrightError
from spikewright.machine.device import BlockRam, Device
from spikewright.machine.hardware import HardwareShape

__all__ = ["Board"]


@dataclass(frozen=True)
class Board(abc.ABC):
    """A board that bitstreams can be made for."""

    name: str
    title: str
    family: str
    """As nextpnr calls it."""
    device: str
    package: str
    speed: str
    oscillator_hz: float
    clock_hz: float
    """Clock of the accelerator, unless another is asked for."""
    block_ram: BlockRam
    luts: int
    host_block_rams: int
    """Block RAMs of the host port."""
    cores: int = 1
    lanes: int = 16
    baud: int = 1_000_000

    @property
    def clock_mhz(self) -> float:
        """The clock of a design where none is asked for."""
        return self.clock_hz / 1e6

    @property
    def fpga(self) -> Device:
        """What machines are chosen for."""
        return Device(self.device, self.family, self.luts, self.block_ram)

    @abc.abstractmethod
    def platform(self) -> Platform:
        """A fresh Amaranth platform."""

    @abc.abstractmethod
    def design(
        self, shape: HardwareShape, clock_hz: float, init: Mapping[str, Sequence[int]]
    ) -> Elaboratable:
        """The top with clock, reset and pins; its clock comes closest to `clock_hz`."""

    @abc.abstractmethod
    def exact_clock(self, clock_hz: float) -> float:
        """The frequency that the board really makes for `clock_hz`, in Hz.

        Raises SpikewrightError for what it cannot make.
        """

    def block_rams(self, shape: HardwareShape) -> int:
        """An estimate of the block RAMs that an accelerator takes."""
        return self.host_block_rams + sum(map(self.block_ram.needed, shape.memories()))

    def check(self, shape: HardwareShape) -> None:
        """Raise SpikewrightError, saying what is short, if `shape` does not fit."""
        needed, ram = self.block_rams(shape), self.block_ram
        if needed > ram.count:
            largest = max(shape.memories(), key=ram.needed)
            raise SpikewrightError(
                f"{self.name}: the network needs about {needed} {ram.name} block RAMs, the board "
                f"has {ram.count}: {needed - ram.count} too many; the largest memory is "
                f"{largest.name} with {ram.needed(largest)}; use fewer weight bits or time steps, "
                "or a smaller network"
            )

    def to_json(self) -> dict[str, Any]:
        """All fields, for a file."""
        return asdict(self) | {"clock_mhz": self.clock_mhz}
