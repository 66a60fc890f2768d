"""Radiona ULX3S with a Lattice ECP5 of 85,000 LUTs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from amaranth.build import Platform
from amaranth.hdl import ClockDomain, Elaboratable, Module, Signal
from amaranth.lib import io
from amaranth_boards.ulx3s import ULX3S_85F_Platform

from spikewright.boards.board import Board
from spikewright.boards.ecp5 import ClockGenerator, find_pll
from spikewright.hw.uart import UartTop
from spikewright.machine.device import LFE5U_85F
from spikewright.machine.hardware import HardwareShape

__all__ = ["ULX3S_85F", "Ulx3s"]


class Design(Elaboratable):
    """The accelerator on the FTDI chip's UART. LED 0: the PLL has locked; LED 1 blinks at 1 Hz."""

    def __init__(
        self,
        board: Board,
        shape: HardwareShape,
        clock_hz: float,
        init: Mapping[str, Sequence[int]],
    ) -> None:
        self.pll = find_pll(board.oscillator_hz, clock_hz)
        self.top = UartTop(shape, self.pll.out_hz, board.baud, init)

    def elaborate(self, platform: Platform) -> Module:
        m = Module()
        uart = platform.request("uart", 0, dir="-")
        m.submodules.clk25 = clk25 = io.Buffer("i", platform.request("clk25", 0, dir="-"))
        m.submodules.rx = rx = io.Buffer("i", uart.rx)
        m.submodules.tx = tx = io.Buffer("o", uart.tx)
        m.submodules.led_0 = led_0 = io.Buffer("o", platform.request("led", 0, dir="-"))
        m.submodules.led_1 = led_1 = io.Buffer("o", platform.request("led", 1, dir="-"))
        m.domains.sync = ClockDomain()
        m.submodules.clock = clock = ClockGenerator(self.pll, clk25.i)
        m.submodules.top = self.top
        m.d.comb += [self.top.rx.eq(rx.i), tx.o.eq(self.top.tx)]

        half_second = round(self.pll.out_hz / 2)
        timer, blink = Signal(range(half_second)), Signal()
        m.d.sync += timer.eq(timer + 1)
        with m.If(timer == half_second - 1):
            m.d.sync += [timer.eq(0), blink.eq(~blink)]
        m.d.comb += [led_0.o.eq(clock.locked), led_1.o.eq(blink)]
        return m


@dataclass(frozen=True)
class Ulx3s(Board):
    """The ULX3S, any size of device."""

    def platform(self) -> Platform:
        """See :class:`.Board`."""
        return ULX3S_85F_Platform(toolchain="Trellis")

    def exact_clock(self, clock_hz: float) -> float:
        """What the PLL makes, see :class:`.Board`."""
        return find_pll(self.oscillator_hz, clock_hz).out_hz

    def design(
        self, shape: HardwareShape, clock_hz: float, init: Mapping[str, Sequence[int]]
    ) -> Elaboratable:
        """See :class:`.Board`."""
        return Design(self, shape, clock_hz, init)


ULX3S_85F = Ulx3s(
    name="ulx3s-85f",
    title="Radiona ULX3S, Lattice ECP5 LFE5U-85F",
    family=LFE5U_85F.family,
    device=LFE5U_85F.name,
    package="BG381",
    speed="6",
    oscillator_hz=25e6,
    clock_hz=90e6,
    block_ram=LFE5U_85F.block_ram,
    luts=LFE5U_85F.luts,
    host_block_rams=1,
)
