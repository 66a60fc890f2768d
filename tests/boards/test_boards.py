from dataclasses import replace

import pytest
from amaranth.hdl import Elaboratable

from spikewright import boards
from spikewright.boards.ecp5 import VCO_MAX, VCO_MIN, find_pll
from spikewright.errors import SpikewrightError
from spikewright.machine.device import LFE5U_85F
from spikewright.machine.hardware import MemoryShape
from tests.support.shapes import small_shape

Elaboratable._MustUse__silence = True

SMALL = small_shape(
    lanes=4,
    weight_bits=5,
    compare_bits=17,
    current_bits=18,
    shift_max=2,
    outputs=3,
    frame_words=64,
    program_words=40,
    axis_words=20,
    weight_words=300,
    parameter_words=9,
    membrane_words=64,
    current_words=64,
    spike_words=1024,
)


def test_registry():
    board = boards.get("ulx3s-85f")
    assert board in boards.all_boards()
    assert (board.device, board.family) == ("LFE5U-85F", "ecp5")
    with pytest.raises(
        SpikewrightError, match=r"^board 'ulx4' is not known; choose ulx3s-85f or none$"
    ):
        boards.get("ulx4")


def test_to_json_names_the_clock():
    entry = boards.get("ulx3s-85f").to_json()
    assert entry["name"] == "ulx3s-85f"
    assert entry["clock_mhz"] * 1e6 == entry["clock_hz"]
    assert entry["block_ram"]["count"] == 208


@pytest.mark.parametrize(
    ("words", "width", "expected"),
    [
        (16, 32, 0),  # LUTs
        (512, 36, 1),
        (513, 36, 2),
        (512, 37, 2),
        (1024, 18, 1),
        (2048, 9, 1),
        (4096, 4, 1),
        (16384, 1, 1),
        (16385, 1, 2),
        (4179, 128, 36),  # 9 rows of 4; 5 rows of 8 would be 40
        (784, 352, 20),
        (100, 352, 10),
    ],
)
def test_block_rams_of_a_memory(words, width, expected):
    ram = LFE5U_85F.block_ram
    assert ram.needed(MemoryShape("memory", words, width)) == expected


def test_check():
    board = boards.get("ulx3s-85f")
    board.check(SMALL)
    large = replace(SMALL, weight_words=2**18, lanes=16)
    needed = board.block_rams(large)
    with pytest.raises(SpikewrightError) as caught:
        board.check(large)
    assert str(caught.value).startswith(
        f"ulx3s-85f: the network needs about {needed} DP16KD block RAMs, the board has 208: "
        f"{needed - 208} too many; the largest memory is weight_0 with "
    )


@pytest.mark.parametrize("mhz", [10, 12.5, 25, 48, 50, 62.5, 75, 80, 90, 100, 110, 125, 133, 200])
def test_pll(mhz):
    pll = find_pll(25e6, mhz * 1e6)
    assert pll.out_hz == pytest.approx(mhz * 1e6, rel=0.01)
    assert pll.vco_hz == 25e6 / pll.reference * pll.feedback
    assert VCO_MIN <= pll.vco_hz <= VCO_MAX
    assert pll.out_hz == pll.vco_hz / pll.output


def test_pll_is_exact_where_it_can_be():
    for mhz in (75, 80, 90, 100, 110, 120, 125):
        pll = find_pll(25e6, mhz * 1e6)
        assert (pll.out_hz, pll.reference) == (mhz * 1e6, 1)


@pytest.mark.parametrize("mhz", [0.5, 405, 5000])
def test_pll_refuses(mhz):
    with pytest.raises(SpikewrightError, match=rf"cannot make {mhz:g} MHz from 25 MHz"):
        find_pll(25e6, mhz * 1e6)
