"""Charts as figures of matplotlib, and as SVG of pages and files.

Text stays text, and equal values give equal bytes. Lengths are pixels. Nothing of pyplot's state is
used or changed.
"""

from __future__ import annotations

import base64
import io
import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import matplotlib
import numpy as np
from cycler import cycler
from markupsafe import Markup
from matplotlib import image as png
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, LogLocator, MaxNLocator, NullLocator, PercentFormatter

__all__ = [
    *("PALETTE", "Curve", "Plot"),
    *("accuracies", "bars", "course", "image", "plots", "raster", "shares"),
    *("inline", "standalone"),
]

SERIES = (
    *("#2a6fdb", "#e08a1e", "#2c9c6a", "#a9b2c0"),
    *("#c2484a", "#8457c9", "#1f97a8", "#8a6d3b"),
)
INK, SOFT, RULE, TRACK = "#1b2230", "#5b6576", "#dfe3ea", "#e9ecf2"
PALETTE = {f"s{i}": colour for i, colour in enumerate(SERIES, 1)}
PALETTE |= {"ink": INK, "soft": SOFT, "rule": RULE, "track": TRACK}
"""Colours by the name of the page's CSS variable; a dark page has others of these names."""

_HUES = (*SERIES[:3], *SERIES[4:])
"""Without the grey."""

_DASHES = ("-", (0, (4, 2)), (0, (1, 1.5)))

MARKED = 256
"""The most steps of a course whose points are marked."""

_TIP = "tip: "
"""Begins the name of a group whose rest a browser shows when the mouse is over it."""

_STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "spikewright",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 12,
    "text.color": INK,
    "text.parse_math": False,
    "axes.titlesize": 13,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.prop_cycle": cycler(color=SERIES),
    "axes.facecolor": "none",
    "axes.grid": True,
    "axes.axisbelow": True,
    **{f"axes.spines.{side}": False for side in ("left", "right", "top", "bottom")},
    **dict.fromkeys(("xtick.bottom", "ytick.left", "legend.frameon"), False),
    **dict.fromkeys(("xtick.labelsize", "ytick.labelsize", "axes.labelsize"), 11),
    **dict.fromkeys(("xtick.color", "ytick.color", "axes.labelcolor"), SOFT),
    "grid.color": RULE,
    "legend.fontsize": 12,
    "legend.borderpad": 0,
    "legend.handlelength": 1.6,
    "legend.columnspacing": 1.4,
    "lines.linewidth": 2,
    "figure.dpi": 72,
    "figure.facecolor": "none",
    "figure.constrained_layout.use": True,
}
_styled = style.context(["default", _STYLE])


def _figure(width: float, height: float) -> Figure:
    return Figure((width / 72, height / 72))


# ------------------------------------------------------------------------------------------ as text


@_styled
def standalone(figure: Figure) -> str:
    """The text of an SVG file on white ground."""
    figure.set_facecolor("#ffffff")
    figure.set_layout_engine("constrained", w_pad=0.12, h_pad=0.12)
    return _svg(figure, Creator=f"Spikewright, Matplotlib {matplotlib.__version__}")


@_styled
def inline(figure: Figure, label: str) -> Markup:
    """An SVG element of a page, in the colours of its CSS variables; `label` is read aloud."""
    text = _svg(figure, Creator=None, Format=None, Type=None)
    text = re.sub(r"<style.*?</style>", "", text[text.index("<svg") :], flags=re.DOTALL)
    variables = {colour: f"var(--{name})" for name, colour in PALETTE.items()}
    text = re.sub(r"(?<=: )#[0-9a-f]{6}", lambda found: variables.get(found[0], found[0]), text)
    width, height = (72 * inches for inches in figure.get_size_inches())
    head = (
        f'<svg viewBox="0 0 {width:g} {height:g}" style="max-width:{width:g}px" role="img" '
        f'aria-label="{escape(label)}">'
    )
    return Markup(re.sub(r"<svg[^>]*>", lambda _: head, text, count=1))


def _svg(figure: Figure, **metadata: str | None) -> str:
    """What matplotlib writes, without names and clips, which would be ambiguous on a page."""
    file = io.StringIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # who reads it may have other fonts
        figure.savefig(file, format="svg", metadata={"Date": None, **metadata})
    text = re.sub(r"<clipPath.*?</clipPath>", "", file.getvalue(), flags=re.DOTALL)
    text = re.sub(rf'<g id="{_TIP}([^"]*)">', r"<g><title>\1</title>", text)
    text = re.sub(r'<g id="[^"]*"', "<g", text)
    text = re.sub(r' clip-path="[^"]*"', "", text)
    text = re.sub(r"\n\s+", "\n", text).replace("<defs>\n</defs>\n", "")
    return re.sub(r"\s*\n(?![<\s])", " ", text)


# ------------------------------------------------------------------------------- charts of a report


