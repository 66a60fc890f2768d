"""Modules that are refused, each with its message."""

import pytest
from torch import nn

from spikewright.sw.activations import QCFS
from tests.support.modules import Module, conv, refusal

SUPPORTED = (
    "supported are Conv2d, Linear, BatchNorm, ReLU, ReLU6, Hardtanh(0, a), QCFS, NQ, QReLU, LSQ, "
    "FakeQuant, average and max pooling, Flatten and Dropout"
)


PART_REFUSALS: list[tuple[Module, str]] = [
    (nn.GELU(), "1 (GELU): is not supported; use ReLU or QCFS and retrain"),
    (nn.Sigmoid(), "1 (Sigmoid): is not supported; use ReLU or QCFS and retrain"),
    (
        nn.Sequential(nn.ReLU(), nn.MaxPool2d(3, 2)),
        "1.1 (MaxPool2d): has 3x3 windows every 2x2, which overlap; a spike can belong to one "
        "window only; use a stride equal to kernel_size and retrain",
    ),
    (
        nn.Sequential(nn.ReLU(), nn.MaxPool2d(2, (2, 3))),
        "1.1 (MaxPool2d): has 2x2 windows every 2x3, which leave gaps; a spike can belong to one "
        "window only; use a stride equal to kernel_size and retrain",
    ),
    (
        nn.Sequential(nn.ReLU(), nn.MaxPool2d(2, padding=1)),
        "1.1 (MaxPool2d): pads its 2x2 windows by (1, 1); use padding=0 and retrain",
    ),
    (
        nn.Sequential(nn.ReLU(), nn.MaxPool2d(2, dilation=2)),
        "1.1 (MaxPool2d): dilates its 2x2 windows; use dilation=1 and retrain",
    ),
    (
        nn.Sequential(nn.ReLU(), nn.MaxPool2d(4, ceil_mode=True)),
        "1.1 (MaxPool2d): makes windows that reach over the edge of its 6x6 input; use "
        "ceil_mode=False and retrain",
    ),
    (
        nn.Sequential(nn.ReLU(), nn.MaxPool2d(2, return_indices=True)),
        "1.1 (MaxPool2d): returns indices; leave return_indices out",
    ),
    (
        nn.Sequential(nn.ReLU(), nn.AdaptiveMaxPool2d(4)),
        "1.1 (AdaptiveMaxPool2d): makes 4x4 of 6x6 with unequal windows; use an output size that "
        "divides the input, such as 1",
    ),
    (
        nn.Sequential(nn.ReLU(), nn.BatchNorm2d(3), nn.MaxPool2d(2), nn.Conv2d(3, 1, 1)),
        "1.2 (MaxPool2d): pools what 1.1 (BatchNorm2d) gives; max pooling compares counts of "
        "spikes, so put it directly before or behind an activation",
    ),
    (
        nn.Sequential(nn.MaxPool2d(2), nn.Conv2d(3, 1, 1)),
        "1.0 (MaxPool2d): pools what 0 (Conv2d) gives; max pooling compares counts of "
        "spikes, so put it directly before or behind an activation",
    ),
    (nn.ConvTranspose2d(3, 3, 3), f"1 (ConvTranspose2d): is not supported; {SUPPORTED}"),
    (
        nn.LSTM(6, 2),
        "1 (LSTM): is not supported; recurrent layers have no counterpart; use a feed-forward "
        "network",
    ),
    (nn.Conv2d(3, 3, 2, dilation=2), "1 (Conv2d): has dilation (2, 2); use dilation=1 and retrain"),
    (
        nn.Conv2d(3, 3, 3, padding=1, padding_mode="reflect"),
        "1 (Conv2d): pads with padding_mode='reflect'; use padding_mode='zeros' and retrain",
    ),
    (
        nn.Conv2d(3, 3, 1, padding=1),
        "1 (Conv2d): pads (1, 1) around a 1x1 kernel, so outputs see padding alone; pad less than "
        "the kernel",
    ),
    (
        nn.AvgPool2d(2, padding=1),
        "1 (AvgPool2d): pads its 2x2 windows by (1, 1); a padded average pool is not exact; use "
        "padding=0 and retrain",
    ),
    (
        nn.AvgPool2d(4, ceil_mode=True),
        "1 (AvgPool2d): makes windows that reach over the edge of its 6x6 input; use "
        "ceil_mode=False and retrain",
    ),
    (
        nn.AvgPool2d(2, divisor_override=3),
        "1 (AvgPool2d): divides by divisor_override=3; leave divisor_override out",
    ),
    (
        nn.AdaptiveAvgPool2d(4),
        "1 (AdaptiveAvgPool2d): makes 4x4 of 6x6 with unequal windows; use an output size that "
        "divides the input, such as 1",
    ),
    (
        nn.BatchNorm2d(3, track_running_stats=False),
        "1 (BatchNorm2d): normalises with the statistics of its batch; use "
        "track_running_stats=True and evaluation mode",
    ),
    (nn.Hardtanh(), "1 (Hardtanh): clips at -1.0 from below; the lower bound must be 0"),
    (
        nn.Linear(6, 2),
        "1 (Linear): acts on the last axis of an input of shape (1, 3, 6, 6); put "
        "torch.nn.Flatten() in front of it",
    ),
    (
        nn.Sequential(nn.Flatten(), nn.AvgPool2d(2)),
        "1.1 (AvgPool2d): has an input of shape (1, 108) and not (1, C, H, W); put it in front of "
        "the flattening",
    ),
    (
        nn.Flatten(2),
        "1 (Flatten): makes (1, 3, 36) of (1, 3, 6, 6); only flattening to (1, N) is supported",
    ),
    (
        nn.Softmax(1),
        "1 (Softmax): does not run over all outputs; use it on (1, N) with dim=1",
    ),
    (
        nn.Sequential(QCFS(4), QCFS(8), nn.Conv2d(3, 1, 1)),
        "1.1 (QCFS): directly follows 1.0 (QCFS); keep one of the two",
    ),
    (
        nn.Sequential(nn.Flatten(), nn.Linear(108, 4), nn.LogSoftmax(1), nn.Linear(4, 2)),
        "1.3 (Linear): follows a softmax; a softmax must be the last operation; remove it",
    ),
    (
        nn.Conv2d(3, 2, 3, padding=1),
        "0 (Conv2d): shifts the input of the padded 1 (Conv2d), and a mean under zero padding is "
        "not exact; set that padding to 0, or move the shift behind it",
    ),
    (
        nn.Sequential(nn.ReLU(), nn.BatchNorm2d(3), nn.Conv2d(3, 2, 3, padding=1)),
        "1.1 (BatchNorm2d): shifts the input of the padded 1.2 (Conv2d), and a mean under zero "
        "padding is not exact; set that padding to 0, or move the shift behind it",
    ),
]


@pytest.mark.parametrize(("part", "message"), PART_REFUSALS, ids=[m for _, m in PART_REFUSALS])
def test_part_is_refused(part: Module, message: str) -> None:
    assert refusal(conv(part), 1, 8, 8) == message
