"""Runs images on the generated hardware and reads back everything it did.

The memories are loaded through the host port from :class:`.MemoryImage` objects;
frames and runs follow back to back. One interface serves two simulators: ``verilator`` compiles the
Verilog, ``pysim`` is Amaranth's own and needs no compiler.
"""

from __future__ import annotations

import os
from collections.abc import Mapping as AnyMapping
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from spikewright.errors import SpikewrightError
from spikewright.machine.axes import window
from spikewright.machine.hardware import HardwareShape, MemoryShape
from spikewright.machine.images import MemoryImage
from spikewright.machine.mapping import Mapping
from spikewright.machine.protocol import (
    Command,
    Decoder,
    Reply,
    Result,
    Status,
    parse_result,
    request,
    write_requests,
)
from spikewright.network import INPUT, Network
from spikewright.sim.golden.model import LayerTrace, check_frames
from spikewright.sim.rtl.sources import Sources
from spikewright.sim.rtl.stimulus import Epoch, Op, Reset, Send, Simulator, UntilReplies, Wait
from spikewright.sim.rtl.trace import assemble

__all__ = [
    "BACKENDS",
    "Backend",
    "RtlResult",
    "image_requests",
    "load_requests",
    "make_simulator",
    "patience",
    "results",
    "simulate",
    "simulate_all",
    "simulate_uart",
]

Ints = npt.NDArray[np.int64]
Frames = npt.NDArray[np.uint8]
Backend = Literal["verilator", "pysim"]
BACKENDS: tuple[Backend, ...] = ("verilator", "pysim")

DRAIN = 400
"""Clocks after the last reply in which the trace stream empties, even if it is often held."""


@dataclass(frozen=True)
class RtlResult:
    """What N images gave on the hardware.

    - `potentials`: ``(N, outputs)``; `classes`: ``(N,)``.
    - `clocks`: ``(N,)``, from the start of the image to its end, as the hardware counts.
    - `activity`: ``(N, cores, activities)`` clocks a core spent in each
      :class:`.Activity` while the image was in flight; None from a top without
      trace.
    - `trace`: a :class:`~.golden.LayerTrace` for each layer, if asked for.
    - `loading_clocks`: from the reset to the answer to the last word loaded, if timed.
    """

    potentials: Ints
    classes: Ints
    clocks: Ints
    activity: Ints | None = None
    trace: tuple[LayerTrace, ...] | None = None
    loading_clocks: int | None = None


def make_simulator(
    shape: HardwareShape,
    backend: Backend,
    *,
    trace: bool,
    cache: Path,
    brief: bool = False,
    sources: Sources | None = None,
) -> Simulator:
    """A simulator of the top of `shape`, built with or without the trace stream.

    `sources` are simulated; ``pysim`` checks that they are what it simulates. Without them the
    Verilog is generated. `cache` keeps compiled simulators. With `brief` it is built sooner and
    runs slower. Raises SpikewrightError for a missing tool, and for Verilog that is none.
    """
    verilog = Sources.generated(shape) if sources is None else sources
    if backend == "pysim":
        from spikewright.sim.rtl.pysim import PysimSimulator

        verilog.check_generated(shape, trace)
        return PysimSimulator(shape, trace=trace)
    if backend == "verilator":
        from spikewright.sim.rtl.verilator import (
            BRIEF,
            OPTIMISATION,
            build_simulator,
            randomised,
            require_tools,
        )

        require_tools()
        optimisation = BRIEF if brief else OPTIMISATION
        source = verilog.read(trace)
        try:
            return build_simulator(
                randomised(source.text),
                shape.cores,
                cache,
                trace_bits=shape.trace_bits if trace else None,
                optimisation=optimisation,
            )
        except SpikewrightError as error:
            raise SpikewrightError(f"{source.where}: {error}") from None
    raise SpikewrightError(f"simulator {backend!r}: unknown; use one of {', '.join(BACKENDS)}")


