"""The harness itself: loading, resets, aborts, stalls, random state, traces, errors."""

import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from amaranth.back import verilog
from amaranth.hdl import Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from spikewright.errors import SpikewrightError
from spikewright.hw.top import generate
from spikewright.machine.hardware import Activity
from spikewright.machine.images import MemoryImage, make_images
from spikewright.machine.mapping import Mapping
from spikewright.machine.protocol import Command, Decoder, Status, request
from spikewright.network import Network
from spikewright.sim.golden.model import Golden, GoldenResult, LayerTrace
from spikewright.sim.rtl.compare import first_mismatch
from spikewright.sim.rtl.run import (
    DRAIN,
    Backend,
    image_requests,
    load_requests,
    make_simulator,
    results,
    simulate,
    simulate_uart,
)
from spikewright.sim.rtl.stimulus import (
    Epoch,
    Op,
    Reset,
    Send,
    Simulator,
    StuckError,
    UntilBusy,
    UntilReplies,
    Wait,
)
from spikewright.sim.rtl.trace import assemble
from spikewright.sim.rtl.verilator import build_simulator, randomised, require_tools
from spikewright.sw.passes.map import map_network
from tests.support.random_networks import random_frames, random_network

BACKENDS: tuple[Backend, ...] = ("verilator", "pysim")


@dataclass(frozen=True)
class Example:
    network: Network
    mapping: Mapping
    images: dict[str, MemoryImage]
    frames: npt.NDArray[np.uint8]
    golden: GoldenResult


@cache
def example() -> Example:
    """A small network on two cores, with more than one channel group and padding lanes."""
    rng = np.random.default_rng(17)
    while True:
        network = random_network(
            rng, size=2500, style="mixed", channels=(5, 9), side=(4, 6), max_layers=3, steps=(3, 3)
        )
        if len(network.layers) == 3 and min(network.layers[0].shape[1:]) > 2:
            break
    mapping = map_network(network, cores=2, lanes=4)
    frames = random_frames(rng, network, 5)
    golden = Golden(network).run(frames, trace=True)
    return Example(network, mapping, make_images(network, mapping), frames, golden)


@pytest.fixture
def case() -> Example:
    return example()


@pytest.fixture(params=BACKENDS)
def simulator(request: pytest.FixtureRequest, case: Example, simulators: Path) -> Simulator:
    return make_simulator(case.mapping.shape, request.param, trace=True, cache=simulators)


def run(case: Example, backend: Backend, simulators: Path, **options: float):  # type: ignore[no-untyped-def]
    return simulate(
        case.images,
        case.network,
        case.mapping,
        case.frames,
        backend=backend,
        cache=simulators,
        **options,
    )


# ---------------------------------------------------------------------------------------- sequences


def play(simulator: Simulator, script: Sequence[Op], seed: int = 1) -> tuple[Epoch, ...]:
    return simulator.run(script, trace=True, stalls=0.1, seed=seed, patience=50_000)


def loaded(case: Example) -> list[Op]:
    loads = load_requests(case.images, case.mapping.shape)
    return [Reset(), Send(b"".join(loads)), UntilReplies(len(loads))]


def sent(case: Example, index: int) -> tuple[Send, int]:
    """An image on its way, and the number of replies to it."""
    requests = image_requests(case.frames[index], case.mapping.shape, index)
    return Send(b"".join(requests)), len(requests)


def test_alone_and_back_to_back(case: Example, simulator: Simulator, simulators: Path) -> None:
    together = run(case, simulator.name, simulators, stalls=0.2)  # type: ignore[arg-type]
    np.testing.assert_array_equal(together.potentials, case.golden.potentials)
    np.testing.assert_array_equal(together.classes, case.golden.classes)
    assert first_mismatch(case.golden.trace, together.trace) is None
    loads = len(load_requests(case.images, case.mapping.shape))
    for index in range(3):
        image, replies = sent(case, index)
        (epoch,) = play(simulator, [*loaded(case), image, UntilReplies(loads + replies)])
        (alone,) = results(epoch, case.network, loads + replies)
        assert alone.potentials == tuple(case.golden.potentials[index])


