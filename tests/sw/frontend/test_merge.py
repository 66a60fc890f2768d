"""Merged linear operations against the same operations one after the other."""

import random

import numpy as np
import pytest
import torch
from torch.nn import functional

from spikewright import SpikewrightError
from spikewright.network import Pool
from spikewright.sw.frontend import merge as module
from spikewright.sw.frontend.merge import Average, Linear, Operation, PerPosition, merge


def execute(operations: list[Operation], x: torch.Tensor) -> torch.Tensor:
    for operation in operations:
        match operation:
            case Average():
                x = functional.avg_pool2d(x, operation.size, operation.stride)
            case PerPosition():
                x = x * torch.tensor(operation.scale) + torch.tensor(operation.shift)
            case Linear():
                x = functional.conv2d(
                    x,
                    torch.tensor(operation.weight),
                    torch.tensor(operation.bias),
                    operation.stride,
                    operation.padding,
                    groups=x.shape[1] if operation.depthwise else 1,
                )
    return x


def draw(rng: random.Random, channels: int) -> Operation:
    numbers = np.random.default_rng(rng.getrandbits(32))
    if rng.random() < 0.4:
        size = rng.randint(1, 3), rng.randint(1, 3)
        stride = size if rng.random() < 0.6 else (rng.randint(1, 3), rng.randint(1, 3))
        return Average("pool", size, stride)
    depthwise = rng.random() < 0.4
    out = channels if depthwise else rng.randint(1, 4)
    kernel = (1, 1) if rng.random() < 0.3 else (rng.randint(1, 4), rng.randint(1, 4))
    stride = (1, 1) if rng.random() < 0.5 else (rng.randint(1, 3), rng.randint(1, 3))
    padding = (0, 0) if rng.random() < 0.6 else tuple(rng.randint(0, k - 1) for k in kernel)
    bias = numbers.normal(size=out) * (rng.random() < 0.5)
    weight = numbers.normal(size=(out, 1 if depthwise else channels, *kernel))
    return Linear("conv", weight, bias, stride, (padding[0], padding[1]), depthwise)


def test_random_chains_are_exact_or_refused() -> None:
    """Whatever `merge` accepts is right; of the chains with padding it must accept some."""
    rng = random.Random(1)
    accepted = refused = padded = 0
    for _ in range(400):
        shape = rng.randint(1, 3), rng.randint(6, 14), rng.randint(6, 14)
        operations: list[Operation] = []
        x = y = torch.rand(2, *shape, dtype=torch.float64)
        for _ in range(rng.randint(0, 4)):
            operation = draw(rng, y.shape[1])
            try:
                y = execute([operation], y)
            except RuntimeError:  # larger than what is left of the image
                break
            operations.append(operation)
        try:
            pool, linear = merge(operations, shape)
        except SpikewrightError:
            refused += 1
            continue
        accepted += 1
        padded += linear.padding != (0, 0)
        assert not linear.depthwise
        pooled = functional.avg_pool2d(x, pool.size)
        torch.testing.assert_close(execute([linear], pooled), y, rtol=1e-9, atol=1e-9)
        assert linear.output_shape(pool.output_shape(shape)) == tuple(y.shape[1:])
    assert accepted > 200
    assert refused > 20
    assert padded > 20


def test_nothing_is_the_identity() -> None:
    pool, linear = merge([], (3, 4, 4))
    assert pool == Pool()
    np.testing.assert_array_equal(linear.weight[:, :, 0, 0], np.eye(3))


def test_pools_move_in_front_of_pointwise_operations_and_become_one() -> None:
    scale = Linear.pointwise("bn", np.array([2.0]), np.array([1.0]))
    pools = [Average("a", (2, 2), (2, 2)), Average("b", (2, 3), (2, 3))]
    pool, linear = merge([pools[0], scale, pools[1]], (1, 13, 13))
    assert pool == Pool((4, 6))
    assert linear.kernel == (1, 1)
    assert linear.bias.tolist() == [1.0]


def test_a_number_for_every_position_folds_into_a_whole_kernel_only() -> None:
    numbers = np.random.default_rng(3)
    each = PerPosition("bn (BatchNorm1d)", *numbers.normal(size=(2, 2, 3, 3)))
    whole = Linear("fc", numbers.normal(size=(4, 2, 3, 3)), numbers.normal(size=4))
    x = torch.rand(1, 2, 6, 6, dtype=torch.float64)
    chain: list[Operation] = [Average("p", (2, 2), (2, 2)), each, each, whole]
    pool, linear = merge(chain, (2, 6, 6))
    got = execute([linear], functional.avg_pool2d(x, pool.size))
    torch.testing.assert_close(got, execute(chain, x))
    small = Linear("conv", numbers.normal(size=(4, 2, 2, 2)), numbers.normal(size=4))
    message = (
        "bn (BatchNorm1d): scales every position by itself and no Linear follows it directly; "
        "put it behind the next Linear layer, or use one factor a channel"
    )
    mixing = Linear("conv", numbers.normal(size=(2, 2, 1, 1)), np.zeros(2))
    average = Average("p", (3, 3), (3, 3))
    for chain in ([each, small], [each], [small, each], [mixing, each, whole], [each, average]):
        with pytest.raises(SpikewrightError) as error:
            merge(chain, (2, 3, 3))
        assert str(error.value) == message


def test_a_merged_kernel_too_large_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_WEIGHTS", 100)
    first = Linear("a", np.ones((2, 3, 3, 3)), np.zeros(2))
    second = Linear("b", np.ones((2, 2, 3, 3)), np.zeros(2))
    with pytest.raises(SpikewrightError) as error:
        merge([first, second], (3, 9, 9))
    assert str(error.value) == (
        "b: merging it with a, which has no activation behind it, makes a 5x5 kernel from 3 to 2 "
        "channels; put an activation between the two"
    )
