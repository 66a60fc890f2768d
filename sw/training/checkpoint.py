"""The state of a training between two epochs, and its checkpoint."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from spikewright.errors import SpikewrightError
from spikewright.files import read_bytes, write_bytes
from spikewright.sw.training.settings import Settings

__all__ = ["State"]

_BYTES = 4 * 2**30


class State:
    """The network as it is and as it was best, the optimiser, and what every epoch came to.

    `earlier` is the record of the network that the training went on from, None for none.
    """

    def __init__(self, module: nn.Module, settings: Settings, earlier: Any = None) -> None:
        self.module, self.settings, self.earlier = module, settings, earlier
        self.optimiser = _optimiser(module, settings)
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

    def store(self, path: Path) -> None:
        """Write the checkpoint, whole or not at all."""
        stored = {
            "settings": json.dumps(self.settings.to_json()),
            "start": json.dumps(self.earlier),
            "module": self.module.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "scores": self.scores,
            "seconds": self.seconds,
            "origins": json.dumps(self.origins),
            "best_epoch": self.best_epoch,
            "best": self.best,
        }
        buffer = io.BytesIO()
        torch.save(stored, buffer)
        write_bytes(path, buffer.getvalue())

    def restore(self, path: Path) -> None:
        """Go on from the checkpoint in `path`; refuses that of another training."""
        data = io.BytesIO(read_bytes(path, _BYTES))
        try:
            stored = torch.load(data, weights_only=True)
            if json.loads(stored["settings"]) != self.settings.to_json():
                raise SpikewrightError(
                    f"{path}: belongs to a training with other settings; delete it to start anew"
                )
            if json.loads(stored["start"]) != self.earlier:
                raise SpikewrightError(
                    f"{path}: went on from another {self.settings.start}; delete it to start anew"
                )
            self.module.load_state_dict(stored["module"])
            self.optimiser.load_state_dict(stored["optimiser"])
            self.scores = [float(score) for score in stored["scores"]]
            self.seconds = [(float(a), float(b)) for a, b in stored["seconds"]]
            self.origins = json.loads(stored["origins"])
            self.best_epoch, self.best = stored["best_epoch"], stored["best"]
        except SpikewrightError:
            raise
        except Exception as e:  # torch.load, and whatever it may have loaded, can raise anything
            raise SpikewrightError(
                f"{path}: is not a checkpoint of this training ({type(e).__name__}); delete it to "
                "start anew"
            ) from None


def _optimiser(module: nn.Module, settings: Settings) -> torch.optim.Optimizer:
    """SGD with momentum; thresholds, biases and norms are not decayed."""
    weights = [p for p in module.parameters() if p.ndim > 1]
    others = [p for p in module.parameters() if p.ndim <= 1]
    groups = [
        {"params": weights, "weight_decay": settings.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    return torch.optim.SGD(groups, lr=settings.lr, momentum=0.9, nesterov=True)
