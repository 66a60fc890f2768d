"""Nothing wedges a machine: hostile streams of bytes, then HELLO, ABORT and good images.

Behind each stream HELLO and ABORT are answered in ANSWER_CLOCKS clocks, less those in which the
host held a byte; every message whose CRC holds is answered once and in order, none else; then the
good images are loaded again, and what they give is right.

`python -m tests.sim.rtl.test_hostile_links 100000` is the campaign; it prints how many streams a
second there were and the longest answers, and `--first` goes on with a batch.
"""

import argparse
import collections
import contextlib
import itertools
import json
import sys
import tempfile
import time
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from spikewright.errors import SpikewrightError
from spikewright.machine.blocks import (
    FireUnit,
    Lanes,
    Machine,
    Packer,
    Pool,
    SpikeMemory,
    Walker,
)
from spikewright.machine.link import (
    ANSWER_CLOCKS,
    VERSION,
    Answers,
    Command,
    Decoder,
    Status,
    digest,
    parse_hello,
)
from spikewright.machine.memories import make_images
from spikewright.sim.interpreter import outputs, traces
from spikewright.sim.rtl.decisions import decisions
from spikewright.sim.rtl.machines import MachineRun, build_machine, difference
from spikewright.sim.rtl.session import readout_places
from spikewright.sim.rtl.stimulus import Reset, Send
from spikewright.sim.rtl.verilator import BRIEF, OPTIMISATION
from spikewright.sw.passes.place import place
from tests.support.hostile import TAG, Line, Victim
from tests.support.placements import random_schedule
from tests.support.random_networks import random_frames, random_network

BATCH = 50
"""Streams of a process."""
IN_CI = (0, 2, 4)
"""Batches on each push, all on the first machine; the first compares every spike and membrane."""
VICTIMS, FRAMES = 6, 2
PATIENCE = 20_000

MACHINES = (
    Machine(
        cores=2,
        walker=Walker(256, sources=2),
        spikes=SpikeMemory(512),
        lanes=Lanes(8, weight_rows=512, accumulator_bits=20),
        fire=FireUnit(2, parameter_rows=64, membrane_bits=24, threshold_bits=20, drive_bits=22),
        pool=Pool(bits=8, depth=64),
        packer=Packer(64),
        program_words=256,
        outputs=64,
    ),
    Machine(  # memories of sums and unfinished words in blocks, tables of sources
        cores=1,
        walker=Walker(256, sources=4),
        spikes=SpikeMemory(1024),
        lanes=Lanes(8, weight_rows=512, accumulator_bits=20),
        fire=FireUnit(1, parameter_rows=64, membrane_bits=24, threshold_bits=20, drive_bits=22),
        pool=Pool(bits=8, depth=128),
        packer=Packer(128),
        program_words=256,
        outputs=64,
    ),
)


@cache
def victims(which):
    """Small networks on a machine."""
    machine, found = MACHINES[which], []
    for trial in itertools.count():
        rng = np.random.default_rng([21, which, trial])
        several = not found  # replies of a RUN
        try:
            network = random_network(
                rng,
                neuron=("if", "burst")[trial % 2],
                size=1500,
                membrane_bits=19,
                channels=(17, 24) if several else (2, 9),
                side=(1, 2) if several else (2, 6),
                steps=(1, 5),
                max_layers=1 if several else 3,
                firing_output=rng.random() < 0.2,
            )
            own = rng.random() < 0.7
            schedule = random_schedule(rng, network, machine) if own else place(network, machine)
            images = make_images(schedule)
        except (SpikewrightError, ValueError):
            continue
        found.append(Victim(schedule, images, random_frames(rng, network, FRAMES)))
        if len(found) == VICTIMS:
            return found
    raise AssertionError


@cache
def simulator_of(which, folder, optimisation):
    """A machine, built once."""
    return build_machine(MACHINES[which], folder, traced=True, optimisation=optimisation)


