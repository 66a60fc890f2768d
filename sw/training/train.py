"""Training of the networks in :mod:`~spikewright.sw.models.nets`: seeded, resumable, recorded.

The test images are never looked at before the end: part of the training set is held back as the
validation split, and the epoch to keep is the one whose *integer spiking network* (of `bits` bits,
over `steps` time steps) is best there. A checkpoint lies beside the output until the training is
over.
"""

from __future__ import annotations

import io
import json
import math
import os
import pickle
import shlex
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from spikewright.errors import SpikewrightError
from spikewright.files import write_bytes
from spikewright.network.conversion import Conversion, Readout
from spikewright.provenance import provenance
from spikewright.records import SCHEMA
from spikewright.sim.golden.model import Golden
from spikewright.sw.frontend.trace import trace
from spikewright.sw.models import nets
from spikewright.sw.models.reading import load_saved
from spikewright.sw.passes.convert import convert
from spikewright.sw.passes.quantise import quantise
from spikewright.sw.training import data
from spikewright.sw.training.noise import induce

__all__ = ["METHODS", "Progress", "Settings", "train"]

METHODS = nets.ACTIVATIONS

_CALIBRATION = 500
"""Training images that set the thresholds of a ReLU network for the choice of the epoch."""

_NOISE = 1000
"""Validation images that NQ's noise is measured on after each epoch."""

_JUDGED = 500
"""Images that are judged at once: the golden model keeps the spike counts of all their neurons."""

_SMAX = 2
"""HPC's, as in the paper."""

_STEEPEST = 10.0
"""Norm that a batch's gradient is cut to: a deep net's can be a thousand times as long, and its
batch norms and thresholds do not come back from one such step. A LeNet-5's is never cut."""


@dataclass(frozen=True)
class _Recipe:
    """A method's neuron, its levels (of hpc those of a step) and T where it does not follow."""

    neuron: str
    levels: int = 8
    steps: int = 8
    exact: bool = False
    qat: bool = False

    @property
    def conversion(self) -> Conversion:
        return Conversion.named(neuron=self.neuron, exact=self.exact)


_RECIPES = {
    "qcfs": _Recipe("if"),
    "nq": _Recipe("if"),
    "hpc": _Recipe("hpc", levels=_SMAX),
    "qffs": _Recipe("qffs", levels=3, exact=True),
    "calif": _Recipe("ca-lif", levels=255, steps=16, qat=True),
    "relu": _Recipe("if", steps=32),
}


