"""What the build directories of both machines share: image files, checksums, the sealed header.

`network.json` is the header: it says what the network is and how it lies in the memories, and holds
the CRC-32 of every file of the build. Numbers stand in the ``.mem`` files alone: hex words, one a
line, as ``$readmemh`` takes them.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import msgspec
import numpy as np
import numpy.typing as npt

from spikewright.errors import SpikewrightError
from spikewright.files import NPZ_BYTES, read_bytes, shown, write_text
from spikewright.machine.hardware import MemoryShape
from spikewright.network import FloatNetwork, InputSpec, Layer
from spikewright.network.arrays import Floats
from spikewright.network.limits import VALUES
from spikewright.records import read_record

if TYPE_CHECKING:
    from spikewright.network import Network

__all__ = [
    "AGAIN",
    "FLOAT",
    "NETWORK",
    "BuildFiles",
    "MemoryImage",
    "Placeholders",
    "Skeleton",
    "check_names",
    "checked",
    "compare_words",
    "read_header",
    "read_image",
    "sealed",
    "without_integers",
    "write_files",
]

NETWORK = "network.json"
FLOAT = "float.npz"
FILES = re.compile(r"[a-z0-9_]{1,64}\.(mem|v|json|npz)")
"""Names of the files that a CRC-32 may be of."""
AGAIN = "compile it again"

T = TypeVar("T")


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
        if not re.fullmatch(rf"(?:[0-9a-f]{{{digits}}}\n)*", text):
            for number, line in enumerate(lines, 1):
                if len(line) != digits or any(c not in "0123456789abcdef" for c in line):
                    raise SpikewrightError(
                        f"{where}, line {number}: {line[:40]!r} is not a word of {digits} hex "
                        "digits; compile again"
                    )
        try:
            return cls(shape, tuple(int(line, 16) for line in lines))
        except SpikewrightError as error:
            raise SpikewrightError(f"{where}: {error}; compile again") from None


class BuildFiles:
    """The files beside the images: what both machines' builds can be asked for."""

    directory: Path
    crc32: dict[str, str]
    """Of every file that belongs to the build, by name."""
    if TYPE_CHECKING:

        @property
        def network(self) -> Network:
            """The network that the images hold."""

    @cached_property
    def float_network(self) -> FloatNetwork | None:
        """The converted float network, if the build keeps it; raises if it is of another one."""
        if FLOAT not in self.crc32:
            return None
        path = self.directory / FLOAT
        checked(path, self.crc32)
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
        return checked(self.directory / name, self.crc32).decode(errors="replace")


@dataclass(frozen=True)
class Skeleton:
    """A network whose integers stand elsewhere: the fields of :class:`Network`, not yet checked."""

    input: InputSpec
    steps: int
    weight_bits: int
    layers: tuple[Layer, ...]
    input_steps: int


def without_integers(array: npt.NDArray[Any]) -> Any:
    """What of an array stands in the header: real numbers; of integers the shape alone."""
    return array.shape if array.dtype == np.int64 else array.tolist()


class Placeholders:
    """The inverse: integer arrays are ones, until the numbers are read from the images."""

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


# ----------------------------------------------------------------------------------------- writing


def write_files(
    target: Path, texts: Mapping[str, str], float_network: FloatNetwork | None
) -> dict[str, str]:
    """Write `texts` by name, and the float network; the CRC-32 of each."""
    for name, text in texts.items():
        write_text(target / name, text)
    crcs = {name: _crc(text.encode()) for name, text in texts.items()}
    if float_network is not None:
        float_network.save(target / FLOAT)
        crcs[FLOAT] = _crc(read_bytes(target / FLOAT, NPZ_BYTES))
    return crcs


def sealed(header: dict[str, Any]) -> dict[str, Any]:
    """`header` with the `checksum` that fits: CRC-32 of its other fields as JSON, keys sorted."""
    rest = {name: value for name, value in header.items() if name != "checksum"}
    return rest | {"checksum": _crc(json.dumps(rest, sort_keys=True).encode())}


def _crc(data: bytes) -> str:
    return f"{zlib.crc32(data):08x}"


# ----------------------------------------------------------------------------------------- reading


def read_header(path: Path, kind: type[T], **options: Any) -> T:
    """The `kind` in the sealed file `path`; `options` as of :func:`read_record`."""
    header = read_record(path, dict[str, Any], remedy=AGAIN, **options)
    if sealed(header)["checksum"] != header.get("checksum"):
        raise SpikewrightError(f"{shown(path)}: was changed or damaged (checksum); {AGAIN}")
    return read_record(path, kind, remedy=AGAIN, dec_hook=Placeholders(), **options)


def check_names(target: Path, crcs: dict[str, str]) -> None:
    """Refuse names that are no files of ours, and files but images whose CRC-32 is another."""
    for name in crcs:
        if not FILES.fullmatch(name):
            raise SpikewrightError(
                f"{shown(target / NETWORK)}: {name[:80]!r} is no file of ours; {AGAIN}"
            )
        if not name.endswith(".mem"):
            checked(target / name, crcs)


def checked(file: Path, crcs: dict[str, str], limit: int = NPZ_BYTES) -> bytes:
    """The bytes of a file whose CRC-32 is the one in `crcs`."""
    data, wanted = read_bytes(file, limit), crcs.get(file.name)
    if _crc(data) != wanted:
        raise SpikewrightError(
            f"{shown(file)}: CRC-32 is {_crc(data)}, {NETWORK} says {wanted}; the file was "
            f"changed or damaged, {AGAIN}"
        )
    return data


def read_image(
    target: Path, shape: MemoryShape, crcs: dict[str, str], limit: int = NPZ_BYTES
) -> MemoryImage:
    """The image of a memory: as many words as it has, and the CRC-32 that `crcs` says."""
    file = target / f"{shape.name}.mem"
    text = read_bytes(file, limit).decode(errors="replace")
    image = MemoryImage.from_mem(shape, text, shown(file))
    checked(file, crcs, limit)
    return image


def compare_words(file: Path, got: Iterable[int], wanted: Iterable[int]) -> None:
    """Refuse words that are neither numbers of the network nor what follows from it."""
    got, wanted = list(got), list(wanted)
    if got == wanted:
        return
    for line, (word, other) in enumerate(zip(got, wanted, strict=True), 1):
        if word != other:
            raise SpikewrightError(
                f"{shown(file)}, line {line}: does not match the layers of {NETWORK}: "
                f"{word:x} instead of {other:x}; {AGAIN}"
            )
