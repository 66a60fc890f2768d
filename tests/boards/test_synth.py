"""The flow with tools that only pretend, for its errors; and once with the real ones."""

import json
import os
import sys
from dataclasses import replace

import pytest
from amaranth.hdl import Elaboratable

from spikewright import boards
from spikewright.boards.synth import find_tool, open_carries, synthesise
from spikewright.errors import SpikewrightError
from tests.support.shapes import small_shape

Elaboratable._MustUse__silence = True

BOARD = boards.get("ulx3s-85f")
SHAPE = small_shape(
    lanes=2,
    steps=2,
    input_steps=2,
    pixel_bits=4,
    membrane_bits=10,
    compare_bits=11,
    current_bits=10,
    shift_max=2,
    frame_words=16,
    program_words=40,
    axis_words=16,
    weight_words=64,
    parameter_words=9,
    membrane_words=16,
    current_words=16,
    spike_words=64,
)

TOOL = """#!{python}
import json, os, signal, sys
from pathlib import Path
if "--version" in sys.argv:
    print("pretended 1.25+7 (of today)")
    raise SystemExit
where = Path(__file__).parent
print("Info: working")
if (where / "{name}.ends").exists():
    os.kill(os.getpid(), signal.SIGTERM)
print("ERROR: out of luck") if (where / "{name}.fails").exists() else None
if "yosys" in "{name}":
    Path("spikewright.json").write_text('{{"modules": {{}}}}')
outputs = {{"--textcfg": "config", "--report": "report.json", "--bit": "bits"}}
for option, file in outputs.items():
    if option in sys.argv and (where / file).exists():
        Path(sys.argv[sys.argv.index(option) + 1]).write_bytes((where / file).read_bytes())
raise SystemExit((where / "{name}.fails").exists())
"""


class Tools:
    """Programs that copy prepared outputs; `fail` makes one of them fail."""

    def __init__(self, folder, monkeypatch):
        self.folder = folder
        for name in ("yosys", "nextpnr-ecp5", "ecppack"):
            program = folder / name
            program.write_text(TOOL.format(python=sys.executable, name=name))
            program.chmod(0o755)
            monkeypatch.setenv(name.replace("-", "_").upper(), str(program))
        (folder / "config").write_text("config")
        (folder / "bits").write_bytes(b"bits")
        self.report(104.5)

    def report(self, fmax):
        hop = {"from": {"cell": "a", "port": "Q"}, "to": {"cell": "b", "port": "D"}}
        path = [
            hop | {"type": "clk-to-q", "delay": 0.5},
            hop | {"type": "routing", "delay": 8.0, "net": "wire"},
            hop | {"type": "setup", "delay": 0.25},
        ]
        edge = "posedge $glbnet$clk"
        cells = {"TRELLIS_COMB": 2001, "TRELLIS_FF": 1500, "DP16KD": 98}
        report = {
            "fmax": {"$glbnet$clk": {"achieved": fmax, "constraint": 80}},
            "utilization": {name: {"used": n, "available": 83640} for name, n in cells.items()},
            "critical_paths": [
                {"from": edge, "to": edge, "path": path},
                {"from": "<async>", "to": edge, "path": [hop | {"type": "routing", "delay": 99}]},
            ],
        }
        (self.folder / "report.json").write_text(json.dumps(report))

    def fail(self, name):
        (self.folder / f"{name}.fails").touch()


@pytest.fixture
def tools(tmp_path, monkeypatch):
    folder = tmp_path / "tools"
    folder.mkdir()
    return Tools(folder, monkeypatch)


@pytest.fixture
def out(tmp_path):
    folder = tmp_path / "out"
    folder.mkdir()
    return folder


def test_report(tools, out):
    labels = []
    report = synthesise(BOARD, SHAPE, {}, out, progress=lambda label, done: labels.append(label))
    assert (out / "ulx3s-85f.bit").read_bytes() == b"bits"
    entry = report.to_json()
    assert entry["fmax_mhz"] == 104.5
    assert entry["clock_mhz"] == BOARD.clock_mhz
    assert entry["resources"]["LUT"] == {"used": 2001, "available": 83640, "share": 2001 / 83640}
    assert entry["critical_path"] == {
        "start": "a",
        "end": "b.D",
        "nanoseconds": 8.75,
        "routing_nanoseconds": 8.0,
        "nets": ("wire",),
    }
    assert set(entry["tools"].values()) == {"1.25+7"}
    assert labels == ["elaborating", "synthesising", "placing and routing", "packing the bitstream"]
    json.dumps(entry)


def carry(carries_in, carries_out, sums, table="00000000"):
    """A cell of a chain."""
    return {
        "type": "CCU2C",
        "parameters": {"INIT0": table + "10101010"},
        "port_directions": {"D0": "input", "S0": "output", "CIN": "input", "COUT": "output"},
        "connections": {"D0": ["1"], "S0": sums, "CIN": carries_in, "COUT": carries_out},
    }


