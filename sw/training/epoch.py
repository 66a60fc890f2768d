"""One epoch: the optimiser's steps over all batches, reproducible from the epoch's number."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import nn
from torch.nn import functional

from spikewright.errors import SpikewrightError
from spikewright.sw.training.batches import Split, augmented, batches, real
from spikewright.sw.training.checkpoint import State
from spikewright.sw.training.settings import Settings

__all__ = ["rate", "run_epoch"]

_RISE = 0.2
"""Share of a one-cycle training in which the learning rate rises."""


def rate(settings: Settings, share: float) -> float:
    """The learning rate when `share` of the training is done."""
    if settings.schedule == "cosine":
        return settings.lr * 0.5 * (1 + math.cos(math.pi * share))
    return settings.lr * min(share / _RISE, (1 - share) / (1 - _RISE))


def run_epoch(state: State, training: Split) -> Iterator[tuple[float, float]]:
    """One epoch, batch by batch; its random numbers depend on its number alone.

    Yields the share of the whole training that is done after each batch, and the batch's loss.
    """
    settings, (images, labels) = state.settings, training
    seed = settings.seed * 100_003 + state.epoch
    generator, noise = (torch.Generator().manual_seed(seed) for _ in range(2))
    parts = batches(torch.randperm(len(images), generator=generator), settings.batch)
    state.module.train()
    for i, batch in enumerate(parts):
        share = (state.epoch + i / len(parts)) / settings.epochs
        for group in state.optimiser.param_groups:
            group["lr"] = rate(settings, share)
        x = real(augmented(images[batch], settings, generator))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(torch.randint(2**62, (), generator=noise)))
            with torch.autocast("cpu", torch.bfloat16, enabled=settings.bfloat16):
                scores = state.module(x).float()
            loss = functional.cross_entropy(
                scores, labels[batch], label_smoothing=settings.smoothing
            )
        if not torch.isfinite(loss):
            raise SpikewrightError(
                f"training: the loss became {loss.item()} in epoch {state.epoch + 1}; lower lr"
            )
        state.optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(state.module.parameters(), settings.clip)
        state.optimiser.step()
        yield (state.epoch + (i + 1) / len(parts)) / settings.epochs, loss.item()
