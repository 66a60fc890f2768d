"""Memories: blocks with an output register, and small ones of distributed RAM."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from amaranth.hdl import Array, Cat, ClockSignal, Const, Instance, Module, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from spikewright.hw.cells.arithmetic import Select
from spikewright.hw.cells.family import has_ecp5_cells
from spikewright.machine.storage import block_shape

__all__ = ["BlockMemory", "DistributedMemory"]

_ROW_BITS, _ROWS = 18, 1024
"""How the contents of a block RAM are written into its parameters, whatever the words' width."""


class BlockMemory(wiring.Component):
    """A synchronous memory: block RAMs side by side and, beyond their depth, in banks.

    Latency: `data` follows `address` by two clocks. Throughput: a read and a write a clock. A word
    read in the clock in which it is written is undefined. Block RAM delivers late in a clock, so
    there is a register behind it, its own on the ECP5; banks are chosen behind that register.

    Parameters
    ----------
    width, depth
        Bits of a word, words.
    init
        The first words; the others are zero.

    Members
    -------
    address, data
        The read port.
    write
        `enable`, `address`, `data`.
    """

    LATENCY = 2

    def __init__(self, width: int, depth: int, init: Iterable[int] = ()) -> None:
        if depth < 2 or width < 1:
            raise ValueError(f"a memory of {depth!r} words of {width!r} bits; use 2 of 1 or more")
        self._init = list(init)
        if len(self._init) > depth:
            raise ValueError(f"{len(self._init)} initial words do not fit a memory of {depth}")
        self._width, self._depth = width, depth
        write = wiring.Signature(
            {"enable": Out(1), "address": Out(range(depth)), "data": Out(width)}
        )
        super().__init__({"address": In(range(depth)), "data": Out(width), "write": In(write)})

    def elaborate(self, platform):
        m = Module()
        words, bits = block_shape(self._depth)
        inner = (words - 1).bit_length()
        ecp5 = has_ecp5_cells(platform)
        outputs = []
        for bank, start in enumerate(range(0, self._depth, words)):
            own = self._init[start : start + words]
            enable = Signal(name=f"enable_{bank}")
            m.d.comb += enable.eq(self.write.enable & (self.write.address[inner:] == bank))
            make = self._blocks if ecp5 else self._portable
            outputs.append(make(m, bank, enable, own, bits))
        if len(outputs) == 1:
            m.d.comb += self.data.eq(outputs[0])
            return m
        chosen = [Signal(len(self.address) - inner, name=f"bank_{k}") for k in range(2)]
        m.d.sync += [chosen[0].eq(self.address[inner:]), chosen[1].eq(chosen[0])]
        m.d.comb += self.data.eq(Array(outputs)[chosen[1]])
        return m

    def _portable(
        self, m: Module, bank: int, enable: Value, init: Sequence[int], bits: int
    ) -> Value:
        """One bank as synthesis may infer it, and a register."""
        words, _ = block_shape(self._depth)
        attributes: dict[str, Any] = {"no_rw_check": 1}
        m.submodules[f"bank_{bank}"] = memory = Memory(
            shape=self._width, depth=min(words, self._depth), init=init, attrs=attributes
        )
        reader, writer = memory.read_port(), memory.write_port()
        output = Signal(self._width, name=f"output_{bank}", reset_less=True)
        m.d.comb += [
            reader.addr.eq(self.address[: len(reader.addr)]),
            writer.addr.eq(self.write.address[: len(writer.addr)]),
            writer.data.eq(self.write.data),
            writer.en.eq(enable),
        ]
        m.d.sync += output.eq(reader.data)
        return output

    def _blocks(self, m: Module, bank: int, enable: Value, init: Sequence[int], bits: int) -> Value:
        """One bank of block RAMs side by side, with their own output registers."""
        output = Signal(self._width, name=f"output_{bank}")
        for column, low in enumerate(range(0, self._width, bits)):
            width = min(bits, self._width - low)
            mask = (1 << width) - 1
            data = Signal(bits, name=f"data_{bank}_{column}")
            block = Instance(
                "PDPW16KD" if bits == 36 else "DP16KD",
                **(_wide if bits == 36 else _narrow)(
                    bits, self.address, self.write, low, width, enable, data
                ),
                **_contents([word >> low & mask for word in init], bits),
            )
            m.submodules[f"block_{bank}_{column}"] = block
            m.d.comb += output[low : low + width].eq(data)
        return output


