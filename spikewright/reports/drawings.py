"""The charts of the pages: which of the facts each of them shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from spikewright.reports import charts
from spikewright.reports.comparison import shown_in_tables, t_of
from spikewright.reports.notation import number, percent

__all__ = ["accuracy_over", "accuracy_over_time", "activity", "frame", "spike_rates", "spikes"]

Facts = Mapping[str, Any]


def accuracy_over_time(result: Facts) -> Markup:
    """Of an evaluation: accuracy after each step, and that of the ANN."""
    over_time = result["over_time"]
    series = {
        "float SNN": over_time["float_snn"],
        "integer SNN": over_time["integer_snn"],
    }
    figure = charts.course(series, {"ANN": result["accuracy"]["ann"]})
    return charts.inline(figure, "accuracy over time steps")


def spike_rates(layers: Sequence[Facts]) -> Markup:
    """Of each layer that fires; nothing where that is not known."""
    rates = {layer["name"]: layer["spike_rate"] for layer in layers}
    known = {name: rate for name, rate in rates.items() if rate is not None}
    if not known:
        return Markup()
    return charts.inline(charts.bars(known), "spike rate of each layer")


def frame(raster: Facts) -> Markup:
    """The frame of a raster, as a picture."""
    return charts.image(raster["pixels"], raster["peak"], "the first sample frame")


def spikes(layer: Facts, steps: int) -> Markup:
    """The raster of one layer."""
    rows = [(row["neuron"], row["steps"]) for row in layer["rows"]]
    return charts.inline(charts.raster({"": rows}, steps), f"spikes of {layer['name']}")


def activity(counted: Facts) -> Markup:
    """What the clocks were spent on."""
    return charts.inline(charts.shares(counted["shares"]), "clocks by activity")


def accuracy_over(curves: Sequence[Facts], x: str, axis: str, base: int) -> Markup:
    """Of a comparison: accuracy over the figure `x` of its points, which `axis` names."""
    labels = list(dict.fromkeys(curve["label"] for curve in curves))
    widths = sorted({curve["weight_bits"] for curve in curves}, reverse=True)
    series = [
        charts.Curve(
            curve["name"],
            [(max(point[x], 1), point["integer_snn"], _tip(point)) for point in curve["points"]],
            labels.index(curve["label"]),
            widths.index(curve["weight_bits"]),
        )
        for curve in curves
    ]
    return charts.inline(charts.accuracies(series, axis, base=base), f"accuracy over {axis}")


def _tip(point: Facts) -> str:
    """What the plots tell of a point; nothing of one that the tables leave out."""
    if not shown_in_tables(point):
        return ""
    return (
        f"T = {t_of(point)}: {percent(point['integer_snn'])}, "
        f"{number(point['synaptic_operations'])} synaptic operations"
    )
