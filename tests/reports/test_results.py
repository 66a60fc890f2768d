"""The files of results: whatever they hold, one line of error or what they must hold."""

import copy
import json
import os
from dataclasses import replace

import numpy as np
import pytest

import spikewright
from spikewright.boards.synth import CriticalPath, SynthReport
from spikewright.errors import SpikewrightError
from spikewright.records import to_json
from spikewright.reports.comparison import compare
from spikewright.reports.facts import ACTIVITIES
from spikewright.reports.results import RESULTS, read_result
from spikewright.sim.rtl.compare import Mismatch
from spikewright.sim.rtl.verify import VerifyReport

DEEP = 100_000


def refused(path, command):
    with pytest.raises(SpikewrightError) as caught:
        read_result(path, command)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    assert len(message) < 700
    return message


@pytest.mark.parametrize("name", RESULTS)
def test_complete_results_are_read_as_they_are(name, results, tmp_path):
    path = tmp_path / "x.json"
    path.write_text(json.dumps(results[name]))
    read = read_result(path, name)
    assert read == results[name]


@pytest.mark.parametrize("name", RESULTS)
@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\xff\xfe{}",
        b"[]",
        b"null",
        b"NaN",
        b'"text"',
        b"[" * DEEP,
        b"[" * DEEP + b"]" * DEEP,
        b'{"schema": 2, "about": ' + b'{"a": ' * DEEP + b"1" + b"}" * DEEP + b"}",
        b'{"schema": 2, "x": ' + b"9" * 5000 + b"}",
        b'{"schema": 1e400}',
        b'{"schema": NaN}',
    ],
    ids=range(13),
)
def test_what_is_no_result_is_refused(name, content, tmp_path):
    path = tmp_path / "x.json"
    path.write_bytes(content)
    refused(path, name)


def places(value, at=()):
    """The paths to everything inside `value`."""
    inside = value.items() if isinstance(value, dict) else ()
    inside = enumerate(value) if isinstance(value, list) else inside
    for key, entry in inside:
        yield (*at, key)
        yield from places(entry, (*at, key))


def outcome(path, command):
    """What was read, or None and the message."""
    try:
        return read_result(path, command), ""
    except SpikewrightError as error:
        return None, str(error)


@pytest.mark.parametrize("name", RESULTS)
def test_every_field_is_checked(name, results, tmp_path):
    """Each value replaced by others or left out: refused in one line, or shown without a fault."""
    path = tmp_path / "x.json"
    free = {"compile", "critical_path", "model", "resources", "seconds"}
    free |= {"images_per_second", "about", "tools", "activity"}  # maps whose keys are open
    for place in places(results[name]):
        for value in (None, "x", -1, 10**30, 1e300, [], {}, {"x": [[]]}, True, "missing"):
            changed = copy.deepcopy(results[name])
            inner = changed
            for key in place[:-1]:
                inner = inner[key]
            if value == "missing":
                del inner[place[-1]]
            else:
                inner[place[-1]] = value
            path.write_text(json.dumps(changed))
            read, message = outcome(path, name)
            assert "\n" not in message
            if read is None:
                continue
            assert place[0] in free or not isinstance(value, list | dict), (place, value)
            if name == "eval":
                compare([path])
            assert read.keys() >= changed.keys()


def test_no_other_file_is_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "lost").symlink_to("nowhere")
    for name in ("pipe", "loop", "lost", "nothing", "."):
        refused(tmp_path / name, "eval")
    with pytest.raises(SpikewrightError):
        read_result("a\0b", "eval")


@pytest.mark.parametrize("file", [f"{command}.json" for command in RESULTS])
def test_a_report_of_hostile_results_is_refused(build, file):
    path = build.directory / file
    for make in (path.mkdir, lambda: os.mkfifo(path), lambda: path.symlink_to("nowhere")):
        make()
        try:
            with pytest.raises(SpikewrightError, match=file):
                spikewright.report(build)
        finally:
            path.rmdir() if path.is_dir() else path.unlink()


def test_fields_that_contradict_each_other(results, tmp_path):
    evaluation, verification = results["eval"], results["verify"]
    path = tmp_path / "x.json"
    for result, command, message in (
        (evaluation | {"steps": 4}, "eval", "over_time.float_snn has 3 of 4 steps"),
        (evaluation | {"compile": {"command": "x"}}, "eval", "compile has no conversion"),
        (evaluation | {"kind": "report"}, "eval", "invalid enum value 'report', at .kind"),
        (evaluation | {"schema": 1}, "eval", "of an older release"),
        (evaluation | {"schema": 99}, "eval", "is newer than"),
        (evaluation | {"more": 1}, "eval", "'more' is no field"),
        (verification | {"equal": False}, "verify", "contradict each other"),
        (verification | {"activity": {"scan": 0}}, "verify", "counts no clocks"),
    ):
        path.write_text(json.dumps(result))
        assert message in refused(path, command).replace("$", "")


def test_what_the_commands_write_is_read(build, results, tmp_path):
    """A field that a command writes and this contract lacks, or the reverse, is an error."""
    rng = np.random.default_rng(0)
    x = rng.integers(256, size=(5, 1, 10, 10), dtype=np.uint8)
    np.savez(tmp_path / "data.npz", x=x, y=rng.integers(4, size=5))
    path = tmp_path / "x.json"
    try:
        evaluated = spikewright.evaluate(build, tmp_path / "data.npz", save=path)
    finally:
        (build.directory / "eval.json").unlink(missing_ok=True)
    assert read_result(path, "eval") == json.loads(json.dumps(evaluated))
    mismatch = Mismatch("a", 1, None, None, 2, "spike", 1, 0, 3)
    clocks, activity = np.array([5, 6]), dict.fromkeys(ACTIVITIES, 1)
    verified = VerifyReport("pysim", 2, 1, mismatch, clocks, activity, 3.0, 4, None)
    for result in (verified, replace(verified, mismatch=None)):
        rest = {name: results["verify"][name] for name in ("model", "frames", "seconds", "about")}
        path.write_text(to_json(result.to_json() | rest))
        assert read_result(path, "verify")["equal"] is result.equal
    slowest = CriticalPath("a", "b", 1.0, 0.5, ("n",))
    made = SynthReport("b", "d", "x.bit", 50.0, 60.0, 1, {"LUT": (1, 2)}, slowest, {"yosys": "1"})
    path.write_text(to_json(made.to_json() | {"about": results["synth"]["about"]}))
    assert read_result(path, "synth")["resources"]["LUT"]["share"] == 0.5
