"""Sums with a choice in front, at one LUT and one carry a bit on the ECP5.

Synthesis puts the choice into LUTs of its own, in front of the carry chain; a lane would be twice
as large. A CCU2C cell holds two bits of a chain: of each bit a table of four inputs, which says
whether the carry propagates, while the same table at ``(a, b, 0, 0)`` is the carry that is made
where it does not. So two operands and two choices fit, if what is added is known from `a` and `b`.

All sums are modular: results have the width of the component, whatever overflows is lost.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from amaranth.hdl import Cat, Const, Instance, Module, Mux, Signal, Value, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from spikewright.hw.cells.family import has_ecp5_cells

__all__ = [
    "AddEither",
    "AddGated",
    "AddSubtract",
    "ChooseAdd",
    "ChooseSubtract",
    "Count",
    "DoubleAdd",
    "LoadAdd",
    "Lut",
    "Select",
]

Table = Callable[[int, int, int, int], int]


def lut4(table: Table) -> Const:
    """The contents of a LUT of four inputs, `a` the least significant."""
    bits = (table(i & 1, i >> 1 & 1, i >> 2 & 1, i >> 3 & 1) & 1 for i in range(16))
    return Const(sum(bit << i for i, bit in enumerate(bits)), 16)


_ZERO, _ONE = Const(0, 1), Const(1, 1)


def carry_chain(
    m: Module, table: Table, a: Value, b: Value, c: Value, d: Value, carry: Value = _ZERO
) -> Value:
    """``propagate ^ carry`` of each bit, where `table` gives propagate; `carry` comes in.

    The operands have one width. The carry is made in a bit of the chain, by a table that never
    propagates: what comes into a chain from elsewhere, even a constant, costs nextpnr a cell, and
    so does a carry that leaves it. So neither end is connected.
    """
    made: tuple[Table, Sequence[Value]] = (lambda a, b, c, d: a & ~d, (carry, _ZERO, _ZERO, _ONE))
    bits = [made, *((table, operands) for operands in zip(a, b, c, d, strict=True))]
    if len(bits) % 2:
        bits.append((lambda a, b, c, d: 0, (_ZERO,) * 4))
    total = Signal(len(bits), name="total")
    passed: Value | None = None
    for i in range(0, len(bits), 2):
        ports: dict[str, Any] = {} if passed is None else {"i_CIN": passed}
        if i + 2 < len(bits):
            passed = ports["o_COUT"] = Signal(name=f"carry_{i}")
        for half, (rule, operands) in enumerate(bits[i : i + 2]):
            ports[f"p_INIT{half}"] = lut4(rule)
            ports[f"p_INJECT1_{half}"] = "NO"
            ports |= {f"i_{pin}{half}": bit for pin, bit in zip("ABCD", operands, strict=True)}
            ports[f"o_S{half}"] = total[i + half]
        m.submodules[f"cell_{i}"] = Instance("CCU2C", **ports)
    return total[1 : 1 + len(a)]


def _check_value(width: int, value_bits: int) -> None:
    if value_bits > width:
        raise ValueError(f"a value of {value_bits} bits does not fit a sum of {width}")


def _extended(value: Value, width: int) -> Value:
    """A signed value with its sign in all bits up to `width`."""
    return Cat(value, value[-1].replicate(width - len(value)))


class AddSubtract(wiring.Component):
    """``total = sum + value``, or ``sum - value`` where `negative`. Combinational.

    Parameters
    ----------
    width
        Bits of the signed `sum` and `total`.
    value_bits
        Bits of the signed `value`, at most `width`.
    """

    def __init__(self, width: int, value_bits: int) -> None:
        _check_value(width, value_bits)
        super().__init__(
            {
                "sum": In(signed(width)),
                "value": In(signed(value_bits)),
                "negative": In(1),
                "total": Out(signed(width)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        width = len(self.total)
        if not has_ecp5_cells(platform):
            m.d.comb += self.total.eq(
                Mux(self.negative, self.sum - self.value, self.sum + self.value)
            )
            return m
        # sum - value = sum + ~value + 1: where a bit does not propagate, the carry is a ^ b.
        m.d.comb += self.total.eq(
            carry_chain(
                m,
                lambda a, b, c, d: a ^ b ^ c,
                _extended(self.value, width),
                self.negative.replicate(width),
                self.sum,
                Const(0, width),
                self.negative,
            )
        )
        return m


class DoubleAdd(wiring.Component):
    """``total = (double ? 2 sum : sum) + value + carry``: a step of Horner's. Combinational.

    Parameters
    ----------
    width
        Bits of the signed `sum` and `total`.
    value_bits
        Bits of the signed `value`, at most `width`.
    carry
        Whether there is a `carry` at all.
    """

    def __init__(self, width: int, value_bits: int, *, carry: bool = False) -> None:
        _check_value(width, value_bits)
        self._carried = carry
        super().__init__(
            {
                "sum": In(signed(width)),
                "double": In(1),
                "value": In(signed(value_bits)),
                "carry": In(1),
                "total": Out(signed(width)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        width = len(self.total)
        carry = self.carry if self._carried else _ZERO
        if not has_ecp5_cells(platform):
            m.d.comb += self.total.eq(
                Mux(self.double, self.sum << 1, self.sum) + self.value + carry
            )
            return m
        # Where a bit does not propagate both operands are the same: the carry is a.
        m.d.comb += self.total.eq(
            carry_chain(
                m,
                lambda a, b, c, d: a ^ (d if b else c),
                _extended(self.value, width),
                self.double.replicate(width),
                self.sum,
                Cat(_ZERO, self.sum[:-1]),
                carry,
            )
        )
        return m


class AddEither(wiring.Component):
    """``total = sum + (first | second)``: of two values one is zero. Combinational."""

    def __init__(self, width: int) -> None:
        shape = signed(width)
        super().__init__(
            {"sum": In(shape), "first": In(shape), "second": In(shape), "total": Out(shape)}
        )

    def elaborate(self, platform):
        m = Module()
        if not has_ecp5_cells(platform):
            m.d.comb += self.total.eq(self.sum + (self.first | self.second))
            return m
        none = Const(0, len(self.total))
        m.d.comb += self.total.eq(
            carry_chain(m, lambda a, b, c, d: (a | b) ^ c, self.first, self.second, self.sum, none)
        )
        return m


class AddGated(wiring.Component):
    """``total = (clear ? 0 : sum) + (enable ? value : 0) + carry``. Combinational.

    Parameters
    ----------
    width
        Bits of the signed `sum` and `total`.
    value_bits
        Bits of the signed `value`, at most `width`.
    carry
        Whether there is a `carry` at all.
    """

    def __init__(self, width: int, value_bits: int, *, carry: bool = False) -> None:
        _check_value(width, value_bits)
        self._carried = carry
        super().__init__(
            {
                "sum": In(signed(width)),
                "clear": In(1),
                "value": In(signed(value_bits)),
                "enable": In(1),
                "carry": In(1),
                "total": Out(signed(width)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        width = len(self.total)
        carry = self.carry if self._carried else _ZERO
        if not has_ecp5_cells(platform):
            kept, added = Mux(self.clear, 0, self.sum), Mux(self.enable, self.value, 0)
            m.d.comb += self.total.eq(kept + added + carry)
            return m
        # Where a bit does not propagate both operands are the same: the carry is a & b.
        m.d.comb += self.total.eq(
            carry_chain(
                m,
                lambda a, b, c, d: (a & b) ^ (c & ~d),
                _extended(self.value, width),
                self.enable.replicate(width),
                self.sum,
                self.clear.replicate(width),
                carry,
            )
        )
        return m


class ChooseAdd(wiring.Component):
    """``total = (choose ? first : second) + value``, all unsigned of `width` bits. Combinational.

    With a `value` of one bit this is a counter that can be loaded.
    """

    def __init__(self, width: int) -> None:
        ports = {name: In(width) for name in ("first", "second", "value")}
        super().__init__({**ports, "choose": In(1), "total": Out(width)})

    def elaborate(self, platform):
        m = Module()
        if not has_ecp5_cells(platform):
            m.d.comb += self.total.eq(Mux(self.choose, self.first, self.second) + self.value)
            return m
        m.d.comb += self.total.eq(
            carry_chain(
                m,
                lambda a, b, c, d: (c if b else d) ^ a,
                self.value,
                self.choose.replicate(len(self.total)),
                self.first,
                self.second,
            )
        )
        return m


class ChooseSubtract(wiring.Component):
    """``total = (choose ? first : second) - value``. Combinational.

    Parameters
    ----------
    width
        Bits of the signed `first`, `second` and `total`.
    value_bits
        Bits of the unsigned `value`, at most `width`.
    borrow
        One more is subtracted.
    """

    def __init__(self, width: int, value_bits: int, *, borrow: bool = False) -> None:
        _check_value(width, value_bits)
        self._borrow = borrow
        shape = signed(width)
        super().__init__(
            {
                "first": In(shape),
                "second": In(shape),
                "choose": In(1),
                "value": In(value_bits),
                "total": Out(shape),
            }
        )

    def elaborate(self, platform):
        m = Module()
        width = len(self.total)
        if not has_ecp5_cells(platform):
            chosen = Mux(self.choose, self.first, self.second)
            m.d.comb += self.total.eq(chosen - self.value - self._borrow)
            return m
        # x - value = x + ~value + 1; a carry that is not passed on is made of ~value alone.
        m.d.comb += self.total.eq(
            carry_chain(
                m,
                lambda a, b, c, d: (c if b else d) ^ a ^ 1,
                Cat(self.value, Const(0, width - len(self.value))),
                self.choose.replicate(width),
                self.first,
                self.second,
                _ZERO if self._borrow else _ONE,
            )
        )
        return m


class Count(wiring.Component):
    """``total = load ? first + value : count + 1``, all unsigned of `width` bits. Combinational."""

    def __init__(self, width: int) -> None:
        ports = {name: In(width) for name in ("first", "value", "count")}
        super().__init__({**ports, "load": In(1), "total": Out(width)})

    def elaborate(self, platform):
        m = Module()
        if not has_ecp5_cells(platform):
            m.d.comb += self.total.eq(Mux(self.load, self.first + self.value, self.count + 1))
            return m
        # A carry is made of `value` alone, so that none is made where `load` is low.
        m.d.comb += self.total.eq(
            carry_chain(
                m,
                lambda a, b, c, d: a ^ c if b else d,
                self.value,
                self.load.replicate(len(self.total)),
                self.first,
                self.count,
                ~self.load,
            )
        )
        return m


class LoadAdd(wiring.Component):
    """``total = load ? start : sum + step``, all of `width` bits. Combinational.

    Where a counter or an address goes on by a step or begins anew.
    """

    def __init__(self, width: int) -> None:
        super().__init__(
            {
                "start": In(width),
                "sum": In(width),
                "step": In(width),
                "load": In(1),
                "total": Out(width),
            }
        )

    def elaborate(self, platform):
        m = Module()
        if not has_ecp5_cells(platform):
            m.d.comb += self.total.eq(Mux(self.load, self.start, self.sum + self.step))
            return m
        # No carry is made while `load`, so that what propagates is the start itself.
        m.d.comb += self.total.eq(
            carry_chain(
                m,
                lambda a, b, c, d: c if b else a ^ d,
                self.step,
                self.load.replicate(len(self.total)),
                self.start,
                self.sum,
            )
        )
        return m


class Lut(wiring.Component):
    """``output = table(a, b, c, d)`` of four bits, in a LUT of its own. Combinational.

    Where synthesis would make a chain of what can be there at the same time, to save a LUT.
    """

    def __init__(self, table: Table) -> None:
        self._table = lut4(table)
        super().__init__({**dict.fromkeys("abcd", In(1)), "output": Out(1)})

    def elaborate(self, platform):
        m = Module()
        inputs = {pin: getattr(self, pin) for pin in "abcd"}
        if not has_ecp5_cells(platform):
            m.d.comb += self.output.eq(self._table.bit_select(Cat(inputs.values()), 1))
            return m
        pins = {f"i_{pin.upper()}": bit for pin, bit in inputs.items()}
        m.submodules.lut = Instance("LUT4", p_INIT=self._table, **pins, o_Z=self.output)
        return m


class Select(wiring.Component):
    """``output = enable ? inputs[code] : 0`` of up to eight words. Combinational.

    On the ECP5 one LUT a bit for two words, two for four, four for eight: the multiplexers behind
    the LUTs cost none.
    """

    MOST = 8

    def __init__(self, width: int, count: int) -> None:
        if not 1 <= count <= self.MOST:
            raise ValueError(f"{count} words to select from; 1 to {self.MOST} are possible")
        self._width, self._count = width, count
        super().__init__(
            {"inputs": In(width * count), "code": In(3), "enable": In(1), "output": Out(width)}
        )

    def elaborate(self, platform):
        m = Module()
        words = [self.inputs.word_select(i, self._width) for i in range(self._count)]
        places = max(2, 1 << (self._count - 1).bit_length())
        words += [Const(0, self._width)] * (places - self._count)
        if not has_ecp5_cells(platform):
            code = self.code[: (places - 1).bit_length()]
            chosen = Cat(words).word_select(code, self._width)
            m.d.comb += self.output.eq(Mux(self.enable, chosen, 0))
            return m
        for bit in range(self._width):
            m.d.comb += self.output[bit].eq(self._selected(m, [w[bit] for w in words], bit))
        return m

    def _selected(self, m: Module, bits: list[Value], name: int) -> Value:
        """One bit: LUTs of two inputs each, then the multiplexers behind them."""
        table = lut4(lambda a, b, c, d: (b if c else a) & d)
        parts: list[Value] = []
        for i in range(0, len(bits), 2):
            output = Signal(name=f"pair_{name}_{i}")
            m.submodules[f"lut_{name}_{i}"] = Instance(
                "LUT4",
                p_INIT=table,
                i_A=bits[i],
                i_B=bits[i + 1],
                i_C=self.code[0],
                i_D=self.enable,
                o_Z=output,
            )
            parts.append(output)
        for level, (kind, low, high, choice) in enumerate(
            (("PFUMX", "i_BLUT", "i_ALUT", "i_C0"), ("L6MUX21", "i_D0", "i_D1", "i_SD"))
        ):
            pairs = list(zip(parts[0::2], parts[1::2], strict=True)) if len(parts) > 1 else []
            parts = [] if pairs else parts
            for i, (first, second) in enumerate(pairs):
                output = Signal(name=f"level_{name}_{level}_{i}")
                ports = {low: first, high: second, choice: self.code[level + 1], "o_Z": output}
                m.submodules[f"mux_{name}_{level}_{i}"] = Instance(kind, **ports)
                parts.append(output)
        return parts[0]
