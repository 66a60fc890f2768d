"""Response curves: where they must be the activation itself, and that the docs show these."""

import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import matplotlib
import numpy as np
import pytest

from lab import responses as response
from spikewright.network import InputCode
from spikewright.network.neuron import NeuronSpec, Rounding
from spikewright.sim.golden.encoders import xorshift32

MATPLOTLIB = f"Matplotlib {matplotlib.__version__}<"
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
    drawn = {file.name for file in response.draw(tmp_path)}
    for name in drawn:
        new, kept = ((folder / name).read_text() for folder in (tmp_path, DOCS / "neurons"))
        assert re.findall(">(.*)</text>", new) == re.findall(">(.*)</text>", kept), name
        if MATPLOTLIB in kept:  # another release may place things elsewhere
            assert new == kept, name
        assert f"](neurons/{name})" in (DOCS / "neurons.md").read_text(), name
        ElementTree.parse(tmp_path / name)
    assert drawn == {file.name for file in tmp_path.iterdir()}
    assert drawn == {file.name for file in (DOCS / "neurons").iterdir()}
    assert len(drawn) == len(response.PLOTS) + 1


def test_documented_generator():
    """The states after seed 1, and the numbers that 8-bit pixels are compared with."""
    text = (DOCS / "neurons.md").read_text()
    states = xorshift32(1, 5)
    assert "    " + ", ".join(map(str, states.tolist())) + "\n" in text
    assert ", ".join(map(str, (states >> np.uint32(24)).tolist())) in text
