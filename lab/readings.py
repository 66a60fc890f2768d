"""What the readings of ambiguous papers do to a neuron: ``python -m lab.readings``.

Where a paper's text and formulas disagree, or leave a choice open, this measures on random neurons
how often each reading meets the target that the paper itself states. A share says which reading
meets the target, not what its authors ran. Neurons and input codes are those of the golden model;
`docs/neurons.md` explains the tables. Everything is in integers and drawn from one seed.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lab.markdown import table
from lab.runs import NEURONS, STEPS, THRESHOLD, Ints, agreement, chain, currents, run
from spikewright.files import write_bytes
from spikewright.network import InputCode, InputSpec
from spikewright.network.neuron import Negative, NeuronSpec, Rounding, Tie, Window
from spikewright.sim.golden.encoders import encode
from spikewright.sim.golden.model import Golden
from spikewright.sim.golden.neurons import max_pool_spikes

__all__ = ["TABLES", "Table", "main", "tables"]

Cell = str | int | float

SEED = 1


@dataclass(frozen=True)
class Table:
    """Rows of words, counts (int) and shares (float, of 1)."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]

    def markdown(self) -> str:
        """As in `docs/neurons.md`: 1.000 stands for every neuron, 0.000 for none."""
        return table(self.columns, [[*map(_cell, row)] for row in self.rows])


def _cell(value: Cell) -> str:
    if isinstance(value, float):
        inner = min(max(value, 0.001), 0.999)
        return f"{value if value in (0, 1) or 0.001 < value < 0.999 else inner:.3f}"
    return str(value)


TABLES: dict[str, Callable[[np.random.Generator], Table]] = {}
"""By name, in the order of `docs/neurons.md`."""

Rows = Iterator[tuple[Cell, ...]]


def _shows(title: str, *columns: str) -> Callable[[Callable[..., Rows]], Callable[..., Rows]]:
    """What the function yields are the rows of the table of its name."""

    def register(rows: Callable[..., Rows]) -> Callable[..., Rows]:
        TABLES[rows.__name__] = lambda rng: Table(title, columns, tuple(rows(rng)))
        return rows

    return register


# ------------------------------------------------------------------------------------------ models