def test_open_carries(tmp_path):
    """The carry that leaves a chain, and one that enters where the chain makes its own."""
    cells = {
        "first": carry(["0"], [2], [3]),
        "last": carry([2], [4], [5], "11110000"),
        "needed": carry(["0"], [6], [7], "11110000"),
        "user": {"type": "LUT4", "port_directions": {"A": "input"}, "connections": {"A": [6]}},
    }
    del cells["first"]["connections"]["CIN"], cells["last"]["connections"]["COUT"]
    netlist = tmp_path / "netlist.json"
    netlist.write_text(json.dumps({"modules": {"top": {"ports": {}, "cells": cells}}}))
    open_carries(netlist)
    made = json.loads(netlist.read_text())["modules"]["top"]["cells"]
    ends = {
        n: (c["connections"]["CIN"], c["connections"]["COUT"])
        for n, c in made.items()
        if n != "user"
    }
    assert ends == {"first": (["x"], [2]), "last": ([2], ["x"]), "needed": (["0"], [6])}


def test_files_for_the_tools(tools, out):
    """Pins, clock, dividers and initial contents reach the tools."""
    synthesise(BOARD, SHAPE, {"weight_0": [0xA5, 0x5A]}, out, clock_hz=90e6)
    constraints = (out / "synth" / "spikewright.lpf").read_text()
    for pin in ("G2", "M1", "L4", "B2", "C2"):
        assert f'SITE "{pin}"' in constraints
    assert "FREQUENCY PORT" in constraints
    netlist = (out / "synth" / "spikewright.il").read_text()
    assert "parameter \\CLKOS_DIV 18" in netlist
    assert "parameter \\CLKOP_DIV 5" in netlist
    assert "1010010101011010" in netlist or "0101101010100101" in netlist
    assert "COLLISION_X_MASK" in (out / "synth" / "spikewright.ys").read_text()


def check_error(match, out, **options):
    (out / "ulx3s-85f.bit").write_bytes(b"of an earlier run")
    with pytest.raises(SpikewrightError, match=match) as caught:
        synthesise(BOARD, SHAPE, {}, out, **options)
    assert "\n" not in str(caught.value)
    assert not (out / "ulx3s-85f.bit").exists()


@pytest.mark.parametrize("name", ["yosys", "ecppack"])
def test_failing_tool(tools, out, name):
    tools.fail(name)
    check_error(rf"^synth: {name} failed: ERROR: out of luck; see .*{name}\.log$", out)


def test_failing_place_and_route(tools, out):
    tools.fail("nextpnr-ecp5")
    check_error(r"^synth: nextpnr failed: ERROR: out of luck; see .*nextpnr\.log$", out)
    (tools.folder / "report.json").unlink()
    check_error(r"^synth: nextpnr failed: ERROR: out of luck; see .*nextpnr\.log$", out)


def test_tool_ended_by_a_signal(tools, out):
    (tools.folder / "nextpnr-ecp5.ends").touch()
    check_error(r"^synth: nextpnr failed: it was ended by SIGTERM; see .*nextpnr\.log$", out)


def test_missed_clock(tools, out):
    tools.report(71.9)
    tools.fail("nextpnr-ecp5")
    check_error(
        r"^synth: reached 71\.9 MHz of the wanted 80 MHz on the ulx3s-85f; choose --clock 71, or "
        r"another seed$",
        out,
        clock_hz=80e6,
    )


def test_clock_that_cannot_be_made(tools, out):
    with pytest.raises(SpikewrightError, match=r"^clock: the PLL cannot make 1 MHz"):
        synthesise(BOARD, SHAPE, {}, out, clock_hz=1e6)


def test_network_that_does_not_fit(tools, out):
    with pytest.raises(SpikewrightError, match="too many"):
        synthesise(BOARD, replace(SHAPE, weight_words=2**22), {}, out)
    assert not list(out.iterdir())


def test_missing_tools(tmp_path, monkeypatch):
    for variable in ("YOSYS", "NEXTPNR_ECP5", "ECPPACK"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    with pytest.raises(
        SpikewrightError,
        match=r'^synth: yosys is not installed; run pip install "spikewright\[synth\]", or name it '
        r"in YOSYS$",
    ):
        find_tool("yosys")
    monkeypatch.setenv("NEXTPNR_ECP5", "/no/such/program")
    with pytest.raises(
        SpikewrightError,
        match=r"^NEXTPNR_ECP5: '/no/such/program' is not a program; correct or unset it$",
    ):
        find_tool("nextpnr-ecp5")


def test_real_tools(out, monkeypatch):
    for variable in ("YOSYS", "NEXTPNR_ECP5", "ECPPACK"):
        monkeypatch.delenv(variable, raising=False)
    try:
        find_tool("nextpnr-ecp5")
    except SpikewrightError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))
    report = synthesise(BOARD, SHAPE, {"weight_0": range(64)}, out, clock_hz=50e6)
    assert report.fmax_mhz >= report.clock_mhz == 50
    assert 1000 < report.resources["LUT"][0] < 5000
    assert report.resources["DP16KD"][0] <= BOARD.block_rams(SHAPE) + 2
    assert (out / "ulx3s-85f.bit").stat().st_size > 10_000
