"""Training of the networks in :mod:`~spikewright.sw.models.nets`: seeded, resumable, recorded.

The test images are never looked at before the end: part of the training set is held back as the
validation split, and the epoch to keep is the one whose *integer spiking network* (of `bits` bits,
over `steps` time steps) is best there. A checkpoint lies beside the output until the training is
over.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from spikewright.errors import SpikewrightError
from spikewright.provenance import provenance
from spikewright.sw.models import nets
from spikewright.sw.models.reading import load_saved
from spikewright.sw.training.batches import Splits
from spikewright.sw.training.checkpoint import State
from spikewright.sw.training.epoch import run_epoch
from spikewright.sw.training.judging import accuracy, spiking_accuracy
from spikewright.sw.training.noise import induce
from spikewright.sw.training.settings import Settings

__all__ = ["Progress", "train"]

_NOISE = 1000
"""Validation images that NQ's noise is measured on after each epoch."""


@dataclass(frozen=True)
class Progress:
    """`done` is the finished share of the whole training; `score` that of the last epoch judged."""

    epoch: int
    epochs: int
    done: float
    loss: float
    score: float | None


Report = Callable[[Progress], None]


def train(
    output: str | os.PathLike[str],
    settings: Settings,
    *,
    data_dir: str | os.PathLike[str] | None = None,
    progress: Report | None = None,
) -> dict[str, Any]:
    """Train, write `output` as safetensors and return the record that is stored with the weights.

    An interrupted training goes on from ``<output>.checkpoint`` if the settings are the same. The
    record holds command, time, commit and versions of its start (and of those where it was
    `resumed`), the settings, the threads, of every epoch the score (accuracy of the integer spiking
    network on the validation split) and the seconds to train it and to judge it, the accuracies of
    the kept epoch, test split included, and the record of a network that it started from.
    """
    path, checkpoint = Path(output), Path(f"{output}.checkpoint")
    _check_output(path)
    splits = Splits.load(settings, data_dir)
    state = _untrained(settings)
    if os.path.lexists(checkpoint):
        state.restore(checkpoint)
    state.origins.append(provenance(settings.command))
    while state.epoch < settings.epochs:
        _advance(state, splits, progress or (lambda _: None))
        state.store(checkpoint)
    state.module.load_state_dict(state.best)
    record = _record(state, splits)
    nets.save(state.module, {**settings.metadata(), "training": record}, path)
    checkpoint.unlink(missing_ok=True)
    return record


def _check_output(path: Path) -> None:
    """Say before any work that nothing could be written."""
    if path.suffix != ".safetensors":
        raise SpikewrightError(f"{path}: must end in .safetensors, as what reads it expects")
    if not os.path.isdir(path.parent):
        raise SpikewrightError(f"{path}: the folder {path.parent} does not exist; create it first")
    if os.path.isdir(path):
        raise SpikewrightError(f"{path}: is a folder; name a file")


def _untrained(settings: Settings) -> State:
    """The state that a training begins with: seeded weights, or those of `settings.start`."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        module = nets.build(settings.metadata())
    earlier = _go_on(module, settings) if settings.start else None
    for weight in (p for p in module.parameters() if p.ndim == 4):  # deep nets: a sixth faster
        weight.data = weight.data.contiguous(memory_format=torch.channels_last)
    return State(module, settings, earlier)


def _advance(state: State, splits: Splits, progress: Report) -> None:
    """One epoch, trained and judged on the validation split."""
    settings, epoch, began, loss = state.settings, state.epoch + 1, time.monotonic(), 0.0
    for share, loss in run_epoch(state, splits.training):
        score = state.scores[-1] if state.scores else None
        progress(Progress(epoch, settings.epochs, share, loss, score))
    trained = time.monotonic()
    if settings.method == "nq":
        induce(state.module, splits.validation[0][:_NOISE].numpy())
    try:
        if settings.judge == "ann":
            score = accuracy(state.module, splits.validation)
        else:
            score = spiking_accuracy(state.module, splits.validation, splits.calibration, settings)
    except SpikewrightError as e:
        raise SpikewrightError(
            f"training: the network of epoch {epoch} cannot become spiking ({e}); its last loss "
            f"was {loss:.3g}, if that is high lower lr"
        ) from None
    state.judge(score, (trained - began, time.monotonic() - trained))


def _record(state: State, splits: Splits) -> dict[str, Any]:
    """What is stored with the weights of the best epoch, which are in place."""
    settings, module, known = state.settings, state.module, splits.calibration
    kept = {f"{settings.judge}_validation": state.scores[state.best_epoch - 1]}
    validation, test = splits.validation, splits.test
    if settings.judge == "snn":
        kept["ann_validation"] = accuracy(module, validation)
    record = {
        **state.origins[0],
        "resumed": state.origins[1:],
        "threads": torch.get_num_threads(),
        "settings": settings.to_json(),
        "scores": state.scores,
        "seconds": [[round(spent, 2) for spent in pair] for pair in state.seconds],
        "epoch": state.best_epoch,
        "accuracy": kept
        | {
            "ann_test": accuracy(module, test),
            "snn_test": spiking_accuracy(module, test, known, settings),
        },
    }
    return record | ({} if state.earlier is None else {"start": state.earlier})


def _go_on(module: nn.Module, settings: Settings) -> Any:
    """Fill `module` from the network to start from; returns the record of its training."""
    trained, metadata = load_saved(Path(settings.start))
    wanted, kwargs = settings.metadata()["kwargs"], metadata.get("kwargs", {})
    alike = {**kwargs, "norm": False, "weight_bits": 0} == {**wanted, "weight_bits": 0}
    if metadata["net"] != settings.net or not alike:
        raise SpikewrightError(
            f"start {settings.start}: is another net than the settings describe; leave "
            "method, net, width, levels and counts to it"
        )
    record = metadata.get("training")
    for ancestor in _ancestors(record):
        before = Settings.recorded(ancestor, settings.start)
        seen = (before.seed, before.validation) == (settings.seed, settings.validation)
        if before.data == settings.data and not seen:
            raise SpikewrightError(
                f"start {settings.start}: was trained on images that another seed or validation "
                "would hold back; leave both to it"
            )
    folded = nets.build({**metadata, "kwargs": {**kwargs, "weight_bits": 0}})
    nets.fill(folded, trained)
    nets.fill(module, nets.fold(folded))
    return record


def _ancestors(record: Any) -> Iterator[Any]:
    """The record of a training, and of those that it went on from."""
    yield record
    if isinstance(record, dict) and "start" in record:
        yield from _ancestors(record["start"])
