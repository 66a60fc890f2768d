"""The steps of one epoch."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from spikewright.errors import SpikewrightError
from spikewright.sw.models import nets
from spikewright.sw.models.reading import load_saved
from spikewright.sw.training import epoch, train
from spikewright.sw.training.data import load
from spikewright.sw.training.settings import METHODS, Settings
from tests.support.training import QUICK, equal, weights


def test_every_batch_has_noise_of_its_own(folder, tmp_path, monkeypatch):
    seeds = []
    seed = torch.manual_seed
    monkeypatch.setattr(torch, "manual_seed", lambda value: seeds.append(value) or seed(value))
    train.train(tmp_path / "net.safetensors", QUICK, data_dir=folder)
    assert len(seeds) == 1 + 3 * 16  # the first is for the weights
    assert len(set(seeds)) == len(seeds)


def test_every_epoch_has_its_own_order(folder, tmp_path):
    losses = {1: [], 2: [], 3: []}
    settings = Settings(**{**vars(QUICK), "lr": 1e-20})
    train.train(
        tmp_path / "net.safetensors",
        settings,
        data_dir=folder,
        progress=lambda p: losses[p.epoch].append(p.loss),
    )
    assert losses[1] != losses[2]


def test_a_loss_that_explodes_is_said(folder, tmp_path):
    settings = Settings(**{**vars(QUICK), "method": "relu", "lr": 1e20})
    with pytest.raises(SpikewrightError, match=r"the loss became (nan|inf) in epoch 1; lower lr"):
        train.train(tmp_path / "net.safetensors", settings, data_dir=folder)
    assert not list(tmp_path.iterdir())


def test_steep_gradients_are_cut_and_others_left_alone(folder, tmp_path, monkeypatch):
    norms = []

    class Spy(torch.optim.SGD):
        def step(self, closure=None):
            gradients = [p.grad for group in self.param_groups for p in group["params"]]
            norms.append(float(torch.cat([g.flatten() for g in gradients]).norm()))
            return super().step(closure)

    monkeypatch.setattr(torch.optim, "SGD", Spy)
    paths = []
    for limit in (1e9, QUICK.clip, 0.05):
        paths.append(tmp_path / f"{limit}.safetensors")
        train.train(paths[-1], replace(QUICK, clip=limit), data_dir=folder)
    free, usual, cut = np.split(np.array(norms), 3)
    assert equal(weights(paths[0]), weights(paths[1]))
    assert (free == usual).all()
    assert (free > 0.05).any()
    assert free.max() < 5
    assert cut.max() == pytest.approx(0.05, rel=1e-4)


def test_a_cosine_falls_and_one_cycle_rises_first():
    cosine, cycle = QUICK, replace(QUICK, schedule="one-cycle")
    shares = np.linspace(0, 1, 201)
    falling = np.array([epoch.rate(cosine, share) for share in shares])
    assert falling[0] == cosine.lr
    assert falling[100] == pytest.approx(cosine.lr / 2)
    assert (np.diff(falling) < 0).all()
    rates = np.array([epoch.rate(cycle, share) for share in shares])
    assert rates[40] == rates.max() == pytest.approx(cycle.lr)
    assert (np.diff(rates[:41]) > 0).all()
    assert (np.diff(rates[40:]) < 0).all()
    assert np.allclose(np.diff(rates[:41], 2), 0)
    assert np.allclose(np.diff(rates[40:], 2), 0)
    assert rates[0] == 0 == pytest.approx(rates[-1])
    for settings in (cosine, cycle):
        assert epoch.rate(settings, 1) == pytest.approx(0, abs=1e-12)


def test_every_batch_has_its_rate_and_only_weights_decay(folder, tmp_path, monkeypatch):
    rates, decays = [], []

    class Spy(torch.optim.SGD):
        def step(self, closure=None):
            rates.append({group["lr"] for group in self.param_groups})
            decays.append(
                {(p.ndim > 1, g["weight_decay"]) for g in self.param_groups for p in g["params"]}
            )
            assert all(group["nesterov"] for group in self.param_groups)
            return super().step(closure)

    monkeypatch.setattr(torch.optim, "SGD", Spy)
    settings = replace(QUICK, schedule="one-cycle", weight_decay=0.01, norm=True)
    train.train(tmp_path / "net.safetensors", settings, data_dir=folder)
    assert rates == [{epoch.rate(settings, (i // 16 + i % 16 / 16) / 3)} for i in range(48)]
    assert decays == [{(True, 0.01), (False, 0.0)}] * 48


def test_smoothing_keeps_the_scores_apart_less(folder, tmp_path):
    """Of K classes the right one is best at odds of (1 - s + s / K) to s / K, and no further."""
    spread = []
    for smoothing in (0.0, 0.5):
        settings = replace(QUICK, method="relu", epochs=6, smoothing=smoothing)
        path = tmp_path / f"{smoothing}.safetensors"
        losses = []
        train.train(
            path, settings, data_dir=folder, progress=lambda p, losses=losses: losses.append(p.loss)
        )
        x, y = load("fashion-mnist", folder, "train")
        scores = load_saved(path)[0](torch.tensor(x) / 255).softmax(1).detach()
        spread.append(float(scores[torch.arange(len(y)), torch.tensor(y)].mean()))
        entropy = -(1 - smoothing * 0.9) * np.log(1 - smoothing * 0.9)
        entropy -= 9 * (smoothing / 10) * np.log(smoothing / 10) if smoothing else 0
        assert min(losses) >= entropy - 1e-6
    assert spread[0] > 0.8
    assert spread[1] == pytest.approx(0.55, abs=0.1)


@pytest.mark.parametrize("method", METHODS)
def test_bfloat16_is_for_the_steps_of_training_alone(folder, tmp_path, monkeypatch, method):
    met = {True: set(), False: set()}

    real = nets.build

    def build(metadata):
        module = real(metadata)
        module.layer1.register_forward_hook(lambda m, _, y: met[m.training].add(y.dtype))
        return module

    monkeypatch.setattr(train.nets, "build", build)
    own = {"method": method, "levels": 0, "steps": 0, "judge": "ann", "bfloat16": True}
    path = tmp_path / "net.safetensors"
    train.train(path, Settings(**(vars(QUICK) | own | {"epochs": 1})), data_dir=folder)
    assert met[True] == {torch.bfloat16}
    assert torch.float32 in met[False]
    assert torch.bfloat16 not in met[False]
    assert {value.dtype for value in weights(path).values()} <= {torch.float32, torch.bool}
