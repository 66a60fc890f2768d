"""The demo's resources and Fmax in ``docs/demo-ulx3s.json`` are those of the present hardware."""

import json
from pathlib import Path

import pytest

import spikewright
from lab.synthesis import PAGE, fingerprint
from spikewright.app.demo import FOLDER
from spikewright.provenance import versions
from spikewright.records import from_builtins
from spikewright.reports.results import Synthesis

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def kept():
    return json.loads((ROOT / PAGE).read_text())


def test_it_is_a_result_of_synth(kept):
    kept = dict(kept)
    del kept["made_from"]
    result = from_builtins(kept, Synthesis, PAGE, oldest=None)
    assert result.board == "ulx3s-85f"
    assert result.fmax_mhz >= result.clock_mhz
    assert all(0 < entry.used <= entry.available for entry in result.resources.values())


def test_it_is_of_the_present_hardware(kept, tmp_path):
    """Otherwise run ``python -m lab.synthesis``, look at the change, and commit it."""
    assert kept["made_from"]["amaranth"] == versions()["amaranth"]
    out = tmp_path / "out"
    spikewright.compile(str(FOLDER / "lenet5.safetensors"), out=out)
    assert kept["made_from"]["top.v"] == fingerprint(out)
