"""A UART (8 data bits, no parity, one stop bit) between pins and byte streams."""

from collections.abc import Mapping, Sequence

from amaranth.hdl import Cat, Const, Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.cdc import FFSynchronizer
from amaranth.lib.wiring import In, Out, connect, flipped

from spikewright.errors import SpikewrightError
from spikewright.hw.top import Top
from spikewright.machine.hardware import HardwareShape

__all__ = ["BAUD", "MIN_DIVISOR", "Uart", "UartTop", "uart_divisor"]

BAUD = 1_000_000
"""Bits a second, unless said otherwise."""

MIN_DIVISOR = 8
"""Clocks of a bit, at least: the receiver finds the middle of a bit to one clock."""

MAX_ERROR = 0.02
BITS = 8


def uart_divisor(clock_hz: float, baud: float) -> int:
    """Clocks of a bit.

    Raises SpikewrightError where the nearest whole number of clocks is more than 2 % off (the last
    bit is sampled 9.5 bits after the edge that starts the byte), or there are too few clocks.
    """
    divisor = round(clock_hz / baud)
    if divisor < MIN_DIVISOR:
        raise SpikewrightError(
            f"UART: {baud:g} baud from {clock_hz / 1e6:g} MHz leaves {divisor} clocks for a bit, "
            f"{MIN_DIVISOR} are needed; choose at most {clock_hz / MIN_DIVISOR:.0f} baud"
        )
    error = clock_hz / divisor / baud - 1
    if abs(error) > MAX_ERROR:
        raise SpikewrightError(
            f"UART: {baud:g} baud from {clock_hz / 1e6:g} MHz is {error:+.1%} off with {divisor} "
            f"clocks a bit, {MAX_ERROR:.0%} is the limit; choose {clock_hz / divisor:.0f} baud or "
            "another clock"
        )
    return divisor


class Receiver(wiring.Component):
    """Receives bytes: waits for a low level, finds it still low half a bit later, then samples
    every bit in its middle.

    A byte whose stop bit is low is dropped. There is no flow control on the line: a byte that is
    complete while the one before still waits at `o` is dropped too. The CRC of the message shows
    both. `o` is registered.

    Members
    -------
    rx
        The pin, asynchronous.
    o
        Bytes.
    """

    def __init__(self, divisor: int) -> None:
        self.divisor = divisor
        super().__init__({"rx": In(1, init=1), "o": Out(stream.Signature(BITS))})

    def elaborate(self, platform):
        m = Module()
        rx = Signal(init=1)
        m.submodules.synchroniser = FFSynchronizer(self.rx, rx, init=1)
        timer = Signal(range(self.divisor))
        tick = Signal()
        left = Signal(range(BITS + 1))
        shift = Signal(BITS)
        m.d.comb += tick.eq(timer == 0)
        m.d.sync += timer.eq(timer - 1)
        with m.If(tick):
            m.d.sync += timer.eq(self.divisor - 1)
        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        with m.FSM():
            with m.State("IDLE"):
                m.d.sync += [timer.eq(self.divisor // 2 - 1), left.eq(BITS)]
                with m.If(~rx):
                    m.next = "START"
            with m.State("START"), m.If(tick):
                m.next = "IDLE"
                with m.If(~rx):
                    m.next = "DATA"
            with m.State("DATA"), m.If(tick):
                m.d.sync += [shift.eq(Cat(shift[1:], rx)), left.eq(left - 1)]
                with m.If(left == 1):
                    m.next = "STOP"
            with m.State("STOP"), m.If(tick):
                m.next = "RECOVER"
                with m.If(rx):
                    m.next = "IDLE"
                    with m.If(~self.o.valid | self.o.ready):
                        m.d.sync += [self.o.valid.eq(1), self.o.payload.eq(shift)]
            with m.State("RECOVER"), m.If(rx):
                m.next = "IDLE"
        return m


class Transmitter(wiring.Component):
    """Sends bytes, each with a start and a stop bit; bytes that wait follow one clock apart.

    Members
    -------
    i
        Bytes.
    tx
        The pin; registered.
    """

    def __init__(self, divisor: int) -> None:
        self.divisor = divisor
        super().__init__({"i": In(stream.Signature(BITS)), "tx": Out(1, init=1)})

    def elaborate(self, platform):
        m = Module()
        timer = Signal(range(self.divisor))
        left = Signal(range(BITS + 3))
        shift = Signal(BITS + 2, init=-1)
        m.d.comb += [self.tx.eq(shift[0]), self.i.ready.eq(left == 0)]
        with m.If(left == 0):
            m.d.sync += timer.eq(self.divisor - 1)
            with m.If(self.i.valid):
                m.d.sync += [shift.eq(Cat(Const(0, 1), self.i.payload, 1)), left.eq(BITS + 2)]
        with m.Elif(timer == 0):
            m.d.sync += [
                timer.eq(self.divisor - 1),
                shift.eq(Cat(shift[1:], 1)),
                left.eq(left - 1),
            ]
        with m.Else():
            m.d.sync += timer.eq(timer - 1)
        return m


class Uart(wiring.Component):
    """Both directions of a UART; see :class:`Receiver` for what becomes of bytes nobody takes.

    Parameters
    ----------
    divisor
        Clocks of a bit, see :func:`uart_divisor`.

    Members
    -------
    rx, tx
        The pins, high when idle.
    i
        Bytes to send.
    o
        Bytes received.
    """

    def __init__(self, divisor: int) -> None:
        if divisor < MIN_DIVISOR:
            raise ValueError(f"a UART needs at least {MIN_DIVISOR} clocks a bit, not {divisor!r}")
        self.divisor = divisor
        super().__init__(
            {
                "rx": In(1, init=1),
                "tx": Out(1, init=1),
                "i": In(stream.Signature(BITS)),
                "o": Out(stream.Signature(BITS)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.receiver = receiver = Receiver(self.divisor)
        m.submodules.transmitter = transmitter = Transmitter(self.divisor)
        connect(m, receiver.o, flipped(self.o))
        connect(m, flipped(self.i), transmitter.i)
        m.d.comb += [receiver.rx.eq(self.rx), self.tx.eq(transmitter.tx)]
        return m


class UartTop(wiring.Component):
    """The accelerator behind a UART, as on a board.

    The line has no flow control, but two requests fit into the buffers: the host must not have more
    than two requests without an answer (RUN apart), and no frame or RUN on the way while two runs
    are outstanding.

    Parameters
    ----------
    clock_hz, baud
        Of the clock and the line.
    init
        Initial contents of the loadable memories by name.

    Members
    -------
    rx, tx
        The pins.
    """

    def __init__(
        self,
        shape: HardwareShape,
        clock_hz: float,
        baud: float = BAUD,
        init: Mapping[str, Sequence[int]] | None = None,
    ) -> None:
        self.shape, self.init = shape, init
        self.divisor = uart_divisor(clock_hz, baud)
        super().__init__({"rx": In(1, init=1), "tx": Out(1, init=1)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.uart = uart = Uart(self.divisor)
        m.submodules.top = top = Top(self.shape, init=self.init)
        connect(m, uart.o, top.i)
        connect(m, top.o, uart.i)
        m.d.comb += [uart.rx.eq(self.rx), self.tx.eq(uart.tx)]
        return m
