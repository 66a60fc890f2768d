"""Sound inputs to damage: a small network, its data, a build of it, and all results about it."""

import contextlib
import io
import json
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import safetensors.torch
import torch

import spikewright
from spikewright.app.cli import main
from spikewright.machine import builds
from spikewright.records import SCHEMA
from spikewright.sim.golden.model import Golden
from spikewright.sw.models import nets
from spikewright.sw.models.reading import load_model
from tests.support.placements import large_machine, random_schedule, trimmed
from tests.support.random_networks import random_frames, random_network

MODULE = """
from torch import nn


def make():
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.ReLU6(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(16, 3)
    )
"""
BUILDS = {
    "if": (),
    "hpc": ("--neuron", "hpc", "--code", "isi"),
    "tsc": ("--neuron", "tsc", "--code", "tsc"),
}
SECOND = {"cores-if": ("if", 1), "cores-burst": ("burst", 2), "cores-pool": ("if", 3)}
"""Builds of the second machine: neurons and cores."""
SHAPE = ("--input-shape", "1,6,6", "-T", "3", "--lanes", "4")


@dataclass(frozen=True)
class Outcome:
    """What a build gives on the frames of ``data.npz``."""

    potentials: bytes
    spikes: bytes
    shape: object
    images: object

    @classmethod
    def of(cls, build, frames):
        """The golden model's results, and what the hardware is loaded with."""
        result = Golden(build.network).run(frames)
        counts = b"".join(np.ascontiguousarray(c).tobytes() for c in result.spike_counts)
        words = {name: image.words for name, image in build.images.items()}
        return cls(result.potentials.tobytes(), counts, build.mapping.shape, words)


@dataclass(frozen=True)
class Second:
    """What a build of the second machine gives on frames of its own."""

    frames: np.ndarray
    potentials: bytes
    images: object

    @classmethod
    def of(cls, build, frames):
        """The golden model's results, and what the memories are loaded with."""
        return cls(frames, Golden(build.network).run(frames).potentials.tobytes(), build.images)

    def gives(self, build):
        """Whether `build` gives the same."""
        again = Second.of(build, self.frames)
        return (again.potentials, again.images) == (self.potentials, self.images)


@dataclass(frozen=True)
class Inputs:
    """The folder with all sound files, and what its builds give."""

    folder: Path
    frames: np.ndarray
    outcomes: dict[str, Outcome]
    second: dict[str, Second]
    evaluations: dict[str, dict]
    only: str = ""
    """Kinds of cases whose names begin so."""


def leave_out_the_slow() -> None:
    """No generated Verilog, simulation or synthesis in a case: text in its place, or an error."""
    import spikewright.hw.top
    import spikewright.sim.rtl.verify

    def generate(shape, *, trace=False):
        return f"// {shape}, traced: {trace}\n" + 20 * "wire [7:0] x;\n"

    def simulate(*_, **__):
        raise spikewright.SpikewrightError("no simulation in a case")

    spikewright.hw.top.generate = generate
    spikewright.sim.rtl.verify.simulate = simulate
    os.environ |= {"YOSYS": "/nowhere", "MPLBACKEND": "agg"}


def make(folder: Path) -> Inputs:
    """Write all sound inputs into the empty `folder`, and make this process fit for cases."""
    torch.set_num_threads(1)
    torch.manual_seed(1)
    os.chdir(folder)
    leave_out_the_slow()
    (folder / "net.py").write_text(MODULE)
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 256, (8, 1, 6, 6), dtype=np.uint8)
    np.savez_compressed(folder / "data.npz", x=frames, y=rng.integers(0, 3, 8))
    module = load_model("net:make")
    safetensors.torch.save_file(module.state_dict(), folder / "weights.safetensors")
    about = {"schema": SCHEMA, "net": "mlp", "kwargs": {"shape": [1, 6, 6], "classes": 3}}
    nets.save(nets.build(about), about, folder / "saved.safetensors")
    evaluations, outcomes = {}, {}
    for name, chosen in BUILDS.items():
        words = ("net:make", "--weights", "weights.safetensors", *SHAPE, *chosen)
        run("compile", *words, "--data", "data.npz", "-o", name)
        evaluations[name] = run("eval", name, "--data", "data.npz", "--save", "eval.json")
        for file, content in (("verify.json", VERIFY), ("synth.json", SYNTH)):
            about = evaluations[name]["about"]
            (folder / name / file).write_text(json.dumps(content | {"about": about}))
        run("report", name)
        outcomes[name] = Outcome.of(spikewright.read_build(name), frames)
    second = {name: cores(folder / name, *chosen) for name, chosen in SECOND.items()}
    return Inputs(folder, frames, outcomes, second, evaluations)


def cores(folder, neuron, cores):
    """A build of the second machine, and what it gives."""
    rng = np.random.default_rng(cores)
    network = random_network(rng, neuron=neuron, size=600, max_layers=3, side=(2, 6))
    schedule = trimmed(random_schedule(rng, network, large_machine(cores, 8, 2)))
    folder.mkdir()
    build = builds.write_build(folder, schedule, files={"top.v": "module top;\nendmodule\n"})
    return Second.of(build, random_frames(rng, network, 2))


def run(*words):
    """What a sound command prints as JSON."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        status = main([*words, "--json"])
    if status:
        raise RuntimeError(f"a sound command failed: {words}")
    return json.loads(out.getvalue())


VERIFY = {
    "equal": True,
    "mismatch": None,
    "backend": "pysim",
    "images": 2,
    "traced": 2,
    "clocks": {"mean": 883.5, "min": 882, "max": 885},
    "activity": {"idle": 314, "integrate": 867, "scan": 102, "initialise": 34, "stalled": 450},
    "word_utilisation": 0.57,
    "lane_utilisation": 0.57,
    "lane_updates": 2002.0,
    "lanes": 4,
    "loading_clocks": 904,
    "model": {"neurons": "IF", "code": "direct", "time": "3 steps", "output": "potentials"},
    "frames": "2 frames",
    "seconds": 24.3,
}
SYNTH = {
    "board": "ulx3s-85f",
    "device": "LFE5U-85F-6BG381C",
    "bitstream": "if/ulx3s-85f.bit",
    "clock_mhz": 90.0,
    "fmax_mhz": 91.4,
    "seed": 1,
    "resources": {
        name: {"used": 1, "available": 10, "share": 0.1} for name in ("LUT", "FF", "BRAM", "DSP")
    },
    "critical_path": None,
    "tools": {"yosys": "0.70"},
}
