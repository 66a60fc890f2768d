"""Build directories: the images on disk, their checks, and the network rebuilt from them.

`network.json` holds the structure, the mapping and the CRC-32 of every file that the build consists
of; the numbers stand in the ``.mem`` files alone (hex words, one a line, as ``$readmemh`` takes
them). Whatever follows from the network is worked out again and compared.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Mapping as AnyMapping
from dataclasses import dataclass, field
from functools import cached_property
from math import prod
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
import numpy.typing as npt

from spikewright.errors import SpikewrightError
from spikewright.files import NPZ_BYTES, read_bytes, shown, write_text
from spikewright.machine.hardware import MemoryShape
from spikewright.machine.mapping import Mapping
from spikewright.machine.packing import check_ranges, pack
from spikewright.machine.placement import place
from spikewright.machine.unpacking import unpack
from spikewright.network import FloatNetwork, InputSpec, Layer, Network
from spikewright.network.arrays import Floats
from spikewright.network.limits import VALUES
from spikewright.records import SCHEMA, read_record, to_builtins, write_record

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

NETWORK = "network.json"
FLOAT = "float.npz"
FILES = re.compile(r"[a-z0-9_]{1,64}\.(mem|v|json|npz)")
"""Names of the files that a CRC-32 may be of."""
AGAIN = "compile it again"


@dataclass(frozen=True)
class MemoryImage:
    """The contents of one memory: `shape.words` unsigned words of `shape.width` bits."""

    shape: MemoryShape
    words: tuple[int, ...]

    def __post_init__(self) -> None:
        if len(self.words) != self.shape.words:
            raise SpikewrightError(
                f"{self.shape.name}: {len(self.words)} words, {self.shape.words} expected"
            )
        if any(word >> self.shape.width for word in self.words):
            raise SpikewrightError(
                f"{self.shape.name}: a word is wider than {self.shape.width} bits"
            )

    def to_bytes(self) -> bytes:
        """Little endian, `shape.word_bytes` bytes a word, as the host sends them."""
        size = self.shape.word_bytes
        return b"".join(word.to_bytes(size, "little") for word in self.words)

    def to_mem(self) -> str:
        """The text of the ``.mem`` file."""
        digits = -(-self.shape.width // 4)
        return "".join(f"{word:0{digits}x}\n" for word in self.words)

    @classmethod
    def from_mem(cls, shape: MemoryShape, text: str, where: str) -> MemoryImage:
        """Raises SpikewrightError for anything but the expected number of well-formed words."""
        lines = text.split()
        if len(lines) != shape.words:
            state = "truncated" if len(lines) < shape.words else "too long"
            raise SpikewrightError(
                f"{where}: holds {len(lines)} words, {shape.words} expected ({state}); "
                "compile again"
            )
        digits = -(-shape.width // 4)
        for number, line in enumerate(lines, 1):
            if len(line) != digits or any(c not in "0123456789abcdef" for c in line):
                raise SpikewrightError(
                    f"{where}, line {number}: {line[:40]!r} is not a word of {digits} hex digits; "
                    "compile again"
                )
        try:
            return cls(shape, tuple(int(line, 16) for line in lines))
        except SpikewrightError as error:
            raise SpikewrightError(f"{where}: {error}; compile again") from None


@dataclass(frozen=True)
class Build:
    """A build directory that passed its checks; `network` is rebuilt from the images alone.

    `crc32` is that of every file which belongs to it, by name.
    """

    directory: Path
    network: Network
    mapping: Mapping
    images: dict[str, MemoryImage]
    about: dict[str, Any]
    crc32: dict[str, str] = field(default_factory=dict)

    @cached_property
    def float_network(self) -> FloatNetwork | None:
        """The converted float network, if the build keeps it; raises if it is of another one."""
        if FLOAT not in self.crc32:
            return None
        path = self.directory / FLOAT
        _checked(path, self.crc32)
        result = FloatNetwork.load(path)
        if result.input != self.network.input or any(
            (real.name, real.shape, real.neuron) != (layer.name, layer.shape, layer.neuron)
            for real, layer in zip(result.layers, self.network.layers, strict=False)
        ):
            raise SpikewrightError(f"{path}: is not the network of {NETWORK}; {AGAIN}")
        return result

    def text(self, name: str) -> str:
        """The text of a file of the build, e.g. ``top.v``, as it was written."""
        if name not in self.crc32:
            raise SpikewrightError(f"{self.directory / name}: is no file of the build; {AGAIN}")
        return _checked(self.directory / name, self.crc32).decode(errors="replace")


@dataclass(frozen=True)
class _Structure:
    """A network whose integers stand elsewhere: the fields of :class:`Network`, not yet checked."""

    input: InputSpec
    steps: int
    weight_bits: int
    layers: tuple[Layer, ...]
    input_steps: int


@dataclass(frozen=True)
class _Header:
    """`network.json`; `checksum` is the CRC-32 of all other fields, see :func:`sealed`."""

    schema: int
    kind: Literal["build"]
    network: _Structure
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
    for name, text in texts.items():
        write_text(target / name, text)
    crcs = {name: _crc(text.encode()) for name, text in texts.items()}
    if float_network is not None:
        float_network.save(target / FLOAT)
        crcs[FLOAT] = _crc(read_bytes(target / FLOAT, NPZ_BYTES))
    header = {
        "schema": SCHEMA,
        "kind": "build",
        "network": to_builtins(network, _without_integers),
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
    header = read_record(path, dict[str, Any], remedy=AGAIN)
    if sealed(header)["checksum"] != header.get("checksum"):
        raise SpikewrightError(f"{shown(path)}: was changed or damaged (checksum); {AGAIN}")
    described = read_record(path, _Header, remedy=AGAIN, dec_hook=_Placeholders())
    for name in described.crc32:
        if not FILES.fullmatch(name):
            raise SpikewrightError(f"{shown(path)}: {name[:80]!r} is no file of ours; {AGAIN}")
        if not name.endswith(".mem"):
            _checked(target / name, described.crc32)
    images = {}
    for shape in described.mapping.shape.loadable():
        file = target / f"{shape.name}.mem"
        text = read_bytes(file, NPZ_BYTES).decode(errors="replace")
        images[shape.name] = MemoryImage.from_mem(shape, text, shown(file))
        _checked(file, described.crc32)
    try:
        network = _rebuilt(described, images)
    except (SpikewrightError, ValueError, OverflowError) as error:
        raise SpikewrightError(f"{shown(path)}: {error}; {AGAIN}") from None
    _compare_images(target, network, described.mapping, images)
    return Build(target, network, described.mapping, images, described.about, described.crc32)


def sealed(header: dict[str, Any]) -> dict[str, Any]:
    """`header` with the `checksum` that fits: CRC-32 of its other fields as JSON, keys sorted."""
    rest = {name: value for name, value in header.items() if name != "checksum"}
    return rest | {"checksum": _crc(json.dumps(rest, sort_keys=True).encode())}


def _crc(data: bytes) -> str:
    return f"{zlib.crc32(data):08x}"


def _checked(file: Path, crcs: dict[str, str]) -> bytes:
    """The bytes of a file whose CRC-32 is the one in `crcs`."""
    data, wanted = read_bytes(file, NPZ_BYTES), crcs.get(file.name)
    if _crc(data) != wanted:
        raise SpikewrightError(
            f"{shown(file)}: CRC-32 is {_crc(data)}, {NETWORK} says {wanted}; the file was "
            f"changed or damaged, {AGAIN}"
        )
    return data


def _without_integers(array: npt.NDArray[Any]) -> Any:
    """What of an array stands in the header: real numbers; of integers the shape alone."""
    return array.shape if array.dtype == np.int64 else array.tolist()


class _Placeholders:
    """The inverse: integer arrays are ones, until :func:`unpack` fills them."""

    def __init__(self) -> None:
        self.left = 2 * VALUES

    def __call__(self, kind: type, data: Any) -> npt.NDArray[Any]:
        if kind == Floats:
            return np.array(msgspec.convert(data, list[float]), np.float64)
        size = Annotated[int, msgspec.Meta(ge=1, le=VALUES)]
        shape = msgspec.convert(data, Annotated[list[size], msgspec.Meta(max_length=4)])
        self.left -= prod(shape)
        if self.left < 0:
            raise ValueError(f"the network holds more than {2 * VALUES} numbers")
        return np.ones(shape, np.int64)


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
        if tuple(words) != images[name].words:
            pairs = enumerate(zip(images[name].words, words, strict=True), 1)
            line, got, wanted = next((i, a, b) for i, (a, b) in pairs if a != b)
            raise SpikewrightError(
                f"{shown(target / name)}.mem, line {line}: does not match the layers of {NETWORK}: "
                f"{got:x} instead of {wanted:x}; {AGAIN}"
            )