@_styled
def bars(values: Mapping[str, float]) -> Figure:
    """Horizontal bars with their values, the first at the top."""
    figure = _figure(470, 26 * len(values) + 8)
    axes = figure.subplots()
    places = range(len(values))
    full = axes.barh(places, max(values.values()) or 1, height=0.62, color=TRACK)
    axes.bar_label(full, [f"{value:.3f}" for value in values.values()], padding=6)
    axes.barh(places, list(values.values()), height=0.62, color=SERIES[0])
    axes.set_yticks(places, list(values))
    axes.tick_params("y", labelcolor=INK, labelsize=12)
    axes.grid(False)
    axes.xaxis.set_visible(False)
    axes.invert_yaxis()
    return figure


@_styled
def shares(values: Mapping[str, float]) -> Figure:
    """One bar split into shares of a whole, and a legend that tells them."""
    figure = _figure(640, 54)
    axes = figure.subplots()
    start = 0.0
    for colour, (name, share) in zip(SERIES, values.items(), strict=False):
        label = f"{name} {share:.1%}"
        (bar,) = axes.barh(0, share, left=start, color=colour, label=label)
        bar.set_gid(f"{_TIP}{name}: {share:.2%}")
        start += share
    axes.set_axis_off()
    axes.margins(0)
    _legend(figure, columns=len(values))
    return figure


@_styled
def course(series: Mapping[str, Sequence[float]], levels: Mapping[str, float]) -> Figure:
    """Shares over the steps 1..T, and constant `levels` as dashed lines."""
    figure = _figure(460, 290)
    axes = figure.subplots()
    for colour, (name, values) in zip(SERIES, series.items(), strict=False):
        axes.plot(range(1, len(values) + 1), values, color=colour, label=name)
        for t, value in enumerate(values[:MARKED], 1):
            tip = f"{name}, t = {t}: {value:.2%}"
            _point(axes, t, value, colour, tip, size=6 if len(values) <= 32 else 3)
    for colour, (name, value) in zip(SERIES[len(series) :], levels.items(), strict=False):
        axes.axhline(value, color=colour, linewidth=1.5, linestyle=_DASHES[1], label=name)
    axes.set_xlabel("time step t")
    axes.xaxis.set_major_locator(MaxNLocator("auto", integer=True, min_n_ticks=1))
    axes.yaxis.set_major_formatter(PercentFormatter(1, symbol=" %"))
    axes.yaxis.set_major_locator(MaxNLocator(5))
    _legend(figure, columns=3)
    return figure


