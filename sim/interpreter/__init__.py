"""Executes program and memory images of the second machine in NumPy, operation for operation."""

from spikewright.sim.interpreter.core import Core, LayerRun
from spikewright.sim.interpreter.machine import ImageRun, Interpreter
from spikewright.sim.interpreter.trace import LayerTrace, output_places, outputs, traces

__all__ = [
    "Core",
    "ImageRun",
    "Interpreter",
    "LayerRun",
    "LayerTrace",
    "output_places",
    "outputs",
    "traces",
]
