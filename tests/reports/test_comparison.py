"""Results beside each other: curves of labels, refused files, the command."""

import json
import re

import pytest

from spikewright.app.cli import main
from spikewright.app.compare import compare
from spikewright.errors import SpikewrightError
from spikewright.reports.page import render_comparison

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
        "steps": steps,
        "input_steps": steps,
        "model": {},
        "prefixes": prefixes,
        "over_time": dict.fromkeys(
            ("float_snn", "integer_snn", "spikes", "synaptic_operations"), [0.5] * steps
        ),
        "same_class": 0.9,
        "ties": 0.0,
        "spikes": 150.0 * steps,
        "synaptic_operations": 2000.0 * steps,
        "spikes_per_neuron": 1.5 * steps,
        "most_spikes": steps,
        "deviates": False,
        "seconds": {},
        "images_per_second": {},
        "seed": None,
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
        ("{", "x.json: is not sound JSON"),
        ("[]", "x.json: has no schema version; it is not one of our files"),
        ({"schema": 2, "kind": "report"}, "x.json: invalid enum value 'report', at "),
        (result() | {"schema": 99}, "x.json: schema version 99 is newer"),
        ({"schema": 2, "kind": "eval"}, "x.json: object missing required field label"),
        (result() | {"by_T": [{"T": "two"}]}, r"x.json: expected int, got str.*by_T"),
        (result() | {"by_T": 3}, r"x.json: expected array, got int.*by_T"),
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
    with pytest.raises(SpikewrightError, match=r"nothing\.json: no such file"):
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
