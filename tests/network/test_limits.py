"""Bounds of a network: types and ranges of every field, before anything is computed."""

import numpy as np
import pytest

from spikewright import SpikewrightError
from spikewright.machine.placement import place
from spikewright.network import (
    INPUT,
    FloatNetwork,
    InputSpec,
    Layer,
    Network,
    NeuronSpec,
    Pool,
    Synapse,
)


def layer(index=0, source=INPUT, spec=None, weight=1, shift=0, **numbers):
    own = {"threshold": [1], "bias": [0], "initial": [0]} | numbers
    synapse = Synapse(source, np.full((1, 1, 1, 1), weight), shift=shift)
    return Layer(f"{index}", spec or NeuronSpec.plain(), (1, 1, 1), (synapse,), **own)


def network(layers=1, steps=4, bits=8, **options):
    chain = tuple(layer(index, index - 1, **options) for index in range(layers))
    return Network(InputSpec((1, 1, 1)), steps, bits, chain)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: network(steps=10**9), "1000000000 time steps; at most 4096"),
        (lambda: network(steps=True), "network: steps True: expected int, got bool"),
        (lambda: network(steps=4.0), "network: steps 4.0: expected int"),
        (lambda: network(bits=1), "1-bit weights; 2 to 8"),
        (lambda: network(bits=9), "9-bit weights; 2 to 8"),
        (lambda: network(layers=300), "has 300 layers; at most 256"),
        (lambda: place(network(layers=33), 1, 4), "33 layers, the hardware takes 32"),
        (lambda: network(weight=128), r"a weight lies outside \+-127"),
        (lambda: network(weight=0.5), "not integers"),
        (lambda: network(weight=float("nan")), "not integers"),
        (lambda: network(weight=1 + 1j), "holds complex128 values"),
        (lambda: network(shift=True), "shift True: expected int"),
        (lambda: network(shift=16), "shift 16 is outside"),
        (lambda: network(threshold=[2**63 - 1]), "a value lies outside"),
        (lambda: network(threshold=[0]), "a threshold is not positive"),
        (lambda: InputSpec((1, 100_000, 100_000)), "is too large"),
        (lambda: InputSpec((1, 1)), "expected array of length 3"),
        (lambda: InputSpec((1, 1, True)), "expected int, got bool"),
        (lambda: InputSpec((1, 1, 0)), "is not \\(channels"),
        (lambda: InputSpec((1, 1, 1), bits=True), "input: bits True"),
        (lambda: InputSpec((1, 1, 1), scale=(float("nan"),)), "finite numbers"),
        (lambda: NeuronSpec.bounded(10**9), "neuron: zmax 1000000000: expected int <= 65535"),
        (lambda: NeuronSpec.plain(tie=3), "neuron: tie 3"),
        (lambda: NeuronSpec.calcium(smax=True), "neuron: smax True"),
        (lambda: Pool((1, 10**9)), "pool: size"),
    ],
)
def test_refused(make, message):
    with pytest.raises(SpikewrightError, match=message) as error:
        make()
    assert "\n" not in str(error.value)


def test_currents_stay_within_the_analysis():
    wide = Synapse(INPUT, np.full((1, 1, 1, 1), 127), pool=Pool((4096, 4096)), shift=15)
    one = Layer("one", NeuronSpec.plain(), (1, 1, 1), (wide,), [1], [0], [0])
    large = Network(InputSpec((1, 4096, 4096)), 4, 8, (one,))
    with pytest.raises(SpikewrightError, match="beyond 48 bits"):
        _ = large.ranges


def test_float_networks_round_trip(tmp_path):
    from spikewright.network import Activation, ActivationKind, FloatLayer, FloatSynapse

    qcfs = Activation(ActivationKind.QCFS, np.ones(2), 4)
    weight = np.arange(4.0).reshape(2, 2, 1, 1) / 7
    hidden = FloatLayer(
        "é", (2, 3, 3), (FloatSynapse(INPUT, weight, padding=(0, 0)),), np.ones(2), qcfs,
        NeuronSpec.bounded(3), np.ones(2), np.zeros(2),
    )  # fmt: skip
    made = FloatNetwork(InputSpec((2, 3, 3), mean=(1.5, 0.25)), (hidden,))
    made.save(tmp_path / "a.npz")
    read = FloatNetwork.load(tmp_path / "a.npz")
    assert read.input == made.input
    assert (read.layers[0].name, read.layers[0].neuron) == ("é", NeuronSpec.bounded(3))
    assert np.array_equal(read.layers[0].synapses[0].weight, weight)
    assert np.array_equal(read.layers[0].activation.threshold, np.ones(2))

    arrays = dict(np.load(tmp_path / "a.npz"))
    for change, message in (
        ({"array_0": arrays["array_0"].astype(np.float32)}, "float32 numbers, not float64"),
        ({"header": np.array("[" * 10_000)}, "not sound JSON"),
        ({"header": np.array(3)}, "is not a saved float network"),
        ({"header": np.array(str(arrays["header"]).replace(": 3", ": 2", 1))}, "older release"),
        ({"header": np.array(str(arrays["header"]).replace("array_0", "array_9"))}, "no array"),
    ):
        np.savez(tmp_path / "b.npz", **(arrays | change))
        with pytest.raises(SpikewrightError, match=message):
            FloatNetwork.load(tmp_path / "b.npz")
