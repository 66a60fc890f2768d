"""Input codes: how a frame becomes the spikes of every step, exactly as the chip does it.

T is the number of input steps, M the largest pixel, p a pixel.

- ISI (Ca-LIF 4.1): ``N = T * p // M`` spikes, the n-th at step ``n * M // p``, n = 1..N.
- TSC (Eq. 1, 2): ``n = p * (T - 1) // M``; if n >= 1, +1 at step 1 and -1 at step n + 1.
- Bernoulli: a spike where the top bits of the next random number are below p, hence with
  probability ``p / (M + 1)``. The numbers come from xorshift32 (Marsaglia 2003: ``x ^= x << 13``,
  ``x ^= x >> 17``, ``x ^= x << 5``), which every image starts anew from the seed; it advances
  before every pixel, in the order step, channel, y, x.
- Events: the frame holds the spikes of step after step.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from spikewright.errors import SpikewrightError
from spikewright.network import InputCode, InputSpec

__all__ = ["check_frames", "encode", "signed_digits", "xorshift32"]

Frames = npt.NDArray[np.uint8]
Spikes = npt.NDArray[np.int8]


def check_frames(pixels: npt.NDArray[Any], spec: InputSpec, input_steps: int = 1) -> Frames:
    """`pixels` if they are uint8 frames ``(N, C, H, W)`` of `spec`; raises SpikewrightError.

    A frame of raw events holds `input_steps` times the channels.
    """
    if not isinstance(pixels, np.ndarray) or pixels.dtype != np.uint8:
        got = pixels.dtype if isinstance(pixels, np.ndarray) else type(pixels).__name__
        raise SpikewrightError(f"frames: expected an array of uint8 pixels, got {got}")
    shape = spec.frame_shape(input_steps)
    if pixels.ndim != 4 or pixels.shape[1:] != tuple(shape):
        expected = ", ".join(str(n) for n in shape)
        raise SpikewrightError(f"frames: expected shape (N, {expected}), got {pixels.shape}")
    if pixels.size and pixels.max() > spec.maximum:
        raise SpikewrightError(
            f"frames: expected pixels of {spec.bits} bits, 0..{spec.maximum}, got {pixels.max()}"
        )
    return pixels


def encode(spec: InputSpec, input_steps: int, pixels: Frames) -> Spikes:
    """Spikes ``(T, C, H, W, N)`` of frames ``(C', H, W, N)``; a direct frame has none.

    Pixels are not checked: see :func:`check_frames`.
    """
    match spec.code:
        case InputCode.ISI:
            return _isi_table(input_steps, spec.maximum)[:, pixels]
        case InputCode.TSC:
            return _tsc_table(input_steps, spec.maximum)[:, pixels]
        case InputCode.BERNOULLI:
            count = input_steps * int(np.prod(spec.shape))
            numbers = xorshift32(spec.seed, count) >> np.uint32(32 - spec.bits)
            drawn = numbers.reshape(input_steps, *spec.shape, 1)
            return (drawn < pixels).view(np.int8)
        case InputCode.EVENTS:
            return pixels.reshape(input_steps, *spec.shape, -1).view(np.int8)
        case InputCode.DIRECT:
            raise ValueError("a direct frame enters as a current, not as spikes")


def signed_digits(values: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """Non-zero digits of each unsigned value in non-adjacent form (Reitwiesner 1960).

    They stand where ``x`` and ``3 x`` differ: 7 is 8 - 1 and has two.
    """
    wide = values.astype(np.uint64)
    return np.bitwise_count(wide ^ (3 * wide))


@lru_cache(maxsize=8)
def xorshift32(seed: int, count: int) -> npt.NDArray[np.uint32]:
    """The first `count` states after `seed` (1..2**32 - 1)."""
    states = np.empty(count, np.uint32)
    x = seed
    for i in range(count):
        x ^= x << 13 & 0xFFFFFFFF
        x ^= x >> 17
        x ^= x << 5 & 0xFFFFFFFF
        states[i] = x
    states.setflags(write=False)
    return states


def _isi_table(steps: int, maximum: int) -> Spikes:
    """Spikes ``(T, pixel)`` of every step and pixel value."""
    table = np.zeros((steps, maximum + 1), np.int8)
    for pixel in range(1, maximum + 1):
        table[np.arange(1, steps * pixel // maximum + 1) * maximum // pixel - 1, pixel] = 1
    return table


def _tsc_table(steps: int, maximum: int) -> Spikes:
    """Spikes ``(T, pixel)`` of every step and pixel value."""
    table = np.zeros((steps, maximum + 1), np.int8)
    for pixel in range(maximum + 1):
        number = pixel * (steps - 1) // maximum
        if number:
            table[0, pixel], table[number, pixel] = 1, -1
    return table
