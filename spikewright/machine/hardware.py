"""The hardware contract: what an accelerator looks like and how a network lies on it.

:class:`HardwareShape` is everything elaboration needs; two networks of one shape run on the same
bitstream or simulator binary. :class:`Mapping` says which core owns which output channels and where
each layer lies in the memories. A *program* (one list of :class:`Instruction`) configures the cores
layer by layer. `docs/formats.md` states the same for readers of the files.
"""

from __future__ import annotations

import enum
import json
import zlib
from collections.abc import Mapping as AnyMapping
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from typing import Any

from spikewright.errors import SpikewrightError

__all__ = [
    "ALL_UNITS",
    "FRAME_UNIT",
    "MAX_CORES",
    "Activity",
    "HardwareShape",
    "Instruction",
    "LayerMapping",
    "Mapping",
    "MemoryShape",
    "Mode",
    "Opcode",
    "Region",
    "Register",
    "memory_id",
]

MAX_CORES = 16
FRAME_UNIT = 30
"""The unit of the frame source."""
ALL_UNITS = 31
"""Addresses every core and every source at once."""


class Opcode(enum.IntEnum):
    """What an instruction of the program does."""

    SET = 0
    """Set one register of one unit."""
    RUN = 1
    """Run the layer that the registers describe, over all steps, on every core with GROUPS > 0."""
    READ = 2
    """Send the first `value` outputs of the last layer from one core to the readout."""
    END = 3
    """The image is done."""


class Mode(enum.IntFlag):
    """Bits of the registers FIRE and FINAL: what a scan may do (see :mod:`.neuron`)."""

    FIRES = 1
    HOLDS = 2
    """Not on a tie."""
    BELOW = 4
    """Takes a spike back below zero."""
    AT = 8
    """Takes a spike back at the negative threshold."""
    GATED = 16
    """Not below a count of zero."""
    LIMITED = 32
    """Not beyond a count of LIMIT."""
    CAPPED = 64
    """The greatest digit, if sent, is all of the step."""
    POWER = 128
    """Any digit is all of the step."""
    ZERO = 256
    """Resets to zero."""
    SWITCHES = 512
    """Sends the changes of whether it fires (TSC)."""
    LATCH = 1024
    """Once ceased, silent for ever."""
    MAXIMUM = 2048
    """The potential is the greatest of WINDOW membranes, less the count."""


class Register(enum.IntEnum):
    """Registers of a unit. SOURCE_GROUPS to SOURCE_REPEATS are its spike (or frame) source's."""

    LAYER = 0
    """Index of the layer, for the trace."""
    STEPS = 1
    """All steps, the final one included; the direct frame source sends one."""
    GROUPS = 2
    """Channel groups (of `lanes` channels) this core owns in the layer; 0: takes no part."""
    WORDS = 3
    """Membrane words of a group: output height times width, times WINDOW."""
    FIRE = 4
    """The :class:`Mode` of ordinary steps."""
    TOKENS = 5
    """End-of-step tokens that complete a step: the number of sources that take part."""
    CURRENT = 6
    """1: events are the frame's; they go into the second accumulator, once. 2: events go into the
    second accumulator in every step. 0: into the membranes."""
    SHIFT = 7
    """Static shift of the weights: the membrane's fractional bits."""
    WEIGHT_BASE = 8
    WEIGHT_COLUMN = 9
    """Weight words from one landing tap to the next in a kernel row."""
    WEIGHT_ROW = 10
    """Weight words from one landing kernel row to the next."""
    WEIGHT_GROUP = 11
    """Weight words of a whole group."""
    WORD_ROW = 12
    """Membrane words by which each further kernel row lands earlier: the output width."""
    PARAMETER_BASE = 13
    SPIKE_BASE = 14
    """Where this layer's spikes are written, step after step."""
    INPUT_STEPS = 15
    """Steps with bias and input."""
    SOURCE_GROUPS = 16
    """Channel groups that this source sends (the frame source: channels); 0: silent."""
    SOURCE_CHANNEL = 17
    """The first channel of the first group."""
    SOURCE_HEIGHT = 18
    SOURCE_WIDTH = 19
    SOURCE_BASE = 20
    """Where the source layer's spikes begin in this core's spike buffer."""
    AXIS_Y = 21
    """First entry of the axis table for y."""
    AXIS_X = 22
    SOURCE_PLANES = 23
    """Digits of an ordinary step: each is a pass over all words, the greatest first."""
    SOURCE_FINAL = 24
    """Digits of the last step."""
    SOURCE_REPEATS = 25
    """1: the same words are read again in every step. A core's then hold numbers that pairs of
    events code (TSC)."""
    PASSES = 26
    """Scans of an ordinary step, one a digit."""
    FINAL_PASSES = 27
    """Scans of the last step, which add their first row whether there is input or not; 0: it is an
    ordinary step."""
    FINAL = 28
    """The :class:`Mode` of the final step."""
    LIMIT = 29
    """Zmax: the greatest count."""
    WINDOW = 30
    """Membranes of a max-pool window; 1 for all other layers."""
    OUTPUTS = 31
    """Membrane words of a group that fire: WORDS over WINDOW."""


