"""Builds: written, read, and refused by name whatever does not follow from the network."""

import json
import re
import shutil
import zlib

import numpy as np
import pytest

from spikewright import SpikewrightError
from spikewright.machine.images import NETWORK, MemoryImage, make_images, read_build, sealed
from spikewright.machine.images import write_build as write
from spikewright.machine.placement import place
from spikewright.machine.unpacking import unpack
from tests.support.random_networks import random_network

NUMBERS = ("threshold", "bias", "initial", "unit")


def same(one, other):
    return all(
        a.neuron == b.neuron
        and np.array_equal(a.synapses[0].weight, b.synapses[0].weight)
        and all(np.array_equal(getattr(a, n), getattr(b, n)) for n in NUMBERS)
        for a, b in zip(one.layers, other.layers, strict=True)
    )


def made(folder, seed=3, size=400):
    network = random_network(np.random.default_rng(seed), size=size)
    mapping = place(network, 2, 4)
    return write(folder, network, mapping, about={"note": 1}, files={"top.v": "module top;\n"})


@pytest.mark.parametrize("seed", range(8))
def test_round_trip(tmp_path, seed):
    build = made(tmp_path, seed, 1500)
    read = read_build(tmp_path)
    assert (read.mapping, read.images, read.about) == (build.mapping, build.images, build.about)
    assert same(read.network, build.network)
    assert read.text("top.v") == "module top;\n"
    assert read.float_network is None


def fit(folder, change=lambda header: None):
    """Make every CRC fit the files as they are."""
    header = json.loads((folder / NETWORK).read_text())
    for name in header["crc32"]:
        if (folder / name).exists():
            header["crc32"][name] = f"{zlib.crc32((folder / name).read_bytes()):08x}"
    change(header)
    (folder / NETWORK).write_text(json.dumps(sealed(header)))


def free_words(build):
    """Bits of every word that hold a number of the network, by memory name: masks."""
    free = {}
    network, mapping = build.network, build.mapping
    for name, image in build.images.items():
        free[name] = [0] * len(image.words)
    shape = mapping.shape
    for layer, where in zip(network.layers, mapping.layers, strict=True):
        taps = int(np.prod(layer.synapses[0].weight.shape[1:]))
        for core in range(shape.cores):
            for group in range(where.groups[core]):
                channels = layer.shape[0] - (where.first_group[core] + group) * shape.lanes
                lanes = max(0, min(shape.lanes, channels))
                base = where.weight_base[core] + group * taps
                for word in range(base, base + taps):
                    free[f"weight_{core}"][word] = (1 << lanes * shape.weight_bits) - 1
                mask = (1 << lanes * shape.compare_bits) - 1
                base, count = where.parameter_base[core], where.groups[core]
                scan = base + count
                last = scan + (where.passes - 1) * count * shape.rows
                for row in (base + group, scan + group * shape.rows, last + group * shape.rows + 1):
                    free[f"parameter_{core}"][row] = mask
    return free


def test_every_determined_word_is_compared(tmp_path):
    """With the CRCs made to fit, a changed word is refused by name, or is a number of its own."""
    build = made(tmp_path)
    free = free_words(build)
    rng = np.random.default_rng(1)
    refused = []
    for name, image in build.images.items():
        file = tmp_path / f"{name}.mem"
        sound = file.read_text()
        for place_, word in enumerate(image.words):
            bit = int(rng.integers(image.shape.width))
            words = list(image.words)
            words[place_] = word ^ 1 << bit
            file.write_text(MemoryImage(image.shape, tuple(words)).to_mem())
            fit(tmp_path)
            determined = not free[name][place_] >> bit & 1
            try:
                changed = read_build(tmp_path)
            except SpikewrightError as error:
                refused.append((f"{name}.mem, line {place_ + 1}: ", str(error)))
            else:
                assert not determined, (name, place_, bit)
                assert not same(changed.network, build.network)
        file.write_text(sound)
    fit(tmp_path)
    assert len(refused) > 50
    for where, message in refused:
        assert where in message or f"{NETWORK}: " in message
        assert "compile it again" in message
    assert same(read_build(tmp_path).network, build.network)


