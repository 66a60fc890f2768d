"""Resources and Fmax of the demo on its board, kept so that a change of them is seen in review.

``python -m lab.synthesis`` compiles and synthesises the demo (some minutes) and writes
``docs/demo-ulx3s.json``, which names the Verilog that it was made from.
"""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path

import spikewright
from spikewright.app.demo import FOLDER
from spikewright.provenance import versions
from spikewright.records import write_record

__all__ = ["PAGE", "fingerprint"]

PAGE = Path("docs/demo-ulx3s.json")


def fingerprint(directory: Path) -> str:
    """SHA-256 of a build's ``top.v``."""
    return hashlib.sha256((directory / "top.v").read_bytes()).hexdigest()


def main() -> None:
    """Compile, synthesise, write."""
    with tempfile.TemporaryDirectory() as place:
        out = Path(place) / "out-demo"
        build = spikewright.compile(str(FOLDER / "lenet5.safetensors"), out=out)
        result = spikewright.synth(build, command="python -m lab.synthesis")
        result["bitstream"] = Path(result["bitstream"]).name
        made_from = {"amaranth": versions()["amaranth"], "top.v": fingerprint(out)}
        write_record(PAGE, result | {"made_from": made_from})


if __name__ == "__main__":
    main()
