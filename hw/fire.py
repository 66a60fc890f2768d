"""The fire unit of one lane: what a neuron sends at the end of a step, and what it keeps."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from spikewright.machine.hardware import HardwareShape
from spikewright.machine.instructions import Mode

__all__ = ["FireUnit", "add_with_carry", "digit_layout", "mode_layout"]


def mode_layout(shape: HardwareShape) -> data.StructLayout:
    """The bits of :class:`~spikewright.machine.hardware.Mode` that some layer of `shape` has."""
    return data.StructLayout({mode.name: 1 for mode in Mode if shape.has(mode)})


def digit_layout(shape: HardwareShape) -> data.StructLayout:
    """What all lanes share in the clock of U: the scan's digit k.

    Members
    -------
    top : the first scan of its step, of the greatest digit
    amount : ``2**k``
    bound : the greatest count to which that may still be added
    """
    bits = shape.count_bits
    return data.StructLayout({"top": 1, "amount": bits, "bound": signed(bits + 1)})


def add_with_carry(a, b, carry):
    """``a + b + carry`` on one carry chain: the carry comes in through a bit below the others."""
    return (Cat(1, a).as_signed() + Cat(carry, b).as_signed())[1:].as_signed()


class FireUnit(wiring.Component):
    """Decides one binary digit of n, the number of thresholds a neuron sends.

    A step takes one scan for each digit, from the greatest on; a scan compares with
    ``threshold << k``. What the first scans leave of U, the next ones find as their membrane, so
    that n comes out as ``min(floor(U / threshold), smax, zmax - count)`` upwards, and as
    :class:`.Negative` says downwards. Latency: one clock. Throughput: one a
    clock. It is elaborated to what the layers of `shape` need: a plain IF neuron is one
    subtraction and a multiplexer.

    Members
    -------
    u : potential
    threshold : ``threshold << k``
    ceil : ``(threshold << k) - threshold``, with `shape.ceils`
    count, done : the neuron's state: spikes sent so far, and whether the step is over for it
    digit : see :func:`digit_layout`
    mode : what the scan may do, **a clock later** than `u`; FIRES is zero for other operations
    value : the membrane after the scan, a clock later, as are all outputs
    spike, negative : an event of value ``±2**k``
    new_count, new_done : the state after the scan
    """

    def __init__(self, shape: HardwareShape) -> None:
        self._shape = shape
        width = signed(shape.compare_bits)
        members = {
            "u": In(width),
            "threshold": In(width),
            "digit": In(digit_layout(shape)),
            "mode": In(mode_layout(shape)),
            "value": Out(width),
            "spike": Out(1),
            "negative": Out(1),
        }
        if shape.ceils:
            members["ceil"] = In(width)
        if shape.count_bits:
            members |= {"count": In(shape.count_bits), "new_count": Out(shape.count_bits)}
        if shape.ends_early:
            members |= {"done": In(1), "new_done": Out(1)}
        super().__init__(members)

    def elaborate(self, platform):
        m = Module()
        shape = self._shape
        u, rest = Signal.like(self.u, reset_less=True), Signal.like(self.u, reset_less=True)
        m.d.sync += [u.eq(self.u), rest.eq(self._moved())]
        up = self._up(u, rest)
        down = self._mode(Mode.FIRES) & u[-1]
        if self._downwards:
            down &= self._down(m, rest)
        blocked = self._blocked(m)
        if shape.has(Mode.LIMITED):
            room = Signal(reset_less=True)
            m.d.sync += room.eq(self._has_room())
            up &= room | ~self._mode(Mode.LIMITED)
        if shape.has(Mode.GATED):
            enough = Signal(reset_less=True)
            m.d.sync += enough.eq(self._has_sent())
            down &= enough | ~self._mode(Mode.GATED)
        sends = Signal()
        m.d.comb += sends.eq((up | down if self._downwards else up) & ~blocked)
        m.d.comb += [
            self.value.eq(self._membrane(sends, rest, u)),
            self.spike.eq(sends),
            self.negative.eq(u[-1] if self._downwards else 0),
        ]
        if shape.count_bits:
            self._add_count(m, sends)
        if shape.has(Mode.SWITCHES):
            self._add_switch(m, sends, rest, u)
        return m

    def _mode(self, mode):
        """One bit of the mode; zero where no layer has it."""
        return self.mode[mode.name] if self._shape.has(mode) else 0

    @property
    def _downwards(self):
        """Whether some layer sends negative spikes."""
        return self._shape.has(Mode.BELOW | Mode.AT)

    def _moved(self):
        """U - threshold, or U + threshold where U is negative."""
        if not self._downwards:
            return self.u - self.threshold
        below = self.u[-1]
        return add_with_carry(self.u, Mux(below, self.threshold, ~self.threshold), ~below)

    def _up(self, u, rest):
        """Whether U is far enough above zero for the digit."""
        up = self._mode(Mode.FIRES) & ~u[-1] & ~rest[-1]
        if self._shape.has(Mode.HOLDS):
            up &= ~(self._mode(Mode.HOLDS) & (rest == 0))
        return up

    def _down(self, m, rest):
        """Whether U is far enough below zero for the digit."""
        shape, far = self._shape, 0
        if shape.has(Mode.AT):
            far |= self._mode(Mode.AT) & self._at(rest)
        if shape.ceils:
            raised = Signal.like(self.u, reset_less=True)
            m.d.sync += raised.eq(self._raised())
            far |= self._mode(Mode.BELOW) & raised[-1]
        elif shape.has(Mode.BELOW):
            far |= self._mode(Mode.BELOW)  # digit 0: U < 0 is enough
        return far

    def _at(self, rest):
        """Whether a negative U reaches the threshold."""
        ties = rest == 0
        if self._shape.has(Mode.HOLDS):
            ties &= ~self._mode(Mode.HOLDS)
        return rest[-1] | ties

    def _raised(self):
        """Negative where ``ceil(-U / threshold)`` reaches ``2**k``."""
        return self.u + self.ceil

    def _has_room(self):
        """Whether Zmax allows the digit."""
        return self.count <= self.digit.bound

    def _has_sent(self):
        """Whether the spikes of the digit were sent before, to be taken back."""
        return self.count >= self.digit.amount

    def _membrane(self, sends, rest, u):
        """What is kept."""
        kept = Mux(self._mode(Mode.ZERO), 0, rest) if self._shape.has(Mode.ZERO) else rest
        return Mux(sends, kept, u)

    def _blocked(self, m):
        """Whether the step is over for the neuron."""
        if not self._shape.ends_early:
            return 0
        blocked, top = Signal(reset_less=True), Signal(reset_less=True)
        m.d.sync += [blocked.eq(self._is_done()), top.eq(self.digit.top)]
        m.d.comb += self.new_done.eq(blocked | (self.spike & self._ends(top)))
        return blocked

    def _is_done(self):
        """The state, which a step does not find from the one before."""
        return self.done & ~self.digit.top

    def _ends(self, top):
        """Whether a spike is the step's last."""
        return self._mode(Mode.POWER) | (self._mode(Mode.CAPPED) & top)

    def _add_count(self, m, sends):
        count, moved = (Signal.like(self.count, reset_less=True) for _ in range(2))
        m.d.sync += [count.eq(self.count), moved.eq(self.count + self._change())]
        m.d.comb += self.new_count.eq(Mux(sends, moved, count))
        self._old_count = count

    def _change(self):
        """Spikes of the digit."""
        amount = self.digit.amount
        return Mux(self.u[-1], -amount, amount) if self._downwards else amount

    def _add_switch(self, m, sends, rest, u):
        """TSC, overlapped: events are the changes; the count says 0 silent, 1 fires, 2 ceased."""
        count = self._old_count
        fires = Signal()
        m.d.comb += fires.eq(sends & ~self._latched(count))
        with m.If(self._mode(Mode.SWITCHES)):
            m.d.comb += [
                self.value.eq(Mux(fires, rest, u)),
                self.spike.eq(self.mode.FIRES & self._switches(fires, count)),
                self.negative.eq(~fires),
                self.new_count.eq(self._new_state(fires, count)),
            ]

    def _latched(self, count):
        """Whether the neuron has ceased for good."""
        return self._mode(Mode.LATCH) & (count == 2)

    def _switches(self, fires, count):
        """Whether the neuron begins or ceases to fire."""
        return fires ^ (count == 1)

    def _new_state(self, fires, count):
        ceased = Mux(self._mode(Mode.LATCH), 2, 0)
        return Mux(fires, 1, Mux(count == 1, ceased, count))
