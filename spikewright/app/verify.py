"""The golden model and the generated hardware, compared bit for bit."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np

from spikewright.app.builds import AnyBuild, open_build, store
from spikewright.app.command import Result, command
from spikewright.app.data import as_frames
from spikewright.app.options import Verify
from spikewright.app.printing import percent, print_model
from spikewright.errors import SpikewrightError
from spikewright.machine.images import Build
from spikewright.network.frames import Frames, random_frames
from spikewright.progress import Report
from spikewright.provenance import provenance
from spikewright.reports.description import describe
from spikewright.reports.facts import VERIFY, clocks, expected

if TYPE_CHECKING:
    from spikewright.sim.rtl.verify import VerifyReport

__all__ = ["show", "verify"]


@command(Verify)
def verify(options: Verify, command: str, progress: Report) -> dict[str, Any]:
    """Run images through the golden model and through the generated hardware, and compare.

    Both sides start from the files of
    the build directory. Outputs of all `images` frames must be equal, and of `trace_images` of them
    every spike and every membrane of every layer and step. The frames come from `data`, or else
    from the build's sample frames, then seeded random ones. The result goes into ``verify.json``
    and is returned; its field ``equal`` says whether all was, ``mismatch`` where it first was not.

    With `rtl`, another build directory of the same hardware shape, the hardware is loaded from
    there: where do two builds part? Nothing is stored then. Raises SpikewrightError for a build or
    frames that cannot be used.
    """
    checked = open_build(options.build)
    loaded = None if options.rtl is None else open_build(options.rtl)
    if loaded is not None and _shape(loaded) != _shape(checked):
        raise SpikewrightError(
            f"{loaded.directory}: is for hardware of another shape than {checked.directory}; "
            "compile both with the same network shape and options"
        )
    frames = _frames(checked, options)
    started = time.monotonic()
    outcome = _simulated(checked, loaded, frames, options, progress)
    result = {
        **outcome.to_json(),
        "model": describe(checked.network),
        "frames": frames.source,
        "seconds": round(time.monotonic() - started, 1),
        "about": provenance(command),
    }
    if loaded is None:
        store(checked, VERIFY, result)
    return result


def _shape(build: AnyBuild) -> object:
    return build.mapping.shape if isinstance(build, Build) else build.schedule.machine


def _simulated(
    build: AnyBuild, loaded: AnyBuild | None, frames: Frames, options: Verify, progress: Report
) -> VerifyReport:
    """The comparison, on the machine that the build is for."""
    common: dict[str, Any] = {
        "trace_images": options.trace_images,
        "stalls": options.stalls,
        "seed": options.seed % 2**31,
        "progress": progress,
    }
    if isinstance(build, Build):
        from spikewright.sim.rtl.sources import Sources
        from spikewright.sim.rtl.verify import verify as simulate

        if isinstance(loaded, Build):
            common |= {"images": loaded.images, "sources": Sources.of(loaded)}
        return simulate(build, frames.x, backend=options.sim, **common)  # type: ignore[arg-type]
    from spikewright.sim.rtl.machine_verify import verify_machine

    if options.sim != "verilator":
        raise SpikewrightError(
            f"{build.directory}: is for the second machine, which only verilator simulates; "
            "leave --sim away"
        )
    hardware = None if isinstance(loaded, Build) else loaded
    return verify_machine(build, frames.x, hardware=hardware, **common)


def _frames(build: AnyBuild, options: Verify) -> Frames:
    spec, steps, images = build.network.input, build.network.input_steps, options.images
    if options.data is not None:
        frames = as_frames(options.data, spec, steps=steps, directory=options.data_dir)
        if len(frames) < images:
            raise SpikewrightError(
                f"{frames.source}: holds {len(frames)} images, {images} were asked for"
            )
        return frames.head(images)
    kept, source = expected(build), str(build.about.get("sample", ""))
    known = np.zeros((0, *build.network.frame_shape), np.uint8)
    if kept is not None and "random" not in source:
        known = kept["x"][:images]
    rest = random_frames(spec, images - len(known), options.seed, steps=steps)
    if not len(known):
        return rest
    source = f"{len(known)} sample frames of the build ({source})"
    if len(rest):
        source += f", {len(rest)} {rest.source}"
    return Frames(np.concatenate([known, rest.x]), None, source)


def show(result: Result) -> None:
    """Equal or where not, and what the clocks were spent on."""
    if result["equal"]:
        print(
            f"equal: outputs of {result['images']} images, and every spike and membrane of "
            f"{result['traced']} of them ({result['backend']}; {result['frames']})"
        )
    else:
        print(f"NOT EQUAL: {result['mismatch']['text']}")
    print_model(result["model"])
    facts = clocks(result)
    if facts is None:
        counted = result["clocks"]
        print(f"clocks per image: {counted['mean']:,.0f} ({counted['min']:,}..{counted['max']:,})")
        return
    split = ", ".join(f"{name} {share:.1%}" for name, share in facts["shares"].items())
    print(f"clocks per image: {facts['mean']:,.0f} ({split})")
    print(
        f"utilisation: word operations {percent(facts['word_utilisation'])}, "
        f"lanes {percent(facts['lane_utilisation'])}"
    )