@_styled
def raster(trains: Mapping[str, Sequence[tuple[int, Sequence[int]]]], steps: int) -> Figure:
    """Spikes over the steps 1..T, one row a neuron with its index, trains of a name side by side.

    A negative spike at step t is -t, and in another colour.
    """
    most = max(map(len, trains.values()))
    figure = _figure(224 * len(trains), 9 * most + (52 if any(trains) else 24))
    for axes, (title, rows) in zip(_row(figure, len(trains)), trains.items(), strict=True):
        axes.set_title(title)
        for sign, colour in ((1, SERIES[0]), (-1, SERIES[4])):
            marks = [(sign * t, row) for row, (_, train) in enumerate(rows) for t in train]
            marks = [(t, row) for t, row in marks if t > 0]
            x = [end for t, _ in marks for end in (t - 0.44, t + 0.44, np.nan)]
            y = [row for _, row in marks for _ in range(3)]
            axes.plot(x, y, color=colour, linewidth=6.5, solid_capstyle="butt")
        axes.set_xlim(0.5, steps + 0.5)
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.set_yticks(range(0, len(rows), 4), [str(neuron) for neuron, _ in rows[::4]])
        axes.set_xticks(range(1, steps + 1, max(1, steps // 8)))
        axes.grid(False)
        edges = np.arange(steps + 1) + 0.5
        axes.vlines(edges, *axes.get_ylim(), RULE, linewidths=0.8, zorder=0.5)
    return figure


def image(pixels: Sequence[Sequence[Sequence[int]]], peak: int, label: str) -> Markup:
    """A frame ``(C, H, W)`` of one (grey) or three (colour) channels as an embedded PNG."""
    channels = np.array(pixels if len(pixels) == 3 else [pixels[0]] * 3)
    file = io.BytesIO()
    unsigned: Any = {"Software": None}
    shades = (channels * 255 // peak).astype(np.uint8).transpose(1, 2, 0)
    png.imsave(file, shades, format="png", metadata=unsigned)
    encoded = base64.b64encode(file.getvalue()).decode()
    return Markup(
        f'<img class="frame" alt="{escape(label)}" src="data:image/png;base64,{encoded}">'
    )


# ------------------------------------------------------------------------------------- comparisons


@dataclass(frozen=True)
class Curve:
    """A series of accuracies: its name, points (x, accuracy 0..1, text), and place among others.

    Points with a text are marked. `colour` and `dash` count the kinds of two properties, such as
    method and width.
    """

    name: str
    points: Sequence[tuple[float, float, str]]
    colour: int = 0
    dash: int = 0

    @property
    def style(self) -> dict[str, Any]:
        """Colour and dashes, as :meth:`~matplotlib.axes.Axes.plot` takes them."""
        dash = (self.dash + self.colour // len(_HUES)) % len(_DASHES)
        return {"color": _HUES[self.colour % len(_HUES)], "linestyle": _DASHES[dash]}


_ROUND = (0, 0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999, 0.9995, 0.9999)
_OTHERS = (0.3, 0.7, 0.85, 0.92, 0.94, 0.96, 0.97, 0.985, 0.992, 0.994, 0.996, 0.997)
_SHARES = sorted((*_ROUND, *_OTHERS))
"""Where an axis of accuracies may have its lines; greater ones are drawn at the last."""


@_styled
def accuracies(curves: Sequence[Curve], axis: str, *, base: int) -> Figure:
    """Accuracies over a positive number that `axis` names; both logarithmic.

    Upwards it is the logarithm of the error: 90 to 99 % is as high as 99 to 99.9 %.
    """
    rows = -(-len(curves) // 2)
    figure = _figure(480, 280 + 17 * rows)
    axes = figure.subplots()
    axes.set_xscale("log", base=base)
    axes.set_yscale("log")
    _error_axis(axes, [min(share, _SHARES[-1]) for c in curves for _, share, _ in c.points])
    for curve in curves:
        x, y, tips = zip(*curve.points, strict=True)
        errors = [1 - min(share, _SHARES[-1]) for share in y]
        name = re.sub("^_", "\u200b_", curve.name)  # matplotlib would leave it out of the legend
        axes.plot(x, errors, label=name, **curve.style)
        for place in zip(x, errors, tips, strict=True):
            if place[2]:
                _point(axes, *place[:2], curve.style["color"], f"{curve.name}, {place[2]}", size=6)
    axes.set_xlabel(axis)
    axes.xaxis.set_major_locator(LogLocator(base, subs=(1,) if base == 2 else (1, 2, 5)))
    axes.xaxis.set_major_formatter(EngFormatter())
    axes.xaxis.set_minor_locator(NullLocator())
    _legend(figure, columns=2)
    return figure


def _error_axis(axes: Axes, drawn: Sequence[float]) -> None:
    """Lines at round accuracies: an axis from one below all that is drawn to one above."""
    first = max(i for i, a in enumerate(_SHARES[:-1]) if a <= min(drawn))
    last = max(first + 1, min(i for i, a in enumerate(_SHARES) if a >= max(drawn)))
    near = 0.07 * np.log((1 - _SHARES[first]) / (1 - _SHARES[last]))
    ticks: list[float] = []
    for share in (*_ROUND, *_OTHERS):
        apart = (abs(np.log((1 - share) / (1 - other))) >= near for other in ticks)
        if share in _SHARES[first : last + 1] and all(apart):
            ticks.append(share)
    axes.set_ylim(1 - _SHARES[first], 1 - _SHARES[last])
    axes.yaxis.set_minor_locator(NullLocator())
    axes.set_yticks([1 - share for share in ticks], [f"{100 * share:g} %" for share in ticks])


# ---------------------------------------------------------------------------------------- functions


@dataclass(frozen=True)
class Plot:
    """Functions of a number: a title, series of points (x, y) by name, and the names of both axes.

    The series named `ideal` is dashed and grey.
    """

    title: str
    series: Mapping[str, Sequence[tuple[float, float]]]
    axes: tuple[str, str]
    ideal: str | None = None


@_styled
def plots(shown: Sequence[Plot]) -> Figure:
    """`shown` side by side."""
    figure = _figure(480 * len(shown), 340)
    for axes, plot in zip(_row(figure, len(shown)), shown, strict=True):
        others = iter(SERIES)
        dashed = {"color": SOFT, "linestyle": _DASHES[1], "linewidth": 1.5}
        for name, points in plot.series.items():
            look: Any = dashed if name == plot.ideal else {"color": next(others)}
            axes.plot(*zip(*points, strict=True), label=name, **look)
        axes.set_title(plot.title, pad=26)
        axes.set_xlabel(plot.axes[0])
        axes.set_ylabel(plot.axes[1])
        axes.margins(0)
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=len(plot.series))
    return figure


# ------------------------------------------------------------------------------------ small helpers


def _row(figure: Figure, columns: int) -> Iterable[Axes]:
    return figure.subplots(1, columns, squeeze=False)[0]


def _point(axes: Axes, x: float, y: float, colour: str, tip: str, *, size: float) -> None:
    """A dot: a line of no length whose ends are round."""
    look: Any = {"color": colour, "linewidth": size, "solid_capstyle": "round", "zorder": 3}
    axes.plot([x, x], [y, y], gid=_TIP + tip, **look)


def _legend(figure: Figure, *, columns: int) -> None:
    figure.legend(loc="outside lower left", ncols=columns)
