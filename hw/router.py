"""The spike router: every source's events and tokens to every core of the layer."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, ShapeLike, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from spikewright.hw.queue import Queue

__all__ = ["Merge", "Router"]


class Merge(wiring.Component):
    """Several streams into one, round robin: a source waits for one event of each other at most.

    Latency one clock; throughput one transfer a clock. Each source's order is kept.

    Members
    -------
    i : one stream a source
    """

    def __init__(self, shape: ShapeLike, sources: int) -> None:
        self._shape, self._sources = shape, sources
        super().__init__(
            {
                "i": In(stream.Signature(shape)).array(sources),
                "o": Out(stream.Signature(shape)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        waiting = Cat(source.valid for source in self.i)
        above = Signal(self._sources)
        grant = Signal(self._sources)
        m.d.comb += grant.eq(self._grant(waiting, above))
        room = self._room()
        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        for index, source in enumerate(self.i):
            m.d.comb += source.ready.eq(room & grant[index])
            with m.If(room & grant[index]):
                m.d.sync += [
                    self.o.valid.eq(1),
                    self.o.payload.eq(source.payload),
                    above.eq(~((2 << index) - 1)),
                ]
        return m

    def _grant(self, waiting, above):
        """The source to be served, one-hot: those above the last one served come first."""
        first = Mux((waiting & above).any(), waiting & above, waiting)
        return first & -first

    def _room(self):
        """Whether the register is free in the next clock."""
        return ~self.o.valid | self.o.ready


class Router(wiring.Component):
    """Merges the sources, and hands every event and token to each core that takes part.

    ::

        source 0 --+                +--> queue --> core 0
        source 1 --+-> merge -------+--> queue --> core 1
        ...      --+   (register)   +--> ...

    An event leaves the merge when the queues of all cores in `sinks` have room, for all of them at
    once: nothing is lost or doubled, and what one source sends arrives everywhere in its order. A
    source whose token has passed waits until the tokens of all `sources` have: no event of the next
    step overtakes a token. Three clocks from source to core; one event a clock.

    If every core takes what it is offered within k clocks, what a source offers is at all cores
    within (sources + DEPTH + 1) k - 2 clocks after the first offer, not counting the clocks for
    which the source waits for the tokens of others. ``tests/formal`` proves all this by induction.

    Members
    -------
    sources, sinks : the sources and the cores that take part; must not change while events are
        inside
    """

    DEPTH = 16

    def __init__(self, shape: data.StructLayout, sources: int, sinks: int) -> None:
        if "token" not in shape.members:
            raise ValueError(f"events need a member 'token', {shape!r} has none")
        self._shape, self._sources, self._sinks = shape, sources, sinks
        super().__init__(
            {
                "i": In(stream.Signature(shape)).array(sources),
                "o": Out(stream.Signature(shape)).array(sinks),
                "sources": In(sources),
                "sinks": In(sinks),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.merge = merge = Merge(self._shape, self._sources)
        passed = Signal(self._sources)
        token = Signal(self._sources)
        m.d.sync += passed.eq(self._next_passed(passed | token))
        for index, (source, port) in enumerate(zip(self.i, merge.i, strict=True)):
            m.d.comb += [
                port.payload.eq(source.payload),
                port.valid.eq(self._offers(source, passed[index])),
                source.ready.eq(port.ready),  # the merge is ready only for what is valid
                token[index].eq(port.valid & port.ready & source.p.token),
            ]
        room = Signal(self._sinks)
        m.d.comb += merge.o.ready.eq(self._all_have(room))
        for index, sink in enumerate(self.o):
            m.submodules[f"queue_{index}"] = queue = Queue(self._shape, self.DEPTH)
            m.d.comb += [
                room[index].eq(queue.i.ready),
                queue.i.payload.eq(merge.o.payload),
                queue.i.valid.eq(self._gives(merge.o, index)),
            ]
            connect(m, queue.o, flipped(sink))
        return m

    def _offers(self, source, passed):
        """Whether the source's event may go on."""
        return source.valid & ~passed

    def _gives(self, event, index):
        """Whether the core gets the event."""
        return event.valid & event.ready & self.sinks[index]

    def _next_passed(self, passed):
        """The sources that wait: `passed`, until the tokens of all have."""
        return Mux(self._complete(passed), 0, passed)

    def _complete(self, passed):
        """Whether no token of the step is missing."""
        return (passed | ~self.sources).all()

    def _all_have(self, room):
        """Whether all cores that take part have room."""
        return (room | ~self.sinks).all()
