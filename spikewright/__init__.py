"""Spikewright: a trained PyTorch network in, a spiking FPGA accelerator out, proven bit for bit.

The steps of the command line are functions here, under the same names; see :mod:`.api`.
Everything is imported on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from spikewright.errors import SpikewrightError

if TYPE_CHECKING:
    from spikewright.app.api import compile, demo, evaluate, report, synth, train, verify
    from spikewright.machine.images import Build, read_build
    from spikewright.network import FloatNetwork, InputSpec, Network
    from spikewright.network.conversion import Conversion

__all__ = [
    "Build",
    "Conversion",
    "FloatNetwork",
    "InputSpec",
    "Network",
    "SpikewrightError",
    "__version__",
    "compile",
    "demo",
    "evaluate",
    "read_build",
    "report",
    "synth",
    "train",
    "verify",
]

__version__ = "0.1.0"

_HOMES = {
    **dict.fromkeys(
        ("compile", "demo", "evaluate", "report", "synth", "train", "verify"), ".app.api"
    ),
    "Conversion": ".network.conversion",
    **dict.fromkeys(("Build", "read_build"), ".machine.images"),
    **dict.fromkeys(("FloatNetwork", "InputSpec", "Network"), ".network"),
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name], __name__), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
