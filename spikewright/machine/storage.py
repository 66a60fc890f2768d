"""The memories of the second machine: what each holds, its size, and the block RAM it takes.

The hardware, the files of a build and the report read them here. ``python -m
spikewright.machine.storage`` prints the memories of the default machine, as `docs/formats.md` has
them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from spikewright.machine.blocks import WORD, Lanes, Machine
from spikewright.machine.configuration import AxisEntry
from spikewright.machine.hardware import MemoryShape

__all__ = [
    "BLOCK_SHAPES",
    "Storage",
    "bank_slots",
    "block_count",
    "block_shape",
    "loadable",
    "memories",
    "table",
]

BLOCK_SHAPES = ((512, 36), (1024, 18), (2048, 9))
"""Words of one block RAM of an ECP5, and their bits: deeper ones are narrower."""


def block_shape(depth: int, ports: int = 1) -> tuple[int, int]:
    """The shallowest block shape that holds `depth` words, or the deepest that there is.

    With two read ports (true dual port) the shallowest is not there.
    """
    shapes = BLOCK_SHAPES[ports - 1 :]
    return next((shape for shape in shapes if shape[0] >= depth), shapes[-1])


def block_count(width: int, depth: int, ports: int = 1) -> int:
    """Block RAMs of an ECP5 that a memory of `depth` words of `width` bits takes."""
    words, bits = block_shape(depth, ports)
    return -(-width // bits) * -(-depth // words)


def bank_slots(lanes: Lanes, fire_units: int) -> int:
    """Slots whose weights share a block RAM; the others' are read later, in banks of their own."""
    return max(
        1, block_shape(lanes.weight_rows, lanes.sharing)[1] // (fire_units * lanes.weight_bits)
    )


@dataclass(frozen=True)
class Storage:
    """One memory: `words` of `width` bits, cut into `columns` of so many bits each.

    - `name`: what it holds, and the numbers of core and unit
    - `text`: what a word is
    - `block`: in block RAM, not in distributed RAM
    - `ports`: cores that read it at once
    - `image`: the image that is loaded into it, if any: the stem of its file
    """

    name: str
    text: str
    words: int
    width: int
    columns: tuple[int, ...] = ()
    block: bool = True
    image: str = ""
    ports: int = 1

    @property
    def bits(self) -> int:
        """Bits in all."""
        return self.words * self.width

    @property
    def blocks(self) -> int:
        """Block RAMs of an ECP5; 0 for distributed RAM."""
        if not self.block:
            return 0
        return sum(
            block_count(width, self.words, self.ports) for width in self.columns or (self.width,)
        )


def memories(machine: Machine) -> tuple[Storage, ...]:
    """Every memory of `machine`: those of the fabric, then those of each core.

    Records and queues in distributed RAM are not among them: what they hold is on its way.
    """
    made = [
        Storage("program", "program word", machine.program_words, WORD, image="program"),
        Storage("readout", "output", machine.outputs, _output_bits(machine)),
    ]
    made += [_weights(machine, number) for number in range(machine.weight_memories)]
    for core in range(machine.cores):
        made += _core(machine, core)
    return tuple(made)


def loadable(machine: Machine) -> tuple[MemoryShape, ...]:
    """Name and size of every image; that of the axis tables goes into every core."""
    return tuple(
        {
            memory.image: MemoryShape(memory.image, memory.words, memory.width)
            for memory in memories(machine)
            if memory.image
        }.values()
    )


def _output_bits(machine: Machine) -> int:
    return max(machine.fire.membrane_bits, machine.pool.bits + 1)


def _weights(machine: Machine, number: int) -> Storage:
    lanes = machine.lanes
    slot = machine.fire.count * lanes.weight_bits
    bank = bank_slots(lanes, machine.fire.count)
    columns = tuple(slot * min(bank, machine.slots - s) for s in range(0, machine.slots, bank))
    width = lanes.count * lanes.weight_bits
    return Storage(
        f"weights_{number}",
        "weight of every lane",
        lanes.weight_rows,
        width,
        columns,
        image=f"weights_{number}",
        ports=lanes.sharing,
    )


def _core(machine: Machine, core: int) -> Iterator[Storage]:
    fire, pool, slots = machine.fire, machine.pool, machine.slots
    axis = AxisEntry.size(machine.widths)
    yield Storage(f"axis_{core}", "axis entry", machine.walker.axis_entries, axis, image="axis")
    yield Storage(f"spikes_{core}", "spike word", machine.spikes.words, WORD)
    for unit in range(fire.count):
        yield Storage(
            f"parameters_{core}_{unit}",
            "threshold, and bias or first drive",
            2 * fire.parameter_rows,
            fire.parameter_bits,
            image=f"parameters_{core}_{unit}",
        )
    for unit in range(fire.count):
        bits = fire.membrane_bits
        yield Storage(f"membranes_{core}_{unit}", "membrane of a slot", slots, bits, block=False)
        yield Storage(f"held_{core}_{unit}", "held current of a slot", slots, bits, block=False)
    width = fire.count * pool.bits
    yield Storage(f"sums_{core}", "window sum of every unit", pool.depth, width, block=pool.blocks)
    if words := machine.packer.partial:
        block = machine.packer.blocks
        yield Storage(f"partial_{core}", "unfinished spike word", words, WORD, block=block)


_HEAD: Mapping[str, str] = {
    "memory": "---",
    "a word is": "---",
    "words": "---",
    "bits": "---",
    "block RAMs": "---",
    "image": "---",
}


def table(machine: Machine) -> str:
    """The memories of `machine` as a Markdown table."""
    lines = [f"| {' | '.join(_HEAD)} |", f"|{'|'.join(_HEAD.values())}|"]
    for memory in memories(machine):
        image = f"`{memory.image}.mem`" if memory.image else ""
        size = f"{memory.words} | {memory.width} | {memory.blocks}"
        lines.append(f"| `{memory.name}` | {memory.text} | {size} | {image} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table(Machine()))
