"""The datapath of a core: one membrane word of all lanes read, changed and written every clock."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

from amaranth.hdl import Cat, Module, Mux, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from spikewright.hardware import HardwareShape, Region, Register, bits_for, memory_id

from .event import SettingSignature, bind
from .issue import Kind, Row, operation_layout
from .load import LoadSignature
from .memory import BankedMemory, make_memory

__all__ = ["Lanes"]

LANE_FLAGS = data.StructLayout(
    {
        "integrate_2": 1,
        "negative_2": 1,
        "current_2": 1,  # integrates into the second accumulator
        "init_2": 1,
        "fires_4": 1,
        "holds": 1,
    }
)


class Lanes(wiring.Component):
    """IF neurons and integrators, `lanes` of them in parallel (NQ Eq. 2-5).

    ::

        clock 0 -> 1        2                    3                 4
        i  ->  RAM  ->  V, I, W, rows  ->  a = W << n, ±     ->  U = V + a        -> V, I
        (registered)    (registered)       or  I + bias,         R = V + b            spikes
                                           b = I + bias - th                          trace

    U is the potential, R = U - threshold; R's sign decides: a neuron with R >= 0 fires and keeps
    R. An integration is the upper row alone, on V or, for the frame's events, on I. Parameter rows
    pass the same way, so that a scan may follow its rows at once.

    Latency: a word may be issued again five clocks after it was. `hazard` says that `candidate` is
    still on its way; the issuer must hold back then. Throughput: one operation a clock.

    Members
    -------
    i : operation; kind NONE for none
    spikes : one spike word for each FIRE of a layer that fires, in scan order
    fired : a scan result, for the trace: word, step, membranes and spikes after the scan
    potential : the word of a READ, valid three clocks after it
    empty : no operation is inside
    """

    STAGES = 4

    def __init__(
        self, shape: HardwareShape, core: int, init: Mapping[str, Sequence[int]] | None = None
    ) -> None:
        self._shape, self._core, self._init = shape, core, init or {}
        spikes = wiring.Signature(
            {
                "enable": Out(1),
                "address": Out(bits_for(shape.spike_words - 1)),
                "data": Out(shape.lanes),
            }
        )
        fired = wiring.Signature(
            {
                "valid": Out(1),
                "word": Out(shape.word_address_bits),
                "step": Out(bits_for(shape.steps)),
                "spikes": Out(shape.lanes),
                "membranes": Out(shape.lanes * shape.membrane_bits),
            }
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
                "candidate": In(shape.word_address_bits),
                "hazard": Out(1),
                "empty": Out(1),
                "spikes": Out(spikes),
                "fired": Out(fired),
                "potential": Out(potential),
            }
        )

    def elaborate(self, platform):
        m = Module()
        shape = self._shape
        fire, direct = Signal(2), Signal()
        spike_base = Signal.like(self.spikes.address)
        bind(
            m,
            self.setting,
            {Register.FIRE: fire, Register.DIRECT: direct, Register.SPIKE_BASE: spike_base},
        )
        # The operations on their way: stage[k] is in clock k of the drawing above.
        # Only their kinds know a reset: what an operation of kind NONE carries is never used.
        stage, kind = [], []
        for k in range(self.STAGES + 1):
            stage.append(Signal(operation_layout(shape), name=f"stage_{k}", reset_less=True))
            kind.append(Signal(Kind, name=f"kind_{k}"))
        for before, after in (*pairwise([self.i, *stage]), *pairwise([self.i.kind, *kind])):
            m.d.sync += after.eq(before)

        def is_kind(k, *kinds):
            return Cat(kind[k] == one for one in kinds).any()

        writing = (Kind.INTEGRATE, Kind.FIRE, Kind.INIT)
        m.d.comb += [
            self.hazard.eq(
                Cat(
                    is_kind(k, *writing) & (stage[k].word == self.candidate)
                    for k in range(self.STAGES)
                ).any()
            ),
            self.empty.eq(Cat(one == Kind.NONE for one in kind).all()),
        ]
        reads_v = is_kind(0, Kind.FIRE, Kind.READ) | (is_kind(0, Kind.INTEGRATE) & ~direct)
        reads_i = is_kind(0, Kind.FIRE, Kind.INTEGRATE) & direct
        membranes, write_v = self._memory(
            m, stage[0], "membrane", shape.membrane_words, shape.membrane_bits, reads_v
        )
        currents, write_i = self._memory(
            m, stage[0], "current", shape.current_words, shape.current_bits, reads_i
        )
        # Weights are read as the operation comes in, whether it is held back or not: the address
        # is a register's, and the banks have a clock more.
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
        rows, load_p = self._memory(
            m,
            stage[0],
            "parameter",
            shape.parameter_words,
            shape.compare_bits,
            is_kind(0, Kind.PARAMETER),
        )
        m.d.comb += [
            load_p.en.eq(self._loads(Region.PARAMETER)),
            load_p.addr.eq(self.load.address),
            load_p.data.eq(self.load.data),
        ]

        # Clock 1 -> 2: nothing but registers behind the block RAMs.
        def registered(name, values, enable=1):
            result = Signal(values.shape(), name=name, reset_less=True)
            with m.If(enable):
                m.d.sync += result.eq(values)
            return result

        row_1 = is_kind(1, Kind.PARAMETER)
        v_2, i_2 = (
            registered("v_2", membranes),
            Signal(currents.shape(), name="i_2", reset_less=True),
        )
        m.d.sync += i_2.eq(Mux(direct & ~is_kind(1, Kind.INIT), currents.as_value(), 0))
        w_2 = registered("w_2", weights)
        bias_2 = registered("row_a", rows, row_1 & (stage[1].row == Row.A))
        less_2 = registered("row_b", rows, row_1 & (stage[1].row == Row.B))

        # Every lane reads these: decoded a clock early.
        flags = Signal(LANE_FLAGS, reset_less=True)
        m.d.sync += [
            flags.integrate_2.eq(is_kind(1, Kind.INTEGRATE)),
            flags.negative_2.eq(is_kind(1, Kind.INTEGRATE) & stage[1].negative),
            flags.current_2.eq(is_kind(1, Kind.INTEGRATE) & direct),
            flags.init_2.eq(is_kind(1, Kind.INIT)),
            flags.fires_4.eq(is_kind(3, Kind.FIRE) & (fire != 0)),
            flags.holds.eq(fire == 2),
        ]
        spikes, results = [], []
        for lane in range(shape.lanes):
            spike, result = self._lane(
                m,
                lane,
                flags,
                stage[2].shift,
                v_2[lane],
                i_2[lane],
                w_2[lane],
                bias_2[lane],
                less_2[lane],
            )
            spikes.append(spike)
            results.append(result)

        # Clock 4: write back.
        fires_4 = is_kind(4, Kind.FIRE)
        m.d.comb += [
            write_v.en.eq((is_kind(4, Kind.INTEGRATE) & ~direct) | fires_4 | is_kind(4, Kind.INIT)),
            write_v.addr.eq(stage[4].word),
            write_v.data.eq(Cat(result[: shape.membrane_bits] for result in results)),
            write_i.en.eq((is_kind(4, Kind.INTEGRATE) | is_kind(4, Kind.INIT)) & direct),
            write_i.addr.eq(stage[4].word),
            write_i.data.eq(
                Mux(
                    is_kind(4, Kind.INIT),
                    0,
                    Cat(result[: shape.current_bits] for result in results),
                )
            ),
        ]
        # Spike words lie in scan order: the address only counts.
        next_spike = Signal.like(self.spikes.address)
        with m.If(self.start):
            m.d.sync += next_spike.eq(spike_base)
        m.d.sync += [
            self.spikes.enable.eq(fires_4 & (fire != 0)),
            self.spikes.address.eq(next_spike),
            self.spikes.data.eq(Cat(spikes)),
        ]
        with m.If(fires_4 & (fire != 0)):
            m.d.sync += next_spike.eq(next_spike + 1)
        m.d.comb += [
            self.fired.valid.eq(fires_4),
            self.fired.word.eq(stage[4].word),
            self.fired.step.eq(stage[4].step),
            self.fired.spikes.eq(Cat(spikes)),
            self.fired.membranes.eq(write_v.data),
            self.potential.valid.eq(is_kind(2, Kind.READ)),
            self.potential.data.eq(v_2.as_value()),
        ]
        return m

    def _loads(self, region):
        return self.load.valid & (self.load.memory == memory_id(region, self._core))

    def _memory(self, m, operation, name, depth, bits, enable):
        """One memory of a signed number a lane: its read data as lanes, and its write port."""
        lanes = self._shape.lanes
        contents = self._init.get(f"{name}_{self._core}", ())
        m.submodules[name] = memory = make_memory(lanes * bits, depth, contents)
        port, writer = memory.read_port(), memory.write_port()
        m.d.comb += [port.en.eq(enable), port.addr.eq(operation.word)]
        view = Signal(data.ArrayLayout(signed(bits), lanes), name=f"{name}_out")
        m.d.comb += view.as_value().eq(port.data)
        return view, writer

    def _lane(self, m, lane, flags, shift, v, i, w, bias, less):
        """Clocks 2 to 4 of one lane: its spike, and the value to write back."""
        width = signed(self._shape.compare_bits)

        def register(name):
            return Signal(width, name=f"{name}_{lane}", reset_less=True)

        shifted = register("shifted")
        m.d.comb += shifted.eq(w << shift)
        a_3, b_3, v_3 = register("a_3"), register("b_3"), register("v_3")
        carry_3 = Signal(name=f"carry_{lane}", reset_less=True)
        m.d.sync += [
            # -x is ~x + 1; the one is the next clock's carry.
            a_3.eq(Mux(flags.integrate_2, Mux(flags.negative_2, ~shifted, shifted), i + bias)),
            b_3.eq(i + less),
            v_3.eq(Mux(flags.init_2, 0, Mux(flags.current_2, i, v))),
            carry_3.eq(flags.negative_2),
        ]
        u_4, r_4 = register("u_4"), register("r_4")
        m.d.sync += [u_4.eq(v_3 + a_3 + carry_3), r_4.eq(v_3 + b_3)]
        reaches = r_4 >= 0
        if self._shape.holds:
            reaches = reaches & (~flags.holds | (r_4 != 0))
        spike = Signal(name=f"spike_{lane}")
        m.d.comb += spike.eq(flags.fires_4 & reaches)
        result = register("result")
        m.d.comb += result.eq(Mux(spike, r_4, u_4))
        return spike, result
