"""Networks to train and their files."""

import json
import math

import pytest
import safetensors
import safetensors.torch
import torch
from torch.nn.utils import parametrize

from spikewright.errors import SpikewrightError
from spikewright.records import SCHEMA
from spikewright.sw.activations import LSQ, NQ, QCFS, FakeQuant, QReLU
from spikewright.sw.models import nets
from spikewright.sw.models.options import ACTIVATIONS


def make(name, shape=None, **options):
    """The net as trained by default: images of its data set, norms in the deep ones."""
    deep = name not in ("mlp", "lenet5")
    own = {"shape": shape or ((3, 32, 32) if deep else (1, 28, 28)), "norm": deep}
    return nets.build({"schema": SCHEMA, "net": name, "kwargs": own | options})


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32)])
@pytest.mark.parametrize("norm", [False, True])
@pytest.mark.parametrize("width", [1.0, 0.5, 0.01])
@pytest.mark.parametrize("name", list(nets.NETS))
def test_nets_take_their_images_and_give_the_classes(name, width, norm, shape):
    module = make(name, shape, classes=7, width=width, norm=norm).eval()
    assert module(torch.rand(2, *shape)).shape == (2, 7)


def test_lenet5_has_the_layers_of_the_paper():
    sizes = [tuple(p.shape) for p in make("lenet5").parameters() if p.ndim > 1]
    assert sizes == [(6, 1, 5, 5), (16, 6, 5, 5), (120, 400), (84, 120), (10, 84)]
    wide = [p.shape[0] for p in make("lenet5", width=1.5).parameters() if p.ndim > 1]
    assert wide == [9, 24, 180, 126, 10]


def test_activations_are_as_asked():
    levels = [m.levels for m in make("lenet5", levels=3).modules() if isinstance(m, QCFS)]
    assert levels == [3] * 4
    kinds = [type(m) for m in make("mlp", activation="relu").modules()]
    assert torch.nn.ReLU in kinds
    assert QCFS not in kinds


def test_every_method_has_its_activation():
    expected = {
        "qcfs": (QCFS, 7),
        "nq": (NQ, 7),
        "hpc": (QReLU, 8),
        "qffs": (LSQ, 7),
        "calif": (FakeQuant, 255),
    }
    for method, (kind, levels) in expected.items():
        net = make("mlp", activation=method, levels=levels, smax=4)
        (found,) = [m for m in net.modules() if type(m) is kind]
        assert found.levels == levels
        assert not parametrize.is_parametrized(net.layer1, "weight")
    assert set(expected) | {"relu"} == set(ACTIVATIONS)
    assert make("lenet5", activation="hpc", levels=8, smax=4).act1.smax == 4


def test_vggs_have_the_layers_they_say():
    def outputs(net):
        return [p.shape[0] for p in net.parameters() if p.ndim > 1]

    assert outputs(make("vgg9", width=0.25)) == [16, 16, 32, 32, 64, 64, 64, 256, 10]
    small = make("vgg8")
    assert outputs(small) == [16, 16, 48, 48, 80, 80, 80, 10]
    pooled = make("vgg7")
    assert outputs(pooled) == [32, 32, 96, 96, 128, 128, 10]
    kinds = [type(m) for name, m in pooled.named_children() if name.startswith("pool")]
    assert kinds == [torch.nn.MaxPool2d] * 3
    for net, low, high in ((small, 170_000, 185_000), (pooled, 375_000, 385_000)):
        assert low < sum(p.numel() for p in net.parameters() if p.ndim > 1) < high
    sizes = []
    for name, module in small.named_children():
        if name.startswith("act"):
            module.register_forward_hook(lambda *hook: sizes.append(hook[2].shape[2]))
    small.eval()(torch.rand(1, 3, 32, 32))
    assert sizes == [32, 32, 16, 16, 8, 8, 8]


