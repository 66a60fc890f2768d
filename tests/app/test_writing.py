"""What compile writes: a burst network from a module to the second machine, as a user has it."""

import json
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest

import spikewright
from spikewright.app.cli import main
from spikewright.machine import builds
from tests.app.commands import NETS, SHAPE, refused, run

BURST = ["compile", "nets.py:averaging", *SHAPE, "--neuron", "burst", "-T", "1"]


@pytest.fixture(scope="module")
def burst(tmp_path_factory):
    """A folder with a verified build, and data."""
    folder = tmp_path_factory.mktemp("burst")
    (folder / "nets.py").write_text(NETS)
    x = np.random.default_rng(0).integers(256, size=(20, 1, 10, 10), dtype=np.uint8)
    np.savez(folder / "data.npz", x=x, y=np.arange(20) % 4)
    words = [BURST[0], f"{folder}/{BURST[1]}", *BURST[2:], "--data", f"{folder}/data.npz"]
    words += ["--board", "none", "--lanes", "8", "--cores", "2", "-o", f"{folder}/out"]
    assert main(words) == 0
    images = ["--images", "2", "--trace-images", "1", "--stalls", "0.2"]
    assert main(["verify", f"{folder}/out", *images]) == 0
    return folder


@pytest.fixture
def second(burst, tmp_path):
    """A fresh copy of the build, with its simulators."""
    return shutil.copytree(burst / "out", tmp_path / "out")


def changed(build, folder, network=None, **texts):
    """Another build whose checksums fit: of another network, or with other files."""
    files = {name: build.text(name) for name in ("top.v", "top_trace.v", "top.json")}
    files |= {name.replace("__", "."): text for name, text in texts.items()}
    schedule = build.schedule
    if network is not None:
        schedule = type(schedule)(network, schedule.machine, schedule.placement)
    folder.mkdir(exist_ok=True)
    builds.write_build(folder, schedule, about=build.about, files=files)


def test_the_build(second):
    names = {path.name for path in second.iterdir()}
    for name in ("top.v", "top_trace.v", "top.json", "float.npz", "expected.npz", "report.html"):
        assert name in names
    build = builds.read_build(second)
    assert (build.schedule.machine.cores, build.schedule.machine.lanes.count) == (2, 8)
    top = json.loads((second / "top.json").read_text())
    text = (second / "top.v").read_text()
    assert f"module {top['module']}(" in text
    for port, about in top["ports"].items():
        width = "" if about["width"] == 1 else rf"\[{about['width'] - 1}:0\] "
        assert re.search(rf"^  {about['direction']} {width}{port};", text, re.MULTILINE), port


def test_it_is_verified(second):
    result = json.loads((second / "verify.json").read_text())
    assert (result["equal"], result["images"], result["traced"]) == (True, 2, 1)
    assert result["clocks"]["min"] > 0
    assert result["loading_clocks"] > 0
    assert "sample frames" in result["frames"]


def test_it_is_evaluated_and_reported(second, burst, work, capsys):
    words = ["eval", str(second), "--data", str(burst / "data.npz"), "--json"]
    status, output, _ = run(words, capsys)
    assert status == 0
    assert set(json.loads(output)["accuracy"]) == {"ann", "float_snn", "integer_snn"}
    facts = spikewright.report(second)
    assert facts["build"]["model"]["neurons"].startswith("burst (the quantised ANN in one step)")
    machine = facts["machine"]
    assert [layer["name"] for layer in machine["layers"]] == ["0", "4"]
    assert machine["reason"].startswith("2 cores of 8 lanes, ")
    predicted = sum(sum(layer.values()) for layer in machine["clocks"])
    assert machine["rate"]["predicted_clocks"] == pytest.approx(predicted)
    assert machine["block_rams"] == sum(memory["block_rams"] for memory in facts["memories"])
    page = (second / "report.html").read_text()
    for fragment in ("Predicted clocks", "Where the layers are", "block RAMs", "on the line"):
        assert fragment in page


def test_a_weight_changed_on_the_hardware_side(second, work, capsys):
    build = builds.read_build(second)
    layer, *rest = build.network.layers
    weight = layer.synapses[0].weight.copy()
    weight[1, 0, 1, 1] ^= 2
    layer = replace(layer, synapses=(replace(layer.synapses[0], weight=weight),))
    changed(build, work / "other", replace(build.network, layers=(layer, *rest)))
    words = ["verify", str(second), "--images", "2", "--trace-images", "1", "--rtl", "other"]
    status, output, errors = run(words, capsys)
    assert (status, errors) == (1, [])
    assert "NOT EQUAL: first mismatch: image 0, layer 0, channel 1, y " in output
    assert re.search(r"step 1: (spike|membrane) expected -?\d+, got", output)


def test_a_flipped_bit_of_an_image(second, work, capsys):
    image = second / "weights_0.mem"
    text = image.read_text()
    image.write_text(("1" if text[0] == "0" else "0") + text[1:])
    refused(["verify", str(second)], capsys, "weights_0.mem", "CRC-32", "compile it again")


@pytest.mark.parametrize("name", ["top.v", "top_trace.v"])
def test_garbage_is_refused(second, work, capsys, name):
    (second / name).write_text("garbage\n")
    refused(["verify", str(second), "--images", "1"], capsys, name, "CRC-32", "compile it again")


def test_garbage_is_no_verilog(second, work, capsys):
    changed(builds.read_build(second), second, top__v="garbage\n")
    words = ["verify", str(second), "--images", "1", "--trace-images", "0"]
    refused(words, capsys, "top.v: verilator: verilator_bin failed")


def test_a_fault_in_the_verilog(second, work, capsys):
    """Fire units that subtract the current: other outputs."""
    build = builds.read_build(second)
    wrong, found = re.subn(
        r"(\$signed\(potential\)) \+ (\$signed\(shifted\))", r"\1 - \2", build.text("top.v")
    )
    assert found >= 1
    changed(build, second, top__v=wrong)
    words = ["verify", str(second), "--images", "1", "--trace-images", "0"]
    status, output, _ = run(words, capsys)
    assert status == 1
    assert "NOT EQUAL: first mismatch: image 0, layer 4, channel " in output
    assert "step 1: potential expected " in output


def test_what_the_second_machine_has_not(second, work, capsys):
    refused(["synth", str(second)], capsys, "second machine", "boards")
    refused(["verify", str(second), "--sim", "pysim"], capsys, "second machine", "verilator")


@pytest.mark.parametrize(
    ("words", "fragments"),
    [
        (["--lanes", "10", "--fire-units", "4"], ("10 lanes", "4 fire units")),
        (["--neuron", "if", "--fire-units", "2"], ("fire units", "second machine")),
        (["-T", "2"], ("T is 2", "burst")),
        (["--board", "ulx3s-85f", "--cores", "32", "--lanes", "64"], ("not even one core fits",)),
    ],
)
def test_refused(words, fragments, work, capsys):
    refused([*BURST, "--board", "none", *words], capsys, *fragments)


def test_a_machine_for_the_board(work, capsys):
    words = ["--fire-units", "1", "--cores", "2"]
    status, output, _ = run([*BURST, *words, "-o", "out"], capsys)
    assert status == 0
    assert "machine: " in output
    assert "of 208 block RAMs" in output
    machine = builds.read_build("out").schedule.machine
    assert (machine.cores, machine.fire.count) == (2, 1)
    facts = json.loads((work / "out" / "report.json").read_text())
    assert facts["machine"]["rate"]["link_images_per_second"] > 0
    assert facts["machine"]["rate"]["computed_images_per_second"] > 0
