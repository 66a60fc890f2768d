"""Training of the networks whose conversion is known to work."""

from __future__ import annotations

import os
from dataclasses import asdict
from typing import Any

from spikewright.app.command import Result, command
from spikewright.app.model import need
from spikewright.app.options import Train
from spikewright.app.printing import percent, table
from spikewright.progress import Report

__all__ = ["show", "train"]


@command(Train)
def train(options: Train, command: str, progress: Report) -> dict[str, Any]:
    """Train a network and write its weights to `out`; the record that lies with them is returned.

    With `start`, the file of a trained
    network, those not given are its own, and the rest that of a fine-tuning of the folded network
    with integer weights. Raises SpikewrightError for options or files that cannot be used.
    """
    need("torch", "torch", "training")
    from spikewright.sw.training import train as training
    from spikewright.sw.training.settings import Settings

    def tell(state: training.Progress) -> None:
        score = "" if state.score is None else f", last judged {state.score:.1%}"
        progress(f"epoch {state.epoch} of {state.epochs}{score}", state.done)

    given = {name: value for name, value in asdict(options).items() if value is not None}
    out, folder = given.pop("out"), given.pop("data_dir", None)
    make = Settings.continued if options.start else Settings
    record = training.train(out, make(**given), data_dir=folder, progress=tell)
    return {**record, "output": os.fspath(out)}


def show(record: Result) -> None:
    """The epoch that was kept, and how good it is."""
    print(f"kept epoch {record['epoch']} of {len(record['scores'])}")
    rows = [(name.replace("_", " "), percent(share)) for name, share in record["accuracy"].items()]
    print(table(("", "accuracy"), rows))
    print(f"wrote {record['output']}")
