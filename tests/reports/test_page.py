"""The pages: self-contained and well-formed, they show all facts, and only as text."""

import re
import subprocess
import sys
from dataclasses import replace

import pytest

import spikewright
from spikewright.reports.comparison import compare
from spikewright.reports.facts import clocks, summarise
from spikewright.reports.page import kinds, render, render_comparison


def test_page_without_results_says_how_to_get_them(build, read_page):
    page = read_page((build.directory / "report.html").read_text())
    for command in ("spikewright eval", "spikewright verify", "spikewright synth"):
        assert command in page.text
    assert "spikewright compile <net>" in page.text


def test_page_with_everything(build, results, read_page):
    facts = summarise(build, "<b>name</b>") | results
    facts |= {"clocks": clocks(results["verify"])}
    facts["latency"] = {
        "clock_mhz": 50.0,
        "clock_source": "the bitstream's clock",
        "microseconds": 20.0,
        "images_per_second": 50_000.0,
    }
    text = render(facts)
    page = read_page(text)
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


@pytest.mark.parametrize("about", [{}, {"command": 3, "versions": [1], "warnings": "no"}])
def test_page_of_a_build_that_says_little(build, about, read_page):
    page = read_page(render(summarise(replace(build, about=about), "name")))
    assert "How each number was obtained" in page.text


def test_page_is_self_contained(build, results, read_page):
    facts = summarise(build, "name") | results
    text = render(facts)
    assert all(address.startswith("data:") for address in read_page(text).addresses)
    assert not re.search(r"https?://|@import|url\(|<script|<link", text)


def test_page_shows_a_mismatch(build, results, read_page):
    wrong = results["verify"] | {"equal": False, "mismatch": {"text": "layer a<b, channel 3"}}
    page = read_page(render(summarise(build, "name") | {"verify": wrong}))
    assert "Not equal." in page.text
    assert "layer a<b, channel 3" in page.text
    assert "Equal." not in page.texts


def hostile(value, text):
    """`value` with `text` before every string and key that comes from files."""
    if isinstance(value, str):
        return text + value
    if isinstance(value, dict):
        return {key: hostile(entry, text) for key, entry in value.items()}
    return [hostile(entry, text) for entry in value] if isinstance(value, list) else value


def test_names_are_text_wherever_they_come_from(build, results, read_page):
    """Of a build, its layers and files, of every result; in tables, captions and drawings."""
    text = "<script>$x_{$\"'&"
    facts = summarise(build, "name") | results | {"clocks": clocks(results["verify"])}
    results["synth"]["resources"] = {text: {"used": 1, "available": 2, "share": 0.5}}
    page = render(hostile(facts, text))
    assert "<script" not in page
    shown = read_page(page)
    name = facts["layers"][0]["name"]
    for what in ("ulx3s-85f", name, "ten images", "seven frames", "a <command>", "Router 9.8"):
        assert f"{text}{what}" in shown.text, what
    assert f"{text}{name}: " in shown.text  # the raster's caption
    assert page.count("<svg") == render(facts).count("<svg")


def test_names_in_a_comparison_are_text(tmp_path, results, read_page):
    text = "_<script>$x_{$\"'&"
    result = results["eval"]
    result |= {"frames": text + "set", "label": text + "label"}
    result["about"]["command"] = text + "command"
    path = tmp_path / "x.json"
    path.write_text(spikewright.records.to_json(result))
    page = render_comparison(compare([path]))
    assert "<script" not in page
    shown = read_page(page)
    for what in ("set, 10 images", "label", "command"):
        assert text + what in shown.text
    in_drawings = [part for part in shown.texts if part.strip("\u200b\n ") == text + "label"]
    assert len(in_drawings) == 3  # two legends, one row


def test_glyphs_that_no_font_has(tmp_path, results):
    results["eval"]["label"] = "脉冲 \U0001f9e0"
    path = tmp_path / "x.json"
    path.write_text(spikewright.records.to_json(results["eval"]))
    assert render_comparison(compare([path])).count("脉冲 \U0001f9e0") >= 4


def test_equal_facts_give_equal_pages(build, tmp_path, results):
    """In other processes too, whatever the user has set for matplotlib."""
    facts = summarise(build, "name") | results | {"clocks": clocks(results["verify"])}
    (tmp_path / "facts.json").write_text(spikewright.records.to_json(facts))
    (tmp_path / "matplotlibrc").write_text(
        "axes.xmargin: 0.4\nxtick.direction: in\nfont.size: 30\n"
    )
    script = (
        "import json, sys; from spikewright.reports.page import render; "
        "sys.stdout.buffer.write(render(json.load(open('facts.json'))).encode())"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True)
    assert done.stdout.decode() == render(facts) == render(facts)


def test_the_facts_alone_need_no_matplotlib():
    script = (
        "import sys, spikewright.app.compile, spikewright.reports.facts, spikewright.reports.page; "
        "print('matplotlib' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout.strip() == "False"


def test_memories_of_a_kind_are_one_row():
    names = ("weight_0", "weight_1", "frame", "spike_0")
    found = [(name, len(group)) for name, group in kinds([{"name": name} for name in names])]
    assert found == [("weight", 2), ("frame", 1), ("spike", 1)]
