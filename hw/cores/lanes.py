"""Lanes: accumulators, their weights, and the chain that brings events to them.

A lane is an accumulator and nothing else. Lane l is slot ``l // fire_units`` of fire unit ``l %
fire_units``. Events go from slot to slot, one clock each, so that slot s is ready exactly when its
fire unit takes it: the hand-over needs neither a second bank of registers nor a parallel load, and
the next step's events follow at once.

    event --> slot 0 --> slot 1 --> ... --> slot S-1          one clock from slot to slot
                |           |                   |
             weight row  weight row          weight row       of the slot's own block RAMs
                |           |                   |
            F accumulators  F                   F             acc = (double ? 2 acc : acc) + weight
                \\___________|___________________/
                            one slot a clock, to each fire unit
"""

from __future__ import annotations

from collections.abc import Sequence

from amaranth.hdl import Cat, Module, Mux, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from spikewright.hw.cells.arithmetic import DoubleAdd, Select
from spikewright.hw.cells.memory import BlockMemory
from spikewright.machine import blocks
from spikewright.machine.blocks import address_bits
from spikewright.machine.storage import bank_slots

__all__ = ["Lane", "Lanes", "delayed", "event_layout"]


def event_layout(row_bits: int) -> data.StructLayout:
    """What every slot sees, one clock later each.

    - `row`: the weight row to add
    - `add`: the row is added, or subtracted where `negative` (lanes that are `signed` only)
    - `double`: to the accumulator's double; without `add` it is doubled alone
    - `clear`: the accumulator becomes zero, and nothing else
    """
    flags = dict.fromkeys(("add", "double", "clear", "negative"), 1)
    return data.StructLayout({"row": row_bits, **flags})


def delayed(m: Module, value: Value, clocks: int, name: str) -> list[Value]:
    """`value`, and what it was 1 to `clocks` clocks ago; without reset, as a pipeline drains."""
    stages = [value]
    for clock in range(clocks):
        stage = Signal(value.shape(), name=f"{name}_{clock + 1}", reset_less=True)
        m.d.sync += stage.eq(stages[-1])
        stages.append(stage)
    return stages


