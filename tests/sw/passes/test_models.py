"""From ANN to integers for every neuron model and input code: what is exact, and what is near."""

import dataclasses
import json
import warnings

import numpy as np
import pytest
import torch
from torch import nn

from spikewright import Conversion, SpikewrightError
from spikewright.network import FloatNetwork, InputCode, InputSpec, PoolKind
from spikewright.network.conversion import drive, event_value
from spikewright.network.neuron import NeuronModel, NeuronSpec, Rounding
from spikewright.sim.ann import ann_forward
from spikewright.sim.float import snn
from spikewright.sim.golden.encoders import encode
from spikewright.sim.golden.model import Golden
from spikewright.sw.activations import LSQ, QCFS, QReLU
from spikewright.sw.frontend.trace import trace
from spikewright.sw.passes.convert import ConversionWarning, convert
from spikewright.sw.passes.quantise import quantisation_error, quantise

SIDE = 9


def cnn(levels=4, pool=nn.AvgPool2d, end=(), activation=None, seed=0):
    """A small CNN with a mean in its input, in which all neurons have something to say."""
    torch.manual_seed(seed)
    act = activation or (lambda lam: QCFS(levels, lam))
    net = nn.Sequential(
        nn.Conv2d(2, 6, 3),
        act(1.1),
        pool(2),
        nn.Conv2d(6, 8, 2),
        act(0.4),
        nn.Flatten(),
        nn.Linear(32, 12),
        act(0.3),
        nn.Linear(12, 5),
        *end,
    )
    for name, weight in net.named_parameters():
        if name.endswith("weight"):
            weight.data *= 3
    return net


def traced(module, bits=8):
    peak = 2**bits - 1
    spec = InputSpec((2, SIDE, SIDE), bits, (2 / peak,) * 2, (0.4 * peak, 0.25 * peak))
    return trace(module, torch.rand(1, 2, SIDE, SIDE), input_spec=spec)


def some_frames(spec, steps, n=12, seed=1):
    shape = (n, *spec.frame_shape(steps))
    return np.random.default_rng(seed).integers(spec.maximum + 1, size=shape, dtype=np.uint8)


def decoded(network, frames, steps):
    """What the events of frames mean: the input that the ANN should have got."""
    spec = network.input
    mean, scale = (np.array(v)[:, None, None] for v in (spec.mean, spec.scale))
    if spec.code is InputCode.DIRECT:
        return (frames - mean) * scale
    spikes = encode(spec, steps, np.moveaxis(frames, 0, -1)).astype(float)
    if spec.code is InputCode.TSC:
        spikes = spikes.cumsum(0)
    value = event_value(network, steps)[:, None, None] / drive(network, steps)
    return np.moveaxis(spikes.sum(0), -1, 0) * value - mean * scale


def converted(network, conversion, steps):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConversionWarning)
        return convert(network, conversion, steps=steps)


EXACT = [
    ("qffs", nn.AvgPool2d),
    ("qffs", nn.MaxPool2d),
    ("ca-lif", nn.AvgPool2d),
    ("ca-lif", nn.MaxPool2d),
    ("tsc", nn.AvgPool2d),
]


@pytest.mark.parametrize("code", InputCode)
@pytest.mark.parametrize(("neuron", "pool"), EXACT)
def test_exact_conversions_give_the_quantised_ann(neuron, pool, code):
    """Every image's outputs are those of the QCFS network on what the input's events mean."""
    steps = 5
    levels = steps - (neuron == "tsc")
    network = traced(cnn(levels, pool), bits=1 if code is InputCode.EVENTS else 8)
    conversion = Conversion(Conversion.named(neuron=neuron).neuron, code, exact=True, seed=5)
    spiking = convert(network, conversion, steps=steps)
    frames = some_frames(spiking.input, steps)
    settle = conversion.settle_steps(spiking, steps)
    result = snn(spiking, frames, steps, settle=settle, dtype=torch.float64)
    expected = ann_forward(network, torch.tensor(decoded(spiking, frames, steps)))
    got = result.potentials[:, -1] / drive(spiking, steps)
    np.testing.assert_allclose(got, expected.numpy(), atol=1e-9)
    shares = [float((count > 0).mean()) for count in result.counts]
    assert all(0.05 < share < 0.99 for share in shares), shares
    assert all(count.max() == levels for count in result.counts)


