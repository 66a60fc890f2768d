"""Shared by the tests that simulate hardware."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def simulators(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for compiled simulators, one for all processes of a test run."""
    base = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent
    folder = base / "simulators"
    folder.mkdir(exist_ok=True)
    return folder
