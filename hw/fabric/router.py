"""The router: collects the words of all cores, and of the frame, and brings them to all cores."""

from __future__ import annotations

from amaranth.hdl import Const, Module, Mux, ShapeLike, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["CollectNode", "Router", "received_layout", "slot_layout"]


def received_layout(word: ShapeLike) -> data.StructLayout:
    """A word that comes to a core, where `valid`."""
    return data.StructLayout({"valid": 1, "word": word})


def slot_layout(word: ShapeLike, owners: int) -> data.StructLayout:
    """What moves down the collect chain, a node a clock.

    `word`, where `valid`; `held`: the slot is kept for the node `turn`, which it has not reached;
    `done`: all cores that it has passed are done.
    """
    return data.StructLayout(
        {"valid": 1, "word": word, "held": 1, "turn": range(owners), "done": 1}
    )


class CollectNode(wiring.Component):
    """Puts a word of its own into a slot that is empty, and not kept for a node further down.

    Latency: one clock, from `i` and from `own` to `o`. Throughput: a word a clock.

    Members
    -------
    i, o
        The slots, see :func:`slot_layout`. They never wait.
    own
        Words that go in here.
    done
        No more words come from here. It reaches `o` with the slot behind the last word's.
    """

    def __init__(self, word: ShapeLike, owners: int, turn: int) -> None:
        self.turn = turn
        slot = slot_layout(word, owners)
        super().__init__(
            {"i": In(slot), "o": Out(slot), "own": In(stream.Signature(word)), "done": In(1)}
        )

    def elaborate(self, platform):
        m = Module()
        i = self.i
        valid, held, done = Signal(), Signal(), Signal()
        word = Signal(i.word.shape(), reset_less=True)
        turn = Signal.like(i.turn)
        m.d.comb += [
            self.own.ready.eq(self._free()),
            self.o.valid.eq(valid),
            self.o.word.eq(word),
            self.o.held.eq(held),
            self.o.turn.eq(turn),
            self.o.done.eq(done),
        ]
        m.d.sync += [
            valid.eq(i.valid | (self.own.valid & self.own.ready)),
            word.eq(Mux(i.valid, i.word, self.own.payload)),
            held.eq(self._still_held()),
            turn.eq(i.turn),
            done.eq(self._all_done()),
        ]
        return m

    def _free(self) -> Value:
        return ~self.i.valid & (~self.i.held | (self.i.turn == self.turn))

    def _still_held(self) -> Value:
        return self.i.held & (self.i.turn != self.turn)

    def _all_done(self) -> Value:
        return self.i.done & self.done & ~self.own.valid


class Router(wiring.Component):
    """The collect chain of `cores` cores, a node for the frame at its end, and the broadcast.

    Latency: a word that core k gives is at `received[j]` ``k + 2 + j`` clocks later, one of the
    frame ``1 + j``: :attr:`latency` at most. Throughput: a word a clock in all, wherever they come
    from. Words from one source keep their order. None is lost: slots never wait.

    Fairness: every :attr:`TURN`-th slot is kept for one source in turn, and those further down. So
    an offer is taken at the latest in the :attr:`wait`-th clock, whatever the others send; where a
    source is alone it loses at most one slot in `TURN`.

    Members
    -------
    i
        The words of each core.
    done
        Of each core: it has given all words of the layer. Must not be high with a word behind it.
    frame
        Words of the next frame.
    received
        What comes to each core; core 0's is the readout's, too.
    arrived
        All cores were done: no word is behind those that have come to core 0.
    """

    TURN = 8

    def __init__(self, word: ShapeLike, cores: int) -> None:
        self.word, self.cores = word, cores
        super().__init__(
            {
                "i": In(stream.Signature(word)).array(cores),
                "done": In(1).array(cores),
                "frame": In(stream.Signature(word)),
                "received": Out(received_layout(word)).array(cores),
                "arrived": Out(1),
            }
        )

    @property
    def latency(self) -> int:
        """Clocks from a word of the last core until that core has it."""
        return 2 * self.cores

    @property
    def wait(self) -> int:
        """Clocks in which an offer is taken, at most."""
        return self.TURN * (self.cores + 1)

    def elaborate(self, platform):
        m = Module()
        owners = self.cores + 1
        slot: Value = self._empty(m, owners)
        for turn, own, done in self._sources():
            m.submodules[f"collect_{turn}"] = node = CollectNode(self.word, owners, turn)
            m.d.comb += [
                node.i.eq(slot),
                node.own.valid.eq(own.valid),
                node.own.payload.eq(own.payload),
                own.ready.eq(node.own.ready),
                node.done.eq(done),
            ]
            if turn == 0:  # the frame's words are no part of a layer
                m.d.comb += self.arrived.eq(node.i.done)
            slot = node.o
        m.d.comb += [
            self.received[0].valid.eq(slot.valid),
            self.received[0].word.eq(slot.word),
        ]
        for core in range(1, self.cores):
            valid = Signal(name=f"valid_{core}")
            word = Signal(self.word, name=f"word_{core}", reset_less=True)
            m.d.sync += [
                valid.eq(self.received[core - 1].valid),
                word.eq(self.received[core - 1].word),
            ]
            m.d.comb += [self.received[core].valid.eq(valid), self.received[core].word.eq(word)]
        return m

    def _sources(self):
        """Turn, words and `done` of each node, in the chain's order."""
        for core in reversed(range(self.cores)):
            yield core + 1, self.i[core], self.done[core]
        yield 0, self.frame, Const(1)

    def _empty(self, m: Module, owners: int) -> data.View:
        """The slots at the far end: empty, one in `TURN` kept for each source in turn."""
        phase, turn = Signal(range(self.TURN)), Signal(range(owners))
        empty = Signal(slot_layout(self.word, owners))
        m.d.comb += [
            empty.held.eq(phase == self.TURN - 1),
            empty.turn.eq(turn),
            empty.done.eq(1),
        ]
        m.d.sync += phase.eq(phase + 1)
        with m.If(empty.held):
            m.d.sync += [
                phase.eq(0),
                turn.eq(Mux(turn == owners - 1, 0, turn + 1)),
            ]
        return empty
