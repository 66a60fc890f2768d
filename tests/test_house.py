"""The house: what imports what, the size of its parts, docstrings, and a test for every module."""

import ast
import re
import shutil
import statistics
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
MAPPED = PROJECT["tool"]["setuptools"]["package-dir"]  # spikewright.hw -> hw
FOLDERS = ("spikewright", *MAPPED.values(), "lab")

# Modules of version 0.1's machine, which the tests of core, source, host and top cover until the
# second machine replaces them.
REPLACED = {
    f"hw/{name}.py"
    for name in (
        "emitter",
        "encoder",
        "engine",
        "issue",
        "lanes",
        "message",
        "readout",
        "sequencer",
    )
}

TESTED_BY = {
    "spikewright/app/fields.py": "app/test_options.py",
    "hw/cores/streams.py": "hw/fabric/test_engine.py",
    "hw/fabric/core.py": "hw/fabric/test_engine.py",
    "hw/link/top.py": "sim/rtl/test_machines.py",
    "sim/rtl/session.py": "sim/rtl/test_machines.py",
    "sim/rtl/machine_verify.py": "app/test_writing.py",
    "spikewright/reports/machines.py": "app/test_writing.py",
    "sim/rtl/decisions.py": "hw/fabric/test_engine.py",
    "hw/cells/family.py": "hw/cells/test_arithmetic.py",
    "hw/link/crc.py": "hw/link/test_port.py",
    "hw/link/executor.py": "hw/link/test_port.py",
    "hw/link/receiver.py": "hw/link/test_port.py",
    "hw/link/sender.py": "hw/link/test_port.py",
    "spikewright/machine/blocks.py": "sim/interpreter/test_interpreter.py",
    "spikewright/machine/choices.py": "sim/interpreter/test_interpreter.py",
    "spikewright/machine/clocks.py": "sim/interpreter/test_interpreter.py",
    "spikewright/machine/configuration.py": "machine/test_fields.py",
    "spikewright/machine/maps.py": "sim/interpreter/test_interpreter.py",
    "spikewright/machine/memories.py": "sim/interpreter/test_interpreter.py",
    "spikewright/machine/schedule.py": "sim/interpreter/test_interpreter.py",
    "spikewright/machine/work.py": "sim/interpreter/test_interpreter.py",
    "sim/interpreter/core.py": "sim/interpreter/test_interpreter.py",
    "sim/interpreter/machine.py": "sim/interpreter/test_interpreter.py",
    "sim/interpreter/trace.py": "sim/interpreter/test_interpreter.py",
    "sw/passes/activity.py": "sw/passes/test_costs.py",
    "sw/passes/choices.py": "sw/passes/test_place.py",
    "sw/passes/loads.py": "sw/passes/test_costs.py",
    "sw/passes/search.py": "sw/passes/test_place.py",
    "sw/passes/sizes.py": "sw/passes/test_machines.py",
    "spikewright/app/command.py": "app/test_cli.py",
    "spikewright/app/compare.py": "app/test_evaluate.py",
    "spikewright/app/data.py": "app/test_hostile_files.py",
    "spikewright/app/demo.py": "app/test_cli.py",
    "spikewright/app/model.py": "app/test_compile.py",
    "spikewright/app/printing.py": "app/test_cli.py",
    "spikewright/app/synth.py": "boards/test_synth.py",
    "spikewright/errors.py": "app/test_cli.py",
    "spikewright/machine/device.py": "boards/test_boards.py",
    "spikewright/machine/directory.py": "machine/test_builds.py",
    "spikewright/machine/hardware.py": "machine/test_images.py",
    "spikewright/machine/instructions.py": "machine/test_program.py",
    "spikewright/machine/mapping.py": "machine/test_images.py",
    "spikewright/machine/numbers.py": "machine/test_builds.py",
    "spikewright/machine/packing.py": "machine/test_images.py",
    "spikewright/machine/placement.py": "machine/test_images.py",
    "spikewright/machine/rules.py": "machine/test_builds.py",
    "spikewright/machine/scans.py": "machine/test_program.py",
    "spikewright/machine/unpacking.py": "machine/test_images.py",
    "spikewright/network/arrays.py": "network/test_limits.py",
    "spikewright/network/float_network.py": "network/test_limits.py",
    "spikewright/network/geometry.py": "network/test_limits.py",
    "spikewright/network/input.py": "network/test_limits.py",
    "spikewright/network/integer_network.py": "network/test_ranges.py",
    "spikewright/network/neuron.py": "network/test_conversion.py",
    "spikewright/network/structure.py": "network/test_limits.py",
    "spikewright/progress.py": "app/test_progress.py",
    "spikewright/reports/description.py": "reports/test_facts.py",
    "spikewright/reports/drawings.py": "reports/test_charts.py",
    "boards/board.py": "boards/test_boards.py",
    "boards/ecp5.py": "boards/test_boards.py",
    "boards/ulx3s.py": "boards/test_boards.py",
    "hw/event.py": "hw/test_core.py",
    "hw/load.py": "hw/test_core.py",
    "hw/scan.py": "formal/test_issue.py",
    "sim/evaluation.py": "app/test_evaluate.py",
    "sim/golden/synapses.py": "sim/golden/test_model.py",
    "sim/rtl/cocotb_bench.py": "sim/rtl/test_run.py",
    "sim/rtl/pysim.py": "sim/rtl/test_run.py",
    "sim/rtl/sources.py": "sim/rtl/test_verify.py",
    "sim/rtl/stimulus.py": "sim/rtl/test_run.py",
    "sim/rtl/trace.py": "sim/rtl/test_run.py",
    "sim/rtl/verilator.py": "sim/rtl/test_run.py",
    "sw/models/options.py": "sw/models/test_nets.py",
    "sw/models/plain.py": "sw/models/test_nets.py",
    "sw/models/user_code.py": "sw/models/test_reading.py",
    "sw/passes/map.py": "machine/test_images.py",
    "lab/aims.py": "lab/test_results.py",
    "lab/benchmark.py": "lab/test_cost.py",
    "lab/markdown.py": "lab/test_cost.py",
    "lab/measured.py": "lab/test_results.py",
}


