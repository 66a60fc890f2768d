"""The accuracy of what the network becomes."""

import re
from dataclasses import replace

import pytest
import torch

from spikewright.errors import SpikewrightError
from spikewright.sw.frontend.trace import trace
from spikewright.sw.models.reading import load_saved
from spikewright.sw.passes.convert import convert
from spikewright.sw.passes.quantise import quantise
from spikewright.sw.training import judging, train
from spikewright.sw.training.data import load
from spikewright.sw.training.settings import METHODS, Settings
from tests.support.training import QUICK


def test_epochs_are_judged_by_settled_neurons(folder, tmp_path, monkeypatch):
    judged = []
    golden = judging.Golden
    monkeypatch.setattr(
        judging, "Golden", lambda network: judged.append(network) or golden(network)
    )
    settings = Settings(**{**vars(QUICK), "method": "qffs", "levels": 3, "steps": 3, "epochs": 1})
    train.train(tmp_path / "net.safetensors", settings, data_dir=folder)
    counts = Settings(**{**vars(settings), "counts": True})
    train.train(tmp_path / "counts.safetensors", counts, data_dir=folder)
    assert [network.input_steps for network in judged] == [3] * 4
    assert [network.steps for network in judged] == [3, 3, 10, 10]  # even input; and 7 to settle


def test_images_are_judged_in_parts(folder, tmp_path, monkeypatch):
    """All at once the spike counts of a deep network need tens of gigabytes."""
    whole = train.train(tmp_path / "a.safetensors", QUICK, data_dir=folder)
    parts = []
    run = judging.Golden.run
    monkeypatch.setattr(judging, "_JUDGED", 60)
    monkeypatch.setattr(judging.Golden, "run", lambda g, x: parts.append(len(x)) or run(g, x))
    record = train.train(tmp_path / "b.safetensors", QUICK, data_dir=folder)
    assert parts == [60, 40] * 3 + [60, 60, 60, 20]
    assert record["scores"] == whole["scores"]
    assert record["accuracy"] == whole["accuracy"]


def test_an_epoch_that_cannot_become_spiking_is_said(folder, tmp_path, monkeypatch):
    judge, judged = train.spiking_accuracy, []

    def fail(*arguments):
        judged.append(judge(*arguments))
        if len(judged) == 2:
            raise SpikewrightError("layer layer1: the threshold is too small")
        return judged[-1]

    monkeypatch.setattr(train, "spiking_accuracy", fail)
    with pytest.raises(SpikewrightError) as error:
        train.train(tmp_path / "net.safetensors", QUICK, data_dir=folder)
    assert re.fullmatch(
        r"training: the network of epoch 2 cannot become spiking \(layer layer1: the threshold is "
        r"too small\); its last loss was \d\S*, if that is high lower lr",
        str(error.value),
    )
    assert [path.name for path in tmp_path.iterdir()] == ["net.safetensors.checkpoint"]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("bits", [2, 4, 8])
def test_integers_in_training_are_those_of_the_compiler(folder, tmp_path, method, bits):
    """Fine-tuned weights over their scale, and what quantise makes of them, to the last one."""
    first, second = tmp_path / "first.safetensors", tmp_path / "second.safetensors"
    quick = replace(QUICK, net="lenet5", width=0.5, norm=True, epochs=1, validation=400)
    given = {"levels": 0, "steps": 0, "method": method}
    train.train(first, Settings(**{**vars(quick), **given}), data_dir=folder)
    settings = Settings.continued(first, bits=bits, epochs=1)
    train.train(second, settings, data_dir=folder)
    module, _ = load_saved(second)
    x, _ = load("fashion-mnist", folder, "train")
    traced = trace(module.eval(), torch.tensor(x[:1]) / 255)
    network = convert(traced, settings.conversion, steps=settings.steps, calibration=x[:50])
    made = quantise(network, steps=settings.steps, weight_bits=bits)
    layers = [m for m in module.modules() if isinstance(m, (torch.nn.Conv2d, torch.nn.Linear))]
    limit = 2 ** (bits - 1) - 1
    for index, (layer, integer) in enumerate(zip(layers, made.layers, strict=True)):
        original = layer.parametrizations.weight.original.detach().double().flatten(1)
        axes = (0, 1) if index == len(layers) - 1 else 1
        expected = torch.round(original / original.abs().amax(axes, keepdim=True) * limit)
        got = torch.tensor(integer.synapses[0].weight)
        assert got.abs().max() == limit
        assert torch.equal(got.double().reshape(expected.shape), expected)


def test_a_network_can_be_judged_as_it_is(folder, tmp_path, monkeypatch):
    judged = []
    real = train.accuracy
    monkeypatch.setattr(train, "accuracy", lambda m, x: judged.append(real(m, x)) or judged[-1])
    record = train.train(tmp_path / "net.safetensors", replace(QUICK, judge="ann"), data_dir=folder)
    assert record["scores"] == judged[:3]
    assert record["accuracy"]["ann_validation"] == max(judged[:3])
    assert record["accuracy"]["ann_test"] == judged[3]
    assert set(record["accuracy"]) == {"ann_validation", "ann_test", "snn_test"}
    assert "--judge ann" in record["command"]