@dataclass(frozen=True)
class Settings:
    """What, with the data, determines a training.

    `levels` is how many steps the activations have: L of qcfs and nq (8), T * Smax of hpc (2 T, its
    Smax is 2), 2**b - 1 of qffs (3) and calif (255). `steps` and `bits` are the T and the weight
    bits of the integer spiking network that an epoch is judged by (T: qffs `levels`, calif 16, relu
    32, the others 8); 0 levels or steps stand for the method's own. With `qat` (always with calif)
    the weights are trained as integers of `bits` bits, those that the compiler will find (but where
    two branches are added: it gives them one unit, and so rounds their weights once more). With
    `counts` an activation ends the network, and its counts are the output; `validation` is the
    number of training images held back; `flip` and `shift` (in pixels) augment the images.

    `start` is the file of a trained network to go on from, its batch norms folded into the weights
    and so frozen: see :meth:`continued`.
    """

    method: str = "qcfs"
    net: str = "lenet5"
    data: str = "fashion-mnist"
    epochs: int = 40
    batch: int = 128
    lr: float = 0.1
    weight_decay: float = 1e-4
    levels: int = 0
    steps: int = 0
    bits: int = 8
    qat: bool = False
    width: float = 1.0
    norm: bool = False
    counts: bool = False
    flip: bool = False
    shift: int = 0
    validation: int = 5000
    seed: int = 0
    start: str = ""

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise SpikewrightError(
                f"method {self.method}: is not known; choose one of {', '.join(METHODS)}"
            )
        if self.net not in nets.NETS:
            raise SpikewrightError(
                f"net {self.net}: is not known; choose one of {', '.join(nets.NETS)}"
            )
        if self.data not in data.DATASETS:
            raise SpikewrightError(
                f"data {self.data}: is not known; choose one of {', '.join(data.DATASETS)}"
            )
        if self.start and self.norm:
            raise SpikewrightError(f"start {self.start}: its norms are folded; leave norm out")
        recipe = _RECIPES[self.method]
        object.__setattr__(self, "qat", self.qat or recipe.qat)
        if self.steps == 0:
            own = (self.levels or recipe.levels) if self.method == "qffs" else recipe.steps
            object.__setattr__(self, "steps", own)
        if self.levels == 0:
            own = recipe.levels * (self.steps if self.method == "hpc" else 1)
            object.__setattr__(self, "levels", own)
        for name in ("epochs", "batch", "levels", "steps", "validation"):
            if getattr(self, name) < 1:
                raise SpikewrightError(f"{name} {getattr(self, name)}: must be at least 1")
        if self.norm and self.batch == 1:
            raise SpikewrightError("batch 1: gives norm no variance; take at least 2, or no norm")
        for name in ("shift", "seed", "weight_decay"):
            if getattr(self, name) < 0:
                raise SpikewrightError(f"{name} {getattr(self, name)}: must not be negative")
        if self.seed >= 2**32:
            raise SpikewrightError(f"seed {self.seed}: must be less than 2**32")
        if not self.lr > 0:
            raise SpikewrightError(f"lr {self.lr}: must be positive")
        if not 2 <= self.bits <= 8:
            raise SpikewrightError(f"bits {self.bits}: choose 2 to 8")

    @classmethod
    def continued(cls, start: str | os.PathLike[str], **changes: Any) -> Settings:
        """Those of the network in `start`, with `changes`, to go on from it.

        Where nothing else is said, its weights become integers of 8 bits in five epochs, at a tenth
        of the learning rate. Raises SpikewrightError for a file without a record of its training.
        """
        _, metadata = load_saved(Path(start))
        try:
            known = metadata["training"]["settings"]
            before = cls(**{k: known[k] for k in cls.__dataclass_fields__ if k in known})
        except (KeyError, TypeError):
            raise SpikewrightError(f"{start}: holds no record of a training") from None
        own = {"start": os.fspath(start), "norm": False, "qat": True, "epochs": 5}
        return replace(before, **{**own, "lr": before.lr / 10, **changes})

    def to_json(self) -> dict[str, Any]:
        """As they are recorded: of `start` the file's name."""
        return asdict(self) | {"start": Path(self.start).name}

    @property
    def command(self) -> str:
        """The command line that repeats this training."""
        words = ["spikewright train"]
        for name, value in self.to_json().items():
            if value == "":
                continue
            option = "--" + name.replace("_", "-")
            if isinstance(value, bool):
                words += [option] if value else []
            else:
                words.append(f"{option} {shlex.quote(str(value))}")
        return " ".join(words)

    @property
    def conversion(self) -> Conversion:
        """How the network becomes spiking."""
        readout = Readout.COUNTS if self.counts else Readout.POTENTIALS
        return replace(_RECIPES[self.method].conversion, readout=readout)

    def metadata(self) -> dict[str, Any]:
        """What :func:`~spikewright.sw.models.nets.build` makes the untrained network from."""
        dataset = data.DATASETS[self.data]
        kwargs: dict[str, Any] = {
            "shape": list(dataset.shape),
            "classes": len(dataset.classes),
            "activation": self.method,
            "width": self.width,
            "norm": self.norm,
        }
        if self.method != "relu":
            kwargs["levels"] = self.levels
        if self.method == "hpc":
            kwargs["smax"] = _SMAX
        if self.counts:
            kwargs["counts"] = True
        if self.qat:
            kwargs["weight_bits"] = self.bits
        return {"schema": SCHEMA, "net": self.net, "kwargs": kwargs}


@dataclass(frozen=True)
class Progress:
    """`done` is the finished share of the whole training; `score` that of the last epoch judged."""

    epoch: int
    epochs: int
    done: float
    loss: float
    score: float | None


