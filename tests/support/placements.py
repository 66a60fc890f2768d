"""Random legal placements, and the comparison of interpreter and golden model."""

from contextlib import suppress
from dataclasses import replace
from itertools import product

import numpy as np

from spikewright.errors import SpikewrightError
from spikewright.machine.blocks import (
    WORD,
    FireUnit,
    Lanes,
    Machine,
    Pool,
    SpikeMemory,
    Walker,
)
from spikewright.machine.choices import LayerPlacement, Placement
from spikewright.machine.memories import make_images
from spikewright.machine.schedule import Schedule
from spikewright.network import INPUT
from spikewright.sim.golden.model import Golden
from spikewright.sim.interpreter import Interpreter, outputs, traces
from spikewright.sw.passes.choices import frame_margins
from spikewright.sw.passes.place import place


def large_machine(cores, lanes, fires):
    """A machine in whose memories every small network fits."""
    return Machine(
        cores=cores,
        walker=Walker(4096, sources=4),
        spikes=SpikeMemory(16384),
        lanes=Lanes(lanes, weight_rows=16384, accumulator_bits=26),
        fire=FireUnit(
            fires, membrane_bits=32, threshold_bits=28, drive_bits=30, parameter_rows=4096
        ),
        pool=Pool(bits=12, depth=2048),
        program_words=16384,
    )


def small_machine(cores, lanes, fires):
    """A machine that is soon built, for smaller networks."""
    return Machine(
        cores=cores,
        walker=Walker(1024, sources=2),
        spikes=SpikeMemory(4096),
        lanes=Lanes(lanes, weight_rows=4096, accumulator_bits=24),
        fire=FireUnit(
            fires, membrane_bits=28, threshold_bits=24, drive_bits=26, parameter_rows=512
        ),
        pool=Pool(bits=10, depth=512),
    )


def random_machine(rng):
    """1 to 16 cores of 8, 16 or 32 lanes, 1, 2 or 4 fire units."""
    lanes, fires = int(rng.choice([8, 16, 32])), int(rng.choice([1, 2, 4]))
    return large_machine(int(rng.integers(1, 17)), lanes, fires)


def random_schedule(rng, network, machine, trials=200):
    """A schedule whose every choice is drawn; the mapper's where none of `trials` is legal."""
    channels, _, width = network.input.shape
    most = max(1, min(width, WORD // min(channels, WORD)))
    for _ in range(trials):
        layers = tuple(_layer(rng, network, index, machine) for index in range(len(network.layers)))
        try:
            margin = int(rng.choice(frame_margins(network)))
            placement = Placement(layers, int(rng.integers(1, most + 1)), margin)
            schedule = Schedule(network, machine, placement)
            make_images(schedule)
            return schedule
        except SpikewrightError:
            continue
    return place(network, machine)


def trimmed(schedule):
    """`schedule` on a machine whose memories are hardly deeper than it needs."""
    machine, words = schedule.machine, make_images(schedule)
    rows = max(len(memory) for memory in words.weights)
    parameters = max(len(units[0]) for units in words.parameters) // 2
    machine = replace(
        machine,
        walker=replace(machine.walker, axis_entries=len(words.axis) + 3),
        lanes=replace(machine.lanes, weight_rows=max(2, rows + 3)),
        fire=replace(machine.fire, parameter_rows=parameters + 2),
        outputs=4096,
    )
    size = 4
    while True:  # other widths are other words of the program
        tried = replace(machine, spikes=SpikeMemory(size))
        with suppress(SpikewrightError):
            made = Schedule(schedule.network, tried, schedule.placement)
            tried = replace(tried, program_words=len(make_images(made).program) + 3)
            return Schedule(schedule.network, tried, schedule.placement)
        size *= 2


def _layer(rng, network, index, machine):
    """One layer's choices; most of them legal."""
    channels, height, width = network.layers[index].shape
    fires, lanes = machine.fire.count, min(machine.lanes.count, 36)
    pitch = fires * int(rng.integers(1, min(lanes // fires, -(-channels // fires)) + 1))
    windows = {s.pool.size for layer in network.layers for s in layer.synapses if s.source == index}
    pool = windows.pop() if len(windows) == 1 and rng.random() < 0.7 else (1, 1)
    last = index == len(network.layers) - 1
    shapes = [
        (y, x)
        for y, x in product(*([d for d in range(1, p + 1) if p % d == 0] for p in pool))
        if y * x * pitch <= lanes
    ]
    members = shapes[int(rng.integers(len(shapes), size=3).max())]  # more often several
    room = max(1, lanes // (pitch * members[0] * members[1]))
    side = 1 if last else int(rng.integers(1, room + 1))
    tiles = -(-max(1, width // pool[1]) // side)
    word = 1 if last else int(rng.integers(1, tiles + 1))
    rows = int(rng.integers(1, machine.cores + 1))
    columns = machine.cores // rows
    words = height // pool[0] * -(-(width // pool[1]) // (side * word))
    cuts = (*sorted(rng.integers(0, words + 1, columns - 1).tolist()), words)
    dealt = ({}, {"cuts": cuts}, {"turns": True})[int(rng.integers(3))]
    return LayerPlacement(pitch, pool, members, side, word, rows, columns, **dealt)


def check_equal(schedule, frames, images=None):
    """Interpreter and golden model agree in every spike, membrane and output; the last run."""
    network = schedule.network
    interpreter = Interpreter(schedule.machine, images or make_images(schedule))
    golden = Golden(network).run(frames, trace=True)
    for number, frame in enumerate(frames):
        run = interpreter.run(schedule.frame_words(frame))
        for made, wanted, layer in zip(
            traces(schedule, run.layers), golden.trace, schedule.layers, strict=True
        ):
            there = made.times == 1
            needed = np.zeros_like(there)
            pool = layer.placement.pool
            needed[:, : layer.height * pool[0], : layer.width * pool[1]] = True
            assert (there == needed).all(), made.name
            assert (made.times <= 1).all(), made.name
            for name in ("spikes", "membranes"):
                got, expected = getattr(made, name), getattr(wanted, name)[number]
                assert (got[:, there] == expected[:, there]).all(), (made.name, name)
        assert (outputs(schedule, run.readout) == golden.potentials[number]).all()
    return run


def features(layer):
    """What a layer is about, as a set of words."""
    place, source = layer.placement, layer.readings[0].map
    there = {
        "windows packed": place.windows > 1,
        "members packed": place.members != (1, 1),
        "summed on write": place.pool != (1, 1),
        "summed on read": layer.layer.synapses[0].pool.size != source.pool,
        "words of tiles": place.word > 1,
        "groups dealt": place.group_shares > 1,
        "tiles dealt": place.tile_shares > 1,
        "runs cut": bool(place.cuts) and place.tile_shares > 1,
        "words in turn": place.turns and place.tile_shares > 1,
        "rows in turn": place.turns and place.tile_shares > 1 < layer.height,
        "frame with a margin": layer.readings[0].source == INPUT
        and source.height > layer.network.input.shape[1],
        "several sources": len(layer.readings) > 1,
        "several blocks": source.blocks > 1,
        "several columns": source.columns > 1,
        "direct": layer.direct,
    }
    kinds = {layer.layer.kind, layer.layer.neuron.model.value}
    return kinds | {name for name, holds in there.items() if holds}