def sources():
    return [path for name in FOLDERS for path in sorted((ROOT / name).rglob("*.py"))]


def name_of(path):
    return path.relative_to(ROOT).as_posix()


# ----------------------------------------------------------------------------------------- imports


@pytest.fixture
def flat(tmp_path):
    """A copy of the tree as a wheel lays it out."""
    subprocess.run([ROOT / ".ci" / "flat", tmp_path], check=True)
    return tmp_path


LINT = "from importlinter.cli import lint_imports as lint; exit(lint(no_cache=True, no_logo=True))"


def broken_contracts(folder):
    """What import-linter says about a flat tree, without the contracts that are kept."""
    command = [sys.executable, "-c", LINT]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return ""
    return (done.stdout + done.stderr).partition("Broken contracts")[2] or done.stdout + done.stderr


def test_contracts_are_kept(flat):
    assert broken_contracts(flat) == ""


@pytest.mark.parametrize(
    ("module", "line", "said"),
    [
        ("spikewright/sim/golden/model.py", "import amaranth.hdl", "knows no hardware language"),
        ("spikewright/network/arrays.py", "import spikewright.machine.images", "stand on each"),
        ("spikewright/hw/top.py", "import spikewright.sim.golden.model", "stand on each other"),
        ("spikewright/sw/passes/map.py", "def f():\n    import spikewright.hw.top", "The compiler"),
        ("spikewright/boards/synth.py", "import torch", "Torch is for torch features"),
        ("spikewright/reports/facts.py", "import tests.support", "neither laboratory nor tests"),
        ("spikewright/network/geometry.py", "import spikewright.network.structure", "No circles"),
    ],
)
def test_a_wrong_import_is_found(flat, module, line, said):
    path = flat / module
    path.write_text(f"{path.read_text()}\n{line}\n")
    assert said in broken_contracts(flat)


def drawing():
    """Layers, from the top, and forbidden imports that docs/architecture.md draws, as modules."""
    text = (ROOT / "docs" / "architecture.md").read_text()
    (block,) = re.findall(r"```rooms\n(.*?)```", text, re.DOTALL)
    rooms, _, never = block.partition("\nnever: ")
    layers = [
        {module_of(line.split()[0]) for line in layer.splitlines()}
        for layer in re.split(r"\n-+\n", rooms.strip())
    ]
    forbidden = []
    for rule in never.split("never: "):
        sides = re.split(r"\simports\s", rule)
        forbidden.append(tuple(frozenset(map(module_of, re.split(r",\s+", s))) for s in sides))
    return layers, forbidden


