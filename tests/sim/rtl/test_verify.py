"""Verification from files: what it reports, and that it sees one flipped bit."""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice, product
from pathlib import Path

import numpy as np
import pytest

from spikewright.errors import SpikewrightError
from spikewright.hw.top import generate
from spikewright.machine.hardware import Activity
from spikewright.machine.images import Build, MemoryImage, make_images, read_build, write_build
from spikewright.machine.unpacking import unpack
from spikewright.network import Network
from spikewright.sim.golden.model import Golden
from spikewright.sim.rtl.compare import first_mismatch
from spikewright.sim.rtl.run import simulate
from spikewright.sim.rtl.sources import TOP, TRACED_TOP, Sources
from spikewright.sim.rtl.verify import lane_updates, verify
from spikewright.sw.passes.map import map_network
from tests.support.random_networks import random_frames, random_network

FRAMES = 7


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Build:
    rng = np.random.default_rng(8)
    while True:
        network = random_network(
            rng, size=4000, style="conv", channels=(3, 7), side=(5, 7), max_layers=3, steps=(4, 4)
        )
        if len(network.layers) == 3:
            break
    folder = tmp_path_factory.mktemp("build")
    mapping = map_network(network, cores=1, lanes=4)
    write_build(folder, network, mapping)
    for name, trace in ((TOP, False), (TRACED_TOP, True)):
        (folder / name).write_text(generate(mapping.shape, trace=trace))
    return read_build(folder)


def frames_of(build: Build) -> np.ndarray:
    return random_frames(np.random.default_rng(1), build.network, FRAMES)


@pytest.mark.parametrize("backend", ["verilator", "pysim"])
def test_equal(build: Build, backend: str) -> None:
    """The figures add up, and the report is JSON."""
    frames = frames_of(build)[:4]
    report = verify(build, frames, backend=backend, trace_images=2, stalls=0.1)  # type: ignore[arg-type]
    assert report.equal
    assert (report.images, report.traced, report.backend) == (4, 2, backend)
    assert report.clocks.shape == (4,)
    assert sum(report.activity.values()) == report.clocks[:2].sum()
    assert set(report.activity) == {kind.name.lower() for kind in Activity}
    assert 0.2 < report.word_utilisation < 1
    assert 0.1 < report.lane_utilisation < report.word_utilisation
    data = report.to_json()
    assert json.loads(json.dumps(data)) == data
    assert data["mismatch"] is None


def test_lane_updates(build: Build) -> None:
    """Counted by hand for the first layer: every synaptic addition, scan and initialisation."""
    network = replace(build.network, layers=build.network.layers)
    golden = Golden(network).run(frames_of(build))
    neurons = sum(int(np.prod(layer.shape)) for layer in network.layers)
    additions = sum(np.mean(layer) for layer in golden.synaptic_operations)
    expected = additions + neurons * (network.steps + 1)
    assert lane_updates(network, golden) == pytest.approx(expected)


def flipped(build: Build) -> Iterator[tuple[dict[str, MemoryImage], Network]]:
    """Images with one flipped weight bit of lane 0, and the network that they make."""
    image = build.images["weight_0"]
    for word, bit in product(range(image.shape.words), (1, 0, 2)):
        words = list(image.words)
        words[word] ^= 1 << bit
        images = {**build.images, "weight_0": MemoryImage(image.shape, tuple(words))}
        try:
            words = {n: i.words for n, i in images.items()}
            layers = unpack(build.network.layers, build.mapping, words)
            sick = replace(build.network, layers=layers)
        except SpikewrightError:  # the one negative number too many
            continue
        yield images, sick


def test_a_flipped_weight_bit_is_found(build: Build) -> None:
    """The first mismatch is where the golden model of the flipped network first differs."""
    frames = frames_of(build)
    healthy = Golden(build.network).run(frames, trace=True)
    used = 0
    for images, sick in islice(flipped(build), 2, 40, 9):
        expected = first_mismatch(
            healthy.trace or (), Golden(sick).run(frames, trace=True).trace or ()
        )
        report = verify(build, frames, trace_images=FRAMES, images=images)
        assert report.mismatch == expected
        assert report.equal == (expected is None)
        if expected is not None:
            used += 1
            data = report.to_json()["mismatch"]
            assert data["text"] == str(expected)
            assert data["layer"] in [layer.name for layer in build.network.layers]
    assert used >= 2


