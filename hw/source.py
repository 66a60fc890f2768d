"""Sources of events: a memory of spikes (or pixels), walked in order and turned into events."""

from __future__ import annotations

from collections.abc import Sequence

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out, connect

from spikewright.hardware import HardwareShape, Region, Register, bits_for, memory_id

from .event import SettingSignature, bind, event_layout
from .load import LoadSignature
from .memory import BankedMemory, make_memory
from .queue import Queue

__all__ = ["Emitter", "Source", "Walker", "record_layout"]


def record_layout(shape: HardwareShape, digits: int) -> data.StructLayout:
    """A memory word with at least one event in it, or the last word of a step."""
    return data.StructLayout(
        {
            "mask": digits,
            "negative": digits,
            "weight": shape.weight_address_bits,
            "word": shape.word_address_bits,
            "rows": shape.tap_bits,
            "cols": shape.tap_bits,
            "last": 1,
        }
    )


class Walker(wiring.Component):
    """Counts through steps, channel groups, rows and columns, and gives the addresses on the way.

    While `advance` is held it moves one word a clock; `valid` falls after the last word of the last
    step. The data address only ever increments, since spikes lie in the order of the walk.

    Members
    -------
    start : begins a walk as the registers say; ignored with SOURCE_GROUPS = 0
    address, axis_y, axis_x : where the word and the entries of its two axes lie
    channel : first channel of the word
    active : the registers describe a source that sends
    last : the last word of a step
    """

    def __init__(self, shape: HardwareShape, *, depth: int, channels: int, axis_words: int) -> None:
        self._lane_step = channels
        address, axis = bits_for(depth - 1), bits_for(axis_words - 1)
        super().__init__(
            {
                "setting": In(SettingSignature()),
                "start": In(1),
                "offset": In(address),
                "advance": In(1),
                "valid": Out(1),
                "address": Out(address),
                "axis_y": Out(axis),
                "axis_x": Out(axis),
                "active": Out(1),
                "channel": Out(shape.weight_address_bits),
                "last": Out(1),
            }
        )
        self._steps = bits_for(shape.steps)

    def elaborate(self, platform):
        m = Module()
        steps, groups = Signal(self._steps), Signal(self.channel.shape())
        height, width = Signal(self.axis_y.shape()), Signal(self.axis_y.shape())
        base, channel = Signal.like(self.address), Signal.like(self.channel)
        axis_y, axis_x = Signal.like(self.axis_y), Signal.like(self.axis_x)
        bind(
            m,
            self.setting,
            {
                Register.STEPS: steps,
                Register.SOURCE_GROUPS: groups,
                Register.SOURCE_CHANNEL: channel,
                Register.SOURCE_HEIGHT: height,
                Register.SOURCE_WIDTH: width,
                Register.SOURCE_BASE: base,
                Register.AXIS_Y: axis_y,
                Register.AXIS_X: axis_x,
            },
        )
        # What is left after the present one, and whether none is: the flags keep compares out of
        # the path from counters to addresses.
        t_left, g_left = Signal.like(steps), Signal.like(groups)
        y_left, x_left = Signal.like(height), Signal.like(width)
        x_end, y_end, g_end = x_left == 0, y_left == 0, g_left == 0
        m.d.comb += self.last.eq(self.valid & x_end & y_end & g_end)

        with m.If(self.valid & self.advance):
            m.d.sync += [
                self.address.eq(self.address + 1),
                self.axis_x.eq(self.axis_x + 1),
                x_left.eq(x_left - 1),
            ]
            with m.If(x_end):
                m.d.sync += [
                    self.axis_x.eq(axis_x),
                    x_left.eq(width - 1),
                    self.axis_y.eq(self.axis_y + 1),
                    y_left.eq(y_left - 1),
                ]
                with m.If(y_end):
                    m.d.sync += [
                        self.axis_y.eq(axis_y),
                        y_left.eq(height - 1),
                        self.channel.eq(self.channel + self._lane_step),
                        g_left.eq(g_left - 1),
                    ]
                    with m.If(g_end):
                        m.d.sync += [
                            self.channel.eq(channel),
                            g_left.eq(groups - 1),
                            t_left.eq(t_left - 1),
                            self.valid.eq(t_left != 0),
                        ]
        m.d.comb += self.active.eq(groups != 0)
        with m.If(self.start & self.active):
            m.d.sync += [
                self.valid.eq(1),
                self.address.eq(base + self.offset),
                self.axis_y.eq(axis_y),
                self.axis_x.eq(axis_x),
                self.channel.eq(channel),
                t_left.eq(steps - 1),
                g_left.eq(groups - 1),
                y_left.eq(height - 1),
                x_left.eq(width - 1),
            ]
        return m


