"""Packer: words of digit planes from the sums of windows, or outputs as they are; with addresses.

A round brings the sums of a step, F a clock. Each plane has a shift register, filled from the top;
plane p is p clocks late, so that words are complete one after the other, and go while the next
round comes. They wait in a queue, in which there is room for all words of the rounds that are under
way: lanes and fire units cannot wait.

    sums -> bits by plane -> plane 0 -----> word -+
                         `-> plane 1, late -> word +-> queue -> o
                         `-> ...                   |
                             drained V or sum -----+

Words of several tiles stay in a memory between them (with ``partial == 0`` there is none). A plane
begins a round with the word there instead of its own, already shifted on.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from spikewright.hw.cells.arithmetic import ChooseAdd, Count, Select
from spikewright.hw.cells.memory import BlockMemory, DistributedMemory
from spikewright.hw.cores.lanes import delayed
from spikewright.hw.cores.streams import MARK, Layouts, record_layout
from spikewright.machine.blocks import WORD, Machine
from spikewright.machine.configuration import LayerRecord, Send, ShareRecord

__all__ = ["Addresses", "Drain", "Packer", "Planes"]


def choose(
    m: Module, words: Sequence[Value], code: Value, name: str, enable: Value | None = None
) -> Value:
    """One of some words, or 0: four by each selector, of which all but one give 0."""
    if len(words) == 1 and enable is None:
        return words[0]
    on: Value = Const(1, 1) if enable is None else enable
    chosen: Value = Const(0, len(words[0]))
    for number, start in enumerate(range(0, len(words), 4)):
        own = words[start : start + 4]
        this = on & (code[2:] == number) if len(words) > 4 else on
        if len(own) == 1:
            chosen |= own[0] & this.replicate(len(own[0]))
            continue
        m.submodules[f"{name}_{start}"] = select = Select(len(own[0]), len(own))
        m.d.comb += [
            select.inputs.eq(Cat(*own)),
            select.code.eq(code[:2]),
            select.enable.eq(this),
        ]
        chosen |= select.output
    return chosen


class Addresses(wiring.Component):
    """The addresses of a share's words, in their order.

    Latency: an address is there in the clock after `step`; after a `stop` it takes one more clock,
    in which `ready` is low. So it is after `start`.

    Members
    -------
    start
        The words of a new share begin at its `out`.
    step
        A word leaves. `stop`: the item's last; the next is `out_word` behind the item's first, or,
        where `group`, `out_group` behind the group's first.
    """

    def __init__(self, machine: Machine) -> None:
        super().__init__(
            {
                "layer": In(record_layout(LayerRecord, machine)),
                "share": In(record_layout(ShareRecord, machine)),
                "start": In(1),
                "step": In(1),
                "stop": In(1),
                "group": In(1),
                "address": Out(machine.router.address_bits),
                "ready": Out(1, init=1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        width = len(self.address)
        # Both count from the share's first address.
        base, first = (Signal(width, name=n, reset_less=True) for n in ("base", "group_base"))
        m.submodules.count = count = Count(width)
        m.submodules.jump = jump = ChooseAdd(width)
        last = self.step & self.stop
        m.d.comb += [
            count.load.eq(~self.ready),
            count.first.eq(base),
            count.value.eq(self.share.out),
            count.count.eq(self.address),
            jump.choose.eq(self.group),
            jump.first.eq(first),
            jump.second.eq(base),
            jump.value.eq(Mux(self.group, self.layer.out_group, self.layer.out_word)),
        ]
        m.d.sync += self.ready.eq(~(self.start | last))
        with m.If(self.step | ~self.ready):
            m.d.sync += self.address.eq(count.total)
        with m.If(last):
            m.d.sync += base.eq(jump.total)
        with m.If(last & self.group):
            m.d.sync += first.eq(jump.total)
        with m.If(self.start):
            m.d.sync += [base.eq(0), first.eq(0)]
        return m


class Planes(wiring.Component):
    """The words of digit planes.

    Latency: ``machine.packer.latency - 1`` clocks from the last slot of a round to the word of its
    heaviest plane; the others follow, one a clock. Throughput: a slot and a word a clock.

    Members
    -------
    layer, stage, sums
        As the packer has them.
    word, push
        A complete word, or 0, which is sent where `push`.
    last, mark
        Of the round whose words come: its step is the last, and its item's mark.
    """

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._fires, self._bits = machine.fire.count, machine.pool.bits
        self._partial = machine.packer.partial
        self._late = machine.packer.reads
        super().__init__(
            {
                "layer": In(record_layout(LayerRecord, machine)),
                "stage": In(Layouts(machine).stage),
                "sums": In(data.ArrayLayout(unsigned(self._bits), self._fires)),
                "word": Out(WORD),
                "push": Out(1),
                "last": Out(1),
                "mark": Out(MARK),
            }
        )

    def elaborate(self, platform):
        m = Module()
        shift, first, final = self._slot(m)
        values = self._values(m)
        fresh, load = (Signal(name=n) for n in ("fresh", "load"))
        shifts, begins, loads = (
            delayed(m, value, self._late + self._bits - 1, name)[self._late :]
            for value, name in ((shift, "shift"), (fresh, "fresh"), (load, "load"))
        )
        kept = Signal(WORD)
        words = []
        for plane in range(self._bits):
            new = delayed(m, values[plane], self._late + plane, f"values_{plane}")[-1]
            word = Signal(WORD, name=f"word_{plane}", reset_less=True)
            rest = word[self._fires :]
            if self._partial:
                rest = Mux(loads[plane], kept[self._fires :], rest)
            with m.If(shifts[plane]):
                m.d.sync += word.eq(Cat(rest, new))
            with m.If(begins[plane]):
                m.d.sync += word[: len(rest)].eq(0)
            words.append(word)
        final = Cat(final, late := Signal(self._late))  # with reset: it makes words
        m.d.sync += late.eq(final)
        going, plane = self._emission(m, final[-1])
        m.d.comb += [
            self.word.eq(choose(m, words, plane, "plane", going)),
            self.push.eq(going & (self.mark.fills if self._partial else 1)),
        ]
        if not self._partial:
            m.d.comb += fresh.eq(first)
            return m
        # Words begin as 0; that of a layer of one step waits where it is, others in the memory.
        zero, several = (Signal(name=n, reset_less=True) for n in ("zero", "several"))
        m.d.sync += [zero.eq(self.stage.mark.begins), several.eq(self.layer.steps.any())]
        m.d.comb += [fresh.eq(first & zero), load.eq(first & ~zero & several)]
        self._keep(m, first, kept, going)
        return m

    def _slot(self, m: Module) -> list[Value]:
        """Whether a slot is shifted in, one clock late; whether it is a round's first, or last."""
        stage, taken = self.stage, Signal()
        between = Signal(init=1)
        m.d.comb += taken.eq(
            stage.valid & stage.closes & stage.mark.last & (self.layer.send == Send.PLANES)
        )
        with m.If(taken):
            m.d.sync += between.eq(stage.final)
        made: list[Value] = [Signal(name=n) for n in ("slot_shift", "slot_first", "slot_final")]
        m.d.sync += Cat(made).eq(Cat(taken, taken & between, taken & stage.final))
        return made

    def _values(self, m: Module) -> list[Value]:
        """The slot's bits by plane, the heaviest first, one clock late."""
        values = []
        for plane in range(self._bits):
            value = Signal(self._fires, name=f"values_{plane}", reset_less=True)
            values.append(value)
            for unit in range(self._fires):
                # Bit `layer.planes - plane`; of a plane beyond the lightest, any.
                places = 1 << (self._bits - plane - 1).bit_length()
                bits: list[Value] = [Const(0, 1)] * min(places, self._bits)
                for planes in range(plane, self._bits):
                    bits[planes % places] = self.sums[unit][planes - plane]
                name = f"bit_{plane}_{unit}"
                m.d.sync += value[unit].eq(choose(m, bits, self.layer.planes, name))
        return values

    def _emission(self, m: Module, final: Value) -> tuple[Value, Value]:
        """Whether a word is complete, and of which plane."""
        going, ends = Signal(), Signal()
        plane = Signal(range(self._bits), reset_less=True)
        m.d.comb += ends.eq(plane == self.layer.planes)
        m.d.sync += plane.eq(plane + 1)
        with m.If(ends):
            m.d.sync += going.eq(0)
        with m.If(final):
            m.d.sync += [going.eq(1), plane.eq(0)]
        # The round's last slot is here when its bits are shifted in; it stays till the next one's.
        mark, last = (
            delayed(m, value, 1 + self._late, name)[-1]
            for value, name in ((self.stage.mark.as_value(), "mark"), (self.stage.last, "last"))
        )
        held, held_last = Signal(MARK, reset_less=True), Signal(reset_less=True)
        with m.If(final):
            m.d.sync += [held.eq(mark), held_last.eq(last)]
        m.d.comb += [self.mark.eq(held), self.last.eq(going & held_last & ends)]
        return going, plane

    def _keep(self, m: Module, first: Value, kept: Value, going: Value) -> None:
        """The memory of unfinished words: a round's are read as it begins, kept as it ends."""
        depth = max(2, self._partial)
        read, write = (Signal(range(depth), name=f"row_{n}") for n in ("read", "write"))
        # Reading goes on for as many clocks as there are planes.
        rest, more, final = Signal(4), Signal(), Signal(reset_less=True)
        last = delayed(m, self.stage.last, 1, "step")[-1]
        with m.If(first):
            m.d.sync += [rest.eq(self.layer.planes), final.eq(last)]
            m.d.sync += more.eq(self.layer.planes.any())
        with m.Elif(more):
            m.d.sync += [rest.eq(rest - 1), more.eq(rest != 1)]
        with m.If(first | more):
            m.d.sync += read.eq(read + 1)
            with m.If(Mux(first, last & ~self.layer.planes.any(), final & (rest == 1))):
                m.d.sync += read.eq(0)
        with m.If(going):
            m.d.sync += write.eq(write + 1)
            with m.If(self.last):
                m.d.sync += write.eq(0)
        blocks = self._late > 1
        m.submodules.memory = memory = (BlockMemory if blocks else DistributedMemory)(WORD, depth)
        m.d.comb += [
            memory.address.eq(read),
            kept.eq(memory.data if blocks else delayed(m, memory.data, 1, "kept")[-1]),
            memory.write.enable.eq(going & ~self.mark.fills),
            memory.write.address.eq(write),
            memory.write.data.eq(self.word),
        ]


