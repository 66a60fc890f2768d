"""What the blocks of the second machine are built with: one frozen contract each, and the machine.

A block's parameters own its derived widths and its latency in clocks; hardware, schedule, packing
and interpreter read them here. Nothing of a network is among them: T, layers, shapes and learnt
numbers are contents of the memories.

    items -> walker -> spike memory -> picker -> weight row -> lanes -> fire units -> pool -> packer
                            ^                                                                   |
                            +---------------------------- router -------------------------------+
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Annotated, ClassVar

from msgspec import Meta

from spikewright.errors import SpikewrightError
from spikewright.network import NeuronModel
from spikewright.records import check_fields

__all__ = [
    "BUILT",
    "WORD",
    "FireUnit",
    "Lanes",
    "Machine",
    "Packer",
    "Picker",
    "Pool",
    "Router",
    "SpikeMemory",
    "Walker",
    "address_bits",
]

WORD = 36
"""Bits of a spike word, a program word and a word on the router: those of a block RAM."""


BUILT = (NeuronModel.IF, NeuronModel.BURST, NeuronModel.INTEGRATOR)
"""The neuron models that fire units can be built with."""

# What is absurd is refused before anything is computed; these are no promise of what fits.
Few = Annotated[int, Meta(ge=0, le=256)]
Bits = Annotated[int, Meta(ge=1, le=48)]
Depth = Annotated[int, Meta(ge=0, le=2**16)]


def address_bits(depth: int) -> int:
    """Bits that address `depth` words, at least one."""
    return max(1, (depth - 1).bit_length())


def _check(block: str, **at_least: tuple[int, int]) -> None:
    for name, (value, least) in at_least.items():
        if value < least:
            raise SpikewrightError(f"{block}: {name} is {value}; at least {least} is needed")


@dataclass(frozen=True)
class Walker:
    """Offers, item by item, the words of its fields: one word a clock.

    `axis_entries` bounds the axis tables of all layers, `sources` the maps that a layer reads,
    `passes` the digit planes of all of them together. An item is fetched in `fetch` clocks a source
    while the one before is walked, so that an item of fewer words costs that; the first one of a
    layer takes `first` clocks more.
    """

    axis_entries: Depth = 512
    sources: Few = 1
    passes: Few = 16
    fetch: ClassVar[int] = 4
    first: ClassVar[int] = 2

    def __post_init__(self) -> None:
        _check(
            "walker",
            axis_entries=(self.axis_entries, 2),
            sources=(self.sources, 1),
            passes=(self.passes, 2),
        )

    @property
    def latency(self) -> int:
        """Clocks from where a word is counted to its address; so far apart are items at least."""
        return 4 + (self.sources > 1)


@dataclass(frozen=True)
class SpikeMemory:
    """Words of `WORD` bits for the maps that a core reads; one write and one read a clock.

    Address to data takes `latency` clocks (the output register is used).
    """

    words: Depth = 1024
    latency: ClassVar[int] = 2

    def __post_init__(self) -> None:
        _check("spike memory", words=(self.words, 2))
        if self.words & (self.words - 1):  # half the depth is added by inverting the top bit
            raise SpikewrightError(f"spike memory: {self.words} words are no power of two")


@dataclass(frozen=True)
class Picker:
    """Takes a set bit of a word a clock, the lowest first, and makes an event of it.

    A queue of `queue` words stands in front of it. Words without a bit that end no step never enter
    the queue. `gather` is from the walker's address to the queue's end, if that is empty: memory,
    mask and queue; `latency` from there to the word's first event. A step's last event comes
    `handing` clocks behind its hand-over. A step's first event clears the accumulators.
    """

    queue: Few = 16
    gather: ClassVar[int] = 4
    latency: ClassVar[int] = 3
    handing: ClassVar[int] = 1

    def __post_init__(self) -> None:
        _check("picker", queue=(self.queue, 4))


@dataclass(frozen=True)
class Lanes:
    """`count` accumulators of `accumulator_bits` bits, which wrap; each adds a weight a clock.

    Lane l belongs to fire unit ``l % fire_units`` and is its slot ``l // fire_units``. An event
    reaches slot s one clock after slot s - 1. `sharing` cores read one weight memory (true dual
    port where 2). Passes may be subtracted where `signed`, which costs a LUT for each bit of a row.
    """

    count: Annotated[int, Meta(ge=0, le=1024)] = 16
    weight_bits: Annotated[int, Meta(ge=2, le=8)] = 8
    weight_rows: Depth = 1024
    accumulator_bits: Bits = 18
    sharing: Few = 1
    signed: bool = False

    def __post_init__(self) -> None:
        _check(
            "lanes",
            count=(self.count, 2),
            weight_bits=(self.weight_bits, 2),
            weight_rows=(self.weight_rows, 2),
            accumulator_bits=(self.accumulator_bits, self.weight_bits),
        )
        if self.sharing not in (1, 2):
            raise SpikewrightError(f"lanes: {self.sharing} cores on a weight memory; 1 or 2 can be")

    def latency(self, fire_units: int) -> int:
        """Clocks from an event to what slot 0 gives its fire unit: memory, sum, choice."""
        return 5 + (self.count // fire_units > 16)


@dataclass(frozen=True)
class FireUnit:
    """Decides one neuron a clock; `count` of them a core, every one with all of `models`.

    A parameter word holds an unsigned threshold in its low `threshold_bits` and a signed drive in
    the `drive_bits` above. Membranes, the held current and all sums of the unit have
    `membrane_bits`; the accumulator is shifted left by the layer's 0..`largest_shift` as it comes
    in. `burst_levels` bounds what a burst neuron sends. `latency` is from V read to V
    readable again: the least distance of two hand-overs of the same lane.
    """

    count: Few = 2
    models: tuple[NeuronModel, ...] = (NeuronModel.IF, NeuronModel.BURST, NeuronModel.INTEGRATOR)
    membrane_bits: Bits = 24
    threshold_bits: Bits = 17
    drive_bits: Bits = 19
    largest_shift: Annotated[int, Meta(ge=0, le=15)] = 15
    burst_levels: Few = 15
    parameter_rows: Depth = 256

    def __post_init__(self) -> None:
        for model in self.models:
            if model not in BUILT:
                raise SpikewrightError(f"fire unit: {model.value} neurons are not in the cores yet")
        _check(
            "fire unit",
            count=(self.count, 1),
            threshold_bits=(self.threshold_bits, 1),
            drive_bits=(self.drive_bits, 2),
            burst_levels=(self.burst_levels, 1),
            parameter_rows=(self.parameter_rows, 1),
        )
        if max(self.threshold_bits, self.drive_bits) > self.membrane_bits:
            raise SpikewrightError(
                f"fire unit: parameters of {self.threshold_bits} and {self.drive_bits} bits do not "
                f"fit membranes of {self.membrane_bits}"
            )

    @property
    def digits(self) -> int:
        """Compare-and-subtract stages: binary digits of the most that a neuron sends in a step."""
        return self.burst_levels.bit_length() if NeuronModel.BURST in self.models else 1

    @property
    def latency(self) -> int:
        """Read V and add the drive, add the current, a stage a digit, write back."""
        return 3 + self.digits

    @property
    def through(self) -> int:
        """Clocks from what a fire unit takes to what it sends; a shift comes before V is read."""
        return self.latency + (self.largest_shift > 0)

    @property
    def parameter_bits(self) -> int:
        """Width of a parameter word."""
        return self.threshold_bits + self.drive_bits


@dataclass(frozen=True)
class Pool:
    """Sums of `bits` bits, unsigned, of what the members of a window send; behind each fire unit.

    An entry for each step, packed window and slot: `depth` of them, in distributed RAM up to
    `DISTRIBUTED`, else in block RAM. `latency` is from what the fire unit sends to the sum, and the
    least distance of two members of the same slot.
    """

    bits: Annotated[int, Meta(ge=1, le=32)] = 8
    depth: Depth = 256
    DISTRIBUTED: ClassVar[int] = 64

    def __post_init__(self) -> None:
        _check("pool", bits=(self.bits, 1), depth=(self.depth, 2))

    @property
    def blocks(self) -> bool:
        """Whether the sums lie in block RAM."""
        return self.depth > self.DISTRIBUTED

    @property
    def peek(self) -> int:
        """Clocks from the entry that is peeked at to its sum."""
        return 2 if self.blocks else 0

    @property
    def latency(self) -> int:
        """Read, and add."""
        return 3 if self.blocks else 2


@dataclass(frozen=True)
class Packer:
    """Makes words of the values of consecutive tiles, a word for each digit plane and step.

    `partial` words wait for the tiles that complete them, each of a step and plane; a layer whose
    words are complete after one tile needs none: with 0 there is no such memory. It is distributed
    RAM up to `DISTRIBUTED`, else block RAM. `latency` is from a step's last sum to its first word;
    the other planes follow, one a clock. `queue` words wait for the router.
    """

    partial: Depth = 64
    queue: ClassVar[int] = 16
    DISTRIBUTED: ClassVar[int] = 64

    def __post_init__(self) -> None:
        _check("packer", partial=(self.partial, 0))

    @property
    def blocks(self) -> bool:
        """Whether the unfinished words lie in block RAM."""
        return self.partial > self.DISTRIBUTED

    @property
    def reads(self) -> int:
        """Clocks from a row of the unfinished words to the word."""
        if self.blocks:
            return 2
        return 1 if self.partial else 0

    @property
    def latency(self) -> int:
        """Choose the planes' bits, shift them in, queue the word; the memory is read before."""
        return 3 + self.reads


