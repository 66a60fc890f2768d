"""The charts: what is drawn where, and the SVG that it becomes."""

import base64
import io
import re
import xml.etree.ElementTree as ElementTree
from itertools import pairwise

import matplotlib
import numpy as np
import pytest
from matplotlib.image import imread

from spikewright.reports import charts
from spikewright.reports.charts import PALETTE, SERIES, Curve, Plot


def marks(axes):
    """The marked points, in the order in which they were drawn."""
    return [tuple(line.get_xydata()[0]) for line in axes.lines if line.get_gid()]


def lines(axes):
    """All but the marks."""
    return [line for line in axes.lines if not line.get_gid()]


def on_page(axes, points):
    """`points` of the axes as shares of their width and height, from the lower left."""
    axes.figure.draw_without_rendering()
    return axes.transAxes.inverted().transform(axes.transData.transform(points))


def texts(svg):
    return re.findall(r">([^<>]+)</text>", svg)


def test_shares_fill_the_bar():
    (axes,) = charts.shares({"a": 0.5, "b": 0.3, "c": 0.2}).axes
    assert [bar.get_width() for bar in axes.patches] == pytest.approx([0.5, 0.3, 0.2])
    assert [bar.get_x() for bar in axes.patches] == pytest.approx([0, 0.5, 0.8])
    assert axes.get_xlim() == pytest.approx((0, 1))
    text = charts.inline(charts.shares({"a": 0.5, "b": 0.5}), "x")
    assert texts(text) == ["a 50.0%", "b 50.0%"]


@pytest.mark.parametrize("values", [{"a": 0.25, "b": 0.5}, {"a": 0.0}, {"1": 0.1, "2024-01-01": 1}])
def test_bars_tell_their_values(values):
    figure = charts.bars(values)
    (axes,) = figure.axes
    count = len(values)
    assert [bar.get_width() for bar in axes.patches[count:]] == list(values.values())
    assert {bar.get_width() for bar in axes.patches[:count]} == {max(values.values()) or 1}
    shown = texts(charts.inline(figure, "x"))
    assert shown == [*values, *(f"{value:.3f}" for value in values.values())]


@pytest.mark.parametrize(
    ("series", "levels"),
    [
        ([0.5], {"ANN": 0.5}),
        ([1.0, 1.0], {"ANN": 1.0}),
        ([0.0, 0.0], {"ANN": 0.0}),
        ([0.1] * 64, {"ANN": 0.9, "integer": 0.2}),
    ],
)
def test_course_stays_inside(series, levels):
    figure = charts.course({"float": series}, levels)
    (axes,) = figure.axes
    steps = range(1, len(series) + 1)
    assert marks(axes) == list(zip(steps, series, strict=True))
    line, *dashed = lines(axes)
    assert line.get_xydata().tolist() == [[t, v] for t, v in zip(steps, series, strict=True)]
    assert [level.get_ydata()[0] for level in dashed] == list(levels.values())
    assert all(level.get_linestyle() == "--" for level in dashed)
    drawn = [*marks(axes), *((1, level) for level in levels.values())]
    assert ((on_page(axes, drawn) >= 0) & (on_page(axes, drawn) <= 1)).all()
    text = charts.inline(figure, "accuracy")
    assert f"<title>float, t = {steps[-1]}: {series[-1]:.2%}</title>" in text
    assert {"float", *levels, "time step t"} <= set(texts(text))


def test_raster_draws_one_mark_a_spike():
    figure = charts.raster({"": [(4, [1, 3]), (9, []), (11, [2])]}, 3)
    (axes,) = figure.axes
    up, down = axes.lines
    ends = up.get_xydata().reshape(-1, 3, 2)
    assert ends[:, :2].mean(1) == pytest.approx(np.array([[1, 0], [3, 0], [2, 2]]))
    assert not len(down.get_xydata())
    text = charts.inline(figure, "spikes")
    path = re.search(r'd="([^"]+)"[^>]*stroke: var\(--s1\)', text).group(1)
    assert path.count("M") == 3
    assert texts(text) == ["1", "2", "3", "4"]


def test_raster_shows_the_sign():
    figure = charts.raster({"pair": [(0, [1, -3])], "none": [(7, [])]}, 4)
    axes, other = figure.axes
    assert [line.get_color() for line in axes.lines] == [SERIES[0], SERIES[4]]
    assert [np.nanmean(line.get_xdata()) for line in axes.lines] == pytest.approx([1, 3])
    assert (axes.get_title("left"), other.get_title("left")) == ("pair", "none")


def test_rasters_may_be_empty():
    assert "<svg" in charts.inline(charts.raster({"a": []}, 1), "x")


