"""The boards."""

import json

from tests.app.commands import run


def test_boards(capsys):
    status, output, _ = run(["boards", "--json"], capsys)
    assert status == 0
    assert "ulx3s-85f" in [board["name"] for board in json.loads(output)["boards"]]
