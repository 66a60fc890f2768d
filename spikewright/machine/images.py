"""Build directories: the images on disk, their checks, and the network rebuilt from them.

`network.json` holds the structure, the mapping and the CRC-32 of every ``.mem`` file; the numbers
stand in the ``.mem`` files alone (hex words, one a line, as ``$readmemh`` takes them).
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from spikewright.errors import SpikewrightError
from spikewright.files import write_text
from spikewright.machine.hardware import Mapping, MemoryShape
from spikewright.machine.layout import check_ranges, pack, unpack
from spikewright.network import (
    SCHEMA,
    FloatNetwork,
    Layer,
    Network,
    Synapse,
    check_schema,
    geometry_from_json,
    geometry_to_json,
    input_from_json,
    input_to_json,
)
from spikewright.network.neuron import NeuronModel, NeuronSpec

__all__ = ["Build", "MemoryImage", "make_images", "read_build", "write_build"]

NETWORK = "network.json"
FLOAT = "float.npz"


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
    """A build directory that passed its checks; `network` is rebuilt from the images alone."""

    directory: Path
    network: Network
    mapping: Mapping
    images: dict[str, MemoryImage]
    about: dict[str, Any]

    @cached_property
    def float_network(self) -> FloatNetwork | None:
        """The converted float network, if the build keeps it."""
        path = self.directory / FLOAT
        return FloatNetwork.load(path) if path.exists() else None


def make_images(network: Network, mapping: Mapping) -> dict[str, MemoryImage]:
    """The images of `network`, by memory name; checks that no membrane can wrap."""
    check_ranges(network, mapping)
    words = pack(network, mapping)
    return {
        shape.name: MemoryImage(shape, tuple(words[shape.name]))
        for shape in mapping.shape.loadable()
    }


def _structure(network: Network) -> dict[str, Any]:
    return {
        "input": input_to_json(network.input),
        "steps": network.steps,
        "input_steps": network.input_steps,
        "weight_bits": network.weight_bits,
        "layers": [
            {
                "name": layer.name,
                "neuron": layer.neuron.to_json(),
                "shape": layer.shape,
                "unit": layer.unit.tolist(),
                "potential_range": [int(low.min()), int(high.max())],
                "synapses": [
                    {
                        **geometry_to_json(synapse),
                        "weight_shape": synapse.weight.shape,
                        "shift": synapse.shift,
                    }
                    for synapse in layer.synapses
                ],
            }
            for layer, (low, high) in zip(network.layers, network.potential_ranges, strict=True)
        ],
    }


def _skeleton(data: dict[str, Any]) -> Network:
    """The network of :func:`_structure` with placeholder numbers, for :func:`unpack` to fill."""
    layers = []
    for entry in data["layers"]:
        c, h, w = entry["shape"]
        spec = NeuronSpec.from_json(entry["neuron"])
        pooling = spec.model is NeuronModel.MAX_POOL
        synapses = tuple(
            Synapse(
                weight=_placeholder(s["weight_shape"], pooling),
                shift=s["shift"],
                **geometry_from_json(s),
            )
            for s in entry["synapses"]
        )
        ones = np.ones(c, np.int64)
        unit = np.array(entry["unit"])
        layers.append(
            Layer(entry["name"], spec, (c, h, w), synapses, ones, 0 * ones, 0 * ones, unit)
        )
    return Network(
        input_from_json(data["input"]),
        data["steps"],
        data["weight_bits"],
        tuple(layers),
        data.get("input_steps", 0),
    )


def _placeholder(shape: Sequence[int], identity: bool) -> npt.NDArray[np.int64]:
    """Weights of `shape` that a layer accepts: max pooling takes the identity and nothing else."""
    weight = np.zeros(shape, np.int64)
    if identity:
        weight[np.arange(shape[0]), np.arange(shape[0])] = 1
    return weight


def write_build(
    directory: str | Path,
    network: Network,
    mapping: Mapping,
    *,
    float_network: FloatNetwork | None = None,
    about: dict[str, Any] | None = None,
) -> Build:
    """Write images, float network and `network.json` (last) into an existing `directory`.

    `about` is free JSON on how the figures were obtained (command, versions, calibration).
    """
    target = Path(directory)
    images = make_images(network, mapping)
    crcs = {}
    for name, image in images.items():
        text = image.to_mem()
        write_text(target / f"{name}.mem", text)
        crcs[name] = f"{zlib.crc32(text.encode()):08x}"
    if float_network is not None:
        float_network.save(target / FLOAT)
    header = {
        "schema": SCHEMA,
        "kind": "build",
        "network": _structure(network),
        "mapping": mapping.to_json(),
        "crc32": crcs,
        "about": about or {},
    }
    write_text(target / NETWORK, json.dumps(header, indent=1) + "\n")
    return Build(target, network, mapping, images, about or {})


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii")
    except FileNotFoundError:
        raise SpikewrightError(f"{path}: no such file; run spikewright compile first") from None
    except (OSError, UnicodeDecodeError) as error:
        raise SpikewrightError(f"{path}: cannot be read ({error}); compile again") from None


def read_build(directory: str | Path) -> Build:
    """Read and check a build directory: schema, sizes, ranges and every CRC-32.

    Raises SpikewrightError naming the file, the field and the reason.
    """
    target = Path(directory)
    path = target / NETWORK
    try:
        header = json.loads(_read(path))
        check_schema(header, path)
        if header.get("kind") != "build":
            raise SpikewrightError(f"{path}: is not the description of a build; compile again")
        if header["schema"] < SCHEMA:
            raise SpikewrightError(
                f"{path}: schema version {header['schema']} is of older hardware; compile again"
            )
        mapping = Mapping.from_json(header["mapping"])
        skeleton = _skeleton(header["network"])
        crcs = header["crc32"]
        images = {}
        for shape in mapping.shape.loadable():
            file = target / f"{shape.name}.mem"
            text = _read(file)
            images[shape.name] = MemoryImage.from_mem(shape, text, str(file))
            crc = f"{zlib.crc32(text.encode()):08x}"
            if crc != crcs[shape.name]:
                raise SpikewrightError(
                    f"{file}: CRC-32 is {crc}, {NETWORK} says {crcs[shape.name]}; the file was "
                    "changed or damaged, compile again"
                )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise SpikewrightError(
            f"{path}: is damaged ({type(error).__name__}: {error}); compile again"
        ) from None
    words: dict[str, Sequence[int]] = {name: image.words for name, image in images.items()}
    network = unpack(skeleton, mapping, words)
    check_ranges(network, mapping)
    if pack(network, mapping)["program"] != list(words["program"]):
        raise SpikewrightError(
            f"{target / 'program.mem'}: does not match the layers of {NETWORK}; compile again"
        )
    return Build(target, network, mapping, images, header.get("about", {}))
