"""Shared by the tests of simulations: the slow reference, a folder for compiled simulators."""

import os
from pathlib import Path
from types import ModuleType

import pytest

from tests.support import reference as slow


@pytest.fixture(scope="session")
def reference() -> ModuleType:
    """`tests/support/reference.py`: networks by plain loops over the papers' formulas."""
    return slow


@pytest.fixture(scope="session")
def simulators(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for compiled simulators, one for all processes of a test run."""
    base = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent
    folder = base / "simulators"
    folder.mkdir(exist_ok=True)
    return folder
