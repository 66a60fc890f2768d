"""What a bench does and what it saw: the language between the RTL harness and its simulators.

A script is a sequence of operations on the ports of the accelerator's top. Both simulators execute
it with the same rules: streams follow Amaranth's stream rules, each of them is held with a given
probability in every clock, and a simulation without progress ends in an error.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from spikewright.errors import SpikewrightError
from spikewright.machine.hardware import Activity

__all__ = [
    "Epoch",
    "Op",
    "Reset",
    "Send",
    "Simulator",
    "StuckError",
    "UntilBusy",
    "UntilReplies",
    "UntilReply",
    "Wait",
    "Waited",
]

ACTIVITIES = len(Activity)


@dataclass(frozen=True)
class Reset:
    """Hold the reset for `count` clocks; a new epoch begins. Every script starts with one."""

    count: int = 4


@dataclass(frozen=True)
class Send:
    """Send bytes to the host port; the next operation begins when the last has been taken."""

    data: bytes

    @property
    def count(self) -> int:
        """The number of bytes."""
        return len(self.data)


@dataclass(frozen=True)
class Wait:
    """Let `count` clocks pass."""

    count: int


@dataclass(frozen=True)
class UntilBusy:
    """Wait until images have been in flight for `count` more clocks."""

    count: int


@dataclass(frozen=True)
class UntilReplies:
    """Wait until `count` messages in all have come back since the last reset."""

    count: int


@dataclass(frozen=True)
class UntilReply:
    """Wait until a reply to `command` with `tag` has come, whatever else comes before.

    Neither may be a byte that is escaped. What it took is told in :attr:`Epoch.waits`. Verilator's
    bench alone knows it; `patience` bounds it even while other streams move.
    """

    command: int
    tag: int

    @property
    def count(self) -> int:
        """The first two bytes of the reply."""
        return (self.command | 0x80) << 8 | self.tag


@dataclass(frozen=True)
class Waited:
    """What an :class:`UntilReply` took: `clocks` from its begin, the clock in which the last byte
    before it was taken, to the reply's last byte; in `held` of them a byte of a reply waited for
    the host. `replies` and trace `records` are all of the epoch so far."""

    clocks: int
    held: int
    replies: int
    records: int


Op = Reset | Send | Wait | UntilBusy | UntilReplies | UntilReply
CODES: dict[type[Op], bytes] = {
    Reset: b"R",
    Send: b"S",
    Wait: b"W",
    UntilBusy: b"B",
    UntilReplies: b"A",
    UntilReply: b"U",
}


def encode(script: Iterable[Op]) -> bytes:
    """The script as `bench.v` reads it: a letter, a 32-bit little-endian count, bytes to send."""
    parts = []
    for op in script:
        parts.append(CODES[type(op)] + struct.pack("<I", op.count))
        if isinstance(op, Send):
            parts.append(op.data)
    return b"".join(parts)


@dataclass(frozen=True)
class Epoch:
    """What a bench saw between two resets.

    - `received`: bytes from the host port; `reply_clocks`: the clock, counted from the reset, in
      which each message of it ended.
    - `activity`: ``(images, cores, activities)`` clocks of each span in which `busy` was high.
    - `trace`: ``(records, words)`` trace records as little-endian 32-bit words, in order.
    - `waits`: what each :class:`UntilReply` took.
    """

    received: bytes
    reply_clocks: tuple[int, ...]
    activity: npt.NDArray[np.int64]
    trace: npt.NDArray[np.uint32]
    waits: tuple[Waited, ...] = ()


class StuckError(SpikewrightError):
    """The simulation made no progress for as many clocks as its patience says."""


class Simulator(Protocol):
    """A top ready to be simulated."""

    name: str

    def run(
        self, script: Sequence[Op], *, trace: bool, stalls: float, seed: int, patience: int
    ) -> tuple[Epoch, ...]:
        """Execute `script` from random initial state; one epoch for each of its resets.

        Trace records are taken in any case, and kept with `trace`. `stalls` is the probability
        that a stream is held in a clock. Raises :class:`StuckError` after `patience` clocks in
        which no stream moved and no operation ended.
        """
        ...
