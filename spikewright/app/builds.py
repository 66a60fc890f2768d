"""Build directories as the commands use them: opened, added to, and replaced as a whole.

A new build is made in a hidden folder beside its place, ``.NAME.XXXXXXXX.spikewright``, which holds
`new` and, while the two change places, `old`. Its owner keeps it locked, and the lock ends with the
process, however that ends. So whoever comes next knows a folder that a killed run left: it puts an
`old` back whose place is empty, and deletes the rest.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from spikewright.errors import SpikewrightError
from spikewright.files import read_text, write_text
from spikewright.machine import builds
from spikewright.machine.directory import AGAIN, NETWORK
from spikewright.machine.images import read_build
from spikewright.records import read_record
from spikewright.reports.facts import summarise
from spikewright.reports.machines import AnyBuild
from spikewright.reports.page import render

__all__ = [
    "AnyBuild",
    "check_parent",
    "check_target",
    "open_build",
    "read_either",
    "replacing",
    "store",
    "write_report",
]

_SUFFIX = ".spikewright"


def open_build(build: AnyBuild | str | os.PathLike[str]) -> AnyBuild:
    """`build` itself, or read from the directory of that name; raises SpikewrightError."""
    if isinstance(build, AnyBuild):
        return build
    path = Path(build)
    try:
        if not path.exists():
            _tidy(path)
        missing = not os.path.lexists(path / NETWORK)
    except (OSError, ValueError, RuntimeError):
        missing = False  # what is wrong with the name, reading tells
    if missing:
        raise SpikewrightError(f"{path / NETWORK}: no such file; run spikewright compile first")
    return read_either(path)


def read_either(directory: Path) -> AnyBuild:
    """The build of the first or of the second machine, by the schema version of its header."""
    header = read_record(directory / NETWORK, dict[str, Any], oldest=None, remedy=AGAIN)
    version = header.get("schema")
    second = isinstance(version, int) and version >= builds.SCHEMA
    return builds.read_build(directory) if second else read_build(directory)


def store(build: AnyBuild, name: str, result: Mapping[str, Any]) -> None:
    """Write one result beside the images, and the report that shows it."""
    write_text(build.directory / name, json.dumps(result, indent=1) + "\n")
    write_report(build)


def write_report(build: AnyBuild, name: str | None = None) -> dict[str, Any]:
    """Write ``report.json``, which is returned, and ``report.html``."""
    facts = summarise(build, name or build.directory.resolve().name)
    write_text(build.directory / "report.json", json.dumps(facts, indent=1) + "\n")
    write_text(build.directory / "report.html", render(facts))
    return facts


# ------------------------------------------------------------------------------------- replacement


def check_parent(target: Path) -> None:
    """Raise SpikewrightError unless `target` is a name in a folder that exists."""
    try:
        found = target.resolve().parent.is_dir()
    except (OSError, ValueError, RuntimeError) as error:
        raise SpikewrightError(f"{str(target)[:80]!r}: is no file name ({error})") from None
    if not found:
        raise SpikewrightError(f"{target}: the folder above it does not exist; create it first")


def check_target(out: str | os.PathLike[str]) -> Path:
    """`out`, if a build directory may be written there; SpikewrightError if not."""
    target = Path(out)
    check_parent(target)
    try:
        _tidy(target)
        if target.is_symlink() or (target.exists() and not target.is_dir()):
            raise SpikewrightError(f"{target}: exists and is no folder; choose another name")
        if Path.cwd().is_relative_to(target.resolve()):
            raise SpikewrightError(
                f"{target}: is the current folder, or above; choose another name"
            )
        ours = not target.exists() or not any(target.iterdir()) or _ours(target)
    except OSError as error:
        raise SpikewrightError(f"{str(target)[:80]}: cannot be used ({error.strerror})") from None
    if not ours:
        raise SpikewrightError(
            f"{target}: exists and is no build directory; choose another name, nothing was changed"
        )
    return target


def _ours(directory: Path) -> bool:
    try:
        header = json.loads(read_text(directory / NETWORK))
    except (SpikewrightError, ValueError, RecursionError):
        return False
    return isinstance(header, dict) and header.get("kind") == "build"


@contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """An empty folder that takes the place of `target` if the block succeeds, and else vanishes."""
    target = target.resolve()
    try:
        with _workshop(target) as work:
            new = work / "new"
            new.mkdir()
            yield new
            old = _old(work, target)
            old.parent.mkdir()
            if target.exists():
                target.rename(old)
            new.rename(target)
            old.parent.rename(work / "replaced")
    except OSError as error:
        raise SpikewrightError(
            f"{target}: cannot be written ({error.strerror}); choose another folder"
        ) from None


def _old(work: Path, target: Path) -> Path:
    """Where the build that is being replaced stands meanwhile."""
    return work / "old" / target.name


@contextmanager
def _workshop(target: Path) -> Iterator[Path]:
    """A locked hidden folder beside `target`, tidied at the end."""
    while True:
        work = Path(tempfile.mkdtemp(_SUFFIX, _prefix(target), target.parent))
        with contextlib.suppress(FileNotFoundError):  # another run took it for a dead one's
            lock = os.open(work, os.O_RDONLY)
            with contextlib.suppress(OSError):  # a file system without locks
                fcntl.flock(lock, fcntl.LOCK_EX)
            if work.exists():
                break
            os.close(lock)
    try:
        yield work
    finally:
        _clear(work, target)
        os.close(lock)


def _prefix(target: Path) -> str:
    return f".{target.name[:40]}."


def _tidy(target: Path) -> None:
    """Put back and delete what killed runs have left beside `target`."""
    target = target.resolve()
    ours = re.compile(rf"{re.escape(_prefix(target))}\w{{8}}{re.escape(_SUFFIX)}")
    for name in filter(ours.fullmatch, os.listdir(target.parent)):
        with contextlib.suppress(OSError):
            lock = os.open(target.parent / name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # fails while its owner lives
                _clear(target.parent / name, target)
            finally:
                os.close(lock)


def _clear(work: Path, target: Path) -> None:
    """Put the old build back if its place is empty, then delete the folder."""
    old = _old(work, target)
    if old.exists() and not target.exists():
        old.rename(target)
    shutil.rmtree(work, ignore_errors=True)
