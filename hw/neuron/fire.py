"""Fire unit of the second machine: a neuron a clock.

    stage, lanes --> current --> shift --> V + drive --> + current --> digits --> V, n
                        ^                      ^                                  |
                  held current                 V <--------------------------------+

With L the most spikes of a time step (`levels`) and theta the threshold, a burst neuron sends

    n = clip(floor(U / theta), 0, L),   V = U - n theta,   U = V + drive + I.

An IF neuron is that with L = 1, an integrator with L = 0. The quotient comes out as binary digits,
the heaviest first, by division without restoring: behind a digit that is not taken the next one
adds where others subtract, so that a digit is one carry chain and no multiplexer.
"""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from spikewright.hw.cells.arithmetic import AddGated, AddSubtract
from spikewright.hw.cores.lanes import delayed
from spikewright.hw.cores.streams import Layouts, record_layout
from spikewright.machine.blocks import Machine
from spikewright.machine.configuration import LayerRecord

__all__ = ["Decision", "Fire"]


class Decision(wiring.Component):
    """What a potential sends, and what is left of it.

    Latency: `digits` clocks from `u` and `threshold` to `n` and `v`, which are sums of registers;
    registers belong behind them. Throughput: one potential a clock.

    Parameters
    ----------
    membrane_bits, threshold_bits
        Of the signed `u` and `v`, and of the unsigned `threshold`.
    digits
        Bits of `n`.

    Members
    -------
    levels
        The most that it sends.
    holds
        A potential at the threshold does not fire; only with `levels` 1.
    zero
        A neuron that fires keeps nothing; only with `levels` 1.
    """

    def __init__(self, membrane_bits: int, threshold_bits: int, digits: int) -> None:
        self._digits, self._threshold_bits = digits, threshold_bits
        # No remainder that is compared may wrap: not below -(threshold << digits - 1) - 1 either.
        self._width = max(membrane_bits, threshold_bits + digits)
        super().__init__(
            {
                "u": In(signed(membrane_bits)),
                "threshold": In(threshold_bits),
                "levels": In(digits),
                "holds": In(1),
                "zero": In(1),
                "n": Out(digits),
                "v": Out(signed(membrane_bits)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        threshold = Cat(self.threshold, Const(0, 1)).as_signed()
        rest = Signal(signed(self._width), name="rest_first", reset_less=True)
        # Whether the digit may be sent, if the rest is worth it.
        able = Signal(name="able_first", reset_less=True)
        live = ~self.u[-1]
        m.d.sync += [
            rest.eq(self._first(threshold)),
            able.eq(live & self._allowed(Const(1, 1), self._digits - 1)),
        ]
        live = delayed(m, live, 1, "live_first")[1]
        threshold = delayed(m, threshold, 1, "threshold_first")[1].as_signed()
        tight: Value = Const(1, 1)
        sent: Value = Const(0, 0)
        for digit in reversed(range(self._digits)):
            taken = Signal(name=f"taken_{digit}")
            m.d.comb += taken.eq(self._taken(able, rest))
            if not digit:
                break
            still = self._tight(taken, tight, digit)
            tight = delayed(m, still, 1, f"tight_{digit}")[1]
            able = delayed(m, live & self._allowed(still, digit - 1), 1, f"able_{digit}")[1]
            live = delayed(m, live, 1, f"live_{digit}")[1]
            sent = delayed(m, Cat(taken, sent), 1, f"sent_{digit}")[1]
            rest = self._next(m, rest, threshold, taken, digit)
            threshold = delayed(m, threshold, 1, f"threshold_{digit}")[1].as_signed()
        m.d.comb += [self.n.eq(Cat(taken, sent)), self.v.eq(self._left(m, rest, threshold, taken))]
        return m

    def _first(self, threshold: Value) -> Value:
        """U minus the heaviest multiple; one less where a tie does not fire, down to the end."""
        # A borrow comes in through a bit below the others.
        heaviest = Cat(self.holds, Const(0, self._digits - 1), threshold).as_signed()
        return (Cat(Const(0, 1), self.u).as_signed() - heaviest)[1:]

    def _taken(self, able: Value, rest: Value) -> Value:
        """Whether a digit is sent: it may be, and the potential is worth it."""
        return able & ~rest[-1]

    def _allowed(self, tight: Value, digit: int) -> Value:
        """Whether n stays at most `levels` with a digit, if all before were or were not `tight`."""
        return self.levels[digit] | ~tight

    def _tight(self, taken: Value, tight: Value, digit: int) -> Value:
        """Whether n has been `levels`, digit by digit, so far; else it is less."""
        return tight & (taken | ~self.levels[digit])

    def _next(self, m: Module, rest: Value, threshold: Value, taken: Value, digit: int) -> Value:
        """The remainder with the next multiple, half of this one, subtracted.

        Where this one was not taken it comes back at the same time: + 2 x - x = + x.
        """
        below = digit - 1
        adder = AddSubtract(self._width - below, self._threshold_bits + 1)
        m.submodules[f"digit_{below}"] = adder
        following = Signal(signed(self._width), name=f"rest_{below}", reset_less=True)
        m.d.comb += [
            adder.sum.eq(rest[below:]),
            adder.value.eq(threshold),
            adder.negative.eq(taken),
        ]
        m.d.sync += following.eq(Cat(rest[:below], adder.total))
        return following

    def _left(self, m: Module, rest: Value, threshold: Value, taken: Value) -> Value:
        """V: the last remainder, the last multiple back where it was not taken."""
        m.submodules.left = adder = AddGated(self._width, self._threshold_bits + 1, carry=True)
        nothing = self._resets(taken)
        m.d.comb += [
            adder.sum.eq(rest),
            adder.clear.eq(nothing),
            adder.value.eq(threshold),
            adder.enable.eq(~taken),
            adder.carry.eq(self.holds & ~nothing),
        ]
        return adder.total

    def _resets(self, taken: Value) -> Value:
        """Whether a spike leaves no potential."""
        return self.zero & taken


class Fire(wiring.Component):
    """One fire unit, with V and the last current of its slots.

    Latency: :attr:`latency` clocks from `stage` to `o_stage`. Throughput: a slot a clock; V of a
    slot is there again ``machine.fire.latency`` clocks after its `stage`, which is the least
    distance of two rounds. There is no back-pressure.

    Members
    -------
    layer
        The layer's record, steady while stages are under way.
    stage
        See :class:`.Layouts`.
    first, second
        What the lanes give for this slot, in the clock of `stage`: one is zero; both where the
        stage is not `walked`.
    parameter
        Threshold, and above it the drive, for this slot and this step, in the clock of `stage`.
    peek, peek_slot, peeked
        V of a slot, at once. No stage comes in meanwhile, and none is under way.
    o_stage, n, v
        The stage, what the neuron sends, and V after that.
    """

    def __init__(self, machine: Machine) -> None:
        self._machine, fire = machine, machine.fire
        layouts = Layouts(machine)
        self._slots = max(2, machine.slots)
        slot = machine.widths["slot"]
        accumulator = signed(machine.lanes.accumulator_bits)
        super().__init__(
            {
                "layer": In(record_layout(LayerRecord, machine)),
                "stage": In(layouts.stage),
                "first": In(accumulator),
                "second": In(accumulator),
                "parameter": In(fire.parameter_bits),
                "peek": In(1),
                "peek_slot": In(slot),
                "peeked": Out(signed(fire.membrane_bits)),
                "o_stage": Out(layouts.stage),
                "n": Out(fire.digits),
                "v": Out(signed(fire.membrane_bits)),
            }
        )

    @property
    def latency(self) -> int:
        """Of the loop of V, and a clock in front of it where there is a shift."""
        return self._machine.fire.through

    @property
    def _shifts(self) -> int:
        """Whether a layer may shift its current: clocks before V is read."""
        return int(self._machine.fire.largest_shift > 0)

    def elaborate(self, platform):
        m = Module()
        fire, start = self._machine.fire, self._shifts
        stages = self._stages(m)
        current = self._current(m, stages)
        parameter = delayed(m, self.parameter, start + 2, "parameter")
        membranes, reader = self._memory(m, "membranes", fire.membrane_bits)
        m.d.comb += [
            reader.addr.eq(Mux(self.peek, self.peek_slot, stages[start].slot)),
            self.peeked.eq(reader.data),
        ]
        drive = parameter[start][fire.threshold_bits :].as_signed()
        m.submodules.driven = driven = AddGated(fire.membrane_bits, fire.drive_bits)
        potential, u = (
            Signal(signed(fire.membrane_bits), name=name, reset_less=True)
            for name in ("potential", "u")
        )
        m.d.comb += [
            driven.sum.eq(reader.data),
            driven.clear.eq(stages[start].first),
            driven.value.eq(drive),
            driven.enable.eq(stages[start].first | stages[start].driven),
        ]
        m.d.sync += [potential.eq(driven.total), u.eq(potential + current)]
        m.submodules.decision = decision = Decision(
            fire.membrane_bits, fire.threshold_bits, fire.digits
        )
        m.d.comb += [
            decision.u.eq(u),
            decision.threshold.eq(parameter[start + 2]),
            *(
                getattr(decision, name).eq(getattr(self.layer, name))
                for name in ("levels", "holds", "zero")
            ),
        ]
        ready = stages[start + 2 + fire.digits]
        m.d.comb += [
            membranes.en.eq(ready.valid),
            membranes.addr.eq(ready.slot),
            membranes.data.eq(decision.v),
            self.o_stage.eq(stages[-1]),
        ]
        n, v = Signal.like(self.n, reset_less=True), Signal.like(self.v, reset_less=True)
        m.d.sync += [n.eq(decision.n), v.eq(decision.v)]
        m.d.comb += [self.n.eq(n), self.v.eq(v)]
        return m

    def _stages(self, m: Module) -> list:
        """The stage as it comes in, and a register for every clock up to `o_stage`."""
        stages = [self.stage]
        for clock in range(1, self.latency + 1):
            stage = Signal(self.stage.shape(), name=f"stage_{clock}", reset_less=True)
            valid = Signal(name=f"valid_{clock}")  # this one is reset: nothing is under way
            m.d.sync += [stage.eq(stages[-1]), valid.eq(stages[-1].valid)]
            now = Signal(self.stage.shape(), name=f"now_{clock}")
            m.d.comb += [now.eq(stage), now.valid.eq(valid)]
            stages.append(now)
        return stages

    def _memory(self, m: Module, name: str, bits: int) -> tuple:
        """Distributed RAM, a word a slot: the write port and the read port."""
        m.submodules[name] = memory = Memory(shape=bits, depth=self._slots, init=[])
        return memory.write_port(), memory.read_port(domain="comb")

    def _current(self, m: Module, stages: list) -> Value:
        """I: from the lanes, or what it was in the last step, or none; shifted."""
        bits = self._machine.lanes.accumulator_bits
        writer, reader = self._memory(m, "currents", bits)
        held = stages[0].held & ~stages[0].walked
        current = Signal(signed(bits), reset_less=True)
        m.d.comb += [
            reader.addr.eq(stages[0].slot),
            writer.en.eq(stages[1].valid),
            writer.addr.eq(stages[1].slot),
            writer.data.eq(current),
        ]
        m.d.sync += current.eq(self.first | self.second | (reader.data & held.replicate(bits)))
        if not self._shifts:
            return current
        amount = self.layer.shift[: self._machine.fire.largest_shift.bit_length()]
        shifted = Signal(signed(self._machine.fire.membrane_bits), reset_less=True)
        m.d.sync += shifted.eq(current << amount)
        return shifted
