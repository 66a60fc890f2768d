"""Handlers of pools: averages are linear, maxima compare what their neurons have sent."""

from typing import Any

from spikewright.sw.frontend.linear import pair
from spikewright.sw.frontend.merge import Average, Maximum
from spikewright.sw.frontend.site import Site
from spikewright.sw.frontend.values import Value

__all__ = ["adaptive_avg_pool2d", "adaptive_max_pool2d", "avg_pool2d", "max_pool2d", "mean"]

Pair = tuple[int, int]


def _windows(site: Site, size: Any, stride: Any, padding: Any, exact: str) -> tuple[Pair, Pair]:
    """Size and stride of windows that pad nothing."""
    size = pair(size)
    if pair(padding) != (0, 0):
        raise site.refusal(
            f"pads its {size[0]}x{size[1]} windows by {pair(padding)}",
            f"{exact}use padding=0 and retrain",
        )
    return size, size if stride is None or stride == [] else pair(stride)


def _inside(site: Site, x: Value, size: Pair, steps: Pair) -> None:
    """Refuse windows over the edge, which ``ceil_mode`` may make."""
    sides = zip(x.shape[1:], size, steps, strict=True)
    if tuple(site.out.shape[2:]) != tuple((n - k) // s + 1 for n, k, s in sides):
        raise site.refusal(
            f"makes windows that reach over the edge of its {x.shape[1]}x{x.shape[2]} input",
            "use ceil_mode=False and retrain",
        )


def _equal_windows(site: Site, x: Value) -> Pair:
    """The windows of an adaptive pool."""
    height, width = site.out.shape[2:]
    size = x.shape[1] // height, x.shape[2] // width
    if (size[0] * height, size[1] * width) != x.shape[1:]:
        raise site.refusal(
            f"makes {height}x{width} of {x.shape[1]}x{x.shape[2]} with unequal windows",
            "use an output size that divides the input, such as 1",
        )
    return size


def avg_pool2d(
    site: Site,
    x: Value,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Value:
    """Means of unpadded windows, which may overlap."""
    inexact = "a padded average pool is not exact; "
    size, steps = _windows(site, kernel_size, stride, padding, inexact)
    if divisor_override not in (None, size[0] * size[1]):
        raise site.refusal(
            f"divides by divisor_override={divisor_override}", "leave divisor_override out"
        )
    _inside(site, x, size, steps)
    return site.then(x, Average(site.where, size, steps))


def adaptive_avg_pool2d(site: Site, x: Value, output_size: Any) -> Value:
    """Means of windows that divide the input."""
    size = _equal_windows(site, x)
    return site.then(x, Average(site.where, size, size))


def mean(site: Site, x: Value, dim: Any = None, keepdim: bool = False) -> Value:
    """The mean over height and width."""
    axes = {d % 4 for d in ((dim,) if isinstance(dim, int) else dim or ())}
    if axes != {2, 3}:
        raise site.refusal(f"averages over axes {dim}", "average over (2, 3), the height and width")
    return site.then(x, Average(site.where, x.shape[1:], x.shape[1:]))


def max_pool2d(
    site: Site,
    x: Value,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Value:
    """Maxima of disjoint windows, without their indices."""
    _no_indices(site, return_indices)
    height, width = pair(kernel_size)
    windows = f"{height}x{width} windows"
    if pair(dilation) != (1, 1):
        raise site.refusal(f"dilates its {windows}", "use dilation=1 and retrain")
    size, steps = _windows(site, kernel_size, stride, padding, "")
    if steps != size:
        kind = "overlap" if steps[0] < height or steps[1] < width else "leave gaps"
        raise site.refusal(
            f"has {windows} every {steps[0]}x{steps[1]}, which {kind}",
            "a spike can belong to one window only; use a stride equal to kernel_size and retrain",
        )
    _inside(site, x, size, steps)
    return site.then(x, Maximum(site.where, size))


def adaptive_max_pool2d(
    site: Site, x: Value, output_size: Any, return_indices: bool = False
) -> Value:
    """Maxima of windows that divide the input, without their indices."""
    _no_indices(site, return_indices)
    return site.then(x, Maximum(site.where, _equal_windows(site, x)))


def _no_indices(site: Site, return_indices: bool) -> None:
    if return_indices:
        raise site.refusal("returns indices", "leave return_indices out")