@pytest.mark.parametrize("clocks", [1, 60, 300])
def test_reset_in_an_image(case: Example, simulator: Simulator, clocks: int) -> None:
    """Memories keep their contents; the next image gives the right answer."""
    first, _ = sent(case, 0)
    second, replies = sent(case, 1)
    script = [*loaded(case), first, UntilBusy(clocks), Reset(1)]
    script += [second, UntilReplies(replies), Wait(DRAIN)]
    before, after = play(simulator, script)
    assert Command.RUN not in [reply.command for reply in Decoder().feed(before.received)]
    (result,) = results(after, case.network, replies)
    assert result.potentials == tuple(case.golden.potentials[1])
    trace = assemble(after.trace, case.network, case.mapping, 1)
    expected = [replace_images(layer, slice(1, 2)) for layer in golden_trace(case)]
    assert first_mismatch(expected, trace) is None


@pytest.mark.parametrize("clocks", [1, 60, 300])
def test_abort_in_an_image(case: Example, simulator: Simulator, clocks: int) -> None:
    """A stopped image has no answer; the next one is right."""
    loads = len(load_requests(case.images, case.mapping.shape))
    first, writes = sent(case, 0)
    second, replies = sent(case, 1)
    expected = loads + writes - 1 + 1 + replies
    script = [*loaded(case), first, UntilBusy(clocks), Send(request(Command.ABORT, 77))]
    script += [UntilReplies(loads + writes), second, UntilReplies(expected)]
    (epoch,) = play(simulator, script)
    (result,) = results(epoch, case.network, expected)
    assert result.potentials == tuple(case.golden.potentials[1])


def test_loading_is_refused_in_an_image(case: Example, simulator: Simulator) -> None:
    image, replies = sent(case, 2)
    loads = load_requests(case.images, case.mapping.shape)
    script = [*loaded(case), image, UntilBusy(20), Send(loads[-1])]
    script += [UntilReplies(len(loads) + replies + 1)]
    (epoch,) = play(simulator, script)
    answers = list(Decoder().feed(epoch.received))[len(loads) :]
    refused = [answer for answer in answers if answer.status is Status.BUSY]
    assert [answer.command for answer in refused] == [Command.WRITE]
    with pytest.raises(
        SpikewrightError, match=r"^simulation: WRITE \(tag \d+\) was answered BUSY$"
    ):
        results(epoch, case.network, len(loads) + replies + 1)


# ------------------------------------------------------------------------------------- both alike


def test_simulators_agree(case: Example, simulators: Path) -> None:
    """Clock for clock, without stalls; with stalls of the trace, only STALLED and IDLE grow."""
    compiled = run(case, "verilator", simulators, seed=3)
    interpreted = run(case, "pysim", simulators, seed=4)
    np.testing.assert_array_equal(compiled.clocks, interpreted.clocks)
    np.testing.assert_array_equal(compiled.activity, interpreted.activity)
    assert compiled.loading_clocks == interpreted.loading_clocks
    stalled = run(case, "verilator", simulators, stalls=0.9)
    words = [Activity.INTEGRATE, Activity.SCAN, Activity.INITIALISE]
    np.testing.assert_array_equal(compiled.activity[..., words], stalled.activity[..., words])
    assert (
        stalled.activity[..., Activity.STALLED].sum()
        > compiled.activity[..., Activity.STALLED].sum()
    )
    np.testing.assert_array_equal(stalled.potentials, case.golden.potentials)


