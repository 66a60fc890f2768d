"""The hardware of a build, of either machine: its size and its memories; of the second one more.

The second machine's facts are what was chosen and why, where each layer is, the clocks that were
predicted, and how many frames a second the host's line can bring.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias

import msgspec

from spikewright.machine import builds
from spikewright.machine.area import block_rams, luts
from spikewright.machine.clocks import Clocks
from spikewright.machine.images import Build
from spikewright.machine.link import Command, frame_requests, request
from spikewright.machine.schedule import LayerSchedule, Schedule
from spikewright.machine.storage import memories
from spikewright.network.frames import random_frames
from spikewright.records import to_builtins

__all__ = ["AnyBuild", "hardware", "memory_facts", "second_machine"]

AnyBuild: TypeAlias = Build | builds.Build
"""Of the first machine, or of the second."""
BITS_OF_A_BYTE = 10
"""On a UART, with start and stop."""


@dataclass(frozen=True)
class _Told:
    """What compile knew: why it is this machine, and the predicted clocks of every layer."""

    reason: str | None = None
    clocks: tuple[Clocks, ...] = ()


def hardware(build: AnyBuild) -> dict[str, Any]:
    """Cores, lanes, `membrane_bits`, and whatever else the machine is made of."""
    if isinstance(build, Build):
        return dict(to_builtins(build.mapping.shape))
    machine = build.schedule.machine
    return {
        "cores": machine.cores,
        "lanes": machine.lanes.count,
        "fire_units": machine.fire.count,
        "membrane_bits": machine.fire.membrane_bits,
        "machine": to_builtins(machine),
    }


def memory_facts(build: AnyBuild) -> list[dict[str, Any]]:
    """Every memory: `name`, `words`, `width` and `bits`; `block_rams` where that is known."""
    if isinstance(build, Build):
        return [
            {"name": m.name, "words": m.words, "width": m.width, "bits": m.words * m.width}
            for m in build.mapping.shape.memories()
        ]
    return [
        {
            "name": m.name,
            "words": m.words,
            "width": m.width,
            "bits": m.bits,
            "block_rams": m.blocks,
        }
        for m in memories(build.schedule.machine)
    ]


def second_machine(build: AnyBuild) -> dict[str, Any] | None:
    """What is known of a second machine without simulating it; of a first one nothing."""
    if isinstance(build, Build):
        return None
    schedule, told = build.schedule, _told(build)
    return {
        "reason": told.reason,
        "layers": [_placed(layer) for layer in schedule.layers],
        "clocks": [asdict(layer) for layer in told.clocks] or None,
        "block_rams": block_rams(schedule.machine),
        "luts": luts(schedule.machine),
        "rate": _rate(schedule, told.clocks, str(build.about.get("board"))),
    }


def _told(build: builds.Build) -> _Told:
    """From `about`, which is free; whatever else stands there tells nothing."""
    try:
        told = msgspec.convert(build.about.get("machine"), _Told)
    except msgspec.ValidationError:
        return _Told()
    return told if len(told.clocks) == len(build.schedule.layers) else _Told(told.reason)


def _placed(layer: LayerSchedule) -> dict[str, Any]:
    place = layer.placement
    return {
        "name": layer.layer.name,
        "channels": place.channels,
        "groups": layer.groups,
        "pool": list(place.pool),
        "members": list(place.members),
        "windows": place.windows,
        "word": place.word,
        "group_shares": place.group_shares,
        "tile_shares": place.tile_shares,
        "turns": place.turns,
        "weight_rows": layer.group_rows,
    }


def _rate(schedule: Schedule, layers: Sequence[Clocks], board: str) -> dict[str, Any]:
    """Bytes of a frame on the line; with a board what its line brings, and the machine computes."""
    frame = random_frames(schedule.network.input, 1, steps=schedule.network.input_steps).x[0]
    messages = [*frame_requests(schedule.frame_words(frame)), request(Command.RUN, 0)]
    size = sum(map(len, messages))
    total = sum(layer.total for layer in layers)
    clock = baud = None
    from spikewright import boards

    if board in boards.BOARDS:
        chosen = boards.get(board)
        clock, baud = chosen.clock_mhz, chosen.baud
    return {
        "frame_bytes": size,
        "baud": baud,
        "link_images_per_second": baud and baud / BITS_OF_A_BYTE / size,
        "clock_mhz": clock,
        "predicted_clocks": total or None,
        "computed_images_per_second": (clock and total and clock * 1e6 / total) or None,
    }
