"""The machine behind a UART, as on a board."""

from __future__ import annotations

from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out, connect

from spikewright.hw.link.top import Top
from spikewright.hw.uart import BAUD, Uart, uart_divisor
from spikewright.machine.blocks import Machine

__all__ = ["UartTop"]


class UartTop(wiring.Component):
    """A machine that two pins connect to its host.

    Parameters
    ----------
    clock_hz, baud
        Of the clock and the line.

    Members
    -------
    rx, tx
        The pins.
    """

    def __init__(self, machine: Machine, clock_hz: float, baud: float = BAUD) -> None:
        self.machine = machine
        self.divisor = uart_divisor(clock_hz, baud)
        super().__init__({"rx": In(1, init=1), "tx": Out(1, init=1)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.uart = uart = Uart(self.divisor)
        m.submodules.top = top = Top(self.machine)
        connect(m, uart.o, top.i)
        connect(m, top.o, uart.i)
        m.d.comb += [uart.rx.eq(self.rx), self.tx.eq(uart.tx)]
        return m
