"""What each neuron model costs on an ECP5: ``python -m lab.cost``.

One LeNet-5, the same weights and geometry, gets the hidden neurons of every model in turn. A core
for it is synthesised alone, as it is elaborated: without what no layer needs. Figures are those of
Yosys, before placement: a LUT is a 4-input table, of which a carry cell has two and a distributed
RAM cell four.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from amaranth.back import rtlil

from lab.benchmark import lenet
from lab.markdown import table
from spikewright.boards.synth import NO_RW_CHECK, find_tool
from spikewright.errors import SpikewrightError
from spikewright.files import write_text
from spikewright.hw.core import Core
from spikewright.machine.axes import window
from spikewright.machine.hardware import HardwareShape
from spikewright.machine.mapping import Mapping
from spikewright.network import (
    INPUT,
    InputCode,
    InputSpec,
    Layer,
    Network,
    Pool,
    PoolKind,
    Synapse,
    scans,
)
from spikewright.network.neuron import Negative, NeuronSpec, Rounding, Tie, Window
from spikewright.sw.passes.map import map_network

__all__ = ["MODELS", "Cost", "main", "measure", "network", "synthesise_core"]

CELLS = {
    "lut": {"LUT4": 1, "CCU2C": 2, "TRELLIS_DPR16X4": 4},
    "ff": {"TRELLIS_FF": 1},
    "ebr": {"DP16KD": 1},
}
"""What the cells of Yosys count as, in the order of :class:`Cost`."""


@dataclass(frozen=True)
class Model:
    """Hidden neurons, and how the frame reaches them; `pool` is a layer of neurons that pool."""

    neuron: NeuronSpec
    code: InputCode = InputCode.ISI
    steps: int = 8
    settle: int = 0
    pool: NeuronSpec | None = None


_CALCIUM, _TSC = NeuronSpec.calcium, NeuronSpec.tsc
MODELS: dict[str, Model] = {
    "integrator": Model(NeuronSpec.integrator()),
    "if": Model(NeuronSpec.plain()),
    "if, direct input": Model(NeuronSpec.plain(), InputCode.DIRECT),
    "hpc, Smax 1": Model(NeuronSpec.buffered(1)),
    "hpc, Smax 2": Model(NeuronSpec.buffered(2)),
    "hpc, Smax 4": Model(NeuronSpec.buffered(4)),
    "hpc, Smax 2, floor, '>'": Model(NeuronSpec.buffered(2, Negative.AT_THRESHOLD, Tie.HOLDS)),
    "qffs, Zmax 3": Model(NeuronSpec.bounded(3), steps=3, settle=3),
    "qffs, Zmax 7": Model(NeuronSpec.bounded(7), steps=7, settle=7),
    "ca-lif, no rounding": Model(_CALCIUM(1, Rounding.NONE, zmax=8)),
    "ca-lif, one": Model(_CALCIUM(1, Rounding.ONE, zmax=8)),
    "ca-lif, drain": Model(_CALCIUM(1, zmax=8)),
    "ca-lif, drain, no Zmax": Model(_CALCIUM(1)),
    "ca-lif, Smax 4, drain": Model(_CALCIUM(4, zmax=8)),
    "tsc, per layer": Model(_TSC(), InputCode.TSC),
    "tsc, overlapped": Model(_TSC(Window.OVERLAPPED), InputCode.TSC),
    "tsc, overlapped, latch": Model(_TSC(Window.OVERLAPPED, latch=True), InputCode.TSC),
    "max-pool behind if": Model(NeuronSpec.plain(), pool=NeuronSpec.max_pool()),
    "average-pool behind ca-lif, one": Model(
        _CALCIUM(1, Rounding.ONE, zmax=8), pool=_CALCIUM(1, Rounding.ONE, gated=False)
    ),
}
"""Choices as `spikewright compile` makes them at T = 8 (QFFS: N = Zmax), and others beside them."""


@dataclass(frozen=True)
class Cost:
    """Of one core; `scan` and `final` are the word operations of the scans of a step."""

    model: str
    lanes: int
    lut: int
    ff: int
    ebr: int
    membrane_bits: int
    count_bits: int
    scan: int
    final: int
    tool: str


def network(model: Model) -> Network:
    """The LeNet-5 of :mod:`lab.benchmark` with neurons of `model`."""
    base = lenet(np.random.default_rng(1), model.steps)
    if not model.neuron.fires:
        return _dense(base)
    layers = list(_with_neurons(base, model))
    if model.code is not InputCode.DIRECT:  # Spikes instead of pixels.
        threshold = -(-layers[0].threshold // base.input.maximum)
        layers[0] = replace(layers[0], threshold=threshold, initial=threshold // 2)
    final = any(layer.neuron.final for layer in layers)
    source = InputSpec(base.input.shape, code=model.code)
    steps = model.steps + model.settle + final
    return Network(source, steps, base.weight_bits, tuple(layers), model.steps)


def _dense(base: Network) -> Network:
    """A network without neurons that fire: one layer, of the shape of the longest of `base`."""
    longest = max(base.layers[:-1], key=lambda layer: layer.synapses[0].weight[0].size)
    weight = longest.synapses[0].weight
    shape = weight.shape[1:]
    layer = replace(
        longest,
        neuron=NeuronSpec.integrator(),
        synapses=(Synapse(INPUT, weight),),
        shape=(len(weight), 1, 1),
    )
    return Network(InputSpec(shape, code=InputCode.ISI), base.steps, base.weight_bits, (layer,))


def _with_neurons(base: Network, model: Model) -> Iterator[Layer]:
    """The layers of `base`, hidden ones with other neurons, pools with neurons of their own."""
    index, source = -1, base.input.shape
    for layer in base.layers:
        synapse = layer.synapses[0]
        if model.pool is not None and synapse.pool.area > 1:
            index, pooled = index + 1, _pooling(index, source, synapse.pool.size, model.pool)
            yield pooled
            synapse = replace(synapse, pool=Pool())
        neuron = model.neuron if layer.neuron.fires else layer.neuron
        yield replace(layer, neuron=neuron, synapses=(replace(synapse, source=index),))
        index, source = index + 1, layer.shape


def _pooling(
    index: int, source: tuple[int, int, int], size: tuple[int, int], neuron: NeuronSpec
) -> Layer:
    """Neurons that pool layer `index`, of shape `source`."""
    maximum = neuron == NeuronSpec.max_pool(neuron.smax)
    pool = Pool(size, PoolKind.MAX if maximum else PoolKind.AVERAGE)
    zeros: npt.NDArray[np.int64] = np.zeros(source[0], np.int64)
    synapse = Synapse(index, np.eye(source[0], dtype=np.int64)[:, :, None, None], pool=pool)
    threshold = zeros + (1 if maximum else pool.area)
    shape = pool.output_shape(source)
    return Layer(f"pool{index}", neuron, shape, (synapse,), threshold, zeros, zeros)


def measure(name: str, made: Network, *, lanes: int = 16) -> Cost:
    """The cost of a core of `lanes` lanes for `made`. Raises SpikewrightError without Yosys."""
    mapping = map_network(made, lanes=lanes)
    cells, tool = synthesise_core(mapping.shape)
    lut, ff, ebr = (
        sum(cells.get(cell, 0) * worth for cell, worth in counted.items())
        for counted in CELLS.values()
    )
    bits = mapping.shape.membrane_bits, mapping.shape.count_bits
    return Cost(name, lanes, lut, ff, ebr, *bits, *scans_of(made, mapping), tool)


def scans_of(made: Network, mapping: Mapping) -> tuple[int, int]:
    """Word operations of all scans of an ordinary step on the first core, and of the final one."""
    scan = final = 0
    for index, (layer, where) in enumerate(zip(made.layers, mapping.layers, strict=True)):
        words = where.groups[0] * math.prod(layer.shape[1:]) * window(layer)
        ordinary, last = scans(made, index)
        scan += words * ordinary
        final += words * (last or ordinary) * made.has_final
    return scan, final


def synthesise_core(shape: HardwareShape) -> tuple[dict[str, int], str]:
    """Cells by type of one core of `shape` after ``synth_ecp5``, and the version of Yosys."""
    yosys = find_tool("yosys")
    script = (
        f"read_rtlil core.il\n{NO_RW_CHECK}\nsynth_ecp5 -top core\ntee -o stat.json stat -json\n"
    )
    with tempfile.TemporaryDirectory(prefix="spikewright-") as place:
        folder = Path(place)  # the WebAssembly build sees files of its own folder only
        (folder / "core.il").write_text(rtlil.convert(Core(shape, 0), name="core"))
        (folder / "core.ys").write_text(script)
        done = subprocess.run(
            [yosys, "-q", "core.ys"], cwd=folder, capture_output=True, text=True, check=False
        )
        if done.returncode:
            lines = [line for line in done.stderr.splitlines() if line.strip()] or ["no output"]
            raise SpikewrightError(f"cost: yosys failed: {lines[-1]}")
        found: dict[str, Any] = json.loads((folder / "stat.json").read_text())
    return found["design"]["num_cells_by_type"], " ".join(found["creator"].split()[:2])


def markdown(costs: list[Cost]) -> str:
    """A table of a core's cost over its lanes."""
    columns = ("neurons", "LUT a lane", "FF a lane", "EBR a lane", "membrane, count bits")
    rows = []
    for cost in costs:
        lut, ff, ebr = (n / cost.lanes for n in (cost.lut, cost.ff, cost.ebr))
        bits = f"{cost.membrane_bits}, {cost.count_bits}"
        area = f"{lut:.0f}", f"{ff:.0f}", f"{ebr:.1f}"
        rows.append((cost.model, *area, bits, str(cost.scan), str(cost.final or "-")))
    return table((*columns, "scan", "final scan"), rows)


def main() -> None:
    """Print the cost of a core for each model."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="models; all if none is given")
    parser.add_argument("--lanes", type=int, default=16)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures as JSON too")
    options = parser.parse_args()
    unknown = sorted(set(options.names) - set(MODELS))
    if unknown:
        parser.error(f"no model {unknown[0]!r}; there are: {'; '.join(MODELS)}")
    names = options.names or MODELS
    try:
        costs = [measure(name, network(MODELS[name]), lanes=options.lanes) for name in names]
    except SpikewrightError as error:
        parser.exit(1, f"{error}\n")
    print(markdown(costs))
    print(f"\na core of {options.lanes} lanes, over its lanes; {costs[0].tool}, synth_ecp5")
    if options.json:
        write_text(options.json, json.dumps([asdict(cost) for cost in costs], indent=1))


if __name__ == "__main__":
    main()
