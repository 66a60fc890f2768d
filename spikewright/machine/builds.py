"""Build directories of the second machine: written, and read back from the images alone.

`network.json` holds the structure, the machine, the placement and the CRC-32 of every file that the
build consists of; the numbers stand in the ``.mem`` files alone. A reader finds them there, makes
the schedule again, packs it again, and compares every word.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from spikewright.errors import SpikewrightError
from spikewright.files import shown
from spikewright.machine.blocks import Machine
from spikewright.machine.choices import Placement
from spikewright.machine.directory import (
    AGAIN,
    FLOAT,
    NETWORK,
    BuildFiles,
    MemoryImage,
    Skeleton,
    check_names,
    compare_words,
    read_header,
    read_image,
    sealed,
    without_integers,
    write_files,
)
from spikewright.machine.hardware import MemoryShape
from spikewright.machine.memories import Images, make_images
from spikewright.machine.numbers import read_numbers
from spikewright.machine.schedule import Schedule
from spikewright.machine.storage import loadable
from spikewright.network import FloatNetwork, Layer, Network
from spikewright.records import to_builtins, write_record

__all__ = ["FLOAT", "NETWORK", "SCHEMA", "Build", "image_files", "read_build", "write_build"]

SCHEMA = 4
"""Version of the second machine's builds."""


@dataclass(frozen=True)
class Build(BuildFiles):
    """A build directory that passed its checks; the schedule's network is that of the images.

    `crc32` is that of every file which belongs to it, by name.
    """

    directory: Path
    schedule: Schedule
    images: Images
    about: dict[str, Any]
    crc32: dict[str, str] = field(default_factory=dict)

    @property
    def network(self) -> Network:
        """What the golden model executes."""
        return self.schedule.network


@dataclass(frozen=True)
class _Header:
    """`network.json`; `checksum` is the CRC-32 of all other fields."""

    schema: int
    kind: Literal["build"]
    network: Skeleton
    machine: Machine
    placement: Placement
    crc32: dict[str, str]
    about: dict[str, Any]
    checksum: str


def image_files(machine: Machine, images: Images) -> dict[str, MemoryImage]:
    """The memories as a whole, by name: behind the words of `images` they hold zeros."""
    words = images.by_name
    return {
        shape.name: MemoryImage(shape, tuple(_filled(words[shape.name], shape)))
        for shape in loadable(machine)
    }


def write_build(
    directory: str | Path,
    schedule: Schedule,
    *,
    float_network: FloatNetwork | None = None,
    about: dict[str, Any] | None = None,
    files: Mapping[str, str] | None = None,
) -> Build:
    """Write images, float network and `files` into an existing `directory`, `network.json` last.

    `about` is free JSON on how the figures were obtained (command, versions, calibration). `files`
    are further texts that belong to the build, by name: the Verilog and its description.
    """
    target = Path(directory)
    images = make_images(schedule)
    made = image_files(schedule.machine, images)
    texts = {f"{name}.mem": image.to_mem() for name, image in made.items()} | dict(files or {})
    crcs = write_files(target, texts, float_network)
    header = {
        "schema": SCHEMA,
        "kind": "build",
        "network": to_builtins(schedule.network, without_integers),
        "machine": to_builtins(schedule.machine),
        "placement": to_builtins(schedule.placement),
        "crc32": crcs,
        "about": about or {},
    }
    write_record(target / NETWORK, sealed(header))
    return Build(target, schedule, images, about or {}, crcs)


def read_build(directory: str | Path) -> Build:
    """Read and check a build directory: schema, sizes, ranges and every CRC-32.

    Every word of an image that is not a number of the network is worked out again and compared.
    Raises SpikewrightError naming the file, the field or line, and the reason.
    """
    target = Path(directory)
    path = target / NETWORK
    header = read_header(path, _Header, oldest=SCHEMA, newest=SCHEMA)
    check_names(target, header.crc32)
    shapes = loadable(header.machine)
    unknown = {n for n in header.crc32 if n.endswith(".mem")} - {f"{s.name}.mem" for s in shapes}
    if unknown:
        raise SpikewrightError(
            f"{shown(path)}: {min(unknown)} is no memory of the machine; {AGAIN}"
        )
    words = {
        shape.name: read_image(target, shape, header.crc32, _limit(shape)).words for shape in shapes
    }
    try:
        schedule = _rebuilt(header, words)
        images = make_images(schedule)
    except (SpikewrightError, ValueError, OverflowError, MemoryError) as error:
        raise SpikewrightError(f"{shown(path)}: {error}; {AGAIN}") from None
    wanted = images.by_name
    for shape in shapes:
        file = target / f"{shape.name}.mem"
        compare_words(file, words[shape.name], _filled(wanted[shape.name], shape))
    return Build(target, schedule, images, header.about, header.crc32)


def _rebuilt(header: _Header, words: Mapping[str, Sequence[int]]) -> Schedule:
    """The schedule of the network whose numbers stand in `words`."""
    layers = tuple(_blank(layer) for layer in header.network.layers)
    blank = Network(**vars(header.network) | {"layers": layers})
    layers = read_numbers(Schedule(blank, header.machine, header.placement), words)
    network = Network(**vars(header.network) | {"layers": layers})
    return Schedule(network, header.machine, header.placement)


def _blank(layer: Layer) -> Layer:
    """`layer` with numbers that fit any machine: no weights, no drive, thresholds of 1."""
    return replace(
        layer,
        synapses=tuple(replace(s, weight=np.zeros_like(s.weight)) for s in layer.synapses),
        bias=np.zeros_like(layer.bias),
        initial=np.zeros_like(layer.initial),
    )


def _filled(words: list[int], shape: MemoryShape) -> list[int]:
    return words + [0] * (shape.words - len(words))


def _limit(shape: MemoryShape) -> int:
    """Bytes of an image file that are read: more than a sound one has."""
    return 4096 + 2 * shape.words * (shape.width // 4 + 3)
