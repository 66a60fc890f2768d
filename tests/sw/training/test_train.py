"""Training on a small data set of ten patterns in noise, from idx files."""

import json
from dataclasses import replace

import numpy as np
import pytest
import safetensors
import safetensors.torch
import torch

from spikewright.errors import SpikewrightError
from spikewright.sw.models import nets
from spikewright.sw.training import train
from spikewright.sw.training.data import load
from spikewright.sw.training.settings import METHODS, Settings
from tests.support.training import QUICK, equal, interrupt_in, weights, write_split


@pytest.mark.parametrize(
    ("method", "net"),
    [*((method, "mlp") for method in METHODS), *((m, "lenet5") for m in ("qcfs", "relu"))],
)
def test_patterns_are_learned_and_recorded(folder, tmp_path, method, net):
    steps = 0 if method == "qffs" else 16
    settings = Settings(
        method, net, epochs=8, batch=16, lr=0.05, steps=steps, validation=100, seed=1
    )
    path = tmp_path / "net.safetensors"
    record = train.train(path, settings, data_dir=folder)
    assert record["accuracy"]["ann_test"] > 0.95
    assert record["accuracy"]["snn_test"] > 0.9
    assert record["accuracy"]["snn_validation"] == max(record["scores"])
    assert record["scores"].index(max(record["scores"])) + 1 == record["epoch"]
    assert list(tmp_path.iterdir()) == [path]

    with safetensors.safe_open(path, "pt") as file:
        metadata = json.loads(file.metadata()["spikewright"])
    assert metadata["training"] == record
    assert str(tmp_path) not in json.dumps(metadata)
    module = nets.build(metadata)
    module.load_state_dict(weights(path))
    x, y = load("fashion-mnist", folder, "test")
    got = module.eval()(torch.tensor(x) / 255).argmax(1).numpy()
    assert (got == y).mean() == record["accuracy"]["ann_test"]


def test_noise_is_set_after_each_epoch_from_the_validation_split(folder, tmp_path, monkeypatch):
    seen = []

    def induce(module, frames):
        seen.append((module.act1.noise.item(), len(frames)))
        module.act1.noise.fill_(0.5)

    monkeypatch.setattr(train, "induce", induce)
    settings = Settings(**{**vars(QUICK), "method": "nq"})
    train.train(tmp_path / "a.safetensors", settings, data_dir=folder)
    assert seen == [(0.0, 100), (0.5, 100), (0.5, 100)]
    one = Settings(**{**vars(settings), "epochs": 1})
    same = Settings(**{**vars(one), "method": "qcfs"})
    train.train(tmp_path / "nq.safetensors", one, data_dir=folder)
    train.train(tmp_path / "qcfs.safetensors", same, data_dir=folder)
    quiet = {
        k: v for k, v in weights(tmp_path / "nq.safetensors").items() if not k.endswith("noise")
    }
    assert equal(quiet, weights(tmp_path / "qcfs.safetensors"))  # none in the first epoch


def test_counts_can_be_trained_for(folder, tmp_path):
    settings = Settings("qffs", "mlp", epochs=8, batch=16, lr=0.05, validation=100, counts=True)
    record = train.train(tmp_path / "net.safetensors", settings, data_dir=folder)
    accuracy = record["accuracy"]
    assert accuracy["ann_test"] > 0.8
    assert abs(accuracy["ann_test"] - accuracy["snn_test"]) < 0.05


def test_a_seed_decides_everything(folder, tmp_path):
    for name, seed in (("a", 5), ("b", 5), ("c", 6)):
        torch.rand(7)  # the caller's own random numbers have no influence
        state = torch.random.get_rng_state()
        settings = Settings(**{**vars(QUICK), "seed": seed, "flip": True, "shift": 1})
        train.train(tmp_path / f"{name}.safetensors", settings, data_dir=folder)
        assert torch.equal(state, torch.random.get_rng_state())  # and are left alone
    assert equal(weights(tmp_path / "a.safetensors"), weights(tmp_path / "b.safetensors"))
    assert not equal(weights(tmp_path / "a.safetensors"), weights(tmp_path / "c.safetensors"))


def test_the_weights_of_the_best_epoch_are_kept(folder, tmp_path, monkeypatch):
    scores = iter([0.2, 0.7, 0.7])
    states = []

    def score(module, *_):
        states.append({name: value.clone() for name, value in module.state_dict().items()})
        return next(scores, 0.0)

    monkeypatch.setattr(train, "spiking_accuracy", score)
    record = train.train(tmp_path / "net.safetensors", QUICK, data_dir=folder)
    assert record["epoch"] == 2
    assert equal(weights(tmp_path / "net.safetensors"), states[1])
    assert not equal(states[1], states[2])


