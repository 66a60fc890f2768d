"""A folder with networks, and a build directory of one."""

import numpy as np
import pytest

from spikewright.app.cli import main
from tests.app.commands import NETS, SHAPE


@pytest.fixture
def work(tmp_path, monkeypatch):
    """An empty folder with the user's networks, and the current one."""
    (tmp_path / "nets.py").write_text(NETS)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def built(tmp_path_factory):
    """A build directory of the good network; tests copy it before they change it."""
    folder = tmp_path_factory.mktemp("built")
    (folder / "nets.py").write_text(NETS)
    x = np.random.default_rng(0).integers(256, size=(20, 1, 10, 10), dtype=np.uint8)
    np.savez(folder / "data.npz", x=x, y=np.arange(20) % 4)
    words = ["compile", f"{folder}/nets.py:good", *SHAPE, "-T", "3", "--lanes", "4"]
    words += ["--calib", f"{folder}/data.npz", "--data", f"{folder}/data.npz"]
    assert main([*words, "-o", str(folder / "out")]) == 0
    return folder


@pytest.fixture
def out(built, tmp_path):
    """A fresh copy of the build directory."""
    copy = tmp_path / "out"
    copy.mkdir()
    for file in (built / "out").iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    return copy