@pytest.mark.parametrize(
    ("neuron", "levels", "steps", "act"),
    [
        ("qffs", 3, 3, lambda lam: LSQ(2, lam / 3)),
        ("qffs", 7, 7, lambda lam: LSQ(3, lam / 7)),
        ("qffs", 3, 5, lambda lam: LSQ(2, lam / 3)),
        ("qffs", 6, 6, lambda lam: QReLU(3, 2, lam)),
        ("tsc", 4, 5, lambda lam: QReLU(4, 1, lam)),
    ],
)
def test_trained_activations_are_exact_too(neuron, levels, steps, act):
    network = traced(cnn(activation=act))
    conversion = Conversion.named(neuron=neuron, exact=True).suited(network, steps)
    spiking = convert(network, conversion, steps=steps)
    frames = some_frames(spiking.input, steps)
    settle = conversion.settle_steps(spiking, steps)
    result = snn(spiking, frames, steps, settle=settle, dtype=torch.float64)
    expected = ann_forward(network, torch.tensor(decoded(spiking, frames, steps)))
    got = result.potentials[:, -1] / drive(spiking, steps)
    np.testing.assert_allclose(got, expected.numpy(), atol=1e-9)
    assert all(count.max() == levels for count in result.counts)


def test_less_than_exactness_needs_is_less():
    """What `exact` refuses does not happen to be exact all the same."""
    steps = 5
    network = traced(cnn(steps))
    frames = some_frames(network.input, steps)
    for choices in (
        {"neuron": "if"},
        {"neuron": "hpc", "smax": 1},
        {"neuron": "qffs", "settle": 0},
        {"neuron": "ca-lif", "rounding": "one"},
        {"neuron": "ca-lif", "pool_neurons": True},
    ):
        conversion = Conversion.named(**choices)
        spiking = converted(network, conversion, steps)
        settle = conversion.settle_steps(spiking, steps)
        result = snn(spiking, frames, steps, settle=settle, dtype=torch.float64)
        expected = ann_forward(network, torch.tensor(decoded(spiking, frames, steps))).numpy()
        got = result.potentials[:, -1] / drive(spiking, steps)
        assert 0.005 < np.abs(got - expected).max() < 0.5, choices


CHOICES = [
    {"neuron": "if"},
    {"neuron": "if", "tie": "holds", "reset": "zero"},
    {"neuron": "hpc"},
    {"neuron": "hpc", "smax": 8, "negative": "at-threshold"},
    {"neuron": "hpc", "smax": 4, "negative": "none"},
    {"neuron": "qffs"},
    {"neuron": "qffs", "zmax": 7, "settle": 1},
    {"neuron": "ca-lif"},
    {"neuron": "ca-lif", "smax": 4, "rounding": "one", "pool_neurons": True},
    {"neuron": "ca-lif", "zmax": "none", "rounding": "none"},
    {"neuron": "tsc"},
    {"neuron": "tsc", "window": "overlapped"},
]


@pytest.mark.parametrize("code", ["direct", "isi", "tsc", "poisson"])
@pytest.mark.parametrize("choices", CHOICES, ids=str)
def test_integers_follow_the_float_network(choices, code):
    """Eight bits differ from real numbers where a potential is near a threshold, and only there."""
    steps = 9
    conversion = Conversion.named(**choices, code=code)
    spiking = converted(traced(cnn(steps)), conversion, steps)
    settle = conversion.settle_steps(spiking, steps)
    network = quantise(spiking, steps=steps, settle=settle)
    frames = some_frames(spiking.input, steps)
    real = snn(spiking, frames, steps, settle=settle, dtype=torch.float64)
    golden = Golden(network).run(frames)
    assert (network.steps, network.input_steps) == (real.potentials.shape[1], steps)
    for got, expected in zip(golden.spike_counts, real.spike_counts, strict=True):
        assert np.abs(got - expected).mean() < 0.25 * expected.std()
    back = golden.potentials * network.layers[-1].unit[0]
    spread = real.potentials[:, -1].std()
    assert np.abs(back - real.potentials[:, -1]).mean() < 0.3 * spread


