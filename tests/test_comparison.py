"""Results beside each other: curves of labels, refused files, the page."""

import json
import re
from itertools import pairwise

import pytest

from spikewright.app.api import compare
from spikewright.app.cli import main
from spikewright.errors import SpikewrightError
from spikewright.report import charts as svg
from spikewright.report.page import render_comparison

CHOICES = {
    "conversion": {"neuron": "if"},
    "calibration": None,
    "calibrated": False,
    "percentile": 99.9,
    "channelwise": False,
}


def result(label="QCFS", *, steps=4, accuracy=0.8, prefixes=True, frames="set", bits=8, images=10):
    """A result whose values tell T and where they come from."""
    ts = range(1, steps + 1) if prefixes else [steps]
    return {
        "schema": 2,
        "kind": "eval",
        "label": label,
        "frames": frames,
        "images": images,
        "input_steps": steps,
        "weight_bits": bits,
        "neurons": 100,
        "accuracy": {"ann": 0.9, "float_snn": 0.85, "integer_snn": accuracy},
        "by_T": [
            {
                "T": t,
                "float_snn": 0.85,
                "integer_snn": accuracy - 0.01 * (steps - t),
                "spikes": 150.0 * t,
                "synaptic_operations": 2000.0 * t,
            }
            for t in ts
        ],
        "compile": {"command": "compile <this>", **CHOICES},
        "about": {
            "command": f"eval {label}",
            "date": "2001-02-03T04:05:06Z",
            "commit": None,
            "versions": {"spikewright": "9.8"},
        },
    }


@pytest.fixture
def save(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def write(name, value):
        (tmp_path / name).write_text(value if isinstance(value, str) else json.dumps(value))
        return name

    return write


def test_results_of_one_label_are_one_curve(save):
    """The shortest network that answers a T counts, in any order of the files."""
    files = [
        save("8.json", result(steps=8, accuracy=0.8)),
        save("2.json", result(steps=2, accuracy=0.7)),
        save("tsc.json", result("TSC", steps=16, prefixes=False)),
    ]
    for order in (files, files[::-1]):
        (data,) = compare(order)["sets"]
        assert data["title"] == "set, 10 images"
        curves = {curve["label"]: curve for curve in data["curves"]}
        points = curves["QCFS"]["points"]
        assert [(p["T"], p["compiled"]) for p in points] == [
            *((1, 2), (2, 2)),
            *((t, 8) for t in range(3, 9)),
        ]
        assert [p["integer_snn"] for p in points[:3]] == pytest.approx([0.69, 0.7, 0.75])
        assert points[2] == {
            "T": 3,
            "ann": 0.9,
            "float_snn": 0.85,
            "integer_snn": points[2]["integer_snn"],
            "spikes": 450.0,
            "spikes_per_neuron": 4.5,
            "synaptic_operations": 6000.0,
            "compiled": 8,
        }
        assert [p["T"] for p in curves["TSC"]["points"]] == [16]


@pytest.mark.parametrize(
    ("where", "name", "other"),
    [
        ("accuracy", "ann", 0.6),
        ("compile", "conversion", {"neuron": "ca-lif", "rounding": "drain"}),
        ("compile", "calibration", "few.npz"),
        ("compile", "calibrated", True),
        ("compile", "percentile", 99.0),
        ("compile", "channelwise", True),
    ],
)
def test_one_curve_is_one_network_and_conversion(save, where, name, other):
    """Labels are the neurons' if nothing else is said, so different networks may have the same."""
    longer = result(steps=8)
    longer[where] |= {name: other}
    files = [save("4.json", result()), save("8.json", longer)]
    message = r"^8.json: QCFS, 8 bits, on set, 10 images: there is another network or conversion"
    with pytest.raises(SpikewrightError, match=message):
        compare(files)
    apart = [files[0], save("8.json", longer | {"label": "another"})]
    assert len(compare(apart)["sets"][0]["curves"]) == 2


def test_widths_and_data_sets_part(save):
    files = [
        save("8.json", result()),
        save("4.json", result(bits=4)),
        save("other.json", result(frames="other")),
        save("fewer.json", result(images=1)),
    ]
    facts = compare(files)
    names = [(data["title"], [curve["name"] for curve in data["curves"]]) for data in facts["sets"]]
    assert names == [
        ("set, 10 images", ["QCFS, 8 bits", "QCFS, 4 bits"]),
        ("other, 10 images", ["QCFS"]),
        ("set, 1 image", ["QCFS"]),
    ]
    assert [origin["file"] for origin in facts["origins"]] == files


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "x.json: is no JSON file"),
        ("[]", "x.json: is no result of eval"),
        ({"schema": 2, "kind": "report"}, "x.json: is no result of eval"),
        (result() | {"schema": 99}, "x.json: schema version 99 is newer"),
        ({"schema": 2, "kind": "eval"}, r"x.json: is an incomplete result \(KeyError: 'images'\)"),
        (result() | {"by_T": [{"T": "two"}]}, r"x.json: is an incomplete result \(ValueError"),
        (result() | {"by_T": 3}, r"x.json: is an incomplete result \(TypeError"),
        (result(), r"x.json: QCFS, 8 bits, on set, 10 images: .* T=4; tell them apart"),
    ],
)
def test_refused(content, message, save):
    save("good.json", result())
    with pytest.raises(SpikewrightError, match=message):
        compare(["good.json", save("x.json", content)])