@dataclass(frozen=True)
class Instruction:
    """One 32-bit word: opcode in bits 1:0, unit 6:2, register 11:7, value 31:12."""

    opcode: Opcode
    unit: int = 0
    register: int = 0
    value: int = 0

    VALUE_BITS = 20

    def encode(self) -> int:
        """Raises SpikewrightError if the value does not fit."""
        if not 0 <= self.value < 1 << self.VALUE_BITS:
            raise SpikewrightError(
                f"program: value {self.value} of register {self.register} does not fit "
                f"{self.VALUE_BITS} bits; the network is too large for one core"
            )
        return self.opcode | self.unit << 2 | self.register << 7 | self.value << 12

    @classmethod
    def decode(cls, word: int) -> Instruction:
        return cls(Opcode(word & 3), word >> 2 & 31, word >> 7 & 31, word >> 12)


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
    frame_words: int
    program_words: int
    axis_words: int
    weight_words: int
    parameter_words: int
    membrane_words: int
    current_words: int
    spike_words: int

    def __post_init__(self) -> None:
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
        return bits_for(self.weight_words - 1)

    @property
    def word_address_bits(self) -> int:
        return bits_for(max(self.membrane_words, self.current_words) - 1)

    @property
    def tap_bits(self) -> int:
        return bits_for(self.taps)

    @property
    def shift_bits(self) -> int:
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
            "layer": 5,
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
        return sum(self.trace_fields.values())

    def loadable(self) -> tuple[MemoryShape, ...]:
        """The memories the host writes, in loading order (the frame, which changes, is apart)."""
        axis = sum(self.axis_fields.values())
        result = [
            MemoryShape("program", self.program_words, 32, memory_id(Region.PROGRAM)),
            MemoryShape("axis", self.axis_words, axis, memory_id(Region.AXIS)),
        ]
        for core in range(self.cores):
            result += [
                MemoryShape(
                    f"weight_{core}",
                    self.weight_words,
                    self.lanes * self.weight_bits,
                    memory_id(Region.WEIGHT, core),
                ),
                MemoryShape(
                    f"parameter_{core}",
                    self.parameter_words,
                    self.lanes * self.compare_bits,
                    memory_id(Region.PARAMETER, core),
                ),
            ]
        return tuple(result)

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
        result += cores
        for core in range(self.cores):
            result += [
                MemoryShape(
                    f"membrane_{core}", self.membrane_words, self.lanes * self.membrane_bits
                ),
                MemoryShape(f"current_{core}", self.current_words, self.lanes * self.current_bits),
                MemoryShape(
                    f"count_{core}",
                    self.membrane_words if self.state_bits else 0,
                    self.lanes * self.state_bits,
                ),
                MemoryShape(f"spike_{core}", self.spike_words, self.spike_width),
            ]
        return tuple(memory for memory in result if memory.words)

    @cached_property
    def digest(self) -> int:
        """CRC-32 of the shape: a host compares it before it loads images into a bitstream."""
        return zlib.crc32(json.dumps(self.to_json(), sort_keys=True).encode())

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: AnyMapping[str, Any]) -> HardwareShape:
        try:
            return cls(**data)
        except TypeError as error:
            raise SpikewrightError(f"hardware shape: {error}") from None


@dataclass(frozen=True)
class LayerMapping:
    """Where one layer lies; the tuples hold one entry a core.

    `passes` are the scans of an ordinary step, one a digit; `final_passes` those of the final step,
    0 where it is like any other.
    """

    passes: int
    final_passes: int

    first_group: tuple[int, ...]
    groups: tuple[int, ...]
    weight_base: tuple[int, ...]
    parameter_base: tuple[int, ...]
    spike_base: tuple[int, ...]
    axis_y: int
    axis_x: int

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: AnyMapping[str, Any]) -> LayerMapping:
        values: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in data.items()
        }
        return cls(**values)


@dataclass(frozen=True)
class Mapping:
    """A network laid out on hardware of `shape`."""

    shape: HardwareShape
    layers: tuple[LayerMapping, ...]

    def to_json(self) -> dict[str, Any]:
        return {
            "shape": self.shape.to_json(),
            "layers": [layer.to_json() for layer in self.layers],
        }

    @classmethod
    def from_json(cls, data: AnyMapping[str, Any]) -> Mapping:
        return cls(
            HardwareShape.from_json(data["shape"]),
            tuple(LayerMapping.from_json(layer) for layer in data["layers"]),
        )
