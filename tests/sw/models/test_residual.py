"""Layers of several synapse groups, from torch to integers, and the networks that have them."""

import dataclasses
import itertools
import random
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from spikewright import Conversion, SpikewrightError
from spikewright.network import InputSpec, Layer, Network, NeuronSpec, Pool, Synapse
from spikewright.network.conversion import drive
from spikewright.network.neuron import Negative
from spikewright.sim.ann import ann_forward
from spikewright.sim.float import snn
from spikewright.sim.golden.model import Golden
from spikewright.sw.activations import QCFS
from spikewright.sw.frontend.trace import trace
from spikewright.sw.models.options import Options
from spikewright.sw.models.residual import BasicBlock, SeparableBlock, mobilenet20, resnet11
from spikewright.sw.passes.convert import ConversionWarning, convert
from spikewright.sw.passes.quantise import group_scales, quantisation_error, quantise


def frames(shape, maximum, n=6, seed=0):
    return np.random.default_rng(seed).integers(maximum + 1, size=(n, *shape), dtype=np.uint8)


def converted(network, steps=6, **choices):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConversionWarning)
        return convert(network, Conversion.named(**choices), steps=steps)


def options(act=nn.ReLU, **sizes):
    """Options whose activations are made by `act`."""

    class Own(Options):
        def act(self, *, last=False):
            return act()

    return Own(**({"shape": (3, 32, 32), "norm": True} | sizes))


#  networks of integers: float and golden are equal


STEP = 96
"""Thresholds are this times a power of two, so that an identity's weight has seven bits.

A sum of two powers of two: dividing an integer by it, and multiplying again, is exact (Kahan).
"""


class Integers(nn.Module):
    """A residual block and a depthwise one of integers in units of the membranes.

    Every convolution has a weight of 127 in each channel; it reads a source of thresholds `theta`,
    so that its scale is one.
    """

    def __init__(self, rng, channels, projects, pools):
        super().__init__()
        self.theta = [STEP * 2 ** rng.randint(0, 3) for _ in range(5)]
        c = channels
        self.first = self.conv(rng, 2, c, 3, padding=1)
        self.conv1 = self.conv(rng, c, c, 3, self.theta[0], padding=1)
        stride = 2 if projects else 1
        self.conv2 = self.conv(rng, c, c, 3, self.theta[1], padding=1, stride=stride)
        self.shortcut = (
            self.conv(rng, c, c, 1, self.theta[0], stride=stride) if projects else nn.Identity()
        )
        self.depthwise = self.conv(rng, c, c, 3, self.theta[2], padding=1, groups=c)
        self.pool = nn.AvgPool2d(2) if pools else nn.Identity()
        self.last = self.conv(rng, c, 3, 1, self.theta[3] / (4 if pools else 1))
        self.acts = nn.ModuleList(nn.Hardtanh(0, theta) for theta in self.theta)

    @staticmethod
    def conv(rng, inputs, outputs, kernel, source=1.0, **options):
        made = nn.Conv2d(inputs, outputs, kernel, **options).double()
        numbers = np.random.default_rng(rng.getrandbits(32))
        weight = numbers.integers(-127, 128, made.weight.shape)
        weight[:, 0, 0, 0] = numbers.choice([-127, 127], outputs)
        made.weight.data = torch.tensor(weight / source)
        made.bias.data = torch.tensor(numbers.integers(-STEP, STEP, outputs)).double()
        return made

    def forward(self, x):
        x = self.acts[0](self.first(x))
        x = self.acts[2](self.conv2(self.acts[1](self.conv1(x))) + self.shortcut(x))
        x = self.acts[3](self.depthwise(x))
        return self.last(self.pool(x)).flatten(1)


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 2**32), st.integers(1, 4), st.booleans(), st.booleans(), st.sampled_from((1, 6))
)
def test_integers_stay_and_float_equals_golden(seed, channels, projects, pools, steps):
    module = Integers(random.Random(seed), channels, projects, pools)
    spec = InputSpec((2, 6, 6), bits=2, scale=(1.0, 1.0))
    network = trace(module, torch.rand(1, 2, 6, 6), input_spec=spec)
    spiking = converted(network, steps)
    integer = quantise(spiking, steps=steps)
    assert all(
        entry["weight_rms"] < 1e-12 for entry in quantisation_error(spiking, integer).values()
    )
    for layer in integer.layers:
        np.testing.assert_allclose(layer.unit, 1, rtol=1e-12)
    block = integer.layers[2]
    if not projects:
        # The identity keeps its seven bits; the convolution's last one is the membrane's.
        assert [s.shift for s in block.synapses] == [0, round(np.log2(module.theta[0] / STEP))]
        np.testing.assert_array_equal(
            block.synapses[1].weight[:, :, 0, 0], STEP * np.eye(channels, dtype=int)
        )
    pixels = frames((2, 6, 6), 3, seed=seed)
    real = snn(spiking, pixels, steps, dtype=torch.float64)
    golden = Golden(integer).run(pixels)
    for got, expected in zip(golden.spike_counts, real.spike_counts, strict=True):
        np.testing.assert_array_equal(got, expected)
    np.testing.assert_allclose(golden.potentials, real.potentials[:, -1], atol=1e-6)


