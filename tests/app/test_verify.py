"""Verification: what it compares, and what it refuses."""

import json
from dataclasses import replace

import pytest

from spikewright.machine.images import read_build, write_build
from tests.app.commands import refused, run


def test_flipped_bit(out, work, capsys):
    image = out / "weight_0.mem"
    text = image.read_text()
    image.write_text(("1" if text[0] == "0" else "0") + text[1:])
    refused(["verify", str(out)], capsys, "weight_0.mem", "CRC-32")


def test_flipped_bit_on_the_hardware_side(out, work, capsys):
    """With all that is checked made to fit, and only the hardware loaded so: the first difference
    is named."""
    other = work / "flipped"
    other.mkdir()
    build = read_build(out)
    layer, *rest = build.network.layers
    weight = layer.synapses[0].weight.copy()
    weight[0, 0, 0, 0] ^= 2  # lane 0 of the first weight word
    synapses = (replace(layer.synapses[0], weight=weight),)
    flipped = replace(build.network, layers=(replace(layer, synapses=synapses), *rest))
    files = {name: build.text(name) for name in ("top.v", "top_trace.v", "top.json")}
    write_build(other, flipped, build.mapping, files=files)
    words = ["verify", str(out), "--images", "2", "--sim", "pysim"]
    status, output, errors = run([*words, "--rtl", str(other)], capsys)
    assert (status, errors) == (1, [])
    assert "NOT EQUAL: first mismatch: image 0, layer" in output
    assert "channel 0, y " in output
    assert ", step 1: membrane expected " in output
    assert run(words, capsys)[0] == 0


def test_other_schemas(out, work, capsys):
    path = out / "network.json"
    header = json.loads(path.read_text())
    path.write_text(json.dumps(header | {"schema": header["schema"] + 2}))
    refused(["verify", str(out)], capsys, "network.json", "schema version", "newer", "upgrade")
    path.write_text(json.dumps(header | {"schema": header["schema"] - 1}))
    refused(["verify", str(out)], capsys, "network.json", "schema version", "older", "compile")


def test_too_few_frames(out, work, built, capsys):
    words = ["verify", str(out), "--data", str(built / "data.npz"), "--images", "21"]
    refused(words, capsys, "data.npz", "holds 20 images, 21 were asked for")


def test_missing_compiler(out, work, capsys, monkeypatch):
    monkeypatch.setenv("PATH", str(work))
    monkeypatch.delenv("CXX", raising=False)
    refused(["verify", str(out), "--images", "1"], capsys, "g++")


@pytest.mark.parametrize("sim", ["pysim", "verilator"])
def test_verify(sim, out, capsys):
    words = ["verify", str(out), "--images", "2", "--trace-images", "1", "--sim", sim, "--json"]
    status, output, _ = run(words, capsys)
    assert status == 0
    result = json.loads(output)
    assert (result["equal"], result["images"], result["traced"]) == (True, 2, 1)
    assert "sample frames" in result["frames"]
