"""The report: its facts are the build's, its page is self-contained and well-formed."""

import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
import torch
from torch import nn

import spikewright
from spikewright.errors import SpikewrightError
from spikewright.report import charts as svg
from spikewright.report.facts import clocks, summarise
from spikewright.report.page import render
from spikewright.sim.golden.model import Golden

ABOUT = {"command": "a <command>", "date": "2001-02-03T04:05:06Z", "versions": {"tool": "1.2"}}
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
    "about": ABOUT,
}
EVAL = {
    "frames": "ten images",
    "images": 10,
    "steps": 3,
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
    "images_per_second": {"ann": 10.0, "float_snn": 5.0, "integer_snn": 20.0},
    "about": ABOUT,
}
SYNTH = {
    "resources": {"LUT": {"used": 1234, "available": 83640, "share": 1234 / 83640}},
    "clock_mhz": 50.0,
    "fmax_mhz": 61.25,
    "bitstream": "x.bit",
    "tools": {"router": "Router 9.8"},
    "about": ABOUT,
}


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


@pytest.fixture(scope="module")
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


def test_facts_of_a_fresh_build(build):
    facts = summarise(build, "name")
    json.dumps(facts)
    assert (facts["eval"], facts["verify"], facts["synth"], facts["clocks"]) == (None,) * 4
    result = Golden(build.network).run(np.load(build.directory / "expected.npz")["x"])
    first, last = facts["layers"]
    assert first["spike_rate"] == pytest.approx(result.spike_counts[0].mean() / 3)
    assert last["spike_rate"] is None
    assert first["synaptic_operations"] == pytest.approx(
        result.synaptic_operations[0].mean(), abs=0.05
    )
    assert first["weights"] == 27
    assert first["threshold"] == [
        int(build.network.layers[0].threshold.min()),
        int(build.network.layers[0].threshold.max()),
    ]
    assert 0 < first["weight_error"] < 0.02
    assert facts["memory_bits"] == sum(m.words * m.width for m in build.mapping.shape.memories())
    assert facts["sample"]["reproduced"] is True


def test_raster_shows_the_golden_spikes(build):
    facts = summarise(build, "name")
    frame = np.load(build.directory / "expected.npz")["x"][:1]
    trace = Golden(build.network).run(frame, trace=True).trace[0]
    spikes = trace.spikes[0].reshape(3, -1)
    (layer,) = facts["raster"]["layers"]
    assert layer["active"] == spikes.any(0).sum() > 0
    for row in layer["rows"]:
        assert row["steps"] == [t for t in (1, 2, 3) if spikes[t - 1, row["neuron"]]]


