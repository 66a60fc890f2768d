"""The machine with its host port, and its Verilog."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

from amaranth.back import verilog
from amaranth.hdl import Module, Shape, Value, unsigned
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from spikewright.hw.fabric.core import Core
from spikewright.hw.fabric.engine import Engine
from spikewright.hw.link.port import HostPort
from spikewright.machine.blocks import Machine
from spikewright.machine.link import digest
from spikewright.records import to_builtins

__all__ = ["Top", "describe", "generate"]


def _members() -> dict[str, Any]:
    return {"i": In(stream.Signature(8)), "o": Out(stream.Signature(8))}


class Top(wiring.Component):
    """One machine in one clock domain; its reset is synchronous and needs one clock.

    Members
    -------
    i, o
        Bytes from and to the host, as :mod:`spikewright.machine.link` says.
    trace
        With `traced` only: in each clock in which a core decides, what all of them do
        (:func:`~spikewright.hw.fabric.core.trace_layout`, core 0 in the low bits). Nothing waits
        for `ready`.
    """

    def __init__(
        self, machine: Machine, *, traced: bool = False, core_module: str | None = None
    ) -> None:
        self.engine = Engine(machine, core_module)
        self.machine, self.traced = machine, traced
        members = _members()
        if traced:
            bits = len(Value.cast(self.engine.trace))
            members["trace"] = Out(stream.Signature(unsigned(bits)))
        super().__init__(members)

    def elaborate(self, platform):
        m = Module()
        m.submodules.engine = engine = self.engine
        m.submodules.port = port = HostPort(self.machine)
        connect(m, flipped(self.i), port.i)
        connect(m, port.o, flipped(self.o))
        connect(m, port.load, engine.load)
        connect(m, port.frame, engine.frame)
        m.d.comb += [
            engine.start.eq(port.start),
            engine.abort.eq(port.abort),
            engine.frame_ready.eq(port.frame_ready),
            engine.address.eq(port.place),
            port.frame_taken.eq(engine.frame_taken),
            port.image_done.eq(engine.image_done),
            port.label.eq(engine.label),
            port.clocks.eq(engine.clocks),
            port.output.eq(engine.output),
        ]
        if self.traced:
            decides = Value.cast(0)
            for core in engine.trace:
                decides |= core.valid
            m.d.comb += [
                self.trace.valid.eq(decides),
                self.trace.payload.eq(Value.cast(engine.trace)),
            ]
        return m


def generate(machine: Machine, *, traced: bool = False, name: str = "spikewright_top") -> str:
    """The top as Verilog 2001, with ports `clk`, `rst` and those of :class:`Top`.

    All cores are instances of one module.
    """
    core_module = f"{name}_core"
    top = Top(machine, traced=traced, core_module=core_module)
    parts = ((Core(machine), core_module), (top, name))
    return "".join(
        verilog.convert(part, name=called, emit_src=False, strip_internal_attrs=True)
        for part, called in parts
    )


def describe(machine: Machine, *, name: str = "spikewright_top") -> dict[str, Any]:
    """What ``top.json`` says about :func:`generate`'s Verilog: module, ports, machine, versions."""
    ports = {pin: {"direction": "input", "width": 1} for pin in ("clk", "rst")}
    for path, member in wiring.Signature(_members()).members.flatten():
        if member.is_port:
            ports["__".join(map(str, path))] = {
                "direction": "output" if member.flow is Out else "input",
                "width": Shape.cast(member.shape).width,
            }
    return {
        "module": name,
        "ports": ports,
        "machine": to_builtins(machine),
        "digest": digest(machine),
        "versions": {package: version(package) for package in ("spikewright", "amaranth")},
    }