def module_of(drawn):
    """``hw/`` is spikewright.hw, ``sim/float.py`` spikewright.sim.float, ``torch`` itself."""
    path = drawn.strip().removesuffix("/").removesuffix(".py")
    name = path.replace("/", ".")
    return f"spikewright.{name}" if path.split("/")[0] in MAPPED.values() else name


def contracts(kind):
    return [c for c in PROJECT["tool"]["importlinter"]["contracts"] if c["type"] == kind]


def test_the_drawing_shows_the_contracts():
    layers, forbidden = drawing()
    (rooms,) = contracts("layers")
    assert layers == [set(layer.split(" | ")) for layer in rooms["layers"]]
    assert forbidden == [
        (frozenset(rule["source_modules"]), frozenset(rule["forbidden_modules"]))
        for rule in contracts("forbidden")
    ]


def test_every_module_stands_in_a_room():
    rooms = tuple(room for layer in drawing()[0] for room in layer)
    face = {"spikewright", "spikewright.__main__", *(f"spikewright.{f}" for f in ("sw", "sim"))}
    for path in sources():
        module = module_of(name_of(path).removesuffix("/__init__.py"))
        assert module in face or f"{module}.".startswith(tuple(f"{r}." for r in rooms)), module


# -------------------------------------------------------------------------------------------- size


def functions(path):
    """Name and lines of each function, decorators included."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
            yield f"{name_of(path)}: {node.name}", node.end_lineno - first + 1


def test_functions_are_short():
    found = [function for path in sources() for function in functions(path)]
    assert [f"{name}, {lines} lines" for name, lines in found if lines > 80] == []
    assert statistics.quantiles([lines for _, lines in found], n=10)[-1] < 30


def test_files_are_short():
    templates = [path for name in FOLDERS for path in (ROOT / name).rglob("*.j2")]
    lines = {name_of(p): len(p.read_text().splitlines()) for p in [*sources(), *templates]}
    assert {name: count for name, count in lines.items() if count > 500} == {}


def public_without_docstring(path):
    def inside(node, prefix):
        for child in node.body:
            if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                continue
            if child.name.startswith("_") or overrides(child):
                continue
            if ast.get_docstring(child) is None:
                yield f"{prefix}{child.name}"
            if isinstance(child, ast.ClassDef):
                yield from inside(child, f"{prefix}{child.name}.")

    tree = ast.parse(path.read_text())
    if ast.get_docstring(tree) is None:
        yield f"{name_of(path)}"
    yield from inside(tree, f"{name_of(path)}: ")


def overrides(node):
    """Methods whose contract stands in the library that calls them."""
    if node.name in ("elaborate", "forward", "backward", "setup_context", "extra_repr"):
        return True
    return any(ast.unparse(d).split(".")[-1] in ("setter", "override") for d in node.decorator_list)


def test_public_things_have_docstrings():
    assert [name for path in sources() for name in public_without_docstring(path)] == []


# ----------------------------------------------------------------------------------------- folders


def test_setuptools_knows_every_package():
    """Every folder with modules or data in it, and nothing else."""
    found = set()
    for top, package in [("spikewright", "spikewright"), *((f, m) for m, f in MAPPED.items())]:
        for path in (ROOT / top).rglob("*"):
            if path.is_file() and path.parent.name != "__pycache__":
                found.add(".".join([package, *path.parent.relative_to(ROOT / top).parts]))
    found.remove("spikewright.reports.templates")  # data of the package above it
    assert found == set(PROJECT["tool"]["setuptools"]["packages"])


def test_every_module_has_a_test_named_after_it():
    """Or the tests that :data:`TESTED_BY` names, where a module is tested by what uses it."""
    missing, superfluous = [], set(TESTED_BY)
    for path in sources():
        name = name_of(path)
        inside = Path(name.removeprefix("spikewright/"))
        test = ROOT / "tests" / inside.parent / f"test_{inside.stem}.py"
        if path.stem.startswith("__") or name in REPLACED or test.exists():
            continue
        superfluous.discard(name)
        if not (ROOT / "tests" / TESTED_BY.get(name, "nowhere")).is_file():
            missing.append(name)
    assert missing == []
    assert superfluous == set()


def test_no_symlinks():
    links = [p for name in FOLDERS for p in (ROOT / name).rglob("*") if p.is_symlink()]
    assert links == []
    assert shutil.which("git") is None or not re.search(
        r"^120000", git("ls-files", "--stage"), re.MULTILINE
    )


def git(*words):
    done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout
