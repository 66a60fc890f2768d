"""The choices of a conversion: defaults as in the papers, words, and every refusal."""

from typing import Any

import numpy as np
import pytest

from spikewright import Conversion, SpikewrightError
from spikewright.network import (
    INPUT,
    Activation,
    ActivationKind,
    FloatLayer,
    FloatNetwork,
    FloatSynapse,
    InputCode,
    InputSpec,
    NeuronSpec,
)
from spikewright.network.conversion import NEURONS, Readout, drive, event_value, exact_settle
from spikewright.network.neuron import Negative, Rounding, Tie, Window
from spikewright.records import from_json, to_json
from spikewright.sim.golden.model import Golden
from spikewright.sw.passes.convert import convert
from spikewright.sw.passes.quantise import quantise

QCFS = Activation(ActivationKind.QCFS, np.ones(1), 4)
RELU = Activation(ActivationKind.RELU)
QRELU = Activation(ActivationKind.QRELU, np.ones(1), 32, 4)


def named(**choices):
    return Conversion.named(**choices)


def test_defaults_are_the_papers():
    assert Conversion() == named() == named(neuron="if", code="direct")
    assert named().hidden(8) == NeuronSpec.plain()
    assert named(neuron="hpc").hidden(8) == NeuronSpec.buffered(2, Negative.BELOW_ZERO)
    assert named(neuron="qffs").hidden(3) == NeuronSpec.bounded(3)
    assert named(neuron="ca-lif").hidden(8) == NeuronSpec.calcium(1, Rounding.DRAIN, zmax=8)
    assert named(neuron="tsc").hidden(8) == NeuronSpec.tsc()
    assert named(neuron="tsc", window="overlapped").hidden(8).tie is Tie.HOLDS
    assert {named(neuron=model.value).last(8) for model in NEURONS} == {NeuronSpec.integrator()}
    starts = (
        (RELU, [0.5, 0, 0.5, 0, 0, 0]),
        (QCFS, [0.5, 0.5, 0.5, 0, 0.5, 0]),
        (QRELU, [0, 0, 0, 0, 0, -0.5]),
    )
    for activation, expected in starts:
        assert [named(neuron=m.value).start(activation) for m in NEURONS] == expected
    shares = [(named(neuron=m.value).share, named(neuron=m.value).percentile) for m in NEURONS]
    assert shares == [(1, 99.9)] * 4 + [(0.8, 100), (1, 99.9)]


def trained(*activations):
    synapse = [FloatSynapse(i - 1, np.ones((1, 1, 1, 1))) for i in range(len(activations))]
    layers = [
        FloatLayer(f"{i}", (1, 1, 1), (synapse[i],), np.zeros(1), activation)
        for i, activation in enumerate(activations)
    ]
    return FloatNetwork(InputSpec((1, 1, 1)), tuple(layers))


def test_open_choices_follow_the_training():
    none = Activation(ActivationKind.NONE)
    smax8 = Activation(ActivationKind.QRELU, np.ones(1), 32, 8)
    wide = Activation(ActivationKind.QCFS, np.ones(1), 9)
    net = trained(QRELU, QRELU, none)
    hpc = named(neuron="hpc")
    assert hpc.suited(net, 8) == named(neuron="hpc", smax=4)
    assert named(neuron="hpc", smax=1).suited(net, 8).smax == 1
    assert hpc.suited(trained(QRELU, smax8, none), 8) == hpc  # they disagree
    assert hpc.suited(trained(QCFS, none), 8) == hpc

    qffs, counts = named(neuron="qffs"), named(neuron="qffs", readout="counts")
    assert qffs.suited(trained(QCFS, QCFS, none), 8) == named(neuron="qffs", zmax=4)
    assert qffs.suited(trained(QCFS, none), 3).zmax == 3  # T steps give no more
    assert qffs.suited(trained(QCFS, RELU, none), 8).zmax == 4
    assert qffs.suited(trained(QCFS, wide, none), 8) == qffs
    assert qffs.suited(trained(RELU, none), 8) == qffs
    assert named(neuron="qffs", zmax=2).suited(trained(QCFS, none), 8).zmax == 2
    assert counts.suited(trained(QCFS, QCFS), 4).last(4).zmax == 4
    assert counts.suited(trained(QCFS, wide), 4).last(4).zmax == 9
    assert counts.suited(trained(QCFS, wide), 3).last(3).zmax == 7  # one bit more at most
    assert counts.suited(trained(QCFS, RELU), 4).last(4).zmax == 9
    given = named(neuron="qffs", readout="counts", output_zmax=5)
    assert given.suited(trained(QCFS, QCFS), 4).last(4).zmax == 5

    for name in ("if", "ca-lif", "tsc"):
        assert named(neuron=name).suited(net, 8) == named(neuron=name)


def test_choices_reach_the_neuron():
    hpc = named(neuron="hpc", smax=8, negative="at-threshold", tie="holds", initial=0.25)
    assert hpc.hidden(4) == NeuronSpec.buffered(8, Negative.AT_THRESHOLD, Tie.HOLDS)
    assert hpc.start(RELU) == hpc.start(QCFS) == 0.25
    assert hpc.spike(4) == 1 / 8
    qffs = named(neuron="qffs", zmax=7, readout="counts")
    assert (qffs.hidden(3), qffs.last(3)) == (NeuronSpec.bounded(7), NeuronSpec.bounded(15))
    assert (qffs.spike(3), qffs.spike(3, last=True)) == (3 / 7, 3 / 15)
    assert named(neuron="qffs", readout="counts", output_zmax=5).last(3).zmax == 5
    calcium = named(neuron="ca-lif", smax=4, rounding="one", zmax="none", readout="counts")
    assert calcium.hidden(8) == calcium.last(8) == NeuronSpec.calcium(4, Rounding.ONE)
    assert calcium.spike(8) == 1
    assert calcium.pool == NeuronSpec.calcium(4, Rounding.ONE, gated=False)
    tsc = named(neuron="tsc", window="overlapped", latch=True, tie="fires")
    assert tsc.hidden(8) == NeuronSpec.tsc(Window.OVERLAPPED, latch=True, tie=Tie.FIRES)


def test_json_round_trip():
    for choices in (
        {},
        {"neuron": "qffs", "settle": 2, "readout": "counts", "output_zmax": 7, "code": "isi"},
        {"neuron": "ca-lif", "zmax": "none", "rounding": "one", "pool_neurons": True, "seed": 9},
        {"neuron": "tsc", "window": "overlapped", "latch": True, "code": "poisson"},
    ):
        conversion = named(**choices)
        text = to_json(conversion)
        data = from_json(text, dict[str, Any], "conversion", oldest=None)
        assert from_json(text, Conversion, "conversion", oldest=None) == conversion
        assert Conversion.named(**data) == conversion
        assert set(data) == set(Conversion.__dataclass_fields__)
    assert named(code="poisson").code is InputCode.BERNOULLI
    assert from_json('{"neuron": "hpc"}', Conversion, "", oldest=None) == named(neuron="hpc")


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"neuron": "lif"}, "'lif' is not known; choose one of if, hpc, qffs, ca-lif, tsc"),
        ({"neuron": "integrator"}, "neuron integrator: no activation becomes one"),
        ({"code": "morse"}, "'morse' is not known; choose one of direct, isi, tsc, bernoulli"),
        ({"leak": 3}, "leak is not a choice"),
        ({"smax": 2}, "neuron if: smax is not a choice of this model, only of hpc, ca-lif"),
        ({"neuron": "hpc", "reset": "zero"}, "reset is not a choice of this model, only of if"),
        ({"neuron": "ca-lif", "negative": "none"}, "negative is not a choice"),
        ({"neuron": "ca-lif", "settle": 3}, "settle is not a choice of this model, only of qffs"),
        ({"neuron": "if", "pool_neurons": True}, "pool neurons is not a choice"),
        ({"neuron": "hpc", "smax": 3}, "neuron hpc: Smax 3 is not a power of two from 1 to 8"),
        ({"neuron": "hpc", "smax": 16}, "Smax 16 is not a power of two"),
        ({"neuron": "qffs", "zmax": 0}, "neuron qffs: Zmax 0; it must be at least 1"),
        ({"neuron": "qffs", "zmax": "none"}, "neuron qffs: the counts need Zmax"),
        ({"neuron": "qffs", "output_zmax": 3}, "output zmax: there is none without counts"),
        ({"neuron": "qffs", "output_zmax": 0, "readout": "counts"}, "Zmax 0; it must be at least"),
        ({"neuron": "qffs", "settle": -1}, "settle: -1 steps"),
        ({"neuron": "tsc", "latch": True}, "the latch belongs to overlapped windows"),
        ({"neuron": "tsc", "window": "overlapped", "readout": "counts"}, "have no counts"),
        ({"initial": 1.0}, r"V\(0\): 1 thresholds"),
        ({"initial": float("nan")}, r"V\(0\): nan thresholds"),
        ({"alpha": 0.0}, "alpha 0: must be above 0"),
        ({"seed": 0}, "seed 0: is outside"),
        ({"exact": True}, "exact: the counts of if neurons depend on when spikes come"),
        ({"neuron": "hpc", "exact": True}, "exact: the counts of hpc neurons"),
        ({"neuron": "ca-lif", "exact": True, "rounding": "one"}, "exact: rounding one"),
        ({"neuron": "ca-lif", "exact": True, "zmax": "none"}, "exact: .* need Zmax"),
        ({"neuron": "ca-lif", "exact": True, "pool_neurons": True}, "exact: pool neurons"),
        (
            {"neuron": "qffs", "settle": 10**9},
            "settle 1000000000: expected int <= 4096",
        ),
        ({"neuron": "hpc", "smax": True}, "conversion: smax True: expected int"),
        ({"neuron": "qffs", "zmax": 10**30}, "conversion: zmax 1000"),
        ({"neuron": "tsc", "exact": True, "window": "overlapped"}, "exact: overlapped"),
    ],
)
def test_what_cannot_work_is_refused(choices, message):
    with pytest.raises(SpikewrightError, match=message) as error:
        named(**choices)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("choices", "steps", "message"),
    [
        ({}, 0, "T is 0; at least 1"),
        ({"neuron": "tsc"}, 1, "T is 1; a TSC pair encloses"),
        ({"code": "tsc"}, 1, "T is 1; a TSC pair encloses"),
        ({}, 10**9, "T is 1000000000; at most 4096"),
        ({"neuron": "ca-lif", "smax": 4}, 3, "Smax 4: Zmax 3 bounds the count"),
        ({"code": "isi"}, 257, "T is 257; the ISI encoder goes to 256"),
    ],
)
def test_times_that_cannot_work_are_refused(choices, steps, message):
    with pytest.raises(SpikewrightError, match=message):
        named(**choices).check_steps(steps)
    named(**choices).check_steps(256 if steps > 9 else 4)


# --------------------------------------------------------------------------------- events, settling


def chain(*specs, code=InputCode.DIRECT, bits=8):
    """Layers one behind the other with the neurons `specs`, of one neuron each."""
    weight = np.ones((1, 1, 1, 1))
    layers = tuple(
        FloatLayer(
            str(index),
            (1, 1, 1),
            (FloatSynapse(index - 1 if index else INPUT, weight),),
            np.zeros(1),
            RELU,
            spec,
            np.ones(1) if spec.fires else None,
            np.zeros(1),
        )
        for index, spec in enumerate(specs)
    )
    return FloatNetwork(InputSpec((1, 1, 1), bits, (0.5,), (3.0,), code), layers)


