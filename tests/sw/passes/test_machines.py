"""The machine chosen for networks and a device."""

from dataclasses import replace

import numpy as np
import pytest

from spikewright.errors import SpikewrightError
from spikewright.machine.blocks import SpikeMemory
from spikewright.machine.device import LFE5U_85F
from spikewright.machine.memories import make_images
from spikewright.machine.schedule import Schedule
from spikewright.sw.passes.machines import choose_machine, fits
from spikewright.sw.passes.sizes import widths_for
from tests.sim.interpreter.test_interpreter import drawn
from tests.support.placements import check_equal


def device(blocks):
    return replace(LFE5U_85F, block_ram=replace(LFE5U_85F.block_ram, count=blocks))


def small_network():
    """A small network of burst neurons, and frames."""
    schedule, frames = drawn(7)
    return schedule.network, frames


def test_the_chosen_machine_fits_and_is_exact():
    network, frames = small_network()
    clocks = []
    for blocks in (16, 64):
        chosen = choose_machine([network], device(blocks), frames, fire_units=(2,))
        assert fits(chosen.machine, device(blocks))
        check_equal(chosen.schedules[0], frames)
        assert f"of {blocks} block RAMs" in chosen.reason
        clocks.append(chosen.clocks[0].total)
    assert clocks[1] <= 1.05 * clocks[0]  # machines are compared by estimates


def test_choices_can_be_given():
    network, frames = small_network()
    chosen = choose_machine([network], LFE5U_85F, frames, cores=[3], lanes=[16], fire_units=[1])
    machine = chosen.machine
    assert (machine.cores, machine.lanes.count, machine.fire.count) == (3, 16, 1)
    assert "another core" in chosen.reason.lower()


def test_without_a_device_memories_are_as_deep_as_they_must_be():
    network, frames = small_network()
    bounds = {"cores": [2], "lanes": [8], "fire_units": [1]}
    chosen = choose_machine([network], None, frames, **bounds)
    assert chosen.reason.startswith("2 cores of 8 lanes, 1 fire unit, ")
    assert "No device limits it." in chosen.reason
    assert len(chosen.layers[0]) == len(network.layers)
    (schedule,) = chosen.schedules
    check_equal(schedule, frames)
    half = SpikeMemory(chosen.machine.spikes.words // 2)
    with pytest.raises(SpikewrightError, match="spike memory"):
        make_images(Schedule(network, replace(chosen.machine, spikes=half), schedule.placement))


def test_what_does_not_fit_is_said():
    network, frames = small_network()
    with pytest.raises(SpikewrightError, match="not even one core fits"):
        choose_machine([network], device(2), frames)


def test_widths_hold_all_numbers():
    network, _ = small_network()
    machine = widths_for([network])
    for layer, ranges in zip(network.layers, network.ranges.layers, strict=True):
        assert int(np.max(layer.threshold)) < 1 << machine.fire.threshold_bits
        assert int(np.max(np.abs(layer.bias))) < 1 << machine.fire.drive_bits - 1
        assert int(np.max(ranges.potential[1])) < 1 << machine.fire.membrane_bits - 1