@_shows(
    "IF: spike trains equal to those of U = V + I, V = U - s th (NQ Eq. 3-5)",
    *("R", "Eq. 2 alone, U >= th on its v", "Eq. 2 with Eq. 4"),
)
def if_forms(rng: np.random.Generator) -> Rows:
    """NQ prints the reset in two places, Eq. 2 and Eq. 5."""
    for reach in (0.5, 1, 2):
        drive = currents(rng, reach, bias=THRESHOLD // 4)
        ours = run(NeuronSpec.plain(), drive, initial=THRESHOLD // 2).spikes
        before = np.full(NEURONS, THRESHOLD // 2)
        mixed, late = before.copy(), np.zeros((2, NEURONS), np.int64)
        forms: list[list[Ints]] = [[], []]
        for current in drive:
            # Eq. 2 alone: v is the potential before the reset, which comes a step later.
            before = before + current - late[0] * THRESHOLD
            # Eq. 2 for v, and Eq. 4, which adds the current once more, for firing.
            fired = (mixed + current >= THRESHOLD).astype(np.int64)
            mixed = mixed + current - late[1] * THRESHOLD
            late = np.stack([(before >= THRESHOLD).astype(np.int64), fired])
            for form, spikes in zip(forms, late, strict=True):
                form.append(spikes)
        yield f"{reach:g}", *(float((ours == np.stack(f)).all(0).mean()) for f in forms)


HPC_READINGS = {
    "no negative": (Negative.NONE, Tie.FIRES),
    "floor, '>'": (Negative.AT_THRESHOLD, Tie.HOLDS),
    "floor, '>='": (Negative.AT_THRESHOLD, Tie.FIRES),
    "ceil, '>'": (Negative.BELOW_ZERO, Tie.HOLDS),
    "ceil, '>='": (Negative.BELOW_ZERO, Tie.FIRES),
}
"""Eq. 14's negative branch left out, with its floor, or as Eq. 13 has it; and both ties."""


def _hpc_shares(smax: int, drive: Ints, threshold: int) -> list[float]:
    """How often each reading comes to the target of Eq. 4, within what T steps can send."""
    target = np.clip(drive.sum(0) // threshold, 0, len(drive) * smax)
    specs = [NeuronSpec.buffered(smax, *reading) for reading in HPC_READINGS.values()]
    return [agreement(run(spec, drive, threshold).count, target) for spec in specs]


def _printed_eq_14(smax: int, drive: Ints) -> Ints:
    """Counts after Eq. 14 to the letter, but for its minus sign and t - 1 in the gate.

    It tests '>' once and then takes the floor, so that a tie holds at the threshold alone; our ties
    hold at every multiple of it.
    """
    membrane, count = np.zeros((2, NEURONS), np.int64)
    for current in drive:
        membrane = membrane + current
        up = np.where(membrane > THRESHOLD, membrane // THRESHOLD, 0)
        down = np.where(membrane < 0, np.minimum(-membrane // THRESHOLD, count), 0)
        n = np.minimum(up + down, smax)
        spikes = np.sign(membrane) * np.where(n > 0, 2 ** np.int64(np.log2(np.maximum(n, 1))), 0)
        membrane, count = membrane - spikes * THRESHOLD, count + spikes
    return count


@_shows(
    "HPC: neurons that reach the target of Eq. 4",
    *("Smax", "R", "Eq. 14 as printed", *HPC_READINGS, "ceil, '>=', T steps more"),
)
def hpc_readings(rng: np.random.Generator) -> Rows:
    """Shares of each reading and of the printed one; and the default with T steps to settle."""
    for smax, reach in ((1, 1), (2, 2), (1, 4), (2, 4), (4, 4)):
        drive = currents(rng, reach)
        whole = np.maximum(drive.sum(0) // THRESHOLD, 0)
        printed = agreement(_printed_eq_14(smax, drive), np.minimum(whole, STEPS * smax))
        settled = run(NeuronSpec.buffered(smax), drive, settle=STEPS).count
        shares = _hpc_shares(smax, drive, THRESHOLD)
        yield smax, reach, printed, *shares, agreement(settled, whole)


_CELLS = [*product((1, 2, 4), (0.5, 1, 2, 4), (0, 4), (16, 256))]


@_shows(
    f"HPC: readings over {len(_CELLS)} cells",
    *("reading", "worst", "mean", f"cells of {len(_CELLS)} in which it alone is best"),
)
def hpc_cells(rng: np.random.Generator) -> Rows:
    """The same over every combination of Smax, R, bias and threshold."""
    cells = []
    for smax, reach, share, threshold in _CELLS:
        bias = threshold // share if share else 0
        drive = currents(rng, reach, threshold=threshold, bias=bias)
        cells.append(_hpc_shares(smax, drive, threshold))
    shares = np.array(cells)
    best = shares == shares.max(1, keepdims=True)
    best &= best.sum(1, keepdims=True) == 1
    for name, found, alone in zip(HPC_READINGS, shares.T, best.T, strict=True):
        yield name, float(found.min()), float(found.mean()), int(alone.sum())


@_shows(
    "HPC: neurons of Eq. 14 at Smax = 1 that equal those of Eq. 13 (R = 1)",
    *("Eq. 14 with", "in every step", "in their count"),
)
def hpc_multibit(rng: np.random.Generator) -> Rows:
    """Eq. 14 at Smax = 1 against Eq. 13, which it is to generalise."""
    drive = currents(rng, 1)
    membrane, count = np.zeros((2, NEURONS), np.int64)
    train = []
    for current in drive:
        membrane = membrane + current
        s = np.where(membrane > THRESHOLD, 1, np.where((membrane < 0) & (count >= 1), -1, 0))
        membrane, count = membrane - s * THRESHOLD, count + s
        train.append(s)
    for name, negative in (("floor", Negative.AT_THRESHOLD), ("ceil", Negative.BELOW_ZERO)):
        spikes = run(NeuronSpec.buffered(1, negative, Tie.HOLDS), drive).spikes
        same = float((spikes == np.stack(train)).all(0).mean())
        yield name, same, agreement(spikes.sum(0), count)


@_shows(
    "QFFS: neurons at clip(floor(sum I / th + 1/2), 0, Zmax)",
    *("Zmax", "R", "E = 0", "E = 1", "E = Zmax", "'>', E = Zmax", "no negative, E = Zmax"),
)
def qffs_settle(rng: np.random.Generator) -> Rows:
    """Zmax = N steps with input, then E without."""
    half = THRESHOLD // 2
    for zmax, reach in product((1, 3, 7, 15), (1, 2, 4)):
        drive = currents(rng, reach, steps=zmax)
        target = np.clip((drive.sum(0) + half) // THRESHOLD, 0, zmax)

        bounded, holds = NeuronSpec.bounded(zmax), NeuronSpec.bounded(zmax, Tie.HOLDS)
        cases = [(bounded, 0), (bounded, 1), (bounded, zmax), (holds, zmax)]
        counts = [
            run(spec, drive, initial=half, settle=settle).count
            for spec, settle in (*cases, (NeuronSpec.plain(), zmax))
        ]
        # A neuron that takes nothing back stops at its bound if cut off there.
        yield zmax, reach, *(agreement(np.minimum(count, zmax), target) for count in counts)


_ZMAX = 3


@_shows(
    f"QFFS, Zmax = N = {_ZMAX}: counts of the last of L dense layers at their target",
    *("L", "E = 0", "E = 1", "E = Zmax", "E = L Zmax"),
)
def qffs_depth(rng: np.random.Generator) -> Rows:
    """Chains of dense layers: a layer settles after those in front of it."""
    zmax, size, threshold, images = _ZMAX, 48, 8, 400
    weights = [rng.integers(-7, 8, (size, size)) for _ in range(4)]
    frames = rng.integers(0, 2, (images, zmax * size, 1, 1)).astype(np.uint8)
    counts = frames.reshape(images, zmax, size).sum(1).astype(np.int64)
    for depth, weight in enumerate(weights, 1):
        counts = np.clip((counts @ weight.T + threshold // 2) // threshold, 0, zmax)
        shares = []
        for settle in (0, 1, zmax, depth * zmax):
            network = chain(NeuronSpec.bounded(zmax), weights[:depth], threshold, zmax, settle)
            shares.append(agreement(Golden(network).run(frames).potentials, counts))
        yield depth, *shares


@_shows(
    "Ca-LIF: neurons at max(0, round(sum I / th)), one layer",
    *("Smax", "R", *(r.value for r in Rounding), "at V = -th/2, y > 0"),
)
def calcium_rounding(rng: np.random.Generator) -> Rows:
    """One neuron: what the rounding phase mends, with one or several spikes a step."""
    half = THRESHOLD // 2
    for smax, reach in product((1, 8), (0.5, 1, 2, 4)):
        drive = currents(rng, reach)
        target = np.maximum(0, (drive.sum(0) + half) // THRESHOLD)
        specs = [NeuronSpec.calcium(smax, rounding) for rounding in Rounding]
        shares = [agreement(run(s, drive, final=s.final).count, target) for s in specs]
        before = run(specs[0], drive)
        tied = float(np.mean((before.membrane == -half) & (before.count > 0)))
        yield smax, f"{reach:g}", *shares, tied


_DRAWS = 20


@_shows(
    "Ca-LIF: neurons at max(0, round(sum I / th)), second layer",
    *("Smax", "rounding", f"of {_DRAWS} draws, with mostly targets above 0", "mean", "worst"),
)
def calcium_second_layer(rng: np.random.Generator) -> Rows:
    """Two layers, 20 draws of weights; the target takes the first layer's exact counts."""
    images, threshold = 200, 32
    shapes = ((24, 48), (16, 24))
    shares: dict[tuple[int, Rounding], list[float]] = {}
    for _ in range(_DRAWS):
        weights = [rng.integers(-6, 8, shape) for shape in shapes]
        frames = rng.integers(0, 2, (images, STEPS * 48, 1, 1)).astype(np.uint8)
        target = frames.reshape(images, STEPS, 48).sum(1).astype(np.int64)
        for weight in weights:
            target = np.maximum(0, (target @ weight.T + threshold // 2) // threshold)
        if np.mean(target > 0) < 0.5:
            continue
        for smax, rounding in product((1, 8), (Rounding.ONE, Rounding.DRAIN)):
            spec = NeuronSpec.calcium(smax, rounding)
            found = Golden(chain(spec, weights, threshold, STEPS)).run(frames).potentials
            shares.setdefault((smax, rounding), []).append(agreement(found, target))
    for (smax, rounding), every in shares.items():
        yield smax, rounding.value, len(every), float(np.mean(every)), min(every)


_INPUTS, _WINDOW = 16, 64


@_shows(
    f"TSC: N = {_WINDOW}, {_INPUTS} inputs, target clip(floor(sum D / th), 0, N - 1)",
    *("window", "at the target", "mean error, steps", "spikes a neuron", "most"),
)
def tsc_windows(rng: np.random.Generator) -> Rows:
    """TSC neurons behind TSC input: what their spikes say, and how many they are."""
    inputs, steps, neurons, threshold = _INPUTS, _WINDOW, 2000, 48
    pixels = rng.integers(0, 256, (inputs, 1, neurons)).astype(np.uint8)
    pairs = encode(InputSpec((inputs, 1, 1), code=InputCode.TSC), steps, pixels[:, None])
    weights = rng.integers(-7, 8, (inputs, neurons))
    drive = np.cumsum((pairs[:, :, 0, 0] * weights).sum(1), 0)
    sums = (pixels[:, 0].astype(np.int64) * (steps - 1) // 255 * weights).sum(0)
    target = np.clip(sums // threshold, 0, steps - 1)
    for name, spec in (
        ("per-layer", NeuronSpec.tsc()),
        ("overlapped", NeuronSpec.tsc(Window.OVERLAPPED)),
        ("overlapped, latch", NeuronSpec.tsc(Window.OVERLAPPED, latch=True)),
    ):
        spikes = run(spec, drive, threshold, final=spec.final).spikes
        if spec.codes:
            value, sent = spikes.sum(0), 2 * (spikes.sum(0) > 0)
        else:
            value, sent = np.cumsum(spikes, 0).sum(0), np.abs(spikes).sum(0)
        active = target > 0
        error, mean = np.abs(value - target)[active].mean(), sent[active].mean()
        yield name, agreement(value, target), f"{error:.2f}", f"{mean:.2f}", int(sent.max())


@_shows(
    "Max pooling of 2x2 HPC neurons: changes m that are no power of two",
    *("Smax", "share of all m but 0", "values of abs(m)", "sum of m is the maximum"),
)
def max_pool_alphabet(rng: np.random.Generator) -> Rows:
    """Behind HPC neurons a maximum may change by what no single spike can say."""
    for smax in (1, 2, 4, 8):
        drive = currents(rng, 2 * smax).reshape(STEPS, -1, 4)
        spikes = run(NeuronSpec.buffered(smax), drive).spikes
        spec, sent, changes = NeuronSpec.max_pool(smax), np.zeros(NEURONS // 4, np.int64), []
        for counts in np.cumsum(spikes, 0):
            changes.append(max_pool_spikes(spec, counts.max(1) - sent, final=False))
            sent = sent + changes[-1]
        change = np.stack(changes)
        size = np.abs(change)
        outside = size[(size & -size) != size]
        values = ", ".join(map(str, np.unique(outside)))
        exact = agreement(sent, spikes.sum(0).max(1))
        yield smax, len(outside) / np.count_nonzero(size), values or "-", exact


# ------------------------------------------------------------------------------------- input codes


def _all_pixels(code: InputCode, steps: int) -> npt.NDArray[np.int8]:
    """Spikes ``(steps, 256)`` of a frame that holds every pixel."""
    pixels = np.arange(256, dtype=np.uint8)[None, None, None]
    return encode(InputSpec((1, 1, 256), code=code), steps, pixels)[:, 0, 0, 0]


@_shows(
    "ISI: all 256 pixels",
    *("T", "spikes", "pixels with N distinct times", "times that floating point moves"),
)
def isi_times(rng: np.random.Generator) -> Rows:
    """All pixels; times in integers against the formula in floating point."""
    rows: list[tuple[Any, ...]] = []
    for steps in (4, 8, 16, 64, 128):
        train = _all_pixels(InputCode.ISI, steps)
        differ = complete = 0
        for pixel in range(256):
            times = np.flatnonzero(train[:, pixel]) + 1
            numbers = np.arange(1, steps * pixel // 255 + 1)
            complete += len(times) == len(numbers)
            if pixel and len(times) == len(numbers):
                differ += int((np.floor(numbers * (255 / pixel)) != times).sum())
        rows.append((steps, int(train.sum()), complete / 256, differ))
    yield from rows
    spikes, distinct, moved = zip(*(row[1:] for row in rows), strict=True)
    yield "all", sum(spikes), min(distinct), sum(moved)


@_shows(
    "TSC input: all 256 pixels",
    *("N", "double sum is floor(p (N - 1))", "single sum is 0", "spikes a pixel"),
)
def tsc_pairs(rng: np.random.Generator) -> Rows:
    """All pixels: what the pair says to one and to two sums."""
    for steps in (4, 8, 16, 64):
        train = _all_pixels(InputCode.TSC, steps)
        once = np.cumsum(train.astype(np.int64), 0)
        target = np.arange(256) * (steps - 1) // 255
        spikes = " or ".join(map(str, np.unique(np.abs(train).sum(0))))
        yield steps, agreement(once.sum(0), target), agreement(once[-1], 0), spikes


def tables(names: Sequence[str] = (), seed: int = SEED) -> dict[str, Table]:
    """The tables of `names`, or all; each starts from the seed, so that none changes another."""
    return {name: TABLES[name](np.random.default_rng(seed)) for name in names or TABLES}


def main() -> None:
    """Print the tables, or draw the curves of :mod:`.responses`."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help=f"of {', '.join(TABLES)}; all if none is given")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the tables as JSON too")
    parser.add_argument("--plots", type=Path, metavar="FOLDER", help="draw response curves there")
    options = parser.parse_args()
    unknown = sorted(set(options.names) - set(TABLES))
    if unknown:
        parser.error(f"no table {unknown[0]!r}; there are {', '.join(TABLES)}")
    if options.plots:
        from lab.responses import draw

        for file in draw(options.plots):
            print(file)
        return
    made = tables(options.names, options.seed)
    for name, each in made.items():
        print(f"### {name}: {each.title}\n\n{each.markdown()}\n")
    if options.json:
        data = {"seed": options.seed} | {name: asdict(each) for name, each in made.items()}
        write_bytes(options.json, json.dumps(data, indent=1).encode())


if __name__ == "__main__":
    main()