def test_a_difference_behind_the_traced_images_is_found(
    build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without trace only outputs are compared; the image is counted through all portions."""
    monkeypatch.setattr("spikewright.sim.rtl.verify.PORTION", 1)
    frames = frames_of(build)
    healthy = Golden(build.network).run(frames)
    for images, sick in flipped(build):
        differing = (Golden(sick).run(frames).potentials != healthy.potentials).any(1)
        if differing.any() and not differing[0]:
            report = verify(build, frames, trace_images=0, images=images)
            assert report.mismatch is not None
            assert report.mismatch.quantity == "potential"
            assert report.mismatch.image == differing.argmax()
            return
    pytest.fail("no flipped bit leaves the first image alone")


def test_bad_frames(build: Build) -> None:
    with pytest.raises(SpikewrightError, match=r"^frames: expected shape"):
        verify(build, np.zeros((2, 1, 1, 1), np.uint8))


def test_progress(build: Build) -> None:
    seen: list[float | None] = []
    verify(build, frames_of(build), trace_images=2, progress=lambda _, done: seen.append(done))
    assert seen[0] == 0
    assert len(seen) >= 2


def test_the_hardware_is_loaded_from_the_images(build: Build, tmp_path: Path) -> None:
    """The network given to the simulation lends its geometry only."""
    frames = frames_of(build)[:2]
    empty = replace(
        build.network,
        layers=tuple(
            replace(layer, synapses=tuple(replace(s, weight=0 * s.weight) for s in layer.synapses))
            for layer in build.network.layers
        ),
    )
    got = simulate(build.images, empty, build.mapping, frames, backend="pysim", cache=tmp_path)
    expected = Golden(build.network).run(frames)
    np.testing.assert_array_equal(got.potentials, expected.potentials)
    images = make_images(empty, build.mapping)
    other = simulate(images, build.network, build.mapping, frames, backend="pysim", cache=tmp_path)
    np.testing.assert_array_equal(other.potentials, Golden(empty).run(frames).potentials)
    assert (other.potentials != got.potentials).any()


def changed(build: Build, folder: Path, name: str, change: Callable[[str], str]) -> Sources:
    """The build's Verilog with one file changed."""
    for top in (TOP, TRACED_TOP):
        text = (build.directory / top).read_text()
        (folder / top).write_text(change(text) if top == name else text)
    return Sources.of(replace(build, directory=folder))


@pytest.mark.parametrize("name", [TOP, TRACED_TOP])
def test_garbage_is_no_verilog(build: Build, tmp_path: Path, name: str) -> None:
    sources = changed(build, tmp_path, name, lambda _: "garbage\n")
    with pytest.raises(SpikewrightError, match=rf"{name}: verilator: verilator_bin failed"):
        verify(build, frames_of(build)[:1], sources=sources)
    with pytest.raises(SpikewrightError, match=rf"{name}: is not what the generator gives"):
        verify(build, frames_of(build)[:1], sources=sources, backend="pysim")


def test_a_missing_top_is_said(build: Build, tmp_path: Path) -> None:
    sources = changed(build, tmp_path, TOP, str)
    (tmp_path / TOP).unlink()
    with pytest.raises(SpikewrightError, match=rf"{TOP}: no such file"):
        verify(build, frames_of(build)[:1], sources=sources)


@pytest.mark.parametrize("name", [TOP, TRACED_TOP])
def test_the_verilog_on_disk_is_simulated(build: Build, tmp_path: Path, name: str) -> None:
    """The weights of lane 0 inverted in one file: other membranes, and other outputs."""

    def invert(text: str) -> str:
        inverted, found = re.subn(r"\$signed\((\w+\[4:0\])\) <<", r"$signed(~\1) <<", text)
        assert found == 1
        return inverted

    sources = changed(build, tmp_path, name, invert)
    report = verify(build, frames_of(build)[:1], trace_images=1, sources=sources)
    assert not report.equal
    quantity = report.mismatch.quantity if report.mismatch else ""
    assert (quantity in ("potential", "class")) == (name == TOP)


def test_a_directory_that_cannot_be_written(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    """Simulators are compiled elsewhere."""

    def refuse(**_: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("tempfile.TemporaryFile", refuse)
    before = set((build.directory / "sim").glob("*"))
    assert verify(build, frames_of(build)[:1], trace_images=0).equal
    assert set((build.directory / "sim").glob("*")) == before