def test_word_operations(case: Example, simulators: Path) -> None:
    """SCAN and INITIALISE clocks are exactly the words of the layers."""
    got = run(case, "verilator", simulators)
    for core in range(case.mapping.shape.cores):
        words = sum(
            where.groups[core] * layer.shape[1] * layer.shape[2]
            for layer, where in zip(case.network.layers, case.mapping.layers, strict=True)
        )
        assert (got.activity[:, core, Activity.INITIALISE] == words).all()
        assert (got.activity[:, core, Activity.SCAN] == words * case.network.steps).all()


def test_uart() -> None:
    """One image byte by byte through the pins of the board's top."""
    rng = np.random.default_rng(3)
    network = random_network(rng, size=300, channels=(1, 4), side=(1, 4), max_layers=2)
    mapping = map_network(network, cores=1, lanes=1)
    frames = random_frames(rng, network, 2)
    got = simulate_uart(make_images(network, mapping), network, mapping, frames)
    expected = Golden(network).run(frames)
    np.testing.assert_array_equal(got.potentials, expected.potentials)
    np.testing.assert_array_equal(got.classes, expected.classes)
    assert (got.clocks > 0).all()


# ------------------------------------------------------------------------------------ random state


class Leaky(wiring.Component):
    """Answers every byte with what stands in a register that the reset forgot and in one that it
    does not, and in a memory nobody wrote."""

    i: In(stream.Signature(8))
    o: Out(stream.Signature(8))

    def elaborate(self, platform):  # type: ignore[no-untyped-def]
        m = Module()
        forgotten, reset = Signal(8, reset_less=True, init=1), Signal(8, init=2)
        written = Memory(shape=8, depth=4, init=[3] * 4)
        table = Memory(shape=8, depth=4, init=[4, 5, 6, 7])
        m.submodules.written, m.submodules.table = written, table
        row, constant = written.read_port(), table.read_port()
        write = written.write_port()
        with m.If(self.i.payload == 0xFF):
            m.d.sync += [forgotten.eq(0), reset.eq(0)]
            m.d.comb += write.en.eq(1)
        values = [forgotten, reset, row.data, constant.data]
        with m.Switch(self.i.payload):
            for index, value in enumerate(values):
                with m.Case(index):
                    m.d.comb += self.o.payload.eq(value)
        m.d.comb += [self.o.valid.eq(self.i.valid), self.i.ready.eq(self.o.ready)]
        return m


def test_state_is_random(case: Example, simulators: Path) -> None:
    text = verilog.convert(Leaky(), name="spikewright_top", emit_src=False)
    shape = case.mapping.shape
    simulator = build_simulator(randomised(text), shape.cores, simulators, trace_bits=None)

    def answers(seed: int) -> bytes:
        script = [Reset(), Wait(5), Send(bytes(range(4))), Wait(5)]
        (epoch,) = simulator.run(script, trace=False, stalls=0.0, seed=seed, patience=100)
        return epoch.received

    seen = [answers(seed) for seed in range(6)]
    forgotten, reset, memory, table = ({got[i] for got in seen} for i in range(4))
    assert reset == {2}
    assert table == {4}
    assert len(forgotten) > 2
    assert len(memory) > 2
    assert answers(0) == seen[0]


def test_initial_values_are_removed(case: Example) -> None:
    before = generate(case.mapping.shape, trace=True)
    after = randomised(before)
    initialised = re.compile(r"^  reg (?!\\\$auto)[^;\n]* = [^;\n]*;$", re.M)
    assert len(initialised.findall(before)) > 100
    assert not initialised.findall(after)
    assert before.count("initial begin") > 10
    assert "initial begin" not in after
    assert len(after.splitlines()) > 0.5 * len(before.splitlines())


# ------------------------------------------------------------------------------------------- errors


class Mute(wiring.Component):
    """Takes nothing."""

    i: In(stream.Signature(8))
    o: Out(stream.Signature(8))

    def elaborate(self, platform):  # type: ignore[no-untyped-def]
        m = Module()
        m.d.sync += self.o.payload.eq(self.i.payload)
        return m


