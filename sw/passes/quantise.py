"""From real numbers to integers: weights of few bits, thresholds and biases in membrane steps.

A spike of source channel c is worth that channel's threshold (of an input code: what
:func:`..conversion.event_value` says), divided by the window of an average pool since the integer
pool sums. These values go into the weights, which are
then divided by one scale per output channel and rounded to +-(2^(b-1) - 1). The scale over 2^F is
the *unit* of the channel's membrane; thresholds, biases and initial potentials are counted in it,
so scales cost no arithmetic. F, the shift of the weights, is the least with which every threshold
of the layer comes out within 2^-10 of its value, and every bias, summed over all steps, within
2^-10 of the threshold.

All synapse groups of a layer share its units. Where one has larger weights than another (a shortcut
of identity weights beside a convolution), it is shifted further, so that both use their bits.

Neurons that only count their source need no weights: max pools count single spikes, average-pool
neurons the spikes of their window, so their weights are 1.

The integrator has no threshold for its scales to vanish into: its outputs share one scale, and F =
0 since its bias, rounded once for all T steps together, is then at most half a weight step off.
"""

from __future__ import annotations

import math

import numpy as np

from spikewright.errors import SpikewrightError
from spikewright.network import (
    INPUT,
    FloatLayer,
    FloatNetwork,
    Floats,
    InputCode,
    Ints,
    Layer,
    Network,
    Synapse,
)
from spikewright.network.conversion import drive, event_value
from spikewright.network.neuron import NeuronModel, NeuronSpec

__all__ = ["THRESHOLD_ERROR", "group_scales", "quantisation_error", "quantise"]

THRESHOLD_ERROR = 2.0**-10
"""Largest relative error of an integer threshold."""

_LARGEST_THRESHOLD = 2**14
"""Scales are kept above threshold / this / largest event, so that a channel of vanished weights
does not widen every membrane. An event is then off by at most 2^-15 of the threshold it works
towards; at 8 bits, a weight of a hundredth of the threshold is off by more."""

_LARGEST_SHIFT = 15

_FURTHEST = 7
"""Most that a group is shifted further than another; the rest is left for F."""


def quantise(
    network: FloatNetwork,
    *,
    steps: int,
    settle: int = 0,
    weight_bits: int = 8,
    per_channel: bool = True,
) -> Network:
    """The integer network of `steps` time steps with input, and weights of 2 to 8 `weight_bits`.

    Then come `settle` steps without input, and one for a rounding phase or the end of a TSC window.
    `network` must be converted. Scales are per output channel, or with ``per_channel=False`` per
    layer. Thresholds are even; an initial potential of half the threshold stays exactly that. The
    bias of all steps together is rounded, and what T times the bias per step leaves of it goes into
    the initial potential. Raises SpikewrightError for a network that
    is not converted, values out of range, and what cannot be exact: a mean under zero padding.
    """
    if steps < 1:
        raise SpikewrightError(f"quantise: T is {steps}; at least 1 time step is needed")
    if not 2 <= weight_bits <= 8:
        raise SpikewrightError(f"quantise: {weight_bits}-bit weights; choose 2 to 8 bits")
    if not network.converted:
        raise SpikewrightError("quantise: the network has no neurons yet; convert it first")
    layers = tuple(
        _layer(network, layer, steps, weight_bits, per_channel) for layer in network.layers
    )
    final = any(layer.neuron.final for layer in layers)
    return Network(
        network.input,
        steps + settle + final,
        weight_bits,
        layers,
        input_steps=steps,
    )


def quantisation_error(network: FloatNetwork, integer: Network) -> dict[str, dict[str, float]]:
    """How far `integer` is from the converted `network` it was made of, for each layer by name.

    - `weight_rms`: root mean square error of the weights over their root mean square, of the group
      where it is greatest
    - `threshold`: largest relative error of a threshold (0 for the integrator)
    - `bias`: largest error of a bias summed over all steps, in thresholds (integrator: in units)
    - `shift`: F, the fractional bits of the membrane
    - `bits`: bits of the widest weight in use
    """
    report = {}
    steps = integer.input_steps
    for layer, made in zip(network.layers, integer.layers, strict=True):
        real, back = _effective(network, layer, steps), _dequantised(made.synapses, made.unit)
        errors = [_relative_error(b, r) for b, r in zip(back, real, strict=True)]
        start = _initial(layer, made.threshold, made.unit)
        total = (steps * made.bias + made.initial - start) * made.unit
        bias = np.abs(total - _total_bias(network, layer, back, steps))
        report[layer.name] = {
            "weight_rms": max(errors),
            "threshold": 0.0,
            "bias": float((bias / made.unit).max()),
            "shift": min(s.shift for s in made.synapses),
            "bits": max(int(np.abs(s.weight).max()).bit_length() for s in made.synapses) + 1,
        }
        if layer.threshold is not None:
            relative = np.abs(made.threshold * made.unit / layer.threshold - 1)
            report[layer.name] |= {
                "threshold": float(relative.max()),
                "bias": float((bias / layer.threshold).max()),
            }
    return report