@pytest.mark.parametrize("name", list(nets.NETS))
def test_folding_keeps_the_outputs_and_fits_the_net_without_norms(name):
    shape = (3, 32, 32)
    torch.manual_seed(4)
    kwargs = {"shape": shape, "width": 0.1, "activation": "relu"}
    trained = make(name, norm=True, **kwargs).train()
    for _ in range(3):
        trained(torch.rand(8, *shape))  # norms that are not the identity
    trained.eval()
    folded = nets.fold(trained)
    x = torch.rand(4, *shape)
    assert torch.allclose(folded(x), trained(x), atol=1e-5)
    norms = (torch.nn.BatchNorm1d, torch.nn.BatchNorm2d)
    assert not any(isinstance(m, norms) for m in folded.modules())
    assert any(isinstance(m, norms) for m in trained.modules())
    plain = make(name, norm=False, **kwargs)
    nets.fill(plain, folded)
    assert torch.equal(plain(x), folded(x))


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_filling_goes_from_real_to_integer_weights_and_back(activation):
    kwargs = {"width": 0.3, "activation": activation, "levels": 0 if activation == "relu" else 15}
    kwargs["smax"] = 1
    torch.manual_seed(4)
    real = make("mlp", **kwargs).eval()
    for parameter in (p for p in real.parameters() if p.ndim == 0):
        parameter.data.fill_(1.5)
    rough = make("mlp", weight_bits=3, **kwargs)
    nets.fill(rough, real)
    assert torch.equal(rough.layer1.parametrizations.weight.original, real.layer1.weight)
    assert not torch.equal(rough.layer1.weight, real.layer1.weight)
    again = make("mlp", **kwargs)
    nets.fill(again, rough)
    x = torch.rand(5, 1, 28, 28)
    assert torch.equal(again.eval()(x), rough.eval()(x))
    assert not torch.equal(again(x), real(x))


def test_counts_need_an_activation_at_the_end():
    assert make("mlp", counts=True).act.levels == 8
    assert make("lenet5", activation="qffs", levels=3, counts=True).act.levels == 7  # one bit more
    assert make("mlp", activation="calif", levels=255, counts=True).act.levels == 255
    assert isinstance(make("mlp", activation="relu", counts=True)[-1], torch.nn.ReLU)


def test_impossible_levels_are_refused():
    for method in ("qffs", "calif"):
        for levels in (0, 4, 6):
            with pytest.raises(
                SpikewrightError, match=rf"^net mlp: levels {levels}: b bits have 2\*\*b - 1"
            ):
                make("mlp", activation=method, levels=levels)
    for levels in (1, 5):
        with pytest.raises(
            SpikewrightError, match=rf"^net mlp: levels {levels}: QReLU has T \* Smax"
        ):
            make("mlp", activation="hpc", levels=levels)


def test_what_is_not_known_is_refused():
    with pytest.raises(
        SpikewrightError, match=r"^net mlp: activation gelu: is not known; choose one of qcfs"
    ):
        make("mlp", activation="gelu")
    with pytest.raises(
        SpikewrightError, match=r"^net lenet5: takes 28x28 or 32x32 images, not 30x30"
    ):
        make("lenet5", (1, 30, 30))
    with pytest.raises(SpikewrightError, match=r"^net mlp: width 0.0: must be positive"):
        make("mlp", width=0)
    with pytest.raises(
        SpikewrightError, match=r"^net mlp: width inf: must be positive, at most 64"
    ):
        make("mlp", width=math.inf)


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"net": "mlp"}, "has no schema version"),
        ({"schema": SCHEMA + 1, "net": "mlp"}, f"version {SCHEMA + 1} is newer than {SCHEMA}"),
        ({"schema": SCHEMA, "net": "vgg"}, "^net vgg: is not known; choose one of mlp, lenet5"),
        ({"schema": SCHEMA, "net": "mlp", "kwargs": {"depth": 3}}, "^net mlp: .*depth"),
        ({"schema": SCHEMA, "net": "mlp", "kwargs": 3}, "^net mlp: .*retrain it"),
        ({"schema": SCHEMA, "net": "mlp", "kwargs": {"shape": 3}}, "^net mlp: .*retrain it"),
        ({"schema": SCHEMA, "net": "mlp", "kwargs": {"shape": [3]}}, "^net mlp: .*retrain it"),
    ],
)
def test_other_metadata_are_refused(metadata, message):
    with pytest.raises(SpikewrightError, match=message):
        nets.build(metadata)


def test_what_is_saved_can_be_built_again(tmp_path):
    path = tmp_path / "net.safetensors"
    kwargs = {"shape": [3, 32, 32], "classes": 5, "levels": 4, "width": 0.5, "norm": True}
    metadata = {"schema": SCHEMA, "net": "lenet5", "kwargs": kwargs, "training": {"seed": 3}}
    module = nets.build(metadata)
    nets.save(module, metadata, path)
    with safetensors.safe_open(path, "pt") as file:
        stored = json.loads(file.metadata()["spikewright"])
    assert stored == metadata
    again = nets.build(stored)
    again.load_state_dict(safetensors.torch.load_file(path))
    x = torch.rand(2, 3, 32, 32)
    assert torch.equal(again.eval()(x), module.eval()(x))