def test_no_progress(case: Example, simulators: Path) -> None:
    text = verilog.convert(Mute(), name="spikewright_top", emit_src=False)
    simulator = build_simulator(text, case.mapping.shape.cores, simulators, trace_bits=None)
    script = [Reset(), Wait(500), Send(b"x")]
    with pytest.raises(StuckError, match="nothing moved"):
        simulator.run(script, trace=False, stalls=0.0, seed=0, patience=100)


@pytest.mark.parametrize("patience", [2**31, 2**32, 2**40])
def test_patience_has_no_limit(case: Example, simulators: Path, patience: int) -> None:
    """Of long runs, as those of TSC at T = 256, it takes more than 32 bits."""
    text = verilog.convert(Leaky(), name="spikewright_top", emit_src=False)
    simulator = build_simulator(text, case.mapping.shape.cores, simulators, trace_bits=None)
    script = [Reset(), Wait(5), Send(bytes(range(4))), Wait(5)]
    (epoch,) = simulator.run(script, trace=False, stalls=0.5, seed=0, patience=patience)
    assert epoch.received


def test_no_progress_in_pysim(case: Example, simulators: Path) -> None:
    simulator = make_simulator(case.mapping.shape, "pysim", trace=False, cache=simulators)
    with pytest.raises(StuckError, match="nothing moved for 100 clocks"):
        simulator.run([Reset(), UntilReplies(1)], trace=False, stalls=0.0, seed=0, patience=100)


def test_missing_tools(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, case: Example) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(SpikewrightError, match=r"^verilator: the program g\+\+ was not found; ins"):
        run(case, "verilator", tmp_path)
    (tmp_path / "g++").symlink_to(sys.executable)
    with pytest.raises(SpikewrightError, match=r"the program make was not found; .* --sim pysim$"):
        require_tools()


def test_failed_build(case: Example, tmp_path: Path) -> None:
    with pytest.raises(SpikewrightError, match=r"^verilator: verilator_bin failed: .*syntax error"):
        build_simulator(
            "module spikewright_top; oops", case.mapping.shape.cores, tmp_path, trace_bits=None
        )
    assert not list(tmp_path.iterdir())


