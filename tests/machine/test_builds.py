"""Builds of the second machine: read back from the images, and refused by name if damaged."""

import collections
import json
import re
import zlib
from dataclasses import replace

import numpy as np
import pytest

from spikewright import SpikewrightError
from spikewright.machine import images as first
from spikewright.machine.builds import NETWORK, image_files, read_build, write_build
from spikewright.machine.choices import Placement
from spikewright.machine.directory import MemoryImage, sealed
from spikewright.machine.memories import make_images
from spikewright.machine.schedule import Schedule
from tests.support.placements import check_equal, large_machine, random_schedule, trimmed
from tests.support.random_networks import random_frames, random_network, reweighted

AGAIN = "compile it again"


def drawn(seed, size=2_000, cores=None):
    """A small random network, as the second machine knows them, on a machine that just holds it."""
    rng = np.random.default_rng(seed)
    network = random_network(
        rng,
        neuron=("if", "burst")[seed % 2],
        size=size,
        membrane_bits=26,
        side=(1, 9),
        groups=1 + (seed % 3 == 0),
        style=(None, "conv")[seed % 5 < 3],
        firing_output=rng.random() < 0.2,
    )
    lanes, fires = int(rng.choice([8, 16])), int(rng.choice([1, 2, 4]))
    machine = large_machine(cores or int(rng.integers(1, 9)), lanes, fires)
    if machine.cores % 2 == 0 and seed % 2:
        machine = replace(machine, lanes=replace(machine.lanes, sharing=2))
    return trimmed(random_schedule(rng, network, machine))


def same(one, other):
    """Whether two networks are equal in all that is read."""
    return (one.input, one.steps, one.input_steps) == (
        other.input,
        other.steps,
        other.input_steps,
    ) and all(
        a.neuron == b.neuron
        and (a.name, a.shape) == (b.name, b.shape)
        and all(np.array_equal(getattr(a, n), getattr(b, n)) for n in NUMBERS)
        and all(
            np.array_equal(s.weight, u.weight) and replace(s, weight=u.weight).shift == u.shift
            for s, u in zip(a.synapses, b.synapses, strict=True)
        )
        for a, b in zip(one.layers, other.layers, strict=True)
    )


NUMBERS = ("threshold", "bias", "initial", "unit")


def traits(schedule):
    """What makes numbers hard to find."""
    yield schedule.layers[-1].send.name
    for layer in schedule.layers:
        place = layer.placement
        yield layer.layer.neuron.model.value
        yield from (
            name
            for name, there in {
                "positions": place.positions > 1,
                "windows summed on read": any(
                    r.weight.shape != s.weight.shape
                    for r, s in zip(layer.readings, layer.layer.synapses, strict=True)
                ),
                "idle lanes": layer.groups * layer.pitch > layer.layer.shape[0],
                "groups dealt": layer.placement.group_shares > 1,
                "weights twice": layer.placement.tile_shares > 1,
                "weights shared": layer.machine.lanes.sharing == 2,
                "several sources": len(layer.readings) > 1,
                "several blocks": layer.readings[0].map.blocks > 1,
                "idle cores": any(layer.share(c).idle for c in range(layer.machine.cores)),
            }.items()
            if there
        )


def test_round_trip(tmp_path):
    """Directories of random schedules give back network, placement, images and files."""
    seen = collections.Counter()
    for seed in range(60):
        schedule = drawn(seed)
        folder = tmp_path / f"{seed}"
        folder.mkdir()
        build = write_build(folder, schedule, about={"note": seed}, files={"top.v": "module;\n"})
        read = read_build(folder)
        assert same(read.network, schedule.network), seed
        assert (read.images, read.about, read.crc32) == (build.images, build.about, build.crc32)
        assert (read.schedule.machine, read.schedule.placement) == (
            schedule.machine,
            schedule.placement,
        )
        assert read.text("top.v") == "module;\n"
        assert read.float_network is None
        seen.update(set(traits(schedule)))
        if seed % 6 < 2:  # memories of odd depths: addresses wrap at powers of two
            frames = random_frames(np.random.default_rng(seed), read.network, 1)
            check_equal(read.schedule, frames, read.images)
    assert len(seen) == 14, seen
    assert min(seen.values()) >= 3, seen


