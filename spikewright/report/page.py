"""The report as one self-contained HTML page, from the facts of :mod:`spikewright.report.facts`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from spikewright.report import charts as svg

__all__ = ["render", "render_comparison", "shown_in_tables", "t_of"]

Facts = Mapping[str, Any]

STYLE = """
:root { color-scheme: light dark; --page: #f6f7f9; --card: #fff; --ink: #1b2230; --soft: #5b6576;
  --rule: #dfe3ea; --track: #e9ecf2; --good: #1a7f4b; --bad: #c0322f;
  --s1: #2a6fdb; --s2: #e08a1e; --s3: #2c9c6a; --s4: #a9b2c0; --s5: #c2484a; --s6: #8457c9;
  --s7: #1f97a8; --s8: #8a6d3b; }
@media (prefers-color-scheme: dark) { :root { --page: #12161d; --card: #1a202a; --ink: #e4e8ef;
  --soft: #98a3b5; --rule: #2c3442; --track: #273040; --good: #4fc487; --bad: #ff7b74;
  --s1: #6ea3ff; --s2: #f2ad55; --s3: #5cc795; --s4: #667288; --s5: #f08082; --s6: #b697f0;
  --s7: #5cc4d3; --s8: #c3a571; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
main { max-width: 1060px; margin: 0 auto; padding: 28px 18px 60px; }
h1 { font-size: 1.7rem; margin: 0; }
h2 { font-size: 1.15rem; margin: 0 0 10px; }
h3 { font-size: .95rem; margin: 14px 0 6px; }
p { margin: 6px 0; }
section { background: var(--card); border: 1px solid var(--rule); border-radius: 10px;
  padding: 18px 20px; margin-top: 16px; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(140px, 1fr)); gap: 10px;
  margin-top: 16px; }
.card { background: var(--card); border: 1px solid var(--rule); border-radius: 10px;
  padding: 12px 14px; }
.card b { display: block; font-size: 1.35rem; line-height: 1.3; white-space: nowrap;
  font-variant-numeric: tabular-nums; }
.card span, .soft, figcaption { color: var(--soft); font-size: .86rem; }
.good { color: var(--good); } .bad { color: var(--bad); }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .9rem; }
th, td { padding: 5px 12px 5px 0; text-align: right; white-space: nowrap;
  border-bottom: 1px solid var(--rule); }
th { color: var(--soft); font-weight: 500; vertical-align: bottom; }
th:first-child, td:first-child, .text td, .text th { text-align: left; }
.second td:nth-child(2), .second th:nth-child(2) { text-align: left; }
.text td { white-space: normal; vertical-align: top; overflow-wrap: anywhere; }
.text td:first-child { white-space: nowrap; }
.row { display: flex; flex-wrap: wrap; gap: 18px; align-items: flex-start; }
figure { margin: 0; } figcaption { margin-bottom: 4px; }
svg { width: 100%; height: auto; display: block; }
.row > div { flex: 1 1 380px; min-width: 0; }
.legend { display: flex; flex-wrap: wrap; gap: 2px 16px; font-size: .86rem; }
.legend i { display: inline-block; width: 11px; height: 11px; margin-right: 6px; }
.row > figure { flex: 1 1 220px; max-width: 480px; } .row > figure.small { flex: 0 1 225px; }
svg text { fill: var(--ink); font-size: 12.5px; }
svg text.tick { fill: var(--soft); font-size: 10.5px; }
svg .grid line { stroke: var(--rule); stroke-width: 1; }
.frame { width: 140px; height: 140px; object-fit: contain; image-rendering: pixelated;
  border: 1px solid var(--rule); border-radius: 6px; background: #000; }
code { font: .88em ui-monospace, SFMono-Regular, Menlo, Consolas, monospace;
  overflow-wrap: anywhere; }
.warning { border-left: 4px solid var(--s2); padding: 4px 12px; margin-top: 12px; }
"""


def render(facts: Facts) -> str:
    """The page of `facts`, as :func:`~spikewright.report.facts.summarise` gives them."""
    build = facts["build"]
    parts = (
        _header(build),
        _cards(facts),
        _accuracy(facts["eval"]),
        _layers(facts),
        _activity(facts),
        _clocks(facts),
        _verification(facts["verify"]),
        _resources(facts["synth"], build),
        _memories(facts),
        _origins(facts),
    )
    return _document(build["name"], parts)


def render_comparison(facts: Facts) -> str:
    """The page of `facts`, as :func:`~spikewright.report.comparison.compare` gives them."""
    text = (
        "Accuracy of integer SNNs on labelled images, as the golden model computes it; of equal "
        "outputs the lowest class. The scales of accuracy are logarithmic in the error."
    )
    parts = ["<h1>Comparison</h1>", _soft(text), *map(_compared, facts["sets"])]
    return _document("Comparison", [*parts, _compared_origins(facts["origins"])])


def _document(title: str, parts: Iterable[str]) -> str:
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)} - Spikewright</title><style>{STYLE}</style></head>"
        f"<body><main>{''.join(parts)}</main></body></html>\n"
    )


# ------------------------------------------------------------------------------------ small helpers


def _percent(share: float | None, digits: int = 2) -> str:
    return "-" if share is None else f"{100 * share:.{digits}f} %"


def _number(value: float | None, digits: int = 0) -> str:
    return "-" if value is None else f"{value:,.{digits}f}"


def _by(sizes: Sequence[int]) -> str:
    return "×".join(str(n) for n in sizes)


def _section(title: str, *parts: str) -> str:
    return f"<section><h2>{escape(title)}</h2>{''.join(parts)}</section>"


def _table(header: Sequence[str], rows: Iterable[Sequence[str]], kind: str = "") -> str:
    """Cells are text and are escaped."""
    head = "".join(f"<th>{escape(cell)}</th>" for cell in header)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows
    )
    return f'<div class="wide"><table class="{kind}"><tr>{head}</tr>{body}</table></div>'


def _figure(caption: str, drawing: str, kind: str = "") -> str:
    return f'<figure class="{kind}"><figcaption>{escape(caption)}</figcaption>{drawing}</figure>'


def _soft(text: str) -> str:
    return f'<p class="soft">{escape(text)}</p>'


def _origin(result: Facts) -> str:
    """Where a section's figures come from: the command and its time."""
    about = result["about"]
    return (
        f'<p class="soft">Obtained with <code>{escape(about["command"])}</code>, '
        f"{escape(about['date'])}.</p>"
    )


def _missing(what: str, command: str) -> str:
    return f'<p class="soft">{escape(what)}: not yet. Run <code>{escape(command)}</code>.</p>'


# ----------------------------------------------------------------------------------------- sections


def _header(build: Facts) -> str:
    about = build["about"]
    text = (
        f"{_by(build['input'])} frames, T = {build['input_steps']} time steps, "
        f"{build['weight_bits']}-bit weights, for {build['board']}"
    )
    model = build["model"]
    words = (
        f"Neurons: {model['neurons']}. Input: {model['code']}. Time: {model['time']}. "
        f"Output: {model['output']}."
    )
    warnings = "".join(
        f'<p class="warning">{escape(warning)}</p>' for warning in about.get("warnings", [])
    )
    return f"<h1>{escape(build['name'])}</h1>{_soft(text)}{_soft(words)}{warnings}"


def _cards(facts: Facts) -> str:
    cards = []

    def card(value: str, what: str, kind: str = "") -> None:
        cards.append(
            f'<div class="card"><b class="{kind}">{escape(value)}</b>'
            f"<span>{escape(what)}</span></div>"
        )

    if facts["eval"]:
        accuracy = facts["eval"]["accuracy"]
        card(_percent(accuracy["ann"]), "ANN")
        card(_percent(accuracy["float_snn"]), "float SNN")
        card(_percent(accuracy["integer_snn"]), "integer SNN")
    if facts["verify"]:
        equal = facts["verify"]["equal"]
        what = f"hardware and golden model, {facts['verify']['images']} images"
        card("equal" if equal else "NOT equal", what, "good" if equal else "bad")
    if facts["latency"]:
        latency = facts["latency"]
        card(
            f"{_number(latency['microseconds'])} µs",
            f"an image at {latency['clock_mhz']:g} MHz ({latency['clock_source']})",
        )
    if facts["clocks"]:
        card(_percent(facts["clocks"]["word_utilisation"], 1), "of clocks are word operations")
    if facts["synth"]:
        card(f"{facts['synth']['fmax_mhz']:.1f} MHz", "Fmax")
    return f'<div class="cards">{"".join(cards)}</div>' if cards else ""


def _accuracy(result: Facts | None) -> str:
    title = "Accuracy"
    if result is None:
        return _section(title, _missing("Accuracy", "spikewright eval OUT --data FILE.npz"))
    accuracy, speed = result["accuracy"], result["images_per_second"]
    rows = [
        (label, _percent(accuracy[key]), change, _number(speed.get(key)))
        for key, label, change in (
            ("ann", "ANN (torch)", ""),
            (
                "float_snn",
                f"float SNN, {result['steps']} steps (torch)",
                _change(accuracy, "ann", "float_snn"),
            ),
            (
                "integer_snn",
                f"integer SNN, {result['steps']} steps (golden model)",
                _change(accuracy, "float_snn", "integer_snn"),
            ),
        )
    ]
    chart = svg.lines(
        {
            "float SNN": result["over_time"]["float_snn"],
            "integer SNN": result["over_time"]["integer_snn"],
        },
        {"ANN": accuracy["ann"]},
        "accuracy over time steps",
    )
    legend = svg.legend(["float SNN", "integer SNN", "ANN"])
    caption = "Accuracy after each time step"
    if not result["prefixes"]:
        caption += f"; only that of step {result['steps']} is a result"
    return _section(
        title,
        '<div class="row"><div>',
        _table(("stage", "accuracy", "points", "images/s here"), rows),
        _soft(
            f"{result['images']:,} labelled images: {result['frames']}. Float and integer SNN give "
            f"the same class for {_percent(result['same_class'])} of them. The integer SNN takes "
            f"{_number(result['spikes'])} spikes an image, "
            f"{result['spikes_per_neuron']:.2f} a neuron and {result['most_spikes']} at most of "
            f"one, and {_number(result['synaptic_operations'])} synaptic operations; for "
            f"{_percent(result['ties'])} of the images outputs tie for the greatest, and the "
            "lowest class is taken."
        ),
        "</div>",
        _figure(caption, chart + legend),
        "</div>",
        _origin(result),
    )


def _change(accuracy: Facts, before: str, after: str) -> str:
    return f"{100 * (accuracy[after] - accuracy[before]):+.2f}"


def _layers(facts: Facts) -> str:
    layers = facts["layers"]
    numbers = (
        (
            layer["name"],
            _reads(layer["synapses"][0]),
            _by(layer["shape"]),
            _number(layer["neurons"]),
            _number(layer["weights"]),
            str(layer["bits"]),
            "-" if layer["threshold"] is None else _range(layer["threshold"]),
            str(layer["fraction_bits"]),
            _range(layer["potential_range"]),
        )
        for layer in layers
    )
    behaviour = (
        (
            layer["name"],
            _percent(layer["weight_error"]),
            _percent(layer["threshold_error"], 3),
            _number(layer["spike_rate"], 3),
            _number(layer["events"]),
            _number(layer["synaptic_operations"]),
            _number(layer["scan_operations"]),
        )
        for layer in layers
    )
    sample = facts["sample"]
    counted = (
        f"Rates and counts are means an image over {sample['images']} frames ({sample['source']}), "
        "by the golden model: spikes per neuron and step, events received, additions they need, "
        "and updates of the end-of-step scans."
        if sample
        else ""
    )
    return _section(
        "Layers",
        _table(
            (
                *("layer", "reads", "shape", "neurons", "weights", "bits", "threshold", "F"),
                "proven range of U",
            ),
            numbers,
            "second",
        ),
        _soft(
            "Thresholds and potentials in units of the membrane, which has F fractional bits. No "
            "input can take a potential U out of its proven range."
        ),
        "<h3>Quantisation and work</h3>",
        _table(
            (
                *("layer", "weight error", "threshold error", "spike rate", "events"),
                *("synaptic operations", "scan updates"),
            ),
            behaviour,
        ),
        _soft(
            "Weight error: root mean square of the rounding over that of the weights. Threshold "
            f"error: the largest of a channel. {counted}"
        ),
    )


def _range(pair: Sequence[int]) -> str:
    low, high = pair
    return f"{low:,}" if low == high else f"{low:,} … {high:,}"


def _reads(synapse: Facts) -> str:
    text = f"{synapse['source']}, {_by(synapse['kernel'])}"
    if max(synapse["stride"]) > 1:
        text += f", stride {_by(synapse['stride'])}"
    if max(synapse["padding"]) > 0:
        text += f", padding {_by(synapse['padding'])}"
    if max(synapse["pool"]) > 1:
        text += f", {synapse['pool_kind']} pool {_by(synapse['pool'])}"
    return text


def _activity(facts: Facts) -> str:
    sample, shown = facts["sample"], facts["raster"]
    if sample is None or shown is None:
        return ""
    rates = {
        layer["name"]: layer["spike_rate"]
        for layer in facts["layers"]
        if layer["spike_rate"] is not None
    }
    steps = facts["build"]["steps"]
    label = "" if shown["label"] is None else f"label {shown['label']}, "
    figures = [
        _figure(
            f"{layer['name']}: {len(layer['rows'])} of {layer['active']:,} neurons that fire "
            f"({layer['neurons']:,} in all)",
            svg.raster(
                [(row["neuron"], row["steps"]) for row in layer["rows"]],
                steps,
                f"spikes of {layer['name']}",
            ),
            "small",
        )
        for layer in shown["layers"]
        if layer["rows"]
    ]
    frame = _figure(
        f"First sample frame: {label}class {shown['class']}",
        svg.image(shown["pixels"], shown["peak"], "the first sample frame"),
        "small",
    )
    return _section(
        "Activity",
        '<div class="row">',
        _figure(
            "Spike rate: spikes per neuron and step", svg.bars(rates, "spike rate of each layer")
        )
        if rates
        else "",
        frame,
        "</div>",
        "<h3>Spike raster of this frame</h3>",
        _soft(
            "One row a neuron (its index in channel, y, x order to the left), one column a step."
        ),
        f'<div class="row">{"".join(figures)}</div>',
        _soft(
            f"{_number(sample['spikes'])} spikes and {_number(sample['synaptic_operations'])} "
            f"synaptic operations an image, mean of {sample['images']} frames ({sample['source']})."
        ),
    )


def _clocks(facts: Facts) -> str:
    title, counted, latency = "Clocks and latency", facts["clocks"], facts["latency"]
    if counted is None:
        return _section(title, _missing("Clocks", "spikewright verify OUT"))
    hardware = facts["hardware"]
    legend = svg.legend([f"{name} {share:.1%}" for name, share in counted["shares"].items()])
    rows = [
        ("clocks an image", f"{counted['mean']:,.0f} ({_range((counted['min'], counted['max']))})"),
        ("word utilisation", _percent(counted["word_utilisation"], 1)),
        ("lane utilisation", _percent(counted["lane_utilisation"], 1)),
    ]
    if latency:
        rows += [
            (
                "latency",
                f"{_number(latency['microseconds'], 1)} µs at {latency['clock_mhz']:g} MHz "
                f"({latency['clock_source']})",
            ),
            ("images a second", _number(latency["images_per_second"])),
        ]
    return _section(
        title,
        _figure(
            "What the cores did in each clock while an image was in flight",
            svg.stacked(counted["shares"], "clocks by activity") + legend,
        ),
        _table(("", ""), rows, "text"),
        _soft(
            f"{hardware['cores']} core(s) of {hardware['lanes']} lanes, counted in simulation. "
            "Word utilisation: clocks in which a core integrated, scanned or initialised a word. "
            "Lane utilisation: updates that the golden model counts as required, over lanes times "
            "clocks."
        ),
        _origin(facts["verify"]),
    )


def _verification(result: Facts | None) -> str:
    title = "Verification"
    if result is None:
        return _section(title, _missing("Verification", "spikewright verify OUT"))
    if result["equal"]:
        verdict = (
            f'<p class="good"><b>Equal.</b> Outputs of {result["images"]:,} images, and every '
            f"spike and every membrane of every layer and step of {result['traced']:,} of them.</p>"
        )
    else:
        verdict = f'<p class="bad"><b>Not equal.</b> {escape(result["mismatch"]["text"])}</p>'
    return _section(
        title,
        verdict,
        _soft(
            "The golden model, rebuilt from the memory images on disk, against the generated "
            f"Verilog with the same files loaded through the host port, in {result['backend']}. "
            f"Frames: {result['frames']}."
        ),
        _origin(result),
    )


def _resources(result: Facts | None, build: Facts) -> str:
    title = "Resources"
    if result is None:
        return _section(title, _missing("Resources and Fmax", "spikewright synth OUT"))
    rows = [
        (name, f"{entry['used']:,}", f"{entry['available']:,}", _percent(entry["share"], 1))
        for name, entry in result["resources"].items()
    ]
    return _section(
        title,
        _table(("resource", "used", "available", "share"), rows),
        f"<p>Clock {result['clock_mhz']:g} MHz, Fmax {result['fmax_mhz']:.1f} MHz on "
        f"{escape(build['board'])}.</p>",
        _soft(", ".join(f"{name}: {version}" for name, version in result["tools"].items())),
        _origin(result),
    )


def _memories(facts: Facts) -> str:
    kinds: dict[str, list[Facts]] = {}
    for memory in facts["memories"]:
        kinds.setdefault(memory["name"].rsplit("_", 1)[0], []).append(memory)
    rows = [
        (
            name,
            str(len(group)),
            f"{group[0]['words']:,}",
            str(group[0]["width"]),
            f"{sum(m['bits'] for m in group) / 8192:.2f}",
        )
        for name, group in kinds.items()
    ]
    return _section(
        "Memory layout",
        _table(("memory", "instances", "words", "bits a word", "KiB in all"), rows),
        _soft(f"{facts['memory_bits'] / 8192:.1f} KiB in all; spikes of all T steps are kept."),
    )


def _origins(facts: Facts) -> str:
    about = facts["build"]["about"]
    rows = []
    for what, origin in (
        ("layers, activity, memory", about),
        *((key, facts[key]["about"]) for key in ("eval", "verify", "synth") if facts[key]),
    ):
        tools = ", ".join(f"{name} {version}" for name, version in origin["versions"].items())
        rows.append((what, origin["command"], origin["date"], tools))
    calibration = about.get("calibration") or "none"
    return _section(
        "How each number was obtained",
        _table(("figures", "command", "date (UTC)", "versions"), rows, "text"),
        _soft(
            f"Calibration images: {calibration}. Weight scales: {about.get('scales', '-')}. "
            f"Sample frames: {about.get('sample', '-')}."
        ),
    )


# --------------------------------------------------------------------------------------- comparison


def _compared(data: Facts) -> str:
    """One data set: accuracy over T and over the work, and a table of both."""
    curves = data["curves"]
    labels = list(dict.fromkeys(curve["label"] for curve in curves))
    widths = sorted({curve["weight_bits"] for curve in curves}, reverse=True)

    def plot(x: str, ticks: Sequence[float], axis: str) -> str:
        series = [
            svg.Curve(
                curve["name"],
                [(max(p[x], 1), p["integer_snn"], _tip(p)) for p in curve["points"]],
                labels.index(curve["label"]),
                widths.index(curve["weight_bits"]),
            )
            for curve in curves
        ]
        return svg.accuracies(series, ticks, axis, f"accuracy over {axis}") + svg.keys(series)

    powers = [2**i for i in range(16)]
    decades = [m * 10**i for i in range(12) for m in (1, 2, 5)]
    rows = [
        (
            curve["label"],
            str(curve["weight_bits"]),
            t_of(point),
            *(_percent(point[name]) for name in ("ann", "float_snn", "integer_snn")),
            _change(point, "ann", "integer_snn"),
            _number(point["spikes"]),
            _number(point["spikes_per_neuron"], 2),
            _number(point["synaptic_operations"]),
        )
        for curve in curves
        for point in curve["points"]
        if shown_in_tables(point)
    ]
    header = (
        *("method", "bits", "T", "ANN", "float SNN", "integer SNN", "points", "spikes"),
        *("a neuron", "synaptic operations"),
    )
    return _section(
        data["title"],
        '<div class="row">',
        _figure("Accuracy over T", plot("T", powers, "T, time steps with input")),
        _figure(
            "Accuracy over synaptic operations",
            plot("synaptic_operations", decades, "synaptic operations an image"),
        ),
        "</div>",
        _table(header, rows),
        _soft(
            "T: 4 of 32 are the first 4 steps of a network compiled for 32, which differs from one "
            "compiled for 4 in the rounding of its biases. Points: integer SNN less ANN. Spikes "
            "and synaptic operations: means an image."
        ),
    )


def shown_in_tables(point: Facts) -> bool:
    """Whether tables have a row for this T: a power of two, or the one that was compiled for."""
    return point["compiled"] == point["T"] or point["T"].bit_count() == 1


def t_of(point: Facts) -> str:
    """A point's T, and the T of its network where that is longer."""
    own = point["T"] == point["compiled"]
    return f"{point['T']}" if own else f"{point['T']} of {point['compiled']}"


def _tip(point: Facts) -> str:
    """What the plots tell of a point; nothing of one that the tables leave out."""
    if not shown_in_tables(point):
        return ""
    return (
        f"T = {t_of(point)}: {_percent(point['integer_snn'])}, "
        f"{_number(point['synaptic_operations'])} synaptic operations"
    )


def _compared_origins(origins: Sequence[Facts]) -> str:
    rows = [
        (
            f"{origin['label']}, T = {origin['T']}",
            origin["file"],
            f"{origin['compile']}; {origin['command']}",
            origin["date"],
            origin["commit"] or f"version {origin['versions']['spikewright']}",
        )
        for origin in origins
    ]
    header = ("result", "file", "commands", "date (UTC)", "commit")
    return _section("How each number was obtained", _table(header, rows, "text"))
