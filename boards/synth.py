"""From an accelerator to a bitstream with open tools: Yosys, nextpnr, Project Trellis.

The tools are the WebAssembly builds from PyPI, or whatever YOSYS, NEXTPNR_ECP5 and ECPPACK name.
They see little more than the folder they run in: they get plain file names, in a folder of their
own.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from spikewright.boards.board import Board
from spikewright.errors import SpikewrightError
from spikewright.files import write_bytes
from spikewright.machine.hardware import HardwareShape

__all__ = ["CriticalPath", "SynthReport", "find_tool", "synthesise"]

NAME = "spikewright"
RESOURCES = {"LUT": "TRELLIS_COMB", "FF": "TRELLIS_FF", "DP16KD": "DP16KD"}
"""What is reported, and how nextpnr calls it."""

NO_RW_CHECK = "setparam -set COLLISION_X_MASK 1'1 t:$memrd_v2 r:CLK_ENABLE=1 %i"
"""Says of every synchronous memory that a read that collides with the write is never used; Yosys
takes the attribute `no_rw_check` for that only where it makes the read synchronous itself."""

Progress = Callable[[str, float | None], None]


@dataclass(frozen=True)
class CriticalPath:
    """The slowest path between two registers, and how much of it is wires."""

    start: str
    end: str
    nanoseconds: float
    routing_nanoseconds: float
    nets: tuple[str, ...]


@dataclass(frozen=True)
class SynthReport:
    """What came out: resources as (used, available), frequencies in MHz, the bitstream's path."""

    board: str
    device: str
    bitstream: str
    clock_mhz: float
    fmax_mhz: float
    seed: int
    resources: dict[str, tuple[int, int]]
    critical_path: CriticalPath | None
    tools: dict[str, str]
    """Versions of the tools."""

    def to_json(self) -> dict[str, Any]:
        """All fields, with the shares of the resources, for a file."""
        resources = {
            name: {"used": used, "available": available, "share": used / available}
            for name, (used, available) in self.resources.items()
        }
        return asdict(self) | {"resources": resources}


def find_tool(name: str) -> str:
    """The program for a tool (``yosys``, ``nextpnr-ecp5``, ``ecppack``).

    The environment variable of that name in capitals wins, then the PyPI package beside this
    Python, then PATH. Raises SpikewrightError.
    """
    variable = re.sub(r"\W", "_", name).upper()
    if variable in os.environ:
        found = shutil.which(os.environ[variable])
        if found is None:
            raise SpikewrightError(
                f"{variable}: {os.environ[variable]!r} is not a program; correct or unset it"
            )
        return found
    beside = str(Path(sys.executable).parent)
    for program, path in ((f"yowasp-{name}", beside), (f"yowasp-{name}", None), (name, None)):
        found = shutil.which(program, path=path)
        if found is not None:
            return found
    raise SpikewrightError(
        f'synth: {name} is not installed; run pip install "spikewright[synth]", or name it in '
        f"{variable}"
    )


def _version(tool: str) -> str:
    try:
        result = subprocess.run([tool, "--version"], capture_output=True, text=True, check=False)
    except OSError as error:
        raise SpikewrightError(f"{tool}: cannot be run ({error.strerror})") from None
    found = re.search(r"\d+\.\d[\w.+-]*", result.stdout + result.stderr)
    return found.group() if found else "unknown"


def _run(tool: str, arguments: Sequence[str], work: Path, log: str) -> int:
    """Run a tool in `work`, its output into the file `log` there; returns its exit status."""
    with open(work / log, "wb") as output:
        return subprocess.run(
            [tool, *arguments], cwd=work, stdout=output, stderr=subprocess.STDOUT, check=False
        ).returncode


def _fail(what: str, status: int, log: Path) -> SpikewrightError:
    """The error for a tool that failed, with the first line of its log that tells why."""
    lines = log.read_text(errors="replace").splitlines()
    reasons = [line.strip() for line in lines if line.lstrip().upper().startswith("ERROR")]
    if status < 0:
        reason = f"it was ended by {signal.Signals(-status).name}"
    else:
        reason = next(iter(reasons), f"exit status {status}")
    return SpikewrightError(f"{what} failed: {reason}; see {log}")


def _critical_path(report: Mapping[str, Any]) -> CriticalPath | None:
    """The slowest path from one clock edge to the next."""
    paths = [
        path["path"]
        for path in report.get("critical_paths", [])
        if path["from"] == path["to"] and path["from"].startswith("posedge")
    ]
    if not paths:
        return None

    def delay(hops: Sequence[Mapping[str, Any]], *types: str) -> float:
        return sum(hop["delay"] for hop in hops if not types or hop["type"] in types)

    slowest = max(paths, key=delay)
    nets = [hop["net"] for hop in slowest if "net" in hop]
    return CriticalPath(
        start=slowest[0]["from"]["cell"],
        end=slowest[-1]["to"]["cell"] + "." + slowest[-1]["to"]["port"],
        nanoseconds=round(delay(slowest), 3),
        routing_nanoseconds=round(delay(slowest, "routing"), 3),
        nets=tuple(nets),
    )