def test_other_numbers_are_other_words_alone(tmp_path):
    """The header has no numbers of the network: other images beside it are another network."""
    rng = np.random.default_rng(1)
    for seed in (2, 3, 5, 8):
        schedule = drawn(seed)
        folder = tmp_path / f"{seed}"
        folder.mkdir()
        write_build(folder, schedule)
        network = reweighted(rng, schedule.network)
        other = Schedule(network, schedule.machine, schedule.placement)
        try:
            images = make_images(other)
        except SpikewrightError:
            continue
        for name, image in image_files(other.machine, images).items():
            (folder / f"{name}.mem").write_text(image.to_mem())
        header = json.loads((folder / NETWORK).read_text())
        fit(folder)
        read = read_build(folder)
        assert same(read.network, replace_units(network, schedule.network))
        assert read.images == images
        assert random_frames(rng, read.network, 1).shape[1:] == network.input.shape
        after = json.loads((folder / NETWORK).read_text())
        assert {n: v for n, v in header.items() if n not in ("crc32", "checksum")} == {
            n: v for n, v in after.items() if n not in ("crc32", "checksum")
        }


def replace_units(network, other):
    """`network` with the units of `other`, which stand in the header."""
    layers = (
        replace(layer, unit=old.unit)
        for layer, old in zip(network.layers, other.layers, strict=True)
    )
    return replace(network, layers=tuple(layers))


# --------------------------------------------------------------------------------------- corruption


def fit(folder, change=lambda header: None):
    """Make every CRC fit the files as they are."""
    header = json.loads((folder / NETWORK).read_text())
    for name in header["crc32"]:
        if (folder / name).exists():
            header["crc32"][name] = f"{zlib.crc32((folder / name).read_bytes()):08x}"
    change(header)
    (folder / NETWORK).write_text(json.dumps(sealed(header)))


def put(folder, images, name, words):
    """Write other words of a memory, with checksums that fit."""
    (folder / f"{name}.mem").write_text(MemoryImage(images[name].shape, tuple(words)).to_mem())
    fit(folder)


@pytest.mark.parametrize("seed", [0, 3, 10])
def test_flipped_bits(tmp_path, seed):
    """With CRCs made to fit: refused by file and line, or another network with just these words."""
    schedule = drawn(seed, 400, 2)
    write_build(tmp_path, schedule)
    images = image_files(schedule.machine, make_images(schedule))
    rng = np.random.default_rng(seed)
    endings = collections.Counter()
    for name, image in images.items():
        for line in rng.permutation(image.shape.words)[:40]:
            bit = int(rng.integers(image.shape.width))
            words = list(image.words)
            words[line] ^= 1 << bit
            put(tmp_path, images, name, words)
            kind = name.split("_")[0]
            try:
                read = read_build(tmp_path)
            except SpikewrightError as error:
                message = str(error)
                endings[kind, "refused"] += 1
                assert "\n" not in message
                assert message.endswith(AGAIN)
                at = re.match(
                    re.escape(str(tmp_path)) + r"/(\S+)\.mem, line \d+: does not", message
                )
                if kind in ("program", "axis"):
                    assert f"{name}.mem, line {line + 1}: " in message
                elif at:  # of a number that stands in several places, any
                    assert at[1].split("_")[0] == kind
                else:  # a number that no network may have
                    assert message.startswith(str(tmp_path / NETWORK))
            else:
                endings[kind, "accepted"] += 1
                assert not same(read.network, schedule.network)
                assert image_files(schedule.machine, read.images)[name].words == tuple(words)
        put(tmp_path, images, name, image.words)
    assert same(read_build(tmp_path).network, schedule.network)
    assert not endings["program", "accepted"] + endings["axis", "accepted"]
    for kind in ("weights", "parameters"):
        assert endings[kind, "refused"] > 2, endings
    assert endings["weights", "accepted"] + endings["parameters", "accepted"] > 5, endings


