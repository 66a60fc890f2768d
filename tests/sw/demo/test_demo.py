"""The demo network that is installed with the package, as its README describes it."""

import json
from pathlib import Path

import numpy as np
import safetensors
import torch

from spikewright.app.data import as_frames
from spikewright.app.demo import FOLDER
from spikewright.app.model import input_spec
from spikewright.sim.golden.model import Golden
from spikewright.sw.frontend.trace import trace
from spikewright.sw.models.reading import load_model
from spikewright.sw.passes.convert import convert
from spikewright.sw.passes.quantise import quantise
from spikewright.sw.training.settings import Settings


def test_the_demo_classifies_its_images_as_recorded():
    frames = as_frames(FOLDER / "images.npz", input_spec((1, 28, 28)))
    x, y = frames.x, frames.y
    assert x.shape == (100, 1, 28, 28)
    assert np.unique(y).size == 10
    module = load_model(str(FOLDER / "lenet5.safetensors"))
    outputs = module.eval()(torch.tensor(x) / 255)
    assert int((outputs.argmax(1).numpy() == y).sum()) == 90
    network = quantise(convert(trace(module, torch.zeros(1, 1, 28, 28))), steps=8)
    assert int((Golden(network).run(x).classes == y).sum()) == 88


def test_the_recorded_command_belongs_to_the_recorded_settings():
    with safetensors.safe_open(FOLDER / "lenet5.safetensors", "pt") as file:
        record = json.loads(file.metadata()["spikewright"])["training"]
    assert Settings(**record["settings"]).command == record["command"]
    readme = Path(__file__).parents[3] / "examples" / "fashion_mnist" / "README.md"
    text = " ".join(readme.read_text().replace("\\\n", " ").split())
    assert record["command"] in text
    assert f"ANN | {record['accuracy']['ann_test']:.2%}".replace("%", " %") in text
    assert f"{record['accuracy']['snn_test']:.2%}".replace("%", "") in text