@dataclass(frozen=True)
class Router:
    """Brings words of `WORD` bits and `address_bits` address bits to all cores, one a clock in all.

    A word of core k comes to core j ``k + 2 + j`` clocks later, if no other is in its way.
    """

    address_bits: Annotated[int, Meta(ge=1, le=24)] = 16


@dataclass(frozen=True)
class Machine:
    """`cores` equal cores on one router, a sequencer that runs the program, and a readout.

    `program_words` and `outputs` are the depths of the program memory and of the readout.
    """

    cores: Few = 1
    walker: Walker = field(default_factory=Walker)
    spikes: SpikeMemory = field(default_factory=SpikeMemory)
    picker: Picker = field(default_factory=Picker)
    lanes: Lanes = field(default_factory=Lanes)
    fire: FireUnit = field(default_factory=FireUnit)
    pool: Pool = field(default_factory=Pool)
    packer: Packer = field(default_factory=Packer)
    router: Router = field(default_factory=Router)
    program_words: Depth = 2048
    outputs: Depth = 1024

    barrier: ClassVar[int] = 5
    """Clocks from core 0's last word of a layer to its start of the next; it is as many more as the
    numbers of the cores say, that of the last one to send and that of the one to start."""
    fetch: ClassVar[int] = 5
    """Clocks from a RUN or FRAME to the next, if no layer has to be waited for, besides the words
    of the program between them; and one more behind a FRAME."""
    readout: ClassVar[int] = 3
    """Clocks from where the outputs have arrived to the class."""

    def __post_init__(self) -> None:
        for one in fields(self):
            block = getattr(self, one.name)
            if not isinstance(block, int):
                check_fields(block, one.name)
        check_fields(self, "machine")
        _check("machine", program_words=(self.program_words, 2), outputs=(self.outputs, 1))
        if not 1 <= self.cores <= 32:
            raise SpikewrightError(f"machine: {self.cores} cores; 1 to 32 can be built")
        if self.lanes.count % self.fire.count:
            raise SpikewrightError(
                f"machine: {self.lanes.count} lanes cannot be dealt to {self.fire.count} fire units"
            )
        if self.cores % self.lanes.sharing:
            raise SpikewrightError(f"machine: {self.cores} cores cannot share weights in pairs")

    @property
    def slots(self) -> int:
        """Lanes of a fire unit, one of which it takes a clock."""
        return self.lanes.count // self.fire.count

    @property
    def weight_memories(self) -> int:
        """Memory m serves the cores ``m * sharing`` and, where shared, the next."""
        return self.cores // self.lanes.sharing

    def gap(self, slots: int, words: int) -> int:
        """Clocks between two hand-overs of an item of `slots` slots, with a word for each plane."""
        return max(slots, self.fire.latency, words)

    @property
    def fill(self) -> int:
        """Clocks from a core's start to where the picker can have a first bit."""
        walker, picker = self.walker, self.picker
        fetched = walker.first + walker.fetch * walker.sources
        return fetched + 1 + walker.latency + picker.gather + picker.latency - 1

    @property
    def deciding(self) -> int:
        """Clocks from a hand-over to what the fire units send for its first slot."""
        return self.picker.handing + self.lanes.latency(self.fire.count) + self.fire.through

    @property
    def drain(self) -> int:
        """Clocks from an item's last sum to the first word of its outputs."""
        return 3 + self.pool.peek

    @property
    def widths(self) -> dict[str, int]:
        """The named widths of all records."""
        return {
            "axis": address_bits(self.walker.axis_entries),
            "spike": address_bits(self.spikes.words),
            "weight": address_bits(self.lanes.weight_rows),
            "parameter": address_bits(self.fire.parameter_rows),
            "map": self.router.address_bits,
            "slot": address_bits(self.slots),
            "core": 6,
            "layer": 8,
            "step": 10,
            "pass": address_bits(self.walker.passes),
            "source": address_bits(self.walker.sources),
            "plane": 4,
            "bit": address_bits(WORD),
            "taps": 8,
            "tiles": 12,
            "groups": 8,
            "levels": self.fire.digits,
        }
