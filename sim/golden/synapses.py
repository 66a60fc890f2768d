"""Synapse groups as exact floating-point matrix products, and the positions that events reach.

Arrays carry the batch as last axis, ``(channel, y, x, image)``, so that every inner loop is long
and contiguous.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from spikewright.machine.axes import axis_tables
from spikewright.network import Shape, Synapse

__all__ = ["SynapseGroup", "reach"]

Ints = npt.NDArray[np.int64]

_SERIAL = 1 << 18
"""Multiplications up to which OpenBLAS, NumPy's BLAS, computes a product in the calling thread."""


class SynapseGroup:
    """One synapse group as a matrix product over the unrolled windows of its source.

    `peak` bounds the magnitude of a source value; `dtype` must hold every sum of products exactly.
    """

    def __init__(self, synapse: Synapse, source: Shape, peak: int, dtype: Any) -> None:
        self.source = synapse.source
        self.geometry = synapse
        self.pooled = synapse.pool.output_shape(source)
        self.outputs = synapse.output_shape(source)
        self.matrix = (synapse.weight << synapse.shift).reshape(self.outputs[0], -1).astype(dtype)
        self.sums = np.min_scalar_type(-peak * synapse.pool.area - 1)

    @property
    def unrolled(self) -> int:
        """Numbers of the unrolled source of one image."""
        return int(self.matrix.shape[1]) * self.outputs[1] * self.outputs[2]

    def current(self, source: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Synaptic current ``(out, y, x, N)`` of `source`, small integers ``(C, H, W, N)``."""
        kernel = self.geometry.weight.shape[2:]
        sy, sx = self.geometry.stride
        windows = np.lib.stride_tricks.sliding_window_view(
            self._summed(source), kernel, axis=(1, 2)
        )[:, ::sy, ::sx]
        unrolled = windows.transpose(0, 4, 5, 1, 2, 3).astype(self.matrix.dtype, order="C")
        current = _product(self.matrix, unrolled.reshape(self.matrix.shape[1], -1))
        return current.reshape(*self.outputs, source.shape[-1])

    def _summed(self, source: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Sums over the pooling windows, with the zero padding around them."""
        c, h, w = self.pooled
        (ph, pw), (py, px) = self.geometry.pool.size, self.geometry.padding
        if (ph, pw, py, px) == (1, 1, 0, 0):
            return source
        padded = np.zeros((c, h + 2 * py, w + 2 * px, source.shape[-1]), self.sums)
        inner = padded[:, py : py + h, px : px + w]
        for y in range(ph):
            for x in range(pw):
                inner += source[:, y : h * ph : ph, x : w * pw : pw]
        return padded


def reach(synapse: Synapse, source: Shape) -> Ints:
    """``(H, W)``: output neurons an event at each position of the source adds to."""
    rows, columns = ([entry.count for entry in table] for table in axis_tables(synapse, source))
    return len(synapse.weight) * np.outer(rows, columns)


def _product(a: npt.NDArray[Any], b: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """``a @ b`` in blocks of columns, each small enough for BLAS to start no threads.

    Threads that wait for each other in every product cost far more than they give once anything
    else runs on the machine (measured on two busy cores: 300 images/s of a LeNet-5 with them,
    5,000 without). Where blocks would become too narrow the product is large enough for threads.
    """
    rows, inner = a.shape
    columns = b.shape[1]
    width = _SERIAL // (rows * inner)
    whole = columns - columns % width if width >= 4 else 0
    product = np.empty((rows, columns), a.dtype)
    if whole:
        np.matmul(
            a,
            b[:, :whole].reshape(inner, -1, width).swapaxes(0, 1),
            out=product[:, :whole].reshape(rows, -1, width).swapaxes(0, 1),
        )
    if whole < columns:
        np.matmul(a, b[:, whole:], out=product[:, whole:])
    return product
