"""Spikewright: a trained PyTorch network in, a spiking FPGA accelerator out, proven bit for bit."""

from .errors import SpikewrightError
from .network import FloatNetwork, InputSpec, Network

__all__ = ["FloatNetwork", "InputSpec", "Network", "SpikewrightError", "__version__"]

__version__ = "0.1.0"
