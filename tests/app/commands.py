"""A user's networks, and commands run as on the command line."""

from pathlib import Path

import numpy as np

from spikewright.app.cli import main

NETS = """
import torch
from torch import nn


def seeded(*layers):
    torch.manual_seed(0)
    for layer in layers:
        if hasattr(layer, "reset_parameters"):
            layer.reset_parameters()
    return nn.Sequential(*layers)


def good():
    return seeded(
        nn.Conv2d(1, 3, 3, stride=2), nn.ReLU(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(12, 4)
    )


def quantised():
    from spikewright.sw.activations import QCFS

    return seeded(
        nn.Conv2d(1, 3, 3, stride=2), QCFS(4, 0.5), nn.MaxPool2d(2), nn.Conv2d(3, 4, 2),
        QCFS(4, 0.5), nn.Flatten(), nn.Linear(4, 4), QCFS(4, 0.5)
    )


def overlapping():
    return seeded(
        nn.Conv2d(1, 3, 3), nn.ReLU(), nn.MaxPool2d(3, 2), nn.Flatten(), nn.Linear(27, 4)
    )


def averaging():
    from spikewright.sw.activations import QCFS

    return seeded(
        nn.Conv2d(1, 3, 3, stride=2), QCFS(4, 0.5), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(12, 4)
    )


def unbiased():
    return seeded(nn.Conv2d(1, 3, 3, bias=False), nn.ReLU6(), nn.Flatten(),
                  nn.Linear(192, 4, bias=False))


def lstm():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.flatten = nn.Flatten()
            self.cell = nn.LSTM(100, 4)

        def forward(self, x):
            return self.cell(self.flatten(x))[0]

    return Net()


def gelu():
    return seeded(nn.Flatten(), nn.Linear(100, 8), nn.GELU(), nn.Linear(8, 4))


def nan():
    net = seeded(nn.Flatten(), nn.Linear(100, 8), nn.ReLU(), nn.Linear(8, 4))
    net[1].weight.data[2, 3] = float("nan")
    return net


def padded():
    return seeded(
        nn.Conv2d(1, 3, 3), nn.ReLU(), nn.AvgPool2d(2, padding=1), nn.Flatten(), nn.Linear(75, 4)
    )


def huge():
    return seeded(nn.Flatten(), nn.Linear(100, 8192), nn.ReLU(), nn.Linear(8192, 64), nn.ReLU(),
                  nn.Linear(64, 4))
"""

SHAPE = ["--input-shape", "1,10,10"]


def run(words, capsys):
    """Exit status, standard output, and standard error without warnings of a command."""
    try:
        status = main(words)
    except SystemExit as stop:
        status = stop.code
    captured = capsys.readouterr()
    errors = [line for line in captured.err.splitlines() if ": warning: " not in line]
    return status, captured.out, errors


def refused(words, capsys, *fragments, status=1):
    """Run a command that must fail with one line holding all `fragments`."""
    before = sorted(Path.cwd().iterdir())
    got, output, errors = run(words, capsys)
    assert got == status
    assert output == ""
    assert len(errors) == 1, errors
    assert errors[0].startswith("spikewright: error: ")
    for fragment in fragments:
        assert fragment in errors[0]
    ours = [path for path in sorted(Path.cwd().iterdir()) if path.name != "__pycache__"]
    assert ours == before


def idx(path, values):
    """An idx file of bytes, as MNIST has them."""
    sizes = b"".join(n.to_bytes(4, "big") for n in values.shape)
    path.write_bytes(bytes((0, 0, 8, values.ndim)) + sizes + values.astype(np.uint8).tobytes())
