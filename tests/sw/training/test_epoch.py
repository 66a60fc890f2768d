"""The steps of one epoch."""

import numpy as np
import pytest
import torch

from spikewright.errors import SpikewrightError
from spikewright.sw.training import epoch, train
from spikewright.sw.training.settings import Settings
from tests.support.training import QUICK, assert_same


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
    for limit in (1e9, epoch._STEEPEST, 0.05):
        monkeypatch.setattr(epoch, "_STEEPEST", limit)
        paths.append(tmp_path / f"{limit}.safetensors")
        train.train(paths[-1], QUICK, data_dir=folder)
    free, usual, cut = np.split(np.array(norms), 3)
    assert_same(paths[0], paths[1])
    assert (free == usual).all()
    assert (free > 0.05).any()
    assert free.max() < 5
    assert cut.max() == pytest.approx(0.05, rel=1e-4)
