"""Cases in forked processes: one process a batch, watched by its parent."""

import os
import pickle
import resource
import select
import signal
import struct
from collections.abc import Iterator
from pathlib import Path

from tests.fuzz.cases import Ending, run_case
from tests.fuzz.inputs import Inputs

BATCH = 100
MEMORY = 2 * 2**30
"""Bytes that a case may take beyond what the process has."""


def run_cases(inputs: Inputs, seed: int, numbers: range, limit: float) -> Iterator[Ending]:
    """How each case ends; one that takes more than `limit` seconds is ended, and so named."""
    left = list(numbers)
    while left:
        process, pipe = _fork(inputs, seed, left[:BATCH])
        try:
            for number in left[:BATCH]:
                ending = _read(pipe, limit)
                left.remove(number)
                if ending is None or isinstance(ending, str):
                    yield Ending(number, "?", ending or f"hang, more than {limit:g} s")
                    break
                yield ending
        finally:
            os.close(pipe)
            os.kill(process, signal.SIGKILL)
            os.waitpid(process, 0)


def _fork(inputs, seed, numbers):
    """Start a process that runs `numbers` and writes each ending into the pipe."""
    reading, writing = os.pipe()
    process = os.fork()
    if process:
        os.close(writing)
        return process, reading
    os.close(reading)
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + MEMORY, size + MEMORY))
    for number in numbers:
        data = pickle.dumps(run_case(inputs, seed, number))
        os.write(writing, struct.pack("<I", len(data)) + data)
    os._exit(0)


def _read(pipe, limit):
    """The next ending; None after `limit` seconds without one, a word if the process died."""
    data = b""
    while len(data) < 4 or len(data) < 4 + struct.unpack("<I", data[:4])[0]:
        if not select.select([pipe], [], [], limit)[0]:
            return None
        # Never more than this message: the rest belongs to the next case.
        wanted = (
            4 - len(data) if len(data) < 4 else 4 + struct.unpack("<I", data[:4])[0] - len(data)
        )
        part = os.read(pipe, wanted)
        if not part:
            return "the process died"
        data += part
    return pickle.loads(data[4:])