@pytest.mark.parametrize("choices", [c for c in CHOICES if "overlapped" not in c.values()], ids=str)
def test_a_last_layer_that_fires(choices):
    steps = 9
    network = traced(cnn(steps, end=[QCFS(steps, 0.5)]))
    conversion = Conversion.named(**choices, readout="counts").suited(network, steps)
    spiking = converted(network, conversion, steps)
    settle = conversion.settle_steps(spiking, steps)
    last = spiking.layers[-1]
    assert last.neuron == conversion.last(steps)
    assert last.neuron.zmax in (None, steps)  # the levels of its activation
    assert last.threshold == pytest.approx([0.5 * conversion.spike(steps, last=True)] * 5)
    frames = some_frames(spiking.input, steps)
    real = snn(spiking, frames, steps, settle=settle, dtype=torch.float64)
    golden = Golden(quantise(spiking, steps=steps, settle=settle)).run(frames)
    np.testing.assert_array_equal(real.potentials[:, -1], real.counts[-1].reshape(len(frames), -1))
    assert (golden.potentials == real.potentials[:, -1]).mean() > 0.6
    assert len(np.unique(golden.potentials)) > 2


def test_an_activation_at_the_end_is_left_out_where_potentials_are_read():
    steps = 4
    network = traced(cnn(end=[QCFS(steps, 0.5)]))
    spiking = converted(network, Conversion(), steps)
    assert spiking.layers[-1].neuron == NeuronSpec.integrator()
    bare = converted(traced(cnn()), Conversion(), steps)
    frames = some_frames(spiking.input, steps)
    np.testing.assert_array_equal(
        snn(spiking, frames, steps).potentials, snn(bare, frames, steps).potentials
    )


def test_counts_need_an_activation():
    with pytest.raises(SpikewrightError, match="layer 8: is linear, so it has no counts"):
        convert(traced(cnn()), Conversion.named(readout="counts"))


# ------------------------------------------------------------------------------------------ pooling


@pytest.mark.parametrize(
    ("choices", "smax"),
    [
        ({"neuron": "if"}, 1),
        ({"neuron": "hpc", "smax": 8}, 8),
        ({"neuron": "qffs"}, 1),
        ({"neuron": "ca-lif", "smax": 2}, 2),
    ],
)
def test_max_pools_become_neurons(choices, smax):
    steps = 6
    spiking = converted(traced(cnn(pool=nn.MaxPool2d)), Conversion.named(**choices), steps)
    assert [layer.name for layer in spiking.layers] == ["0", "0.pool", "3", "6", "8"]
    source, pool, target = spiking.layers[:3]
    assert pool.neuron == NeuronSpec.max_pool(smax)
    assert pool.shape == (6, 3, 3)
    assert [s.source for s in target.synapses] == [1]
    np.testing.assert_array_equal(pool.threshold, source.threshold)
    conversion = Conversion.named(**choices)
    settle = conversion.settle_steps(spiking, steps)
    network = quantise(spiking, steps=steps, settle=settle)
    layer = network.layers[1]
    assert layer.synapses[0].pool.kind is PoolKind.MAX
    assert (layer.threshold == 1).all()
    assert quantisation_error(spiking, network)["0.pool"]["weight_rms"] == 0
    # In the end the pool has sent as much as the greatest of each window.
    frames = some_frames(spiking.input, steps)
    golden = Golden(network).run(frames, trace=True)
    real = snn(spiking, frames, steps, settle=settle, dtype=torch.float64)
    for before, after in (
        (golden.trace[0].spikes.sum(1), golden.trace[1].spikes.sum(1)),
        (real.counts[0], real.counts[1]),
    ):
        windows = before[:, :, :6, :6].reshape(len(frames), 6, 3, 2, 3, 2)
        np.testing.assert_array_equal(after, windows.max((3, 5)))
        assert len(np.unique(after)) > 2


