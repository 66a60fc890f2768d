"""Options: what is wrong with one costs one line, before anything is done."""

import argparse
import dataclasses
import enum
import re
from pathlib import Path

import numpy as np
import pytest

from spikewright import Conversion, SpikewrightError
from spikewright.app import options
from spikewright.app.fields import add_options
from spikewright.app.options import COMMANDS, Compile
from spikewright.network import limits
from spikewright.network.conversion import NEURONS
from spikewright.network.neuron import Negative, Rounding, Tie, Window
from tests.app.commands import SHAPE, refused


@pytest.mark.parametrize(
    ("words", "fragments"),
    [
        (["-T", "0"], ("argument -T/--steps", "0 is out of range", "1 to 4096")),
        (["-T", "two"], ("'two' is not a whole number",)),
        (["--bits", "9"], ("argument --bits", "9 is out of range", "2 to 8")),
        (["--bits", "1"], ("1 is out of range",)),
        (["--input-shape", "28,28"], ("'28,28' is not channels,height,width", "1,28,28")),
        (["--input-shape", "1,28,0"], ("is not channels,height,width",)),
        (["--percentile", "101"], ("101 is out of range",)),
        (["--mean", "a"], ("'a' is not a list of numbers",)),
        (["--nonsense"], ("unrecognized arguments: --nonsense",)),
        (["--neuron", "lif"], ("argument --neuron", "invalid choice: 'lif'", "'ca-lif'")),
        (["--code", "morse"], ("argument --code", "invalid choice: 'morse'", "'poisson'")),
        (["--zmax", "0"], ("argument --zmax", "0 is out of range", "1 to 32767")),
        (["--code-seed", "0"], ("argument --code-seed", "0 is out of range")),
    ],
)
def test_wrong_option(words, fragments, work, capsys):
    words = ["compile", "nets.py:good", *SHAPE, *words]
    refused(words, capsys, *fragments, "--help", status=2)


@pytest.mark.parametrize(
    ("words", "fragments"),
    [
        (["compile", "m:f", "-T", "1000000000"], ("-T/--steps", "1 to 4096")),
        (["compile", "m:f", "--neuron", "tsc", "-T", "100000"], ("100000 is out of range",)),
        (["compile", "m:f", "--settle", "1000000000"], ("--settle", "0 to 4096")),
        (["compile", "m:f", "--zmax", "1000000000"], ("--zmax", "1 to 32767")),
        (["compile", "m:f", "--input-shape", "1,100000,100000"], ("10,000,000,000 values",)),
        (["compile", "m:f", "--input-shape", "1,1,1" + "0" * 5000], ("is not channels",)),
        (["compile", "m:f", "--initial", "nan"], ("--initial", "nan is out of range")),
        (["compile", "m:f", "--mean", "nan"], ("not finite",)),
        (["compile", "m:f", "--alpha", "inf"], ("inf is out of range",)),
        (["verify", "out", "--images", "1000000000"], ("--images", "1 to 100000")),
        (["verify", "out", "--seed", str(2**64)], ("--seed", "out of range")),
        (["verify", "out", "--sim", "iverilog"], ("invalid choice", "verilator")),
        (["demo", "--images", "101"], ("1 to 100",)),
        (["synth", "out", "--clock", "1e300"], ("1e+300 is out of range", "at most 10000")),
        (["train", "--lr", "inf"], ("inf is out of range",)),
        (["train", "--width", "1e9"], ("1e+09 is out of range",)),
    ],
)
def test_bounds_come_first(words, fragments, work, capsys):
    """At once, before a model or a build is looked at."""
    refused(words, capsys, *fragments, "--help", status=2)


@pytest.mark.parametrize(
    ("given", "fragment"),
    [
        ({"steps": 10**9}, "steps: 1000000000 is out of range; give 1 to 4096"),
        ({"bits": 2.5}, "bits: 2.5 is not a whole number"),
        ({"bits": "8"}, "bits: '8' is not a whole number"),
        ({"neuron": "lif"}, "neuron: 'lif' is not known; choose if, hpc"),
        ({"input_shape": (1, 10**5, 10**5)}, "input_shape: 10,000,000,000 values"),
        ({"zmax": "all"}, "zmax: 'all' is not a whole number"),
    ],
)
def test_the_same_from_python(given, fragment):
    with pytest.raises(SpikewrightError, match=re.escape(fragment)):
        Compile("model", **given)


def test_numpy_numbers_are_numbers():
    assert Compile("model", steps=np.int64(4), alpha=np.float32(0.5)).steps == 4


def test_the_command_line_has_the_same_words():
    """As the conversion: they stand in the options too, so that a help text needs no NumPy."""
    kinds = {
        **{one.name: type(one.default) for one in dataclasses.fields(Conversion)},
        "tie": Tie,
        "negative": Negative,
        "rounding": Rounding,
        "window": Window,
    }
    named = {one.name.removeprefix("code_"): one for one in dataclasses.fields(Compile)}
    assert kinds.keys() <= named.keys()
    for name, kind in kinds.items():
        allowed = {*named[name].metadata.get("choices", ())} - {"poisson"}
        members = NEURONS if name == "neuron" else kind if issubclass(kind, enum.Enum) else ()
        assert allowed == {member.value for member in members}


def test_the_bounds_are_those_of_the_network():
    assert (options.STEPS, options.ZMAX) == (limits.STEPS, limits.ZMAX)
    assert options.VALUES <= limits.VALUES
    bits = {one.name: one.metadata for one in dataclasses.fields(Compile)}["bits"]
    assert (bits["low"], bits["high"]) == limits.WEIGHT_BITS


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_is_documented(command):
    text = (Path(__file__).parents[2] / "docs" / "cli.md").read_text()
    (section,) = (
        part for part in text.split("\n## ") if part.startswith(f"`spikewright {command}")
    )
    parser = argparse.ArgumentParser(add_help=False)
    add_options(parser, COMMANDS[command])
    for action in parser._actions:
        words = action.option_strings or [action.metavar]
        named = [word for word in words if re.search(rf"{re.escape(word)}\b", section)]
        assert named, f"{command}: {words}"