def load_requests(images: AnyMapping[str, MemoryImage], shape: HardwareShape) -> list[bytes]:
    """The messages that load every memory of `shape` from `images`."""
    requests: list[bytes] = []
    for memory in shape.loadable():
        image = images[memory.name]
        if image.shape != memory:
            raise SpikewrightError(
                f"{memory.name}: the image is of {image.shape}, the hardware has {memory}"
            )
        requests += write_requests(_id(memory), memory.word_bytes, image.to_bytes(), len(requests))
    return requests


def image_requests(frame: Frames, shape: HardwareShape, tag: int = 0) -> list[bytes]:
    """The messages that send one frame ``(C, H, W)`` and run it."""
    writes = list(write_requests(_id(shape.frame), shape.frame.word_bytes, frame.tobytes(), tag))
    return [*writes, request(Command.RUN, tag)]


def _id(memory: MemoryShape) -> int:
    assert memory.id is not None
    return memory.id


def patience(network: Network, mapping: Mapping, stalls: float) -> int:
    """Clocks in which any layer step must have ended, far above what the hardware needs.

    Every source neuron may send an event to every tap and group; a frame sends at most five digits
    a pixel. Stalls hold the trace stream only, one record after another.
    """
    work = 0
    for layer, where in zip(network.layers, mapping.layers, strict=True):
        scans = max(where.passes, where.final_passes)
        for synapse in layer.synapses:
            taps = synapse.weight.shape[2] * synapse.weight.shape[3]
            events = int(np.prod(network.source_shape(synapse))) * (
                5 if network.direct(layer) else 1
            )
            source = None if synapse.source == INPUT else mapping.layers[synapse.source]
            digits = 1 if source is None else max(source.passes, source.final_passes)
            work += events * digits * (taps * max(where.groups) + 4)
        work += 4 * scans * layer.shape[1] * layer.shape[2] * max(where.groups) * window(layer)
        work += 4 * scans * int(np.prod(network.source_shape(layer.synapses[0])))
    waiting = 1 / (1 - min(stalls, 0.99))
    return round((20_000 + 4 * work * network.steps) * waiting)


def simulate(
    images: AnyMapping[str, MemoryImage],
    network: Network,
    mapping: Mapping,
    frames: Frames,
    **options: Any,
) -> RtlResult:
    """Run `frames`, uint8 ``(N, C, H, W)``, back to back on hardware loaded with `images`.

    `options` and errors as of :func:`simulate_all`.
    """
    (result,) = simulate_all([(images, frames)], network, mapping, **options)
    return result


def simulate_all(
    sets: Sequence[tuple[AnyMapping[str, MemoryImage], Frames]],
    network: Network,
    mapping: Mapping,
    *,
    backend: Backend = "verilator",
    trace: bool = True,
    traced_top: bool = True,
    stalls: float = 0.0,
    seed: int = 0,
    cache: str | os.PathLike[str],
    brief: bool = False,
    sources: Sources | None = None,
) -> list[RtlResult]:
    """Run several pairs of images and frames, in one run of the simulator.

    The hardware is reset before each of them. `network` gives the geometry alone; its numbers are
    not used. `trace` collects the states of every layer; `traced_top` says which top is built:
    without it, neither trace nor activity is there. `sources` is the Verilog to simulate, if not
    what is generated; `brief` suits runs shorter than the build. `stalls` is the probability that a
    stream is held in a clock, `seed` draws them and the initial state. Raises SpikewrightError,
    naming the place, where the hardware does not answer as the protocol says or trace records are
    missing, doubled or misplaced.
    """
    if trace and not traced_top:
        raise ValueError("a top without trace has none to collect")
    for _, frames in sets:
        check_frames(frames, network.input, network.input_steps)
    simulator = make_simulator(
        mapping.shape, backend, trace=traced_top, cache=Path(cache), brief=brief, sources=sources
    )
    script: list[Op] = []
    loaded = [load_requests(images, mapping.shape) for images, _ in sets]
    replies = []
    for loads, (_, frames) in zip(loaded, sets, strict=True):
        runs = [
            message
            for index, frame in enumerate(frames)
            for message in image_requests(frame, mapping.shape, index)
        ]
        replies.append(len(loads) + len(runs))
        script += [
            Reset(),
            Send(b"".join(loads)),
            UntilReplies(len(loads)),
            Send(b"".join(runs)),
            UntilReplies(replies[-1]),
            Wait(DRAIN),
        ]
    epochs = simulator.run(
        script,
        trace=trace,
        stalls=stalls,
        seed=seed,
        patience=patience(network, mapping, stalls),
    )
    made = []
    for epoch, loads, expected, (_, frames) in zip(epochs, loaded, replies, sets, strict=True):
        outputs = _collect(results(epoch, network, expected), len(frames))
        made.append(
            replace(
                outputs,
                activity=_activity(epoch, outputs.clocks) if traced_top else None,
                trace=assemble(epoch.trace, network, mapping, len(frames)) if trace else None,
                loading_clocks=epoch.reply_clocks[len(loads) - 1],
            )
        )
    return made


