"""One core: its blocks, its memories and the records that they work by.

load --> Records, axis, weights, parameters
router --> Gather (spike memory) <-- Walker <-- Items
              |
           Picker --> Lanes --> Fire x F --> Pool --> Packer --> router
              |                  ^
              +----> Rounds -----+
"""

from __future__ import annotations

from amaranth.hdl import Cat, Module, ResetInserter, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from spikewright.hw.cells.memory import BlockMemory
from spikewright.hw.cores.gather import Gather
from spikewright.hw.cores.items import Items
from spikewright.hw.cores.lanes import Lanes
from spikewright.hw.cores.packer import Packer
from spikewright.hw.cores.picker import Picker
from spikewright.hw.cores.pool import Pool
from spikewright.hw.cores.rounds import Rounds
from spikewright.hw.cores.streams import Layouts
from spikewright.hw.cores.walker import Walker
from spikewright.hw.fabric.load import LoadNode, link_layout
from spikewright.hw.fabric.records import Records
from spikewright.hw.fabric.router import received_layout
from spikewright.hw.neuron.fire import Fire
from spikewright.machine.blocks import Machine
from spikewright.machine.configuration import AxisEntry

__all__ = ["Core", "core_signature", "trace_layout"]


def trace_layout(machine: Machine) -> data.StructLayout:
    """What the fire units of a core decide in a clock.

    `valid`, the `slot` of all of them, and of each unit the number `n` it sends and V after it.
    """
    fire = machine.fire
    return data.StructLayout(
        {
            "valid": 1,
            "slot": machine.widths["slot"],
            "n": data.ArrayLayout(fire.digits, fire.count),
            "v": data.ArrayLayout(signed(fire.membrane_bits), fire.count),
        }
    )


def core_signature(machine: Machine) -> wiring.Signature:
    """The members of :class:`Core`."""
    router = Layouts(machine).router
    return wiring.Signature(
        {
            "index": In(machine.widths["core"]),
            "abort": In(1),
            "load": In(link_layout(machine)),
            "load_next": Out(link_layout(machine)),
            "received": In(received_layout(router)),
            "o": Out(stream.Signature(router)),
            "done": Out(1),
            "trace": Out(trace_layout(machine)),
        }
    )


