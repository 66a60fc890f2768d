"""From ANN to float SNN: which neuron each layer gets, its threshold and its initial potential.

Lambda is what an activation saturates at: the learned one of QCFS or QReLU, the bound of a clipped
ReLU, or for a plain ReLU a percentile of its values on calibration images (Rueckauer et al. 2017;
TSC takes a share of the greatest). Over T steps a neuron counts the activation in `levels` steps
of lambda, so its threshold is ``lambda * D / levels``: lambda for IF (NQ Eq. 5-7), Ca-LIF (Eq. 4)
and TSC, ``lambda / Smax`` for HPC, ``T * s`` with ``s = lambda / Zmax`` for QFFS.
:mod:`..conversion` has the choices, and D. The last layer becomes an integrator, or fires where its
counts are the output.

Max pools get a layer of neurons of their own (QFFS 4.5), average pools where asked for (Ca-LIF
Eq. 6).
"""

from __future__ import annotations

import dataclasses
import warnings

import numpy as np
import numpy.typing as npt
import torch

from spikewright.errors import SpikewrightError
from spikewright.network import (
    INPUT,
    Activation,
    ActivationKind,
    FloatLayer,
    FloatNetwork,
    Floats,
    FloatSynapse,
    InputCode,
    InputSpec,
    Pool,
    PoolKind,
)
from spikewright.network.conversion import Conversion, Readout, exact_settle
from spikewright.network.neuron import NeuronModel, NeuronSpec
from spikewright.sim.ann import ann_forward, model_input

__all__ = ["ConversionWarning", "convert"]

_NOISE_IMAGES = 64
_NOISE_SEED = 0


class ConversionWarning(UserWarning):
    """The conversion went on, but with less than it should have had."""


def convert(
    network: FloatNetwork,
    conversion: Conversion | None = None,
    *,
    steps: int | None = None,
    calibration: npt.NDArray[np.uint8] | None = None,
    percentile: float | None = None,
    channelwise: bool = False,
) -> FloatNetwork:
    """`network` with every layer's `neuron`, `threshold` and `initial` set, and its input's code.

    `conversion` holds the choices, plain IF neurons where it is None. `steps`, T, is needed where
    thresholds or bounds follow from it: all neurons but IF and HPC.

    `calibration` holds uint8 frames ``(N, C, H, W)`` (raw events: ``(N, T * C, H, W)``). A ReLU's
    lambda is `conversion`'s share of the `percentile` of its values over all images and positions,
    of the whole layer or with `channelwise` of each channel; a clipped ReLU's the lesser of that
    and its bound. A channel that is silent on all images takes its layer's value, a silent layer 1.
    QCFS and QReLU need no images. Where a ReLU needs them and there are none, seeded noise is used
    and a :class:`ConversionWarning` given; another is given where QFFS neurons settle for fewer
    steps than exactness needs. Choices that are open follow the training, see
    :meth:`.suited`. Raises SpikewrightError for calibration
    images of another shape or type, a percentile outside 0..100, and a conversion that does not
    suit the network or T.
    """
    chosen = Conversion() if conversion is None else conversion
    t = _steps(chosen, steps)
    chosen = chosen.suited(network, t)
    percentile = chosen.percentile if percentile is None else percentile
    if not 0 < percentile <= 100:
        raise SpikewrightError(f"percentile {percentile}: must lie in 0..100, 0 excluded")
    network = _coded(network, chosen)
    _check_last(network.layers[-1], chosen)
    _check_rounding(network, chosen)
    if calibration is not None:
        _check_images(calibration, network.input, t)
    elif any(layer.activation.kind is ActivationKind.RELU for layer in network.layers):
        warnings.warn(
            "no calibration images: the thresholds of ReLU layers come from seeded noise, and "
            "accuracy will suffer; give images like those the network will see",
            ConversionWarning,
            stacklevel=2,
        )
        calibration = _noise(network.input, t)

    bounds = [_learned(layer) for layer in network.layers]
    if calibration is not None:
        for index, layer in enumerate(network.layers):
            if layer.activation.kind in (ActivationKind.RELU, ActivationKind.CLIP):
                values = _activations(network, index, calibration)
                found = chosen.share * _percentiles(values, percentile, channelwise)
                bound = bounds[index]
                bounds[index] = found if bound is None else np.minimum(found, bound)
    last = len(network.layers) - 1
    layers = tuple(
        _with_neurons(layer, bound, chosen, t, last=index == last)
        for index, (layer, bound) in enumerate(zip(network.layers, bounds, strict=True))
    )
    converted = FloatNetwork(network.input, _with_pools(layers, chosen))
    _check_settle(converted, chosen, t)
    return converted


