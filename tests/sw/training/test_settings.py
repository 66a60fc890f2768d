"""Settings, and what follows from them."""

import pytest

import spikewright
from spikewright.app import cli, options
from spikewright.errors import SpikewrightError
from spikewright.sw.training import train
from spikewright.sw.training.settings import METHODS, Settings


@pytest.mark.parametrize(
    ("method", "levels", "steps", "neuron"),
    [
        ("qcfs", 8, 8, "if"),
        ("nq", 8, 8, "if"),
        ("hpc", 16, 8, "hpc"),
        ("qffs", 3, 3, "qffs"),
        ("calif", 255, 16, "ca-lif"),
        ("relu", 8, 32, "if"),
    ],
)
def test_a_method_has_its_papers_settings(method, levels, steps, neuron):
    settings = Settings(method)
    assert (settings.levels, settings.steps) == (levels, steps)
    assert settings.conversion.neuron.value == neuron
    kwargs = settings.metadata()["kwargs"]
    assert kwargs["activation"] == method
    assert kwargs.get("levels") == (None if method == "relu" else levels)
    assert f" --levels {levels} --steps {steps} " in settings.command


def test_what_follows_from_other_settings():
    assert Settings("hpc", steps=4).levels == 8
    assert Settings("hpc", steps=4).metadata()["kwargs"]["smax"] == 2
    assert Settings("hpc", levels=8).steps == 8  # judged at other T than trained for
    assert Settings("qffs", levels=7).steps == 7
    assert Settings("qffs", steps=5).levels == 3
    assert Settings("qcfs", steps=2).levels == 8
    assert Settings("qffs", counts=True).metadata()["kwargs"]["counts"] is True
    assert Settings("qffs", counts=True).conversion.readout.value == "counts"
    assert " --counts " in Settings(counts=True).command
    assert options.METHODS == METHODS


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"method": "lif"}, "^method lif: is not known; choose one of qcfs, nq, hpc, qffs, calif"),
        ({"net": "vgg"}, "^net vgg: is not known; choose one of mlp, lenet5"),
        ({"data": "imagenet"}, "^data imagenet: is not known"),
        ({"epochs": 0}, "^training: epochs 0: expected int >= 1"),
        ({"steps": -1}, "^training: steps -1: expected int >= 0"),
        ({"seed": -1}, "^training: seed -1: expected int >= 0"),
        ({"seed": 2**32}, "^training: seed 4294967296: expected int <= 4294967295"),
        ({"norm": True, "batch": 1}, "^batch 1: gives norm no variance"),
        ({"lr": 0.0}, "^training: lr 0.0: expected float > 0"),
        ({"lr": float("nan")}, "^training: lr nan: expected float > 0"),
        ({"epochs": 10**9}, "^training: epochs 1000000000: expected int <= 100000"),
        ({"steps": 10**9}, "^training: steps 1000000000: expected int <= 4096"),
        ({"weight_decay": float("nan")}, "^training: weight decay nan: expected float >= 0"),
        ({"schedule": "linear"}, "^schedule linear: is not known; choose one of cosine, one-cycle"),
        ({"judge": "test"}, "^judge test: is not known; choose one of snn, ann"),
        ({"smoothing": 1.0}, "^training: smoothing 1.0: expected float <= 0.9"),
        ({"cutout": -1}, "^training: cutout -1: expected int >= 0"),
        ({"clip": 0.0}, "^training: clip 0.0: expected float > 0"),
        ({"lr": float("inf")}, "^training: lr inf: expected float <= 1e"),
        ({"bits": 1}, "^training: bits 1: expected int >= 2"),
    ],
)
def test_impossible_settings_are_refused(settings, message):
    with pytest.raises(SpikewrightError, match=message):
        Settings(**settings)


def test_the_command_repeats_the_settings():
    command = Settings(lr=0.05, flip=True).command
    assert command.startswith("spikewright train --method qcfs --net lenet5 --data fashion-mnist ")
    assert " --lr 0.05 " in command
    assert " --flip " in command
    assert "--norm" not in command
    assert "--weight-decay 0.0001" in command


@pytest.mark.parametrize(
    ("method", "own", "given", "neuron", "steps", "bits"),
    [
        ("hpc", {"steps": 5}, [], "hpc", 5, 8),
        ("qffs", {}, [], "qffs", 3, 8),
        ("calif", {"bits": 4}, [], "ca-lif", 16, 4),
        ("hpc", {}, ["--neuron", "if", "-T", "6", "--bits", "3"], "if", 6, 3),
        ("hpc", {}, ["--smax", "4"], "hpc", 8, 8),
    ],
)
def test_compile_follows_the_training(folder, tmp_path, method, own, given, neuron, steps, bits):
    path = tmp_path / "net.safetensors"
    settings = Settings(method, "mlp", epochs=1, width=0.1, validation=100, **own)
    train.train(path, settings, data_dir=folder)
    assert cli.main(["compile", str(path), "-o", str(tmp_path / "out"), *given]) == 0
    build = spikewright.read_build(tmp_path / "out")
    spec = build.network.layers[0].neuron
    assert (spec.model.value, build.network.input_steps) == (neuron, steps)
    assert build.network.weight_bits == bits
    if neuron == "hpc":
        assert spec.smax == (4 if given else 2)


@pytest.mark.parametrize(
    "record",
    [
        None,
        [],
        {},
        {"settings": 3},
        {"settings": {"method": 3}},
        {"settings": {"norm": "yes"}},
        {"settings": {"epochs": 1.5}},
        {"settings": {"lr": [0.1]}},
        {"settings": {"steps": 10**9}},
        {"settings": {"levels": 10**30}},
    ],
)
def test_settings_of_a_hostile_record_are_refused(record):
    with pytest.raises(SpikewrightError, match=r"^net: ") as error:
        Settings.recorded(record, "net")
    assert "\n" not in str(error.value)


def test_recorded_settings_come_back_without_what_is_new():
    settings = Settings("hpc", "vgg8", "cifar10", lr=1, flip=True)
    record = settings.to_json() | {"from_a_later_release": 3}
    assert Settings.recorded({"settings": record}, "net") == settings
    del record["flip"]
    assert not Settings.recorded({"settings": record}, "net").flip
