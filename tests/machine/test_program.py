"""Programs: executed by hand, they tell every unit of every layer what the mapping says."""

import numpy as np
import pytest

from spikewright import SpikewrightError
from spikewright.machine.instructions import (
    ALL_UNITS,
    FRAME_UNIT,
    Instruction,
    Opcode,
    Register,
)
from spikewright.machine.placement import place
from spikewright.machine.program import program
from spikewright.network import INPUT, InputCode, InputSpec, Layer, Network, NeuronSpec, Synapse
from tests.support.random_networks import random_network


def executed(code, cores):
    """The registers of every unit at each RUN; and what is read, by core."""
    units = {unit: {} for unit in (*range(cores), FRAME_UNIT)}
    runs, reads = [], {}
    assert code[-1].opcode is Opcode.END
    for instruction in code[:-1]:
        match instruction.opcode:
            case Opcode.SET:
                assert not reads
                chosen = units if instruction.unit == ALL_UNITS else (instruction.unit,)
                for unit in chosen:
                    units[unit][Register(instruction.register)] = instruction.value
            case Opcode.RUN:
                runs.append({unit: dict(values) for unit, values in units.items()})
            case Opcode.READ:
                reads[instruction.unit] = instruction.value
    return runs, reads


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(("cores", "lanes"), [(1, 4), (3, 2)])
def test_every_unit_knows_its_part(seed, cores, lanes):
    network = random_network(np.random.default_rng(seed), size=2000)
    mapping = place(network, cores, lanes)
    code = program(network, mapping)
    assert len(code) == mapping.shape.program_words
    runs, reads = executed(code, cores)
    assert len(runs) == len(network.layers)
    for index, (layer, where, units) in enumerate(
        zip(network.layers, mapping.layers, runs, strict=True)
    ):
        (synapse,) = layer.synapses
        frame, source = units[FRAME_UNIT], None
        if synapse.source == INPUT:
            direct = network.input.code is InputCode.DIRECT
            assert frame[Register.STEPS] == (1 if direct else network.steps)
            assert frame[Register.SOURCE_GROUPS] == network.input.shape[0]
        else:
            source = mapping.layers[synapse.source]
            assert frame[Register.SOURCE_GROUPS] == 0
        for core in range(cores):
            own = units[core]
            assert own[Register.LAYER] == index
            assert own[Register.STEPS] == network.steps
            assert own[Register.GROUPS] == where.groups[core]
            assert own[Register.OUTPUTS] == layer.shape[1] * layer.shape[2]
            assert own[Register.SHIFT] == synapse.shift
            assert (own[Register.AXIS_Y], own[Register.AXIS_X]) == (where.axis_y, where.axis_x)
            if where.groups[core]:
                assert own[Register.WEIGHT_BASE] == where.weight_base[core]
                assert own[Register.PARAMETER_BASE] == where.parameter_base[core]
                assert own[Register.SPIKE_BASE] == where.spike_base[core]
            sent = 0 if source is None else source.groups[core]
            assert own[Register.SOURCE_GROUPS] == sent
            if sent:
                assert own[Register.SOURCE_CHANNEL] == source.first_group[core] * lanes
                assert own[Register.SOURCE_BASE] == source.spike_base[core]
        tokens = 1 if source is None else sum(count > 0 for count in source.groups)
        assert units[0][Register.TOKENS] == tokens
    outputs = network.layers[-1].shape[0]
    assert sum(reads.values()) == outputs
    assert all(value > 0 for value in reads.values())


def test_words_are_the_instructions():
    network = random_network(np.random.default_rng(1), size=2000)
    for instruction in program(network, place(network, 2, 4)):
        assert Instruction.decode(instruction.encode()) == instruction


def test_a_value_that_does_not_fit_is_refused():
    wide = Synapse(INPUT, np.ones((1, 1, 1, 1)))
    layer = Layer("wide", NeuronSpec.integrator(), (1, 1, 1), (wide,), [0], [0], [0])
    network = Network(InputSpec((1, 1, 1)), 4, 8, (layer,))
    codes = program(network, place(network, 1, 1))
    assert max(instruction.value for instruction in codes) < 1 << Instruction.VALUE_BITS
    with pytest.raises(SpikewrightError, match="value 1048576 of register 5 does not fit 20 bits"):
        Instruction(Opcode.SET, 0, 5, 1 << Instruction.VALUE_BITS).encode()
