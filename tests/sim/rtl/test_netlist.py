"""The netlist after synthesis computes what the golden model says; colliding reads give garbage."""

from pathlib import Path

import numpy as np
import pytest
from amaranth.back import verilog
from amaranth.hdl import Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from spikewright.boards.synth import NO_RW_CHECK
from spikewright.errors import SpikewrightError
from spikewright.hw.memory import make_memory
from spikewright.hw.top import generate
from spikewright.machine.hardware import HardwareShape
from spikewright.machine.images import make_images
from spikewright.sim.golden.model import Golden
from spikewright.sim.rtl import run as rtl
from spikewright.sim.rtl.compare import first_mismatch
from spikewright.sim.rtl.netlist import make_netlist, netlist_simulator
from spikewright.sim.rtl.stimulus import Reset, Send, Wait
from spikewright.sw.passes.map import map_network
from tests.support.random_networks import random_frames, random_network


def test_network(simulators: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every state of a small network, on LUTs, flip-flops and block RAMs."""
    rng = np.random.default_rng(0)
    while True:
        network = random_network(
            rng, size=30_000, style="conv", channels=(5, 9), side=(8, 9), kernel=(3, 3),
            stride=(1, 1), max_layers=3, steps=(3, 3),
        )  # fmt: skip
        if len(network.layers) == 3 and min(n.shape[1] for n in network.layers[:2]) >= 3:
            break
    mapping = map_network(network, cores=1, lanes=4)
    netlist = make_netlist(generate(mapping.shape, trace=True), prepare=NO_RW_CHECK)
    assert netlist.count("\n  DP16KD #(") >= 6
    simulator = netlist_simulator(netlist, mapping.shape, simulators, trace=True)
    monkeypatch.setattr(rtl, "make_simulator", lambda *_, **__: simulator)
    frames = random_frames(rng, network, 5)
    images = make_images(network, mapping)
    expected = Golden(network).run(frames, trace=True)
    for seed, stalls in enumerate((0.0, 0.3)):
        got = rtl.simulate(
            images, network, mapping, frames, stalls=stalls, seed=seed, cache=simulators
        )
        np.testing.assert_array_equal(got.potentials, expected.potentials)
        np.testing.assert_array_equal(got.classes, expected.classes)
        assert first_mismatch(expected.trace or (), got.trace or ()) is None


class Echo(wiring.Component):
    """Writes every byte, and answers with one of those before: the first says, how far back.

    The address of the read is no constant distance from that of the write, lest Yosys sees it.
    """

    i: In(stream.Signature(8))
    o: Out(stream.Signature(8))

    def elaborate(self, platform):  # type: ignore[no-untyped-def]
        m = Module()
        m.submodules.memory = memory = make_memory(18, 512)
        read, write = memory.read_port(), memory.write_port()
        address, distance, started = Signal(9), Signal(9), Signal()
        taken = self.i.valid & self.i.ready
        m.d.comb += [
            self.i.ready.eq(~self.o.valid | self.o.ready),
            write.en.eq(taken),
            write.addr.eq(address),
            write.data.eq(self.i.payload),
            read.en.eq(taken),
            read.addr.eq(address - distance),
            self.o.payload.eq(read.data[:8]),
        ]
        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        with m.If(taken):
            m.d.sync += [self.o.valid.eq(1), address.eq(address + 1)]
            with m.If(~started):
                m.d.sync += [started.eq(1), address.eq(0), distance.eq(self.i.payload)]
        return m


def shape() -> HardwareShape:
    """Of no meaning here, but for its number of cores."""
    rng = np.random.default_rng(0)
    return map_network(random_network(rng, size=500), cores=1, lanes=4).shape


@pytest.mark.parametrize("distance", [0, 1])
def test_collisions(distance: int, simulators: Path) -> None:
    """A read that collides gives garbage, one that does not gives the word."""
    text = verilog.convert(Echo(), name="spikewright_top", emit_src=False)
    netlist = make_netlist(text, prepare=NO_RW_CHECK)
    assert netlist.count("\n  DP16KD #(") == 1
    simulator = netlist_simulator(netlist, shape(), simulators, trace=False)
    sent = np.random.default_rng(0).integers(256, size=1024).astype(np.uint8)
    script = [Reset(), Send(bytes([distance]) + sent.tobytes()), Wait(20)]
    (epoch,) = simulator.run(script, trace=False, stalls=0.0, seed=1, patience=1000)
    got = np.frombuffer(epoch.received, np.uint8)[513:]
    if distance:
        np.testing.assert_array_equal(got, sent[511:-1])
    else:
        assert (got == sent[:512]).mean() < 0.05
        assert (got == sent[512:]).mean() < 0.05


def test_bad_verilog() -> None:
    with pytest.raises(SpikewrightError, match=r"^netlist: yosys failed: .*syntax error"):
        make_netlist("module spikewright_top; oops")
