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
        ({"epochs": 0}, "^epochs 0: must be at least 1"),
        ({"steps": -1}, "^steps -1: must be at least 1"),
        ({"seed": -1}, "^seed -1: must not be negative"),
        ({"seed": 2**32}, "^seed 4294967296: must be at most"),
        ({"norm": True, "batch": 1}, "^batch 1: gives norm no variance"),
        ({"lr": 0.0}, "^lr 0.0: must be positive"),
        ({"lr": float("nan")}, "^lr nan: must be positive"),
        ({"epochs": 10**9}, "^epochs 1000000000: must be at most 10000"),
        ({"steps": 10**9}, "^steps 1000000000: must be at most 4096"),
        ({"weight_decay": float("nan")}, "^weight_decay nan: must be at most"),
        ({"schedule": "linear"}, "^schedule linear: is not known; choose one of cosine, one-cycle"),
        ({"judge": "test"}, "^judge test: is not known; choose one of snn, ann"),
        ({"smoothing": 1.0}, "^smoothing 1.0: must be at most 0.9"),
        ({"cutout": -1}, "^cutout -1: must not be negative"),
        ({"clip": 0.0}, "^clip 0.0: must be positive"),
        ({"bits": 1}, "^bits 1: choose 2 to 8"),
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
