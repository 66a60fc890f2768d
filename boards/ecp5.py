"""What Lattice ECP5 boards have in common: the PLL."""

from __future__ import annotations

from dataclasses import dataclass

from amaranth.build import Platform
from amaranth.hdl import ClockSignal, Const, Elaboratable, Instance, Module, Signal
from amaranth.lib.cdc import ResetSynchronizer

from spikewright.errors import SpikewrightError

__all__ = ["ClockGenerator", "Pll", "find_pll"]

# ECP5 data sheet (FPGA-DS-02012), sysCLOCK PLL timing.
PFD_MIN, PFD_MAX = 10e6, 400e6
VCO_MIN, VCO_MAX = 400e6, 800e6
OUT_MAX = 400e6
DIVIDER_MAX = 128

_OFF = ("p_PLLRST_ENA", "p_INTFB_WAKE", "p_STDBY_ENABLE", "p_DPHASE_SOURCE")
_TIED = (
    ("RST", "STDBY", "PHASESEL0", "PHASESEL1", "PLLWAKESYNC", "ENCLKOP"),
    ("PHASEDIR", "PHASESTEP", "PHASELOADREG"),
)
"""Inputs that are constant 0, and 1."""


@dataclass(frozen=True)
class Pll:
    """Dividers of an EHXPLLL: VCO = in / `reference` * `feedback`, out = VCO / `output`."""

    in_hz: float
    reference: int
    feedback: int
    output: int

    @property
    def vco_hz(self) -> float:
        """The frequency of the oscillator."""
        return self.in_hz / self.reference * self.feedback

    @property
    def out_hz(self) -> float:
        """The frequency that comes out."""
        return self.vco_hz / self.output


def find_pll(in_hz: float, out_hz: float) -> Pll:
    """The dividers that come closest to `out_hz`, then those with the highest compare frequency.

    Raises SpikewrightError where no setting comes within 1 %.
    """
    candidates = []
    for reference in range(1, DIVIDER_MAX + 1):
        for feedback in range(1, DIVIDER_MAX + 1):
            vco = in_hz / reference * feedback
            output = max(1, round(vco / out_hz))
            if (
                PFD_MIN <= in_hz / reference <= PFD_MAX
                and VCO_MIN <= vco <= VCO_MAX
                and output <= DIVIDER_MAX
                and abs(vco / output - out_hz) <= 0.01 * out_hz
                and vco / output <= OUT_MAX
            ):
                candidates.append(Pll(in_hz, reference, feedback, output))
    if not candidates:
        raise SpikewrightError(
            f"clock: the PLL cannot make {out_hz / 1e6:g} MHz from {in_hz / 1e6:g} MHz; "
            "choose 4 to 400 MHz"
        )
    return min(candidates, key=lambda pll: (abs(pll.out_hz - out_hz), pll.reference, pll.feedback))


class ClockGenerator(Elaboratable):
    """Drives the `sync` domain from an oscillator through the PLL, in reset until that has locked.

    nextpnr derives the constraint of the clock from that of the oscillator and the dividers.
    `locked` is the (asynchronous) lock signal.
    """

    def __init__(self, pll: Pll, oscillator: Signal) -> None:
        self.pll = pll
        self.oscillator = oscillator
        self.locked = Signal()

    def elaborate(self, platform: Platform | None) -> Module:
        m = Module()
        pll = self.pll
        clock, feedback = Signal(), Signal()
        m.submodules.pll = Instance(
            "EHXPLLL",
            a_FREQUENCY_PIN_CLKI=f"{pll.in_hz / 1e6:g}",
            a_FREQUENCY_PIN_CLKOP=f"{pll.out_hz / 1e6:g}",
            a_ICP_CURRENT="12",
            a_LPF_RESISTOR="8",
            a_MFG_ENABLE_FILTEROPAMP="1",
            a_MFG_GMCREF_SEL="2",
            **dict.fromkeys(_OFF, "DISABLED"),
            **{f"p_OUTDIVIDER_MUX{output}": f"DIV{output}" for output in "ABC"},
            p_CLKI_DIV=pll.reference,
            # The feedback has an output of its own, so that the other divides freely.
            p_CLKFB_DIV=1,
            p_FEEDBK_PATH="CLKOS",
            p_CLKOS_ENABLE="ENABLED",
            p_CLKOS_DIV=pll.feedback,
            p_CLKOS_CPHASE=pll.feedback - 1,
            p_CLKOS_FPHASE=0,
            p_CLKOP_ENABLE="ENABLED",
            p_CLKOP_DIV=pll.output,
            p_CLKOP_CPHASE=pll.output - 1,
            p_CLKOP_FPHASE=0,
            i_CLKI=self.oscillator,
            i_CLKFB=feedback,
            **{f"i_{name}": Const(level) for level in (0, 1) for name in _TIED[level]},
            o_CLKOP=clock,
            o_CLKOS=feedback,
            o_LOCK=self.locked,
        )
        m.d.comb += ClockSignal().eq(clock)
        m.submodules.reset = ResetSynchronizer(~self.locked)
        return m
