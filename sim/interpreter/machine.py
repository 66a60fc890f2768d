"""The sequencer, the router between the cores, and the readout."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from spikewright.errors import SpikewrightError
from spikewright.machine.blocks import WORD, Machine
from spikewright.machine.clocks import Clocks, layer_clocks
from spikewright.machine.configuration import (
    ALL_CORES,
    RECORDS,
    AxisEntry,
    Instruction,
    KeepRecord,
    LayerRecord,
    Opcode,
    PassRecord,
    RouterWord,
    ShareRecord,
    SourceRecord,
)
from spikewright.machine.fields import Record
from spikewright.machine.memories import Images
from spikewright.network import Ints
from spikewright.sim.interpreter.core import Configuration, Core, LayerRun, wrapped

__all__ = ["ImageRun", "Interpreter"]


@dataclass
class ImageRun:
    """What an image gave.

    - `readout`: by place, the signed words that arrived
    - `layers`: for each layer what every core did
    - `words`: router words of each layer
    - `clocks`: for each layer, predicted, from its start to where the next one can start
    - `others`: clocks besides: from the frame to the first layer, where a layer is shorter than the
      program behind it, and from the outputs to the class
    """

    readout: dict[int, int]
    layers: list[list[LayerRun]]
    words: list[int]
    clocks: list[Clocks]
    others: float = 0

    @property
    def total(self) -> float:
        """Clocks of the image, from frame to class."""
        return sum(layer.total for layer in self.clocks) + self.others


class Interpreter:
    """A machine with its memories loaded; every image runs the program once."""

    def __init__(self, machine: Machine, images: Images) -> None:
        self.machine, self.program = machine, images.program
        axis = [AxisEntry.decode(machine.widths, word) for word in images.axis]
        weights = [_rows(machine, words) for words in images.weights]
        self.cores = [
            Core(machine, axis, weights[core // machine.lanes.sharing], images.parameters[core])
            for core in range(machine.cores)
        ]
        self._shadow = [Configuration() for _ in self.cores]
        self._frame: Sequence[int] = ()

    def run(self, frame: Sequence[int]) -> ImageRun:
        """Execute the program on a frame's words, by map address."""
        self._frame = frame
        result = ImageRun({}, [], [], [])
        counter = since = 0  # of the program, now and behind the last RUN or FRAME
        while True:
            if counter >= len(self.program):
                raise SpikewrightError("program: has no END")
            instruction = Instruction.decode(self.machine.widths, self.program[counter])
            payload = self.program[counter + 1 : counter + 1 + instruction.words]
            counter += 1 + instruction.words
            match Opcode(instruction.opcode):
                case Opcode.END:
                    result.others += self.machine.readout
                    return result
                case Opcode.FRAME:
                    self._take_frame()
                    since = counter
                case Opcode.RUN:
                    self._fetched(result, counter - 1 - since)
                    self._run_layer(result)
                    since = counter
                case opcode:
                    bits = sum(word << WORD * n for n, word in enumerate(payload))
                    record = RECORDS[opcode].decode(self.machine.widths, bits)
                    self._configure(instruction, record)

    def _configure(self, instruction: Instruction, record: Record) -> None:
        every = instruction.core == ALL_CORES
        for core in range(self.machine.cores) if every else (instruction.core,):
            shadow = self._shadow[core]
            match record:
                case LayerRecord():
                    shadow.layer = record
                case ShareRecord():
                    shadow.share = record
                case SourceRecord():
                    shadow.sources[instruction.index] = record
                case PassRecord():
                    shadow.passes[instruction.index] = record
                case KeepRecord() if instruction.index:
                    self.cores[core].frame_keep = record
                case KeepRecord():
                    shadow.keep = record

    def _take_frame(self) -> None:
        """The frame came in the bank that was free, which is now the one that is read."""
        for core in self.cores:
            for address, data in enumerate(self._frame):
                core.receive(RouterWord(data, address, 1))
            core.bank ^= 1

    def _fetched(self, result: ImageRun, words: int) -> None:
        """Clocks in which a RUN waits for `words` of the program, and for nothing else."""
        clocks = words + self.machine.fetch
        if result.clocks:  # they come while the layer before runs
            result.others += max(0, clocks - result.clocks[-1].total)
        else:
            result.others += clocks + 1

    def _run_layer(self, result: ImageRun) -> None:
        for core, shadow in zip(self.cores, self._shadow, strict=True):
            core.configuration = shadow.copy()
        runs, sent = [], 0
        for core in self.cores:
            words, run = core.run()
            sent += len(words)
            for word in words:
                if word.kind == 2:
                    result.readout[word.address] = int(wrapped(np.array(word.data), WORD))
                for other in self.cores:
                    other.receive(word)
            runs.append(run)
        result.layers.append(runs)
        result.words.append(sent)
        result.clocks.append(layer_clocks(self.machine, [run.clocks for run in runs]))


def _rows(machine: Machine, words: list[int]) -> Ints:
    """The weight rows as the memory holds them, signed; the unused rest is 0."""
    lanes = machine.lanes
    rows = np.zeros((lanes.weight_rows, lanes.count), np.int64)
    mask = (1 << lanes.weight_bits) - 1
    for row, word in enumerate(words):
        rows[row] = [word >> lanes.weight_bits * lane & mask for lane in range(lanes.count)]
    return wrapped(rows, lanes.weight_bits)
