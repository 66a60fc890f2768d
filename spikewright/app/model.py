"""What a user names as a model: the network itself, its frame, and what it was trained for."""

from __future__ import annotations

import importlib.util
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spikewright.errors import SpikewrightError
from spikewright.network import InputSpec

if TYPE_CHECKING:
    import torch

    from spikewright.network import FloatNetwork

__all__ = ["input_spec", "load", "need", "saved_shape", "saved_target"]


def need(module: str, extra: str, purpose: str) -> None:
    """Raise SpikewrightError unless `module` is installed."""
    if importlib.util.find_spec(module) is None:
        raise SpikewrightError(
            f"{module}: is not installed, and {purpose} needs it; "
            f"pip install 'spikewright[{extra}]'"
        )


def input_spec(
    shape: Sequence[int],
    *,
    bits: int = 8,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
) -> InputSpec:
    """The frame ``(C, H, W)`` of a network that sees ``(pixel / (2**bits - 1) - mean) / std``.

    `mean` and `std` hold one number a channel, or one for all, as for torchvision's ``Normalize``;
    without them the network sees ``pixel / (2**bits - 1)``.
    """
    if len(shape) != 3 or min(shape) < 1:
        raise SpikewrightError(f"input shape {tuple(shape)}: give channels, height, width")
    if not 1 <= bits <= 8:
        raise SpikewrightError(f"input: {bits} bits a pixel; 1 to 8 are supported")
    channels, peak = shape[0], 2**bits - 1

    def per_channel(name: str, values: Sequence[float] | None, default: float) -> list[float]:
        given = [default] if values is None else list(values)
        if len(given) not in (1, channels):
            raise SpikewrightError(
                f"{name}: {len(given)} numbers for {channels} channels; give one, or one a channel"
            )
        return given * channels if len(given) == 1 else given

    deviations = per_channel("std", std, 1.0)
    if min(deviations) <= 0:
        raise SpikewrightError(f"std: {min(deviations)} is not positive")
    return InputSpec(
        (shape[0], shape[1], shape[2]),
        bits,
        tuple(1.0 / (peak * s) for s in deviations),
        tuple(peak * m for m in per_channel("mean", mean, 0.0)),
    )


def load(
    model: str | os.PathLike[str],
    *,
    weights: str | os.PathLike[str] | None = None,
    trust: bool = False,
) -> torch.nn.Module | FloatNetwork:
    """The network that `model` names, as :mod:`spikewright.sw.models.reading` explains."""
    need("torch", "torch", "loading a model")
    from spikewright.sw.models.reading import load_model

    path = None if weights is None else Path(weights)
    return load_model(os.fspath(model), weights=path, trust=trust)


def saved_shape(model: object) -> tuple[int, int, int] | None:
    """The frame ``(C, H, W)`` of a network that :func:`train` saved, None for any other model."""
    try:
        c, h, w = _metadata(model)["kwargs"]["shape"]
        return int(c), int(h), int(w)
    except (KeyError, TypeError, ValueError):
        return None


def saved_target(model: object) -> dict[str, Any]:
    """What a network that :func:`train` saved was trained for; of any other model, nothing.

    That is its `conversion`, its `steps`, and the `bits` of integer weights.
    """
    metadata = _metadata(model)
    record = metadata.get("training") if isinstance(metadata, dict) else None
    if record is None:
        return {}
    need("torch", "torch", "reading a trained network")
    from spikewright.sw.training.settings import Settings

    settings = Settings.recorded(record, model)
    target: dict[str, Any] = {"conversion": settings.conversion, "steps": settings.steps}
    return target | ({"bits": settings.bits} if settings.qat else {})


def _metadata(model: object) -> Any:
    """What :func:`train` writes beside the weights; nothing where `model` is another."""
    if not isinstance(model, str | os.PathLike) or Path(model).suffix != ".safetensors":
        return {}
    from safetensors import SafetensorError, safe_open

    if not Path(model).is_file():
        return {}
    try:
        with safe_open(os.fspath(model), framework="numpy") as file:
            return json.loads((file.metadata() or {})["spikewright"])
    except (SafetensorError, OSError, KeyError, ValueError, RecursionError):
        return {}
