"""The report, written again."""

import json

import numpy as np
import pytest

from tests.app.commands import idx, refused, run


def test_json_is_all_that_is_printed(out, capsys):
    status, output, errors = run(["report", str(out), "--json"], capsys)
    assert (status, errors) == (0, [])
    facts = json.loads(output)
    assert facts == json.loads((out / "report.json").read_text())
    assert facts["build"]["about"]["command"].startswith("spikewright compile ")


@pytest.mark.parametrize("command", ["report", "verify", "eval"])
def test_a_data_set_by_name_is_read_from_its_folder(command, out, work, capsys):
    """Its frames do not fit this network, which tells that they were read."""
    idx(work / "t10k-images-idx3-ubyte", np.zeros((4, 28, 28)))
    idx(work / "t10k-labels-idx1-ubyte", np.zeros(4))
    words = [command, str(out), "--data", "mnist", "--data-dir"]
    refused([*words, "."], capsys, "mnist, test split", "(4, 1, 28, 28)", "(N, 1, 10, 10)")
    refused([*words, "nowhere"], capsys, "nowhere")


def test_report_evaluates_what_it_is_given(out, built, work, capsys):
    data = str(built / "data.npz")
    assert run(["report", str(out)], capsys)[0] == 0
    assert json.loads((out / "report.json").read_text())["eval"] is None
    assert run(["report", str(out), "--data", data], capsys)[0] == 0
    assert json.loads((out / "report.json").read_text())["eval"]["frames"] == "data.npz"
    refused(["report", str(out), "--data-dir", "."], capsys, "--data")