def results(epoch: Epoch, network: Network, replies: int) -> list[Result]:
    """The results of the runs in `epoch`; every one of its `replies` must be there and good."""
    decoder = Decoder()
    answers = list(decoder.feed(epoch.received))
    if decoder.dropped or len(answers) != replies:
        raise SpikewrightError(
            f"simulation: {len(answers)} good and {decoder.dropped} broken replies, "
            f"{replies} were expected"
        )
    for answer in answers:
        _check_status(answer)
    outputs = network.layers[-1].shape[0]
    return [parse_result(a.payload, outputs) for a in answers if a.command == Command.RUN]


def simulate_uart(
    images: AnyMapping[str, MemoryImage],
    network: Network,
    mapping: Mapping,
    frames: Frames,
    *,
    divisor: int = 8,
) -> RtlResult:
    """As :func:`simulate`, in ``pysim``, through the UART pins of the board's top, bit by bit.

    `divisor` is the number of clocks of a bit. There is no trace, and loading is not timed.
    """
    from spikewright.sim.rtl.pysim import run_uart

    check_frames(frames, network.input, network.input_steps)
    requests = load_requests(images, mapping.shape)
    for index, frame in enumerate(frames):
        requests += image_requests(frame, mapping.shape, index)
    received = run_uart(mapping.shape, requests, divisor=divisor)
    epoch = Epoch(received, (), np.zeros((0, 1, 5), np.int64), np.zeros((0, 0), np.uint32))
    answers = results(epoch, network, len(requests))
    return _collect(answers, len(frames))


def _collect(answers: Sequence[Result], frames: int) -> RtlResult:
    if len(answers) != frames:
        raise SpikewrightError(f"simulation: {len(answers)} of {frames} runs were answered")
    columns = {
        name: np.array([getattr(answer, name) for answer in answers], np.int64)
        for name in ("potentials", "label", "clocks")
    }
    return RtlResult(
        potentials=columns["potentials"].reshape(frames, -1),
        classes=columns["label"],
        clocks=columns["clocks"],
    )


def _check_status(reply: Reply) -> None:
    if reply.status is not Status.OK:
        name = Command(reply.command).name if reply.command in list(Command) else reply.command
        raise SpikewrightError(
            f"simulation: {name} (tag {reply.tag}) was answered {reply.status.name}"
        )


def _activity(epoch: Epoch, clocks: Ints) -> Ints:
    """The clocks by activity; every core's must add up to what the hardware counted."""
    totals = epoch.activity.sum(2)
    if totals.shape[0] != len(clocks) or (totals != clocks[:, None]).any():
        raise SpikewrightError(
            f"simulation: the bench saw {totals.tolist()[:3]}... clocks in flight, the hardware "
            f"reports {clocks.tolist()[:3]}..."
        )
    return epoch.activity
