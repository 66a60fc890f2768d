"""The network contract: what a network is between the user's model and the hardware.

Two forms share their geometry. :class:`FloatNetwork` is what the front end makes of a torch module
and the converter completes with neurons; :class:`Network` holds integers only and is what the
golden model executes and the hardware computes. Both are immutable, checked on construction and
saved with a schema version.

A layer is `neurons <- synapses`: every synapse group reads one source (the input frame or an
earlier layer), optionally averages it over disjoint windows, and convolves it.
"""

from spikewright.network.arrays import Floats, Ints
from spikewright.network.float_network import (
    Activation,
    ActivationKind,
    FloatLayer,
    FloatNetwork,
    FloatSynapse,
)
from spikewright.network.geometry import INPUT, Pool, PoolKind, Shape
from spikewright.network.input import InputCode, InputSpec
from spikewright.network.integer_network import Network, scans
from spikewright.network.neuron import NeuronModel, NeuronSpec, Tie
from spikewright.network.structure import Layer, Synapse

__all__ = [
    "INPUT",
    "Activation",
    "ActivationKind",
    "FloatLayer",
    "FloatNetwork",
    "FloatSynapse",
    "Floats",
    "InputCode",
    "InputSpec",
    "Ints",
    "Layer",
    "Network",
    "NeuronModel",
    "NeuronSpec",
    "Pool",
    "PoolKind",
    "Shape",
    "Synapse",
    "Tie",
    "scans",
]
