"""The hardware contract: the shape of an accelerator and its memories.

:class:`HardwareShape` is everything elaboration needs; two networks of one shape run on the same
bitstream or simulator binary. `docs/formats.md` states the same for readers of the files.
"""

from __future__ import annotations

import enum
import json
import zlib
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from typing import Annotated

from msgspec import Meta

from spikewright.errors import SpikewrightError
from spikewright.machine.instructions import Mode
from spikewright.records import check_fields

__all__ = [
    "LAYERS",
    "MAX_CORES",
    "Activity",
    "HardwareShape",
    "MemoryShape",
    "Region",
    "bits_for",
    "memory_id",
]

MAX_CORES = 16
LAYER_BITS = 5
"""Of a layer's index in the trace."""
LAYERS = 1 << LAYER_BITS
"""The most layers of a program."""
Words = Annotated[int, Meta(le=2**28)]


class Region(enum.IntEnum):
    """Kinds of host-loadable memories; a memory id is the region plus the core index."""

    FRAME = 0x00
    """One pixel a word, in (channel, y, x) order; two banks, the host writes the free one."""
    PROGRAM = 0x01
    AXIS = 0x02
    """Entries ``weight offset, word offset, tap count``, the first in the low bits."""
    WEIGHT = 0x40
    """A word holds one weight for each lane, lane 0 in the low bits."""
    PARAMETER = 0x80
    """Rows of one number a lane: V(0) of every group; then for each scan of an ordinary step, and
    for each of the final one, what every group adds, compares with and (with `ceils`) adds to
    compare with zero."""


def memory_id(region: Region, core: int = 0) -> int:
    """The host's number of a memory."""
    return region + core


class Activity(enum.IntEnum):
    """What a core's issue slot did in one clock while an image was in flight."""

    IDLE = 0
    """Nothing to do: waiting for events, or between layers."""
    INTEGRATE = 1
    SCAN = 2
    INITIALISE = 3
    STALLED = 4
    """Held back: same-address interlock, parameter rows, or the trace stream."""


