"""Every neuron model and input code: the golden model against plain loops, and its proven ranges.

The networks are small and their numbers smaller still, so that potentials meet thresholds, counts
their bounds, and neurons take spikes back; `test_networks_reach_the_edges` shows that they do.
"""

import random
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spikewright.network import (
    INPUT,
    InputCode,
    InputSpec,
    Layer,
    Network,
    NeuronSpec,
    Pool,
    PoolKind,
    Synapse,
    Tie,
)
from spikewright.network.neuron import Negative, Reset, Rounding, Window
from spikewright.sim.golden.model import Golden

MODELS = ("if", "hpc", "qffs", "ca-lif", "pool", "tsc", "tsc-overlapped", "max-pool", "burst")


#  random networks


def some_spec(r, model, last):
    """Any spec of a model; of those that pool, one for the layers in front.

    Only counts that cannot fall below zero may be the output, or the source of max pooling.
    """
    gated = last or model == "max-pool" or r.random() < 0.6
    tie, smax = r.choice(list(Tie)), r.choice([1, 2, 4, 8])
    if model in ("pool", "max-pool"):
        model = r.choice(["if", "hpc", "qffs", "ca-lif"])
    if model == "if":
        return NeuronSpec.plain(tie, r.choice(list(Reset)))
    if model == "hpc":
        return NeuronSpec.buffered(smax, r.choice(list(Negative)), tie)
    if model == "qffs":
        return NeuronSpec.bounded(r.choice([1, 2, 3, 7]), tie)
    if model == "ca-lif":
        zmax = r.choice([None, None, 1, 3]) if gated else None
        return NeuronSpec.calcium(smax, r.choice(list(Rounding)), gated=gated, zmax=zmax, tie=tie)
    if model == "burst":
        return NeuronSpec.burst(r.choice([1, 3, 6, 7, 8]))
    if model == "tsc":
        return NeuronSpec.tsc(tie=tie)
    return NeuronSpec.tsc(Window.OVERLAPPED, latch=r.random() < 0.5, tie=tie)


def pooling(r, model, index, source):
    """Average-pool or max-pool neurons behind layer `source`."""
    channels, *sides = source.shape
    size = tuple(r.randint(1, min(3, n)) for n in sides)
    weight = np.eye(channels, dtype=np.int64)[:, :, None, None]
    threshold = np.ones(channels, np.int64)
    if model == "max-pool":
        smax = r.choice([n for n in (1, 2, 4, 8) if n >= source.neuron.smax])
        spec, kind = NeuronSpec.max_pool(smax), PoolKind.MAX
    else:
        tie, smax, rounding = r.choice(list(Tie)), r.choice([1, 2, 4]), r.choice(list(Rounding))
        spec = NeuronSpec.calcium(smax, rounding, gated=False, tie=tie)
        kind = PoolKind.AVERAGE
        threshold *= r.choice([1, size[0] * size[1]])
    synapse = Synapse(index - 1, weight, pool=Pool(size, kind))
    shape = synapse.output_shape(source.shape)
    zeros = np.zeros(channels, np.int64)
    return Layer(f"pool{index}", spec, shape, (synapse,), threshold, zeros, zeros)


def geometry(r, numbers, shape, source, outputs, limit, dense, shift):
    """One dense or convolutional synapse group on a source of `shape`."""
    c, h, w = shape
    pool = (r.randint(1, min(3, h)), r.randint(1, min(3, w))) if r.random() < 0.3 else (1, 1)
    h, w = h // pool[0], w // pool[1]
    kernel, stride, padding = (h, w), (1, 1), (0, 0)
    if not dense:
        kernel = (r.randint(1, min(3, h)), r.randint(1, min(3, w)))
        stride = (r.randint(1, 2), r.randint(1, 2))
        padding = (r.randint(0, kernel[0] - 1), r.randint(0, kernel[1] - 1))
    weight = numbers.integers(-limit, limit + 1, (outputs, c, *kernel))
    kind = r.choice(["any", "any", "extreme", "falling"])
    if kind == "extreme":
        weight = np.where(weight < 0, -limit, limit)
    elif kind == "falling":
        weight = -np.abs(weight)
    return Synapse(source, weight, stride, padding, Pool(pool), shift + r.choice([0, 0, 0, 2]))


