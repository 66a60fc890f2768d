"""Handlers of activations: ReLU, clipped to a number or not, and our own trained ones."""

from typing import Any

import torch

from spikewright.network import ActivationKind
from spikewright.sw.frontend.site import Site
from spikewright.sw.frontend.values import Value

__all__ = ["clamp", "clamp_min", "hardtanh", "relu", "relu6", "stairs"]


def relu(site: Site, x: Value, inplace: bool = False) -> Value:
    """``max(x, 0)``."""
    return site.fires(x, ActivationKind.RELU)


def relu6(site: Site, x: Value, inplace: bool = False) -> Value:
    """``min(max(x, 0), 6)``."""
    return clamp(site, x, 0, 6)


def hardtanh(
    site: Site, x: Value, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False
) -> Value:
    """The same with other bounds."""
    return clamp(site, x, min_val, max_val)


def clamp(site: Site, x: Value, min: Any = None, max: Any = None) -> Value:
    """``x`` within `min`, which is 0, and `max`, a positive number or none."""
    for bound in (min, max):
        if not (bound is None or isinstance(bound, (int, float))):
            raise site.refusal("has a bound that is not a number", "clip to 0 and one number")
    if min != 0:
        raise site.refusal(f"clips at {min} from below", "the lower bound must be 0")
    if max is None or max == float("inf"):
        return relu(site, x)
    if not max > 0:
        raise site.refusal(f"clips at {max} from above", "the upper bound must be positive")
    return site.fires(x, ActivationKind.CLIP, float(max))


def clamp_min(site: Site, x: Value, min: Any) -> Value:
    """``max(x, min)``."""
    return clamp(site, x, min)


def stairs(
    site: Site,
    x: Value,
    threshold: torch.Tensor,
    levels: int,
    smax: int | None = None,
    **parameter: torch.Tensor,
) -> Value:
    """`levels` equal steps up to `threshold`, which the one trained `parameter` sets.

    QReLU, which alone has an `smax`, rounds down, the others to the nearest step.
    """
    for name, value in parameter.items():
        site.array(value, name)
    kind = ActivationKind.QCFS if smax is None else ActivationKind.QRELU
    return site.fires(x, kind, threshold.item(), levels, smax)