def _steps(conversion: Conversion, steps: int | None) -> int:
    """T; where it is not given and nothing follows from it, any number will do."""
    if steps is None and conversion.neuron is NeuronModel.BURST:
        return 1
    if steps is None:
        indifferent = (NeuronModel.IF, NeuronModel.BUFFERED)
        if conversion.neuron not in indifferent or conversion.code is InputCode.EVENTS:
            raise SpikewrightError(
                f"convert: {conversion.neuron.value} neurons and {conversion.code.value} input "
                "need the number of time steps; give steps"
            )
        return 2
    conversion.check_steps(steps)
    return steps


def _coded(network: FloatNetwork, conversion: Conversion) -> FloatNetwork:
    spec = dataclasses.replace(network.input, code=conversion.code, seed=conversion.seed)
    return dataclasses.replace(network, input=spec)


def _check_last(layer: FloatLayer, conversion: Conversion) -> None:
    linear = layer.activation.kind is ActivationKind.NONE
    if conversion.readout is Readout.COUNTS and linear:
        raise SpikewrightError(
            f"layer {layer.name}: is linear, so it has no counts of spikes; end the module with "
            "ReLU or QCFS, or read potentials"
        )


def _check_rounding(network: FloatNetwork, conversion: Conversion) -> None:
    for layer in network.layers:
        rounds_down = layer.activation.kind is ActivationKind.QRELU
        if conversion.exact and conversion.neuron is NeuronModel.CALCIUM and rounds_down:
            raise SpikewrightError(
                f"layer {layer.name}: rounds down, and the rounding phase of ca-lif rounds to "
                "nearest; use qffs or tsc"
            )


def _check_settle(network: FloatNetwork, conversion: Conversion, steps: int) -> None:
    if conversion.neuron is not NeuronModel.BOUNDED:
        return
    needed, given = exact_settle(network, steps), conversion.settle_steps(network, steps)
    if given >= needed:
        return
    text = (
        f"settle: {given} steps after the input, but exact counts can take {needed} in "
        f"{len(network.layers)} layers"
    )
    if conversion.exact:
        raise SpikewrightError(f"{text}; give at least {needed}")
    warnings.warn(f"{text}; some neurons may stop short of theirs", ConversionWarning, stacklevel=3)


def _check_images(images: npt.NDArray[np.uint8], spec: InputSpec, steps: int) -> None:
    shape = spec.frame_shape(steps)
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1:] != shape:
        raise SpikewrightError(
            f"calibration: images are {images.dtype} of shape {images.shape}; they must be uint8 "
            f"(N, {', '.join(map(str, shape))})"
        )
    if not len(images) or images.max() > spec.maximum:
        raise SpikewrightError(
            f"calibration: needs at least one image, of pixels in 0..{spec.maximum}"
        )


def _noise(spec: InputSpec, steps: int) -> npt.NDArray[np.uint8]:
    generator = np.random.default_rng(_NOISE_SEED)
    shape = (_NOISE_IMAGES, *spec.frame_shape(steps))
    return generator.integers(spec.maximum + 1, size=shape, dtype=np.uint8)


