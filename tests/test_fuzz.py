"""Two thousand hostile inputs; ``python -m tests.fuzz`` runs more and says more."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_hostile_inputs_end_well():
    """No traceback, no hang, no other result without a word."""
    command = [sys.executable, "-m", "tests.fuzz", "--cases", "2000", "--limit", "30"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
