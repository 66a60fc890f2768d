"""Two thousand hostile inputs; ``python -m tests.fuzz`` runs more and says more."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from spikewright.errors import SpikewrightError
from tests.fuzz import running
from tests.fuzz.cases import Ending, ending

ROOT = Path(__file__).parents[1]


def test_hostile_inputs_end_well():
    """No traceback, no hang, no other result without a word."""
    command = [sys.executable, "-m", "tests.fuzz", "--cases", "2000", "--limit", "30"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]


def refuse(message):
    raise SpikewrightError(message)


def printing(status, message):
    print(message, file=sys.stderr)
    return status


@pytest.mark.parametrize(
    ("action", "how"),
    [
        (lambda: refuse("x: is not one"), "refused"),
        (lambda: printing(1, "spikewright: error: x"), "refused"),
        (lambda: 0, "accepted"),
        (lambda: refuse("two\nlines"), "long message"),
        (lambda: printing(1, "what?"), "exit 1, odd message"),
        (lambda: printing(3, "spikewright: error: x"), "exit 3, odd message"),
        (lambda: "another result, nothing said", "another result, nothing said"),
        (lambda: {}["x"], "KeyError at test_fuzz.py"),
    ],
)
def test_endings_are_named(action, how):
    assert ending(action)[0].startswith(how)
    assert Ending(0, "x", how).good is (how in ("refused", "accepted"))


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_hang_and_a_death_are_found(monkeypatch):
    def run_case(inputs, seed, number):
        if number == 1:
            time.sleep(60)
        if number == 3:
            os._exit(1)
        return Ending(number, "x", "accepted")

    monkeypatch.setattr(running, "run_case", run_case)
    endings = list(running.run_cases(None, 0, range(5), 2.0))
    assert [e.number for e in endings] == [0, 1, 2, 3, 4]
    assert [e.how for e in endings if not e.good] == ["hang, more than 2 s", "the process died"]
