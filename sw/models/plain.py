"""Nets whose layers follow each other: an MLP, LeNet-5 and VGGs.

Each function makes the untrained layers that the options describe; every layer with weights is
``layer<i>``, its batch norm ``norm<i>`` and its activation ``act<i>``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import nn

from spikewright.errors import SpikewrightError
from spikewright.sw.models.options import Options

__all__ = ["lenet5", "mlp", "vgg7", "vgg8", "vgg9"]


def _add(net: nn.Sequential, index: int, layer: nn.Conv2d | nn.Linear, options: Options) -> None:
    """A hidden layer, what normalises it and its activation."""
    net.add_module(f"layer{index}", layer)
    if options.norm:
        norm = nn.BatchNorm2d if isinstance(layer, nn.Conv2d) else nn.BatchNorm1d
        net.add_module(f"norm{index}", norm(len(layer.weight)))
    net.add_module(f"act{index}", options.act())


def mlp(options: Options) -> nn.Sequential:
    """One hidden layer of 128 x `width` neurons."""
    channels, height, width = options.shape
    hidden = options.scaled(128)
    net = nn.Sequential()
    net.add_module("flatten", nn.Flatten())
    _add(net, 1, nn.Linear(channels * height * width, hidden), options)
    net.add_module("layer2", nn.Linear(hidden, options.classes))
    return net


def lenet5(options: Options) -> nn.Sequential:
    """LeNet-5 with average pooling: 6C5-P2-16C5-P2-120-84-`classes`, on 28x28 or 32x32 images.

    A 28x28 image is padded to the 32x32 of the original (LeCun et al. 1998).
    """
    channels, height, width = options.shape
    if (height, width) not in ((28, 28), (32, 32)):
        raise SpikewrightError(f"takes 28x28 or 32x32 images, not {height}x{width}")
    c1, c2, f1, f2 = map(options.scaled, (6, 16, 120, 84))
    net = nn.Sequential()
    _add(net, 1, nn.Conv2d(channels, c1, 5, padding=(32 - height) // 2), options)
    net.add_module("pool1", nn.AvgPool2d(2))
    _add(net, 2, nn.Conv2d(c1, c2, 5), options)
    net.add_module("pool2", nn.AvgPool2d(2))
    net.add_module("flatten", nn.Flatten())
    _add(net, 3, nn.Linear(c2 * 25, f1), options)
    _add(net, 4, nn.Linear(f1, f2), options)
    net.add_module("layer5", nn.Linear(f2, options.classes))
    return net


def _vgg(
    options: Options,
    plan: Sequence[int],
    hidden: Sequence[int] = (),
    pool: Callable[[int], nn.Module] = nn.AvgPool2d,
) -> nn.Sequential:
    """3x3 convolutions of `plan` channels, 0 for a 2x2 `pool`, then linear layers.

    The linear layers have `hidden` neurons; with none the frame's mean goes to the last one.
    """
    net, index, pools = nn.Sequential(), 0, 0
    channels, *size = options.need(2 ** plan.count(0))
    bias = not options.norm
    for wanted in plan:
        if wanted:
            outputs, index = options.scaled(wanted), index + 1
            _add(net, index, nn.Conv2d(channels, outputs, 3, padding=1, bias=bias), options)
            channels = outputs
        else:
            pools += 1
            net.add_module(f"pool{pools}", pool(2))
            size = [s // 2 for s in size]
    if not hidden:
        net.add_module("mean", nn.AvgPool2d((size[0], size[1])))
        size = [1, 1]
    net.add_module("flatten", nn.Flatten())
    channels *= size[0] * size[1]
    for wanted in hidden:
        outputs, index = options.scaled(wanted), index + 1
        _add(net, index, nn.Linear(channels, outputs, bias=bias), options)
        channels = outputs
    net.add_module(f"layer{index + 1}", nn.Linear(channels, options.classes))
    return net


def vgg9(options: Options) -> nn.Sequential:
    """VGG-9 with average pooling: 64-64-P-128-128-P-256-256-256-P-1024-`classes` (Lee et al. 2020).

    The papers' VGG-9 (Ca-LIF section 4).
    """
    return _vgg(options, (64, 64, 0, 128, 128, 0, 256, 256, 256, 0), (1024,))


def vgg8(options: Options) -> nn.Sequential:
    """A VGG for small chips: 16-16-P-48-48-P-80-80-80, the frame's mean, `classes`.

    180,000 weights, and no more than 16 channels of 32x32: weights, membranes and spikes of eight
    time steps stay within the block RAM of an ECP5-85F. Most weights of :func:`vgg9` lie in its
    hidden linear layer, which there would leave little for the convolutions.
    """
    return _vgg(options, (16, 16, 0, 48, 48, 0, 80, 80, 80))


def vgg7(options: Options) -> nn.Sequential:
    """A VGG with max pooling: 32-32-P-96-96-P-128-P-128, the frame's mean, `classes`.

    381,000 weights, 39 million multiplications an image of 32x32. Max pools keep more of what small
    nets see than the means of :func:`vgg8`, and cost no rounding: a neuron passes its source on.
    """
    return _vgg(options, (32, 32, 0, 96, 96, 0, 128, 0, 128), pool=nn.MaxPool2d)