def test_changes_of_a_maximum_that_are_no_power_of_two():
    """The alphabet caveat: HPC spikes of 4 change a maximum by 3, too, which goes as digits."""
    steps = 8
    changes = set()
    conversion = Conversion.named(neuron="hpc", smax=4, code="poisson")
    for seed in range(6):
        network = traced(cnn(pool=nn.MaxPool2d, seed=seed))
        spiking = converted(network, conversion, steps)
        integer = quantise(spiking, steps=steps)
        frames = some_frames(spiking.input, steps, 8, seed)
        trace = Golden(integer).run(frames, trace=True).trace
        powers = set(np.unique(np.abs(trace[0].spikes)).tolist())
        assert powers <= {0, 1, 2, 4}
        changes |= set(np.unique(np.abs(trace[1].spikes)).tolist())
    assert 3 in changes
    assert max(changes) <= 4


def test_max_pools_of_tsc_neurons_are_refused():
    network = traced(cnn(pool=nn.MaxPool2d))
    with pytest.raises(SpikewrightError, match="layer 0: max pooling compares counts"):
        convert(network, Conversion.named(neuron="tsc"), steps=4)


def test_one_pool_serves_all_its_targets():
    network = traced(cnn(pool=nn.MaxPool2d))
    first, second, *_ = network.layers
    twice = dataclasses.replace(second, synapses=2 * second.synapses)
    both = FloatNetwork(network.input, (first, twice, *network.layers[2:]))
    layers = converted(both, Conversion(), 4).layers
    assert [layer.name for layer in layers] == ["0", "0.pool", "3", "6", "8"]
    assert [s.source for s in layers[2].synapses] == [1, 1]


def test_average_pools_become_neurons_where_asked_for():
    steps = 6
    conversion = Conversion.named(neuron="ca-lif", pool_neurons=True)
    spiking = converted(traced(cnn()), conversion, steps)
    assert [layer.name for layer in spiking.layers] == ["0", "0.pool", "3", "6", "8"]
    pool = quantise(spiking, steps=steps).layers[1]
    assert pool.neuron == NeuronSpec.calcium(1, Rounding.DRAIN, gated=False)
    # Ca-LIF Eq. 6: weights of 1, a threshold of p^2, no bias.
    assert pool.threshold.tolist() == [4] * 6
    assert not pool.bias.any()
    np.testing.assert_array_equal(pool.synapses[0].weight[:, :, 0, 0], np.eye(6))
    assert (pool.synapses[0].shift, pool.synapses[0].pool.size) == (0, (2, 2))
    three = converted(traced(cnn()), Conversion.named(neuron="ca-lif"), steps)
    assert [layer.name for layer in three.layers] == ["0", "3", "6", "8"]


# -------------------------------------------------------------------------------- steps, thresholds


def test_a_short_settle_phase_is_warned_about_and_refused_where_exact():
    network = traced(cnn(4))
    text = "settle: 4 steps after the input, but exact counts can take 8 in 4 layers"
    with pytest.warns(ConversionWarning, match=text):
        convert(network, Conversion.named(neuron="qffs"), steps=4)
    with pytest.raises(SpikewrightError, match=r"settle: 7 steps .* take 8 .*; give at least 8"):
        convert(network, Conversion.named(neuron="qffs", settle=7, exact=True), steps=4)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        convert(network, Conversion.named(neuron="qffs", settle=8), steps=4)
        convert(network, Conversion.named(neuron="qffs", exact=True), steps=4)


@pytest.mark.parametrize("neuron", ["qffs", "ca-lif", "tsc"])
def test_steps_are_needed(neuron):
    with pytest.raises(SpikewrightError, match=f"{neuron} neurons and direct input need the num"):
        convert(traced(cnn()), Conversion.named(neuron=neuron))
    with pytest.raises(SpikewrightError, match="if neurons and events input need"):
        convert(traced(cnn(), 1), Conversion.named(code="events"))


