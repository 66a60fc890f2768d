"""From a trained torch module to a float network.

The module is traced with :mod:`torch.fx` (our activations are leaves), its graph is walked in
order with a single example, and every operation is either understood exactly or refused by name and
place. Between two activations everything is linear: a sum of branches, each of which merges into
one pooled convolution of its source (:mod:`.merge`). At the end the result is compared with the
module itself, so that a tracing cannot be silently wrong.
"""

import copy
import warnings

import torch

from spikewright.errors import SpikewrightError
from spikewright.network import FloatNetwork, InputSpec
from spikewright.sw.frontend.comparison import compare
from spikewright.sw.frontend.handlers import OWN, kind_of, module_handler
from spikewright.sw.frontend.layers import layers_of
from spikewright.sw.frontend.site import Site, first_line
from spikewright.sw.frontend.values import Value, frame_shape
from spikewright.sw.frontend.walk import walk

__all__ = ["trace"]


def trace(
    module: torch.nn.Module,
    example_input: torch.Tensor,
    *,
    input_spec: InputSpec | None = None,
) -> FloatNetwork:
    """The float network that computes what `module` computes in evaluation mode.

    `example_input` is one input as the module sees it, ``(1, C, H, W)``, ``(C, H, W)``, or flat
    ``(1, N)`` or ``(N,)``, which becomes the frame ``(N, 1, 1)``. `input_spec` says how pixels
    become such inputs; without it they are 8 bits wide and the module sees pixel / 255. The module
    is copied, never changed. A softmax at the end is dropped with a note in the log, since it keeps
    the order of the outputs.

    Raises SpikewrightError, naming the operation and what to do, for whatever cannot be exact.
    """
    example = _one_example(example_input)
    shape = frame_shape(example)
    if input_spec is None:
        input_spec = InputSpec(shape)
    elif input_spec.shape != shape:
        raise SpikewrightError(
            f"input: the specification says {input_spec.shape}, the example has {shape}; make them "
            "equal"
        )
    with warnings.catch_warnings(action="ignore"):  # of the user's module, run a few times here
        copied = _evaluated(module)
        output = walk(_graph(copied), Value(example, shape))
        network = FloatNetwork(input_spec, layers_of(output, input_spec))
        compare(copied, network, example, output.tail)
    return network


def _one_example(example: torch.Tensor) -> torch.Tensor:
    example = example.detach().cpu().double()
    if example.ndim in (1, 3):
        example = example[None]
    if example.ndim not in (2, 4) or not example.numel():
        raise SpikewrightError(
            f"input: an example of shape {tuple(example.shape)}; give one of shape (1, C, H, W) or "
            "(1, N)"
        )
    return example[:1]


class _Tracer(torch.fx.Tracer):
    """Our activations are leaves, as torch's own modules are."""

    def is_leaf_module(self, m: torch.nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, tuple(OWN)) or super().is_leaf_module(m, module_qualified_name)


def _evaluated(module: torch.nn.Module) -> torch.nn.Module:
    """A float64 copy in evaluation mode on the CPU."""
    try:
        copied = copy.deepcopy(module).cpu().double().eval()
    except Exception as error:  # tensors with a history, handles, locks: whatever the user keeps
        raise SpikewrightError(
            f"{type(module).__name__}: cannot be copied ({first_line(error)}); keep only "
            "parameters, buffers and plain values in the module"
        ) from None
    leaf = _Tracer().is_leaf_module(copied, "")
    return torch.nn.Sequential(copied) if leaf else copied


def _graph(module: torch.nn.Module) -> torch.fx.GraphModule:
    """The graph of `module`, without dead code.

    Raises SpikewrightError if it cannot be traced, or holds a module that nothing handles.
    """
    try:
        found = _Tracer().trace(module)
    except Exception as error:  # the user's forward can raise anything
        raise SpikewrightError(
            f"{type(module).__name__}.forward: cannot be traced ({first_line(error)}); remove "
            "control flow that depends on data or shapes"
        ) from None
    traced = torch.fx.GraphModule(module, found)
    traced.graph.eliminate_dead_code()
    for node in traced.graph.nodes:  # first of all, so that they are named whatever precedes them
        if node.op == "call_module":
            called = traced.get_submodule(node.target)
            module_handler(Site(node.target, kind_of(called).__name__), called)
    return traced