def some_network(r, model, code):
    """A network of up to three layers (four with a pool) with any choice of `model`."""
    numbers = np.random.default_rng(r.getrandbits(32))
    bits = {InputCode.EVENTS: 1, InputCode.DIRECT: r.choice([1, 2, 8])}.get(code, r.randint(1, 8))
    shape = (r.randint(1, 2), r.randint(1, 6), r.randint(1, 6))
    seed = r.randint(1, 2**32 - 1)
    spec = InputSpec(shape, bits, code=code, seed=seed)
    shapes, layers = {INPUT: shape}, []
    depth = r.randint(1, 3)
    for place in range(depth):
        last, index = place == depth - 1, len(layers)
        fires = not last or (model != "tsc-overlapped" and r.random() < 0.5)
        weight_bits = r.choice([2, 3, 5])
        limit = 2 ** (weight_bits - 1) - 1
        pools = model in ("pool", "max-pool") and not last
        outputs, dense = r.randint(1, 4), r.random() < (0.1 if pools else 0.4)
        source = index - 1
        shift = r.choice([0] * 8 + [12])  # 12 needs 64-bit floats, a large unit 64-bit integers
        unit = r.choice([2**shift] * 8 + [2**48])
        first = geometry(r, numbers, shapes[source], source, outputs, limit, dense, shift)
        groups = [first]
        if r.random() < 0.2:
            again = numbers.integers(-limit, limit + 1, first.weight.shape)
            groups.append(replace(first, weight=again))
        shapes[index] = first.output_shape(shapes[source])
        if dense and index > 1 and shapes[index][1:] == (1, 1) and r.random() < 0.5:
            skip = r.randint(0, index - 2)
            weight = numbers.integers(-limit, limit + 1, (outputs, *shapes[skip]))
            groups.append(Synapse(skip, weight, shift=shift))
        # Thresholds of a few weights, so that potentials often meet them exactly.
        scale = r.choice([1, 2, limit, 3 * limit])
        if code is InputCode.DIRECT and source == INPUT and unit < 2**48:
            scale *= r.choice([1, spec.maximum])
        threshold = numbers.integers(1, scale + 1, outputs) * r.choice([1, 1, 2]) * unit
        layers.append(
            Layer(
                f"layer{index}",
                some_spec(r, model, last) if fires else NeuronSpec.integrator(),
                shapes[index],
                tuple(groups),
                threshold=threshold,
                bias=numbers.integers(-scale, scale + 1, outputs) * r.choice([0, 1]) * unit,
                # Some begin with spikes to send, which a falling potential then takes back.
                initial=numbers.integers(-scale, 3 * scale, outputs)
                * r.choice([0, 1, 3, 9])
                * unit,
            )
        )
        if pools:
            layers.append(pooling(r, model, index + 1, layers[-1]))
            shapes[index + 1] = layers[-1].shape
    steps = r.choice([1, 2, 3, 5, 8, 12])
    after = r.choice([0, 0, 1, 3])
    if any(layer.neuron.levels is not None for layer in layers):
        steps, after = 1, 0
    if any(layer.neuron.final for layer in layers):
        after = 1
    return Network(spec, steps + after, 5, tuple(layers), steps)


def some_frames(network, seed):
    """Two random frames, all zero, all maximum."""
    shape, maximum = network.frame_shape, network.input.maximum
    drawn = np.random.default_rng(seed).integers(0, maximum + 1, (2, *shape))
    return np.stack([*drawn, np.zeros(shape), np.full(shape, maximum)]).astype(np.uint8)


#  properties


RANDOM = st.one_of(st.randoms(use_true_random=False), st.integers(0, 2**32).map(random.Random))
"""The first kind shrinks, the second spreads."""

CODES = st.sampled_from(InputCode)


@pytest.mark.parametrize("model", MODELS)
def test_models(reference, model):
    @settings(max_examples=100, deadline=None)
    @given(RANDOM, CODES)
    def equal_to_plain_loops(r, code):
        network = some_network(r, model, code)
        reference.check(network, some_frames(network, r.getrandbits(32)))

    equal_to_plain_loops()


@pytest.mark.parametrize("code", InputCode)
def test_codes(reference, code):
    @settings(max_examples=100, deadline=None)
    @given(RANDOM, st.sampled_from(MODELS))
    def equal_to_plain_loops(r, model):
        network = some_network(r, model, code)
        reference.check(network, some_frames(network, r.getrandbits(32)))

    equal_to_plain_loops()


EDGES = {
    "if": {"tie"},
    "hpc": {"tie", "tie above", "more than smax", "gate", "negative", "several negative"},
    "qffs": {"tie", "at zmax", "gate", "negative"},
    "ca-lif": {"tie", "tie above", "more than smax", "at zmax", "gate", "negative", "negative tie"}
    | {"several negative", "rounding tie", "rounds up", "rounds down", "drains several"},
    "pool": {"tie", "negative", "negative tie", "rounds up", "rounds down"},
    "tsc": {"tie", "clipped"},
    "tsc-overlapped": {"tie", "ceases", "latched"},
    "max-pool": {"falls", "not a power"},
    "burst": {"tie", "silent", "clipped"},
}


@pytest.mark.parametrize("model", MODELS)
def test_networks_reach_the_edges(reference, model):
    """Of 200 networks as above, 5 or more meet each edge of their model, and every code occurs."""
    seen, ones, types = Counter(), 0, set()
    for seed in range(200):
        r = random.Random(seed)
        network = some_network(r, model, list(InputCode)[seed % 5])
        ones += network.input_steps == 1
        layers = [one for one in Golden(network)._layers if hasattr(one, "bias")]
        types.update(one.bias.dtype for one in layers)
        total = Counter()
        for frame in some_frames(network, seed):
            total += reference.run(network, frame)[3]
        seen.update(total.keys())
    assert ones >= 5
    assert types == {np.dtype(np.float32), np.dtype(np.float64), np.dtype(np.int64)}
    assert {edge for edge in EDGES[model] if seen[edge] < 5} == set()