class Drain(wiring.Component):
    """Reads the outputs of an item, lane after lane: V, or the sums of counts.

    Latency: ``1 + machine.pool.peek`` clocks from `peek` to `value`. Throughput: a lane a clock,
    while there is `space`.

    Members
    -------
    layer
        The layer's record.
    go
        An item is complete: all its slots are read.
    space
        Another word can be queued.
    peek, peek_slot, peeked_v, peeked_sum
        As the packer has them.
    taken
        A lane is read: there will be a word of it.
    ends
        It is the item's last.
    value, push, stop
        A value, or 0 without `push`; `stop`: the item's last.
    """

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        fires, bits = machine.fire, machine.pool.bits
        super().__init__(
            {
                "layer": In(record_layout(LayerRecord, machine)),
                "go": In(1),
                "space": In(1),
                "peek": Out(1),
                "peek_slot": Out(machine.widths["slot"]),
                "peeked_v": In(data.ArrayLayout(signed(fires.membrane_bits), fires.count)),
                "peeked_sum": In(data.ArrayLayout(unsigned(bits), fires.count)),
                "taken": Out(1),
                "ends": Out(1),
                "value": Out(signed(WORD)),
                "push": Out(1),
                "stop": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        count, late = self._machine.fire.count, self._machine.pool.peek
        unit, row = Signal(range(count), reset_less=True), Signal()
        m.d.comb += [
            self.taken.eq(self.peek & self.space),
            row.eq(unit == count - 1),
            self.ends.eq(self.taken & row & (self.peek_slot == self.layer.slots)),
        ]
        with m.If(self.taken):
            m.d.sync += unit.eq(Mux(row, 0, unit + 1))
            with m.If(row):
                m.d.sync += self.peek_slot.eq(self.peek_slot + 1)
        with m.If(self.ends):
            m.d.sync += self.peek.eq(0)
        with m.If(self.go):
            m.d.sync += [self.peek.eq(1), self.peek_slot.eq(0), unit.eq(0)]
        lanes = delayed(m, unit, late, "unit")[-1]
        counts = self.layer.send == Send.COUNTS
        total = self._chosen(m, self.peeked_sum, lanes, counts, "sum")
        potential = self._chosen(m, self.peeked_v, unit, ~counts, "v")
        potential = delayed(m, potential, late, "v")[-1]
        ends = delayed(m, self.ends, 1 + late, "ends")
        taken = Cat(self.taken, pushes := Signal(1 + late))  # with reset: they make words
        m.d.sync += pushes.eq(taken)
        value = Signal(signed(self._machine.fire.membrane_bits), reset_less=True)
        m.d.sync += value.eq(potential | total)
        with m.If(~taken[-2]):
            m.d.sync += value.eq(0)
        m.d.comb += [self.value.eq(value), self.push.eq(taken[-1]), self.stop.eq(ends[-1])]
        return m

    def _chosen(self, m: Module, values: Any, unit: Value, enable: Value, name: str) -> Value:
        """What belongs to a fire unit, or 0."""
        words = values.as_value()
        m.submodules[name] = select = Select(
            len(words) // self._machine.fire.count, self._machine.fire.count
        )
        m.d.comb += [select.inputs.eq(words), select.code.eq(unit), select.enable.eq(enable)]
        return select.output


class Packer(wiring.Component):
    """Words for the router.

    Latency: ``machine.packer.latency`` clocks from a round's last slot to the word of its heaviest
    plane, if none is queued; the others follow, one a clock. The first lane of a drain comes ``3 +
    machine.pool.peek`` clocks after that slot, the others follow likewise. Throughput: a word a
    clock, less one clock an item.

    Rounds are at least ``layer.planes + 1`` clocks apart, and at least five. They are promised only
    where there is `room`, which is low in the clock after a promise. All words that are promised or
    queued fit the queue of ``machine.packer.queue`` words, so that so many of them can be under
    way.

    Members
    -------
    layer, share, start
        The records of the layer, and when it begins.
    stage, sums
        Slots with the sums of all fire units.
    promise, room
        A round is on the way; whether another may come.
    peek, peek_slot, peeked_v, peeked_sum
        Outputs are read slot by slot: V in the same clock, sums ``machine.pool.peek`` clocks later.
        The slot is the entry in the pool as well.
    o
        Router words.
    done
        All words of the share have left; low from `start` on. High before the first.
    """

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        layouts, fires = Layouts(machine), machine.fire
        sums = data.ArrayLayout(unsigned(machine.pool.bits), fires.count)
        self._router = layouts.router
        super().__init__(
            {
                "layer": In(record_layout(LayerRecord, machine)),
                "share": In(record_layout(ShareRecord, machine)),
                "start": In(1),
                "stage": In(layouts.stage),
                "sums": In(sums),
                "promise": In(layouts.promise),
                "room": Out(1, init=1),
                "peek": Out(1),
                "peek_slot": Out(machine.widths["slot"]),
                "peeked_v": In(data.ArrayLayout(signed(fires.membrane_bits), fires.count)),
                "peeked_sum": In(sums),
                "o": Out(stream.Signature(layouts.router)),
                "done": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.planes = planes = Planes(self._machine)
        m.submodules.drain = drain = Drain(self._machine)
        stage, outputs = self.stage, Signal()
        m.d.comb += [
            outputs.eq(self.layer.send != Send.PLANES),
            planes.layer.eq(self.layer),
            planes.stage.eq(stage),
            planes.sums.eq(self.sums),
            drain.layer.eq(self.layer),
            drain.go.eq(stage.valid & stage.final & stage.last & outputs),
            drain.peeked_v.eq(self.peeked_v),
            drain.peeked_sum.eq(self.peeked_sum),
            self.peek.eq(drain.peek),
            self.peek_slot.eq(drain.peek_slot),
        ]
        mark = Signal(data.StructLayout({"group": 1, "end": 1}), reset_less=True)
        with m.If(drain.go):
            m.d.sync += [mark.group.eq(stage.mark.group), mark.end.eq(stage.mark.end)]
        flags = Cat(
            planes.last | drain.stop,
            Mux(outputs, mark.group, planes.mark.group),
            Mux(outputs, mark.end, planes.mark.end),
        )
        word = planes.word | drain.value.as_unsigned()
        left = self._queue(m, planes.push | drain.push, word, flags)
        self._credit(m, drain, outputs, left)
        return m

    def _queue(self, m: Module, push: Value, word: Value, flags: Value) -> Value:
        """The queue of words, their addresses and the share's end; whether a word leaves."""
        depth = self._machine.packer.queue
        m.submodules.queue = queue = Memory(shape=WORD + len(flags), depth=depth, init=[])
        m.submodules.addresses = addresses = Addresses(self._machine)
        reader, writer = queue.read_port(domain="comb"), queue.write_port()
        # One bit more than addresses have tells a full queue from an empty one.
        put, take = (Signal(range(2 * depth), name=n) for n in ("put", "take"))
        left = Signal()
        stop, group, end = (reader.data[WORD + place] for place in range(3))
        m.d.comb += [
            writer.en.eq(push),
            writer.addr.eq(put),
            writer.data.eq(Cat(word, flags)),
            reader.addr.eq(take),
            self.o.valid.eq((put != take) & addresses.ready),
            self.o.payload.data.eq(reader.data[:WORD]),
            self.o.payload.address.eq(addresses.address),
            self.o.payload.kind.eq(Mux(self.layer.send == Send.PLANES, 0, 2)),
            left.eq(self.o.valid & self.o.ready),
            addresses.layer.eq(self.layer),
            addresses.share.eq(self.share),
            addresses.start.eq(self.start),
            addresses.step.eq(left),
            addresses.stop.eq(stop),
            addresses.group.eq(group),
        ]
        m.d.sync += [put.eq(put + push), take.eq(take + left)]
        idle = Signal(init=1)
        with m.If(self.start):
            m.d.sync += idle.eq(self.share.groups == 0)
        with m.Elif(left & stop & end):
            m.d.sync += idle.eq(1)
        m.d.comb += self.done.eq(idle & ~self.start)
        return left

    def _credit(self, m: Module, drain: Drain, outputs: Value, left: Value) -> None:
        """Room for the words of another round, besides all that are promised or queued."""
        depth, promise = self._machine.packer.queue, self.promise
        # Places that the words of another round would leave: below 0 there is no room for it.
        spare = Signal(signed(depth.bit_length() + 1), init=depth - 1)
        begun, draining, sends = Signal(), Signal(), Signal()  # `sends` is late, before the next
        m.d.sync += sends.eq(promise.valid & promise.mark.last & promise.mark.fills & ~outputs)
        # Less a round's words, which are one more than `planes` says: plus the complement.
        words = (sends | drain.taken | begun).replicate(len(spare)) & ~Cat(
            self.layer.planes, Const(0, len(spare) - len(self.layer.planes))
        )
        m.d.sync += spare.eq((Cat(1, spare) + Cat(left, words))[1:])
        with m.If(drain.ends):
            m.d.sync += draining.eq(0)
        with m.If(promise.valid & promise.last & outputs):
            m.d.sync += draining.eq(1)
        with m.If(self.start):
            m.d.sync += spare.eq(depth)
        m.d.comb += drain.space.eq(~spare[-1])
        m.d.sync += [
            begun.eq(self.start),
            self.room.eq(~(spare[-1] | draining | promise.valid | self.start | begun)),
        ]
