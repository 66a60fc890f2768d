"""Axis tables: every event lands on the taps that a convolution of the pooled source gives it."""

import itertools

import pytest

from spikewright.machine.axes import axis_table


@pytest.mark.parametrize("kernel", [1, 2, 3, 5])
def test_axis_tables(kernel):
    checked = 0
    for size, pool, stride, padding in itertools.product(
        range(1, 9), (1, 2, 3), (1, 2, 3, 4), range(kernel)
    ):
        outputs = (size // pool + 2 * padding - kernel) // stride + 1
        if size < pool or outputs < 1:
            continue
        table = axis_table(size, pool, kernel, stride, padding, outputs)
        for coordinate, entry in enumerate(table):
            dropped = coordinate // pool >= size // pool
            wanted = [
                (tap, output)
                for tap in range(kernel)
                for output in reversed(range(outputs))
                if output * stride + tap == coordinate // pool + padding and not dropped
            ]
            taps = range(entry.tap, entry.tap + entry.count * stride, stride)
            assert [(tap, entry.output - i) for i, tap in enumerate(taps)] == wanted
            checked += 1
    assert checked > 100