class Emitter(wiring.Component):
    """Sends an event for each set bit of a record's mask, lowest first, then the token of the last.

    One event a clock as long as the sink is ready; two clocks from record to event.

    Members
    -------
    i : records
    o : events; the bit's index becomes the exponent (`exponents`) or is added to the weight address
    busy : something is still inside
    """

    def __init__(self, shape: HardwareShape, digits: int, *, exponents: bool) -> None:
        self._digits, self._exponents = digits, exponents
        super().__init__(
            {
                "i": In(stream.Signature(record_layout(shape, digits))),
                "o": Out(stream.Signature(event_layout(shape))),
                "busy": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        record, full = Signal(self.i.p.shape(), reset_less=True), Signal()
        lowest, event = record.mask & -record.mask, self.o.p
        index = Signal(range(max(2, self._digits)))
        for bit in range(self._digits):
            with m.If(lowest[bit]):
                m.d.comb += index.eq(bit)
        rest = Signal(self._digits)
        m.d.comb += rest.eq(record.mask & (record.mask - 1))
        some = record.mask.any()
        # Done with the record in this clock: its only bit goes out, or its token, or it was empty.
        final = Mux(record.last, ~some, ~rest.any())
        send = Signal()
        m.d.comb += [
            send.eq(full & (~self.o.valid | self.o.ready)),
            self.i.ready.eq(~full | (send & final)),
            self.busy.eq(full | self.o.valid),
        ]
        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        with m.If(send):
            m.d.sync += [
                self.o.valid.eq(1),
                event.weight.eq(record.weight + (0 if self._exponents else index)),
                event.word.eq(record.word),
                event.rows.eq(record.rows),
                event.cols.eq(record.cols),
                event.shift.eq(index if self._exponents else 0),
                event.negative.eq((record.negative & lowest).any()),
                event.token.eq(~some),
                record.mask.eq(rest),
            ]
            with m.If(final):
                m.d.sync += full.eq(0)
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += [record.eq(self.i.p), full.eq(1)]
        return m


class Source(wiring.Component):
    """Sends the events of a layer's source, step by step, each step ended by a token.

    ::

        walker -> memory, axis tables -> register -> add, filter -> queue -> emitter -> o
          ^                                                           |
          +----------------------- room in the queue -----------------+

    With `frame` the memory holds pixels (two banks) and every non-zero digit of a pixel's
    non-adjacent form is an event ``±2**n``; else it holds spikes, a bit a lane. It looks at one
    word a clock and sends up to one event a clock; words without events cost nothing behind the
    filter. A stalled sink holds everything, nothing is lost.

    Members
    -------
    write : fills the memory (frame: by the host, one bank above the other)
    bank : with `frame`, which bank the next walk reads
    active : takes part in the layer that the registers describe
    """

    DEPTH = 16

    def __init__(self, shape: HardwareShape, *, frame: bool, axis: Sequence[int] = ()) -> None:
        self._shape, self._frame, self._axis = shape, frame, axis
        self._width = shape.pixel_bits if frame else shape.lanes
        self._depth = 2 * shape.frame_words if frame else shape.spike_words
        write = wiring.Signature(
            {
                "enable": Out(1),
                "address": Out(bits_for(self._depth - 1)),
                "data": Out(self._width),
            }
        )
        super().__init__(
            {
                "setting": In(SettingSignature()),
                "load": In(LoadSignature(shape)),
                "write": In(write),
                "start": In(1),
                "bank": In(1),
                "o": Out(stream.Signature(event_layout(shape))),
                "active": Out(1),
                "busy": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        shape = self._shape
        digits = self._width + 1 if self._frame else self._width
        m.submodules.walker = walker = Walker(
            shape,
            depth=self._depth,
            channels=1 if self._frame else shape.lanes,
            axis_words=shape.axis_words,
        )
        m.submodules.queue = queue = Queue(record_layout(shape, digits), self.DEPTH)
        m.submodules.emitter = emitter = Emitter(shape, digits, exponents=self._frame)
        connect(m, queue.o, emitter.i)
        connect(m, emitter.o, wiring.flipped(self.o))
        m.submodules.memory = memory = BankedMemory(self._width, self._depth)
        entry = data.StructLayout(shape.axis_fields)
        m.d.comb += [
            walker.setting.valid.eq(self.setting.valid),
            walker.setting.register.eq(self.setting.register),
            walker.setting.value.eq(self.setting.value),
            walker.start.eq(self.start),
            self.active.eq(walker.active),
        ]
        if self._frame:
            m.d.comb += walker.offset.eq(Mux(self.bank, shape.frame_words, 0))

        # Reads: the queue must have room for everything that is on its way.
        read, arrived, added = Signal(), Signal(), Signal()
        m.d.comb += read.eq(walker.valid & (queue.level <= self.DEPTH - 4))
        m.d.comb += walker.advance.eq(read)
        m.d.comb += [memory.read.eq(read), memory.address.eq(walker.address)]
        connect(m, wiring.flipped(self.write), memory.write)
        entries = []
        for name, address in (("axis_y", walker.axis_y), ("axis_x", walker.axis_x)):
            table = make_memory(sum(shape.axis_fields.values()), shape.axis_words, self._axis)
            m.submodules[name] = table
            table_port, loader = table.read_port(), table.write_port()
            m.d.comb += [
                table_port.en.eq(read),
                table_port.addr.eq(address),
                loader.en.eq(self.load.valid & (self.load.memory == memory_id(Region.AXIS))),
                loader.addr.eq(self.load.address),
                loader.data.eq(self.load.data),
            ]
            entries.append(table_port.data)

        # A block RAM delivers late in its clock: register first, add afterwards.
        word = memory.data
        y, x = Signal(entry, reset_less=True), Signal(entry, reset_less=True)
        channels = [Signal(shape.weight_address_bits, name=f"channel_{i}") for i in range(2)]
        lasts = [Signal(name=f"last_{i}") for i in range(2)]
        valid = Signal()
        m.d.sync += [
            arrived.eq(read),
            channels[0].eq(walker.channel),
            lasts[0].eq(walker.last),
            valid.eq(arrived),
            channels[1].eq(channels[0]),
            lasts[1].eq(lasts[0]),
            y.eq(entries[0]),
            x.eq(entries[1]),
        ]
        mask, negative = self._digits(word)
        record = Signal(record_layout(shape, digits), reset_less=True)
        hit = Signal()
        m.d.comb += hit.eq(y.count.any() & x.count.any())
        m.d.sync += [
            added.eq(valid & (lasts[1] | (hit & word.any()))),
            record.mask.eq(Mux(hit, mask, 0)),
            record.negative.eq(negative),
            record.weight.eq(y.weight + x.weight + channels[1]),
            record.word.eq(y.word + x.word),
            record.rows.eq(y.count),
            record.cols.eq(x.count),
            record.last.eq(lasts[1]),
        ]
        m.d.comb += [
            queue.i.p.eq(record),
            queue.i.valid.eq(added),
            self.busy.eq(walker.valid | arrived | valid | added | queue.level.any() | emitter.busy),
        ]
        return m

    def _digits(self, word):
        """The word's events and which of them are negative.

        A pixel p has the non-adjacent form whose digit i is bit i+1 of 3p less bit i+1 of p.
        """
        if not self._frame:
            return word, 0
        triple = (Cat(0, word) + word)[: self._width + 2]
        wide = Cat(word, 0, 0)
        positive, negative = (triple & ~wide)[1:], (wide & ~triple)[1:]
        return positive | negative, negative