class Lane(wiring.Component):
    """One accumulator: its sum, doubled or not, plus a weight; or zero. It wraps.

    A LUT a bit: what is chosen lies in the carry chain, zero is the register's reset.

    Latency: one clock from `weight` and the flags to `total`. Throughput: one addition a clock.

    Parameters
    ----------
    width
        Bits of the accumulator.
    weight_bits
        Bits of a signed weight.
    signed_events
        Whether `carry` is added as well, which makes ``-weight`` of ``~weight``.
    """

    def __init__(self, width: int, weight_bits: int, *, signed_events: bool = False) -> None:
        self._width, self._weight_bits, self._signed = width, weight_bits, signed_events
        super().__init__(
            {
                "weight": In(signed(weight_bits)),
                "double": In(1),
                "clear": In(1),
                "carry": In(1),
                "total": Out(signed(width)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.adder = adder = DoubleAdd(self._width, self._weight_bits, carry=self._signed)
        total = Signal(signed(self._width), reset_less=True)
        m.d.comb += [
            adder.sum.eq(total),
            adder.double.eq(self.double),
            adder.value.eq(self.weight),
            adder.carry.eq(self.carry),
            self.total.eq(total),
        ]
        m.d.sync += total.eq(adder.total)
        with m.If(self.clear):
            m.d.sync += total.eq(0)
        return m


class Lanes(wiring.Component):
    """The lanes of a core, in ``count // fire_units`` slots, with their weight memory.

    Latency: :attr:`latency` clocks from an event to slot 0 with it at `first` or `second`, if it is
    taken :attr:`taking` clocks before; slot s is so far on s clocks later. Throughput: one event
    and one slot a clock. There is no back-pressure.

    Parameters
    ----------
    lanes
        What they are; row r of lane l is ``weight_bits`` bits from bit ``l * weight_bits``.
    fire_units
        How many lanes are taken in a clock.
    init
        The first rows.

    Members
    -------
    event
        See :func:`event_layout`.
    taken
        The `slot` that all fire units take, where `valid`.
    first, second
        Of every fire unit what is taken, in one of two numbers; the other is zero. Both are zero
        where nothing is taken.
    write
        `enable`, `row` and `data` of a whole weight row.
    """

    MEMORY = BlockMemory.LATENCY + 1
    """Clocks from a row's address to the accumulator's input: a register follows the memory."""

    def __init__(self, lanes: blocks.Lanes, fire_units: int, init: Sequence[int] = ()) -> None:
        if lanes.count % fire_units:
            raise ValueError(f"{lanes.count} lanes cannot be dealt to {fire_units} fire units")
        self.parameters, self.fire_units = lanes, fire_units
        self.slots = lanes.count // fire_units
        self.latency = lanes.latency(fire_units)
        self._accumulator_bits, self._weight_bits = lanes.accumulator_bits, lanes.weight_bits
        self._init = init
        row_bits = address_bits(lanes.weight_rows)
        self.event_layout = event_layout(row_bits)
        taken = data.ArrayLayout(signed(lanes.accumulator_bits), fire_units)
        row = lanes.count * lanes.weight_bits
        write = wiring.Signature({"enable": Out(1), "row": Out(row_bits), "data": Out(row)})
        super().__init__(
            {
                "event": In(self.event_layout),
                "taken": In(data.StructLayout({"valid": 1, "slot": address_bits(self.slots)})),
                "first": Out(taken),
                "second": Out(taken),
                "write": In(write),
            }
        )

    @property
    def _deep(self) -> bool:
        """Whether there are more groups of slots than the two outputs take."""
        return self.slots > 2 * Select.MOST

    @property
    def taking(self) -> int:
        """Clocks from `taken` to `first` and `second`."""
        return 1 + self._deep

    def elaborate(self, platform):
        m = Module()
        rows = delayed(m, self.event.row, self.slots - 1, "row")
        event = self.event
        flags = delayed(
            m,
            Cat(event.add, event.double, event.clear, event.negative),
            self.MEMORY + self.slots - 1,
            "flags",
        )
        totals = []
        for start in range(0, self.slots, self._bank_slots):
            own = range(start, min(start + self._bank_slots, self.slots))
            words = self._bank(m, own, rows[start], flags)
            totals += [
                self._slot(m, slot, word, flags[self.MEMORY + slot])
                for slot, word in zip(own, words, strict=True)
            ]
        for unit in range(self.fire_units):
            parts = self._choice(m, unit, [slot[unit] for slot in totals])
            for output, own in ((self.first, parts[0::2]), (self.second, parts[1::2])):
                if not own:
                    continue
                either = own[0] if len(own) == 1 else own[0] | own[1]
                if self._deep:
                    joined = Signal(self._accumulator_bits, name=f"joined_{unit}", reset_less=True)
                    m.d.sync += joined.eq(either)
                    either = joined
                m.d.comb += output[unit].eq(either)
        return m

    @property
    def _bank_slots(self) -> int:
        """Slots that share a block RAM: its word is read for the first and waits for the others."""
        return bank_slots(self.parameters, self.fire_units)

    def _bank(self, m: Module, slots: range, row: Value, flags: list[Value]) -> list[Value]:
        """The weights of neighbouring slots, each when its event is there; zeros without `add`.

        Inverted where `negative`: what is missing to their negative is the lanes' carry.
        """
        bits = self.fire_units * self._weight_bits
        low, mask = slots[0] * bits, (1 << len(slots) * bits) - 1
        m.submodules[f"weights_{slots[0]}"] = memory = BlockMemory(
            len(slots) * bits,
            self.parameters.weight_rows,
            [word >> low & mask for word in self._init],
        )
        m.d.comb += [
            memory.address.eq(row),
            memory.write.enable.eq(self.write.enable),
            memory.write.address.eq(self.write.row),
            memory.write.data.eq(self.write.data[low : low + len(slots) * bits]),
        ]
        weights = []
        for late, slot in enumerate(slots):
            read = delayed(m, memory.data.word_select(late, bits), late, f"read_{slot}")[-1]
            added = Signal(bits, name=f"weights_{slot}", reset_less=True)
            add, _, _, negative = flags[self.MEMORY + slot - 1]
            weight = Mux(add, read, 0)
            if self.parameters.signed:
                weight ^= negative.replicate(bits)
            m.d.sync += added.eq(weight)
            weights.append(added)
        return weights

    def _slot(self, m: Module, slot: int, weights: Value, flags: Value) -> list[Value]:
        """The accumulators of a slot."""
        totals: list[Value] = []
        for unit in range(self.fire_units):
            lane = Lane(
                self._accumulator_bits,
                self._weight_bits,
                signed_events=self.parameters.signed,
            )
            m.submodules[f"lane_{slot * self.fire_units + unit}"] = lane
            m.d.comb += [
                lane.weight.eq(weights.word_select(unit, self._weight_bits)),
                lane.double.eq(flags[1]),
                lane.clear.eq(flags[2]),
                lane.carry.eq(flags[3]),
            ]
            totals.append(lane.total)
        return totals

    def _choice(self, m: Module, unit: int, totals: list[Value]) -> list[Value]:
        """What a fire unit takes, in groups of slots: of at most one group it is not zero."""
        parts = []
        bits = (Select.MOST - 1).bit_length()
        for group, start in enumerate(range(0, self.slots, Select.MOST)):
            own = totals[start : start + Select.MOST]
            m.submodules[f"select_{unit}_{group}"] = select = Select(
                self._accumulator_bits, len(own)
            )
            output = Signal(self._accumulator_bits, name=f"part_{unit}_{group}", reset_less=True)
            high = self.taken.slot[bits:]
            m.d.sync += output.eq(select.output)
            m.d.comb += [
                select.inputs.eq(Cat(own)),
                select.code.eq(self.taken.slot[:bits]),
                select.enable.eq(self.taken.valid & (high == group)),
            ]
            parts.append(output)
        return parts
