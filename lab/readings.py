"""What the readings of ambiguous papers do to a neuron: ``python -m lab.readings``.

Where a paper's text and formulas disagree, or leave a choice open, this measures on random neurons
how often each reading meets the target that the paper itself states. A share says which reading
meets the target, not what its authors ran. The neurons are those of :mod:`.neurons`, the input
codes those of :mod:`.encoders`; `docs/neurons.md` explains the tables. Everything is in integers
and drawn from one seed.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from spikewright.files import write_bytes
from spikewright.network import InputCode, InputSpec, Layer, Network, Synapse
from spikewright.network.neuron import Negative, NeuronSpec, Rounding, Tie, Window
from spikewright.sim.golden.encoders import encode
from spikewright.sim.golden.model import Golden
from spikewright.sim.golden.neurons import fire, max_pool_spikes

__all__ = ["TABLES", "Run", "Table", "main", "run", "tables"]

Ints = npt.NDArray[np.int64]
Cell = str | int | float

STEPS = 16
THRESHOLD = 16
NEURONS = 20_000
SEED = 1


@dataclass(frozen=True)
class Table:
    """Rows of words, counts (int) and shares (float, of 1)."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]

    def markdown(self) -> str:
        """As in `docs/neurons.md`: 1.000 stands for every neuron, 0.000 for none."""
        lines = [self.columns, ["---"] * len(self.columns), *([*map(_cell, r)] for r in self.rows)]
        return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _cell(value: Cell) -> str:
    if isinstance(value, float):
        inner = min(max(value, 0.001), 0.999)
        return f"{value if value in (0, 1) or 0.001 < value < 0.999 else inner:.3f}"
    return str(value)


@dataclass(frozen=True)
class Run:
    """Neurons after all their steps: V and y, ``(neurons,)``, and n of every step in `spikes`."""

    membrane: Ints
    count: Ints
    spikes: Ints


def run(
    spec: NeuronSpec,
    drive: Ints,
    threshold: int = THRESHOLD,
    *,
    initial: int = 0,
    settle: int = 0,
    final: bool = False,
) -> Run:
    """Neurons of `spec` under `drive`, current and bias ``(T, neurons)``, then `settle` steps
    without, and with `final` the final step."""
    silence = np.zeros((settle + final, *drive.shape[1:]), np.int64)
    membrane = np.full(drive.shape[1:], initial, np.int64)
    count = np.zeros_like(membrane)
    steps = [*drive, *silence]
    spikes = np.zeros((len(steps), *membrane.shape), np.int64)
    for step, current in enumerate(steps):
        membrane += current
        spikes[step] = fire(
            spec,
            membrane,
            np.array(threshold),
            count,
            final=final and step == len(steps) - 1,
            most=len(drive) - 1,
        )
    return Run(membrane, count, spikes)


def _drive(
    rng: np.random.Generator,
    reach: float,
    *,
    steps: int = STEPS,
    threshold: int = THRESHOLD,
    bias: int = 0,
) -> Ints:
    """Currents drawn evenly from +-`reach` thresholds, plus `bias`."""
    most = int(reach * threshold)
    return rng.integers(-most, most + 1, (steps, NEURONS)) + bias


def _share(found: Any, expected: Any) -> float:
    return float(np.mean(found == expected))


# ------------------------------------------------------------------------------------------ models