@dataclass(frozen=True)
class MemoryShape:
    """One physical memory: `words` of `width` bits; `name` is also the stem of its image file."""

    name: str
    words: int
    width: int
    id: int | None = None
    """Host memory id, None where the host cannot write."""

    @property
    def word_bytes(self) -> int:
        """Bytes of a word over the host link."""
        return -(-self.width // 8)


def bits_for(maximum: int) -> int:
    """Bits of an unsigned number in ``0..maximum``, at least one."""
    return max(1, int(maximum).bit_length())


@dataclass(frozen=True, kw_only=True)
class HardwareShape:
    """Everything elaboration depends on. Depths are per core, in words; defaults are plain IF's.

    `membrane_bits` holds every membrane, `compare_bits` every potential and what it is compared
    with, `current_bits` the second accumulator. `shift_max` is the largest total left shift of a
    weight.
    """

    cores: int
    lanes: int
    steps: int
    input_steps: int
    code: str = "direct"
    """The frame's :class:`~spikewright.network.InputCode`."""
    seed: int = 0
    pixel_bits: int
    weight_bits: int
    membrane_bits: int
    compare_bits: int
    current_bits: int
    count_bits: int = 0
    """Of the count of spikes sent; 0: no layer counts."""
    digits: int = 1
    """The most scans of a step."""
    shift_max: int
    modes: int = Mode.FIRES
    """Union of all layers' :class:`Mode` bits: what the lanes must be able to do."""
    signed: bool = False
    """Whether spikes have a sign."""
    ceils: bool = False
    """Whether spikes of several digits are taken back below zero (a third row a scan)."""
    pairs: bool = False
    """Whether layers send numbers as pairs: TSC, one layer after the other."""
    window: int = 1
    """The most membranes of a max-pool window."""
    taps: int
    """The most taps of one axis that one event lands on."""
    outputs: int
    frame_words: Words
    program_words: Words
    axis_words: Words
    weight_words: Words
    parameter_words: Words
    membrane_words: Words
    current_words: Words
    spike_words: Words

    def __post_init__(self) -> None:
        check_fields(self, "hardware")
        if not 1 <= self.cores <= MAX_CORES:
            raise SpikewrightError(f"hardware: {self.cores} cores; 1 to {MAX_CORES} are supported")
        if not (1 <= self.lanes <= 64) or self.lanes & (self.lanes - 1):
            raise SpikewrightError(f"hardware: {self.lanes} lanes; use a power of two up to 64")
        if max(self.membrane_bits, self.compare_bits) > 32:
            raise SpikewrightError(
                f"hardware: potentials need {max(self.membrane_bits, self.compare_bits)} bits, "
                "at most 32 are supported; use fewer steps or weight bits"
            )
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, int) and value < 0:
                raise SpikewrightError(f"hardware: {field.name} is negative")

    def has(self, mode: Mode) -> bool:
        """Whether some layer has one of the bits of `mode`."""
        return bool(self.modes & mode)

    @property
    def rows(self) -> int:
        """Parameter rows of one scan of a group."""
        return 3 if self.ceils else 2

    @property
    def spike_width(self) -> int:
        """Bits of a word of the spike buffer: mask, signs above it; or a number a lane."""
        plane = self.lanes * (1 + self.signed)
        return max(plane, self.lanes * self.count_bits) if self.pairs else plane

    @property
    def ends_early(self) -> bool:
        """Whether a digit may be all of its step, so that neurons remember that theirs is over."""
        return self.digits > 1 and self.has(Mode.CAPPED | Mode.POWER)

    @property
    def state_bits(self) -> int:
        """Bits a lane of the count memory: the count, and whether the step is done."""
        return self.count_bits + self.ends_early

    # Widths of the fields of an event, and of addresses.
    @property
    def weight_address_bits(self) -> int:
        """Of an address in the weight memory."""
        return bits_for(self.weight_words - 1)

    @property
    def word_address_bits(self) -> int:
        """Of an address in the membrane or current memory."""
        return bits_for(max(self.membrane_words, self.current_words) - 1)

    @property
    def tap_bits(self) -> int:
        """Of a number of taps."""
        return bits_for(self.taps)

    @property
    def shift_bits(self) -> int:
        """Of a shift of a weight."""
        return bits_for(self.shift_max)

    @property
    def axis_fields(self) -> dict[str, int]:
        """Fields of an axis entry and their widths, low bits first."""
        return {
            "weight": self.weight_address_bits,
            "word": self.word_address_bits,
            "count": self.tap_bits,
        }

    @property
    def trace_fields(self) -> dict[str, int]:
        """Fields of one trace record and their widths, low bits first.

        `word` counts the words of the core's slice of the layer: group, y, x; `digit` is the binary
        digit of the scan. `spikes` and `negative` (their signs), `counts` and `membranes` hold all
        lanes, lane 0 in the low bits, as they are after the scan; max-pool layers show what is left
        to send as their membrane.
        """
        result = {
            "core": bits_for(MAX_CORES - 1),
            "layer": LAYER_BITS,
            "step": bits_for(self.steps),
            "digit": bits_for(max(1, self.digits - 1)),
            "word": self.word_address_bits,
            "spikes": self.lanes,
            "negative": self.lanes if self.signed else 0,
            "counts": self.lanes * self.count_bits,
            "membranes": self.lanes * self.membrane_bits,
        }
        return {name: width for name, width in result.items() if width}

    @property
    def trace_bits(self) -> int:
        """Width of a trace record."""
        return sum(self.trace_fields.values())

    def loadable(self) -> tuple[MemoryShape, ...]:
        """The memories the host writes, in loading order (the frame, which changes, is apart)."""
        axis = sum(self.axis_fields.values())
        own = (
            (Region.WEIGHT, self.weight_words, self.lanes * self.weight_bits),
            (Region.PARAMETER, self.parameter_words, self.lanes * self.compare_bits),
        )
        return (
            MemoryShape("program", self.program_words, 32, memory_id(Region.PROGRAM)),
            MemoryShape("axis", self.axis_words, axis, memory_id(Region.AXIS)),
            *(
                MemoryShape(f"{region.name.lower()}_{core}", words, bits, memory_id(region, core))
                for core in range(self.cores)
                for region, words, bits in own
            ),
        )

    @property
    def frame(self) -> MemoryShape:
        """One bank of the frame memory; the hardware has two."""
        return MemoryShape("frame", self.frame_words, self.pixel_bits, memory_id(Region.FRAME))

    def memories(self) -> tuple[MemoryShape, ...]:
        """Every memory of the accelerator as instantiated, for resource estimates."""
        program, axis, *cores = self.loadable()
        result = [MemoryShape("frame", 2 * self.frame_words, self.pixel_bits), program]
        if self.code == "isi":
            result.append(MemoryShape("phase", self.frame_words, self.pixel_bits))
        # Each source (one a core, and the frame's) reads a y and an x entry at once.
        result += [
            MemoryShape(f"axis_{i}", axis.words, axis.width) for i in range(2 * (self.cores + 1))
        ]
        states = {
            "membrane": (self.membrane_words, self.lanes * self.membrane_bits),
            "current": (self.current_words, self.lanes * self.current_bits),
            "count": (self.membrane_words, self.lanes * self.state_bits),
            "spike": (self.spike_words, self.spike_width),
        }
        result += cores
        result += [
            MemoryShape(f"{name}_{core}", *size)
            for core in range(self.cores)
            for name, size in states.items()
        ]
        return tuple(memory for memory in result if memory.words and memory.width)

    @cached_property
    def digest(self) -> int:
        """CRC-32 of the shape: a host compares it before it loads images into a bitstream."""
        return zlib.crc32(json.dumps(asdict(self), sort_keys=True).encode())