def _layer(
    network: FloatNetwork, layer: FloatLayer, steps: int, weight_bits: int, per_channel: bool
) -> Layer:
    if layer.neuron is None:
        raise SpikewrightError(f"layer {layer.name}: has no neuron; convert the network first")
    if layer.neuron.model is NeuronModel.MAX_POOL:
        return _max_pool(layer, layer.neuron)
    limit = 1 if _averages(layer.neuron) else 2 ** (weight_bits - 1) - 1
    effective = _effective(network, layer, steps)
    peaks = np.array([np.abs(w).max(axis=(1, 2, 3)) for w in effective])
    if layer.threshold is None or not per_channel:
        peaks = np.broadcast_to(peaks.max(1, keepdims=True), peaks.shape)
    reference = np.abs(layer.bias) if layer.threshold is None else layer.threshold
    direct = network.input.code is InputCode.DIRECT
    events = [
        s.pool.area * (network.input.maximum if direct and s.source == INPUT else 1)
        for s in layer.synapses
    ]
    scale, further = group_scales(peaks, limit, reference / _LARGEST_THRESHOLD / max(events))
    if layer.threshold is None or not per_channel:
        scale = np.full_like(scale, scale.max() or 1.0)
    scales = [scale[:, None, None, None] * 2**more for more in further]
    weights = [np.rint(w / one) for w, one in zip(effective, scales, strict=True)]
    rounded_weights = [w * one for w, one in zip(weights, scales, strict=True)]
    total = _total_bias(network, layer, rounded_weights, steps)

    if layer.threshold is None:
        shift, unit = 0, scale
        threshold = np.zeros(len(scale), np.int64)
    else:
        shift = _shift(layer, layer.threshold / scale, total / scale, _LARGEST_SHIFT - max(further))
        unit = scale / 2**shift
        threshold = _even(layer.threshold / unit)
    rounded = _rounded(layer, total / unit)
    bias = (2 * rounded + steps) // (2 * steps)  # to nearest: the rest disturbs V(0) least
    return Layer(
        name=layer.name,
        neuron=layer.neuron,
        shape=layer.shape,
        synapses=tuple(
            Synapse(s.source, weight, s.stride, s.padding, s.pool, shift + more)
            for s, weight, more in zip(layer.synapses, weights, further, strict=True)
        ),
        threshold=threshold,
        bias=bias,
        initial=_initial(layer, threshold, unit) + rounded - steps * bias,
        unit=unit,
    )


def group_scales(peaks: Floats, limit: int, least: Floats) -> tuple[Floats, list[int]]:
    """A scale for each channel, and by how many bits each group's weights are shifted further.

    `peaks` holds each group's greatest weight of each channel, ``(groups, channels)``, which comes
    out within +-`limit`; scales are at least `least`. A group is shifted by what the median of its
    peaks exceeds the least of these medians by, to the nearest power of two.
    """
    medians = [float(np.median(one[one > 0])) if one.any() else 0.0 for one in peaks]
    finest = min(filter(None, medians), default=1.0)
    further = [
        min(round(math.log2(median / finest)), _FURTHEST) if median else 0 for median in medians
    ]
    return np.maximum((peaks.T / 2.0 ** np.array(further)).max(1) / limit, least), further


def _averages(spec: NeuronSpec) -> bool:
    """Whether it is the average-pool neuron, whose weights are all alike."""
    return spec.model is NeuronModel.CALCIUM and not spec.gated