class DistributedMemory(wiring.Component):
    """A shallow memory of LUTs, read in the same clock: `data` follows `address` at once.

    Throughput: a read and a write a clock. A word read in the clock in which it is written is the
    old one. The ECP5 has such memories of 16 words; here they are banks, chosen by
    :class:`~spikewright.hw.cells.arithmetic.Select`. Contents begin as zeros.

    Parameters
    ----------
    width, depth
        Bits of a word, words; at most :attr:`MOST`.

    Members
    -------
    address, data
        The read port.
    write
        `enable`, `address`, `data`.
    """

    WORDS, MOST = 16, 16 * Select.MOST

    def __init__(self, width: int, depth: int) -> None:
        if not 2 <= depth <= self.MOST:
            raise ValueError(
                f"a distributed memory of {depth} words; 2 to {self.MOST} are possible"
            )
        self._width, self._depth = width, depth
        write = wiring.Signature(
            {"enable": Out(1), "address": Out(range(depth)), "data": Out(width)}
        )
        super().__init__({"address": In(range(depth)), "data": Out(width), "write": In(write)})

    def elaborate(self, platform):
        m = Module()
        words = self.WORDS if has_ecp5_cells(platform) else self._depth
        inner = (words - 1).bit_length()
        outputs = []
        for bank, start in enumerate(range(0, self._depth, words)):
            m.submodules[f"bank_{bank}"] = memory = Memory(
                shape=self._width, depth=min(words, self._depth - start), init=[]
            )
            reader, writer = memory.read_port(domain="comb"), memory.write_port()
            m.d.comb += [
                reader.addr.eq(self.address[:inner]),
                writer.addr.eq(self.write.address[:inner]),
                writer.data.eq(self.write.data),
                writer.en.eq(self.write.enable & (self.write.address[inner:] == bank)),
            ]
            outputs.append(reader.data)
        if len(outputs) == 1:
            m.d.comb += self.data.eq(outputs[0])
            return m
        m.submodules.select = select = Select(self._width, len(outputs))
        m.d.comb += [
            select.inputs.eq(Cat(outputs)),
            select.code.eq(self.address[inner:]),
            select.enable.eq(1),
            self.data.eq(select.output),
        ]
        return m


_ZERO, _ONE = Const(0, 1), Const(1, 1)


def _wide(
    bits: int, address: Value, write: Any, low: int, width: int, enable: Value, data: Value
) -> dict[str, Any]:
    """Ports and parameters of 512 words of 36 bits: one port writes, the other reads."""
    ports: dict[str, Any] = {"p_DATA_WIDTH_W": bits, "p_DATA_WIDTH_R": bits}
    ports |= {"p_REGMODE": "OUTREG", "p_GSR": "AUTO"}
    ports |= {f"p_CSDECODE_{port}": "0b000" for port in "WR"}
    ports |= {"i_CLKW": ClockSignal(), "i_CLKR": ClockSignal(), "i_RST": _ZERO}
    ports |= {"i_CEW": enable, "i_CER": _ONE, "i_OCER": _ONE}
    ports |= {f"i_CS{port}{i}": _ZERO for port in "WR" for i in range(3)}
    ports |= {f"i_BE{i}": _ONE for i in range(4)}
    ports |= {f"i_DI{i}": write.data[low + i] if i < width else _ZERO for i in range(36)}
    ports |= {f"o_DO{i}": data[i] for i in range(36)}
    ports |= {f"i_ADW{i}": _bit(write.address, i) for i in range(9)}
    return ports | {f"i_ADR{i}": _bit(address, i - 5) for i in range(14)}


def _narrow(
    bits: int, address: Value, write: Any, low: int, width: int, enable: Value, data: Value
) -> dict[str, Any]:
    """Ports and parameters of words of 18 or 9 bits: port A writes, port B reads."""
    first = {18: 4, 9: 3}[bits]
    ports: dict[str, Any] = {"p_GSR": "AUTO", "p_RESETMODE": "SYNC"}
    for port, bus in (("A", write.address), ("B", address)):
        reads = port == "B"
        ports |= {
            f"p_DATA_WIDTH_{port}": bits,
            f"p_REGMODE_{port}": "OUTREG" if reads else "NOREG",
            f"p_WRITEMODE_{port}": "NORMAL",
            f"p_CSDECODE_{port}": "0b000",
            f"i_CLK{port}": ClockSignal(),
            f"i_CE{port}": _ONE,
            f"i_OCE{port}": _ONE,
            f"i_RST{port}": _ZERO,
            f"i_WE{port}": _ZERO if reads else enable,
        }
        ports |= {f"i_CS{port}{i}": _ZERO for i in range(3)}
        ports |= {f"i_AD{port}{i}": _bit(bus, i - first) for i in range(14)}
        if bits == 18:  # the low address bits of a wide port enable its bytes
            ports |= {f"i_AD{port}{i}": _ONE for i in range(2)}
        ports |= {
            f"i_DI{port}{i}": write.data[low + i] if i < width and not reads else _ZERO
            for i in range(18)
        }
    return ports | {f"o_DOB{i}": data[i] for i in range(bits)}


def _bit(bus: Value, index: int) -> Value:
    return bus[index] if 0 <= index < len(bus) else _ZERO


def _contents(words: Sequence[int], bits: int) -> dict[str, Const]:
    """The parameters that hold `words` of `bits`: sixteen rows of 18 bits each, 20 bits apart."""
    if not any(words):
        return {}
    packed = sum(word << bits * i for i, word in enumerate(words))
    rows = [packed >> _ROW_BITS * i & (1 << _ROW_BITS) - 1 for i in range(_ROWS)]
    return {
        f"p_INITVAL_{i:02X}": Const(sum(row << 20 * k for k, row in enumerate(chunk)), 320)
        for i in range(_ROWS // 16)
        for chunk in [rows[16 * i : 16 * i + 16]]
    }