def test_the_page_takes_no_result_s_place(save, tmp_path):
    file = save("good.json", result())
    with pytest.raises(SpikewrightError, match="is one of the results"):
        compare([file], tmp_path / "good.json")
    assert json.loads((tmp_path / file).read_text()) == result()
    with pytest.raises(SpikewrightError, match="nowhere"):
        compare([file], "nowhere/page.html")
    with pytest.raises(SpikewrightError, match=r"nothing\.json: cannot be read"):
        compare(["nothing.json"])
    assert [path.name for path in tmp_path.iterdir()] == ["good.json"]


def test_command(save, tmp_path, capsys):
    file = save("qcfs.json", result("<QCFS>", steps=6))
    assert main(["compare", file, "-o", "page.html"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert " ".join(lines[0]) == "set, 10 images"
    shown = [" ".join(line) for line in lines[2:6]]
    assert shown[0].startswith("<QCFS> 8 1 of 6 90.00 % 85.00 % 75.00 % 150 2,000")
    assert shown[3].startswith("<QCFS> 8 6 90.00 % 85.00 % 80.00 % 900 12,000")
    assert lines[-1] == ["wrote", "page.html"]
    page = (tmp_path / "page.html").read_text()
    assert page.count("&lt;QCFS&gt;, T = 4 of 6: 78.00 %") == 2
    assert "T = 5 of 6" not in page
    assert "compile &lt;this&gt;; eval &lt;QCFS&gt;" in page
    assert "version 9.8" in page
    assert "<QCFS>" not in page
    assert not re.search(r"(?:src|href)=|url\(|@import", page)
    assert main(["compare", file, "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["page"] == "compare.html"
    assert (tmp_path / "compare.html").read_text() == render_comparison(facts)
    assert main(["compare", "page.html"]) == 1
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize(
    "points",
    [
        [(1, 0.0)],
        [(4, 1.0)],
        [(1, 0.99999), (2, 1.0)],
        [(1, 0.1), (2, 0.5), (8, 0.9942)],
        [(3, 0.9), (5, 0.9)],
    ],
)
def test_accuracies_stay_inside(points):
    curve = svg.Curve("a", [(x, share, f"{x}") for x, share in points])
    drawing = svg.accuracies([curve], [1, 2, 4, 8], "T", "accuracy")
    marks = re.findall(r'<circle cx="([\d.]+)" cy="([\d.]+)"', drawing)
    assert len(marks) == len(points)
    for x, y in marks:
        assert 52 <= float(x) <= 466
        assert 10 <= float(y) <= 254.05


def test_equal_ratios_of_errors_are_equal_heights():
    curve = svg.Curve("a", [(1, 0.0, "a"), (2, 0.9, "b"), (4, 0.99, "c"), (16, 0.999, "d")])
    drawing = svg.accuracies([curve], [1, 2, 4, 8, 16], "T", "accuracy")
    x, y = zip(*re.findall(r'<circle cx="([\d.]+)" cy="([\d.]+)"', drawing), strict=True)
    heights = [float(a) - float(b) for a, b in pairwise(y)]
    assert heights == pytest.approx([heights[0]] * 3, abs=0.15)
    assert heights[0] > 70
    assert float(x[3]) - float(x[2]) == pytest.approx(2 * (float(x[1]) - float(x[0])), abs=0.15)
    assert all(f">{tick}</text>" in drawing for tick in ("90 %", "99 %", "99.9 %", "8", "16"))


def test_many_curves_differ():
    curves = [svg.Curve(str(i), [(1, 0.5, "x")], i % 12, i // 12) for i in range(24)]
    assert len({curve.style for curve in curves[:12]}) == 12
    assert len({curve.style for curve in curves[::12]}) == 2
