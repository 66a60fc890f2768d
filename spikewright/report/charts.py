"""Small charts as inline SVG, in the colours of the page's CSS variables; or as files."""

from __future__ import annotations

import base64
import math
import re
import struct
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape

__all__ = [
    "Curve",
    "accuracies",
    "bars",
    "colours",
    "curves",
    "image",
    "keys",
    "legend",
    "lines",
    "raster",
    "stacked",
    "standalone",
]

SERIES = tuple(f"var(--s{i})" for i in range(1, 9))
COLOURS = {
    "--s1": "#2a6fdb",
    "--s2": "#e08a1e",
    "--s3": "#2c9c6a",
    "--s4": "#a9b2c0",
    "--s5": "#c2484a",
    "--s6": "#8457c9",
    "--s7": "#1f97a8",
    "--s8": "#8a6d3b",
    "--ink": "#1b2230",
    "--soft": "#5b6576",
    "--rule": "#dfe3ea",
}
"""Of a file, which has no page around it."""


def _svg(width: float, height: float, label: str, parts: Sequence[str]) -> str:
    return (
        f'<svg viewBox="0 0 {width:g} {height:g}" style="max-width:{width:g}px" role="img" '
        f'aria-label="{escape(label)}">{"".join(parts)}</svg>'
    )


def _text(x: float, y: float, text: str, anchor: str = "start", kind: str = "") -> str:
    return f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}" class="{kind}">{escape(text)}</text>'


def _box(x: float, y: float, width: float, height: float, fill: str, title: str = "") -> str:
    tip = f"<title>{escape(title)}</title>" if title else ""
    return (
        f'<rect x="{x:g}" y="{y:g}" width="{max(width, 0):g}" height="{height:g}" '
        f'fill="{fill}">{tip}</rect>'
    )