@pytest.mark.parametrize(
    ("neuron", "shortcut"),
    [
        *itertools.product(("qffs", "ca-lif", "tsc"), ("identity", "projection")),
        *itertools.product(("qffs", "ca-lif"), ("max pool",)),
    ],
)
def test_exact_conversions_of_residual_blocks_give_the_quantised_ann(neuron, shortcut):
    """Counts are the activations' levels, and the levels of both branches add up."""
    torch.manual_seed(4)
    steps = 5

    def act(lam=0.6):
        return QCFS(steps - (neuron == "tsc"), lam)

    block = BasicBlock(5, 5, 1 if shortcut == "identity" else 2, options(act, norm=False))
    if shortcut == "max pool":
        block.shortcut = nn.MaxPool2d(2)
    net = nn.Sequential(nn.Conv2d(2, 5, 3), act(), block, nn.Flatten(), nn.LazyLinear(4))
    net(torch.rand(1, 2, 8, 8))
    for name, weight in net.named_parameters():
        if name.endswith("weight"):
            weight.data *= 3
    network = trace(net, torch.rand(1, 2, 8, 8))
    conversion = Conversion.named(neuron=neuron, exact=True)
    spiking = convert(network, conversion, steps=steps)
    pixels = frames((2, 8, 8), 255, n=12)
    settle = conversion.settle_steps(spiking, steps)
    result = snn(spiking, pixels, steps, settle=settle, dtype=torch.float64)
    expected = ann_forward(network, torch.tensor(pixels / 255)).numpy()
    got = result.potentials[:, -1] / drive(spiking, steps)
    np.testing.assert_allclose(got, expected, atol=1e-9)
    assert all(0.05 < (count > 0).mean() < 0.99 for count in result.counts)
    assert any(len(layer.synapses) == 2 for layer in spiking.layers)


#  scales and shifts of several groups


def residual_block(ratio=16.0, seed=3):
    """A converted network, with a shortcut `ratio` times the convolution beside it."""
    torch.manual_seed(seed)

    def act():
        return QCFS(4, 1.0)

    block = BasicBlock(12, 12, 1, options(act, norm=False))
    block.conv2.weight.data.uniform_(-1 / ratio, 1 / ratio)
    net = nn.Sequential(nn.Conv2d(2, 12, 3), act(), block, nn.Flatten(), nn.Linear(12 * 36, 5))
    return converted(trace(net, torch.rand(1, 2, 8, 8)))


@pytest.mark.parametrize("per_channel", [True, False])
@pytest.mark.parametrize("bits", [4, 8])
def test_a_shortcut_leaves_the_convolution_its_bits(bits, per_channel):
    spiking = residual_block()
    limit = 2 ** (bits - 1) - 1
    integer = quantise(spiking, steps=6, weight_bits=bits, per_channel=per_channel)
    report = quantisation_error(spiking, integer)["2.conv2"]
    conv, identity = integer.layers[2].synapses
    assert identity.shift - conv.shift == 4
    assert report["shift"] == conv.shift
    for synapse in (conv, identity):
        peaks = np.abs(synapse.weight).max(axis=(1, 2, 3))
        assert limit / 2 < peaks.min()
        assert peaks.max() <= limit
    # As good as uniform weights are at so many bits; four bits fewer would be 16 times worse.
    assert report["weight_rms"] < 1.2 * (0.5 / limit)
    assert report["bits"] == bits


def test_the_error_is_that_of_the_worse_group():
    spiking = residual_block()
    integer = quantise(spiking, steps=6)
    block = integer.layers[2]
    conv, identity = block.synapses
    less = dataclasses.replace(identity, weight=np.rint(0.8 * identity.weight))
    block = dataclasses.replace(block, synapses=(conv, less))
    layers = (*integer.layers[:2], block, *integer.layers[3:])
    report = quantisation_error(spiking, dataclasses.replace(integer, layers=layers))
    assert report["2.conv2"]["weight_rms"] == pytest.approx(0.2, rel=0.05)