def _fmax(report: Mapping[str, Any]) -> float:
    """MHz of the slowest clock (there is one)."""
    return float(min(clock["achieved"] for clock in report["fmax"].values()))


def _nextpnr_arguments(board: Board, seed: int) -> list[str]:
    return [
        f"--{board.device[-3:-1]}k",
        *("--package", f"CABGA{board.package[2:]}", "--speed", board.speed),
        *("--json", f"{NAME}.json", "--lpf", f"{NAME}.lpf", "--textcfg", f"{NAME}.config"),
        # The default placer and router: the others are faster, their result a third slower.
        *("--seed", str(seed)),
        *("--report", "report.json", "--quiet", "--log", "nextpnr.rpt"),
    ]


def open_carries(netlist: Path) -> None:
    """Leave the unused ends of carry chains open in a netlist of Yosys.

    nextpnr spends a cell on every carry that enters a chain or leaves it, wanted or not. It takes
    an undefined constant for what is not connected, and fails where the port is missing. Nothing
    needs to enter where the first bit of a chain makes the carry.
    """
    design = json.loads(netlist.read_text())
    for module in design["modules"].values():
        cells = module["cells"].values()
        used = {
            bit
            for cell in cells
            for port, bits in cell["connections"].items()
            if cell.get("port_directions", {}).get(port) != "output"
            for bit in bits
        }
        for port in module["ports"].values():
            used.update(port["bits"])
        for cell in cells:
            if cell["type"] == "CCU2C":
                ports = cell["connections"]
                makes = int(cell["parameters"]["INIT0"], 2) >> 8 == 0 and ports["D0"] == ["1"]
                if makes and ports.get("CIN", ["0"]) == ["0"]:
                    ports["CIN"] = ["x"]
                cell["port_directions"] |= {"CIN": "input", "COUT": "output"}
                if not used.intersection(ports.get("COUT", ())):
                    ports["COUT"] = ["x"]
    netlist.write_text(json.dumps(design))


def synthesise(
    board: Board,
    shape: HardwareShape,
    init: Mapping[str, Sequence[int]],
    out_dir: str | os.PathLike[str],
    *,
    clock_hz: float | None = None,
    seed: int = 1,
    progress: Progress = lambda label, done: None,
) -> SynthReport:
    """Make ``<board>.bit`` in the existing folder `out_dir`.

    `init` holds the words of each loadable memory by name, as initial contents; `clock_hz` is the
    wanted clock, the board's own where None, and the clock made comes closest to it. Logs and
    intermediate files stay in ``out_dir/synth``. Raises SpikewrightError if the design does not
    fit, misses its clock, or a tool is missing; then there is no bitstream.
    """
    board.check(shape)
    names = ("yosys", f"nextpnr-{board.family}", "ecppack")
    yosys, nextpnr, ecppack = (find_tool(name) for name in names)
    tools = {name: _version(find_tool(name)) for name in names}
    wanted = board.exact_clock(board.clock_hz if clock_hz is None else clock_hz)
    bitstream = Path(out_dir) / f"{board.name}.bit"
    work = Path(out_dir) / "synth"

    progress("elaborating", None)
    bitstream.unlink(missing_ok=True)
    shutil.rmtree(work, ignore_errors=True)
    plan = board.platform().prepare(
        board.design(shape, wanted, init), NAME, emit_src=False, script_after_read=NO_RW_CHECK
    )
    plan.extract(work)

    progress("synthesising", None)
    status = _run(yosys, ["-q", "-l", "yosys.rpt", f"{NAME}.ys"], work, "yosys.log")
    if status:
        raise _fail("synth: yosys", status, work / "yosys.log")

    open_carries(work / f"{NAME}.json")

    progress("placing and routing", None)
    arguments = _nextpnr_arguments(board, seed)
    status = _run(nextpnr, arguments, work, "nextpnr.log")
    report_file = work / "report.json"
    if not report_file.exists():
        raise _fail("synth: nextpnr", status, work / "nextpnr.log")
    report = json.loads(report_file.read_text())
    fmax = _fmax(report)
    if fmax < wanted / 1e6:
        raise SpikewrightError(
            f"synth: reached {fmax:.1f} MHz of the wanted {wanted / 1e6:g} MHz on the "
            f"{board.name}; choose --clock {int(fmax)}, or another seed"
        )
    if status:
        raise _fail("synth: nextpnr", status, work / "nextpnr.log")

    progress("packing the bitstream", None)
    packing = ["--compress", "--input", f"{NAME}.config", "--bit", f"{NAME}.bit"]
    status = _run(ecppack, packing, work, "ecppack.log")
    if status:
        raise _fail("synth: ecppack", status, work / "ecppack.log")
    write_bytes(bitstream, (work / f"{NAME}.bit").read_bytes())
    used = report["utilization"]
    return SynthReport(
        board=board.name,
        device=board.device,
        bitstream=str(bitstream),
        clock_mhz=wanted / 1e6,
        fmax_mhz=fmax,
        seed=seed,
        resources={
            name: (used[cell]["used"], used[cell]["available"]) for name, cell in RESOURCES.items()
        },
        critical_path=_critical_path(report),
        tools=tools,
    )
