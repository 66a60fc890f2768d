"""Networks to train from the command line, and their files: weights plus how they came about."""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import safetensors.torch
import torch
from torch import nn
from torch.nn.utils import parametrize
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

from spikewright.errors import SpikewrightError
from spikewright.files import write_bytes
from spikewright.network import Shape
from spikewright.records import SCHEMA
from spikewright.sw.activations import LSQ, NQ, QCFS, FakeQuant, QReLU, quantise_weights
from spikewright.sw.models import residual
from spikewright.sw.models.residual import scaled

__all__ = [
    *("ACTIVATIONS", "NETS", "build", "fill", "fold", "save"),
    *("lenet5", "mlp", "mobilenet20", "resnet11", "vgg8", "vgg9"),
]

ACTIVATIONS = ("qcfs", "nq", "hpc", "qffs", "calif", "relu")

_LAMBDA = 2.0
"""Lambda of QCFS and QReLU at the start: its first step is then within reach of untrained, unnormed
layers. At the 8 that suits deep nets with batch norms all outputs start as zero, and often stay so.
"""


@dataclass(frozen=True)
class _Activations:
    """What a net takes besides its size.

    `activation` is a method's: QCFS, NQ, QReLU (hpc), LSQ (qffs), FakeQuant (calif) or ReLU.
    `levels` is how many steps it has, which ReLU has no use for: QCFS's L, QReLU's T * Smax, of LSQ
    and FakeQuant 2**b - 1. `smax` is QReLU's. With `counts` there is an activation behind the last
    layer too, whose counts can be read out; LSQ has one bit more there. Weights are trained as
    integers of `weight_bits`, 0 for real ones.
    """

    activation: str = "qcfs"
    levels: int = 8
    smax: int = 2
    counts: bool = False
    weight_bits: int = 0

    def __post_init__(self) -> None:
        kind, levels = self.activation, self.levels
        if kind not in ACTIVATIONS:
            raise SpikewrightError(
                f"activation {kind}: is not known; choose one of {', '.join(ACTIVATIONS)}"
            )
        if kind == "hpc" and (levels < self.smax or levels % self.smax):
            raise SpikewrightError(
                f"levels {levels}: QReLU has T * Smax, a multiple of Smax = {self.smax}"
            )
        if kind in ("qffs", "calif") and (levels < 1 or levels & (levels + 1)):
            raise SpikewrightError(f"levels {levels}: b bits have 2**b - 1, such as 3 or 255")

    def __call__(self, *, last: bool = False) -> nn.Module:
        """A fresh one."""
        bits = self.levels.bit_length()
        match self.activation:
            case "qcfs":
                return QCFS(self.levels, _LAMBDA)
            case "nq":
                return NQ(self.levels, _LAMBDA)
            case "hpc":
                return QReLU(self.levels // self.smax, self.smax, _LAMBDA)
            case "qffs":
                return LSQ(bits + last)
            case "calif":
                return FakeQuant(bits)
        return nn.ReLU()

    def finish(self, net: nn.Sequential) -> nn.Sequential:
        """`net`, which ends in a linear layer, with what comes last."""
        if self.counts:
            # An output that starts below zero for its own images would get no gradient, ever.
            last = net[-1]
            assert isinstance(last, nn.Linear)
            nn.init.constant_(last.bias, _LAMBDA / 2)
            net.add_module("act", self(last=True))
        if self.weight_bits:
            quantise_weights(net, self.weight_bits, integrator=not self.counts)
        return net


def lenet5(
    shape: Shape = (1, 28, 28),
    classes: int = 10,
    *,
    width: float = 1.0,
    norm: bool = False,
    **activations: Any,
) -> nn.Sequential:
    """LeNet-5 with average pooling: 6C5-P2-16C5-P2-120-84-`classes`, on 28x28 or 32x32 images.

    `width` multiplies the hidden layers, `norm` puts a batch norm behind every hidden layer;
    `activations` are `activation` (one of ACTIVATIONS), `levels`, `smax`, `counts` and
    `weight_bits`. A 28x28 image is padded to the 32x32 of the original (LeCun et al. 1998).
    """
    if shape[1:] not in ((28, 28), (32, 32)):
        raise SpikewrightError(f"lenet5: takes 28x28 or 32x32 images, not {shape[1]}x{shape[2]}")
    act = _Activations(**activations)
    c1, c2, f1, f2 = (scaled(c, width) for c in (6, 16, 120, 84))
    net = nn.Sequential()

    def add(
        index: int, layer: nn.Module, normalise: Callable[[int], nn.Module], outputs: int
    ) -> None:
        net.add_module(f"layer{index}", layer)
        if norm:
            net.add_module(f"norm{index}", normalise(outputs))
        net.add_module(f"act{index}", act())

    add(1, nn.Conv2d(shape[0], c1, 5, padding=(32 - shape[1]) // 2), nn.BatchNorm2d, c1)
    net.add_module("pool1", nn.AvgPool2d(2))
    add(2, nn.Conv2d(c1, c2, 5), nn.BatchNorm2d, c2)
    net.add_module("pool2", nn.AvgPool2d(2))
    net.add_module("flatten", nn.Flatten())
    add(3, nn.Linear(c2 * 25, f1), nn.BatchNorm1d, f1)
    add(4, nn.Linear(f1, f2), nn.BatchNorm1d, f2)
    net.add_module("layer5", nn.Linear(f2, classes))
    return act.finish(net)


def _vgg(
    plan: Sequence[int],
    hidden: Sequence[int],
    shape: Shape,
    classes: int,
    width: float,
    norm: bool,
    act: _Activations,
) -> nn.Sequential:
    """3x3 convolutions of `plan` channels, 0 for a 2x2 average pool, then linear layers.

    The linear layers have `hidden` neurons; with none the frame's mean goes to the last one.
    """
    net = nn.Sequential()
    (channels, *size), index, pools = shape, 0, 0

    def add(layer: nn.Module, normalise: Callable[[int], nn.Module], outputs: int) -> None:
        nonlocal index, channels
        index, channels = index + 1, outputs
        net.add_module(f"layer{index}", layer)
        if norm:
            net.add_module(f"norm{index}", normalise(outputs))
        net.add_module(f"act{index}", act())

    for wanted in plan:
        if wanted:
            outputs = scaled(wanted, width)
            add(nn.Conv2d(channels, outputs, 3, padding=1, bias=not norm), nn.BatchNorm2d, outputs)
        else:
            pools += 1
            net.add_module(f"pool{pools}", nn.AvgPool2d(2))
            size = [s // 2 for s in size]
    if not hidden:
        net.add_module("mean", nn.AvgPool2d((size[0], size[1])))
        size = [1, 1]
    net.add_module("flatten", nn.Flatten())
    channels *= size[0] * size[1]
    for wanted in hidden:
        outputs = scaled(wanted, width)
        add(nn.Linear(channels, outputs, bias=not norm), nn.BatchNorm1d, outputs)
    net.add_module(f"layer{index + 1}", nn.Linear(channels, classes))
    return act.finish(net)


def vgg9(
    shape: Shape = (3, 32, 32),
    classes: int = 10,
    *,
    width: float = 1.0,
    norm: bool = True,
    **activations: Any,
) -> nn.Sequential:
    """VGG-9 with average pooling: 64-64-P-128-128-P-256-256-256-P-1024-`classes` (Lee et al. 2020).

    The papers' VGG-9 (Ca-LIF section 4). `width` and `activations` as for :func:`lenet5`.
    """
    plan = (64, 64, 0, 128, 128, 0, 256, 256, 256, 0)
    return _vgg(plan, (1024,), shape, classes, width, norm, _Activations(**activations))


def vgg8(
    shape: Shape = (3, 32, 32),
    classes: int = 10,
    *,
    width: float = 1.0,
    norm: bool = True,
    **activations: Any,
) -> nn.Sequential:
    """A VGG for small chips: 16-16-P-48-48-P-80-80-80, the frame's mean, `classes`.

    180,000 weights, and no more than 16 channels of 32x32: weights, membranes and spikes of eight
    time steps stay within the block RAM of an ECP5-85F. Most weights of :func:`vgg9` lie in its
    hidden linear layer, which there would leave little for the convolutions. `width` and
    `activations` as for :func:`lenet5`.
    """
    plan = (16, 16, 0, 48, 48, 0, 80, 80, 80)
    return _vgg(plan, (), shape, classes, width, norm, _Activations(**activations))


def mlp(
    shape: Shape = (1, 28, 28),
    classes: int = 10,
    *,
    width: float = 1.0,
    norm: bool = False,
    **activations: Any,
) -> nn.Sequential:
    """One hidden layer of 128 x `width` neurons; `activations` as for :func:`lenet5`."""
    act = _Activations(**activations)
    inputs, hidden = shape[0] * shape[1] * shape[2], scaled(128, width)
    net = nn.Sequential()
    net.add_module("flatten", nn.Flatten())
    net.add_module("layer1", nn.Linear(inputs, hidden))
    if norm:
        net.add_module("norm1", nn.BatchNorm1d(hidden))
    net.add_module("act1", act())
    net.add_module("layer2", nn.Linear(hidden, classes))
    return act.finish(net)


def resnet11(
    shape: Shape = (3, 32, 32),
    classes: int = 10,
    *,
    width: float = 1.0,
    norm: bool = True,
    **activations: Any,
) -> nn.Sequential:
    """:func:`.residual.resnet11`; `activations` as for :func:`lenet5`."""
    act = _Activations(**activations)
    return act.finish(residual.resnet11(shape, classes, width=width, norm=norm, act=act))


def mobilenet20(
    shape: Shape = (3, 32, 32),
    classes: int = 10,
    *,
    width: float = 1.0,
    norm: bool = True,
    **activations: Any,
) -> nn.Sequential:
    """:func:`.residual.mobilenet20`; `activations` as for :func:`lenet5`."""
    act = _Activations(**activations)
    return act.finish(residual.mobilenet20(shape, classes, width=width, norm=norm, act=act))


NETS: Mapping[str, Callable[..., nn.Module]] = {
    "mlp": mlp,
    "lenet5": lenet5,
    "vgg8": vgg8,
    "vgg9": vgg9,
    "resnet11": resnet11,
    "mobilenet20": mobilenet20,
}


def build(metadata: Mapping[str, Any]) -> nn.Module:
    """The untrained module that `metadata` describes: ``{"schema", "net", "kwargs", ...}``."""
    if not isinstance(metadata.get("schema"), int):
        raise SpikewrightError("network file: has no schema version; it is not one of ours")
    if metadata["schema"] > SCHEMA:
        raise SpikewrightError(
            f"network file: schema version {metadata['schema']} is newer than {SCHEMA}, which this "
            "release reads; upgrade spikewright"
        )
    name = str(metadata.get("net"))
    if name not in NETS:
        raise SpikewrightError(f"net {name}: is not known; choose one of {', '.join(NETS)}")
    try:
        kwargs = dict(metadata.get("kwargs", {}))
        if "shape" in kwargs:
            kwargs["shape"] = tuple(kwargs["shape"])
        return NETS[name](**kwargs)
    except (IndexError, TypeError, ValueError) as error:
        raise SpikewrightError(f"net {name}: {error}; retrain it with this release") from None


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
