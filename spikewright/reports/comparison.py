"""Several results of ``spikewright eval`` beside each other, by data set and label."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from spikewright.errors import SpikewrightError
from spikewright.records import SCHEMA
from spikewright.reports.results import CHOICES, read_result

__all__ = ["compare", "shown_in_tables", "t_of"]

Result = Mapping[str, Any]


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
        result = read_result(path, "eval")
        key = (_title(result), result["label"], result["weight_bits"])
        kind = _kind(result)
        origins.append(_origin(path, result))
        where = f"{path}: {key[1]}, {key[2]} bits, on {key[0]}"
        if kinds.setdefault(key, kind) != kind:
            raise SpikewrightError(
                f"{where}: there is another network or conversion of that name; tell them apart "
                "with eval --label"
            )
        _add(curves.setdefault(key, {}), _points(result), where)
    titles = dict.fromkeys(title for title, _, _ in curves)
    sets = [{"title": title, "curves": _curves(title, curves)} for title in titles]
    return {"schema": SCHEMA, "kind": "comparison", "sets": sets, "origins": origins}


def _title(result: Result) -> str:
    images = result["images"]
    return f"{result['frames']}, {images:,} image{'s' * (images > 1)}"


def _kind(result: Result) -> Any:
    """What all points of a curve have in common."""
    choices = [result["compile"][name] for name in CHOICES]
    return [result["accuracy"]["ann"], result["neurons"], choices]


def _points(result: Result) -> Iterable[dict[str, Any]]:
    for row in result["by_T"]:
        yield row | {
            "ann": result["accuracy"]["ann"],
            "spikes_per_neuron": row["spikes"] / max(1, result["neurons"]),
            "compiled": result["input_steps"],
        }


def _origin(path: str | os.PathLike[str], result: Result) -> dict[str, Any]:
    about = result["about"]
    return {
        "file": os.fspath(path),
        "label": result["label"],
        "T": result["input_steps"],
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


def shown_in_tables(point: Mapping[str, Any]) -> bool:
    """Whether tables have a row for this T: a power of two, or the one that was compiled for."""
    return point["compiled"] == point["T"] or point["T"].bit_count() == 1


def t_of(point: Mapping[str, Any]) -> str:
    """A point's T, and the T of its network where that is longer."""
    own = point["T"] == point["compiled"]
    return f"{point['T']}" if own else f"{point['T']} of {point['compiled']}"
