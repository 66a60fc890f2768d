"""The package as a whole: what a wheel holds, what imports what, and networks nobody has seen."""

import shutil
import subprocess
import sys
import tomllib
import zipfile
from itertools import chain
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

import spikewright
from spikewright.app.cli import main

ROOT = Path(__file__).parents[1]
FOLDERS = ("hw", "sw", "sim", "boards")


# ------------------------------------------------------------------------------------------- wheel


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The names in a wheel, built from a copy of the tree."""
    folder = tmp_path_factory.mktemp("wheel")
    tree = folder / "tree"
    wanted = ("spikewright", *FOLDERS)
    for name in wanted:
        shutil.copytree(
            ROOT / name, tree / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__")
        )
    for name in ("pyproject.toml", "README.md", "LICENSE", "MANIFEST.in"):
        shutil.copy(ROOT / name, tree)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "."]
    subprocess.run([*command, "--wheel-dir", str(folder)], cwd=tree, check=True)
    (path,) = folder.glob("*.whl")
    with zipfile.ZipFile(path) as archive:
        return set(archive.namelist())


def files_of_the_tree():
    tops = [(ROOT / "spikewright", "spikewright")]
    tops += [(ROOT / name, f"spikewright/{name}") for name in FOLDERS]
    for top, prefix in tops:
        skipped = FOLDERS if prefix == "spikewright" else ()
        for path in top.rglob("*"):
            inside = path.relative_to(top)
            if path.is_file() and inside.parts[0] not in skipped and "__pycache__" not in str(path):
                yield f"{prefix}/{inside.as_posix()}"


def test_wheel_holds_the_tree(wheel):
    tree = set(files_of_the_tree())
    assert {f"spikewright/{name}/__init__.py" for name in FOLDERS} <= tree
    assert tree <= wheel
    packaged = {name for name in wheel if ".dist-info/" not in name}
    assert packaged == tree


def test_wheel_holds_the_demo(wheel):
    for name in ("lenet5.safetensors", "images.npz"):
        assert f"spikewright/sw/demo/{name}" in wheel


def test_rtl_work_needs_no_torch():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    assert not [d for d in (*project["dependencies"], *extras["rtl"]) if d.startswith("torch")]
    assert [d for d in extras["torch"] if d.startswith("torch")]


def dependencies(*extras):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    optional = project["optional-dependencies"]
    lines = [*project["dependencies"], *chain(*(optional[name] for name in extras or optional))]
    return [r for r in map(Requirement, lines) if r.name != "spikewright"]


def exact(path):
    """Version of each package that a constraints file names."""
    lines = [line for line in (ROOT / path).read_text().splitlines() if not line.startswith("#")]
    return {name.lower(): version for name, version in (line.split("==") for line in lines)}


def test_constraints_name_one_version_of_each_dependency():
    tried = exact("constraints.txt")
    assert tried["torch"] == "2.13.0"
    for wanted in dependencies():
        assert wanted.specifier.contains(tried[wanted.name]), wanted


def test_every_lower_bound_is_tried():
    lowest = exact(".ci/lowest.txt")
    for wanted in dependencies():
        assert [s.operator for s in wanted.specifier if s.operator == ">="], wanted
    for wanted in dependencies("rtl", "torch", "synth"):
        (bound,) = [Version(s.version) for s in wanted.specifier if s.operator == ">="]
        length = len(bound.release)
        assert Version(lowest[wanted.name]).release[:length] == bound.release, wanted


# ----------------------------------------------------------------------------------------- imports


def test_import_is_light():
    code = (
        "import sys, spikewright; spikewright.SpikewrightError\n"
        "print(sorted({'torch', 'amaranth', 'cocotb', 'numpy'} & sys.modules.keys()))\n"
        "spikewright.read_build; spikewright.Network\n"
        "print(sorted({'torch', 'amaranth', 'cocotb'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n[]\n"


def test_public_names_exist():
    for name in spikewright.__all__:
        assert getattr(spikewright, name) is not None
    assert set(spikewright.__all__) <= set(dir(spikewright))
    with pytest.raises(AttributeError, match="nonsense"):
        _ = spikewright.nonsense


def test_no_public_name_is_a_folders():
    """A folder, once imported, would stand in the place of a function of the same name."""
    folders = {path.name for path in (ROOT / "spikewright").iterdir()} | set(FOLDERS)
    assert not folders & set(spikewright.__all__)


# Everything but compiling, training and float simulation.
WITHOUT_TORCH = ("app", "boards", "hw", "machine", "network", "reports", "sim.golden", "sim.rtl")


def test_torch_is_imported_only_by_what_is_about_torch():
    code = (
        "import pkgutil, sys\n"
        "from importlib import import_module\n"
        f"for room in {WITHOUT_TORCH}:\n"
        "    package = import_module(f'spikewright.{room}')\n"
        "    for module in pkgutil.walk_packages(package.__path__, f'{package.__name__}.'):\n"
        "        if not module.name.endswith('cocotb_bench'):  # lives in the simulator\n"
        "            import_module(module.name)\n"
        "print(len([name for name in sys.modules if name.startswith('spikewright.')]) > 40)\n"
        "print(sorted({'torch', 'safetensors', 'cocotb'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "True\n[]\n"


# --------------------------------------------------------------------------------- unseen networks


UNSEEN = """
import torch
from torch import nn


