"""From a module to its checked :mod:`torch.fx` graph, on a copy in evaluation mode."""

from __future__ import annotations

import copy

import torch

from spikewright.errors import SpikewrightError
from spikewright.sw.frontend.handlers import OWN, kind_of, module_handler
from spikewright.sw.frontend.site import Site, first_line

__all__ = ["evaluated", "graph"]


class _Tracer(torch.fx.Tracer):
    """Our activations are leaves, as torch's own modules are."""

    def is_leaf_module(self, m: torch.nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, tuple(OWN)) or super().is_leaf_module(m, module_qualified_name)


def evaluated(module: torch.nn.Module) -> torch.nn.Module:
    """A float64 copy in evaluation mode on the CPU. Raises SpikewrightError if none can be made."""
    try:
        copied = copy.deepcopy(module).cpu().double().eval()
    except Exception as error:  # tensors with a history, handles, locks: whatever the user keeps
        raise SpikewrightError(
            f"{type(module).__name__}: cannot be copied ({first_line(error)}); keep only "
            "parameters, buffers and plain values in the module"
        ) from None
    leaf = _Tracer().is_leaf_module(copied, "")
    return torch.nn.Sequential(copied) if leaf else copied


def graph(module: torch.nn.Module) -> torch.fx.GraphModule:
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
    _check_modules(traced)
    return traced


def _check_modules(module: torch.fx.GraphModule) -> None:
    """Refuse unsupported modules first of all, so that they are named whatever precedes them."""
    for node in module.graph.nodes:
        if node.op == "call_module":
            called = module.get_submodule(node.target)
            module_handler(Site(node.target, kind_of(called).__name__), called)
