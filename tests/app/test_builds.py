"""Replacing a build: whatever ends a run, one whole build is there, and nothing is left behind."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from spikewright.app.builds import check_target, open_build, replacing
from spikewright.app.cli import main
from spikewright.errors import SpikewrightError
from spikewright.machine import builds
from tests.app.commands import refused, run
from tests.support.placements import large_machine, random_schedule, trimmed
from tests.support.random_networks import random_network

KILLED = """
import os, signal, sys
from pathlib import Path
from spikewright.app.builds import check_target, replacing

at, target = int(sys.argv[1]), Path(sys.argv[2])
rename = Path.rename
done = []


def killed(self, other):
    if len(done) == at:
        os.kill(os.getpid(), signal.SIGKILL)
    done.append(other)
    return rename(self, other)


Path.rename = killed
check_target(target)
with replacing(target) as folder:
    (folder / "new.txt").write_text("new")
os.kill(os.getpid(), signal.SIGKILL)
"""


def killed(at, target):
    """A replacement of `target` that is killed before its rename number `at`."""
    done = subprocess.run([sys.executable, "-c", KILLED, str(at), str(target)], check=False)
    assert done.returncode == -signal.SIGKILL


def hidden(folder):
    return [path.name for path in folder.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize(("at", "new"), [(0, False), (1, False), (2, True), (3, True)])
def test_killed_while_replacing(at, new, out, work):
    """Before the first, between both, and behind the last rename."""
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    killed(at, out)
    assert hidden(work) != [] or at == 3
    assert out.exists() == (at != 1)
    if new:
        assert (out / "new.txt").read_text() == "new"
    else:
        assert main(["report", str(out)]) == 0  # the next use puts it back
        after = {path.name: path.read_bytes() for path in out.iterdir()}
        assert {**after, **dict.fromkeys(("report.json", "report.html"))} == {
            **before,
            **dict.fromkeys(("report.json", "report.html")),
        }
    (out / "new.txt").unlink(missing_ok=True)
    if new:
        (out / "network.json").write_text('{"kind": "build"}')
    check_target(out)
    assert hidden(work) == []


def test_killed_while_making(work):
    killed(0, work / "out")
    assert not (work / "out").exists()
    (left,) = hidden(work)
    with pytest.raises(SpikewrightError, match="no such file"):
        open_build(work / left)  # it never reads as a build
    check_target("out")
    assert hidden(work) == []


def test_only_what_is_ours_and_dead_is_deleted(work):
    names = [".out.abcdefgh", ".out.abcdefgh.spikewright.txt", ".out.b.abcdefgh.spikewright"]
    for name in names:
        Path(name).mkdir()
    Path(".out.notafold.spikewright").write_text("a file")
    os.symlink("nets.py", ".out.abcdefgi.spikewright")
    with replacing(Path("out")) as folder:  # alive
        (folder / "file").touch()
        before = hidden(work)
        check_target("out")
        assert hidden(work) == before
    assert len(hidden(work)) == len(before) - 1
    assert Path("out/file").exists()


@pytest.mark.parametrize("error", [KeyboardInterrupt, SpikewrightError])
def test_an_interrupted_replacement_changes_nothing(error, out, work, monkeypatch):
    rename, before = Path.rename, {path.name for path in out.iterdir()}

    def interrupted(self, other):
        if self.name == "new":
            raise error
        return rename(self, other)

    monkeypatch.setattr(Path, "rename", interrupted)
    with pytest.raises(error), replacing(out):
        pass
    assert {path.name for path in out.iterdir()} == before
    assert hidden(work) == []


@pytest.mark.parametrize(
    ("out", "fragment"),
    [
        (".", "is the current folder"),
        ("x" * 300, "File name too long"),
        ("a/" * 3000 + "b", "File name too long"),
    ],
)
def test_no_place_for_a_build(out, fragment, work, capsys):
    refused(["compile", "nets.py:good", "--input-shape", "1,10,10", "-o", out], capsys, fragment)


def test_no_place_for_a_build_from_python(work):
    with pytest.raises(SpikewrightError, match="is no file name"):
        check_target("a\0b")


def test_an_unwritable_folder(work, monkeypatch):
    """Root can write everywhere, so the system's answer is given by hand."""

    def refuse(*arguments):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("spikewright.app.builds.tempfile.mkdtemp", refuse)
    said = pytest.raises(SpikewrightError, match=r"cannot be written \(Read-only file system\)")
    with said, replacing(Path("out")):
        pass


def test_a_build_of_the_second_machine(work, capsys):
    """It is read, checked and reported."""
    rng = np.random.default_rng(3)
    network = random_network(rng, size=400, max_layers=2)
    schedule = trimmed(random_schedule(rng, network, large_machine(2, 8, 2)))
    (work / "second").mkdir()
    about = {"command": "none", "date": "2001-02-03", "versions": {}, "machine": ["no facts"]}
    builds.write_build("second", schedule, about=about | {"calibration": None})
    assert run(["report", "second"], capsys) == (0, "wrote second/report.html\n", [])
    refused(["synth", "second"], capsys, "for the second machine")
    program = work / "second" / "program.mem"
    program.write_text(program.read_text().replace("1", "3", 1))
    refused(["report", "second"], capsys, "program.mem", "CRC-32", "compile it again")
    assert check_target("second") == Path("second")
