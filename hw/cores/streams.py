"""What passes between the blocks of a core: one layout each, from the machine's widths.

Items --item--> Walker --walked--> Gather --entry--> Picker --event--> Lanes --sums--> Fire
Picker --mark--> Rounds --stage--> Fire --stage, n--> Pool --stage, sum--> Packer --router-->
"""

from __future__ import annotations

from amaranth.lib import data

from spikewright.hw.cores.lanes import event_layout
from spikewright.machine.blocks import WORD, Machine, address_bits
from spikewright.machine.configuration import RouterWord
from spikewright.machine.fields import Record

__all__ = [
    "MARK",
    "Layouts",
    "record_layout",
]

MARK = data.StructLayout(dict.fromkeys(("first", "last", "begins", "fills", "group", "end"), 1))
"""Where an item stands.

- `first`, `last`: the first or last part of its windows
- `begins`, `fills`: its tile is the first or last of a word
- `group`: the last item of its channel group
- `end`: the last item of the core's share
"""


def record_layout(record: type[Record], machine: Machine) -> data.StructLayout:
    """The hardware's layout of a record of :mod:`spikewright.machine.configuration`."""
    fields = record.layout(machine.widths).items()
    if any(signed for _, (_, signed) in fields):
        raise NotImplementedError(f"{record.title} has a signed field")
    return data.StructLayout({name: bits for name, (bits, _) in fields})


class Layouts:
    """The layouts of one machine.

    Members
    -------
    field
        Where an item's field lies in one source: `spike` and `weight` are the address and the
        weight row of its first word (without time step and plane), `rows` and `words` how many
        rows it has and words a row has, less 1; `low` and `high` as in an axis entry.
    item
        `fields` of all sources and the `mark`.
    walked
        A word of the field, as its address goes to the spike memory. `row` is the weight row of
        its bit 0. Where `cut_low`, its bits below `low` are dropped; where `cut_high`, those above
        `high`. `doubles` and `negative` are its pass's. `opens`: the first word of a pass;
        `begins`: the first of a time step, `ends`: the last.
    entry
        A word with events, or that ends a step. `doubles`: how often the accumulators are doubled
        before its first event, or before the hand-over if it has none. `fresh`: no event came
        before it in this step.
    stage
        A slot of a round, as it goes through the fire units, the same in all of them. `valid`;
        `slot`: of V and the held current; `first`, `last`: time step; `driven`: the bias is added;
        `walked`: the current comes from the lanes, else it is the held one where `held`, else 0.
        `parameter`: row of the parameters. `opens`: the first member of a window, whose sum begins
        anew; `closes`: the last, whose sum is whole; `entry`: place of the sum. `final`: the last
        slot of the round. `mark`: the item's.
    promise
        A round was accepted, and will come as stages: `last` and `mark` are theirs.
    router
        :class:`~spikewright.machine.configuration.RouterWord`.
    """

    def __init__(self, machine: Machine) -> None:
        widths = machine.widths
        spike, weight, plane, bit = (widths[n] for n in ("spike", "weight", "plane", "bit"))
        self.event = event_layout(weight)
        self.field = data.StructLayout(
            {
                "spike": spike,
                "weight": weight,
                "rows": widths["taps"],
                "words": widths["taps"],
                "low": bit,
                "high": bit,
            }
        )
        self.item = data.StructLayout(
            {"fields": data.ArrayLayout(self.field, machine.walker.sources), "mark": MARK}
        )
        self.walked = data.StructLayout(
            {
                "row": weight,
                "low": bit,
                "high": bit,
                "cut_low": 1,
                "cut_high": 1,
                "doubles": plane,
                "negative": 1,
                "opens": 1,
                "begins": 1,
                "ends": 1,
                "mark": MARK,
            }
        )
        self.entry = data.StructLayout(
            {
                "word": WORD,
                "row": weight,
                "doubles": plane,
                "negative": 1,
                "fresh": 1,
                "ends": 1,
                "mark": MARK,
            }
        )
        flags = ("first", "last", "driven", "walked", "held", "opens", "closes", "final")
        self.stage = data.StructLayout(
            {
                "valid": 1,
                "slot": widths["slot"],
                **dict.fromkeys(flags, 1),
                "parameter": widths["parameter"],
                "entry": address_bits(machine.pool.depth),
                "mark": MARK,
            }
        )
        self.promise = data.StructLayout({"valid": 1, "last": 1, "mark": MARK})
        self.router = record_layout(RouterWord, machine)
