"""What the host sends to a machine and hears from it: a bench script, and the answers.

The memories are loaded once; then frames and runs follow back to back, one frame ahead.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from spikewright.errors import SpikewrightError
from spikewright.machine.configuration import Instruction, Opcode
from spikewright.machine.link import (
    PART,
    Answer,
    Answers,
    Command,
    Decoder,
    Kind,
    Status,
    frame_requests,
    request,
    write_requests,
)
from spikewright.machine.loading import parameter_index
from spikewright.machine.memories import Images
from spikewright.machine.schedule import Schedule
from spikewright.sim.interpreter import output_places
from spikewright.sim.rtl.stimulus import Epoch, Op, Reset, Send, UntilReplies, Wait

__all__ = ["answers", "session"]

BEGIN = 100
"""Clocks after which an idle machine has begun with the image of a RUN, besides the program's."""
FEED = 12
"""Clocks of a frame's word on its way from the host port to the spike memories."""
DRAIN = 8
"""Clocks after the last reply."""


def load_requests(schedule: Schedule, images: Images) -> Iterator[bytes]:
    """The messages that load all memories."""
    machine = schedule.machine
    yield from write_requests(machine, Kind.PROGRAM, 0, 0, images.program)
    yield from write_requests(machine, Kind.AXIS, 63, 0, images.axis)
    for memory, rows in enumerate(images.weights):
        yield from write_requests(machine, Kind.WEIGHTS, memory * machine.lanes.sharing, 0, rows)
    for core, units in enumerate(images.parameters):
        for unit, words in enumerate(units):
            first = parameter_index(machine, unit, 0)
            yield from write_requests(machine, Kind.PARAMETERS, core, first, words)
    yield from write_requests(machine, Kind.OUTPUTS, 0, 0, [readout_places(schedule)])


def readout_places(schedule: Schedule) -> int:
    """How many places of the readout hold the outputs."""
    return max(output_places(schedule)) + 1


def words_before_frame(schedule: Schedule, images: Images) -> int:
    """Program words in front of the first FRAME."""
    at = 0
    while True:
        one = Instruction.decode(schedule.machine.widths, images.program[at])
        if one.opcode == Opcode.FRAME:
            return at
        at += 1 + one.words


def session(schedule: Schedule, images: Images, frames: npt.NDArray[np.uint8]) -> list[Op]:
    """Load `images` and run `frames`, ``(N, C, H, W)``."""
    script: list[Op] = [Reset()]
    replies, parts = 0, -(-readout_places(schedule) // PART)
    begin = BEGIN + 4 * schedule.machine.cores + words_before_frame(schedule, images)
    begin += FEED * len(schedule.frame_words(frames[0]))
    for message in load_requests(schedule, images):
        replies += 1
        script += [Send(message), UntilReplies(replies)]
    for number, frame in enumerate(frames):
        for message in frame_requests(schedule.frame_words(frame)):
            replies += 1
            script += [Send(message), UntilReplies(replies)]
        if number:  # the image before is done, this frame's begins
            replies += parts
            script.append(UntilReplies(replies))
        script += [Send(request(Command.RUN, number)), Wait(begin)]
    return [*script, UntilReplies(replies + parts), Wait(DRAIN)]


def answers(schedule: Schedule, epoch: Epoch) -> list[Answer]:
    """What each RUN gave. Raises SpikewrightError for a request that was not carried out."""
    joined, found = Answers(readout_places(schedule)), []
    for reply in Decoder().feed(epoch.received):
        if reply.status is not Status.OK:
            raise SpikewrightError(
                f"session: request {reply.tag} of kind {reply.command} was answered "
                f"{reply.status.name}"
            )
        answer = joined.feed(reply)
        found += [] if answer is None else [answer]
    return found