def test_raster_of_pairs_and_events(tmp_path):
    """A TSC neuron's number shows as the two spikes that are sent; raw events as their sum."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(3 * 64, 4))
    x = np.random.default_rng(0).integers(2, size=(4, 5, 10, 10), dtype=np.uint8)
    build = spikewright.compile(
        net,
        conversion=spikewright.Conversion.named(neuron="tsc", code="events"),
        input_spec=spikewright.InputSpec((1, 10, 10), 1),
        steps=5,
        lanes=4,
        data=x,
        calib=x,
        out=tmp_path / "out",
    )
    shown = summarise(build, "name")["raster"]
    assert (shown["peak"], shown["pixels"]) == (5, x[:1].sum(1).tolist())
    (layer,) = shown["layers"]
    number = Golden(build.network).run(x[:1], trace=True).trace[0].spikes[0, -1].ravel()
    assert {1, 2, 3} & set(number.tolist())
    for row in layer["rows"]:
        assert row["steps"] == [1, 1 + number[row["neuron"]]]


def test_changed_sample_is_noticed(build, tmp_path):
    with np.load(build.directory / "expected.npz") as stored:
        arrays = dict(stored)
    arrays["potentials"] = arrays["potentials"] + 1
    original = (build.directory / "expected.npz").read_bytes()
    try:
        np.savez(build.directory / "expected.npz", **arrays)
        assert summarise(build, "name")["sample"]["reproduced"] is False
    finally:
        (build.directory / "expected.npz").write_bytes(original)


def test_clocks_and_utilisation():
    counted = clocks(VERIFY)
    assert counted["shares"]["integrate"] == 0.6
    assert sum(counted["shares"].values()) == pytest.approx(1.0)
    assert (counted["word_utilisation"], counted["lane_utilisation"]) == (0.85, 0.5)
    assert (counted["mean"], counted["min"], counted["max"]) == (1000.0, 900, 1100)
    assert clocks(VERIFY | {"activity": None}) is None


def test_latency_is_quoted_at_the_clock_that_was_built(build):
    files = {"verify.json": VERIFY, "synth.json": SYNTH}
    try:
        (build.directory / "verify.json").write_text(json.dumps(VERIFY))
        board = summarise(build, "name")["latency"]
        assert board["microseconds"] == pytest.approx(1000 / board["clock_mhz"])
        assert "not built" in board["clock_source"]
        (build.directory / "synth.json").write_text(json.dumps(SYNTH))
        latency = summarise(build, "name")["latency"]
        assert latency["clock_mhz"] == 50.0
        assert latency["microseconds"] == pytest.approx(20.0)
        assert latency["images_per_second"] == pytest.approx(50_000)
    finally:
        for name in files:
            (build.directory / name).unlink(missing_ok=True)


def test_page_without_results_says_how_to_get_them(build):
    page = Page((build.directory / "report.html").read_text())
    for command in ("spikewright eval", "spikewright verify", "spikewright synth"):
        assert command in page.text
    assert "spikewright compile <net>" in page.text


def test_page_with_everything(build):
    facts = summarise(build, "<b>name</b>") | {"eval": EVAL, "verify": VERIFY, "synth": SYNTH}
    facts |= {"clocks": clocks(VERIFY)}
    facts["latency"] = {
        "clock_mhz": 50.0,
        "clock_source": "the bitstream's clock",
        "microseconds": 20.0,
        "images_per_second": 50_000.0,
    }
    text = render(facts)
    page = Page(text)
    shown = ("90.00 %", "80.00 %", "70.00 %", "61.2 MHz", "1,234", "85.0 %", "20 µs", "a <command>")
    for fragment in (
        *shown,
        "<b>name</b>",
        "2001-02-03T04:05:06Z",
        "tool 1.2",
        "seven frames",
        "Router 9.8",
        "1,234 spikes an image, 0.75 a neuron and 7 at most of one, and 98,765 synaptic operations",
        "for 25.00 % of the images outputs tie",
        "Neurons: IF. Input: direct, every pixel's signed digits integrated once. Time: 3 steps "
        "with input. Output: potentials of",
    ):
        assert fragment in page.text, fragment
    assert page.text.count("Equal.") == 1
    assert "<b>name</b>" not in text


def test_page_is_self_contained(build):
    facts = summarise(build, "name") | {"eval": EVAL, "verify": VERIFY, "synth": SYNTH}
    text = render(facts)
    assert all(address.startswith("data:") for address in Page(text).addresses)
    assert not re.search(r"https?://|@import|url\(|<script|<link", text)


def test_page_shows_a_mismatch(build):
    wrong = VERIFY | {"equal": False, "mismatch": {"text": "layer a<b, channel 3"}}
    page = Page(render(summarise(build, "name") | {"verify": wrong}))
    assert "Not equal." in page.text
    assert "layer a<b, channel 3" in page.text
    assert "Equal." not in page.texts


def test_accuracy_of_an_older_release_is_not_shown(build):
    path = build.directory / "eval.json"
    path.write_text(json.dumps({"accuracy": {"ann": 0.5}, "float_snn_over_time": [0.5]}))
    try:
        assert spikewright.report(build)["eval"] is None
    finally:
        path.unlink()


def test_damaged_result_is_refused(build):
    path = build.directory / "eval.json"
    path.write_text("{")
    try:
        with pytest.raises(SpikewrightError, match=r"eval\.json: cannot be read"):
            spikewright.report(build)
    finally:
        path.unlink()


# ------------------------------------------------------------------------------------------- charts


def test_stacked_bar_fills_its_width():
    drawing = svg.stacked({"a": 0.5, "b": 0.3, "c": 0.2}, "shares")
    widths = [float(w) for w in re.findall(r'<rect [^>]*width="([\d.]+)"', drawing)]
    assert widths == pytest.approx([320, 192, 128])


def test_raster_draws_one_mark_a_spike():
    drawing = svg.raster([(4, [1, 3]), (9, []), (11, [2])], 3, "spikes")
    assert drawing.count("<rect") == 3


@pytest.mark.parametrize(
    ("series", "levels"),
    [
        ([0.5], {"ANN": 0.5}),
        ([1.0, 1.0], {"ANN": 1.0}),
        ([0.0, 0.0], {"ANN": 0.0}),
        ([0.1] * 64, {"ANN": 0.9, "integer": 0.2}),
    ],
)
def test_lines_stay_inside(series, levels):
    drawing = svg.lines({"float": series}, levels, "accuracy")
    width, height = (float(n) for n in re.search(r'viewBox="0 0 (\S+) (\S+)"', drawing).groups())
    points = re.search(r'points="([^"]+)"', drawing).group(1).split()
    assert len(points) == len(series)
    for point in points:
        x, y = (float(n) for n in point.split(","))
        assert 0 <= x <= width
        assert 0 <= y <= height


def test_image_is_a_png_of_the_pixels():
    import base64
    import struct
    import zlib

    drawing = svg.image([[[0, 15], [7, 1]]], 15, "frame")
    png = base64.b64decode(re.search(r"base64,([^\"]+)", drawing).group(1))
    assert png.startswith(b"\x89PNG")
    assert struct.unpack(">IIBB", png[16:26]) == (2, 2, 8, 0)
    start = png.index(b"IDAT") + 4
    size = struct.unpack(">I", png[start - 8 : start - 4])[0]
    rows = zlib.decompress(png[start : start + size])
    assert list(rows) == [0, 0, 255, 0, 119, 17]