def test_the_test_images_have_no_say_in_the_weights(folder, tmp_path):
    train.train(tmp_path / "a.safetensors", QUICK, data_dir=folder)
    other = tmp_path / "other"
    other.mkdir()
    for path in folder.glob("train-*"):
        (other / path.name).write_bytes(path.read_bytes())
    write_split(other, "t10k", 50, seed=3)
    train.train(tmp_path / "b.safetensors", QUICK, data_dir=other)
    assert equal(weights(tmp_path / "a.safetensors"), weights(tmp_path / "b.safetensors"))


def test_progress_counts_up_to_the_end(folder, tmp_path):
    seen = []
    train.train(tmp_path / "net.safetensors", QUICK, data_dir=folder, progress=seen.append)
    done = [p.done for p in seen]
    assert done == sorted(done)
    assert done[-1] == pytest.approx(1)
    assert [p.epoch for p in seen] == [e for e in (1, 2, 3) for _ in range(16)]
    assert seen[0].score is None
    assert 0 <= seen[-1].score <= 1


def test_an_impossible_output_is_said_before_any_work(tmp_path):
    (tmp_path / "folder.safetensors").mkdir()
    for name, message in (
        ("none/net.safetensors", r"the folder .* does not exist; create it first"),
        ("folder.safetensors", r"folder.safetensors: is a folder; name a file"),
        ("net", r"net: must end in .safetensors"),
    ):
        with pytest.raises(SpikewrightError, match=message):
            train.train(tmp_path / name, QUICK, data_dir=tmp_path)


@pytest.mark.parametrize("net", ["vgg7", "vgg8", "vgg9", "resnet11", "mobilenet20"])
@pytest.mark.parametrize("method", ["hpc", "calif"])
def test_the_deep_nets_train_on_colour_images_and_go_on(tmp_path, method, net):
    rng = np.random.default_rng(3)
    for name in (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"):
        records = rng.integers(256, size=(8, 3073), dtype=np.uint8)
        records[:, 0] %= 10
        (tmp_path / f"{name}.bin").write_bytes(records.tobytes())
    path = tmp_path / "net.safetensors"
    settings = Settings(method, net, "cifar10", epochs=2, batch=16, width=0.05, validation=8)
    settings = replace(settings, norm=True, steps=2, flip=True, shift=4)

    with pytest.raises(KeyboardInterrupt):
        train.train(path, settings, data_dir=tmp_path, progress=interrupt_in(2))
    record = train.train(path, settings, data_dir=tmp_path)
    assert (len(record["scores"]), len(record["resumed"])) == (2, 1)
    tuned = train.train(path, Settings.continued(path, bits=4, epochs=1), data_dir=tmp_path)
    assert tuned["start"] == record


def test_fine_tuning_goes_on_from_the_folded_network(folder, tmp_path):
    first, second = tmp_path / "first.safetensors", tmp_path / "second.safetensors"
    before = train.train(first, replace(QUICK, norm=True, seed=5), data_dir=folder)
    settings = Settings.continued(first, bits=3, epochs=2)
    assert (settings.net, settings.width, settings.levels, settings.seed) == ("mlp", 0.25, 4, 5)
    assert (settings.norm, settings.qat, settings.lr) == (False, True, 0.01)
    after = train.train(second, settings, data_dir=folder)
    assert after["start"] == before
    assert "--start first.safetensors" in after["command"]
    assert after["settings"]["start"] == "first.safetensors"
    assert (before["resumed"], before["threads"]) == ([], 1)
    assert "--qat" in after["command"]
    # As good as the network that it started from, whose first epochs alone are far from it.
    assert min(after["scores"]) > 0.9


def test_a_start_must_be_a_trained_network_of_the_same_kind(folder, tmp_path):
    path, other = tmp_path / "net.safetensors", tmp_path / "other.safetensors"
    train.train(path, replace(QUICK, epochs=1), data_dir=folder)
    with pytest.raises(SpikewrightError, match=r"nowhere.safetensors: no such file"):
        Settings.continued(tmp_path / "nowhere.safetensors")
    for change in ({"net": "lenet5"}, {"width": 0.5}, {"levels": 8}):
        settings = Settings.continued(path, **change)
        with pytest.raises(SpikewrightError, match="is another net than the settings describe"):
            train.train(other, settings, data_dir=folder)
    for change in ({"seed": 9}, {"validation": 50}):
        settings = Settings.continued(path, **change)
        with pytest.raises(SpikewrightError, match="seed or validation would hold back"):
            train.train(other, settings, data_dir=folder)
    train.train(other, Settings.continued(path, data="mnist", seed=9), data_dir=folder)
    back = Settings.continued(other, data=QUICK.data)  # whose parent has seen what 9 holds back
    with pytest.raises(SpikewrightError, match="seed or validation would hold back"):
        train.train(tmp_path / "third.safetensors", back, data_dir=folder)
    with pytest.raises(SpikewrightError, match="norms are folded; leave norm out"):
        Settings.continued(path, norm=True)
    metadata = QUICK.metadata()
    nets.save(nets.build(metadata), metadata, other)
    with pytest.raises(SpikewrightError, match="holds no record of a training"):
        Settings.continued(other)
