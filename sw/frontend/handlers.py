"""What handles each module and each function of torch.

A module is its function on its own attributes: the parameters of a handler bear the names of both.
"""

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn.utils import parametrize

from spikewright.sw.activations import LSQ, NQ, QCFS, FakeQuant, QReLU
from spikewright.sw.frontend import activations, linear, neutral, pools
from spikewright.sw.frontend.site import Site
from spikewright.sw.frontend.values import Value

__all__ = ["OWN", "check_input", "function_handler", "kind_of", "module_handler"]

Handler = Callable[..., Value]

OWN: dict[type[nn.Module], str] = {
    QCFS: "lam",
    NQ: "lam",
    QReLU: "lam",
    LSQ: "step",
    FakeQuant: "range",
}
"""Our activations, which are leaves of the graph, and the parameter that sets their threshold."""

_MODULES: dict[type[nn.Module], Handler] = {
    nn.Conv2d: linear.conv2d,
    nn.Linear: linear.linear,
    **dict.fromkeys((nn.BatchNorm1d, nn.BatchNorm2d), linear.batch_norm),
    nn.AvgPool2d: pools.avg_pool2d,
    nn.AdaptiveAvgPool2d: pools.adaptive_avg_pool2d,
    nn.MaxPool2d: pools.max_pool2d,
    nn.AdaptiveMaxPool2d: pools.adaptive_max_pool2d,
    nn.ReLU: activations.relu,
    **dict.fromkeys((nn.ReLU6, nn.Hardtanh), activations.hardtanh),
    **dict.fromkeys(OWN, activations.stairs),
    nn.Softmax: neutral.softmax,
    nn.LogSoftmax: neutral.log_softmax,
    **dict.fromkeys((nn.Flatten, nn.Unflatten), neutral.reshape),
    **dict.fromkeys((nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d), neutral.identity),
    **dict.fromkeys((nn.AlphaDropout, nn.FeatureAlphaDropout), neutral.identity),
}
"""By the exact type of a leaf module."""

_SAME_NAME = (
    *(linear.conv2d, linear.linear, linear.batch_norm),
    *(linear.add, linear.sub, linear.mul, linear.div, linear.neg),
    *(pools.avg_pool2d, pools.adaptive_avg_pool2d, pools.mean),
    *(pools.max_pool2d, pools.adaptive_max_pool2d),
    *(activations.relu, activations.relu6, activations.hardtanh),
    *(activations.clamp, activations.clamp_min),
)

_FUNCTIONS: dict[str, Handler] = {
    **{handler.__name__: handler for handler in _SAME_NAME},
    "truediv": linear.div,
    "clip": activations.clamp,
    "softmax": neutral.softmax,
    "log_softmax": neutral.log_softmax,
    **dict.fromkeys(("dropout", "dropout1d", "dropout2d", "alpha_dropout"), neutral.dropout),
    **dict.fromkeys(("contiguous", "clone", "detach"), neutral.identity),
    **dict.fromkeys(("flatten", "view", "reshape", "ravel", "unflatten"), neutral.reshape),
    **dict.fromkeys(("squeeze", "unsqueeze"), neutral.reshape),
}
"""By the name of a function or a method; their parameters are those of torch."""

_TARGETS: dict[Any, Handler] = dict.fromkeys(
    (torch.batch_norm, torch.ops.aten.batch_norm.default), linear.aten_batch_norm
)
"""Functions whose parameters differ from those of the same name in torch.nn.functional."""

_ON_FRAMES = (
    *("Conv2d", "AvgPool2d", "AdaptiveAvgPool2d", "BatchNorm2d"),
    *("MaxPool2d", "AdaptiveMaxPool2d", "max_pool2d", "adaptive_max_pool2d"),
    *("conv2d", "avg_pool2d", "adaptive_avg_pool2d", "mean"),
)
"""What takes ``(1, C, H, W)`` and nothing else."""


def kind_of(module: nn.Module) -> type[nn.Module]:
    """The type of `module`, as it was before its weights were parametrised."""
    return parametrize.type_before_parametrizations(module)


def module_handler(site: Site, module: nn.Module) -> Handler:
    """What handles `module`. Raises SpikewrightError for one that has no counterpart."""
    kind = kind_of(module)
    handler = _MODULES.get(kind)
    if handler is None:
        raise site.unsupported()
    names = [*inspect.signature(handler).parameters][2:]
    names += [OWN[kind]] if kind in OWN else []
    settings = {name: getattr(module, name) for name in names if hasattr(module, name)}
    return partial(handler, **settings)


def function_handler(site: Site, target: Any) -> Handler:
    """What handles the function or method. Raises SpikewrightError if nothing does."""
    handler = _TARGETS.get(target) or _FUNCTIONS.get(site.kind)
    if handler is None:
        raise site.unsupported()
    return handler


def check_input(site: Site, value: Value) -> None:
    """Refuse what torch would compute, but not as a layer, or refuse less clearly."""
    if site.kind in _ON_FRAMES and not value.spatial:
        raise site.refusal(
            f"has an input of shape {tuple(value.tensor.shape)} and not (1, C, H, W)",
            "put it in front of the flattening",
        )
    if value.tail is not None:
        raise site.refusal("follows a softmax", "a softmax must be the last operation; remove it")
