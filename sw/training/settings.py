"""The settings of a training: what, with the data, determines it."""

from __future__ import annotations

import os
import shlex
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any

from msgspec import Meta

from spikewright.errors import SpikewrightError
from spikewright.network.conversion import Conversion, Readout
from spikewright.records import SCHEMA, check_fields, from_builtins
from spikewright.sw.models import nets
from spikewright.sw.models.options import ACTIVATIONS
from spikewright.sw.models.reading import load_saved
from spikewright.sw.training.data import DATASETS

__all__ = ["METHODS", "Settings"]

METHODS = ACTIVATIONS

_SMAX = 2
"""HPC's, as in the paper."""


_LATER = ("schedule", "clip", "smoothing", "cutout", "bfloat16", "judge")
"""Options that trainings on record did not know: their commands name them where they matter."""


@dataclass(frozen=True)
class _Recipe:
    """A method's neuron, its levels (of hpc those of a step) and T where it does not follow."""

    neuron: str
    levels: int = 8
    steps: int = 8
    exact: bool = False
    qat: bool = False


_RECIPES = {
    "qcfs": _Recipe("if"),
    "nq": _Recipe("if"),
    "hpc": _Recipe("hpc", levels=_SMAX),
    "qffs": _Recipe("qffs", levels=3, exact=True),
    "calif": _Recipe("ca-lif", levels=255, steps=16, qat=True),
    "relu": _Recipe("if", steps=32),
}

_Count = Annotated[int, Meta(ge=1, le=100_000)]
_Pixels = Annotated[int, Meta(ge=0, le=64)]


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
    number of training images held back; `flip` and `shift` (in pixels) augment the images, and
    `cutout` blackens a square of that side somewhere in each (DeVries and Taylor 2017).

    The learning rate falls from `lr` to 0 along a cosine, or ("one-cycle", Smith 2018) rises to
    `lr` for a fifth of the training and then falls to 0, both in straight lines. `clip` is the norm
    that a batch's gradient is cut to: a deep net's can be a thousand times as long, and its batch
    norms and thresholds do not come back from one such step; a LeNet-5's never exceeds 10.
    `smoothing` spreads that share of each label over all classes. With `bfloat16` the convolutions
    of the training steps, not those that judge, are computed in that format, which some processors
    do twice as fast. Epochs are judged by the integer
    spiking network ("snn") or by the network itself ("ann"), which is what burst neurons compute.

    `start` is the file of a trained network to go on from, its batch norms folded into the weights
    and so frozen: see :meth:`continued`.
    """

    method: str = "qcfs"
    net: str = "lenet5"
    data: str = "fashion-mnist"
    epochs: _Count = 40
    batch: _Count = 128
    lr: Annotated[float, Meta(gt=0, le=1e30)] = 0.1
    weight_decay: Annotated[float, Meta(ge=0, le=1000)] = 1e-4
    schedule: str = "cosine"
    clip: Annotated[float, Meta(gt=0, le=1e30)] = 10.0
    smoothing: Annotated[float, Meta(ge=0, le=0.9)] = 0.0
    bfloat16: bool = False
    levels: Annotated[int, Meta(ge=0, le=65_535)] = 0
    steps: Annotated[int, Meta(ge=0, le=4096)] = 0
    bits: Annotated[int, Meta(ge=2, le=8)] = 8
    qat: bool = False
    width: float = 1.0
    norm: bool = False
    counts: bool = False
    flip: bool = False
    shift: _Pixels = 0
    cutout: _Pixels = 0
    judge: str = "snn"
    validation: Annotated[int, Meta(ge=1)] = 5000
    seed: Annotated[int, Meta(ge=0, lt=2**32)] = 0
    start: str = ""

    def __post_init__(self) -> None:
        check_fields(self, "training")
        choices = {"method": METHODS, "net": nets.NETS, "data": DATASETS}
        choices |= {"schedule": ("cosine", "one-cycle"), "judge": ("snn", "ann")}
        for name, known in choices.items():
            if getattr(self, name) not in known:
                raise SpikewrightError(
                    f"{name} {getattr(self, name)}: is not known; choose one of {', '.join(known)}"
                )
        if self.start and self.norm:
            raise SpikewrightError(f"start {self.start}: its norms are folded; leave norm out")
        if self.norm and self.batch == 1:
            raise SpikewrightError("batch 1: gives norm no variance; take at least 2, or no norm")
        self._complete()

    def _complete(self) -> None:
        """Put the method's own in place of zeros."""
        recipe = _RECIPES[self.method]
        steps = self.steps or recipe.steps
        if self.method == "qffs":
            steps = self.steps or self.levels or recipe.levels
        levels = self.levels or recipe.levels * (steps if self.method == "hpc" else 1)
        own = {"qat": self.qat or recipe.qat, "steps": steps, "levels": levels}
        for name, value in own.items():
            object.__setattr__(self, name, value)

    @classmethod
    def recorded(cls, record: Any, where: object) -> Settings:
        """Those in the `record` of a training, which `where` (a file) holds.

        Raises SpikewrightError where they are none.
        """
        known = record.get("settings") if isinstance(record, dict) else None
        if not isinstance(known, dict):
            raise SpikewrightError(f"{where}: holds no record of a training")
        own = {name: known[name] for name in cls.__dataclass_fields__ if name in known}
        return from_builtins(own, cls, where, oldest=None, remedy="train the network again")

    @classmethod
    def continued(cls, start: str | os.PathLike[str], **changes: Any) -> Settings:
        """Those of the network in `start`, with `changes`, to go on from it.

        Where nothing else is said, its weights become integers of 8 bits in five epochs, at a tenth
        of the learning rate. Raises SpikewrightError for a file without a record of its training.
        """
        before = cls.recorded(load_saved(Path(start))[1].get("training"), start)
        own = {"start": os.fspath(start), "norm": False, "qat": True, "epochs": 5}
        return replace(before, **{**own, "lr": before.lr / 10, **changes})

    def to_json(self) -> dict[str, Any]:
        """As they are recorded: of `start` the file's name."""
        return asdict(self) | {"start": Path(self.start).name}

    @property
    def command(self) -> str:
        """The command line that repeats this training; later options only where they are used."""
        words = ["spikewright train"]
        for name, value in self.to_json().items():
            if name in _LATER and value == Settings.__dataclass_fields__[name].default:
                continue
            option = "--" + name.replace("_", "-")
            if isinstance(value, bool):
                words += [option] if value else []
            elif value != "":
                words.append(f"{option} {shlex.quote(str(value))}")
        return " ".join(words)

    @property
    def conversion(self) -> Conversion:
        """How the network becomes spiking."""
        recipe = _RECIPES[self.method]
        readout = Readout.COUNTS if self.counts else Readout.POTENTIALS
        return replace(Conversion.named(neuron=recipe.neuron, exact=recipe.exact), readout=readout)

    def metadata(self) -> dict[str, Any]:
        """What :func:`~spikewright.sw.models.nets.build` makes the untrained network from."""
        dataset = DATASETS[self.data]
        kwargs: dict[str, Any] = {
            "shape": list(dataset.shape),
            "classes": len(dataset.classes),
            "activation": self.method,
            "width": self.width,
            "norm": self.norm,
        }
        kwargs |= {} if self.method == "relu" else {"levels": self.levels}
        kwargs |= {"smax": _SMAX} if self.method == "hpc" else {}
        kwargs |= {"counts": True} if self.counts else {}
        kwargs |= {"weight_bits": self.bits} if self.qat else {}
        return {"schema": SCHEMA, "net": self.net, "kwargs": kwargs}
