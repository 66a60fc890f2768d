"""The cost of a core per neuron model, on hardware of two lanes."""

import json

import numpy as np
import pytest

from lab import cost
from spikewright.boards.synth import find_tool
from spikewright.errors import SpikewrightError
from spikewright.network import (
    INPUT,
    InputCode,
    InputSpec,
    Layer,
    Network,
    NeuronSpec,
    Synapse,
)
from spikewright.sw.passes.map import map_network


def small(neuron=None):
    """A dense network of 8 inputs, four neurons and three outputs."""
    rng = np.random.default_rng(5)
    layers = []
    for index, (shape, kernel) in enumerate((((4, 1, 1), (8, 1, 1)), ((3, 1, 1), (4, 1, 1)))):
        zeros = np.zeros(shape[0], np.int64)
        hidden = index == 0
        spec = (neuron or NeuronSpec.plain()) if hidden else NeuronSpec.integrator()
        synapse = Synapse(INPUT if hidden else 0, rng.integers(-7, 8, (shape[0], *kernel)))
        layers.append(Layer(f"layer{index}", spec, shape, (synapse,), zeros + 16, zeros, zeros))
    steps = 3 + any(layer.neuron.final for layer in layers)
    return Network(InputSpec((8, 1, 1), 2, code=InputCode.ISI), steps, 4, tuple(layers), 3)


@pytest.fixture(scope="module")
def yosys():
    try:
        return find_tool("yosys")
    except SpikewrightError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("name", cost.MODELS)
def test_every_model_fits_the_hardware(name):
    """Each becomes a LeNet-5 that can be mapped, with what its hidden neurons need."""
    model = cost.MODELS[name]
    made = cost.network(model)
    shape = map_network(made).shape
    neurons = {layer.neuron for layer in made.layers}
    assert model.neuron in neurons
    assert model.pool is None or model.pool in neurons
    assert made.input.code is model.code
    assert made.input_steps == model.steps
    assert shape.lanes == 16
    assert (shape.count_bits > 0) == any(map(made.counts, made.layers))


def test_plain_neurons_pay_for_nothing_else(yosys):
    """What other models add is not there in a core of plain neurons, and costs in theirs."""
    plain, bounded, several = (
        cost.measure("", small(neuron), lanes=2)
        for neuron in (NeuronSpec.plain(), NeuronSpec.bounded(3), NeuronSpec.buffered(4))
    )
    assert plain.count_bits == 0 < bounded.count_bits
    # LUTs of so small a core vary more with the mapper's luck than with the model.
    assert plain.ff < bounded.ff < several.ff
    assert plain.ebr == 0, "memories of a few words are distributed RAM"
    assert (plain.scan, bounded.scan, several.scan) == (4, 4, 8)
    assert plain.final == 0
    assert plain.tool.startswith("Yosys ")


def test_final_scan():
    """Drain takes a scan a binary digit; scans of layers without one are counted, too."""
    made = small(NeuronSpec.calcium(1, zmax=3))
    mapping = map_network(made, lanes=2)
    assert mapping.layers[0].final_passes == 2
    assert cost.scans_of(made, mapping) == (4, 6)


def test_failing_yosys(yosys, monkeypatch):
    shape = map_network(small(), lanes=1).shape
    monkeypatch.setattr(cost, "NO_RW_CHECK", "no_such_command")
    with pytest.raises(SpikewrightError, match=r"cost: yosys failed: .*no_such_command"):
        cost.synthesise_core(shape)


def test_script(yosys, monkeypatch, capsys, tmp_path):
    file = tmp_path / "cost.json"
    monkeypatch.setattr(cost, "network", lambda model: small(model.neuron))
    monkeypatch.setattr("sys.argv", ["cost", "if", "--lanes", "1", "--json", str(file)])
    cost.main()
    (entry,) = json.loads(file.read_text())
    assert entry["model"] == "if"
    assert f"| if | {entry['lut']} | {entry['ff']} | {entry['ebr']}.0 |" in capsys.readouterr().out
    monkeypatch.setattr("sys.argv", ["cost", "leaky"])
    with pytest.raises(SystemExit):
        cost.main()
    assert "no model 'leaky'" in capsys.readouterr().err


def test_what_cells_count_as(monkeypatch):
    """A carry cell has two tables, a distributed RAM cell four; wide multiplexers have none."""
    cells = {"LUT4": 5, "CCU2C": 30, "TRELLIS_DPR16X4": 200, "PFUMX": 7, "TRELLIS_FF": 9}
    monkeypatch.setattr(cost, "synthesise_core", lambda shape: (cells | {"DP16KD": 3}, "Yosys"))
    made = cost.measure("if", small(), lanes=1)
    assert (made.lut, made.ff, made.ebr) == (5 + 2 * 30 + 4 * 200, 9, 3)
    monkeypatch.setattr(cost, "synthesise_core", lambda shape: ({}, "Yosys"))
    assert cost.measure("if", small(), lanes=1).lut == 0
