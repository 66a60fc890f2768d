"""Block memories as every part of the accelerator uses them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from amaranth.hdl import Array, Module, ShapeLike, Signal
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from spikewright.machine.hardware import bits_for

__all__ = ["BankedMemory", "make_memory"]


def make_memory(shape: ShapeLike, depth: int, init: Iterable[Any] = ()) -> Memory:
    """A synchronous memory of `depth` rows of `shape`, with no logic against collisions.

    Reading a row in the clock in which it is written gives an undefined value: the user must not
    use it. (The attribute saves Yosys from building a bypass around every block RAM.) Rows beyond
    `init` are zero. Ports are requested from the result as from any
    :class:`~amaranth.lib.memory.Memory`; a depth of 1 becomes 2, because a memory without address
    bits does not map to a block RAM.
    """
    if depth < 1:
        raise ValueError(f"a memory needs at least one row, not {depth!r}")
    rows = list(init)
    if len(rows) > depth:
        raise ValueError(f"{len(rows)} initial rows do not fit a memory of {depth}")
    attributes: dict[str, Any] = {"no_rw_check": 1}
    return Memory(shape=shape, depth=max(2, depth), init=rows, attrs=attributes)


class BankedMemory(wiring.Component):
    """A deep memory in banks, with a register behind each: no block RAM is followed by logic.

    A memory deeper than a block RAM of its width is several of them and a multiplexer, which would
    stand in the clock in which the slow RAM delivers. Reads: one a clock, `data` two clocks after
    `address`. Writes: one a clock, done a clock later than `enable`, behind a register too. A row
    read while it is written is undefined, as with :func:`make_memory`.

    Members
    -------
    read, address, data : `data` holds after the last `read`
    write : `enable`, `address`, `data`
    """

    BANK = 1024

    def __init__(self, width: int, depth: int, init: Sequence[int] = ()) -> None:
        self._width, self._depth, self._init = width, depth, init
        bits = bits_for(depth - 1)
        write = wiring.Signature({"enable": Out(1), "address": Out(bits), "data": Out(width)})
        super().__init__(
            {"read": In(1), "address": In(bits), "data": Out(width), "write": In(write)}
        )

    def elaborate(self, platform):
        m = Module()
        inner = bits_for(self.BANK - 1)
        outputs = []
        chosen = [
            Signal(max(1, len(self.address) - inner), name=f"bank_{k}", reset_less=True)
            for k in range(2)
        ]
        arrived = Signal()
        row = Signal.like(self.write.address, reset_less=True)
        value = Signal(self._width, reset_less=True)
        m.d.sync += [
            arrived.eq(self.read),
            row.eq(self.write.address),
            value.eq(self.write.data),
        ]
        for bank, start in enumerate(range(0, self._depth, self.BANK)):
            rows = min(self.BANK, self._depth - start)
            m.submodules[f"bank_{bank}"] = memory = make_memory(
                self._width, rows, self._init[start : start + rows]
            )
            reader, writer = memory.read_port(), memory.write_port()
            output = Signal(self._width, name=f"output_{bank}", reset_less=True)
            outputs.append(output)
            enable = Signal(name=f"enable_{bank}")
            m.d.sync += enable.eq(self.write.enable & (self.write.address[inner:] == bank))
            m.d.comb += [
                reader.en.eq(self.read),
                reader.addr.eq(self.address),
                writer.en.eq(enable),
                writer.addr.eq(row),
                writer.data.eq(value),
            ]
            with m.If(arrived):
                m.d.sync += output.eq(reader.data)
        with m.If(self.read):
            m.d.sync += chosen[0].eq(self.address[inner:])
        with m.If(arrived):
            m.d.sync += chosen[1].eq(chosen[0])
        m.d.comb += self.data.eq(Array(outputs)[chosen[1]])
        return m