def test_every_bit_of_program_and_axes_is_compared(tmp_path):
    """No word of them is a number of the network."""
    schedule = drawn(4, 300, 2)
    write_build(tmp_path, schedule)
    images = image_files(schedule.machine, make_images(schedule))
    rng = np.random.default_rng(0)
    for name in ("program", "axis"):
        for line, word in enumerate(images[name].words):
            words = list(images[name].words)
            words[line] = word ^ 1 << int(rng.integers(images[name].shape.width))
            put(tmp_path, images, name, words)
            with pytest.raises(SpikewrightError, match=rf"{name}.mem, line {line + 1}: does not"):
                read_build(tmp_path)
        put(tmp_path, images, name, images[name].words)


def test_planted_faults(tmp_path):
    """What a faulty packer could have made: a copy that differs, an idle lane that is not idle."""
    schedule = next(filter(has_a_copy, (drawn(seed, 800, 4) for seed in range(0, 200, 2))))
    images = image_files(schedule.machine, make_images(schedule))
    write_build(tmp_path, schedule)
    for fault in (other_threshold, other_copy, busy_lane, behind_the_last):
        name, words, line = fault(schedule, images)
        put(tmp_path, images, name, words)
        with pytest.raises(SpikewrightError, match=rf"/{name}.mem, line {line}: does not match"):
            read_build(tmp_path)
        put(tmp_path, images, name, images[name].words)
    read_build(tmp_path)


def has_a_copy(schedule):
    """Whether two cores have the first layer's first group, and lanes are left."""
    layer = schedule.layers[0]
    shares = [layer.share(core) for core in (0, 1)]
    return (
        not any(share.idle for share in shares)
        and layer.share(1).first_group == layer.share(0).first_group == 0
        and layer.pitch * layer.placement.positions < schedule.machine.lanes.count
    )


def other_threshold(schedule, images):
    """The threshold with the first drive is another than that with the bias."""
    words = list(images["parameters_0_0"].words)
    words[1] ^= 1
    return "parameters_0_0", words, 2


def other_copy(schedule, images):
    """A core has weights of its own of a group that another core has too."""
    words = list(images["weights_1"].words)
    words[0] ^= 1
    return "weights_1", words, 1


def busy_lane(schedule, images):
    """A lane beyond all positions has a weight."""
    lanes = schedule.machine.lanes
    words = list(images["weights_0"].words)
    words[0] |= 1 << lanes.count * lanes.weight_bits - 1
    return "weights_0", words, 1


def behind_the_last(schedule, images):
    """A word that no layer uses."""
    words = list(images["weights_2"].words)
    words[-1] = 1
    return "weights_2", words, len(words)


# ------------------------------------------------------------------------------------------- header


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """The files of a sound build, by name."""
    folder = tmp_path_factory.mktemp("sound")
    write_build(folder, drawn(4, 300, 2), about={"note": 1}, files={"top.v": "module top;\n"})
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def folder(tmp_path, sound):
    for name, data in sound.items():
        (tmp_path / name).write_bytes(data)
    return tmp_path


