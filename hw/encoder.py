"""Encoders: which events a word of a source's memory means in the step at hand.

A core's memory holds spikes (:class:`Spikes`); the frame's holds pixels, and each input code is an
encoder of its own. All of them take one word a clock and answer in the same clock.
"""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from spikewright.hw.event import SettingSignature, bind
from spikewright.hw.memory import BankedMemory
from spikewright.hw.walker import mark_layout
from spikewright.machine.hardware import HardwareShape
from spikewright.machine.instructions import Register

__all__ = [
    "Bernoulli",
    "Digits",
    "Encoder",
    "Intervals",
    "Pairs",
    "RawEvents",
    "Spikes",
    "make_encoder",
]


class Encoder(wiring.Component):
    """What all encoders share.

    Attributes
    ----------
    exponents : a bit's place in `mask` is its exponent, not its lane
    planes : the words of a step lie in planes, a binary digit each

    Members
    -------
    start : a walk begins
    read, ends : a word is read in this clock, two clocks before it comes to `word`; it is the last
        of its step
    hold : no word may be read now
    valid, word, mark : a word and where it stands in the walk (:func:`.mark_layout`)
    mask : the events it means; not to be used where `mark` is silent
    negative : their signs; one for all of them if it has one bit, positive if none
    some : there are events
    """

    exponents = False
    planes = False

    def __init__(self, shape: HardwareShape, *, width: int, events: int = 1, signs: int) -> None:
        self._shape = shape
        super().__init__(
            {
                "setting": In(SettingSignature()),
                "start": In(1),
                "read": In(1),
                "ends": In(1),
                "hold": Out(1),
                "valid": In(1),
                "word": In(width),
                "mark": In(mark_layout(shape)),
                "mask": Out(events),
                "negative": Out(signs),
                "some": Out(1),
            }
        )

    def _tell(self, m: Module, spike: Value) -> None:
        """The word means one event, or none."""
        m.d.comb += [self.mask.eq(spike), self.some.eq(spike)]


class Spikes(Encoder):
    """A core's spikes: a mask with a bit a lane, the signs above it.

    With `shape.pairs` a word of a source that repeats is a number n for each lane, which a pair of
    events encloses (Han and Roy, TSC, Eq. 1, 2): +1 in step 1 if n >= 1, -1 in step n + 1.
    """

    planes = True

    def __init__(self, shape: HardwareShape) -> None:
        signs = shape.lanes if shape.signed else int(shape.pairs)
        super().__init__(shape, width=shape.spike_width, events=shape.lanes, signs=signs)

    def elaborate(self, platform):
        m = Module()
        shape = self._shape
        mask, negative = self.word[: shape.lanes], self.word[shape.lanes :][: len(self.negative)]
        if shape.pairs:
            pairs, past = Signal(), Signal(shape.count_bits)
            bind(m, self.setting, {Register.SOURCE_REPEATS: pairs})
            with m.If(self.start):
                m.d.sync += past.eq(0)
            with m.Elif(self.valid & self.mark.last):
                m.d.sync += past.eq(past + 1)
            # In step 1 the lanes whose n is 0 are those that do not fire.
            first = self.mark.first
            edges = [
                (self.word.word_select(lane, shape.count_bits) == past) ^ first
                for lane in range(shape.lanes)
            ]
            signs = negative if shape.signed else 0
            mask = Mux(pairs, Cat(edges), mask)
            negative = Mux(pairs, (~first).replicate(len(self.negative)), signs)
        m.d.comb += [self.mask.eq(mask), self.negative.eq(negative), self.some.eq(mask.any())]
        return m


class Digits(Encoder):
    """Direct: every non-zero digit of the pixel's non-adjacent form is an event ``+-2**n``.

    Digit i of the form of p is bit i+1 of 3p less bit i+1 of p.
    """

    exponents = True

    def __init__(self, shape: HardwareShape) -> None:
        bits = shape.pixel_bits
        super().__init__(shape, width=bits, events=bits + 1, signs=bits + 1)

    def elaborate(self, platform):
        m = Module()
        triple = (Cat(0, self.word) + self.word)[: len(self.word) + 2]
        once = Cat(self.word, 0, 0)
        positive, negative = (triple & ~once)[1:], (once & ~triple)[1:]
        m.d.comb += [
            self.mask.eq(positive | negative),
            self.negative.eq(negative),
            self.some.eq(self.word.any()),
        ]
        return m


class RawEvents(Encoder):
    """The frame holds the events of every step themselves: a word that is not zero is one."""

    def __init__(self, shape: HardwareShape) -> None:
        super().__init__(shape, width=shape.pixel_bits, signs=0)

    def elaborate(self, platform):
        m = Module()
        self._tell(m, self.word.any())
        return m