def test_scales_of_groups():
    nothing = np.zeros(3)
    peaks = np.array([[1.0, 2.0, 4.0], [9.0, 16.0, 70.0], [0.0, 0.0, 0.0]])
    scale, further = group_scales(peaks, 7, nothing)
    assert further == [0, 3, 0]
    np.testing.assert_allclose(scale * 7, [9 / 8, 2, 70 / 8])
    scale, further = group_scales(peaks[:1], 7, np.array([0.2, 0.2, 0.2]))
    assert further == [0]
    np.testing.assert_allclose(scale * 7, [1.4, 2, 4])
    # A channel that vanished in one group says nothing, and seven bits are the most.
    scale, further = group_scales(np.array([[1e-9, 1.0, 1.0], [1e6, 1e6, 1e6]]), 7, nothing)
    assert further == [0, 7]
    np.testing.assert_allclose(scale * 7, 1e6 / 128)
    scale, further = group_scales(np.zeros((2, 3)), 7, nothing)
    assert further == [0, 0]
    assert not scale.any()


#  proven ranges


@pytest.mark.parametrize("seed", range(6))
def test_ranges_of_several_groups_are_the_extremes_of_all_spikes(seed):
    """Sources do as they like in every step, so brute force meets the proven bounds exactly."""
    rng = np.random.default_rng(seed)
    specs = [NeuronSpec.plain(), NeuronSpec.buffered(2, Negative.BELOW_ZERO)]
    values = [np.arange(2), np.arange(-2, 3)]
    ones = np.ones(2, int)
    layers = [
        Layer(f"source{i}", spec, (2, 1, 2), (Synapse(-1, weight),), 9 * ones, ones, 4 * ones)
        for i, spec in enumerate(specs)
        for weight in [rng.integers(-3, 4, (2, 1, 1, 1))]
    ]
    groups = (
        Synapse(0, rng.integers(-7, 8, (3, 2, 1, 2)), shift=1),
        Synapse(1, rng.integers(-7, 8, (3, 2, 1, 1)), pool=Pool((1, 2)), shift=3),
        Synapse(0, rng.integers(-7, 8, (3, 2, 1, 1)), stride=(1, 2)),
    )
    zeros = np.zeros(3, int)
    layers.append(Layer("sum", NeuronSpec.integrator(), (3, 1, 1), groups, zeros, zeros + 2, zeros))
    network = Network(InputSpec((1, 1, 2), bits=1), 1, 5, tuple(layers))
    currents = []
    for first in itertools.product(values[0], repeat=4):
        a = np.reshape(first, (2, 2))
        fixed = 2 * np.einsum("ocx,cx->o", groups[0].weight[:, :, 0], a)
        fixed = fixed + groups[2].weight[:, :, 0, 0] @ a[:, 0]
        for second in itertools.product(values[1], repeat=4):
            b = np.reshape(second, (2, 2))
            currents.append(fixed + 8 * groups[1].weight[:, :, 0, 0] @ b.sum(1))
    low, high = network.ranges.layers[-1].current
    assert (low <= np.min(currents, 0)).all()
    assert (high >= np.max(currents, 0)).all()
    # Groups of one source are bounded one by one; without the third the bound is met.
    rest = dataclasses.replace(layers[-1], synapses=groups[:2])
    network = dataclasses.replace(network, layers=(*layers[:2], rest))
    third = np.array(
        [
            np.minimum(groups[2].weight, 0).sum((1, 2, 3)),
            np.maximum(groups[2].weight, 0).sum((1, 2, 3)),
        ]
    )
    less_low, less_high = network.ranges.layers[-1].current
    np.testing.assert_array_equal(low - less_low, third[0])
    np.testing.assert_array_equal(high - less_high, third[1])
    met = [
        2 * np.einsum("ocx,cx->o", groups[0].weight[:, :, 0], np.reshape(a, (2, 2)))
        + 8 * groups[1].weight[:, :, 0, 0] @ np.reshape(b, (2, 2)).sum(1)
        for a in itertools.product(values[0], repeat=4)
        for b in itertools.product(values[1][[0, -1]], repeat=4)
    ]
    np.testing.assert_array_equal(less_low, np.min(met, 0))
    np.testing.assert_array_equal(less_high, np.max(met, 0))
    np.testing.assert_array_equal(
        network.ranges.layers[-1].potential[0], np.minimum(less_low + 2, 0)
    )
    np.testing.assert_array_equal(
        network.ranges.layers[-1].potential[1], np.maximum(less_high + 2, 0)
    )


