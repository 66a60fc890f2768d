"""Input codes against what the papers say of them, and numbers known from elsewhere."""

import numpy as np
import pytest

from spikewright import SpikewrightError
from spikewright.network import InputCode, InputSpec
from spikewright.sim.golden.encoders import check_frames, encode, signed_digits, xorshift32


def all_pixels(code, steps, bits=8, **fields):
    """The spikes ``(T, pixel)`` of every pixel value."""
    values = np.arange(2**bits, dtype=np.uint8)
    spec = InputSpec((1, 1, len(values)), bits, code=code, **fields)
    return encode(spec, steps, values.reshape(1, 1, -1, 1))[:, 0, 0, :, 0]


@pytest.mark.parametrize("steps", [1, 4, 8, 16, 64, 128, 256])
@pytest.mark.parametrize("bits", [1, 3, 8])
def test_isi_sends_distinct_spikes_at_equal_intervals(steps, bits):
    maximum = 2**bits - 1
    for pixel, train in enumerate(all_pixels(InputCode.ISI, steps, bits).T):
        times = np.flatnonzero(train) + 1
        assert set(train) <= {0, 1}
        assert len(times) == steps * pixel // maximum
        # The n-th spike less than a step before n intervals of maximum / pixel.
        assert all(0 <= n * maximum - t * pixel < pixel for n, t in enumerate(times.tolist(), 1))


def test_isi_by_hand():
    assert all_pixels(InputCode.ISI, 4)[:, [0, 63, 64, 128, 255]].T.tolist() == [
        [0, 0, 0, 0],
        [0, 0, 0, 0],  # 4 * 63 < 255
        [0, 0, 1, 0],  # at 255 // 64 = 3
        [1, 0, 1, 0],  # at 1.99 and 3.98
        [1, 1, 1, 1],
    ]


@pytest.mark.parametrize("steps", [1, 2, 4, 8, 16, 64])
def test_tsc_pairs_enclose_the_number(steps):
    """The sum over the steps of the sum so far is floor(p * (T - 1)), p = pixel / max (TSC)."""
    trains = all_pixels(InputCode.TSC, steps)
    numbers = np.arange(256) * (steps - 1) // 255
    assert trains.cumsum(0).sum(0).tolist() == numbers.tolist()
    assert np.abs(trains).sum(0).tolist() == (2 * (numbers > 0)).tolist()
    assert (trains.cumsum(0) >= 0).all()


def test_xorshift():
    # The well-known beginning of the generator with shifts 13, 17, 5 from the seed 1.
    assert xorshift32(1, 5).tolist() == [270369, 67634689, 2647435461, 307599695, 2398689233]
    assert len(set(xorshift32(2**32 - 1, 10_000).tolist())) == 10_000


@pytest.mark.parametrize("bits", [1, 4, 8])
def test_bernoulli(bits):
    steps, shape = 50, (2, 3, 4)
    maximum = 2**bits - 1
    frames = np.zeros((*shape, 3), np.uint8)
    frames[..., 1] = maximum
    frames[..., 2] = maximum // 2 + 1
    spec = InputSpec(shape, bits, code=InputCode.BERNOULLI, seed=7)
    spikes = encode(spec, steps, frames)
    assert spikes.shape == (steps, *shape, 3)
    assert not spikes[..., 0].any()
    for image, probability in ((1, maximum / (maximum + 1)), (2, 0.5)):
        assert abs(spikes[..., image].mean() - probability) < 0.05
    # Step, channel, y, x, each from the top bits of the next number; every image from the seed.
    numbers = [n >> 32 - bits for n in xorshift32(7, steps * 24).tolist()]
    assert spikes[..., 2].ravel().tolist() == [int(n < maximum // 2 + 1) for n in numbers]
    other = encode(InputSpec(shape, bits, code=InputCode.BERNOULLI, seed=8), steps, frames)
    assert (spikes != other).any()


def test_raw_events():
    spec = InputSpec((2, 1, 3), 1, code=InputCode.EVENTS)
    frame = np.random.default_rng(0).integers(0, 2, (1, 8, 1, 3)).astype(np.uint8)
    spikes = encode(spec, 4, np.moveaxis(check_frames(frame, spec, 4), 0, -1))
    for step in range(4):
        assert spikes[step, ..., 0].tolist() == frame[0, 2 * step : 2 * step + 2].tolist()
    with pytest.raises(
        SpikewrightError, match=r"expected shape \(N, 6, 1, 3\), got \(1, 8, 1, 3\)"
    ):
        check_frames(frame, spec, 3)
    with pytest.raises(SpikewrightError, match=r"pixels of 1 bits, 0\.\.1, got 2"):
        check_frames(2 * frame, spec, 4)


def test_signed_digits(reference):
    values = np.arange(256)
    assert signed_digits(values).tolist() == [reference.naf_weight(int(v)) for v in values]
