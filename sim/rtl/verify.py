"""Golden model against hardware, both from the files of a build: the comparison and its report."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from collections.abc import Mapping as AnyMapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from spikewright.machine.axes import window
from spikewright.machine.hardware import Activity
from spikewright.machine.images import Build, MemoryImage
from spikewright.network import Network
from spikewright.progress import Report, silent
from spikewright.sim.golden.model import Golden, GoldenResult
from spikewright.sim.rtl.compare import Mismatch, first_mismatch, first_output_mismatch
from spikewright.sim.rtl.run import Backend, RtlResult, patience, simulate
from spikewright.sim.rtl.sources import Sources

__all__ = ["BRIEF", "CACHE", "VerifyReport", "cache_of", "lane_updates", "portions", "verify"]

Frames = npt.NDArray[np.uint8]
CACHE = "sim"
"""Folder of a build directory that keeps compiled simulators."""
BRIEF = 10_000_000
"""Clocks of patience below which a simulator that is built sooner is done sooner."""
PORTION, TRACED_PORTION = 50, 10
"""Images of one simulation, without and with their states."""


@dataclass(frozen=True)
class VerifyReport:
    """What a verification found.

    `clocks` is ``(images,)``, as the hardware counts them; `activity` the clocks of all cores by
    activity, of the traced images (of the first if none was); `lane_updates` the updates an average
    image requires, see :func:`lane_updates`; `lanes` those of all cores together. `traced` images
    were compared in every state, all in their outputs. The second machine counts no activity, and
    has other updates: both are None.
    """

    backend: str
    images: int
    traced: int
    mismatch: Mismatch | None
    clocks: npt.NDArray[np.int64]
    activity: dict[str, int] | None
    lane_updates: float | None
    lanes: int
    loading_clocks: int | None

    @property
    def equal(self) -> bool:
        """Whether nothing differed."""
        return self.mismatch is None

    @property
    def word_utilisation(self) -> float | None:
        """Share of clocks in which a core integrated, scanned or initialised a word."""
        if self.activity is None:
            return None
        words = sum(self.activity[name] for name in ("integrate", "scan", "initialise"))
        return words / sum(self.activity.values())

    @property
    def lane_utilisation(self) -> float | None:
        """Share of lanes and clocks that did an update which the golden model requires."""
        if self.lane_updates is None:
            return None
        return self.lane_updates / (self.lanes * float(self.clocks.mean()))

    def to_json(self) -> dict[str, Any]:
        """What ``verify.json`` holds."""
        mismatch = None
        if self.mismatch is not None:
            mismatch = {**asdict(self.mismatch), "text": str(self.mismatch)}
        return {
            "equal": self.equal,
            "mismatch": mismatch,
            "backend": self.backend,
            "images": self.images,
            "traced": self.traced,
            "clocks": {
                "mean": float(self.clocks.mean()),
                "min": int(self.clocks.min()),
                "max": int(self.clocks.max()),
            },
            "activity": self.activity,
            "word_utilisation": self.word_utilisation,
            "lane_utilisation": self.lane_utilisation,
            "lane_updates": self.lane_updates,
            "lanes": self.lanes,
            "loading_clocks": self.loading_clocks,
        }


def lane_updates(network: Network, golden: GoldenResult) -> float:
    """Updates of single neurons that an average image requires.

    The additions its events make, every neuron's part in every scan of every step, and one
    initialisation of every membrane.
    """
    additions = sum(float(layer.mean()) for layer in golden.synaptic_operations)
    membranes = sum(int(np.prod(layer.shape)) * window(layer) for layer in network.layers)
    return additions + sum(golden.scan_operations) + membranes


def verify(
    build: Build,
    frames: Frames,
    *,
    backend: Backend = "verilator",
    trace_images: int = 10,
    images: AnyMapping[str, MemoryImage] | None = None,
    sources: Sources | None = None,
    stalls: float = 0.0,
    seed: int = 0,
    progress: Report = silent,
) -> VerifyReport:
    """Compare hardware and golden model on `frames`, uint8 ``(N, C, H, W)`` with N >= 1.

    The golden model is `build.network`, which is made from the image files alone. The hardware is
    the Verilog of the build directory, or `sources`, loaded with `build.images`, or with `images`
    to see what another content would do. The outputs of all frames must be equal on the plain top,
    and on the top with the trace every membrane and spike of the first `trace_images`. The first
    mismatch is reported. `stalls` and `seed` as in :func:`.rtl.simulate`. Raises SpikewrightError
    for a missing tool, bad frames, or hardware that does not keep to its protocol.
    """
    golden = Golden(build.network)
    traced = min(trace_images, len(frames))
    runs = portions(len(frames), traced)
    clocks = patience(build.network, build.mapping, 0.0)
    parts: list[RtlResult] = []
    counts = np.zeros(len(Activity), np.int64)
    updates = 0.0
    mismatch: Mismatch | None = None
    with cache_of(build.directory) as cache:
        for done, (first, last, top) in enumerate(runs):
            progress(f"verify: {backend}", done / len(runs))
            part, states = frames[first:last], top and first < traced
            expected = golden.run(part, trace=states)
            got = simulate(
                build.images if images is None else images,
                build.network,
                build.mapping,
                part,
                backend=backend,
                trace=states,
                traced_top=top,
                stalls=stalls,
                seed=seed + first,
                cache=cache,
                brief=(traced if top else len(frames)) * clocks < BRIEF,
                sources=Sources.of(build) if sources is None else sources,
            )
            found = _mismatch(build, expected, got)
            if found is not None and mismatch is None:
                mismatch = replace(found, image=found.image + first)
            if got.activity is not None:
                counts += got.activity.sum((0, 1))
            else:
                updates += lane_updates(build.network, expected) * len(part)
                parts.append(got)
    return VerifyReport(
        backend=backend,
        images=len(frames),
        traced=traced,
        mismatch=mismatch,
        clocks=np.concatenate([part.clocks for part in parts]),
        activity={kind.name.lower(): int(counts[kind]) for kind in Activity},
        lane_updates=updates / len(frames),
        lanes=build.mapping.shape.cores * build.mapping.shape.lanes,
        loading_clocks=parts[0].loading_clocks,
    )


@contextmanager
def cache_of(directory: Path) -> Iterator[Path]:
    """Where compiled simulators are kept: in the build directory, if it can be written."""
    own = directory / CACHE
    try:
        own.mkdir(exist_ok=True)
        tempfile.TemporaryFile(dir=own).close()
    except OSError:
        with tempfile.TemporaryDirectory(prefix="spikewright-") as place:
            yield Path(place)
    else:
        yield own


def portions(images: int, traced: int) -> list[tuple[int, int, bool]]:
    """First and last image of each simulation, and whether its top is the one with the trace.

    That one comes first, with few images at a time, as their states are large; without images to
    trace it tells what the clocks of the first are spent on. The plain top runs all images.
    """
    states = pairwise([*range(0, traced, TRACED_PORTION), max(traced, 1)])
    outputs = pairwise([*range(0, images, PORTION), images])
    return [*((*run, True) for run in states), *((*run, False) for run in outputs)]


def _mismatch(build: Build, expected: GoldenResult, got: RtlResult) -> Mismatch | None:
    """The first difference; a state comes before the output that follows from it."""
    if expected.trace is not None and got.trace is not None:
        found = first_mismatch(expected.trace, got.trace)
        if found is not None:
            return found
    return first_output_mismatch(
        build.network, (expected.potentials, expected.classes), (got.potentials, got.classes)
    )
