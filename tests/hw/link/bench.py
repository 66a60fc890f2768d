"""A host port between a host and a machine in Python."""

import random
from collections import deque

from amaranth.hdl import ResetInserter, Signal
from amaranth.sim import Simulator

from spikewright.hw.link.port import HostPort
from spikewright.machine.blocks import FireUnit, Lanes, Machine, Walker
from spikewright.machine.link import Answers, Command, Decoder, Kind, write_requests

MACHINE = Machine(
    cores=2,
    lanes=Lanes(count=8, weight_bits=8, weight_rows=64),  # a row is two words
    fire=FireUnit(count=2, parameter_rows=9),
    walker=Walker(axis_entries=20),
    program_words=300,
    outputs=64,
)


class Bench:
    """Runs `script(bench)` against a HostPort, with a machine that takes `run_clocks` an image.

    `loaded` holds the load words, `frames` the words of the frame that was taken for each image;
    `replies` and `answers` what the host decoded. `stall` is the probability that a party skips a
    clock. A hostile machine never takes a frame's word, begins an image or ends it; `lies` makes it
    pulse whatever it can at random.
    """

    def __init__(
        self,
        script,
        *,
        stall=0.0,
        run_clocks=50,
        outputs=0,
        takes=True,
        seed=0,
        limit=60_000,
        machine=MACHINE,
        frame_gap=0,
    ):
        self.rng = random.Random(seed)
        self.machine, self.stall, self.run_clocks, self.limit = machine, stall, run_clocks, limit
        self.outputs, self.takes, self.lies, self.frame_gap = outputs, takes, False, frame_gap
        self.loaded, self.load_clocks, self.frames, self.next_frame = [], [], [], {}
        self.replies, self.answers, self.reply_clocks, self.sent_clocks = [], [], [], []
        self.starts = self.aborts = self.clock = 0
        self.running = False
        self.host_reads = True
        self.decoder, self.joiner = Decoder(), Answers(outputs)
        self.to_send = deque()
        self.reset = Signal()
        self.dut = HostPort(machine)
        sim = Simulator(ResetInserter(self.reset)(self.dut))
        sim.add_clock(1e-6)
        sim.add_testbench(self._parties, background=True)

        async def run_script(ctx):
            self._ctx = ctx
            if outputs:
                for message in write_requests(machine, Kind.OUTPUTS, 63, 0, [outputs]):
                    self.send(message)
                await self.reply()
                self.loaded.clear()
            await script(self)

        sim.add_testbench(run_script)
        sim.run()

    # ------------------------------------------------------------------------------ for scripts

    def send(self, data):
        self.to_send.extend(data)

    async def wait(self, clocks=1):
        for _ in range(clocks):
            await self._ctx.tick()

    async def until(self, condition):
        while not condition():
            await self.wait()

    async def reply(self):
        """The next reply to anything but RUN, or refusal of a RUN."""
        await self.until(lambda: self.replies)
        return self.replies.pop(0)

    async def answer(self):
        await self.until(lambda: self.answers)
        return self.answers.pop(0)

    async def ask(self, message):
        self.send(message)
        return await self.reply()

    async def pulse_reset(self):
        self._ctx.set(self.reset, 1)
        await self.wait()
        self._ctx.set(self.reset, 0)
        self.to_send.clear()

    def readout(self, image, place):
        """The output at `place` of an image."""
        value = (image + 1) * 0x1C0DB + place * 0x3FFF_C0DB
        return (value & (1 << 35) - 1) * (-1 if (image + place) % 2 else 1)

    # ------------------------------------------------------------------------------ the parties

    def _stalls(self):
        return self.rng.random() < self.stall

    async def _parties(self, ctx):
        """All of them, a clock at a time: what they set, and what becomes of it in that clock."""
        parties = [self._send(), self._receive(), self._router(), self._machine(), self._watch()]
        wanted = [next(party) for party in parties]
        signals = list(dict.fromkeys(name for names in wanted for name in names))
        ports = [self._port(name) for name in signals]
        settings, last = [], {}
        for party in parties:
            settings.append(party.send(None))
        while True:
            for setting in settings:
                for name, value in setting.items():
                    if last.get(name) != value:
                        ctx.set(self._port(name), value)
                        last[name] = value
            _, _, *values = await ctx.tick().sample(*ports)
            seen = dict(zip(signals, values, strict=True))
            settings = [party.send(seen) for party in parties]

    def _port(self, name):
        """``i.valid`` of the port, or the bench's own reset."""
        if name == "reset":
            return self.reset
        found = self.dut
        for part in name.split("."):
            found = getattr(found, part)
        return found

    def _watch(self):
        yield ["start", "abort", "load.valid", *(f"load.p.{name}" for name in NAMES)]
        while True:
            seen = yield {}
            start, abort = seen["start"], seen["abort"]
            self.clock += 1
            assert self.clock < self.limit, "the simulation does not end"
            self.starts += start
            self.aborts += abort
            assert not (start and self.running), "started twice"
            self.running = (self.running or start) and not abort
            if seen["load.valid"]:
                assert not self.running, "a word is loaded while the program runs"
                self.loaded.append(tuple(seen[f"load.p.{name}"] for name in NAMES))
                self.load_clocks.append(self.clock)

    def _send(self):
        yield ["i.ready", "reset"]
        while True:
            if not self.to_send or self._stalls():
                yield {"i.valid": 0}
                continue
            seen = yield {"i.valid": 1, "i.payload": self.to_send[0]}
            while not seen["i.ready"] and not seen["reset"]:
                seen = yield {}
            if self.to_send:
                self.to_send.popleft()

    def _receive(self):
        yield ["o.valid", "o.payload", "reset"]
        held = None
        while True:
            ready = self.host_reads and not self._stalls()
            seen = yield {"o.ready": int(ready)}
            valid, byte = seen["o.valid"], seen["o.payload"]
            if held is not None:
                assert (valid, byte) == (1, held), "an offered byte was changed or withdrawn"
            held = byte if valid and not ready and not seen["reset"] else None
            if valid and ready and not seen["reset"]:
                self._received(byte)

    def _received(self, byte):
        for reply in self.decoder.feed([byte]):
            self.reply_clocks.append((reply.command, self.clock))
            if reply.command == Command.RUN and not reply.status:
                answer = self.joiner.feed(reply)
                self.answers += [] if answer is None else [answer]
            else:
                self.replies.append(reply)
        assert self.decoder.dropped == 0

    def _router(self):
        """Takes the frame's words; they are the next image's until `frame_taken`."""
        names = ("frame.valid", "frame.p.data", "frame.p.address", "frame.p.kind", "abort", "reset")
        yield names
        held, gap = None, 0
        while True:
            gap = max(0, gap - 1)
            ready = self.takes and not gap and not self._stalls()
            seen = yield {"frame.ready": int(ready)}
            valid, word, address, kind, abort, reset = (seen[name] for name in names)
            if held is not None:
                assert (valid, word, address) == (1, *held), "a word was changed or withdrawn"
            held = (word, address) if valid and not (ready or abort or reset) else None
            if valid and ready:
                assert kind == 1
                assert self.running, "a word before the program runs"
                self.next_frame[address] = word
                gap = self.frame_gap
            if abort or reset:
                self.next_frame = {}

    def _machine(self):
        """The sequencer and the readout."""
        yield ["place", "frame_ready", "abort", "reset"]
        image, left, ready = 0, None, 0
        outputs = [0, 0]
        told = {"frame_taken": 0, "image_done": 0}
        while True:
            pulses = dict.fromkeys(("frame_taken", "image_done"), 0)
            if self.lies:
                pulses = {name: int(self.rng.random() < 0.2) for name in pulses}
            elif left is None and self.takes and ready and not self._stalls():
                pulses["frame_taken"], left = 1, self.run_clocks
                self.frames.append(self.next_frame)
                self.next_frame = {}
            elif left is not None:
                left -= 1
                if left == 0:
                    pulses["image_done"], left = 1, None
                    told |= {"label": image * 0x101, "clocks": self.run_clocks | 0xDBC0_0000}
                    image += 1
            seen = yield told | pulses | {"output": outputs[0]}
            outputs = [outputs[1], self.readout(image - 1, seen["place"])]
            ready = seen["frame_ready"] and not pulses["frame_taken"]
            if seen["abort"] or seen["reset"]:
                left, ready = None, 0
                told["label"] = 0xDEAD  # the readout forgets


NAMES = ("kind", "core", "index", "last", "data")
