"""The golden model against plain loops over the equations, against bounds, and on bad frames."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spikewright import SpikewrightError
from spikewright.network import (
    INPUT,
    InputSpec,
    Layer,
    Network,
    NeuronModel,
    NeuronSpec,
    Pool,
    Synapse,
    Tie,
)
from spikewright.sim.encoders import signed_digits
from spikewright.sim.golden import Golden


def slow_current(synapse, values):
    """Current of one step, and additions a value of 1 at each position takes, by definition."""
    (ph, pw), (sy, sx), (py, px) = synapse.pool.size, synapse.stride, synapse.padding
    channels, height, width = values.shape[0], values.shape[1] // ph, values.shape[2] // pw
    outputs, _, kh, kw = synapse.weight.shape
    oh, ow = (height + 2 * py - kh) // sy + 1, (width + 2 * px - kw) // sx + 1
    current = np.zeros((outputs, oh, ow), object)
    reached = np.zeros(values.shape, object)
    for o, oy, ox, c, ky, kx in itertools.product(*map(range, (outputs, oh, ow, channels, kh, kw))):
        y, x = oy * sy + ky - py, ox * sx + kx - px
        if not (0 <= y < height and 0 <= x < width):
            continue
        for dy, dx in itertools.product(range(ph), range(pw)):
            pixel = int(values[c, y * ph + dy, x * pw + dx])
            current[o, oy, ox] += pixel * int(synapse.weight[o, c, ky, kx]) * 2**synapse.shift
            reached[c, y * ph + dy, x * pw + dx] += 1
    return current, reached


def naf_weight(value):
    """Non-zero digits of the non-adjacent form, by its recurrence."""
    digits = 0
    while value:
        if value % 2:
            value -= 2 - value % 4
            digits += 1
        value //= 2
    return digits


def slow_run(network, frame):
    """Membranes, spikes, events and additions of each layer of one frame, in Python integers."""
    membranes = [np.zeros(layer.shape, object) for layer in network.layers]
    for layer, membrane in zip(network.layers, membranes, strict=True):
        membrane += layer.initial[:, None, None].astype(object)
    trace = []
    events, additions = [0] * len(network.layers), [0] * len(network.layers)
    for step in range(network.steps):
        spikes = []
        for index, layer in enumerate(network.layers):
            potential = membranes[index] + layer.bias[:, None, None].astype(object)
            for synapse in layer.synapses:
                direct = synapse.source == INPUT
                source = frame if direct else spikes[synapse.source]
                current, reached = slow_current(synapse, source)
                potential = potential + current
                if direct and step > 0:
                    continue
                sent = np.vectorize(naf_weight if direct else int, otypes=[object])(source)
                events[index] += sent.sum()
                additions[index] += (sent * reached).sum()
            threshold = layer.threshold[:, None, None].astype(object)
            fired = np.zeros(layer.shape, bool)
            if layer.neuron.model is NeuronModel.IF:
                tie = layer.neuron.tie is Tie.FIRES
                fired = (potential > threshold) | ((potential == threshold) & tie)
            membranes[index] = np.where(fired, potential - threshold, potential)
            spikes.append(fired.astype(bool))
        trace.append(([m.copy() for m in membranes], spikes))
    return trace, events, additions


def check(network, frames):
    """Everything the golden model returns for `frames` against :func:`slow_run`."""
    result = Golden(network).run(frames, trace=True)
    for n, frame in enumerate(frames):
        trace, events, additions = slow_run(network, frame)
        for index in range(len(network.layers)):
            got = result.trace[index]
            assert got.name == network.layers[index].name
            for step, (membranes, spikes) in enumerate(trace):
                expected = membranes[index].astype(np.int64)
                np.testing.assert_array_equal(got.membranes[n, step], expected)
                np.testing.assert_array_equal(got.spikes[n, step], spikes[index])
            assert result.events[index][n] == events[index]
            assert result.synaptic_operations[index][n] == additions[index]
        last = trace[-1][0][-1].reshape(-1)
        assert result.potentials[n].tolist() == last.tolist()
        assert result.classes[n] == min(i for i, v in enumerate(last) if v == max(last))
    firing = result.trace[:-1]
    for counts, layer_trace in zip(result.spike_counts, firing, strict=True):
        np.testing.assert_array_equal(counts, layer_trace.spikes.sum(1))
    assert result.scan_operations == tuple(
        int(np.prod(layer.shape)) * network.steps for layer in network.layers
    )
    return result


@st.composite
def networks(draw):
    """Any small network: also silent and saturated ones, several synapse groups, skips, pools."""
    bits = draw(st.integers(2, 8))
    limit = 2 ** (bits - 1) - 1
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    side = st.integers(1, 7)
    shape = (draw(st.integers(1, 3)), draw(side), draw(side))
    spec = InputSpec(shape, draw(st.integers(1, 8)))
    shapes = {INPUT: shape}
    layers = []
    depth = draw(st.integers(1, 4))
    for index in range(depth):
        last = index == depth - 1
        source = index - 1
        (c, h, w), pool = shapes[source], (1, 1)
        if draw(st.booleans()):
            pool = (draw(st.integers(1, min(3, h))), draw(st.integers(1, min(3, w))))
        h, w = h // pool[0], w // pool[1]
        if last or draw(st.booleans()):
            kernel, stride, padding = (h, w), (1, 1), (0, 0)
        else:
            kernel = (draw(st.integers(1, 4)), draw(st.integers(1, 4)))
            padding = tuple(
                draw(st.integers(max(0, (k - n + 1) // 2), k - 1))
                for k, n in zip(kernel, (h, w), strict=True)
            )
            stride = (draw(st.integers(1, 3)), draw(st.integers(1, 3)))
        outputs = draw(st.integers(1, 5))
        groups = []
        for _ in range(draw(st.integers(1, 2))):
            weight = rng.integers(-limit, limit + 1, (outputs, c, *kernel))
            groups.append(
                Synapse(source, weight, stride, padding, Pool(pool), draw(st.integers(0, 3)))
            )
        shapes[index] = groups[0].output_shape(shapes[source])
        reads_all = kernel == (h, w) and stride == (1, 1) and padding == (0, 0)
        if reads_all and index > 1 and draw(st.booleans()):
            skip = draw(st.integers(0, index - 1))
            weight = rng.integers(-limit, limit + 1, (outputs, *shapes[skip]))
            groups.append(Synapse(skip, weight))
        scale = limit * (spec.maximum if source == INPUT else 1) * draw(st.sampled_from([1, 10]))
        layers.append(
            Layer(
                f"layer{index}",
                NeuronSpec(
                    NeuronModel.INTEGRATOR if last else NeuronModel.IF, draw(st.sampled_from(Tie))
                ),
                shapes[index],
                tuple(groups),
                threshold=rng.integers(1, scale + 1, outputs),
                bias=rng.integers(-scale // 4, scale // 3 + 1, outputs),
                initial=rng.integers(-scale, 2 * scale + 1, outputs),
            )
        )
    return Network(spec, draw(st.integers(1, 9)), bits, tuple(layers))


def some_frames(network, seed):
    shape, maximum = network.input.shape, network.input.maximum
    random = np.random.default_rng(seed).integers(0, maximum + 1, (2, *shape))
    edges = [np.zeros(shape), np.full(shape, maximum)]
    return np.stack([*random, *edges]).astype(np.uint8)


@settings(max_examples=60, deadline=None)
@given(networks(), st.integers(0, 99))
def test_equals_plain_loops(network, seed):
    check(network, some_frames(network, seed))


def best_frames(network):
    """For each output of the first layer, the frames that drive one position highest and lowest."""
    frames = []
    maximum = network.input.maximum
    for layer in network.layers[:1]:
        for synapse in layer.synapses:
            for row in synapse.weight:
                for sign in (row > 0, row < 0):
                    frame = np.zeros(network.input.shape, np.uint8)
                    py, px = synapse.pool.size
                    part = sign.repeat(py, 1).repeat(px, 2)[:, : frame.shape[1], : frame.shape[2]]
                    frame[:, : part.shape[1], : part.shape[2]] = part * maximum
                    frames.append(frame)
    return np.stack(frames)


@settings(max_examples=60, deadline=None)
@given(networks(), st.integers(0, 99))
def test_proven_ranges_hold(network, seed):
    frames = np.concatenate([some_frames(network, seed), best_frames(network)])
    result = Golden(network).run(frames, trace=True)
    for layer, trace, (u_low, u_high), (i_low, i_high) in zip(
        network.layers, result.trace, network.potential_ranges, network.current_ranges, strict=True
    ):

        def spread(values):
            return values[:, None, None]

        u = trace.membranes + trace.spikes * spread(layer.threshold)
        initial = np.broadcast_to(spread(layer.initial), u[:, :1].shape)
        before = np.concatenate([initial, trace.membranes[:, :-1]], 1)
        current = u - before - spread(layer.bias)
        assert (u >= spread(u_low)).all()
        assert (u <= spread(u_high)).all()
        assert (current >= spread(i_low)).all()
        assert (current <= spread(i_high)).all()


def one_neuron(weight=1, *, threshold=4, tie=Tie.FIRES, initial=0, steps=4, shift=0, bits=8):
    """A 1x1 frame, one IF neuron, one integrator of weight 1."""
    neuron = Layer(
        "neuron",
        NeuronSpec(NeuronModel.IF, tie),
        (1, 1, 1),
        (Synapse(INPUT, np.full((1, 1, 1, 1), weight), shift=shift),),
        np.array([threshold]),
        np.array([0]),
        np.array([initial]),
    )
    readout = Layer(
        "readout",
        NeuronSpec(NeuronModel.INTEGRATOR),
        (1, 1, 1),
        (Synapse(0, np.ones((1, 1, 1, 1))),),
        np.array([0]),
        np.array([0]),
        np.array([0]),
    )
    return Network(InputSpec((1, 1, 1)), steps, bits, (neuron, readout))


def pixels(*values):
    return np.array(values, np.uint8).reshape(-1, 1, 1, 1)


@pytest.mark.parametrize(
    ("tie", "spikes", "membranes"),
    [(Tie.FIRES, [0, 1, 0, 1], [2, 0, 2, 0]), (Tie.HOLDS, [0, 0, 1, 0], [2, 4, 2, 4])],
)
def test_tie_by_hand(tie, spikes, membranes):
    result = Golden(one_neuron(tie=tie)).run(pixels(2), trace=True)
    assert result.trace[0].spikes.ravel().tolist() == spikes
    assert result.trace[0].membranes.ravel().tolist() == membranes
    assert result.potentials.tolist() == [[sum(spikes)]]


@pytest.mark.parametrize(
    ("weight", "shift", "bits", "dtype"),
    [(127, 0, 8, np.float32), (127, 10, 8, np.float64), (32767, 15, 16, np.float64)],
)
def test_number_type_is_exact(weight, shift, bits, dtype):
    network = one_neuron(weight, shift=shift, bits=bits, threshold=3, initial=1, steps=9)
    golden = Golden(network)
    assert golden._layers[0].bias.dtype == dtype
    result = check(network, pixels(0, 1, 255))
    assert result.trace[0].membranes[2, -1, 0, 0, 0] == 1 + 9 * (255 * (weight << shift) - 3)


def test_integers_where_float64_would_round():
    network = one_neuron(32767, shift=15, bits=16, threshold=2**60, initial=2**55 + 1)
    assert Golden(network)._layers[0].bias.dtype == np.int64
    check(network, pixels(0, 1, 255))


def test_refuses_what_no_type_holds():
    network = one_neuron(threshold=2**62, initial=2**62)
    with pytest.raises(SpikewrightError, match=r"neuron: potentials may reach \d+, beyond 63 bits"):
        Golden(network)


def test_ties_of_potentials_take_the_lowest_class():
    network = one_neuron()
    readout = network.layers[1]
    same = Layer(
        "readout",
        readout.neuron,
        (3, 1, 1),
        (Synapse(0, np.array([0, 1, 1]).reshape(3, 1, 1, 1)),),
        np.zeros(3),
        np.zeros(3),
        np.zeros(3),
    )
    network = Network(network.input, 4, 8, (network.layers[0], same))
    result = Golden(network).run(pixels(0, 8))
    assert result.potentials.tolist() == [[0, 0, 0], [0, 4, 4]]
    assert result.classes.tolist() == [0, 1]
    assert result.trace is None


def test_chunks_do_not_show():
    network = one_neuron()
    frames = pixels(*range(200))
    golden = Golden(network)
    whole = golden.run(frames, trace=True)
    golden._chunk = 7
    parts = golden.run(frames, trace=True)
    np.testing.assert_array_equal(whole.potentials, parts.potentials)
    np.testing.assert_array_equal(whole.spike_counts[0], parts.spike_counts[0])
    np.testing.assert_array_equal(whole.trace[0].membranes, parts.trace[0].membranes)
    assert golden.run(frames[:0]).potentials.shape == (0, 1)


def test_signed_digits():
    values = np.arange(256)
    assert signed_digits(values).tolist() == [naf_weight(int(v)) for v in values]


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        (np.zeros((1, 1, 1, 1)), "expected an array of uint8 pixels, got float64"),
        ([[[[1]]]], "expected an array of uint8 pixels, got list"),
        (np.zeros((1, 1, 1), np.uint8), r"expected shape \(N, 1, 1, 1\), got \(1, 1, 1\)"),
        (np.zeros((2, 1, 1, 2), np.uint8), r"expected shape \(N, 1, 1, 1\), got \(2, 1, 1, 2\)"),
    ],
)
def test_bad_frames(frames, message):
    with pytest.raises(SpikewrightError, match=message):
        Golden(one_neuron()).run(frames)


def test_pixel_beyond_the_input_bits():
    network = one_neuron()
    network = Network(InputSpec((1, 1, 1), bits=4), network.steps, 8, network.layers)
    with pytest.raises(SpikewrightError, match=r"expected pixels of 4 bits, 0\.\.15, got 16"):
        Golden(network).run(pixels(3, 16))


def test_a_last_layer_that_fires_gives_counts():
    network = one_neuron()
    result = Golden(Network(network.input, 4, 8, network.layers[:1])).run(
        pixels(0, 2, 5), trace=True
    )
    assert result.potentials.tolist() == [[0], [2], [4]]
    assert result.trace[0].counts[1].ravel().tolist() == [0, 1, 1, 2]
