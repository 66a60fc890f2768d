"""Several results of ``spikewright eval`` beside each other, by data set and label."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from spikewright.errors import SpikewrightError
from spikewright.network import SCHEMA, check_schema

__all__ = ["compare", "read_result"]

Result = Mapping[str, Any]


def read_result(path: str | os.PathLike[str]) -> dict[str, Any]:
    """What ``spikewright eval`` wrote; raises SpikewrightError for any other file."""
    try:
        result = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise SpikewrightError(f"{path}: cannot be read ({error.strerror})") from None
    except ValueError:
        raise SpikewrightError(f"{path}: is no JSON file; give results of eval") from None
    if not isinstance(result, dict) or result.get("kind") != "eval":
        raise SpikewrightError(f"{path}: is no result of eval; write one with eval --save")
    check_schema(result, path)
    return result


def compare(paths: Sequence[str | os.PathLike[str]]) -> dict[str, Any]:
    """The results in the files `paths` as plain JSON, ordered as they were given.

    - `sets`: for each data set and number of images its `title` and `curves`. A curve is a label
      and a width of weights (`label`, `weight_bits`, and both as `name`), and its `points`, by T:
      `T`, `ann`, `float_snn`, `integer_snn`, `spikes`, `spikes_per_neuron`, `synaptic_operations`
      as :func:`.measure` has them, and `compiled`, the T that the network
      was compiled for: if greater, this is a step of a longer run. The shortest run counts.
    - `origins`: of each file `file`, `label`, `T`, `command`, `date`, `commit` and `versions` of
      the evaluation, and the `compile` command.

    Raises SpikewrightError for other files, and for results of one label and width that are of the
    same T, or of different networks or conversions.
    """
    kinds: dict[tuple[str, str, int], Any] = {}
    curves: dict[tuple[str, str, int], dict[int, dict[str, Any]]] = {}
    origins = []
    for path in paths:
        result = read_result(path)
        try:
            key = (_title(result), str(result["label"]), int(result["weight_bits"]))
            kind = _kind(result)
            points = list(_points(result))
            origins.append(_origin(path, result))
        except (KeyError, TypeError, ValueError) as error:
            raise SpikewrightError(
                f"{path}: is an incomplete result ({type(error).__name__}: {error}); "
                "write it again with eval --save"
            ) from None
        where = f"{path}: {key[1]}, {key[2]} bits, on {key[0]}"
        if kinds.setdefault(key, kind) != kind:
            raise SpikewrightError(
                f"{where}: there is another network or conversion of that name; tell them apart "
                "with eval --label"
            )
        _add(curves.setdefault(key, {}), points, where)
    titles = dict.fromkeys(title for title, _, _ in curves)
    sets = [{"title": title, "curves": _curves(title, curves)} for title in titles]
    return {"schema": SCHEMA, "kind": "comparison", "sets": sets, "origins": origins}


def _title(result: Result) -> str:
    images = int(result["images"])
    return f"{result['frames']}, {images:,} image{'s' * (images > 1)}"


_CHOICES = ("conversion", "calibration", "calibrated", "percentile", "channelwise")
"""What a network is compiled with, T and the width of its weights apart."""


def _kind(result: Result) -> Any:
    """What all points of a curve have in common."""
    choices = [result["compile"][name] for name in _CHOICES]
    return [result["accuracy"]["ann"], result["neurons"], choices]


def _points(result: Result) -> Iterable[dict[str, Any]]:
    for row in result["by_T"]:
        yield {
            "T": int(row["T"]),
            "ann": float(result["accuracy"]["ann"]),
            "float_snn": float(row["float_snn"]),
            "integer_snn": float(row["integer_snn"]),
            "spikes": float(row["spikes"]),
            "spikes_per_neuron": float(row["spikes"]) / max(1, int(result["neurons"])),
            "synaptic_operations": float(row["synaptic_operations"]),
            "compiled": int(result["input_steps"]),
        }


def _origin(path: str | os.PathLike[str], result: Result) -> dict[str, Any]:
    about = result["about"]
    return {
        "file": os.fspath(path),
        "label": str(result["label"]),
        "T": int(result["input_steps"]),
        **{name: about[name] for name in ("command", "date", "commit", "versions")},
        "compile": result["compile"]["command"],
    }


def _add(curve: dict[int, dict[str, Any]], points: Iterable[dict[str, Any]], where: str) -> None:
    for point in points:
        known = curve.get(point["T"])
        if known is None or point["compiled"] < known["compiled"]:
            curve[point["T"]] = point
        elif point["compiled"] == known["compiled"]:
            raise SpikewrightError(
                f"{where}: there is another result of T={point['compiled']}; tell them apart with "
                "eval --label"
            )


def _curves(
    title: str, curves: Mapping[tuple[str, str, int], Mapping[int, dict[str, Any]]]
) -> list[dict[str, Any]]:
    """Those of one data set; the name tells the width where widths differ."""
    ours = {key[1:]: points for key, points in curves.items() if key[0] == title}
    widths = {bits for _, bits in ours}
    return [
        {
            "name": f"{label}, {bits} bits" if len(widths) > 1 else label,
            "label": label,
            "weight_bits": bits,
            "points": [points[t] for t in sorted(points)],
        }
        for (label, bits), points in ours.items()
    ]