def test_built_once(case: Example, simulators: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_simulator(case.mapping.shape, "verilator", trace=True, cache=simulators)

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("compiles again")

    monkeypatch.setattr(subprocess, "run", refuse)
    make_simulator(case.mapping.shape, "verilator", trace=True, cache=simulators)
    with pytest.raises(AssertionError):
        make_simulator(case.mapping.shape, "verilator", trace=False, cache=simulators / "other")


def test_wrong_image(case: Example) -> None:
    image = case.images["axis"]
    shape = replace(image.shape, words=image.shape.words + 1)
    images = {**case.images, "axis": MemoryImage(shape, (*image.words, 0))}
    with pytest.raises(SpikewrightError, match=r"^axis: the image is of "):
        load_requests(images, case.mapping.shape)


# -------------------------------------------------------------------------------------------- trace


def golden_trace(case: Example) -> tuple[LayerTrace, ...]:
    assert case.golden.trace is not None
    return case.golden.trace


def replace_images(layer: LayerTrace, images: slice) -> LayerTrace:
    parts = (layer.membranes, layer.spikes, layer.counts)
    return LayerTrace(layer.name, *(part[images] for part in parts))


def records(case: Example) -> list[dict[str, int]]:
    """The records of the golden trace, image after image; padding lanes are silent."""
    shape, found = case.mapping.shape, []
    layers = list(zip(golden_trace(case), case.mapping.layers, strict=True))
    for image in range(len(case.frames)):
        for index, (layer, where) in enumerate(layers):
            _, steps, channels, height, width = layer.spikes.shape
            for step in range(steps):
                for core in range(shape.cores):
                    for word in range(where.groups[core] * height * width):
                        group, place = divmod(word, height * width)
                        first = (where.first_group[core] + group) * shape.lanes
                        spikes = membranes = 0
                        for lane in range(min(shape.lanes, channels - first)):
                            at = (image, step, first + lane, *divmod(place, width))
                            value = int(layer.membranes[at]) & ((1 << shape.membrane_bits) - 1)
                            spikes |= int(layer.spikes[at]) << lane
                            membranes |= value << lane * shape.membrane_bits
                        found.append(
                            {
                                "core": core,
                                "layer": index,
                                "step": step + 1,
                                "digit": 0,
                                "word": word,
                                "spikes": spikes,
                                "membranes": membranes,
                            }
                        )
    return found


def packed(case: Example, found: list[dict[str, int]]) -> npt.NDArray[np.uint32]:
    fields = case.mapping.shape.trace_fields
    size = -(-case.mapping.shape.trace_bits // 32)
    data = b""
    for record in found:
        value = position = 0
        for name, width in fields.items():
            assert record[name] < 1 << width
            value |= record[name] << position
            position += width
        data += value.to_bytes(4 * size, "little")
    return np.frombuffer(data, "<u4").reshape(-1, size)


@pytest.mark.parametrize("chunk", [7, 4096])
def test_assembled_trace(case: Example, chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spikewright.sim.rtl.trace.CHUNK", chunk)
    found = records(case)
    one_core_late = sorted(found, key=lambda record: record["core"])
    for order in (found, one_core_late):
        got = assemble(packed(case, order), case.network, case.mapping, len(case.frames))
        assert first_mismatch(golden_trace(case), got) is None


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (
            "missing",
            r"record 5 is of layer \w+, step 1, digit 0, word 6, "
            r"expected layer \w+, step 1, digit 0, word 5",
        ),
        (
            "doubled",
            r"record 6 is of layer \w+, step 1, digit 0, word 5, "
            r"expected layer \w+, step 1, digit 0, word 6",
        ),
        (
            "last",
            r"is of nothing, expected layer \w+, step 3, digit 0, word \d+ \(a record is missing",
        ),
        ("more", r"is of layer \w+, step 3, digit 0, word \d+, expected nothing"),
        ("core", r"a record of core 9, which does not exist"),
        ("lane", r"core \d: a lane without a channel spikes"),
    ],
)
def test_bad_trace(case: Example, fault: str, message: str) -> None:
    found = records(case)
    own = [i for i, record in enumerate(found) if record["core"] == 0]
    match fault:
        case "missing":
            del found[own[5]]
        case "doubled":
            found.insert(own[5], found[own[5]])
        case "last":
            found.pop()
        case "more":
            found.append(found[-1])
        case "core":
            found.append({**found[-1], "core": 9})
        case "lane":
            padded = [
                (i, where, layer.shape[0])
                for i, (layer, where) in enumerate(
                    zip(case.network.layers, case.mapping.layers, strict=True)
                )
                if layer.shape[0] % 4
            ]
            index, where, _ = padded[0]
            core = max(core for core in range(2) if where.groups[core])
            at = max(i for i, r in enumerate(found) if r["layer"] == index and r["core"] == core)
            found[at] = {**found[at], "spikes": found[at]["spikes"] | 8}
    with pytest.raises(SpikewrightError, match=rf"^trace.*{message}"):
        assemble(packed(case, found), case.network, case.mapping, len(case.frames))


def test_trace_of_an_unknown_layer(case: Example) -> None:
    found = records(case)
    found[0] = {**found[0], "layer": 31}
    with pytest.raises(SpikewrightError, match="is of layer number 31, step 1, digit 0, word 0"):
        assemble(packed(case, found), case.network, case.mapping, len(case.frames))


def test_unknown_simulator(case: Example, tmp_path: Path) -> None:
    with pytest.raises(SpikewrightError, match=r"^simulator 'iverilog': unknown; use one of veri"):
        run(case, "iverilog", tmp_path)  # type: ignore[arg-type]