class Intervals(Encoder):
    """ISI with integer times (Ca-LIF 4.1): spike n of N = T*p // M in step n*M // p, M the maximum.

    There is a spike in step t where a multiple of M lies in ``[t*p, (t+1)*p)``. So each pixel keeps
    the phase v = 1 + (t*p - 1) mod M, which begins at p and to which p is added in every step with
    the carry put back at the other end, as M is all ones: the carry is the spike. The multiples
    behind N begin in step T, whose spike counts only if T*p is a multiple itself: v = M.

    ::

        word ----------------+-> add -> register -> carry to the low end -+
        phase memory -> v ---+                                           |
             ^-----------------------------------------------------------+

    A step begins when the phases of the one before are written.
    """

    def __init__(self, shape: HardwareShape) -> None:
        super().__init__(shape, width=shape.pixel_bits, signs=0)

    def elaborate(self, platform):
        m = Module()
        bits = len(self.word)
        m.submodules.phases = phases = BankedMemory(bits, self._shape.frame_words)
        phase, total = Signal(bits), Signal(bits + 1)
        m.d.comb += [
            phases.read.eq(self.read),
            phase.eq(Mux(self.mark.first, self.word, phases.data)),
            total.eq(phase + self.word),
        ]
        self._tell(m, Mux(self.mark.final, phase.all(), total[bits]))

        written, wrote, wrote_last = Signal.like(total, reset_less=True), Signal(), Signal()
        m.d.sync += [
            written.eq(total),
            wrote.eq(self.valid),
            wrote_last.eq(self.valid & self.mark.last),
        ]
        m.d.comb += [
            phases.write.enable.eq(wrote),
            phases.write.data.eq(written[:bits] + written[bits]),
        ]
        for enable, last, address in (
            (self.read, self.ends, phases.address),
            (wrote, wrote_last, phases.write.address),
        ):
            place = Signal.like(address)
            m.d.comb += address.eq(place)
            with m.If(enable):
                m.d.sync += place.eq(Mux(last, 0, place + 1))
        landed = Signal()
        m.d.sync += landed.eq(wrote_last)
        with m.If(landed):
            m.d.sync += self.hold.eq(0)
        with m.If(self.read & self.ends):
            m.d.sync += self.hold.eq(1)
        return m


class Pairs(Encoder):
    """TSC (Eq. 1, 2): n = p*(T - 1) // M, +1 in step 1 if n >= 1, -1 in step n + 1; M the maximum.

    n is k where p lies in ``[edge(k), edge(k + 1))`` with edge(k) = ceil(k*M / (T - 1)). In step t
    the registers hold the edges of k = t - 1. They advance as in Bresenham's lines: by the quotient
    of M and T - 1, and by one more where the remainders have used up the rest.
    """

    def __init__(self, shape: HardwareShape) -> None:
        super().__init__(shape, width=shape.pixel_bits, signs=1)

    def elaborate(self, platform):
        m = Module()
        bits, intervals = len(self.word), self._shape.input_steps - 1
        if not intervals:  # n is 0 for all pixels
            return m
        maximum = (1 << bits) - 1
        quotient, remainder = divmod(maximum, intervals)
        start = -(-maximum // intervals)
        low, high = Signal(bits + 1), Signal(bits + 1)
        rest, step = Signal(range(max(2, intervals))), Signal()
        m.d.comb += step.eq(rest < remainder)
        with m.If(self.start):
            m.d.sync += [low.eq(0), high.eq(start), rest.eq(start * intervals - maximum)]
        with m.Elif(self.valid & self.mark.last):
            m.d.sync += [
                low.eq(high),
                high.eq(high + quotient + step),
                rest.eq(rest + Mux(step, intervals - remainder, -remainder)),
            ]
        inside = (low <= self.word) & (self.word < high)
        self._tell(m, inside ^ self.mark.first)
        m.d.comb += self.negative.eq(~self.mark.first)
        return m


class Bernoulli(Encoder):
    """A spike where a pseudo-random number is below the pixel, afresh for every pixel and step.

    The numbers are the high bits of a 32-bit xorshift generator (Marsaglia 2003, shifts 13, 17, 5)
    that begins at `shape.seed` with every walk and advances once before each word.
    """

    def __init__(self, shape: HardwareShape) -> None:
        super().__init__(shape, width=shape.pixel_bits, signs=0)

    def elaborate(self, platform):
        m = Module()
        # Holds what the next word takes.
        state = Signal(32)
        following = state
        for left in (13, -17, 5):
            shifted = following << left if left > 0 else following >> -left
            following = (following ^ shifted)[:32]
        with m.If(self.start):
            m.d.sync += state.eq(xorshift(self._shape.seed))
        with m.Elif(self.valid):
            m.d.sync += state.eq(following)
        self._tell(m, state[32 - len(self.word) :] < self.word)
        return m


def xorshift(state: int) -> int:
    """The 32-bit state after `state`."""
    state ^= state << 13 & 0xFFFFFFFF
    state ^= state >> 17
    return state ^ (state << 5 & 0xFFFFFFFF)


def make_encoder(shape: HardwareShape, *, frame: bool) -> Encoder:
    """The encoder of the frame's source or of a core's."""
    if not frame:
        return Spikes(shape)
    codes = {
        "direct": Digits,
        "isi": Intervals,
        "tsc": Pairs,
        "bernoulli": Bernoulli,
        "events": RawEvents,
    }
    return codes[shape.code](shape)