class Core(wiring.Component):
    """A core of a machine: gathers spike words, integrates, decides, sends spike words.

    Throughput: an event a clock in all lanes, or a word of the field a clock, or a slot of each
    fire unit a clock, whichever lasts longest.

    Members
    -------
    index
        Which core it is, a constant: all cores of a machine are one module.
    abort
        A pulse: the core is as after a reset, but for its memories, and what is on its way there.
    load, load_next
        The load chain.
    received
        What the router brings.
    o
        What this core sends.
    done
        All words of the layer have been given to `o`.
    trace
        See :func:`trace_layout`.
    """

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.layouts = Layouts(machine)
        super().__init__(core_signature(machine))

    def elaborate(self, platform):
        outer, m = Module(), Module()
        machine = self.machine
        outer.submodules.node = node = LoadNode(machine, self.index)
        outer.submodules.work = ResetInserter(self.abort)(m)
        outer.d.comb += [
            node.abort.eq(self.abort),
            node.i.eq(self.load),
            self.load_next.eq(node.o),
        ]
        m.submodules.records = records = Records(machine)
        m.d.comb += records.write.eq(node.records)
        gather = self._add_gathering(m, node, records)
        picker, rounds, lanes = self._add_integration(m, node, records, gather)
        self._add_decision(
            m, node, records, rounds, lanes, picker.LATENCY + lanes.latency - rounds.LATENCY
        )
        return outer

    def _add_gathering(self, m, node, records):
        """Items, walker and spike memory."""
        machine = self.machine
        m.submodules.axis = axis = BlockMemory(
            AxisEntry.size(machine.widths), machine.walker.axis_entries
        )
        m.submodules.items = items = Items(machine)
        m.submodules.walker = walker = Walker(machine)
        m.submodules.gather = gather = Gather(machine)
        connect(m, items.o, walker.items)
        m.d.comb += [
            axis.write.enable.eq(node.axis.enable),
            axis.write.address.eq(node.axis.address),
            axis.write.data.eq(node.axis.data),
            axis.address.eq(items.axis_address),
            items.axis.eq(axis.data),
            items.layer.eq(records.layer),
            items.share.eq(records.share),
            items.start.eq(records.start),
            items.bank.eq(records.bank),
            records.item_source_number.eq(items.source_number),
            items.source.eq(records.item_source),
            walker.layer.eq(records.layer),
            records.pass_number.eq(walker.pass_number),
            walker.digit.eq(records.digit),
            records.walk_source_number.eq(walker.source_number),
            walker.source.eq(records.walk_source),
            walker.room.eq(gather.room),
            gather.issued.eq(walker.issued),
            gather.address.eq(walker.address),
            gather.walked.eq(walker.walked),
            gather.valid.eq(walker.valid),
            gather.received.eq(self.received),
            gather.keep.eq(records.keep),
            gather.frame_keep.eq(records.frame_keep),
            gather.bank.eq(records.bank),
        ]
        return gather

    def _add_integration(self, m, node, records, gather):
        """Picker, rounds and lanes."""
        machine = self.machine
        m.submodules.picker = picker = Picker(machine)
        m.submodules.rounds = rounds = Rounds(machine)
        m.submodules.lanes = lanes = Lanes(machine.lanes, machine.fire.count)
        connect(m, gather.o, picker.i)
        connect(m, picker.round, rounds.i)
        m.d.comb += [
            lanes.event.eq(picker.event),
            lanes.write.enable.eq(node.weights.enable),
            lanes.write.row.eq(node.weights.row),
            lanes.write.data.eq(node.weights.data),
            rounds.layer.eq(records.layer),
            rounds.share.eq(records.share),
            rounds.start.eq(records.start),
        ]
        return picker, rounds, lanes

    def _add_decision(self, m, node, records, rounds, lanes, late):
        """Fire units, pool and packer; a stage meets what the lanes give `late` clocks later."""
        machine = self.machine
        fire = machine.fire
        stages = [rounds.stage]
        for clock in range(late):  # with reset: a stage that is valid would be packed
            stage = Signal(self.layouts.stage, name=f"stage_{clock + 1}")
            m.d.sync += stage.eq(stages[-1])
            stages.append(stage)
        early = stages[late - BlockMemory.LATENCY]
        taken = stages[late - lanes.taking]
        m.d.comb += [
            lanes.taken.valid.eq(taken.valid & taken.walked),
            lanes.taken.slot.eq(taken.slot),
        ]
        m.submodules.pool = pool = Pool(machine)
        m.submodules.packer = packer = Packer(machine)
        for unit in range(fire.count):
            m.submodules[f"parameters_{unit}"] = parameters = BlockMemory(
                fire.parameter_bits, 2 * fire.parameter_rows
            )
            m.submodules[f"fire_{unit}"] = firing = Fire(machine)
            m.d.comb += [
                parameters.write.enable.eq(node.parameters.enable[unit]),
                parameters.write.address.eq(node.parameters.address),
                parameters.write.data.eq(node.parameters.data),
                parameters.address.eq(Cat(early.first, early.parameter)),
                firing.layer.eq(records.layer),
                firing.stage.eq(stages[late]),
                firing.first.eq(lanes.first[unit]),
                firing.second.eq(lanes.second[unit]),
                firing.parameter.eq(parameters.data),
                firing.peek.eq(packer.peek),
                firing.peek_slot.eq(packer.peek_slot),
                packer.peeked_v[unit].eq(firing.peeked),
                pool.n[unit].eq(firing.n),
                self.trace.n[unit].eq(firing.n),
                self.trace.v[unit].eq(firing.v),
            ]
            if unit == 0:
                m.d.comb += [
                    pool.stage.eq(firing.o_stage),
                    self.trace.valid.eq(firing.o_stage.valid),
                    self.trace.slot.eq(firing.o_stage.slot),
                ]
        self._add_sending(m, records, rounds, pool, packer)

    def _add_sending(self, m, records, rounds, pool, packer):
        """From the window sums to the router."""
        connect(m, packer.o, flipped(self.o))
        m.d.comb += [
            packer.layer.eq(records.layer),
            packer.share.eq(records.share),
            packer.start.eq(records.start),
            packer.stage.eq(pool.o_stage),
            packer.promise.eq(rounds.promise),
            rounds.room.eq(packer.room),
            pool.peek.eq(packer.peek),
            pool.peek_entry.eq(packer.peek_slot),
            self.done.eq(packer.done),
        ]
        for unit in range(self.machine.fire.count):
            m.d.comb += [
                packer.sums[unit].eq(pool.sums[unit]),
                packer.peeked_sum[unit].eq(pool.peeked[unit]),
            ]
