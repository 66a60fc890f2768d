"""The states of all neurons from the records of the trace stream."""

from __future__ import annotations

from collections.abc import Mapping as AnyMapping
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from spikewright.errors import SpikewrightError
from spikewright.machine.hardware import HardwareShape
from spikewright.machine.mapping import Mapping
from spikewright.network import Network
from spikewright.sim.golden.model import LayerTrace

__all__ = ["assemble"]

Ints = npt.NDArray[np.int64]

CHUNK = 4096
"""Trace records that are unpacked at a time: every bit takes eight bytes meanwhile."""


def _fields(records: npt.NDArray[np.uint32], shape: HardwareShape) -> dict[str, Ints]:
    """The fields of trace records: ``(records,)``, or ``(records, lanes)`` for those of lanes."""
    if not len(records):
        records = np.zeros((0, -(-shape.trace_bits // 32)), np.uint32)
    starts = range(0, max(1, len(records)), CHUNK)
    parts = [_unpacked(records[start : start + CHUNK], shape) for start in starts]
    return {name: np.concatenate([part[name] for part in parts]) for name in shape.trace_fields}


def _unpacked(records: npt.NDArray[np.uint32], shape: HardwareShape) -> dict[str, Ints]:
    raw = np.unpackbits(
        np.ascontiguousarray(records, dtype="<u4").view(np.uint8), axis=1, bitorder="little"
    )
    fields = {}
    position = 0
    for name, width in shape.trace_fields.items():
        bits = raw[:, position : position + width]
        position += width
        if name == "membranes":
            bits = bits.reshape(len(raw), shape.lanes, shape.membrane_bits)
            values = _number(bits)
            fields[name] = np.where(bits[..., -1], values - (1 << shape.membrane_bits), values)
        elif name == "counts":
            fields[name] = _number(bits.reshape(len(raw), shape.lanes, shape.count_bits))
        elif name in ("spikes", "negative"):
            fields[name] = bits.astype(np.int64)
        else:
            fields[name] = _number(bits)
    return fields


def _number(bits: npt.NDArray[np.uint8]) -> Ints:
    return bits @ (np.int64(1) << np.arange(bits.shape[-1], dtype=np.int64))


def assemble(
    records: npt.NDArray[np.uint32], network: Network, mapping: Mapping, images: int
) -> tuple[LayerTrace, ...]:
    """The states of every layer of `images` images from trace records ``(records, words)``.

    A core sends its records image after image; the order of the cores among each other is free.
    Raises SpikewrightError naming the first record that is missing, doubled, or of no place.
    """
    shape = mapping.shape
    fields = _fields(records, shape)
    traces = [
        LayerTrace(
            name=layer.name,
            membranes=np.zeros((images, network.steps, *layer.shape), np.int64),
            spikes=np.zeros((images, network.steps, *layer.shape), np.int64),
            counts=np.zeros((images, network.steps, *layer.shape), np.int64),
        )
        for layer in network.layers
    ]
    for core in range(shape.cores):
        own = {name: values[fields["core"] == core] for name, values in fields.items()}
        _assemble_core(own, core, network, mapping, traces)
    strangers = fields["core"][fields["core"] >= shape.cores]
    if len(strangers):
        raise SpikewrightError(f"trace: a record of core {strangers[0]}, which does not exist")
    return tuple(traces)


def _assemble_core(
    own: AnyMapping[str, Ints],
    core: int,
    network: Network,
    mapping: Mapping,
    traces: Sequence[LayerTrace],
) -> None:
    """Put one core's records into `traces`, after checking that they are exactly those expected."""
    places = _places(core, network, mapping)
    images = len(traces[0].spikes)
    got = np.stack([own[name] for name in ("layer", "step", "digit", "word")], axis=1)
    expected = np.tile(places, (images, 1))
    shared = min(len(got), len(expected))
    wrong = (got[:shared] != expected[:shared]).any(1)
    if wrong.any() or len(got) != len(expected):
        _refuse(core, network, got, expected, int(wrong.argmax()) if wrong.any() else shared)
    if not len(places):
        return
    lanes = mapping.shape.lanes

    def by_image(values: Ints) -> Ints:
        return values.reshape(images, len(places), lanes)

    # An event of the scan of digit k is worth 2**k.
    spikes = by_image(own["spikes"]) << places[:, 2, None]
    if "negative" in own:
        spikes = np.where(by_image(own["negative"]), -spikes, spikes)
    membranes = by_image(own["membranes"])
    counts = by_image(own["counts"]) if "counts" in own else membranes
    for index, (layer, where) in enumerate(zip(network.layers, mapping.layers, strict=True)):
        groups = where.groups[core]
        if not groups:
            continue
        channels = layer.shape[0]
        first = where.first_group[core] * lanes
        count = min(groups * lanes, channels - first)
        for step in range(network.steps):
            chosen = (places[:, 0] == index) & (places[:, 1] == step + 1)
            sent = _channels(spikes[:, chosen], groups, layer.shape).sum(0)
            if sent[:, count:].any():
                raise SpikewrightError(
                    f"trace: layer {layer.name}, core {core}: a lane without a channel spikes"
                )
            own_channels = slice(first, first + count)
            traces[index].spikes[:, step, own_channels] = sent[:, :count]
            for values, target in (
                (membranes, traces[index].membranes),
                *([(counts, traces[index].counts)] if network.counts(layer) else []),
            ):
                after = _channels(values[:, chosen], groups, layer.shape)[-1]
                target[:, step, own_channels] = after[:, :count]


def _channels(values: Ints, groups: int, shape: tuple[int, int, int]) -> Ints:
    """``(scans, images, channels, y, x)`` of a step's records ``(images, records, lanes)``."""
    images, _, lanes = values.shape
    part = values.reshape(images, -1, groups, *shape[1:], lanes).transpose(1, 0, 2, 5, 3, 4)
    return part.reshape(len(part), images, groups * lanes, *shape[1:])


def _places(core: int, network: Network, mapping: Mapping) -> Ints:
    """``(records, 4)``: layer, step (from 1), digit and word of an image's records, in order."""
    parts = [np.zeros((0, 4), np.int64)]
    for index, (layer, where) in enumerate(zip(network.layers, mapping.layers, strict=True)):
        words = where.groups[core] * layer.shape[1] * layer.shape[2]
        for step in range(1, network.steps + 1):
            last = step == network.steps and where.final_passes
            scans = where.final_passes if last else where.passes
            scan, word = np.indices((scans, words)).reshape(2, -1)
            same = np.full_like(scan, index), np.full_like(scan, step)
            parts.append(np.stack([*same, scans - 1 - scan, word], axis=1))
    return np.concatenate(parts)


def _refuse(core: int, network: Network, got: Ints, expected: Ints, at: int) -> None:
    def place(record: Ints) -> str:
        layer, step, digit, word = record.tolist()
        name = network.layers[layer].name if layer < len(network.layers) else f"number {layer}"
        return f"layer {name}, step {step}, digit {digit}, word {word}"

    there = place(got[at]) if at < len(got) else "nothing"
    wanted = place(expected[at]) if at < len(expected) else "nothing"
    raise SpikewrightError(
        f"trace of core {core}: record {at} is of {there}, expected {wanted} (a record is missing, "
        f"doubled or out of order; {len(got)} came, {len(expected)} were expected)"
    )
