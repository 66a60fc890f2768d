"""Build directories: the images on disk, their checks, and the network rebuilt from them.

`network.json` holds the structure, the mapping and the CRC-32 of every file that the build consists
of; the numbers stand in the ``.mem`` files alone (hex words, one a line, as ``$readmemh`` takes
them). Whatever follows from the network is worked out again and compared.
"""

from __future__ import annotations

from collections.abc import Mapping as AnyMapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from spikewright.errors import SpikewrightError
from spikewright.files import shown
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
from spikewright.machine.mapping import Mapping
from spikewright.machine.packing import check_ranges, pack
from spikewright.machine.placement import place
from spikewright.machine.unpacking import unpack
from spikewright.network import FloatNetwork, Network
from spikewright.records import SCHEMA, to_builtins, write_record

__all__ = [
    "FLOAT",
    "NETWORK",
    "Build",
    "MemoryImage",
    "make_images",
    "read_build",
    "sealed",
    "write_build",
]


@dataclass(frozen=True)
class Build(BuildFiles):
    """A build directory that passed its checks; `network` is rebuilt from the images alone.

    `crc32` is that of every file which belongs to it, by name.
    """

    directory: Path
    network: Network
    mapping: Mapping
    images: dict[str, MemoryImage]
    about: dict[str, Any]
    crc32: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Header:
    """`network.json`; `checksum` is the CRC-32 of all other fields, see :func:`sealed`."""

    schema: int
    kind: Literal["build"]
    network: Skeleton
    potential_ranges: list[tuple[int, int]]
    mapping: Mapping
    crc32: dict[str, str]
    about: dict[str, Any]
    checksum: str


def make_images(network: Network, mapping: Mapping) -> dict[str, MemoryImage]:
    """The images of `network`, by memory name; checks that no membrane can wrap."""
    check_ranges(network, mapping)
    words = pack(network, mapping)
    return {
        shape.name: MemoryImage(shape, tuple(words[shape.name]))
        for shape in mapping.shape.loadable()
    }


def write_build(
    directory: str | Path,
    network: Network,
    mapping: Mapping,
    *,
    float_network: FloatNetwork | None = None,
    about: dict[str, Any] | None = None,
    files: AnyMapping[str, str] | None = None,
) -> Build:
    """Write images, float network and `files` into an existing `directory`, `network.json` last.

    `about` is free JSON on how the figures were obtained (command, versions, calibration). `files`
    are further texts that belong to the build, by name: the Verilog and its description.
    """
    target = Path(directory)
    images = make_images(network, mapping)
    texts = {f"{name}.mem": image.to_mem() for name, image in images.items()} | dict(files or {})
    crcs = write_files(target, texts, float_network)
    header = {
        "schema": SCHEMA,
        "kind": "build",
        "network": to_builtins(network, without_integers),
        "potential_ranges": _potential_ranges(network),
        "mapping": to_builtins(mapping),
        "crc32": crcs,
        "about": about or {},
    }
    write_record(target / NETWORK, sealed(header))
    return Build(target, network, mapping, images, about or {}, crcs)


def read_build(directory: str | Path) -> Build:
    """Read and check a build directory: schema, sizes, ranges and every CRC-32.

    What follows from the network (mapping, ranges, and every word of an image that is not one of
    its numbers) is worked out again and compared. Raises SpikewrightError naming the file, the
    field and the reason.
    """
    target = Path(directory)
    path = target / NETWORK
    described = read_header(path, _Header)
    check_names(target, described.crc32)
    images = {
        shape.name: read_image(target, shape, described.crc32)
        for shape in described.mapping.shape.loadable()
    }
    try:
        network = _rebuilt(described, images)
    except (SpikewrightError, ValueError, OverflowError) as error:
        raise SpikewrightError(f"{shown(path)}: {error}; {AGAIN}") from None
    _compare_images(target, network, described.mapping, images)
    return Build(target, network, described.mapping, images, described.about, described.crc32)


def _potential_ranges(network: Network) -> list[tuple[int, int]]:
    """The least and greatest potential of every layer."""
    bounds = (layer.potential for layer in network.ranges.layers)
    return [(int(low.min()), int(high.max())) for low, high in bounds]


def _rebuilt(header: _Header, images: dict[str, MemoryImage]) -> Network:
    """The network, if all that the header says of it is what it says itself."""
    if len(header.mapping.layers) != len(header.network.layers):
        raise SpikewrightError("mapping: has another number of layers than the network")
    words = {name: image.words for name, image in images.items()}
    layers = unpack(header.network.layers, header.mapping, words)
    network = Network(**vars(header.network) | {"layers": layers})
    shape = header.mapping.shape
    placed = place(network, shape.cores, shape.lanes)
    _compare(to_builtins(placed), to_builtins(header.mapping), "mapping")
    _compare(_potential_ranges(network), header.potential_ranges, "potential_ranges")
    return network


def _compare(wanted: Any, got: Any, where: str) -> None:
    """Raise SpikewrightError at the first difference."""
    if isinstance(wanted, dict):
        for name in wanted:
            _compare(wanted[name], got[name], f"{where}.{name}")
    elif isinstance(wanted, list | tuple) and len(wanted) == len(got):
        for i, (one, other) in enumerate(zip(wanted, got, strict=True)):
            _compare(one, other, f"{where}[{i}]")
    elif wanted != got:
        raise SpikewrightError(f"{where} is {shown(got)}, the network gives {shown(wanted)}")


def _compare_images(
    target: Path, network: Network, mapping: Mapping, images: dict[str, MemoryImage]
) -> None:
    """Refuse words that are neither numbers of the network nor what follows from it."""
    for name, words in pack(network, mapping).items():
        compare_words(target / f"{name}.mem", images[name].words, words)