def test_files_of_the_build_are_covered(tmp_path):
    made(tmp_path)
    sound = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    for name, data in sound.items():
        (tmp_path / name).write_bytes(data[:-3] + b"x\n")
        with pytest.raises(SpikewrightError, match=name):
            read_build(tmp_path)
        (tmp_path / name).unlink()
        with pytest.raises(SpikewrightError, match=f"{name}: no such file"):
            read_build(tmp_path)
        (tmp_path / name).write_bytes(data)
    read_build(tmp_path)
    with pytest.raises(SpikewrightError, match=r"eval.json: is no file of the build"):
        read_build(tmp_path).text("eval.json")


@pytest.mark.parametrize(
    ("where", "value", "message"),
    [
        ("schema", 2, "schema version 2 is of an older release; compile it again"),
        ("schema", 4, "schema version 4 is newer"),
        ("kind", "float", "kind"),
        ("extra", 1, "'extra' is no field"),
        ("about", 3, "about"),
        ("potential_ranges", [], "potential_ranges is"),
        ("crc32", {"../x.v": "0"}, "is no file of ours"),
        ("network.steps", 10**9, "network"),
        ("network.steps", True, "expected int, got bool"),
        ("network.weight_bits", 9, "9-bit weights"),
        ("network.layers", [], "number of layers"),
        ("network.input.bits", 9, "9 bits a pixel"),
        ("network.input.code", "morse", "enum value 'morse'"),
        ("network.input.mean", None, "mean"),
        ("network.layers.0.name", "", "length >= 1"),
        ("network.layers.0.synapses.0.weight", [2**24, 2**24, 1, 1], "more than"),
        ("network.layers.0.synapses.0.weight", [3], "weights of shape"),
        ("mapping.shape.spike_words", 1, "mapping.shape.spike_words is 1, the network"),
        ("mapping.shape.outputs", 99, "mapping.shape.outputs is 99"),
        ("mapping.shape.code", "morse", "mapping.shape.code is morse"),
        ("mapping.shape.steps", 77, "mapping.shape.steps is 77"),
        ("mapping.shape.cores", 3, "does not lie on 3 cores"),
        ("mapping.shape.lanes", 0, "0 lanes"),
        ("mapping.layers.0.final_passes", 10**6, "int <= 63"),
        ("mapping.layers.0.passes", 0, "int >= 1"),
        ("mapping.layers.0.axis_y", 1, "mapping.layers"),
        ("mapping.layers.0.spike_base", [1, 1], "mapping.layers"),
    ],
)
def test_header(tmp_path, where, value, message):
    """Whatever the header says of the network must be what the network says."""
    made(tmp_path)

    def change(header):
        *path, last = where.split(".")
        for name in path:
            header = header[int(name) if name.isdigit() else name]
        header[last] = value

    fit(tmp_path, change)
    with pytest.raises(SpikewrightError, match=re.escape(message)) as error:
        read_build(tmp_path)
    assert str(error.value).startswith(str(tmp_path / NETWORK))
    assert "\n" not in str(error.value)


def test_a_width_that_does_not_fit(tmp_path):
    """Fewer membrane words would be shorter addresses: the tables that hold them are too wide."""
    made(tmp_path)
    fit(tmp_path, lambda header: header["mapping"]["shape"].update(membrane_words=1))
    with pytest.raises(SpikewrightError, match=r"axis.mem: axis: a word is wider than"):
        read_build(tmp_path)


def test_an_unsealed_change_is_found(tmp_path):
    made(tmp_path)
    text = (tmp_path / NETWORK).read_text()
    (tmp_path / NETWORK).write_text(text.replace('"note": 1', '"note": 2'))
    with pytest.raises(SpikewrightError, match="changed or damaged"):
        read_build(tmp_path)
    shutil.rmtree(tmp_path)


def test_images_hold_the_numbers(tmp_path):
    network = random_network(np.random.default_rng(5), size=600)
    mapping = place(network, 3, 2)
    words = {name: image.words for name, image in make_images(network, mapping).items()}
    layers = unpack(network.layers, mapping, words)
    for layer, other in zip(layers, network.layers, strict=True):
        assert np.array_equal(layer.threshold, other.threshold)
        assert np.array_equal(layer.synapses[0].weight, other.synapses[0].weight)