def _activations(
    network: FloatNetwork, index: int, pixels: npt.NDArray[np.uint8]
) -> npt.NDArray[np.float32]:
    """What layer `index` of the ANN gives for the images, ``(N, C, H, W)``."""
    head = FloatNetwork(network.input, network.layers[: index + 1])
    batches = np.array_split(pixels, -(-len(pixels) // 100))
    outputs = [
        ann_forward(head, model_input(network.input, torch.from_numpy(batch), torch.float32))
        for batch in batches
    ]
    return torch.cat(outputs).numpy().reshape(-1, *network.layers[index].shape)


def _learned(layer: FloatLayer) -> Floats | None:
    """The threshold that the activation brings along, per channel."""
    if layer.activation.threshold is None:
        return None
    return np.broadcast_to(layer.activation.threshold, (layer.shape[0],))


def _percentiles(values: npt.NDArray[np.float32], percentile: float, channelwise: bool) -> Floats:
    """Thresholds per channel for activations ``(N, C, H, W)``."""
    whole = float(np.percentile(values, percentile)) or float(values.max()) or 1.0
    channels = values.shape[1]
    if not channelwise:
        return np.full(channels, whole)
    each = np.percentile(np.moveaxis(values, 1, 0).reshape(channels, -1), percentile, axis=1)
    return np.where(each > 0, each, whole)


def _with_neurons(
    layer: FloatLayer, bound: Floats | None, conversion: Conversion, steps: int, *, last: bool
) -> FloatLayer:
    spec = conversion.last(steps) if last else conversion.hidden(steps)
    if bound is None or not spec.fires:
        return dataclasses.replace(
            layer, neuron=spec, threshold=None, initial=np.zeros(layer.shape[0])
        )
    threshold = bound * conversion.spike(steps, last=last)
    return dataclasses.replace(
        layer,
        neuron=spec,
        threshold=threshold,
        initial=threshold * conversion.start(layer.activation),
    )


def _with_pools(layers: tuple[FloatLayer, ...], conversion: Conversion) -> tuple[FloatLayer, ...]:
    """`layers` with one of neurons for every max pool, and for average pools where asked for."""
    result: list[FloatLayer] = []
    place = {INPUT: INPUT}
    pools: dict[tuple[int, Pool], int] = {}
    names = {layer.name for layer in layers}
    for index, layer in enumerate(layers):
        synapses = []
        for synapse in layer.synapses:
            key = (synapse.source, synapse.pool)
            if _needs_neurons(synapse, conversion):
                if key not in pools:
                    pool = _pool_layer(result, place[synapse.source], synapse.pool, conversion)
                    while pool.name in names:
                        pool = dataclasses.replace(pool, name=f"{pool.name}:2")
                    names.add(pool.name)
                    pools[key] = len(result)
                    result.append(pool)
                moved = dataclasses.replace(synapse, source=pools[key], pool=Pool())
            else:
                moved = dataclasses.replace(synapse, source=place[synapse.source])
            synapses.append(moved)
        place[index] = len(result)
        result.append(dataclasses.replace(layer, synapses=tuple(synapses)))
    return tuple(result)


def _needs_neurons(synapse: FloatSynapse, conversion: Conversion) -> bool:
    if synapse.pool.kind is PoolKind.MAX:
        return True
    return conversion.pool_neurons and synapse.pool.area > 1 and synapse.source != INPUT


def _pool_layer(
    layers: list[FloatLayer], index: int, pool: Pool, conversion: Conversion
) -> FloatLayer:
    """Neurons whose spikes are worth as much as those of their source, layer `index`."""
    if index == INPUT:
        raise SpikewrightError(
            "input: max pooling needs counts of spikes; put a layer with an activation before it"
        )
    source = layers[index]
    if source.neuron is None or source.threshold is None:
        raise SpikewrightError(f"layer {source.name}: is pooled, and has no spikes")
    if pool.kind is PoolKind.AVERAGE:
        spec = conversion.pool
    elif source.neuron.sends_pairs:
        raise SpikewrightError(
            f"layer {source.name}: max pooling compares counts as they grow, and TSC neurons send "
            "pairs; use average pooling, or another neuron"
        )
    else:
        spec = NeuronSpec.max_pool(source.neuron.smax)
    channels = source.shape[0]
    identity = np.eye(channels)[:, :, None, None]
    return FloatLayer(
        f"{source.name}.pool",
        pool.output_shape(source.shape),
        (FloatSynapse(index, identity, pool=pool),),
        np.zeros(channels),
        Activation(ActivationKind.RELU),
        spec,
        source.threshold,
        np.zeros(channels),
    )
