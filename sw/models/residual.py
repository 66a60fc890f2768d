"""The deep networks of the Ca-LIF paper (section 4.2): ResNet-11 and MobileNet-20.

Every layer has its batch norm beside it in the same module, named after it (`conv1` and `norm1`,
`shortcut` and `shortcut_norm`, `layer2` and `norm2`), and an activation of its own. All pooling is
average pooling, as in the paper.
"""

from __future__ import annotations

from torch import Tensor, nn

from spikewright.sw.models.options import Options

__all__ = ["BasicBlock", "SeparableBlock", "mobilenet20", "resnet11"]

_DOWNSAMPLING = 16
"""Height and width of the frame over those of the last block."""


def _norm(channels: int, options: Options) -> nn.Module:
    return nn.BatchNorm2d(channels) if options.norm else nn.Identity()


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut around them, added in front of the second activation.

    The shortcut is the identity, or, where `stride` or the channels change, a 1x1 convolution
    (He et al. 2016, option B).
    """

    def __init__(self, inputs: int, outputs: int, stride: int, options: Options) -> None:
        super().__init__()
        bias = not options.norm
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=bias)
        self.norm1 = _norm(outputs, options)
        self.act1 = options.act()
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=bias)
        self.norm2 = _norm(outputs, options)
        self.shortcut: nn.Module = nn.Identity()
        self.shortcut_norm: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Conv2d(inputs, outputs, 1, stride, bias=bias)
            self.shortcut_norm = _norm(outputs, options)
        self.act2 = options.act()

    def forward(self, x: Tensor) -> Tensor:
        """``(N, inputs, H, W)`` to ``(N, outputs, H / stride, W / stride)``, rounded up."""
        inner = self.norm2(self.conv2(self.act1(self.norm1(self.conv1(x)))))
        result: Tensor = self.act2(inner + self.shortcut_norm(self.shortcut(x)))
        return result


class SeparableBlock(nn.Sequential):
    """A depthwise 3x3 and a pointwise convolution, each with an activation (Howard et al. 2017)."""

    def __init__(self, inputs: int, outputs: int, stride: int, options: Options) -> None:
        super().__init__()
        bias = not options.norm
        self.conv1 = nn.Conv2d(inputs, inputs, 3, stride, 1, groups=inputs, bias=bias)
        self.norm1 = _norm(inputs, options)
        self.act1 = options.act()
        self.conv2 = nn.Conv2d(inputs, outputs, 1, bias=bias)
        self.norm2 = _norm(outputs, options)
        self.act2 = options.act()


def _stem(inputs: int, outputs: int, options: Options) -> nn.Sequential:
    """The first layer, on the whole image."""
    net = nn.Sequential()
    net.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1, bias=not options.norm)
    net.norm1 = _norm(outputs, options)
    net.act1 = options.act()
    return net


def resnet11(options: Options) -> nn.Sequential:
    """ResNet-11 (Lee et al. 2020): 64C3-P2, blocks of 64, 128, 256 and 512, 1024-`classes`.

    A block is two 3x3 convolutions, so that 1 + 4 * 2 + 2 layers have weights beside the shortcuts.
    The Ca-LIF paper gives no sizes; taken here are strides of 1, 2, 2, 2, and a shortcut without
    weights where it can be one, in the first block. The paper's ResNet-11H halves the channels of
    the convolutions; a `width` of 0.5 halves those and the 1024. `norm` takes the place of the
    biases of the convolutions. Raises SpikewrightError for images below 16x16.
    """
    inputs, height, side = options.need(_DOWNSAMPLING)
    channels = [options.scaled(c) for c in (64, 64, 128, 256, 512)]
    net = _stem(inputs, channels[0], options)
    net.pool1 = nn.AvgPool2d(2)
    height, side = height // 2, side // 2
    for index, stride in enumerate((1, 2, 2, 2)):
        block = BasicBlock(channels[index], channels[index + 1], stride, options)
        net.add_module(f"block{index + 1}", block)
        height, side = -(-height // stride), -(-side // stride)
    hidden = options.scaled(1024)
    net.flatten = nn.Flatten()
    net.layer2 = nn.Linear(channels[-1] * height * side, hidden)
    net.norm2 = nn.BatchNorm1d(hidden) if options.norm else nn.Identity()
    net.act2 = options.act()
    net.layer3 = nn.Linear(hidden, options.classes)
    return net


_SEPARABLE = (
    *((64, 1), (128, 2), (128, 1), (256, 2), (256, 1)),
    *((512, 2), (512, 1), (1024, 2), (1024, 1)),
)
"""Channels and stride of each block: MobileNet's, without four of the five of 512 in a row."""


def mobilenet20(options: Options) -> nn.Sequential:
    """MobileNet-20: MobileNetV1 (Howard et al. 2017) without its 16th to 23rd convolution.

    That leaves a 3x3 convolution of 32 channels, nine pairs of a depthwise and a pointwise one, an
    average pool over the image and `classes` outputs. The Ca-LIF paper fits the first layer to
    the image and says no more; taken here is a stride of 1 there, where MobileNet's 224x224 images
    are halved. `norm` and the errors are as for :func:`resnet11`.
    """
    inputs = options.scaled(32)
    net = _stem(options.need(_DOWNSAMPLING)[0], inputs, options)
    for index, (channels, stride) in enumerate(_SEPARABLE, 1):
        outputs = options.scaled(channels)
        net.add_module(f"block{index}", SeparableBlock(inputs, outputs, stride, options))
        inputs = outputs
    net.pool1 = nn.AdaptiveAvgPool2d(1)
    net.flatten = nn.Flatten()
    net.layer2 = nn.Linear(inputs, options.classes)
    return net
