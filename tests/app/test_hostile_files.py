"""What is no regular file where one is expected costs one line, at once."""

import os
import signal
from pathlib import Path

import pytest

from tests.app.commands import SHAPE, refused

PLACES = {
    "model.npz": ["compile", "model.npz"],
    "model.safetensors": ["compile", "model.safetensors"],
    "model.pt": ["compile", "model.pt", "--trust", *SHAPE],
    "weights.safetensors": ["compile", "nets.py:good", *SHAPE, "--weights", "weights.safetensors"],
    "calib.npz": ["compile", "nets.py:good", *SHAPE, "--calib", "calib.npz"],
    "data.npz": ["compile", "nets.py:good", *SHAPE, "--data", "data.npz"],
    "start.safetensors": ["train", "--start", "start.safetensors", "--data-dir", "."],
    "net.py": ["compile", "net.py:make", *SHAPE],
    "result.json": ["compare", "result.json"],
    "frames.npz": ["verify", "out", "--data", "frames.npz"],
    "images.npz": ["eval", "out", "--data", "images.npz"],
}
MAKE = {
    "pipe": os.mkfifo,
    "folder": os.mkdir,
    "device": lambda path: os.symlink("/dev/zero", path),
    "loop": lambda path: os.symlink(path, path),
    "empty": lambda path: Path(path).touch(),
}


@pytest.fixture(autouse=True)
def in_time():
    """What hangs is interrupted."""

    def late(*_):
        raise TimeoutError

    signal.signal(signal.SIGALRM, late)
    signal.alarm(10)
    yield
    signal.alarm(0)


@pytest.mark.parametrize("kind", MAKE)
@pytest.mark.parametrize("name", PLACES)
def test_no_regular_file(name, kind, out, work, capsys):
    MAKE[kind](name)
    refused(PLACES[name], capsys, name)


@pytest.mark.parametrize("name", PLACES)
def test_overlong_names(name, out, work, capsys):
    long = "x" * 5000 + name
    words = [word.replace(name, long) for word in PLACES[name]]
    refused(words, capsys, "xxx")
