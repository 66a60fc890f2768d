"""The Verilog that is simulated: as it lies in a build directory, or as the generator gives it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from spikewright.errors import SpikewrightError
from spikewright.files import read_text
from spikewright.machine.directory import BuildFiles
from spikewright.machine.hardware import HardwareShape

__all__ = ["TOP", "TRACED_TOP", "Sources", "Verilog"]

TOP = "top.v"
"""The accelerator, in a build directory."""
TRACED_TOP = "top_trace.v"
"""The same with a stream of all that its neurons do."""


@dataclass(frozen=True)
class Verilog:
    """The `text` of a top, `where` it is from, and whether it is `generated` for the simulation."""

    text: str
    where: str
    generated: bool = False


@dataclass(frozen=True)
class Sources:
    """The two tops of a build; each is read when it is asked for."""

    read: Callable[[bool], Verilog]

    @classmethod
    def of(cls, build: BuildFiles) -> Sources:
        """Those of a build directory. Raises SpikewrightError, when read, if one is not as written.

        A build made without them has no checksum of what was put there later.
        """

        def read(traced: bool) -> Verilog:
            name = TRACED_TOP if traced else TOP
            path = build.directory / name
            text = build.text(name) if name in build.crc32 else read_text(path)
            return Verilog(text, str(path))

        return cls(read)

    @classmethod
    def generated(cls, shape: HardwareShape) -> Sources:
        """Those that the generator gives for `shape`."""
        return cls(lambda traced: Verilog(_generate(shape, traced), "generated Verilog", True))

    def check_generated(self, shape: HardwareShape, traced: bool) -> None:
        """Raise SpikewrightError unless the Verilog is what the generator gives for `shape`."""
        source = self.read(traced)
        if not source.generated and source.text != _generate(shape, traced):
            raise SpikewrightError(
                f"{source.where}: is not what the generator gives for this hardware, and pysim "
                "cannot read Verilog; verify with --sim verilator, or compile again"
            )


@lru_cache(maxsize=8)
def _generate(shape: HardwareShape, traced: bool) -> str:
    from spikewright.hw.top import generate

    return generate(shape, trace=traced)
