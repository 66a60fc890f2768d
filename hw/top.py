"""The accelerator with its host port, and its Verilog."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from typing import Any

from amaranth.back import verilog
from amaranth.hdl import Module, ResetInserter, Shape, unsigned
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from spikewright.hw.engine import Engine
from spikewright.hw.host import HostPort
from spikewright.machine.hardware import HardwareShape

__all__ = ["Top", "describe", "generate"]


def top_members(shape: HardwareShape, trace: bool) -> dict[str, Any]:
    """The members of :class:`Top`."""
    members: dict[str, Any] = {"i": In(stream.Signature(8)), "o": Out(stream.Signature(8))}
    if trace:
        members |= {
            "trace": Out(stream.Signature(unsigned(shape.trace_bits))),
            "activity": Out(3 * shape.cores),
            "busy": Out(1),
        }
    return members


class Top(wiring.Component):
    """One accelerator in one clock domain; its reset is synchronous and needs one clock.

    Parameters
    ----------
    init
        Initial contents of the loadable memories by name, for a bitstream.

    Members
    -------
    i, o
        Bytes from and to the host, as :mod:`spikewright.machine.protocol` says.
    trace, activity, busy
        With `trace` only: a record for every scan result (see `HardwareShape.trace_fields`), each
        core's :class:`.Activity` (3 bits each, core 0 in the low bits), and
        whether an image is in flight. An ABORT may take back an offered trace record.
    """

    def __init__(
        self,
        shape: HardwareShape,
        *,
        trace: bool = False,
        init: Mapping[str, Sequence[int]] | None = None,
    ) -> None:
        self.shape, self.trace_built, self.init = shape, trace, init
        super().__init__(top_members(shape, trace))

    def elaborate(self, platform):
        m = Module()
        engine = Engine(self.shape, trace=self.trace_built, init=self.init)
        m.submodules.host = host = HostPort(self.shape)
        m.submodules.engine = ResetInserter(host.abort)(engine)
        connect(m, flipped(self.i), host.i)
        connect(m, host.o, flipped(self.o))
        connect(m, host.load, engine.load)
        connect(m, host.run, engine.run)
        connect(m, engine.result, host.result)
        m.d.comb += [host.label.eq(engine.label), host.clocks.eq(engine.clocks)]
        if self.trace_built:
            connect(m, engine.trace, flipped(self.trace))
            m.d.comb += [self.activity.eq(engine.activity), self.busy.eq(engine.busy)]
        return m


def generate(
    shape: HardwareShape,
    *,
    trace: bool = False,
    init: Mapping[str, Sequence[int]] | None = None,
    name: str = "spikewright_top",
) -> str:
    """The top as Verilog 2001, with ports `clk`, `rst` and those of :func:`describe`."""
    top = Top(shape, trace=trace, init=init)
    return verilog.convert(top, name=name, emit_src=False, strip_internal_attrs=True)


def describe(
    shape: HardwareShape, *, trace: bool = False, name: str = "spikewright_top"
) -> dict[str, Any]:
    """What ``top.json`` says about :func:`generate`'s Verilog: module, ports, shape, versions."""
    ports = {pin: {"direction": "input", "width": 1} for pin in ("clk", "rst")}
    for path, member in wiring.Signature(top_members(shape, trace)).members.flatten():
        if member.is_port:
            ports["__".join(map(str, path))] = {
                "direction": "output" if member.flow is Out else "input",
                "width": Shape.cast(member.shape).width,
            }
    return {
        "module": name,
        "trace": trace,
        "ports": ports,
        "shape": asdict(shape),
        "digest": shape.digest,
        "versions": {package: version(package) for package in ("spikewright", "amaranth")},
    }
