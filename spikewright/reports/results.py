"""The files of results that lie in a build or beside it: what each must hold, and their reader."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from msgspec import Meta

from spikewright.files import PathLike
from spikewright.records import read_record, to_builtins
from spikewright.sim.rtl import compare

__all__ = ["CHOICES", "RESULTS", "Evaluation", "Synthesis", "Verification", "read_result"]

OLDEST = 2
"""The first schema whose evaluations were of this form."""

CHOICES = ("conversion", "calibration", "calibrated", "percentile", "channelwise")
"""What a network is compiled with, T and the width of its weights apart."""

Share = Annotated[float, Meta(ge=0, le=1)]
Count = Annotated[int, Meta(ge=0, lt=2**53)]
Several = Annotated[int, Meta(ge=1, lt=2**53)]
Amount = Annotated[float, Meta(ge=0, le=1e18)]
Frequency = Annotated[float, Meta(gt=0, le=1e6)]
"""In MHz."""
Steps = Annotated[int, Meta(ge=1, lt=2**31)]


@dataclass(frozen=True)
class Origin:
    """How a result was obtained, as :func:`spikewright.provenance.provenance` tells it."""

    command: str
    date: str
    commit: str | None
    versions: dict[str, str]


@dataclass(frozen=True)
class Accuracy:
    """Shares of images, after the last step."""

    ann: Share
    float_snn: Share
    integer_snn: Share


@dataclass(frozen=True)
class Answer:
    """What a network answers after T steps; counts are means an image."""

    T: Steps
    float_snn: Share
    integer_snn: Share
    spikes: Amount
    synaptic_operations: Amount


@dataclass(frozen=True)
class Course:
    """The same, a value a step."""

    float_snn: list[Share]
    integer_snn: list[Share]
    spikes: list[Amount]
    synaptic_operations: list[Amount]


@dataclass(frozen=True)
class Evaluation:
    """``eval.json``: :func:`spikewright.sim.evaluation.measure` tells what its figures are."""

    schema: int
    kind: Literal["eval"]
    label: str
    frames: str
    images: Several
    steps: Steps
    input_steps: Steps
    weight_bits: Annotated[int, Meta(ge=2, le=32)]
    model: dict[str, str]
    accuracy: Accuracy
    prefixes: bool
    by_T: Annotated[list[Answer], Meta(min_length=1)]
    over_time: Course
    same_class: Share
    ties: Share
    spikes: Amount
    synaptic_operations: Amount
    neurons: Count
    spikes_per_neuron: Amount
    most_spikes: Count
    deviates: bool
    seconds: dict[str, Amount]
    images_per_second: dict[str, Amount]
    seed: int | None
    compile: dict[str, Any]
    about: Origin

    def __post_init__(self) -> None:
        for name, values in vars(self.over_time).items():
            if len(values) != self.steps:
                raise ValueError(f"over_time.{name} has {len(values)} of {self.steps} steps")
        for name in ("command", *CHOICES):
            if name not in self.compile:
                raise ValueError(f"compile has no {name}")


@dataclass(frozen=True)
class Clocks:
    """Of an image."""

    mean: Annotated[float, Meta(gt=0, le=1e18)]
    min: Count
    max: Count


@dataclass(frozen=True)
class Mismatch(compare.Mismatch):
    """The first difference, and how it is told."""

    text: str


@dataclass(frozen=True)
class Verification:
    """``verify.json``, as :class:`spikewright.sim.rtl.verify.VerifyReport` has it."""

    equal: bool
    mismatch: Mismatch | None
    backend: str
    images: Several
    traced: Count
    clocks: Clocks
    activity: dict[str, Count] | None
    word_utilisation: Share | None
    lane_utilisation: Amount | None
    lane_updates: Amount | None
    lanes: Several
    loading_clocks: Count | None
    model: dict[str, str]
    frames: str
    seconds: Amount
    about: Origin

    def __post_init__(self) -> None:
        if self.activity and None in (
            self.word_utilisation,
            self.lane_utilisation,
            self.lane_updates,
        ):
            raise ValueError("activity is there, and no utilisation")
        if self.equal is not (self.mismatch is None):
            raise ValueError("equal and mismatch contradict each other")
        if self.activity is not None and not sum(self.activity.values()):
            raise ValueError("activity counts no clocks")


@dataclass(frozen=True)
class Resource:
    """Of a device."""

    used: Count
    available: Several
    share: Amount


@dataclass(frozen=True)
class Synthesis:
    """``synth.json``, as :class:`spikewright.boards.synth.SynthReport` has it; MHz."""

    board: str
    device: str
    bitstream: str
    clock_mhz: Frequency
    fmax_mhz: Frequency
    seed: int
    resources: dict[str, Resource]
    critical_path: dict[str, Any] | None
    tools: dict[str, str]
    about: Origin


RESULTS: dict[str, type] = {"eval": Evaluation, "verify": Verification, "synth": Synthesis}
"""What each command writes into the build, as ``COMMAND.json``."""


def read_result(path: PathLike, command: str) -> dict[str, Any]:
    """What `command` wrote into `path`, checked, as plain JSON; raises SpikewrightError."""
    oldest = OLDEST if command == "eval" else None
    remedy = f"write it again with spikewright {command}, or delete it"
    record: Any = read_record(path, RESULTS[command], oldest=oldest, remedy=remedy)
    result: dict[str, Any] = to_builtins(record)
    return result