def _line(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line x1="{x1:g}" y1="{y1:g}" x2="{x2:g}" y2="{y2:g}"/>'


def _colour(index: int) -> str:
    """Of the series of this index."""
    return SERIES[index % len(SERIES)]


def bars(values: Mapping[str, float], label: str, *, top: float | None = None) -> str:
    """Horizontal bars with their values; a full bar is `top`, or else the greatest."""
    full = top if top is not None else max(values.values(), default=0.0)
    row, left, room = 26, 110, 300
    parts = []
    for i, (name, value) in enumerate(values.items()):
        y = i * row
        length = room * value / full if full else 0.0
        parts += [
            _text(left - 8, y + 17, name, "end"),
            _box(left, y + 5, room, 16, "var(--track)"),
            _box(left, y + 5, length, 16, SERIES[0], f"{name}: {value:.4f}"),
            _text(left + room + 8, y + 17, f"{value:.3f}", kind="value"),
        ]
    return _svg(left + room + 60, row * len(values), label, parts)


def stacked(shares: Mapping[str, float], label: str) -> str:
    """One bar split into shares of a whole."""
    width, parts, x = 640.0, [], 0.0
    for i, (name, share) in enumerate(shares.items()):
        parts.append(_box(x, 0, width * share, 26, _colour(i), f"{name}: {share:.2%}"))
        x += width * share
    return _svg(width, 26, label, parts)


def legend(names: Sequence[str]) -> str:
    """The names of series in the order of their colours."""
    keys = (
        f'<span><i style="background:{_colour(i)}"></i>{escape(name)}</span>'
        for i, name in enumerate(names)
    )
    return f'<p class="legend">{"".join(keys)}</p>'


def lines(series: Mapping[str, Sequence[float]], levels: Mapping[str, float], label: str) -> str:
    """Percentages over the steps 1..T, and constant `levels` as dashed lines."""
    width, height, left, bottom = 460, 250, 46, 34
    every = [*levels.values(), *(v for values in series.values() for v in values)]
    low = int(min(every) * 20) / 20
    high = min(1.0, -(-max(every) * 20 // 1) / 20)
    high = high if high > low else low + 0.05
    steps = max(len(values) for values in series.values())

    def x(step: int) -> float:
        return left + (width - left - 12) * ((step - 1) / (steps - 1) if steps > 1 else 0.5)

    def y(value: float) -> float:
        return 10 + (height - bottom - 10) * (high - value) / (high - low)

    dot = 3.5 if steps <= 32 else 1.5
    parts = ['<g class="grid">']
    ticks = [low + (high - low) * i / 4 for i in range(5)]
    parts += [_line(left, y(v), width - 12, y(v)) for v in ticks] + ["</g>"]
    parts += [_text(left - 6, y(v) + 4, f"{round(100 * v, 1):g} %", "end", "tick") for v in ticks]
    every_step = range(1, steps + 1, max(1, steps // 8))
    parts += [_text(x(t), height - 16, str(t), "middle", "tick") for t in every_step]
    parts.append(_text((left + width) / 2, height - 1, "time step t", "middle", "tick"))
    for i, value in enumerate(levels.values(), len(series)):
        parts.append(
            f'<path d="M{left:g} {y(value):g}H{width - 12:g}" fill="none" stroke="{_colour(i)}" '
            'stroke-width="1.5" stroke-dasharray="6 4"/>'
        )
    for i, (name, values) in enumerate(series.items()):
        points = [(x(t), y(v)) for t, v in enumerate(values, 1)]
        path = " ".join(f"{a:.1f},{b:.1f}" for a, b in points)
        parts.append(
            f'<polyline points="{path}" fill="none" stroke="{_colour(i)}" stroke-width="2"/>'
        )
        parts += [
            f'<circle cx="{a:.1f}" cy="{b:.1f}" r="{dot:g}" fill="{_colour(i)}">'
            f"<title>{escape(name)}, t = {t}: {v:.2%}</title></circle>"
            for t, ((a, b), v) in enumerate(zip(points, values, strict=True), 1)
        ]
    return _svg(width, height, label, parts)


def curves(
    series: Mapping[str, Sequence[tuple[float, float]]],
    axes: tuple[str, str],
    label: str,
    *,
    ideal: str | None = None,
) -> str:
    """Functions of a number, as points (x, y) in the order of x; that named `ideal` is dashed.

    :func:`colours` has their colours.
    """
    width, height, left, bottom, top = 460, 260, 46, 40, 10
    (low_x, high_x), (low_y, high_y) = (
        (min(values), max(values))
        for values in zip(*(point for points in series.values() for point in points), strict=True)
    )

    def x(value: float) -> float:
        return left + (width - left - 12) * (value - low_x) / (high_x - low_x)

    def y(value: float) -> float:
        return top + (height - bottom - top) * (high_y - value) / (high_y - low_y)

    across, up = _ticks(low_x, high_x), _ticks(low_y, high_y)
    parts = ['<g class="grid">']
    parts += [_line(left, y(v), width - 12, y(v)) for v in up]
    parts += [_line(x(v), top, x(v), height - bottom) for v in across] + ["</g>"]
    parts += [_text(left - 6, y(v) + 4, f"{v:g}", "end", "tick") for v in up]
    parts += [_text(x(v), height - bottom + 14, f"{v:g}", "middle", "tick") for v in across]
    parts.append(_text((left + width) / 2, height - 6, axes[0], "middle", "tick"))
    parts.append(
        f'<text transform="translate(10 {(height - bottom) / 2:g}) rotate(-90)" '
        f'text-anchor="middle" class="tick">{escape(axes[1])}</text>'
    )
    for (name, points), colour in zip(series.items(), colours(series, ideal).values(), strict=True):
        path = " ".join(f"{x(a):.1f},{y(b):.1f}" for a, b in _corners(points))
        style = 'stroke-width="1.5" stroke-dasharray="6 4"' if name == ideal else 'stroke-width="2"'
        parts.append(
            f'<polyline points="{path}" fill="none" stroke="{colour}" {style}>'
            f"<title>{escape(name)}</title></polyline>"
        )
    return _svg(width, height, label, parts)


_HUES = (*SERIES[:3], *SERIES[4:])
"""Without the grey."""


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
    def style(self) -> str:
        dashes = ("none", "7 4", "2 3")[(self.dash + self.colour // len(_HUES)) % 3]
        return f'stroke="{self.hue}" stroke-dasharray="{dashes}"'

    @property
    def hue(self) -> str:
        return _HUES[self.colour % len(_HUES)]


_ROUND = (0, 0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999, 0.9995, 0.9999)
_OTHERS = (0.3, 0.7, 0.85, 0.92, 0.94, 0.96, 0.97, 0.985, 0.992, 0.994, 0.996, 0.997)
_SHARES = sorted((*_ROUND, *_OTHERS))
"""Where an axis of accuracies may have its lines; greater ones are drawn at the last."""


def accuracies(curves: Sequence[Curve], ticks: Sequence[float], axis: str, label: str) -> str:
    """Accuracies over a positive number that `axis` names, `ticks` of it shown; both logarithmic.

    Upwards it is the logarithm of the error: 90 to 99 % is as high as 99 to 99.9 %.
    """
    width, height, left, right, bottom = 480, 290, 52, 14, 36
    every = [point for curve in curves for point in curve.points]
    low_x, high_x = min(x for x, _, _ in every), max(x for x, _, _ in every)
    span = math.log(high_x / low_x) or 1.0
    shares = [min(a, _SHARES[-1]) for _, a, _ in every]
    first = max(i for i, a in enumerate(_SHARES[:-1]) if a <= min(shares))
    last = max(first + 1, min(i for i, a in enumerate(_SHARES) if a >= max(shares)))
    low_y, high_y = math.log(1 - _SHARES[first]), math.log(1 - _SHARES[last])

    def at(x: float, share: float) -> tuple[float, float]:
        error = math.log(1 - min(share, _SHARES[-1]))
        across = math.log(x / low_x) / span if high_x > low_x else 0.5
        up = (error - low_y) / (high_y - low_y)
        return left + (width - left - right) * across, 10 + (height - bottom - 10) * (1 - up)

    parts = []
    drawn: list[float] = []
    for share in (*_ROUND, *_OTHERS):
        _, y = at(low_x, share)
        if share in _SHARES[first : last + 1] and all(abs(y - other) >= 16 for other in drawn):
            drawn.append(y)
            parts.append(f'<g class="grid">{_line(left, y, width - right, y)}</g>')
            parts.append(_text(left - 6, y + 4, f"{100 * share:g} %", "end", "tick"))
    for tick in ticks:
        if low_x <= tick <= high_x:
            x, _ = at(tick, 0)
            parts.append(f'<g class="grid">{_line(x, 10, x, height - bottom)}</g>')
            parts.append(_text(x, height - 20, _short(tick), "middle", "tick"))
    parts.append(_text((left + width - right) / 2, height - 4, axis, "middle", "tick"))
    for curve in curves:
        places = [at(x, share) for x, share, _ in curve.points]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        parts.append(f'<polyline points="{path}" fill="none" {curve.style} stroke-width="2"/>')
        parts += [
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{curve.hue}">'
            f"<title>{escape(curve.name)}, {escape(text)}</title></circle>"
            for (x, y), (_, _, text) in zip(places, curve.points, strict=True)
            if text
        ]
    return _svg(width, height, label, parts)


def keys(curves: Sequence[Curve]) -> str:
    """The names of curves, each with its line."""
    lines = (
        '<span><svg viewBox="0 0 26 10" style="display:inline;width:26px;margin-right:6px">'
        f'<path d="M0 5H26" {curve.style} stroke-width="2"/></svg>{escape(curve.name)}</span>'
        for curve in curves
    )
    return f'<p class="legend">{"".join(lines)}</p>'


def _short(number: float) -> str:
    for unit, name in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if number >= unit:
            return f"{number / unit:g}{name}"
    return f"{number:g}"


def colours(names: Iterable[str], ideal: str | None = None) -> dict[str, str]:
    """The colour of each of up to eight series, and of the `ideal` among them."""
    others = iter(SERIES)
    return {name: "var(--soft)" if name == ideal else next(others) for name in names}


def _ticks(low: float, high: float) -> list[float]:
    """About five round numbers within `low` and `high`."""
    rough = (high - low) / 5
    power = 10.0 ** (len(f"{int(1e9 * rough)}") - 10)
    step = power * next(m for m in (1, 2, 2.5, 5, 10) if power * m >= rough)
    first = -(-low // step)
    return [round(step * (first + i), 9) for i in range(int(high / step - first + 1e-9) + 1)]


def _corners(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """`points` without those inside a level stretch."""
    inner = [
        here
        for before, here, after in zip(points, points[1:], points[2:], strict=False)
        if not before[1] == here[1] == after[1]
    ]
    return [points[0], *inner, points[-1]]


def raster(rows: Sequence[tuple[int, Sequence[int]]], steps: int, label: str) -> str:
    """Spikes over the steps 1..T: one row a neuron, its index to the left.

    A negative spike at step t is -t.
    """
    left, width = 44, 180.0
    pitch, height = width / steps, 8
    below = height * len(rows)
    parts = ['<g class="grid">']
    parts += [_line(left + pitch * t, 0, left + pitch * t, below) for t in range(steps + 1)]
    parts.append("</g>")
    for i, (neuron, fired) in enumerate(rows):
        if i % 4 == 0:
            parts.append(_text(left - 5, i * height + 7.5, str(neuron), "end", "tick"))
        parts += [
            _box(
                left + pitch * (abs(t) - 1) + 1,
                i * height + 1,
                pitch - 2,
                height - 2,
                SERIES[0 if t > 0 else 4],
            )
            for t in fired
        ]
    parts += [
        _text(left + pitch * (t - 0.5), below + 13, str(t), "middle", "tick")
        for t in range(1, steps + 1, max(1, steps // 8))
    ]
    return _svg(left + width + 2, below + 18, label, parts)


def standalone(charts: Sequence[tuple[str, Mapping[str, str], str]]) -> str:
    """A file of charts side by side: of each its title, the colours of its series, and itself."""
    parts, x, bottom = [], 16.0, 0.0
    for title, names, chart in charts:
        found = re.match(r'<svg viewBox="0 0 ([\d.]+) ([\d.]+)"', chart)
        if found is None:
            raise ValueError("not a chart of this module")
        width, height = map(float, found.groups())
        parts.append(f'<text x="{x + 4:g}" y="26" class="title">{escape(title)}</text>')
        at = x + 4
        for name, colour in names.items():
            parts += [_box(at, 40, 10, 10, colour), _text(at + 15, 49, name)]
            at += 30 + 6.6 * len(name)
        parts.append(f'<svg x="{x:g}" y="62" width="{width:g}" height="{height:g}" {chart[5:]}')
        x, bottom = max(x + width, at) + 20, max(bottom, 62 + height)
    size = f"{x - 4:g}", f"{bottom + 14:g}"
    text = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {" ".join(size)}" width="{size[0]}" '
        'font-family="system-ui, sans-serif">\n<style>text { fill: var(--ink); font-size: 12.5px; '
        "} text.title { font-weight: 600; font-size: 14px; } text.tick { fill: var(--soft); "
        "font-size: 10.5px; } .grid line { stroke: var(--rule); stroke-width: 1; }</style>\n"
        f'<rect width="100%" height="100%" rx="8" fill="#ffffff"/>\n{chr(10).join(parts)}\n</svg>\n'
    )
    return re.sub(r"var\((--\w+)\)", lambda name: COLOURS[name[1]], text)


def image(pixels: Sequence[Sequence[Sequence[int]]], peak: int, label: str) -> str:
    """A frame ``(C, H, W)`` of one (grey) or three (colour) channels as an embedded PNG."""
    channels = pixels if len(pixels) == 3 else pixels[:1]
    height, width = len(channels[0]), len(channels[0][0])
    rows = b"".join(
        b"\0" + bytes(c[y][x] * 255 // peak for x in range(width) for c in channels)
        for y in range(height)
    )
    kind = 2 if len(channels) == 3 else 0
    header = struct.pack(">IIBBBBB", width, height, 8, kind, 0, 0, 0)
    png = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    )
    encoded = base64.b64encode(png).decode()
    return f'<img class="frame" alt="{escape(label)}" src="data:image/png;base64,{encoded}">'
