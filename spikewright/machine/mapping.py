"""The mapping: which core owns which output channels, and where each layer lies in the memories."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from msgspec import Meta

from spikewright.errors import SpikewrightError
from spikewright.machine.hardware import HardwareShape
from spikewright.records import check_fields

__all__ = ["LayerMapping", "Mapping"]

Scans = Annotated[int, Meta(ge=1, le=63)]
FinalScans = Annotated[int, Meta(ge=0, le=63)]
Place = Annotated[int, Meta(ge=0, le=2**28)]


@dataclass(frozen=True)
class LayerMapping:
    """Where one layer lies; the tuples hold one entry a core.

    `passes` are the scans of an ordinary step, one a digit; `final_passes` those of the final step,
    0 where it is like any other.
    """

    passes: Scans
    final_passes: FinalScans

    first_group: tuple[Place, ...]
    groups: tuple[Place, ...]
    weight_base: tuple[Place, ...]
    parameter_base: tuple[Place, ...]
    spike_base: tuple[Place, ...]
    axis_y: Place
    axis_x: Place

    def __post_init__(self) -> None:
        check_fields(self, "mapping")


@dataclass(frozen=True)
class Mapping:
    """A network laid out on hardware of `shape`."""

    shape: HardwareShape
    layers: tuple[LayerMapping, ...]

    def __post_init__(self) -> None:
        per_core = ("first_group", "groups", "weight_base", "parameter_base", "spike_base")
        for layer in self.layers:
            if any(len(getattr(layer, name)) != self.shape.cores for name in per_core):
                raise SpikewrightError(f"mapping: a layer does not lie on {self.shape.cores} cores")
