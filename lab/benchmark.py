"""Images per second of the golden model: ``python -m lab.benchmark``.

The network has LeNet-5's shape (convolutions of 6 and 16 channels, average pooling, 120-84-10) at
T = 8 with random weights; 15 to 36 % of its neurons fire in a step, more than in a trained one. The
speed depends on shapes, T and number types, not on the spikes. One thread does all the work.
"""

import argparse
import math
import time

import numpy as np

from spikewright.network import (
    INPUT,
    InputSpec,
    Layer,
    Network,
    NeuronModel,
    NeuronSpec,
    Pool,
    Synapse,
)
from spikewright.sim.golden.model import Golden

__all__ = ["lenet", "main"]


def lenet(rng: np.random.Generator, steps: int = 8, bits: int = 8) -> Network:
    """A LeNet-5 for 1x28x28 frames with random weights of `bits` bits."""
    limit = 2 ** (bits - 1) - 1
    half, plain = Pool((2, 2)), Pool()
    layers: list[Layer] = []
    shapes = [(6, 28, 28), (16, 10, 10), (120, 1, 1), (84, 1, 1), (10, 1, 1)]
    kernels = [(1, 5, 5), (6, 5, 5), (16, 5, 5), (120, 1, 1), (84, 1, 1)]
    pools = [plain, half, half, plain, plain]
    for i, (shape, kernel, pool) in enumerate(zip(shapes, kernels, pools, strict=True)):
        weight = rng.integers(-limit, limit + 1, (shape[0], *kernel))
        padding = (2, 2) if i == 0 else (0, 0)
        source = INPUT if i == 0 else i - 1
        peak = 255 if i == 0 else pool.area
        threshold = np.full(shape[0], int(limit * math.sqrt(np.prod(kernel))) * peak // 2)
        last = i == len(shapes) - 1
        layers.append(
            Layer(
                f"layer{i}",
                NeuronSpec(NeuronModel.INTEGRATOR if last else NeuronModel.IF),
                shape,
                (Synapse(source, weight, padding=padding, pool=pool),),
                threshold=threshold,
                bias=np.zeros(shape[0], np.int64),
                initial=threshold // 2,
            )
        )
    return Network(InputSpec((1, 28, 28)), steps, bits, tuple(layers))


def main() -> None:
    """Print the best of several runs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("-T", "--steps", type=int, default=8)
    parser.add_argument("--repeat", type=int, default=3)
    options = parser.parse_args()
    rng = np.random.default_rng(1)
    golden = Golden(lenet(rng, options.steps))
    frames = rng.integers(0, 256, (options.images, 1, 28, 28)).astype(np.uint8)
    seconds = []
    for _ in range(options.repeat):
        start = time.perf_counter()
        result = golden.run(frames)
        seconds.append(time.perf_counter() - start)
    rates = [float(counts.mean()) / options.steps for counts in result.spike_counts]
    print(f"{options.images / min(seconds):,.0f} images/s at T={options.steps}")
    print("spikes per neuron and step: " + ", ".join(f"{rate:.2f}" for rate in rates))


if __name__ == "__main__":
    main()
