"""Records: what is read is checked as a whole, and every failure is one line."""

from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import pytest
from msgspec import Meta

from spikewright import SpikewrightError
from spikewright.network import NeuronSpec
from spikewright.network.neuron import Tie
from spikewright.records import (
    JSON_DEPTH,
    SCHEMA,
    check_fields,
    from_json,
    read_record,
    to_json,
    write_record,
)


@dataclass(frozen=True)
class Inner:
    count: Annotated[int, Meta(ge=1, le=8)]
    tie: Tie = Tie.FIRES
    scale: float = 1.0

    def __post_init__(self) -> None:
        check_fields(self, "inner")


@dataclass(frozen=True)
class Record:
    schema: int
    inner: tuple[Inner, ...]
    about: dict[str, Any]


def test_round_trip(tmp_path):
    record = Record(SCHEMA, (Inner(3), Inner(8, Tie.HOLDS, 0.1)), {"a": [1, None, "é"]})
    write_record(tmp_path / "r.json", record)
    assert read_record(tmp_path / "r.json", Record) == record
    with pytest.raises(SpikewrightError, match=r"r.json: no such file"):
        read_record(tmp_path / "none" / "r.json", Record)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not sound JSON"),
        ("{", "not sound JSON"),
        (b"\xff", "not sound JSON"),
        ("[" * 100_000, "not sound JSON"),
        ('{"schema": NaN}', "not sound JSON"),
        ('{"schema": 1e999}', "not sound JSON"),
        ("[]", "no schema version"),
        ('{"schema": true}', "no schema version"),
        ('{"schema": 2}', "schema version 2 is of an older release; compile it again"),
        ('{"schema": 99}', "schema version 99 is newer than 3"),
        ('{"schema": 3}', "missing required field inner"),
        ('{"schema": 3, "inner": [], "about": {}, "x": 1}', "'x' is no field, at \\$;"),
        ('{"schema": 3, "inner": [{"count": 1, "y": 1}], "about": {}}', r"'y' is .*inner\[0\];"),
        (
            '{"schema": 3, "inner": [{"count": 9}], "about": {}}',
            r"<= 8, at \$.inner\[0\].count",
        ),
        ('{"schema": 3, "inner": [{"count": true}], "about": {}}', "expected int, got bool"),
        ('{"schema": 3, "inner": [{"count": 1, "tie": "x"}], "about": {}}', "enum value"),
        ('{"schema": 3, "inner": [{"count": 1, "scale": "1"}], "about": {}}', "expected float"),
        ('{"schema": 3, "inner": 3, "about": {}}', "expected array, got int"),
    ],
)
def test_refusals(text, message):
    with pytest.raises(SpikewrightError, match=message) as error:
        from_json(text, Record, "r.json", remedy="compile it again")
    assert str(error.value).startswith("r.json: ")
    assert "\n" not in str(error.value)


def test_depth():
    deep = JSON_DEPTH - 1
    from_json("[" * deep + "]" * deep, Any, "r.json", oldest=None)
    with pytest.raises(SpikewrightError, match="nested deeper"):
        from_json("[" * 60 + "]" * 60, Any, "r.json", oldest=None)


def test_cross_references_name_the_file():
    with pytest.raises(SpikewrightError, match=r"^r.json: neuron if: Smax 3 is not a power"):
        from_json('{"model": "if", "smax": 3}', NeuronSpec, "r.json", oldest=None)


def test_nan_is_not_written():
    with pytest.raises(SpikewrightError, match="cannot be written as JSON"):
        to_json({"a": float("nan")})


def test_fields_of_code_are_checked_and_plain():
    made = Inner(np.int64(3), "holds", np.float64(0.5))
    assert made == Inner(3, Tie.HOLDS, 0.5)
    assert type(made.count) is int
    for count in (True, 0, 9, 2.0, "3", None):
        with pytest.raises(SpikewrightError, match=r"^inner: count "):
            Inner(count)