def test_image_is_a_png_of_the_pixels():
    def decoded(markup):
        png = base64.b64decode(re.search(r"base64,([^\"]+)", markup).group(1))
        return np.rint(imread(io.BytesIO(png), "png") * 255)[..., :3].astype(int)

    grey = decoded(charts.image([[[0, 15], [7, 1]]], 15, "frame"))
    assert grey.tolist() == [[[0] * 3, [255] * 3], [[119] * 3, [17] * 3]]
    colour = decoded(charts.image([[[0]], [[128]], [[255]]], 255, "frame"))
    assert colour.tolist() == [[[0, 128, 255]]]
    assert 'alt="&lt;a&gt;"' in charts.image([[[0]]], 1, "<a>")


# ------------------------------------------------------------------------------------- comparisons


@pytest.mark.parametrize(
    "points",
    [
        [(1, 0.0)],
        [(4, 1.0)],
        [(1, 0.99999), (2, 1.0)],
        [(1, 0.1), (2, 0.5), (8, 0.9942)],
        [(3, 0.9), (5, 0.9)],
    ],
)
@pytest.mark.parametrize("base", [2, 10])
def test_accuracies_stay_inside(points, base):
    curve = Curve("a", [(x, share, f"{x}") for x, share in points])
    (axes,) = charts.accuracies([curve], "T", base=base).axes
    expected = [[x, 1 - min(share, 0.9999)] for x, share in points]
    assert np.array(marks(axes)) == pytest.approx(np.array(expected))
    places = on_page(axes, marks(axes))
    assert (places >= -1e-9).all()
    assert (places <= 1 + 1e-9).all()


def test_equal_ratios_of_errors_are_equal_heights():
    curve = Curve("a", [(1, 0.0, "a"), (2, 0.9, "b"), (4, 0.99, "c"), (16, 0.999, "d")])
    figure = charts.accuracies([curve], "T", base=2)
    (axes,) = figure.axes
    x, y = on_page(axes, marks(axes)).T
    heights = [b - a for a, b in pairwise(y)]
    assert heights == pytest.approx([heights[0]] * 3)
    assert heights[0] == pytest.approx(1 / 3)
    assert x[3] - x[2] == pytest.approx(2 * (x[1] - x[0]))
    assert {"90 %", "99 %", "99.9 %", "8", "16"} <= set(texts(charts.inline(figure, "accuracy")))


def test_points_without_a_text_have_no_mark():
    curve = Curve("a", [(1, 0.5, ""), (2, 0.9, "T = 2"), (3, 0.9, "")])
    figure = charts.accuracies([curve], "T", base=2)
    assert len(marks(figure.axes[0])) == 1
    assert len(figure.axes[0].lines[0].get_xdata()) == 3
    assert "<title>a, T = 2</title>" in charts.inline(figure, "x")


def test_many_curves_differ():
    curves = [Curve(str(i), [(1, 0.5, "x")], i % 12, i // 12) for i in range(24)]
    assert len({str(curve.style) for curve in curves[:12]}) == 12
    assert len({str(curve.style) for curve in curves[::12]}) == 2


# ---------------------------------------------------------------------------------------- functions

SQUARE = Plot(
    "square", {"a": [(0, 0), (0.5, 0), (1, 1)], "goal": [(0, 0), (1, 1)]}, ("x", "y"), ideal="goal"
)


def test_plots():
    """A unit square fills its axes; the ideal is dashed and has no colour of its own."""
    figure = charts.plots([SQUARE, SQUARE])
    assert len(figure.axes) == 2
    for axes in figure.axes:
        line, ideal = axes.lines
        assert line.get_xydata().tolist() == [[0, 0], [0.5, 0], [1, 1]]
        assert (line.get_color(), ideal.get_color()) == (PALETTE["s1"], PALETTE["soft"])
        assert (line.get_linestyle(), ideal.get_linestyle()) == ("-", "--")
        assert (axes.get_xlim(), axes.get_ylim()) == ((0, 1), (0, 1))
    shown = texts(charts.standalone(figure))
    assert shown.count("square") == shown.count("goal") == shown.count("x") == 2


def test_standalone_file_needs_no_page():
    file = charts.standalone(charts.plots([SQUARE]))
    assert "var(" not in file
    assert "#2a6fdb" in file
    ElementTree.fromstring(file)
    assert file == charts.standalone(charts.plots([SQUARE]))
    assert not re.search(r"\bid=|href=|url\(|\d{4}-\d\d-\d\d", file)


def test_inline_takes_the_page_s_colours():
    text = charts.inline(charts.plots([SQUARE]), 'a "label"')
    assert "#2a6fdb" not in text
    assert "stroke: var(--s1)" in text
    assert 'aria-label="a &quot;label&quot;"' in text
    assert not re.search(r"\bid=|href=|url\(|https?:|<style|<\?xml", text)


def test_a_colour_in_a_name_is_text():
    assert texts(charts.inline(charts.bars({"a: #123456": 1.0}), "x"))[0] == "a: #123456"


def test_nothing_of_pyplot_is_changed():
    before = dict(matplotlib.rcParams)
    charts.standalone(charts.plots([SQUARE]))
    assert dict(matplotlib.rcParams) == before
