"""Pool: sums of what the members of a window send, behind all fire units of a core together.

The members of a window come one after the other, with other slots between them, and its parts in
different items, so that sums wait in a memory of one word for all fire units. A sum begins anew
with the first member (`opens`): nothing has to be cleared.

             +--------------------------- write <-----------------+
             v                                                    |
    stage -> memory -> register (or that of the block RAM) -> opens ? n : sum + n -> sums
"""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from spikewright.hw.cells.memory import BlockMemory, DistributedMemory
from spikewright.hw.cores.lanes import delayed
from spikewright.hw.cores.streams import Layouts, record_layout
from spikewright.machine.blocks import Machine, address_bits
from spikewright.machine.configuration import LayerRecord

__all__ = ["Pool"]


class Pool(wiring.Component):
    """The sums of all fire units.

    Latency: ``machine.pool.latency`` clocks from `stage` to `o_stage` and `sums`. Throughput: a
    slot a clock; an entry comes again after that latency at the earliest. Sums wrap.

    Members
    -------
    layer
        The layer's record; so far all that a pool needs of it comes with the slots.
    stage, n
        A slot and what each fire unit sends for it.
    o_stage, sums
        The same slot, with the sums of its entry.
    peek, peek_entry, peeked
        The sums of an entry, ``machine.pool.peek`` clocks later (0: in the same clock). No slot may
        come with a `peek`, nor in the `latency` clocks before.
    """

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        pool, fires = machine.pool, machine.fire
        self._stage = Layouts(machine).stage
        self._sums = data.ArrayLayout(unsigned(pool.bits), fires.count)
        super().__init__(
            {
                "layer": In(record_layout(LayerRecord, machine)),
                "stage": In(self._stage),
                "n": In(data.ArrayLayout(unsigned(fires.digits), fires.count)),
                "o_stage": Out(self._stage),
                "sums": Out(self._sums),
                "peek": In(1),
                "peek_entry": In(address_bits(pool.depth)),
                "peeked": Out(self._sums),
            }
        )

    def elaborate(self, platform):
        m = Module()
        pool = self._machine.pool
        reads = pool.latency - 1
        n = delayed(m, self.n.as_value(), reads, "n")[-1]
        stages = [self.stage]
        for number in range(pool.latency):
            stage = Signal(self._stage, name=f"stage_{number + 1}")
            m.d.sync += stage.eq(stages[-1])
            stages.append(stage)
        last = stages[reads]
        made = Signal(self._sums)
        address = Mux(self.peek, self.peek_entry, self.stage.entry)
        make = self._blocks if pool.blocks else self._distributed
        kept = make(m, address, last.valid, last.entry, made.as_value())
        digits = self._machine.fire.digits
        for unit in range(self._machine.fire.count):
            before = kept.word_select(unit, pool.bits) & (~last.opens).replicate(pool.bits)
            m.d.comb += made[unit].eq(before + n.word_select(unit, digits))
        m.d.sync += self.sums.eq(made)
        m.d.comb += self.o_stage.eq(stages[-1])
        return m

    def _distributed(self, m: Module, address, enable, entry, made):
        """What the memory held at `address` one clock ago."""
        m.submodules.memory = memory = DistributedMemory(len(made), self._machine.pool.depth)
        kept = Signal(len(made), reset_less=True)
        m.d.comb += [
            memory.address.eq(address),
            self.peeked.eq(memory.data),
            memory.write.enable.eq(enable),
            memory.write.address.eq(entry),
            memory.write.data.eq(made),
        ]
        m.d.sync += kept.eq(memory.data)
        return kept

    def _blocks(self, m: Module, address, enable, entry, made):
        """What the memory held at `address` two clocks ago."""
        depth = self._machine.pool.depth
        m.submodules.memory = memory = BlockMemory(len(made), depth)
        m.d.comb += [
            memory.address.eq(address),
            self.peeked.eq(memory.data),
            memory.write.enable.eq(enable),
            memory.write.address.eq(entry),
            memory.write.data.eq(made),
        ]
        return memory.data