def test_all_events_of_a_pixel_bring_what_the_model_sees():
    """D times the input, whatever the code and the neuron."""
    from spikewright.sim.golden.encoders import encode

    steps, pixel = 6, 255
    for spec, drives in ((NeuronSpec.plain(), 6), (NeuronSpec.tsc(), 5)):
        for code in InputCode:
            bits = 1 if code is InputCode.EVENTS else 8
            network = chain(spec, NeuronSpec.integrator(), code=code, bits=bits)
            (value,) = event_value(network, steps)
            assert drive(network, steps) == drives
            if code is InputCode.DIRECT:
                assert value * pixel * steps == pytest.approx(drives * pixel * 0.5)
                continue
            shape = (steps if code is InputCode.EVENTS else 1, 1, 1, 1)
            frame = np.full(shape, network.input.maximum, np.uint8)
            spikes = encode(network.input, steps, frame).ravel().astype(int)
            held = spikes.cumsum() if code is InputCode.TSC else spikes
            total = value * held.sum()
            if code is InputCode.BERNOULLI:
                assert value == pytest.approx(256 * 0.5 * drives / steps)
            else:
                assert total == pytest.approx(drives * network.input.maximum * 0.5)


def test_settle_steps_that_exactness_needs():
    bounded, pool = NeuronSpec.bounded(3), NeuronSpec.max_pool()
    integrator = NeuronSpec.integrator()
    # An even drive leaves the first layer short of what T steps are too few for, and no more.
    assert exact_settle(chain(bounded, integrator), 3) == 0
    assert exact_settle(chain(bounded, integrator), 1) == 2
    assert exact_settle(chain(bounded, pool, bounded, integrator), 3) == 3
    assert exact_settle(chain(bounded, bounded, NeuronSpec.bounded(7)), 3) == 10
    assert exact_settle(chain(bounded, bounded, integrator, code=InputCode.ISI), 3) == 6


def test_settle_steps():
    network = chain(*3 * [NeuronSpec.bounded(3)], NeuronSpec.integrator())
    assert named().settle_steps(network, 3) == named(neuron="tsc").settle_steps(network, 3) == 0
    assert named(neuron="qffs").settle_steps(network, 3) == 3
    assert named(neuron="qffs", readout=Readout.COUNTS).settle_steps(network, 3) == 7
    assert named(neuron="qffs", exact=True).settle_steps(network, 3) == 6
    assert named(neuron="qffs", settle=1).settle_steps(network, 3) == 1


def test_burst_is_the_quantised_ann():
    """The golden model's counts are the levels of QCFS, those of QReLU rounded down."""
    conversion = named(neuron="burst")
    assert conversion.hidden(1) == NeuronSpec.burst(7)
    none = Activation(ActivationKind.NONE)
    assert conversion.suited(trained(QCFS, none), 1).hidden(1) == NeuronSpec.burst(4)
    with pytest.raises(SpikewrightError, match="burst neurons send all they have in one time step"):
        conversion.check_steps(2)
    with pytest.raises(SpikewrightError, match="tie is not a choice of this model"):
        named(neuron="burst", tie="holds")
    frames = np.arange(256, dtype=np.uint8).reshape(-1, 1, 1, 1)
    for activation, half in ((QCFS, 0.5), (QRELU, 0.0)):
        network = convert(trained(activation, none), conversion)
        counts = Golden(quantise(network, steps=1)).run(frames).spike_counts[0].ravel()
        levels = activation.levels
        exact = np.arange(256) / 255 * levels + half
        expected = np.clip(np.floor(exact), 0, levels)
        away = np.abs(exact - np.rint(exact)) > 0.02
        np.testing.assert_array_equal(counts[away], expected[away])
        assert set(counts) == set(range(levels + 1))
