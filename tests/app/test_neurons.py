"""Every neuron model and input code from a torch module to the hardware, as a user has it."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import spikewright
from spikewright.app.cli import main
from spikewright.network import InputCode, InputSpec
from spikewright.network.conversion import Conversion

IMAGES = 20
MODELS = {
    "if": {"neuron": "if"},
    "if, counts read out": {"neuron": "if", "readout": "counts"},
    "hpc": {"neuron": "hpc"},
    "hpc, literal": {"neuron": "hpc", "negative": "at-threshold", "smax": 4},
    "qffs": {"neuron": "qffs", "readout": "counts"},
    "ca-lif": {"neuron": "ca-lif"},
    "ca-lif, one": {"neuron": "ca-lif", "rounding": "one", "smax": 4, "pool_neurons": True},
    "tsc": {"neuron": "tsc"},
    "tsc, overlapped": {"neuron": "tsc", "window": "overlapped", "latch": True},
}


def network(pool: nn.Module) -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1),
        nn.ReLU(),
        pool,
        nn.Conv2d(4, 6, 3),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(24, 5),
        nn.ReLU(),
    ).eval()


def images(channels: int = 1) -> np.ndarray:
    rng = np.random.default_rng(4)
    frames = rng.integers(0, 256, (IMAGES, channels, 8, 8), dtype=np.uint8)
    frames[-1], frames[-2] = 255, 0
    return frames


def compiled(out: Path, pool: nn.Module, *, events: bool = False, **choices: object) -> None:
    steps = 6
    frames = images()
    spec = InputSpec((1, 8, 8))
    if events:
        frames = (images(steps) > 127).astype(np.uint8)
        spec = InputSpec((1, 8, 8), 1, code=InputCode.EVENTS)
    spikewright.compile(
        network(pool),
        torch.zeros(1, 1, 8, 8),
        steps=steps,
        calib=None if events else frames,
        conversion=Conversion.named(**choices),
        input_spec=spec,
        lanes=4,
        cores=2,
        out=out,
        data=frames,
    )


@pytest.mark.filterwarnings("ignore::spikewright.sw.passes.convert.ConversionWarning")
@pytest.mark.parametrize("model", MODELS)
def test_every_model(model: str, tmp_path: Path) -> None:
    compiled(tmp_path / "out", nn.AvgPool2d(2), **MODELS[model])
    assert main(["verify", str(tmp_path / "out"), "--images", str(IMAGES)]) == 0
    report = spikewright.report(tmp_path / "out")
    assert report["verify"]["equal"]


@pytest.mark.filterwarnings("ignore::spikewright.sw.passes.convert.ConversionWarning")
@pytest.mark.parametrize("code", ["isi", "tsc", "bernoulli", "poisson", "events"])
def test_every_code(code: str, tmp_path: Path) -> None:
    model = {"isi": "ca-lif", "tsc": "tsc", "bernoulli": "hpc", "poisson": "qffs", "events": "if"}
    compiled(
        tmp_path / "out", nn.AvgPool2d(2), events=code == "events", neuron=model[code], code=code
    )
    assert main(["verify", str(tmp_path / "out"), "--images", str(IMAGES)]) == 0


@pytest.mark.filterwarnings("ignore::spikewright.sw.passes.convert.ConversionWarning")
@pytest.mark.parametrize("neuron", ["if", "hpc", "qffs", "ca-lif"])
def test_max_pooling(neuron: str, tmp_path: Path) -> None:
    smax = {"smax": 4} if neuron in ("hpc", "ca-lif") else {}
    compiled(tmp_path / "out", nn.MaxPool2d(2), neuron=neuron, **smax)
    assert main(["verify", str(tmp_path / "out"), "--images", str(IMAGES)]) == 0
