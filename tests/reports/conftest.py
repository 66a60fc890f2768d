"""A small build, complete results, and a page as a reader sees it."""

import copy
from html.parser import HTMLParser

import numpy as np
import pytest
import torch
from torch import nn

import spikewright

_ABOUT = {
    "command": "a <command>",
    "date": "2001-02-03T04:05:06Z",
    "commit": None,
    "versions": {"tool": "1.2"},
}
VERIFY = {
    "images": 7,
    "traced": 2,
    "equal": True,
    "mismatch": None,
    "backend": "verilator",
    "frames": "seven frames",
    "clocks": {"mean": 1000.0, "min": 900, "max": 1100},
    "activity": {"integrate": 600, "scan": 200, "initialise": 50, "idle": 100, "stalled": 50},
    "word_utilisation": 0.85,
    "lane_utilisation": 0.5,
    "lane_updates": 8000.0,
    "lanes": 16,
    "loading_clocks": None,
    "model": {"neurons": "IF"},
    "seconds": 1.5,
    "about": _ABOUT,
}
EVAL = {
    "schema": 2,
    "kind": "eval",
    "label": "IF",
    "frames": "ten images",
    "images": 10,
    "steps": 3,
    "input_steps": 3,
    "weight_bits": 8,
    "model": {"neurons": "IF"},
    "accuracy": {"ann": 0.9, "float_snn": 0.8, "integer_snn": 0.7},
    "prefixes": True,
    "over_time": {
        "float_snn": [0.5, 0.6, 0.8],
        "integer_snn": [0.45, 0.55, 0.7],
        "spikes": [100.0, 200.0, 1234.5],
        "synaptic_operations": [1e3, 1e4, 98765.0],
    },
    "same_class": 0.9,
    "ties": 0.25,
    "spikes": 1234.5,
    "spikes_per_neuron": 0.75,
    "synaptic_operations": 98765.0,
    "most_spikes": 7,
    "neurons": 1646,
    "deviates": False,
    "seconds": {"ann": 1.0, "float_snn": 2.0, "integer_snn": 0.5},
    "seed": None,
    "by_T": [
        {
            "T": 3,
            "float_snn": 0.8,
            "integer_snn": 0.7,
            "spikes": 1234.5,
            "synaptic_operations": 98765,
        }
    ],
    "compile": {
        "command": "compile <this>",
        "conversion": {"neuron": "if"},
        "calibration": None,
        "calibrated": False,
        "percentile": 99.9,
        "channelwise": False,
    },
    "images_per_second": {"ann": 10.0, "float_snn": 5.0, "integer_snn": 20.0},
    "about": _ABOUT,
}
SYNTH = {
    "resources": {"LUT": {"used": 1234, "available": 83640, "share": 1234 / 83640}},
    "clock_mhz": 50.0,
    "fmax_mhz": 61.25,
    "board": "ulx3s-85f",
    "device": "LFE5U-85F",
    "bitstream": "x.bit",
    "seed": 1,
    "critical_path": None,
    "tools": {"router": "Router 9.8"},
    "about": _ABOUT,
}


@pytest.fixture
def results():
    """Complete contents of ``eval.json``, ``verify.json`` and ``synth.json`` by command."""
    return copy.deepcopy({"eval": EVAL, "verify": VERIFY, "synth": SYNTH})


class Page(HTMLParser):
    """Checks that tags nest, and gathers text, links and attributes."""

    VOID = ("meta", "img", "br")

    def __init__(self, text):
        super().__init__()
        self.open, self.texts, self.addresses = [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.addresses += [value for name, value in attrs if name in ("src", "href", "xlink:href")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        pass

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if not {"style"} & set(self.open):
            self.texts.append(data)

    @property
    def text(self):
        return " ".join(self.texts)


@pytest.fixture
def read_page():
    """A function: page text -> what a reader sees of it; tags must nest."""
    return Page


@pytest.fixture(scope="session")
def build(tmp_path_factory):
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(1, 3, 3, stride=2), nn.ReLU6(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(12, 4)
    )
    frames = np.random.default_rng(1).integers(256, size=(6, 1, 10, 10), dtype=np.uint8)
    folder = tmp_path_factory.mktemp("report")
    return spikewright.compile(
        net,
        torch.rand(1, 1, 10, 10),
        steps=3,
        lanes=4,
        data=frames,
        calib=frames,
        out=folder / "out",
        command="spikewright compile <net>",
    )
