"""The datapath of a core: one membrane word of all lanes read, changed and written every clock."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

from amaranth.hdl import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from spikewright.hw.event import SettingSignature, bind
from spikewright.hw.fire import FireUnit, add_with_carry, digit_layout, mode_layout
from spikewright.hw.issue import CandidateSignature, Kind, Row, operation_layout
from spikewright.hw.load import LoadSignature
from spikewright.hw.memory import BankedMemory, make_memory
from spikewright.machine.hardware import HardwareShape, Region, bits_for, memory_id
from spikewright.machine.instructions import Mode, Register

__all__ = ["Lanes"]

LANE_FLAGS = data.StructLayout(
    {
        "integrate_2": 1,
        "negative_2": 1,
        "current_2": 1,  # integrates into the second accumulator
        "init_2": 1,
        "maximum_2": 1,  # fires with the greatest membrane of a window, less the count
        "peeks_2": 1,  # reads a membrane of a window
        "first_2": 1,  # the first of them
    }
)


class Lanes(wiring.Component):
    """The neurons, `lanes` of them in parallel.

    ::

        clock 0 -> 1        2                    3                4              5
        i  ->  RAM  ->  V, I, W, rows  ->  a = W << n, ±     ->  U = V + a  ->  fire unit -> V, I
        (registered)    (registered)       or  I + bias                         spikes, count
                                                                                trace

    An integration is an addition alone, to V or to I. Parameter rows pass the same way, so that a
    scan may follow its rows at once.

    Latency: a word may be issued again six clocks after it was. `events` and `scan` say whether a
    word is still on its way; the issuer must hold back then. Throughput: one operation a clock.

    Members
    -------
    i : operation; kind NONE for none
    spikes : one spike word for each FIRE of a scan that sends, in scan order
    fired : a scan result, for the trace, as `HardwareShape.trace_fields` names it
    potential : the word of a READ, valid three clocks after it: membranes, or the counts of a layer
        that fires
    empty : no operation is inside
    """

    STAGES = 5

    def __init__(
        self, shape: HardwareShape, core: int, init: Mapping[str, Sequence[int]] | None = None
    ) -> None:
        self._shape, self._core, self._init = shape, core, init or {}
        spikes = wiring.Signature(
            {
                "enable": Out(1),
                "address": Out(bits_for(shape.spike_words - 1)),
                "data": Out(shape.spike_width),
            }
        )
        own = ("step", "digit", "word", "spikes", "negative", "counts", "membranes")
        fired = wiring.Signature(
            {"valid": Out(1)}
            | {name: Out(width) for name, width in shape.trace_fields.items() if name in own}
        )
        potential = wiring.Signature(
            {"valid": Out(1), "data": Out(shape.lanes * shape.membrane_bits)}
        )
        super().__init__(
            {
                "setting": In(SettingSignature()),
                "load": In(LoadSignature(shape)),
                "start": In(1),
                "i": In(operation_layout(shape)),
                "events": In(CandidateSignature(shape)),
                "scan": In(CandidateSignature(shape)),
                "empty": Out(1),
                "spikes": Out(spikes),
                "fired": Out(fired),
                "potential": Out(potential),
            }
        )

    def elaborate(self, platform):
        m = Module()
        shape = self._shape
        modes = [Signal(max(1, max(Mode).bit_length()), name=name) for name in ("fire", "final")]
        held = Signal(2)
        limit = Signal(max(1, shape.count_bits))
        registers = {Register.FIRE: modes[0], Register.CURRENT: held}
        if shape.input_steps < shape.steps:
            registers[Register.FINAL] = modes[1]
        if shape.has(Mode.LIMITED):
            registers[Register.LIMIT] = limit
        bind(m, self.setting, registers)
        stage, _ = self._add_pipeline(m)
        is_kind = self._is_kind
        accumulates = held != 0
        reads_v = is_kind(0, Kind.FIRE, Kind.READ, Kind.PEEK)
        reads_v |= is_kind(0, Kind.INTEGRATE) & ~accumulates
        word, target = stage[0].word, stage[0].target
        membranes, write_v = self._memory(
            m, word, "membrane", shape.membrane_words, shape.membrane_bits, reads_v
        )
        weights = self._add_weights(m)
        rows = self._add_parameters(m)

        # Clock 1 -> 2: nothing but registers behind the block RAMs.
        def registered(name, values, enable=1):
            result = Signal(values.shape(), name=name, reset_less=True)
            with m.If(enable):
                m.d.sync += result.eq(values)
            return result

        def row(name, which, values=rows):
            return registered(name, values, is_kind(1, Kind.PARAMETER) & (stage[1].row == which))

        v_2, w_2 = registered("v_2", membranes), registered("w_2", weights)
        i_2, write_i = self._add_currents(m, accumulates)
        add_2 = row("add", Row.ADD)
        if shape.input_steps < shape.steps:
            silent = is_kind(1, Kind.PARAMETER) & (stage[1].row == Row.ADD) & ~stage[1].bias
            with m.If(silent):
                m.d.sync += add_2.eq(0)
        threshold_4 = self._delayed(m, row("threshold", Row.THRESHOLD), 2)
        ceil_4 = self._delayed(m, row("ceil", Row.CEIL), 2) if shape.ceils else None
        state_2 = write_s = None
        if shape.state_bits:
            size, kinds = (shape.membrane_words, shape.state_bits), (Kind.FIRE, Kind.READ)
            states, write_s = self._memory(
                m, target, "count", *size, is_kind(0, *kinds), shape=shape.state_bits
            )
            state_2 = registered("state_2", states)
            state_4 = self._delayed(m, state_2, 2)

        flags, digit_4, mode_5 = self._add_flags(m, modes, limit, accumulates)
        units = [FireUnit(shape) for _ in range(shape.lanes)]
        for lane, unit in enumerate(units):
            m.submodules[f"fire_{lane}"] = unit
            count = state_2[lane][: shape.count_bits] if shape.count_bits else 0
            operands = (v_2[lane], i_2[lane], w_2[lane], add_2[lane], count)
            m.d.comb += [
                unit.u.eq(self._potential(m, lane, flags, stage[2].shift, *operands)),
                unit.threshold.eq(threshold_4[lane]),
                unit.digit.eq(digit_4),
                unit.mode.eq(mode_5),
            ]
            if shape.ceils:
                m.d.comb += unit.ceil.eq(ceil_4[lane])
            if shape.count_bits:
                m.d.comb += unit.count.eq(state_4[lane][: shape.count_bits])
            if shape.ends_early:
                m.d.comb += unit.done.eq(state_4[lane][-1])
        counts = Cat(unit.new_count for unit in units) if shape.count_bits else None
        writers = (write_v, write_i, write_s)
        self._write_back(m, modes, accumulates, units, counts, *writers)
        self._add_spikes(m, stage[self.STAGES], mode_5, modes, units, counts)
        self._report(m, units, counts, write_v.data)
        self._read_out(m, modes, v_2, state_2)
        return m

    def _add_pipeline(self, m):
        """The operations on their way: stage[k] is in clock k of the drawing above."""
        # Only their kinds know a reset: what an operation of kind NONE carries is never used.
        stage, kind = [], []
        for k in range(self.STAGES + 1):
            stage.append(Signal(operation_layout(self._shape), name=f"stage_{k}", reset_less=True))
            kind.append(Signal(Kind, name=f"kind_{k}"))
        for before, after in (*pairwise([self.i, *stage]), *pairwise([self.i.kind, *kind])):
            m.d.sync += after.eq(before)
        self._stage, self._kind = stage, kind
        writing = (Kind.INTEGRATE, Kind.FIRE, Kind.INIT)
        m.d.comb += self.empty.eq(Cat(one == Kind.NONE for one in kind).all())
        for candidate in (self.events, self.scan):
            m.d.comb += candidate.hazard.eq(
                Cat(
                    self._is_kind(k, *writing) & (stage[k].target == candidate.word)
                    for k in range(self.STAGES)
                ).any()
            )
        return stage, kind

    def _is_kind(self, k, *kinds):
        """Whether the operation in clock `k` is one of `kinds`."""
        return Cat(self._kind[k] == one for one in kinds).any()

    def _add_weights(self, m):
        """Weights are read as the operation comes in, whether it is held back or not.

        The address is a register's, and the banks have a clock more.
        """
        shape = self._shape
        m.submodules.weight = weight = BankedMemory(
            shape.lanes * shape.weight_bits,
            shape.weight_words,
            self._init.get(f"weight_{self._core}", ()),
        )
        weights = Signal(data.ArrayLayout(signed(shape.weight_bits), shape.lanes))
        m.d.comb += [
            weight.read.eq(1),
            weight.address.eq(self.i.weight),
            weights.as_value().eq(weight.data),
            weight.write.enable.eq(self._loads(Region.WEIGHT)),
            weight.write.address.eq(self.load.address),
            weight.write.data.eq(self.load.data),
        ]
        return weights

    def _add_parameters(self, m):
        """The parameter row of the operation in clock 1."""
        shape = self._shape
        rows, load_p = self._memory(
            m,
            self._stage[0].word,
            "parameter",
            shape.parameter_words,
            shape.compare_bits,
            self._is_kind(0, Kind.PARAMETER),
        )
        m.d.comb += [
            load_p.en.eq(self._loads(Region.PARAMETER)),
            load_p.addr.eq(self.load.address),
            load_p.data.eq(self.load.data),
        ]
        return rows

    def _add_currents(self, m, accumulates):
        """The second accumulator of the operation in clock 2, where it counts; its write port."""
        shape, stage, is_kind = self._shape, self._stage, self._is_kind
        reads_i = is_kind(0, Kind.FIRE, Kind.INTEGRATE) & accumulates
        i_2 = [0] * shape.lanes
        write_i = None
        if shape.current_words:
            currents, write_i = self._memory(
                m, stage[0].word, "current", shape.current_words, shape.current_bits, reads_i
            )
            i_2 = Signal(currents.shape(), name="i_2", reset_less=True)
            used = is_kind(1, Kind.INTEGRATE) | (is_kind(1, Kind.FIRE) & stage[1].current)
            m.d.sync += i_2.eq(Mux(accumulates & used, currents.as_value(), 0))
        return i_2, write_i

    def _add_flags(self, m, modes, limit, accumulates):
        """What every lane reads, decoded a clock early."""
        shape, stage, is_kind = self._shape, self._stage, self._is_kind
        flags = Signal(LANE_FLAGS, reset_less=True)
        fires_1 = is_kind(1, Kind.FIRE)
        m.d.sync += [
            flags.integrate_2.eq(is_kind(1, Kind.INTEGRATE)),
            flags.negative_2.eq(is_kind(1, Kind.INTEGRATE) & stage[1].negative),
            flags.current_2.eq(is_kind(1, Kind.INTEGRATE) & accumulates),
            flags.init_2.eq(is_kind(1, Kind.INIT)),
            flags.maximum_2.eq(fires_1 & self._bit(modes[0], Mode.MAXIMUM)),
            flags.peeks_2.eq(is_kind(1, Kind.PEEK, Kind.FIRE)),
            flags.first_2.eq(stage[1].first),
        ]
        digit_4 = Signal(digit_layout(shape), reset_less=True)
        mode_5 = Signal(mode_layout(shape), reset_less=True)
        amount = (1 << stage[3].digit)[: max(1, shape.count_bits)]
        m.d.sync += [
            digit_4.top.eq(stage[3].top),
            digit_4.amount.eq(amount),
            digit_4.bound.eq(limit - amount),
        ]
        chosen = Mux(stage[4].final, modes[1], modes[0])
        for name in mode_layout(shape).members:
            m.d.sync += mode_5[name].eq(self._bit(chosen, Mode[name]) & is_kind(4, Kind.FIRE))
        return flags, digit_4, mode_5

    def _write_back(self, m, modes, accumulates, units, counts, write_v, write_i, write_s):
        """Clock 5: the memories' writes."""
        shape, stage, is_kind = self._shape, self._stage, self._is_kind
        last = self.STAGES
        fires, inits = is_kind(last, Kind.FIRE), is_kind(last, Kind.INIT)
        integrates = is_kind(last, Kind.INTEGRATE)
        m.d.comb += [
            write_v.en.eq(
                (integrates & ~accumulates) | (fires & ~self._bit(modes[0], Mode.MAXIMUM)) | inits
            ),
            write_v.addr.eq(stage[last].word),
            write_v.data.eq(Cat(unit.value[: shape.membrane_bits] for unit in units)),
        ]
        if shape.current_words:
            values = Cat(unit.value[: shape.current_bits] for unit in units)
            m.d.comb += [
                write_i.en.eq((integrates | inits) & accumulates),
                write_i.addr.eq(stage[last].word),
                write_i.data.eq(Mux(inits, 0, values)),
            ]
        if shape.state_bits:
            parts = []
            for unit in units:
                parts += [unit.new_count] if shape.count_bits else []
                parts += [unit.new_done] if shape.ends_early else []
            m.d.comb += [
                write_s.en.eq(fires | inits),
                write_s.addr.eq(stage[last].target),
                write_s.data.eq(Mux(inits, 0, Cat(parts))),
            ]

    def _report(self, m, units, counts, membranes):
        """Clock 5: what a scan did, for the trace."""
        shape, last = self._shape, self._stage[self.STAGES]
        results = {
            "step": last.step,
            "digit": last.digit,
            "word": last.target,
            "spikes": Cat(unit.spike for unit in units),
            "negative": Cat(unit.spike & unit.negative for unit in units),
            "counts": counts,
            "membranes": membranes,
        }
        m.d.comb += self.fired.valid.eq(self._is_kind(self.STAGES, Kind.FIRE))
        for name in shape.trace_fields:
            if name in results:
                m.d.comb += getattr(self.fired, name).eq(results[name])

    def _read_out(self, m, modes, v_2, state_2):
        """Clock 2: a word for the readout, of counts where the layer fires."""
        shape = self._shape
        reads = v_2.as_value()
        if shape.count_bits:
            padding = Const(0, shape.membrane_bits - shape.count_bits)
            numbers = Cat(
                Cat(state_2[lane][: shape.count_bits], padding) for lane in range(shape.lanes)
            )
            fires_ever = self._bit(modes[0] | modes[1], Mode.FIRES)
            reads = Mux(fires_ever, numbers, reads)
        m.d.comb += [
            self.potential.valid.eq(self._is_kind(2, Kind.READ)),
            self.potential.data.eq(reads),
        ]

    def _bit(self, mode, bit):
        """One bit of a mode register; zero where no layer has it."""
        return mode[bit.bit_length() - 1] if self._shape.has(bit) else 0

    def _delayed(self, m, values, clocks):
        for k in range(clocks):
            later = Signal(
                values.shape(), name=f"{values.as_value().name}_{k + 3}", reset_less=True
            )
            m.d.sync += later.eq(values)
            values = later
        return values

    def _loads(self, region):
        return self.load.valid & (self.load.memory == memory_id(region, self._core))

    def _memory(self, m, address, name, depth, bits, enable, shape=None):
        """One memory of a (signed) number a lane: its read data as lanes, and its write port."""
        lanes = self._shape.lanes
        contents = self._init.get(f"{name}_{self._core}", ())
        m.submodules[name] = memory = make_memory(lanes * bits, depth, contents)
        port, writer = memory.read_port(), memory.write_port()
        m.d.comb += [port.en.eq(enable), port.addr.eq(address)]
        view = Signal(data.ArrayLayout(shape or signed(bits), lanes), name=f"{name}_out")
        m.d.comb += view.as_value().eq(port.data)
        return view, writer

    def _potential(self, m, lane, flags, shift, v, i, w, add, count):
        """Clocks 2 to 4 of one lane: U, or the sum that an integration writes back."""
        shape = self._shape
        width = signed(shape.compare_bits)

        def register(name):
            return Signal(width, name=f"{name}_{lane}", reset_less=True)

        shifted, drive = Signal(width, name=f"shifted_{lane}"), i + add
        base = Mux(flags.current_2, i, v) if shape.current_words else v
        carry = flags.negative_2
        if shape.has(Mode.MAXIMUM):
            # The greatest membrane of the window so far; the count is subtracted as ~count + 1.
            most = Signal(signed(shape.membrane_bits), name=f"most_{lane}", reset_less=True)
            greatest = Mux(flags.first_2 | (v > most), v, most)
            with m.If(flags.peeks_2):
                m.d.sync += most.eq(greatest)
            base = Mux(flags.maximum_2, greatest, base)
            drive = Mux(flags.maximum_2, ~Cat(count, 0).as_signed(), drive)
            carry = carry | flags.maximum_2
        a_3, v_3, u_4 = register("a_3"), register("v_3"), register("u_4")
        carry_3 = Signal(name=f"carry_{lane}", reset_less=True)
        m.d.comb += shifted.eq(w << shift)
        m.d.sync += [
            # -x is ~x + 1; the one is the next clock's carry.
            a_3.eq(Mux(flags.integrate_2, Mux(flags.negative_2, ~shifted, shifted), drive)),
            v_3.eq(Mux(flags.init_2, 0, base)),
            carry_3.eq(carry),
            u_4.eq(add_with_carry(v_3, a_3, carry_3)),
        ]
        return u_4

    def _add_spikes(self, m, operation, mode, modes, units, counts):
        """The spike buffer's writes. Words lie in scan order: the address only counts."""
        shape = self._shape
        base, following = (Signal.like(self.spikes.address) for _ in range(2))
        bind(m, self.setting, {Register.SPIKE_BASE: base})
        word = Cat(unit.spike for unit in units)
        if shape.signed:
            word = Cat(word, Cat(unit.negative for unit in units))
        sends = mode.FIRES if shape.has(Mode.FIRES) else 0
        if shape.pairs:
            # A layer that decides at its end sends numbers: complete with the last digit.
            codes = ~self._bit(modes[0], Mode.FIRES)
            word = Mux(codes, counts, word)
            sends &= ~codes | (operation.digit == 0)
        with m.If(self.start):
            m.d.sync += following.eq(base)
        m.d.sync += [
            self.spikes.enable.eq(sends),
            self.spikes.address.eq(following),
            self.spikes.data.eq(word),
        ]
        with m.If(sends):
            m.d.sync += following.eq(following + 1)
