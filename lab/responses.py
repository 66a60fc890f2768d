"""Response curves of the neurons and pictures of the input codes, as SVG files for the docs.

All axes are in units of lambda, at which the activation that a neuron stands for saturates: z is
the input of the ANN, and the output what the neuron's spikes are worth. Neurons get z either as the
same current in every step, or uneven: currents that stray by two thresholds and more from step to
step, but have the same sum. Of uneven currents the mean over many orders is drawn.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from lab.runs import run
from spikewright.files import write_text
from spikewright.network import InputCode, InputSpec
from spikewright.network.neuron import Negative, NeuronSpec, Rounding, Tie, Window
from spikewright.reports import charts
from spikewright.reports.charts import Plot
from spikewright.sim.golden.encoders import encode, signed_digits
from spikewright.sim.golden.neurons import max_pool_spikes

__all__ = ["PLOTS", "draw"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Curve = list[tuple[float, float]]

THRESHOLD = 960
ORDERS = 300
AXES = ("input z / lambda", "mean output / lambda")
_GRID = np.arange(-0.25, 1.2501, 0.01)


def _currents(z: Floats, steps: int, spikes: float) -> Ints:
    """The same current in every step, ``(steps, z)``; z = 1 is worth `spikes` thresholds."""
    return np.repeat(np.rint(z * spikes * THRESHOLD).astype(np.int64)[None], steps, 0)


def _uneven(z: Floats, steps: int, spikes: float) -> Ints:
    """Currents ``(steps, orders, z)`` with the sums of :func:`_currents`."""
    rng = np.random.default_rng(1)
    half = rng.integers(0, 2 * THRESHOLD, (steps // 2, ORDERS, 1))
    odd = np.zeros((steps % 2, ORDERS, 1), np.int64)
    stray = rng.permuted(np.concatenate([half, -half, odd]), axis=0)
    return _currents(z, steps, spikes)[:, None] + round(spikes) * stray


def _points(z: Floats, values: npt.NDArray[np.float64]) -> Curve:
    """Points of a curve; of several orders, their mean."""
    mean = values.reshape(-1, len(z)).mean(0)
    return [(float(a), float(b)) for a, b in zip(z, mean, strict=True)]


def _ideal(function: Callable[[Floats], Floats], z: Floats = _GRID) -> Curve:
    return _points(z, function(z))


def _relu(z: Floats) -> Floats:
    return np.clip(z, 0, 1)


def _rounded(levels: int, shift: float = 0.5) -> Callable[[Floats], Floats]:
    """The activation in `levels` steps, rounded with 1/2 (QCFS), down with 0 (QReLU)."""

    def quantised(z: Floats) -> Floats:
        return np.asarray(np.clip(np.floor(z * levels + shift + 1e-9) / levels, 0, 1))

    return quantised


def _chart(title: str, series: Mapping[str, Curve], axes: tuple[str, str] = AXES) -> Plot:
    """A plot whose last series is the ideal."""
    return Plot(title, series, axes, ideal=list(series)[-1])


def _counts(
    spec: NeuronSpec,
    z: Floats,
    steps: int,
    *,
    most: int,
    spikes: float = 1,
    start: float = 0.5,
    settle: int = 0,
    uneven: bool = False,
) -> Curve:
    """y over `most`, the count at which the activation saturates."""
    drive = (_uneven if uneven else _currents)(z, steps, spikes)
    initial = round(start * THRESHOLD)
    made = run(spec, drive, THRESHOLD, initial=initial, settle=settle, final=spec.final)
    return _points(z, made.count / most)


def integrate_and_fire() -> list[Plot]:
    """IF neurons, over T and V(0)."""
    plain = NeuronSpec.plain()
    even = {f"T = {t}": _counts(plain, _GRID, t, most=t) for t in (2, 4, 8)}
    uneven = {
        "V(0) = th/2": _counts(plain, _GRID, 8, most=8, uneven=True),
        "V(0) = 0": _counts(plain, _GRID, 8, most=8, start=0, uneven=True),
    }
    return [
        _chart("IF, even input, V(0) = th/2", even | {"clipped ReLU": _ideal(_relu)}),
        _chart("IF, uneven input, T = 8", uneven | {"QCFS, L = 8": _ideal(_rounded(8))}),
    ]


def buffered() -> list[Plot]:
    """HPC neurons, over T and the readings of Eq. 14."""
    even = {
        f"T = {t}": _counts(NeuronSpec.buffered(2), _GRID, t, most=2 * t, spikes=2, start=0)
        for t in (2, 4, 8)
    }
    readings = {
        "ceil, >= (default)": NeuronSpec.buffered(2),
        "floor, >": NeuronSpec.buffered(2, Negative.AT_THRESHOLD, Tie.HOLDS),
        "no negative": NeuronSpec.buffered(2, Negative.NONE),
    }
    uneven = {
        name: _counts(spec, _GRID, 8, most=16, spikes=2, start=0, uneven=True)
        for name, spec in readings.items()
    }
    return [
        _chart("HPC, Smax = 2, even input", even | {"clipped ReLU": _ideal(_relu)}),
        _chart(
            "HPC, Smax = 2, uneven input, T = 8",
            uneven | {"QReLU, P = 16": _ideal(_rounded(16, 0))},
        ),
    ]


def bounded() -> list[Plot]:
    """QFFS neurons, over Zmax and the steps to settle."""
    even = {
        f"Zmax = {zmax}": _counts(NeuronSpec.bounded(zmax), _GRID, zmax, most=zmax)
        for zmax in (3, 7, 15)
    }
    uneven = {
        f"E = {settle}": _counts(
            NeuronSpec.bounded(7), _GRID, 7, most=7, settle=settle, uneven=True
        )
        for settle in (0, 1, 7)
    }
    return [
        _chart("QFFS, N = Zmax, even input", even | {"clipped ReLU": _ideal(_relu)}),
        _chart("QFFS, Zmax = 7, uneven input", uneven | {"LSQ, b = 3": _ideal(_rounded(7))}),
    ]


def calcium() -> list[Plot]:
    """Ca-LIF neurons, over T and the rounding."""
    even = {
        f"T = {t}": _counts(NeuronSpec.calcium(zmax=t), _GRID, t, most=t, start=0)
        for t in (2, 4, 8)
    }
    uneven = {
        f"rounding: {rounding.value}": _counts(
            NeuronSpec.calcium(1, rounding, zmax=8), _GRID, 8, most=8, start=0, uneven=True
        )
        for rounding in (Rounding.DRAIN, Rounding.ONE, Rounding.NONE)
    }
    return [
        _chart("Ca-LIF, drain, even input", even | {"clipped ReLU": _ideal(_relu)}),
        _chart("Ca-LIF, uneven input, T = 8", uneven | {"rounded to 8": _ideal(_rounded(8))}),
    ]


def average_pool() -> list[Plot]:
    """Neurons that average, over T and the rounding."""
    z = np.arange(-1.0, 1.0001, 0.02)
    axes = ("mean of the window", "mean output")
    even = {
        f"T = {t}": _counts(NeuronSpec.calcium(gated=False), z, t, most=t, start=0)
        for t in (2, 4, 8)
    }
    uneven = {
        f"rounding: {rounding.value}": _counts(
            NeuronSpec.calcium(1, rounding, gated=False), z, 8, most=8, start=0, uneven=True
        )
        for rounding in (Rounding.DRAIN, Rounding.ONE, Rounding.NONE)
    }
    average = {"average": _ideal(lambda value: value, z)}
    return [
        _chart("Average pool, drain, even input", even | average, axes),
        _chart("Average pool, uneven input, T = 8", uneven | average, axes),
    ]


def switching() -> list[Plot]:
    """TSC neurons, with windows a layer and overlapped."""
    layer = {}
    for steps in (4, 8, 16):
        drive = _currents(_GRID, steps - 1, 1)
        silent = np.zeros_like(drive[:1])
        made = run(NeuronSpec.tsc(), np.concatenate([drive, silent]), THRESHOLD, final=True)
        layer[f"N = {steps}"] = _points(_GRID, made.count / (steps - 1))
    steps, overlapped = 64, {}
    for name, latch in (("no latch", False), ("latch", True)):
        spec = NeuronSpec.tsc(Window.OVERLAPPED, latch=latch)
        made = run(spec, _currents(_GRID, steps, 1), THRESHOLD)
        active = np.cumsum(made.spikes, 0).sum(0)
        overlapped[name] = _points(_GRID, active / steps)
    ideal = {"clipped ReLU": _ideal(_relu)}
    return [
        _chart("TSC, a window a layer", layer | ideal),
        _chart("TSC, overlapped, N = 64", overlapped | ideal),
    ]


def max_pool() -> list[Plot]:
    """The maximum of two neurons, over T."""
    series = {}
    for steps in (2, 4, 8):
        drives = [_currents(z, steps, 1) for z in (_GRID, np.full_like(_GRID, 0.5))]
        trains = [
            run(NeuronSpec.plain(), drive, THRESHOLD, initial=THRESHOLD // 2).spikes
            for drive in drives
        ]
        sent = np.zeros(len(_GRID), np.int64)
        for counts in np.cumsum(trains, 1).max(0):
            sent += max_pool_spikes(NeuronSpec.max_pool(), counts - sent, final=False)
        series[f"T = {steps}"] = _points(_GRID, sent / steps)
    ideal = {"max(clipped ReLU, 1/2)": _ideal(lambda z: np.maximum(_relu(z), 0.5))}
    return [_chart("Max pool of two IF neurons, one at 1/2", series | ideal)]


def integrator() -> list[Plot]:
    """The potential of the output layer, over T."""
    series = {}
    for steps in (2, 8):
        drive = _currents(_GRID, steps, 1)
        made = run(NeuronSpec.integrator(), drive, THRESHOLD)
        series[f"T = {steps}"] = _points(_GRID, made.membrane / (steps * THRESHOLD))
    return [_chart("Integrator: V(T) / T", series | {"identity": _ideal(lambda z: z)})]


# ------------------------------------------------------------------------------------------- codes

_SPIKES = (InputCode.BERNOULLI, InputCode.ISI, InputCode.TSC)


def _train(code: InputCode, steps: int, pixels: Sequence[int]) -> npt.NDArray[np.int8]:
    """Spikes ``(steps, pixels)`` of one frame of 8 bits."""
    frame = np.array(pixels, np.uint8)[None, None, :, None]
    return encode(InputSpec((1, 1, len(pixels)), code=code), steps, frame)[:, 0, 0, :, 0]


def input_codes() -> Figure:
    """Spikes of 16 pixels over 16 steps; negative ones in another colour."""
    pixels = range(0, 256, 17)
    trains = {
        f"{code.value}, T = 16": [
            (pixel, [int(t + 1) * int(spikes[t]) for t in np.flatnonzero(spikes)])
            for pixel, spikes in zip(pixels, _train(code, 16, pixels).T, strict=True)
        ]
        for code in _SPIKES
    }
    return charts.raster(trains, 16)


def input_counts() -> list[Plot]:
    """What every pixel is worth, and the events that it takes."""
    pixels, steps = list(range(256)), 16
    axes = ("pixel", "value")
    values, events = {}, {}
    for code in _SPIKES:
        train = _train(code, steps, pixels).astype(np.int64)
        worth = {
            InputCode.ISI: train.sum(0) / steps,
            InputCode.TSC: np.cumsum(train, 0).sum(0) / (steps - 1),
            InputCode.BERNOULLI: train.sum(0) * (256 / 255) / steps,
        }[code]
        values[code.value] = list(zip(map(float, pixels), worth.tolist(), strict=True))
        sent = np.abs(train).sum(0).tolist()
        events[code.value] = list(zip(map(float, pixels), map(float, sent), strict=True))
    ideal = [(float(p), p / 255) for p in pixels]
    digits = signed_digits(np.array(pixels)).tolist()
    events["direct"] = list(zip(map(float, pixels), map(float, digits), strict=True))
    values["pixel / 255"] = ideal
    return [
        _chart(f"value that T = {steps} steps tell", values, axes),
        Plot(f"events a pixel, T = {steps}", events, ("pixel", "events")),
    ]


PLOTS: dict[str, Callable[[], list[Plot]]] = {
    "if": integrate_and_fire,
    "hpc": buffered,
    "qffs": bounded,
    "ca-lif": calcium,
    "average-pool": average_pool,
    "tsc": switching,
    "max-pool": max_pool,
    "integrator": integrator,
    "code-values": input_counts,
}


def draw(folder: Path) -> list[Path]:
    """Write every drawing into the existing `folder`; returns the files."""
    figures = {name: charts.plots(plots()) for name, plots in PLOTS.items()}
    figures["codes"] = input_codes()
    for name, figure in figures.items():
        write_text(folder / f"{name}.svg", charts.standalone(figure))
    return [folder / f"{name}.svg" for name in figures]
