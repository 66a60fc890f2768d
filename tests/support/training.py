"""A small data set of ten patterns in noise, and trainings on it that end soon."""

import json
import struct

import numpy as np
import safetensors
import safetensors.torch
import torch

from spikewright.sw.training.settings import Settings

QUICK = Settings(net="mlp", width=0.25, epochs=3, batch=32, levels=4, steps=4, validation=100)
PATTERNS = np.kron(np.random.default_rng(9).integers(160, size=(10, 4, 4)), np.ones((7, 7)))


def write_split(folder, split, number, seed):
    rng = np.random.default_rng(seed)
    y = rng.integers(10, size=number, dtype=np.uint8)
    x = (PATTERNS[y] + rng.integers(0, 96, size=(number, 28, 28))).astype(np.uint8)
    for kind, array in (("images-idx3", x), ("labels-idx1", y)):
        header = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
        (folder / f"{split}-{kind}-ubyte").write_bytes(header + array.tobytes())


def interrupt_in(epoch):
    def report(progress):
        if progress.epoch == epoch:
            raise KeyboardInterrupt

    return report


def weights(path):
    return safetensors.torch.load_file(path)


def assert_same(path, other):
    """Equal weights and equal records, but for how long it took and when."""
    assert equal(weights(path), weights(other))
    records = []
    for each in (path, other):
        with safetensors.safe_open(each, "pt") as file:
            records.append(json.loads(file.metadata()["spikewright"])["training"])
        assert len(records[-1].pop("seconds")) == records[-1]["settings"]["epochs"]
        del records[-1]["date"], records[-1]["resumed"]
    assert records[0] == records[1]


def equal(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)
