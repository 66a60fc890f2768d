"""Response curves: where they must be the activation itself, and that the docs show these."""

import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest

from lab import responses as response
from spikewright.network import InputCode
from spikewright.network.neuron import NeuronSpec, Rounding
from spikewright.report import charts as svg
from spikewright.sim.golden.encoders import xorshift32

DOCS = Path(__file__).parents[2] / "docs"
Z = np.arange(-0.2, 1.2001, 0.05)


def values(curve):
    return np.array([y for _, y in curve])


@pytest.mark.parametrize("steps", [2, 3, 8])
def test_if_is_qcfs_for_even_input(steps):
    """NQ Eq. 6, 7: V(0) = th/2 makes the mean output the activation with L = T levels."""
    curve = response._counts(NeuronSpec.plain(), Z, steps, most=steps)
    np.testing.assert_allclose(values(curve), response._rounded(steps)(Z))


@pytest.mark.parametrize("steps", [2, 3, 8])
def test_hpc_is_qrelu_for_even_input(steps):
    spec = NeuronSpec.buffered(2)
    curve = response._counts(spec, Z, steps, most=2 * steps, spikes=2, start=0)
    np.testing.assert_allclose(values(curve), response._rounded(2 * steps, 0)(Z))


def test_uneven_input_has_the_same_sum():
    for steps in (7, 8):
        even = response._currents(Z, steps, 1)
        uneven = response._uneven(Z, steps, 1)
        assert uneven.shape == (steps, response.ORDERS, len(Z))
        assert (uneven.sum(0) == even.sum(0)).all()
        assert uneven.std(0).mean() > response.THRESHOLD / 2


def test_exact_models_do_not_mind_uneven_input():
    """QFFS settles to LSQ's quantiser, drain rounds: both exactly; plain neurons do neither."""
    settled = response._counts(NeuronSpec.bounded(7), Z, 7, most=7, settle=7, uneven=True)
    np.testing.assert_allclose(values(settled), response._rounded(7)(Z))
    spec = NeuronSpec.calcium(1, Rounding.DRAIN, zmax=8)
    drained = response._counts(spec, Z, 8, most=8, start=0, uneven=True)
    np.testing.assert_allclose(values(drained), response._rounded(8)(Z))
    plain = response._counts(NeuronSpec.plain(), Z, 8, most=8, uneven=True)
    assert np.abs(values(plain) - response._rounded(8)(Z)).max() > 0.1


def test_codes_tell_the_pixel():
    pixels = range(256)
    isi = response._train(InputCode.ISI, 16, pixels).sum(0)
    assert isi.tolist() == [16 * p // 255 for p in pixels]
    pairs = response._train(InputCode.TSC, 16, pixels)
    assert set(np.unique(pairs)) == {-1, 0, 1}


def test_documented_drawings_are_what_the_script_draws(tmp_path):
    for file in response.draw(tmp_path):
        assert file.read_text() == (DOCS / "neurons" / file.name).read_text(), file.name
        assert f"](neurons/{file.name})" in (DOCS / "neurons.md").read_text(), file.name
        ElementTree.parse(file)
    assert len(list(tmp_path.iterdir())) == len(response.DRAWINGS)


def test_curves():
    """A unit square: the corners of its plot, without the points inside a level stretch."""
    points = [(0, 0), (0.25, 0), (0.5, 0), (1, 1)]
    drawing = svg.curves({"a": points, "goal": [(0, 0), (1, 1)]}, ("x", "y"), "label", ideal="goal")
    found = re.findall(r'<polyline points="([^"]+)" fill="none" stroke="([^"]+)"', drawing)
    assert [path.split() for path, _ in found] == [
        ["46.0,220.0", "247.0,220.0", "448.0,10.0"],
        ["46.0,220.0", "448.0,10.0"],
    ]
    assert [colour for _, colour in found] == ["var(--s1)", "var(--soft)"]
    assert drawing.count("stroke-dasharray") == 1
    ticks = re.findall(r'class="tick">([\d.]+)<', drawing)
    assert ticks == 2 * ["0", "0.2", "0.4", "0.6", "0.8", "1"]


def test_standalone_file_needs_no_page():
    chart = svg.curves({"a": [(0, 0), (1, 2)]}, ("x", "y"), "label")
    file = svg.standalone([("first", svg.colours(["a"]), chart), ("second", {}, chart)])
    assert "var(" not in file
    assert "#2a6fdb" in file
    root = ElementTree.fromstring(file)
    titles = [e.text for e in root.iter() if e.get("class") == "title"]
    assert titles == ["first", "second"]
    with pytest.raises(ValueError, match="not a chart"):
        svg.standalone([("", {}, "<p>")])


def test_raster_shows_the_sign():
    drawing = svg.raster([(0, [1, -3])], 4, "pair")
    fills = re.findall(r'<rect x="([\d.]+)".*?fill="([^"]+)"', drawing)
    assert [colour for _, colour in fills] == ["var(--s1)", "var(--s5)"]
    assert float(fills[1][0]) - float(fills[0][0]) == pytest.approx(2 * 180 / 4)


def test_documented_generator():
    """The states after seed 1, and the numbers that 8-bit pixels are compared with."""
    text = (DOCS / "neurons.md").read_text()
    states = xorshift32(1, 5)
    assert "    " + ", ".join(map(str, states.tolist())) + "\n" in text
    assert ", ".join(map(str, (states >> np.uint32(24)).tolist())) in text