class Unseen(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(2, 5, (3, 5), stride=(1, 2), padding=(1, 2), bias=False)
        self.norm = nn.BatchNorm2d(5)
        self.second = nn.Conv2d(5, 9, 3)
        self.pool = nn.AvgPool2d(2)
        self.head = nn.Linear(36, 7)
        with torch.no_grad():
            self.norm.running_mean.uniform_(-0.2, 0.2)
            self.norm.running_var.uniform_(0.5, 1.5)
            self.norm.weight.uniform_(0.5, 1.5)
            self.norm.bias.uniform_(-0.1, 0.3)

    def forward(self, x):
        x = torch.relu(self.norm(self.first(x)))
        x = self.pool(nn.functional.relu(self.second(x)))
        return self.head(torch.flatten(x, 1))


def make():
    torch.manual_seed(3)
    return Unseen()
"""


def test_a_network_that_nobody_has_seen(tmp_path, monkeypatch, capsys):
    """11 x 9 frames: 11 x 5 after the stride, 9 x 3 after the kernel, 4 x 1 after floor pooling."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "unseen.py").write_text(UNSEEN)
    words = ["unseen:make", "--input-shape", "2,11,9", "-T", "5", "--bits", "6", "--lanes", "4"]
    assert main(["compile", *words, "-o", "out"]) == 0
    assert "no calibration images" in capsys.readouterr().err
    build = spikewright.read_build("out")
    assert [layer.shape for layer in build.network.layers] == [(5, 11, 5), (9, 9, 3), (7, 1, 1)]
    rates = [layer["spike_rate"] for layer in spikewright.report("out")["layers"][:-1]]
    assert all(0.02 < rate < 0.98 for rate in rates)

    result = spikewright.verify("out", images=3, trace_images=3, sim="pysim")
    assert result["equal"], result["mismatch"]
    assert result["traced"] == 3
    assert "random" in result["frames"]
    assert (tmp_path / "out" / "verify.json").exists()


def test_compile_takes_a_module(tmp_path):
    from torch import nn, rand

    net = nn.Sequential(nn.Flatten(), nn.Linear(12, 6), nn.ReLU6(), nn.Linear(6, 3))
    build = spikewright.compile(net, rand(1, 3, 2, 2), steps=2, lanes=4, out=tmp_path / "out")
    assert build.network.input.shape == (3, 2, 2)
    assert build.network.steps == 2
    assert build.float_network is not None
