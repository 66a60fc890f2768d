"""Training from the command line."""

import json
from pathlib import Path

import numpy as np

from tests.app.commands import idx, refused, run


def test_train_then_compile(work, capsys):
    """What train saves, compile takes without a shape."""
    random = np.random.default_rng(0)
    for stem, images in (("train", 60), ("t10k", 20)):
        labels = np.arange(images) % 10
        pixels = random.integers(40, size=(images, 28, 28)) + 20 * labels[:, None, None]
        idx(work / f"{stem}-images-idx3-ubyte", pixels)
        idx(work / f"{stem}-labels-idx1-ubyte", labels)
    words = ["--net", "mlp", "--data", "mnist", "--data-dir", ".", "--epochs", "2", "-T", "3"]
    words += ["--batch", "10", "--validation", "10", "--width", "0.1", "-o", "m.safetensors"]
    words += ["--schedule", "one-cycle", "--clip", "2", "--smoothing", "0.1", "--bfloat16"]
    words += ["--cutout", "3", "--judge", "ann"]
    status, output, errors = run(["train", *words], capsys)
    assert (status, errors) == (0, [])
    assert "wrote m.safetensors" in output
    status, output, errors = run(["compile", "m.safetensors", "-T", "3", "--lanes", "4"], capsys)
    assert (status, errors) == (0, [])
    facts = json.loads(Path("out/report.json").read_text())
    assert facts["build"]["input"] == [1, 28, 28]
    assert [layer["neurons"] for layer in facts["layers"]] == [13, 10]


def test_train_refuses(work, capsys):
    refused(["train", "--net", "vgg", "--data-dir", "."], capsys, "net vgg", "lenet5")
    refused(["train", "--data", "mnist", "--data-dir", "."], capsys, "train-images-idx3-ubyte")
