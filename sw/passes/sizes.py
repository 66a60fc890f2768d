"""How wide and how deep a machine must be for networks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from spikewright.machine.blocks import FireUnit, Lanes, Machine, Packer, Pool
from spikewright.machine.configuration import Send
from spikewright.machine.memories import make_images
from spikewright.machine.schedule import Schedule
from spikewright.network import Network, NeuronModel

__all__ = ["trimmed", "widths_for"]


def widths_for(networks: Iterable[Network], fires: int = 2) -> Machine:
    """A machine that is as wide as the numbers of `networks` need, with `fires` fire units."""
    accumulator, membrane, threshold, drive, weight, most, levels = 8, 8, 1, 2, 2, 1, 0
    models = {NeuronModel.INTEGRATOR}
    for network in networks:
        weight = max(weight, network.weight_bits)
        for index, layer in enumerate(network.layers):
            ranges, spec = network.ranges.layers[index], layer.neuron
            models.add(spec.model)
            levels = max(levels, spec.levels or 0)
            shift = min(synapse.shift for synapse in layer.synapses)
            accumulator = max(accumulator, _signed(*ranges.current) - shift)
            membrane = max(membrane, _signed(*ranges.potential))
            threshold = max(threshold, int(layer.threshold.max()).bit_length())
            half = layer.threshold // 2 * (spec.model is NeuronModel.BURST)
            drive = max(drive, _signed(layer.bias), _signed(layer.bias + layer.initial + half))
            if spec.fires:
                area = max(
                    (s.pool.area for x in network.layers for s in x.synapses if s.source == index),
                    default=1,
                )
                most = max(most, area * ranges.spikes[1])
                if index == len(network.layers) - 1:
                    most = max(most, ranges.count)
    return Machine(
        lanes=Lanes(weight_bits=weight, accumulator_bits=max(accumulator, weight)),
        fire=FireUnit(
            fires,
            tuple(model for model in NeuronModel if model in models),
            max(membrane, threshold, drive),
            threshold,
            drive,
            burst_levels=levels or 1,
        ),
        pool=Pool(max(1, most.bit_length())),
    )


def _signed(*values: object) -> int:
    """Bits of two's complement numbers."""
    each = np.concatenate([np.atleast_1d(np.asarray(value, np.int64)) for value in values])
    return 1 + max(int(max(each.max(), -each.min() - 1)).bit_length(), 1)


def trimmed(machine: Machine, schedules: Sequence[Schedule]) -> Machine:
    """`machine` with memories as deep as `schedules` need."""
    images = [make_images(schedule) for schedule in schedules]
    layers = [layer for schedule in schedules for layer in schedule.layers]
    pool = [
        layer.slots
        * layer.placement.windows
        * (layer.network.steps if layer.send is Send.PLANES else 1)
        for layer in layers
        if layer.placement.pool != (1, 1) or layer.send is Send.COUNTS
    ]
    partial = [
        layer.map.time_words
        for layer in layers
        if layer.send is Send.PLANES and layer.placement.word > 1
    ]
    rows = max(len(words) for one in images for words in one.weights)
    parameters = max(len(words) // 2 for one in images for core in one.parameters for words in core)
    return replace(
        machine,
        walker=replace(machine.walker, axis_entries=_power(max(len(i.axis) for i in images))),
        lanes=replace(machine.lanes, weight_rows=_power(rows)),
        fire=replace(machine.fire, parameter_rows=_power(parameters)),
        pool=replace(machine.pool, depth=_power(max(pool, default=1))),
        packer=Packer(_power(max(partial, default=1))),
        program_words=_power(max(len(one.program) for one in images)),
        outputs=_power(max(_outputs(schedule) for schedule in schedules)),
    )


def _outputs(schedule: Schedule) -> int:
    last = schedule.layers[-1]
    return last.height * last.width * last.groups * last.pitch


def _power(number: int) -> int:
    """The next power of two; at least two words."""
    return 1 << max(1, (number - 1).bit_length())