def if_forms(rng: np.random.Generator) -> Table:
    """NQ prints the reset in two places, Eq. 2 and Eq. 5."""
    rows: list[tuple[Cell, ...]] = []
    for reach in (0.5, 1, 2):
        drive = _drive(rng, reach, bias=THRESHOLD // 4)
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
        rows.append((f"{reach:g}", *(float((ours == np.stack(f)).all(0).mean()) for f in forms)))
    return Table(
        "IF: spike trains equal to those of U = V + I, V = U - s th (NQ Eq. 3-5)",
        ("R", "Eq. 2 alone, U >= th on its v", "Eq. 2 with Eq. 4"),
        tuple(rows),
    )


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
    return [_share(run(spec, drive, threshold).count, target) for spec in specs]


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


def hpc_readings(rng: np.random.Generator) -> Table:
    """Shares of each reading and of the printed one; and the default with T steps to settle."""
    rows: list[tuple[Cell, ...]] = []
    for smax, reach in ((1, 1), (2, 2), (1, 4), (2, 4), (4, 4)):
        drive = _drive(rng, reach)
        whole = np.maximum(drive.sum(0) // THRESHOLD, 0)
        printed = _share(_printed_eq_14(smax, drive), np.minimum(whole, STEPS * smax))
        settled = run(NeuronSpec.buffered(smax), drive, settle=STEPS).count
        shares = _hpc_shares(smax, drive, THRESHOLD)
        rows.append((smax, reach, printed, *shares, _share(settled, whole)))
    return Table(
        "HPC: neurons that reach the target of Eq. 4",
        ("Smax", "R", "Eq. 14 as printed", *HPC_READINGS, "ceil, '>=', T steps more"),
        tuple(rows),
    )


def hpc_cells(rng: np.random.Generator) -> Table:
    """The same over every combination of Smax, R, bias and threshold."""
    cells = []
    for smax, reach, share, threshold in product((1, 2, 4), (0.5, 1, 2, 4), (0, 4), (16, 256)):
        bias = threshold // share if share else 0
        drive = _drive(rng, reach, threshold=threshold, bias=bias)
        cells.append(_hpc_shares(smax, drive, threshold))
    shares = np.array(cells)
    best = (shares == shares.max(1, keepdims=True)) & (
        (shares == shares.max(1, keepdims=True)).sum(1, keepdims=True) == 1
    )
    rows = [
        (name, float(shares[:, i].min()), float(shares[:, i].mean()), int(best[:, i].sum()))
        for i, name in enumerate(HPC_READINGS)
    ]
    return Table(
        f"HPC: readings over {len(cells)} cells",
        ("reading", "worst", "mean", f"cells of {len(cells)} in which it alone is best"),
        tuple(rows),
    )


def hpc_multibit(rng: np.random.Generator) -> Table:
    """Eq. 14 at Smax = 1 against Eq. 13, which it is to generalise."""
    drive = _drive(rng, 1)
    membrane, count = np.zeros((2, NEURONS), np.int64)
    train = []
    for current in drive:
        membrane = membrane + current
        s = np.where(membrane > THRESHOLD, 1, np.where((membrane < 0) & (count >= 1), -1, 0))
        membrane, count = membrane - s * THRESHOLD, count + s
        train.append(s)
    rows = []
    for name, negative in (("floor", Negative.AT_THRESHOLD), ("ceil", Negative.BELOW_ZERO)):
        spikes = run(NeuronSpec.buffered(1, negative, Tie.HOLDS), drive).spikes
        same = float((spikes == np.stack(train)).all(0).mean())
        rows.append((name, same, _share(spikes.sum(0), count)))
    return Table(
        "HPC: neurons of Eq. 14 at Smax = 1 that equal those of Eq. 13 (R = 1)",
        ("Eq. 14 with", "in every step", "in their count"),
        tuple(rows),
    )


def qffs_settle(rng: np.random.Generator) -> Table:
    """Zmax = N steps with input, then E without."""
    rows: list[tuple[Cell, ...]] = []
    half = THRESHOLD // 2
    for zmax, reach in product((1, 3, 7, 15), (1, 2, 4)):
        drive = _drive(rng, reach, steps=zmax)
        target = np.clip((drive.sum(0) + half) // THRESHOLD, 0, zmax)

        def share(
            spec: NeuronSpec, settle: int, drive: Ints = drive, target: Ints = target
        ) -> float:
            count = run(spec, drive, initial=half, settle=settle).count
            # A neuron that takes nothing back stops at its bound if cut off there.
            return _share(np.minimum(count, len(drive)), target)

        bounded = NeuronSpec.bounded(zmax)
        exact = [share(bounded, settle) for settle in (0, 1, zmax)]
        holds = share(NeuronSpec.bounded(zmax, Tie.HOLDS), zmax)
        rows.append((zmax, reach, *exact, holds, share(NeuronSpec.plain(), zmax)))
    return Table(
        "QFFS: neurons at clip(floor(sum I / th + 1/2), 0, Zmax)",
        (
            *("Zmax", "R", "E = 0", "E = 1", "E = Zmax"),
            *("'>', E = Zmax", "no negative, E = Zmax"),
        ),
        tuple(rows),
    )


def calcium_rounding(rng: np.random.Generator) -> Table:
    """One neuron: what the rounding phase mends, with one or several spikes a step."""
    rows: list[tuple[Cell, ...]] = []
    half = THRESHOLD // 2
    for smax, reach in product((1, 8), (0.5, 1, 2, 4)):
        drive = _drive(rng, reach)
        target = np.maximum(0, (drive.sum(0) + half) // THRESHOLD)
        specs = [NeuronSpec.calcium(smax, rounding) for rounding in Rounding]
        shares = [_share(run(s, drive, final=s.final).count, target) for s in specs]
        before = run(specs[0], drive)
        tied = float(np.mean((before.membrane == -half) & (before.count > 0)))
        rows.append((smax, f"{reach:g}", *shares, tied))
    return Table(
        "Ca-LIF: neurons at max(0, round(sum I / th)), one layer",
        ("Smax", "R", *(r.value for r in Rounding), "at V = -th/2, y > 0"),
        tuple(rows),
    )


def qffs_depth(rng: np.random.Generator) -> Table:
    """Chains of dense layers: a layer settles after those in front of it."""
    zmax, size, threshold, images = 3, 48, 8, 400
    weights = [rng.integers(-7, 8, (size, size)) for _ in range(4)]
    frames = rng.integers(0, 2, (images, zmax * size, 1, 1)).astype(np.uint8)
    counts = frames.reshape(images, zmax, size).sum(1).astype(np.int64)
    rows: list[tuple[Cell, ...]] = []
    for depth, weight in enumerate(weights, 1):
        counts = np.clip((counts @ weight.T + threshold // 2) // threshold, 0, zmax)
        shares = []
        for settle in (0, 1, zmax, depth * zmax):
            network = _chain(NeuronSpec.bounded(zmax), weights[:depth], threshold, zmax, settle)
            shares.append(_share(Golden(network).run(frames).potentials, counts))
        rows.append((depth, *shares))
    return Table(
        f"QFFS, Zmax = N = {zmax}: counts of the last of L dense layers at their target",
        ("L", "E = 0", "E = 1", "E = Zmax", "E = L Zmax"),
        tuple(rows),
    )


def calcium_second_layer(rng: np.random.Generator) -> Table:
    """Two layers, 20 draws of weights; the target takes the first layer's exact counts."""
    draws, images, threshold = 20, 200, 32
    shapes = ((24, 48), (16, 24))
    shares: dict[tuple[int, Rounding], list[float]] = {}
    for _ in range(draws):
        weights = [rng.integers(-6, 8, shape) for shape in shapes]
        frames = rng.integers(0, 2, (images, STEPS * 48, 1, 1)).astype(np.uint8)
        target = frames.reshape(images, STEPS, 48).sum(1).astype(np.int64)
        for weight in weights:
            target = np.maximum(0, (target @ weight.T + threshold // 2) // threshold)
        if np.mean(target > 0) < 0.5:
            continue
        for smax, rounding in product((1, 8), (Rounding.ONE, Rounding.DRAIN)):
            spec = NeuronSpec.calcium(smax, rounding)
            found = Golden(_chain(spec, weights, threshold, STEPS)).run(frames).potentials
            shares.setdefault((smax, rounding), []).append(_share(found, target))
    rows = [
        (smax, rounding.value, len(found), float(np.mean(found)), min(found))
        for (smax, rounding), found in shares.items()
    ]
    return Table(
        "Ca-LIF: neurons at max(0, round(sum I / th)), second layer",
        ("Smax", "rounding", f"of {draws} draws, with mostly targets above 0", "mean", "worst"),
        tuple(rows),
    )


def _chain(
    spec: NeuronSpec, weights: Sequence[Ints], threshold: int, steps: int, settle: int = 0
) -> Network:
    """Dense layers of `spec` behind raw events, the last one's counts as output."""
    layers = []
    for index, weight in enumerate(weights):
        zeros = np.zeros(len(weight), np.int64)
        half = zeros + threshold // 2 * (spec.zmax is not None)
        synapse = Synapse(index - 1, weight[:, :, None, None])
        layers.append(
            Layer(
                f"layer{index}",
                spec,
                (len(weight), 1, 1),
                (synapse,),
                threshold=zeros + threshold,
                bias=zeros,
                initial=half,
            )
        )
    source = InputSpec((weights[0].shape[1], 1, 1), 1, code=InputCode.EVENTS)
    return Network(source, steps + settle + spec.final, 4, tuple(layers), steps)


def tsc_windows(rng: np.random.Generator) -> Table:
    """TSC neurons behind TSC input: what their spikes say, and how many they are."""
    inputs, steps, neurons, threshold = 16, 64, 2000, 48
    pixels = rng.integers(0, 256, (inputs, 1, neurons)).astype(np.uint8)
    pairs = encode(InputSpec((inputs, 1, 1), code=InputCode.TSC), steps, pixels[:, None])
    weights = rng.integers(-7, 8, (inputs, neurons))
    drive = np.cumsum((pairs[:, :, 0, 0] * weights).sum(1), 0)
    sums = (pixels[:, 0].astype(np.int64) * (steps - 1) // 255 * weights).sum(0)
    target = np.clip(sums // threshold, 0, steps - 1)
    rows: list[tuple[Cell, ...]] = []
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
        rows.append(
            (
                name,
                _share(value, target),
                f"{np.abs(value - target)[active].mean():.2f}",
                f"{sent[active].mean():.2f}",
                int(sent.max()),
            )
        )
    return Table(
        f"TSC: N = {steps}, {inputs} inputs, target clip(floor(sum D / th), 0, N - 1)",
        ("window", "at the target", "mean error, steps", "spikes a neuron", "most"),
        tuple(rows),
    )


def max_pool_alphabet(rng: np.random.Generator) -> Table:
    """Behind HPC neurons a maximum may change by what no single spike can say."""
    rows: list[tuple[Cell, ...]] = []
    for smax in (1, 2, 4, 8):
        drive = _drive(rng, 2 * smax).reshape(STEPS, -1, 4)
        spikes = run(NeuronSpec.buffered(smax), drive).spikes
        spec, sent, changes = NeuronSpec.max_pool(smax), np.zeros(NEURONS // 4, np.int64), []
        for counts in np.cumsum(spikes, 0):
            changes.append(max_pool_spikes(spec, counts.max(1) - sent, final=False))
            sent = sent + changes[-1]
        change = np.stack(changes)
        size = np.abs(change)
        outside = size[(size & -size) != size]
        values = ", ".join(map(str, np.unique(outside)))
        exact = _share(sent, spikes.sum(0).max(1))
        rows.append((smax, len(outside) / np.count_nonzero(size), values or "-", exact))
    return Table(
        "Max pooling of 2x2 HPC neurons: changes m that are no power of two",
        ("Smax", "share of all m but 0", "values of abs(m)", "sum of m is the maximum"),
        tuple(rows),
    )


# ------------------------------------------------------------------------------------- input codes


def isi_times(rng: np.random.Generator) -> Table:
    """All pixels; times in integers against the formula in floating point."""
    pixels = np.arange(256, dtype=np.uint8)[None, None, None]
    rows: list[tuple[Any, ...]] = []
    for steps in (4, 8, 16, 64, 128):
        train = encode(InputSpec((1, 1, 256), code=InputCode.ISI), steps, pixels)[:, 0, 0, 0]
        differ = complete = 0
        for pixel in range(256):
            times = np.flatnonzero(train[:, pixel]) + 1
            numbers = np.arange(1, steps * pixel // 255 + 1)
            complete += len(times) == len(numbers)
            if pixel and len(times) == len(numbers):
                differ += int((np.floor(numbers * (255 / pixel)) != times).sum())
        rows.append((steps, int(train.sum()), complete / 256, differ))
    spikes, distinct, moved = zip(*(row[1:] for row in rows), strict=True)
    rows.append(("all", sum(spikes), min(distinct), sum(moved)))
    return Table(
        "ISI: all 256 pixels",
        ("T", "spikes", "pixels with N distinct times", "times that floating point moves"),
        tuple(rows),
    )


def tsc_pairs(rng: np.random.Generator) -> Table:
    """All pixels: what the pair says to one and to two sums."""
    pixels = np.arange(256, dtype=np.uint8)[None, None, None]
    rows: list[tuple[Cell, ...]] = []
    for steps in (4, 8, 16, 64):
        train = encode(InputSpec((1, 1, 256), code=InputCode.TSC), steps, pixels)[:, 0, 0, 0]
        once = np.cumsum(train.astype(np.int64), 0)
        target = np.arange(256) * (steps - 1) // 255
        spikes = sorted({int(n) for n in np.abs(train).sum(0)})
        rows.append(
            (
                steps,
                _share(once.sum(0), target),
                _share(once[-1], 0),
                " or ".join(map(str, spikes)),
            )
        )
    return Table(
        "TSC input: all 256 pixels",
        ("N", "double sum is floor(p (N - 1))", "single sum is 0", "spikes a pixel"),
        tuple(rows),
    )


TABLES: dict[str, Callable[[np.random.Generator], Table]] = {
    one.__name__: one
    for one in (
        if_forms,
        hpc_readings,
        hpc_cells,
        hpc_multibit,
        qffs_settle,
        qffs_depth,
        calcium_rounding,
        calcium_second_layer,
        tsc_windows,
        max_pool_alphabet,
        isi_times,
        tsc_pairs,
    )
}


def tables(names: Sequence[str] = (), seed: int = SEED) -> dict[str, Table]:
    """The tables of `names`, or all; each starts from the seed, so that none changes another."""
    return {name: TABLES[name](np.random.default_rng(seed)) for name in names or TABLES}


def main() -> None:
    """Print the tables, or draw the curves of :mod:`.response`."""
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
    for name, table in made.items():
        print(f"### {name}: {table.title}\n\n{table.markdown()}\n")
    if options.json:
        data = {"seed": options.seed} | {name: asdict(table) for name, table in made.items()}
        write_bytes(options.json, json.dumps(data, indent=1).encode())


if __name__ == "__main__":
    main()