class Replies:
    """The replies of an epoch, checked one after the other."""

    def __init__(self, epoch):
        decoder = Decoder()
        self.all = list(decoder.feed(epoch.received))
        assert decoder.dropped == 0
        assert len(self.all) == len(epoch.reply_clocks)
        self.epoch, self.waits, self.at = epoch, iter(epoch.waits), 0

    def check_order(self, line, whole):
        """Each good message has one reply, in order; of RUNs only those that are known are there.

        Unless `whole` some of the last may be missing.
        """
        asked = [(one[0] & 0x7F, one[1]) for one in line.messages if one[0] != Command.RUN]
        tags = {one[1] for one in line.messages if one[0] == Command.RUN}
        told = []
        for reply in self.all:
            if reply.command == Command.RUN and reply.status in (Status.OK, Status.BUSY):
                assert reply.tag in tags
            else:
                told.append((reply.command, reply.tag))
        assert told == asked[: len(told)]
        assert len(told) == len(asked) or not whole

    def answer(self, commands, longest):
        """The replies to HELLO and ABORT, and their clocks; what HELLO says."""
        for command in commands:
            wait = next(self.waits)
            clocks = wait.clocks - wait.held
            assert clocks <= ANSWER_CLOCKS, (command, wait)
            longest[command.name] = max(longest[command.name], clocks)
            reply = self.all[wait.replies - 1]
            assert (reply.command, reply.tag, reply.status) == (command, TAG, Status.OK)
            if command is Command.HELLO:
                hello = parse_hello(reply.payload)
        self.at, self.records = wait.replies, wait.records
        return hello

    def run(self, victim, traced):
        """What the good images gave."""
        schedule = victim.schedule
        waits = [next(self.waits) for _ in range(victim.parts * FRAMES)]
        joined, found = Answers(readout_places(schedule)), []
        for reply in self.all[self.at : waits[-1].replies]:
            assert reply.status is Status.OK, reply
            answer = joined.feed(reply)
            found += [] if answer is None else [answer]
        assert [one.tag for one in found] == [TAG + k for k in range(FRAMES)]
        made = []
        if traced:
            records = self.epoch.trace[self.records : waits[-1].records]
            made = [traces(schedule, one) for one in decisions(schedule, records, FRAMES)]
        return MachineRun(
            np.array([outputs(schedule, one.outputs) for one in found]),
            np.array([one.label for one in found]),
            np.array([one.clocks for one in found]),
            made,
            loading_clocks=0,
        )


def batch(number, folder, longest, *, traced, count=BATCH, optimisation=OPTIMISATION):
    """Run the streams of a batch and check each; with `traced` every spike and membrane."""
    which = number % len(MACHINES)
    machine = MACHINES[which]
    simulator = simulator_of(which, folder, optimisation)
    rng = np.random.default_rng([22, number])
    script, streams = [Reset(1)], []
    for _ in range(count):
        victim = victims(which)[int(rng.integers(VICTIMS))]
        begin = len(script)
        script += victim.stream(rng)
        middle = len(script)
        commands = (Command.HELLO, Command.ABORT)[:: int(rng.choice([1, -1]))]
        script += victim.behind(rng, commands)
        streams.append((victim, commands, begin, middle, len(script)))
    stalls = float(rng.choice([0, 0, 0.1, 0.5]))
    epochs = iter(
        simulator.run(script, trace=traced, stalls=stalls, seed=number, patience=PATIENCE)
    )
    replies, line = Replies(next(epochs)), Line()
    for stream, (victim, commands, begin, middle, end) in enumerate(streams):
        try:
            for op in script[max(1, begin) : middle]:
                if isinstance(op, Reset):
                    replies.check_order(line, whole=False)
                    replies, line = Replies(next(epochs)), Line()
                elif isinstance(op, Send):
                    line.feed(op.data)
            line.feed(b"\xc0")  # as HELLO begins: it ends what was open
            hello = replies.answer(commands, longest)
            expected = (VERSION, line.dropped, digest(machine))
            assert (hello.version, hello.dropped, hello.digest) == expected, hello
            assert hello.runs <= (2 if commands[0] is Command.HELLO else 0)
            run = replies.run(victim, traced)
            found = difference(victim.schedule, victim.frames, run, traced=traced)
            assert found is None, found
            for op in script[middle:end]:
                if isinstance(op, Send):
                    line.feed(op.data)
        except AssertionError as error:
            raise AssertionError(f"batch {number}, stream {stream}: {error}") from error
    replies.check_order(line, whole=True)


@pytest.mark.parametrize("number", IN_CI)
def test_hostile_links(number, simulators):
    batch(number, simulators, collections.Counter(), traced=number < 2, optimisation=BRIEF)


def main():
    """The campaign."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("streams", type=int)
    parser.add_argument("--first", type=int, default=0, help="the first batch")
    parser.add_argument("--keep", help="folder of the simulators")
    args = parser.parse_args()
    began, done, longest = time.time(), 0, collections.Counter()
    batches = -(-args.streams // BATCH)
    with contextlib.ExitStack() as stack:
        folder = args.keep or stack.enter_context(tempfile.TemporaryDirectory(prefix="hostile-"))
        for which in range(len(MACHINES)):
            simulator_of(which, Path(folder), OPTIMISATION)
        built = time.time()
        for number in range(args.first, args.first + batches):
            batch(number, Path(folder), longest, traced=number % 10 < 2)
            done += BATCH
            rate = done / (time.time() - built)
            print(f"{number}: right, {rate:.1f} streams/s", file=sys.stderr, flush=True)
    print(
        json.dumps(
            {
                "streams": done,
                "first": args.first,
                "seconds": round(time.time() - began),
                "streams a second": round(done / (time.time() - built), 1),
                "longest answers, clocks": dict(longest),
            },
            indent=1,
        )
    )


if __name__ == "__main__":
    main()