def test_thresholds_of_relu_layers_for_tsc_are_a_share_of_the_greatest():
    network = traced(cnn(activation=lambda _: nn.ReLU()))
    images = some_frames(network.input, 1, 50)

    def threshold(**options):
        choices = {k: v for k, v in options.items() if k in ("neuron", "alpha")}
        percentile = options.get("percentile")
        made = convert(
            network,
            Conversion.named(**choices),
            steps=4,
            calibration=images,
            percentile=percentile,
        )
        return made.layers[0].threshold[0]

    greatest = threshold(percentile=100)
    assert threshold(neuron="tsc") == pytest.approx(0.8 * greatest)
    assert threshold(neuron="tsc", alpha=0.5) == pytest.approx(0.5 * greatest)
    assert threshold(neuron="tsc", percentile=90) == pytest.approx(0.8 * threshold(percentile=90))
    assert threshold() == threshold(percentile=99.9) < greatest


def test_raw_events_are_calibrated_by_their_rate():
    network = traced(cnn(activation=lambda _: nn.ReLU()), bits=1)
    conversion = Conversion.named(code="events")
    events = some_frames(dataclasses.replace(network.input, code=InputCode.EVENTS), 3, 40)
    spiking = convert(network, conversion, steps=3, calibration=events, percentile=100)
    rates = events.reshape(40, 3, 2, SIDE, SIDE).mean(1)
    mean, scale = (np.array(v)[:, None, None] for v in (network.input.mean, network.input.scale))
    first = FloatNetwork(network.input, network.layers[:1])
    values = ann_forward(first, torch.tensor((rates - mean) * scale))
    assert spiking.layers[0].threshold[0] == pytest.approx(values.max().item(), rel=1e-5)
    with pytest.raises(SpikewrightError, match=r"uint8 \(N, 6, 9, 9\)"):
        convert(network, conversion, steps=3, calibration=events[:, :2])


def test_raw_events_are_single_bits():
    with pytest.raises(SpikewrightError, match="raw events are 0 or 1, not 8 bits"):
        convert(traced(cnn()), Conversion.named(code="events"), steps=3)


def test_models_are_saved_and_read(tmp_path):
    conversion = Conversion.named(neuron="ca-lif", pool_neurons=True, code="bernoulli", seed=77)
    spiking = converted(traced(cnn()), conversion, 4)
    spiking.save(tmp_path / "float.npz")
    again = FloatNetwork.load(tmp_path / "float.npz")
    assert again.input == spiking.input
    assert [layer.neuron for layer in again.layers] == [layer.neuron for layer in spiking.layers]
    assert again.layers[1].neuron.model is NeuronModel.CALCIUM


def test_trained_activations_are_saved_and_read(tmp_path):
    network = traced(cnn(activation=lambda lam: QReLU(3, 4, lam)))
    network.save(tmp_path / "float.npz")
    for layer, known in zip(
        FloatNetwork.load(tmp_path / "float.npz").layers, network.layers, strict=True
    ):
        assert (layer.activation.kind, layer.activation.levels, layer.activation.smax) == (
            known.activation.kind,
            known.activation.levels,
            known.activation.smax,
        )
    assert network.layers[0].activation.smax == 4


def test_a_file_from_before_smax_is_read(tmp_path):
    network = traced(cnn(3))
    network.save(tmp_path / "float.npz")
    arrays = dict(np.load(tmp_path / "float.npz"))
    header = json.loads(str(arrays["header"]))
    for layer in header["network"]["layers"]:
        del layer["activation"]["smax"]
    np.savez(tmp_path / "old.npz", **{**arrays, "header": np.array(json.dumps(header))})
    again = FloatNetwork.load(tmp_path / "old.npz")
    x = torch.rand(2, 2, SIDE, SIDE)
    assert torch.equal(ann_forward(again, x), ann_forward(network, x))