def train(
    output: str | os.PathLike[str],
    settings: Settings,
    *,
    data_dir: str | os.PathLike[str] | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> dict[str, Any]:
    """Train, write `output` as safetensors and return the record that is stored with the weights.

    An interrupted training goes on from ``<output>.checkpoint`` if the settings are the same. The
    record holds command, time, commit and versions of its start (and of those where it was
    `resumed`), the settings, the threads, of every epoch the score (accuracy of the integer spiking
    network on the validation split) and the seconds to train it and to judge it, the accuracies of
    the kept epoch, test split included, and the record of a network that it started from.
    """
    path, checkpoint = Path(output), Path(f"{output}.checkpoint")
    if path.suffix != ".safetensors":
        raise SpikewrightError(f"{path}: must end in .safetensors, as what reads it expects")
    if not path.parent.is_dir():
        raise SpikewrightError(f"{path}: the folder {path.parent} does not exist; create it first")
    if path.is_dir():
        raise SpikewrightError(f"{path}: is a folder; name a file")
    images, labels = data.load(settings.data, data_dir, "train")
    test = _tensors(*data.load(settings.data, data_dir, "test"))
    if settings.validation >= len(images):
        raise SpikewrightError(
            f"validation {settings.validation}: leaves nothing of {len(images)} training images"
        )
    order = np.random.default_rng(settings.seed).permutation(len(images))
    held, kept = np.split(order, [settings.validation])
    validation = _tensors(images[held], labels[held])
    training = _tensors(images[kept], labels[kept])
    calibration = images[kept[:_CALIBRATION]]

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        module = nets.build(settings.metadata())
    earlier = _go_on(module, settings)
    for weight in (p for p in module.parameters() if p.ndim == 4):  # deep nets: a sixth faster
        weight.data = weight.data.contiguous(memory_format=torch.channels_last)
    state = _State(module, _optimiser(module, settings))
    if checkpoint.exists():
        state.restore(checkpoint, settings, earlier)
    state.origins.append(provenance(settings.command))

    while state.epoch < settings.epochs:
        began = time.monotonic()
        for share, loss in _epoch(state, settings, training):
            if progress is not None:
                score = state.scores[-1] if state.scores else None
                progress(Progress(state.epoch + 1, settings.epochs, share, loss, score))
        trained = time.monotonic()
        if settings.method == "nq":
            induce(module, validation[0][:_NOISE].numpy())
        try:
            score = _spiking_accuracy(module, validation, calibration, settings)
        except SpikewrightError as e:
            raise SpikewrightError(
                f"training: the network of epoch {state.epoch + 1} cannot become spiking ({e}); "
                f"its last loss was {loss:.3g}, if that is high lower lr"
            ) from None
        state.judge(score, (trained - began, time.monotonic() - trained))
        state.store(checkpoint, settings, earlier)

    module.load_state_dict(state.best)
    record = {
        **state.origins[0],
        "resumed": state.origins[1:],
        "threads": torch.get_num_threads(),
        "settings": settings.to_json(),
        "scores": state.scores,
        "seconds": [[round(spent, 2) for spent in pair] for pair in state.seconds],
        "epoch": state.best_epoch,
        "accuracy": {
            "ann_validation": _accuracy(module, *validation),
            "ann_test": _accuracy(module, *test),
            "snn_validation": state.scores[state.best_epoch - 1],
            "snn_test": _spiking_accuracy(module, test, calibration, settings),
        },
    }
    if earlier is not None:
        record["start"] = earlier
    nets.save(module, {**settings.metadata(), "training": record}, path)
    checkpoint.unlink(missing_ok=True)
    return record


def _go_on(module: nn.Module, settings: Settings) -> Any:
    """Fill `module` from the network to start from; returns the record of its training."""
    if not settings.start:
        return None
    trained, metadata = load_saved(Path(settings.start))
    wanted = settings.metadata()["kwargs"]
    kwargs = {**metadata["kwargs"], "norm": False, "weight_bits": 0}
    if (metadata["net"], kwargs) != (settings.net, {**wanted, "weight_bits": 0}):
        raise SpikewrightError(
            f"start {settings.start}: is another net than the settings describe; leave "
            "method, net, width, levels and counts to it"
        )
    real = nets.build({**metadata, "kwargs": {**metadata["kwargs"], "weight_bits": 0}})
    record = metadata["training"]
    for before in _ancestors(record):
        split = [(before["settings"][n], getattr(settings, n)) for n in _SPLIT]
        if split[0][0] == split[0][1] and any(old != new for old, new in split):
            raise SpikewrightError(
                f"start {settings.start}: was trained on images that another seed or validation "
                "would hold back; leave both to it"
            )
    nets.fill(real, trained)
    nets.fill(module, nets.fold(real))
    return record


_SPLIT = ("data", "seed", "validation")
"""The settings that say which images are held back."""


def _ancestors(record: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The record of a training, and of those that it went on from."""
    yield record
    if "start" in record:
        yield from _ancestors(record["start"])


_NO_CHECKPOINT = (
    *(OSError, EOFError, RuntimeError, pickle.UnpicklingError),  # torch.load
    *(AttributeError, IndexError, KeyError, TypeError, ValueError),  # what it loaded
)


class _State:
    """What a checkpoint holds: the network as it is and as it was best, and the optimiser."""

    def __init__(self, module: nn.Module, optimiser: torch.optim.Optimizer) -> None:
        self.module = module
        self.optimiser = optimiser
        self.scores: list[float] = []
        self.seconds: list[tuple[float, float]] = []
        self.origins: list[dict[str, Any]] = []
        self.best_epoch = 0
        self.best: dict[str, Tensor] = {}

    @property
    def epoch(self) -> int:
        """Epochs finished."""
        return len(self.scores)

    def judge(self, score: float, seconds: tuple[float, float]) -> None:
        """End an epoch with its score and time to train and to judge; of equals the first stays."""
        if not self.scores or score > max(self.scores):
            self.best_epoch = self.epoch + 1
            self.best = {k: v.clone() for k, v in self.module.state_dict().items()}
        self.scores.append(score)
        self.seconds.append(seconds)

    def store(self, path: Path, settings: Settings, earlier: Any) -> None:
        buffer = io.BytesIO()
        torch.save(
            {
                "settings": json.dumps(settings.to_json()),
                "start": json.dumps(earlier),
                "module": self.module.state_dict(),
                "optimiser": self.optimiser.state_dict(),
                "scores": self.scores,
                "seconds": self.seconds,
                "origins": json.dumps(self.origins),
                "best_epoch": self.best_epoch,
                "best": self.best,
            },
            buffer,
        )
        write_bytes(path, buffer.getvalue())

    def restore(self, path: Path, settings: Settings, earlier: Any) -> None:
        try:
            stored = torch.load(path, weights_only=True)
            if json.loads(stored["settings"]) != settings.to_json():
                raise SpikewrightError(
                    f"{path}: belongs to a training with other settings; delete it to start anew"
                )
            if json.loads(stored["start"]) != earlier:
                raise SpikewrightError(
                    f"{path}: went on from another {settings.start}; delete it to start anew"
                )
            self.module.load_state_dict(stored["module"])
            self.optimiser.load_state_dict(stored["optimiser"])
            self.scores = [float(score) for score in stored["scores"]]
            self.seconds = [(float(a), float(b)) for a, b in stored["seconds"]]
            self.origins = json.loads(stored["origins"])
            self.best_epoch, self.best = stored["best_epoch"], stored["best"]
        except _NO_CHECKPOINT as e:
            raise SpikewrightError(
                f"{path}: is not a checkpoint of this training ({type(e).__name__}); delete it to "
                "start anew"
            ) from None


def _tensors(images: data.Images, labels: data.Labels) -> tuple[Tensor, Tensor]:
    return torch.tensor(images), torch.tensor(labels)


def _real(pixels: Tensor) -> Tensor:
    """Pixels as the network sees them: 0..1."""
    return pixels.float() / 255


def _optimiser(module: nn.Module, settings: Settings) -> torch.optim.Optimizer:
    """SGD with momentum; thresholds, biases and norms are not decayed."""
    weights = [p for p in module.parameters() if p.ndim > 1]
    others = [p for p in module.parameters() if p.ndim <= 1]
    groups = [
        {"params": weights, "weight_decay": settings.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    return torch.optim.SGD(groups, lr=settings.lr, momentum=0.9, nesterov=True)


def _epoch(
    state: _State, settings: Settings, training: tuple[Tensor, Tensor]
) -> Iterator[tuple[float, float]]:
    """One epoch, batch by batch; its random numbers depend on its number alone.

    Yields the share of the whole training that is done after each batch, and the batch's loss.
    """
    images, labels = training
    generator = torch.Generator().manual_seed(settings.seed * 100_003 + state.epoch)
    noise = torch.Generator().manual_seed(settings.seed * 100_003 + state.epoch)
    order = torch.randperm(len(images), generator=generator)
    batches = _batches(order, settings.batch)
    state.module.train()
    for i, batch in enumerate(batches):
        share = (state.epoch + i / len(batches)) / settings.epochs
        for group in state.optimiser.param_groups:
            group["lr"] = settings.lr * 0.5 * (1 + math.cos(math.pi * share))
        x = _real(_augmented(images[batch], settings, generator))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(torch.randint(2**62, (), generator=noise)))
            loss = functional.cross_entropy(state.module(x), labels[batch])
        if not torch.isfinite(loss):
            raise SpikewrightError(
                f"training: the loss became {loss.item()} in epoch {state.epoch + 1}; lower lr"
            )
        state.optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(state.module.parameters(), _STEEPEST)
        state.optimiser.step()
        yield (state.epoch + (i + 1) / len(batches)) / settings.epochs, loss.item()


def _batches(order: Tensor, size: int) -> list[Tensor]:
    """Of `size` images, the last of fewer but never of one, which has no variance to normalise."""
    batches = list(order.split(size))
    if len(batches) > 1 and len(batches[-1]) == 1 < size:
        batches[-2:] = [torch.cat(batches[-2:])]
    return batches


def _augmented(x: Tensor, settings: Settings, generator: torch.Generator) -> Tensor:
    """Each image mirrored with probability 1/2, and moved by up to `shift` pixels over black."""
    n, _, height, width = x.shape
    columns = torch.arange(width).expand(n, width)
    if settings.flip:
        mirrored = torch.rand(n, 1, generator=generator) < 0.5
        columns = torch.where(mirrored, width - 1 - columns, columns)
    s = settings.shift
    moves = torch.randint(0, 2 * s + 1, (2, n, 1), generator=generator)
    rows = torch.arange(height) + moves[0]
    columns = columns + moves[1]
    padded = functional.pad(x, (s, s, s, s)).permute(0, 2, 3, 1)
    index = torch.arange(n)[:, None, None]
    moved = padded[index, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
    # NHWC strides would spread through the network, and torch draws noise far slower into them.
    return moved.clone(memory_format=torch.contiguous_format)


@torch.no_grad()
def _accuracy(module: nn.Module, x: Tensor, y: Tensor) -> float:
    module.eval()
    right = 0
    for pixels, labels in zip(x.split(1000), y.split(1000), strict=True):
        right += int((module(_real(pixels)).argmax(1) == labels).sum())
    return right / len(x)


def _spiking_accuracy(
    module: nn.Module, split: tuple[Tensor, Tensor], calibration: data.Images, settings: Settings
) -> float:
    """Accuracy of the integer network; `calibration` gives a ReLU its thresholds."""
    x, y = (tensor.numpy() for tensor in split)
    network = trace(module, _real(split[0][:1]))
    steps, conversion = settings.steps, settings.conversion.suited(network, settings.steps)
    converted = convert(network, conversion, steps=steps, calibration=calibration)
    settle = conversion.settle_steps(converted, steps)
    integer = quantise(converted, steps=steps, settle=settle, weight_bits=settings.bits)
    golden = Golden(integer)
    starts = range(0, len(x), _JUDGED)
    right = (golden.run(x[i : i + _JUDGED]).classes == y[i : i + _JUDGED] for i in starts)
    return float(np.concatenate(list(right)).mean())