def _max_pool(layer: FloatLayer, spec: NeuronSpec) -> Layer:
    """Counts of spikes as they are: one unit is one spike of the source."""
    if layer.threshold is None:
        raise SpikewrightError(f"layer {layer.name}: has no threshold; convert the network first")
    (synapse,) = layer.synapses
    channels = np.ones(layer.shape[0], np.int64)
    return Layer(
        layer.name,
        spec,
        layer.shape,
        (Synapse(synapse.source, synapse.weight.astype(np.int64), pool=synapse.pool),),
        threshold=channels,
        bias=0 * channels,
        initial=0 * channels,
        unit=layer.threshold,
    )


def _effective(network: FloatNetwork, layer: FloatLayer, steps: int) -> list[Floats]:
    """Weights times what one event of their source is worth: a spike, or a step of a pixel."""
    if layer.neuron is not None and layer.neuron.model is NeuronModel.MAX_POOL:
        assert layer.threshold is not None
        return [s.weight * layer.threshold[:, None, None, None] for s in layer.synapses]
    result = []
    for synapse in layer.synapses:
        if synapse.source == INPUT:
            value = event_value(network, steps)
        else:
            source = network.layers[synapse.source]
            if source.threshold is None:
                raise SpikewrightError(
                    f"layer {layer.name}: reads {source.name}, which never fires"
                )
            value = source.threshold
        result.append(synapse.weight * (value / synapse.pool.area)[:, None, None])
    return result


def _relative_error(got: Floats, wanted: Floats) -> float:
    energy = float((wanted**2).sum())
    return (float(((got - wanted) ** 2).sum()) / energy) ** 0.5 if energy else 0.0


def _dequantised(synapses: tuple[Synapse, ...], unit: Floats) -> list[Floats]:
    """The inverse of quantisation: what :func:`_effective` gives, up to rounding."""
    return [(s.weight << s.shift) * unit[:, None, None, None] for s in synapses]


def _total_bias(
    network: FloatNetwork, layer: FloatLayer, weights: list[Floats], steps: int
) -> Floats:
    """The bias of all steps, less what the input's mean adds through the (dequantised) `weights`.

    With the weights as rounded, their error meets pixels about the mean and not about black.
    """
    bias = layer.bias
    # In events: those of a pixel bring the input D times, as the bias comes D times.
    mean = np.array(network.input.mean) * (network.input.scale / event_value(network, steps))
    for synapse, weight in zip(layer.synapses, weights, strict=True):
        if synapse.source == INPUT and mean.any():
            if any(synapse.padding):
                raise SpikewrightError(
                    f"layer {layer.name}: pads an input with a mean, where zero is not black; "
                    "train without a mean, or without padding in the first layer"
                )
            bias = bias - np.einsum("oiyx,i->o", weight, mean * synapse.pool.area)
    return drive(network, steps) * bias


def _even(threshold: Floats) -> Ints:
    return 2 * np.rint(threshold / 2).astype(np.int64)


def _shift(layer: FloatLayer, threshold: Floats, total: Floats, largest: int) -> int:
    """The least F that represents thresholds and total biases, given in scales, well enough."""
    for shift in range(largest + 1):
        exact = threshold * 2**shift
        bias = total * 2**shift
        error = np.maximum(np.abs(_even(exact) - exact), np.abs(np.rint(bias) - bias))
        if (error < THRESHOLD_ERROR * exact).all():
            return shift
    channel = int(np.argmin(threshold))
    raise SpikewrightError(
        f"layer {layer.name}: the threshold of channel {channel} is {threshold[channel]:.3g} "
        "weight steps, too small to represent; use more weight bits or scales per channel"
    )


def _rounded(layer: FloatLayer, total: Floats) -> Ints:
    if np.abs(total).max() > 2**52:
        raise SpikewrightError(
            f"layer {layer.name}: a bias is too large for its weights; check the batch norms"
        )
    return np.rint(total).astype(np.int64)


def _initial(layer: FloatLayer, threshold: Ints, unit: Floats) -> Ints:
    """V(0) before the remainder of the bias, in the same proportion to the rounded threshold."""
    if layer.initial is None:
        raise SpikewrightError(f"layer {layer.name}: has no initial potential; convert it first")
    if layer.threshold is None:
        return np.rint(layer.initial / unit).astype(np.int64)
    return np.rint(layer.initial / layer.threshold * threshold).astype(np.int64)
