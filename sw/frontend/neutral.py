"""Handlers of what computes nothing: flattening, dropout in evaluation, a softmax at the end."""

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch

from spikewright.sw.frontend.site import Site
from spikewright.sw.frontend.values import Value

__all__ = ["dropout", "identity", "log_softmax", "reshape", "softmax"]


def reshape(site: Site, x: Value, *args: Any, **kwargs: Any) -> Value:
    """Anything that keeps the row-major order, as long as it only flattens."""
    value = site.same(x)
    if value.spatial or site.out.numel() in site.out.shape:
        return value
    raise site.refusal(
        f"makes {tuple(site.out.shape)} of {tuple(x.tensor.shape)}",
        "only flattening to (1, N) is supported",
    )


def identity(site: Site, x: Value, *args: Any, **kwargs: Any) -> Value:
    """``x``."""
    return site.same(x)


def dropout(
    site: Site, x: Value, p: float = 0.5, training: bool = True, inplace: bool = False
) -> Value:
    """``x``, since nothing drops out in evaluation."""
    if training:
        raise site.refusal("stays active in evaluation", "pass training=self.training")
    return site.same(x)


def _tail(function: Callable[..., torch.Tensor]) -> Callable[..., Value]:
    def handler(
        site: Site, x: Value, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None
    ) -> Value:
        if not x.flat or (dim is not None and dim % x.tensor.ndim != x.tensor.ndim - 1):
            raise site.refusal("does not run over all outputs", "use it on (1, N) with dim=1")
        logging.getLogger(__name__).warning(
            "%s: dropped; the outputs are those in front of it, in the same order", site.where
        )
        return replace(site.same(x), tail=lambda outputs: function(outputs, 1))

    return handler


softmax, log_softmax = _tail(torch.softmax), _tail(torch.log_softmax)