def test_files_of_the_build_are_covered(folder, sound):
    for name, data in sound.items():
        for damaged in (data[:-3] + b"x\n", data[: len(data) // 2], data * 2, b"", data + b"0\n"):
            (folder / name).write_bytes(damaged)
            with pytest.raises(SpikewrightError, match=name) as error:
                read_build(folder)
            assert "\n" not in str(error.value)
        (folder / name).unlink()
        with pytest.raises(SpikewrightError, match=f"{name}: no such file"):
            read_build(folder)
        (folder / name).write_bytes(data)
    read_build(folder)
    with pytest.raises(SpikewrightError, match=r"eval.json: is no file of the build"):
        read_build(folder).text("eval.json")


@pytest.mark.parametrize(
    ("where", "value", "message"),
    [
        ("schema", 3, "schema version 3 is of an older release; compile it again"),
        ("schema", 5, "schema version 5 is newer"),
        ("kind", "float", "kind"),
        ("extra", 1, "'extra' is no field"),
        ("about", 3, "about"),
        ("crc32", {"../x.v": "0"}, "is no file of ours"),
        ("network.steps", 10**9, "network"),
        ("network.steps", True, "expected int, got bool"),
        ("network.weight_bits", 9, "9-bit weights"),
        ("network.layers", [], "has no layers"),
        ("network.input.bits", 9, "9 bits a pixel"),
        ("network.input.code", "isi", "the cores have no isi code yet"),
        ("network.input.mean", None, "mean"),
        ("network.layers.0.synapses.0.weight", [2**24, 2**24, 1, 1], "more than"),
        ("network.layers.0.synapses.0.weight", [3], "weights of shape"),
        ("network.layers.0.synapses.0.shift", 16, "shift 16 is outside 0..15"),
        ("network.layers.0.synapses.0.pool.kind", "max", "max pooling takes neurons of its own"),
        ("machine.cores", 0, "0 cores"),
        ("machine.cores", 10**9, "int <= 256"),
        ("machine.cores", -1, "int >= 0"),
        ("machine.walker.axis_entries", 2**40, "int <= 65536"),
        ("machine.walker.sources", 0, "sources is 0"),
        ("machine.spikes.words", 2**31, "int <= 65536"),
        ("machine.spikes.words", 24, "power of two"),
        ("machine.lanes.count", 10**6, "int <= 1024"),
        ("machine.lanes.count", 0, "count is 0"),
        ("machine.lanes.accumulator_bits", 1000, "int <= 48"),
        ("machine.lanes.accumulator_bits", 9, "its current may reach"),
        ("machine.fire.membrane_bits", 64, "int <= 48"),
        ("machine.fire.burst_levels", 10**9, "int <= 256"),
        ("machine.fire.models", ["hpc"], "hpc neurons are not in the cores yet"),
        ("machine.fire.models", ["burst"], "its neurons are not in the cores"),
        ("machine.fire.models", ["magic"], "enum value 'magic'"),
        ("machine.pool.depth", 10**6, "int <= 65536"),
        ("machine.router.address_bits", 100, "int <= 24"),
        ("machine.outputs", 1, "more than 1 outputs"),
        ("machine.extra", 1, "'extra' is no field"),
        ("placement.layers", [], "placement: of 0 layers"),
        ("placement.layers.0.channels", 0, "int >= 1"),
        ("placement.layers.0.channels", 37, "int <= 36"),
        ("placement.layers.0.windows", 10**9, "int <= 65536"),
        ("placement.layers.0.windows", 60000, "an item needs more lanes"),
        ("placement.layers.0.pool", [60000, 60000], "its windows are larger than its map"),
        ("placement.layers.0.members", [0, 1], "int >= 1"),
        ("placement.layers.0.members", [7, 1], "windows"),
        ("placement.layers.0.tile_shares", 32, "more parts than cores"),
        ("placement.layers.0.word", 36, "a word holds more than 36 values"),
        ("placement.frame_columns", 36, "columns do not fit a word"),
        ("placement.frame_columns", 0, "int >= 1"),
        ("placement.frame_margin", 10**9, "int <= 65536"),
        ("placement.layers.0.cuts", [-1], "int >= 0"),
        ("placement.layers.0.cuts", [0] * 99, "length <= 32"),
        ("placement.layers.0.cuts", [0], "its runs are not all tiles"),
    ],
)
def test_header(folder, where, value, message):
    """What the header says must be possible; each is refused in one line."""

    def change(header):
        *path, last = where.split(".")
        for name in path:
            header = header[int(name) if name.isdigit() else name]
        header[last] = value

    fit(folder, change)
    with pytest.raises(SpikewrightError, match=re.escape(message)) as error:
        read_build(folder)
    assert str(error.value).startswith(str(folder / NETWORK))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("where", "step"),
    [
        ("network.steps", 1),
        ("network.input_steps", -1),
        ("network.layers.0.neuron.tie", "holds"),
        ("network.layers.0.neuron.reset", "zero"),
        ("network.layers.0.synapses.0.shift", 1),
        ("network.input.bits", -1),
        ("placement.frame_columns", 1),
        ("placement.frame_margin", 1),
        ("placement.layers.0.group_shares", 1),
        ("placement.layers.0.tile_shares", 1),
        ("placement.layers.0.word", 1),
        ("placement.layers.0.windows", 1),
        ("placement.layers.0.pool", [2, 1]),
        ("machine.lanes.weight_rows", 1),
        ("machine.fire.parameter_rows", 1),
        ("machine.program_words", -1),
        ("machine.walker.axis_entries", 1),
        ("machine.walker.passes", 100),
        ("machine.walker.sources", 100),
        ("machine.fire.count", 2),
        ("machine.lanes.count", 8),
        ("machine.lanes.weight_bits", -1),
        ("machine.cores", 2),
        ("machine.fire.threshold_bits", -1),
        ("machine.fire.drive_bits", -1),
        ("machine.router.address_bits", 1),
        ("machine.spikes.words", 2**14),
    ],
)
def test_the_header_is_compared_with_the_images(folder, where, step):
    """Other choices are other words, or other sizes: refused, with the file that does not fit."""

    def change(header):
        *path, last = where.split(".")
        for name in path:
            header = header[int(name) if name.isdigit() else name]
        before = header[last]
        header[last] = before + step if isinstance(step, int) and step < 2**14 else step
        assert header[last] != before

    fit(folder, change)
    with pytest.raises(SpikewrightError) as error:
        read_build(folder)
    assert str(error.value).startswith(str(folder))
    assert "\n" not in str(error.value)
    assert re.search("compile (it )?again|no such file", str(error.value))


def test_an_unsealed_change_is_found(folder):
    text = (folder / NETWORK).read_text()
    (folder / NETWORK).write_text(text.replace('"note": 1', '"note": 2'))
    with pytest.raises(SpikewrightError, match="changed or damaged"):
        read_build(folder)


def test_a_memory_that_the_machine_does_not_have(folder):
    fit(folder, lambda header: header["crc32"].update({"weights_9.mem": "0"}))
    with pytest.raises(SpikewrightError, match=r"weights_9.mem is no memory of the machine"):
        read_build(folder)


def test_the_other_machines_reader_says_so(folder):
    with pytest.raises(SpikewrightError, match="schema version 4 is newer"):
        first.read_build(folder)


def test_large_kernels_are_refused_before_they_are_made(folder):
    """A weight for each place of a large window would take all memory."""

    def change(header):
        header["network"]["input"]["shape"] = [1, 4096, 4096]
        header["network"]["input"] |= {"scale": [1.0], "mean": [0.0]}
        layer = header["network"]["layers"][0]
        layer["shape"] = [1, 1, 1]
        layer["synapses"] = [
            layer["synapses"][0]
            | {
                "source": -1,
                "weight": [1, 1, 401, 401],
                "padding": [200, 200],
                "stride": [1, 1],
                "pool": {"size": [4096, 4096], "kind": "average"},
            }
        ]
        for name in ("threshold", "bias", "initial"):
            layer[name] = [1]
        layer["unit"] = [1.0]
        header["network"]["layers"] = [
            layer | {"neuron": header["network"]["layers"][-1]["neuron"]}
        ]
        header["placement"]["layers"] = header["placement"]["layers"][:1]

    fit(folder, change)
    with pytest.raises(SpikewrightError, match="weight memory: needs 2697793110016 words or more"):
        read_build(folder)


def test_a_placement_is_checked_as_it_is_made():
    schedule = drawn(4, 300, 2)
    layers = schedule.placement.layers
    with pytest.raises(SpikewrightError, match="placement: channels 0"):
        replace(layers[0], channels=0)
    with pytest.raises(SpikewrightError, match="of 1 layers, the network has"):
        Schedule(schedule.network, schedule.machine, Placement(layers[:1]))
