"""Networks to train from the command line, and their files: weights plus how they came about."""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Callable, Mapping
from typing import Any

import safetensors.torch
import torch
from torch import nn
from torch.nn.utils import parametrize
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

from spikewright.errors import SpikewrightError
from spikewright.files import write_bytes
from spikewright.records import from_builtins
from spikewright.sw.models import plain, residual
from spikewright.sw.models.options import Options

__all__ = ["NETS", "build", "fill", "fold", "save"]

NETS: Mapping[str, Callable[[Options], nn.Sequential]] = {
    "mlp": plain.mlp,
    "lenet5": plain.lenet5,
    "vgg7": plain.vgg7,
    "vgg8": plain.vgg8,
    "vgg9": plain.vgg9,
    "resnet11": residual.resnet11,
    "mobilenet20": residual.mobilenet20,
}


_REMEDY = "retrain it with this release"


def build(metadata: Mapping[str, Any]) -> nn.Module:
    """The untrained module that `metadata` describes: ``{"schema", "net", "kwargs", ...}``.

    `kwargs` are the fields of :class:`.Options`. Raises SpikewrightError for metadata that are not
    ours and nets that cannot be.
    """
    from_builtins(metadata, dict[str, Any], "network file", oldest=1, remedy=_REMEDY)
    name, kwargs = str(metadata.get("net")), metadata.get("kwargs", {})
    if name not in NETS:
        raise SpikewrightError(f"net {name}: is not known; choose one of {', '.join(NETS)}")
    options = from_builtins(kwargs, Options, f"net {name}", oldest=None, remedy=_REMEDY)
    try:
        return options.finish(NETS[name](options))
    except (SpikewrightError, RuntimeError) as error:  # of torch for sizes that are far too large
        raise SpikewrightError(f"net {name}: {str(error).splitlines()[0]}") from None


def fold(module: nn.Module) -> nn.Module:
    """A copy in evaluation mode, its batch norms folded into the layers before them.

    A norm belongs to the Conv2d or Linear that its parent names directly before it. What is left
    has the names of the same net built with ``norm=False``. `module` has real weights.
    """
    folded = copy.deepcopy(module).eval()
    for parent in folded.modules():
        before: tuple[str, nn.Module] = "", parent
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.BatchNorm2d) and isinstance(before[1], nn.Conv2d):
                setattr(parent, before[0], fuse_conv_bn_eval(before[1], child))
                setattr(parent, name, nn.Identity())
            elif isinstance(child, nn.BatchNorm1d) and isinstance(before[1], nn.Linear):
                setattr(parent, before[0], fuse_linear_bn_eval(before[1], child))
                setattr(parent, name, nn.Identity())
            before = name, child
    return folded


@torch.no_grad()
def fill(module: nn.Module, trained: nn.Module) -> None:
    """Put what `trained` has learned into `module`, of the same layers, integer weights or not."""
    for name, target in module.named_modules():
        if "parametrizations" in name.split("."):
            continue
        source = trained.get_submodule(name)
        own = (*target.named_parameters(recurse=False), *target.named_buffers(recurse=False))
        for leaf, tensor in own:
            tensor.copy_(getattr(source, leaf))
        if parametrize.is_parametrized(target):
            value = source.weight
            assert isinstance(value, torch.Tensor)
            target.weight = value.detach()


def save(module: nn.Module, metadata: Mapping[str, Any], path: str | os.PathLike[str]) -> None:
    """Write a ``.safetensors`` file, with `metadata` as JSON under the key ``spikewright``.

    `metadata` is what :func:`build` takes, and any record of the training besides.
    """
    tensors = {name: value.contiguous() for name, value in module.state_dict().items()}
    header = {"spikewright": json.dumps(dict(metadata), sort_keys=True)}
    write_bytes(path, safetensors.torch.save(tensors, header))
