"""Spikewright: a trained PyTorch network in, a spiking FPGA accelerator out, proven bit for bit.

The steps of the command line are functions here, under the same names; see :mod:`spikewright.app`.
Everything is imported on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from spikewright.errors import SpikewrightError

if TYPE_CHECKING:
    from spikewright.app.compare import compare
    from spikewright.app.compile import compile
    from spikewright.app.demo import demo
    from spikewright.app.evaluate import evaluate
    from spikewright.app.model import load
    from spikewright.app.report import report
    from spikewright.app.synth import synth
    from spikewright.app.train import train
    from spikewright.app.verify import verify
    from spikewright.machine.images import Build, read_build
    from spikewright.network import FloatNetwork, InputSpec, Network
    from spikewright.network.conversion import Conversion

__version__ = "0.1.0"

_COMMANDS = ("compare", "compile", "demo", "evaluate", "report", "synth", "train", "verify")
_HOMES = {
    **{name: f".app.{name}" for name in _COMMANDS},
    "load": ".app.model",
    "Conversion": ".network.conversion",
    **dict.fromkeys(("Build", "read_build"), ".machine.images"),
    **dict.fromkeys(("FloatNetwork", "InputSpec", "Network"), ".network"),
}

__all__ = [
    "Build",
    "Conversion",
    "FloatNetwork",
    "InputSpec",
    "Network",
    "SpikewrightError",
    "__version__",
    "compare",
    "compile",
    "demo",
    "evaluate",
    "load",
    "read_build",
    "report",
    "synth",
    "train",
    "verify",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name], __name__), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