#  the networks


NETS = {
    resnet11: [64, *(64, 64), *(128, 128, 128), *(256, 256, 256), *(512, 512, 512), 1024, 10],
    mobilenet20: [
        *(32, *(32, 64), *(64, 128), *(128, 128), *(128, 256), *(256, 256)),
        *(*(256, 512), *(512, 512), *(512, 1024), *(1024, 1024), 10),
    ],
}
"""Output channels of all layers with weights, of the shortcuts last in their blocks."""

LAYERS = {resnet11: 11, mobilenet20: 20}


@pytest.mark.parametrize("net", NETS)
def test_sizes(net):
    module = net(options(lambda: QCFS(4, 1.0)))
    weighted = [m for m in module.modules() if isinstance(m, (nn.Conv2d, nn.Linear))]
    assert [m.weight.shape[0] for m in weighted] == NETS[net]
    names = [name for name, m in module.named_modules() if m in set(weighted)]
    assert sum("shortcut" not in name for name in names) == LAYERS[net]
    hidden = sum(isinstance(m, QCFS) for m in module.modules())
    assert hidden == LAYERS[net] - 1
    halved = [m.weight.shape[0] for m in net(options(width=0.5)).modules() if hasattr(m, "weight")]
    assert halved[0] == NETS[net][0] // 2


@pytest.mark.parametrize("norm", [True, False])
@pytest.mark.parametrize("net", NETS)
def test_every_hidden_layer_has_its_norm_next_to_it(net, norm):
    module = net(options(width=0.05, norm=norm))
    found = 0
    for parent in module.modules():
        children = dict(parent.named_children())
        for name, layer in children.items():
            if not isinstance(layer, (nn.Conv2d, nn.Linear)) or layer is module[-1]:
                continue
            norms = name.replace("conv", "norm").replace("layer", "norm")
            norms = "shortcut_norm" if name == "shortcut" else norms
            beside = list(children)[list(children).index(name) + 1]
            assert beside == norms
            assert isinstance(children[norms], nn.modules.batchnorm._BatchNorm) == norm
            assert (layer.bias is None) == (norm and isinstance(layer, nn.Conv2d))
            found += 1
    assert found == len(NETS[net]) - 1
    names = {name for name, _ in net(options(width=0.05, norm=False)).named_parameters()}
    assert {name for name, _ in module.named_parameters() if "norm" not in name} <= names


@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize("bits", [8, 4])
def test_the_networks_become_integers_that_fire_in_every_layer(net, bits):
    torch.manual_seed(0)
    shape = (1, 28, 28)
    module = net(options(lambda: QCFS(8, 3.0), shape=shape, classes=4, width=0.1))
    with torch.no_grad():  # statistics as if it had been trained
        for _ in range(60):
            module(torch.rand(16, *shape))
    network = trace(module.eval(), torch.rand(1, *shape))
    assert [len(layer.synapses) for layer in network.layers] == (
        [1, 1, 2, 1, 2, 1, 2, 1, 2, 1, 1] if net is resnet11 else [1] * 20
    )
    spiking = converted(network, 8)
    integer = quantise(spiking, steps=8, weight_bits=bits)
    for entry in quantisation_error(spiking, integer).values():
        assert entry["weight_rms"] < 2.0**-bits * 3
        assert entry["bits"] == bits
    pixels = frames(shape, 255, n=4)
    real = snn(spiking, pixels, 8)
    golden = Golden(integer).run(pixels)
    for got, expected in zip(golden.spike_counts, real.spike_counts, strict=True):
        assert expected.any()
        assert got.mean() == pytest.approx(expected.mean(), rel=0.2)


@pytest.mark.parametrize("net", NETS)
def test_bad_sizes_are_refused(net):
    with pytest.raises(SpikewrightError) as error:
        net(options(shape=(1, 28, 15)))
    assert str(error.value) == ("takes images of at least 16x16, not 28x15")
    with pytest.raises(SpikewrightError, match=r"^width 0: must be positive, at most 64$"):
        options(width=0)


def test_odd_images_and_blocks():
    for shape in ((1, 17, 30), (2, 19, 16)):
        for net in NETS:
            module = net(options(shape=shape, classes=3, width=0.03)).eval()
            assert module(torch.rand(2, *shape)).shape == (2, 3)
    assert SeparableBlock(4, 8, 2, options())(torch.rand(2, 4, 7, 7)).shape == (
        *(2, 8),
        *(4, 4),
    )
