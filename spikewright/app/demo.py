"""The LeNet-5 that comes with the package: compiled, evaluated, verified, reported."""

from __future__ import annotations

from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

from spikewright.app.builds import write_report
from spikewright.app.command import Result, command
from spikewright.app.compile import compile, facts_of
from spikewright.app.compile import show as show_compile
from spikewright.app.evaluate import evaluate
from spikewright.app.evaluate import show as show_evaluate
from spikewright.app.options import Demo
from spikewright.app.printing import print_page
from spikewright.app.verify import show as show_verify
from spikewright.app.verify import verify
from spikewright.progress import Report

__all__ = ["FOLDER", "STAGES", "demo", "show"]

FOLDER = Path(str(files("spikewright.sw") / "demo"))
"""Holds the network and 100 Fashion-MNIST test images."""

STAGES: dict[str, Callable[[Result], None]] = {
    "compile": show_compile,
    "eval": show_evaluate,
    "verify": show_verify,
}
"""What is printed of each stage."""


@command(Demo)
def demo(options: Demo, command: str, progress: Report) -> dict[str, Any]:
    """Compile the LeNet-5 that comes with the package, evaluate, verify and report it.

    Its 100 Fashion-MNIST test images are evaluated, with `data_dir` all 10,000, and `images` of
    them verified in Verilator with all their states. `done` is called after each stage with its
    name and result.
    """
    done = options.done or (lambda stage, result: None)
    told: dict[str, Any] = {"command": command, "progress": progress}
    images, count = FOLDER / "images.npz", options.images
    build = compile(str(FOLDER / "lenet5.safetensors"), data=images, out=options.out, **told)
    done("compile", facts_of(build))
    data, folder = ("fashion-mnist", options.data_dir) if options.data_dir else (images, None)
    done("eval", evaluate(build, data, data_dir=folder, **told))
    done("verify", verify(build, images=count, trace_images=count, data=images, **told))
    return write_report(build)


def show(facts: Result) -> None:
    """The latency, and where the report is."""
    latency = facts["latency"]
    if latency:
        print(
            f"latency: {latency['microseconds']:,.0f} us an image at {latency['clock_mhz']:g} MHz "
            f"({latency['clock_source']}), {latency['images_per_second']:,.0f} images/s"
        )
    print_page(facts)
