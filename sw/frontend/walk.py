"""The walk through the graph: every node executed on the example, and handled."""

import inspect
import operator
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch.fx.node import map_aggregate, map_arg

from spikewright.errors import SpikewrightError
from spikewright.sw.frontend.handlers import (
    check_input,
    function_handler,
    kind_of,
    module_handler,
)
from spikewright.sw.frontend.site import ONE_CHAIN, SUPPORTED, Site, first_line
from spikewright.sw.frontend.values import Value

__all__ = ["walk"]


def walk(module: torch.fx.GraphModule, example: Value) -> Value:
    """Execute `module` on the example, node by node, and return what leaves it."""
    environment: dict[torch.fx.Node, Any] = {}
    inputs = [example]
    for node in module.graph.nodes:
        args = map_arg(node.args, environment.__getitem__)
        kwargs = map_arg(node.kwargs, environment.__getitem__)
        match node.op:
            case "placeholder":
                environment[node] = _placeholder(node, inputs, args)
            case "get_attr":
                environment[node] = operator.attrgetter(node.target)(module)
            case "output":
                return _output(args[0])
            case "call_module":
                environment[node] = _call_module(node.target, module, args, kwargs)
            case _:
                environment[node] = _call(_site(node), node, args, kwargs)
    raise AssertionError("a graph without output")


def _placeholder(node: torch.fx.Node, inputs: list[Value], default: Sequence[Any]) -> Any:
    if inputs:
        return inputs.pop()
    if not default:
        raise SpikewrightError(
            f"forward: takes a second input, '{node.target}'; a network has exactly one"
        )
    return default[0]


def _output(value: Any) -> Value:
    if isinstance(value, Value):
        return value
    kind = type(value).__name__.removeprefix("immutable_")  # as the graph holds lists and dicts
    raise SpikewrightError(
        f"forward: returns something of type {kind} and not one tensor made from "
        "the input; return the outputs of the last layer alone"
    )


def _site(node: torch.fx.Node) -> Site:
    """Where a function or a method is called.

    Its name is the path of the module that owns its weight, if it has one, else the path of the
    calling module and the name of the node.
    """
    path = next(reversed(node.meta.get("nn_module_stack") or {"": None}))
    name = f"{path}.{node.name}" if path else node.name
    for argument in node.args[1:2]:
        if isinstance(argument, torch.fx.Node) and argument.op == "get_attr":
            name = str(argument.target).rpartition(".")[0] or name
    return Site(name, _operation_name(node.target))


def _operation_name(target: Any) -> str:
    """One name for the function, the method, their in-place forms and the exported operator."""
    name = target if isinstance(target, str) else getattr(target, "__name__", str(target))
    name = name.split(".")[0].rstrip("_")
    return {"iadd": "add", "isub": "sub", "imul": "mul", "itruediv": "truediv"}.get(name, name)


def _values(arguments: Any) -> list[Value]:
    """All values within `arguments`."""
    found: list[Value] = []
    map_aggregate(arguments, lambda leaf: found.append(leaf) if isinstance(leaf, Value) else None)
    return found


def _tensor(argument: Any) -> Any:
    return argument.tensor if isinstance(argument, Value) else argument


def _run(
    site: Site, function: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any]
) -> Any:
    """What `function` gives on the example's tensors."""
    try:
        with torch.no_grad():
            return function(*map_aggregate(args, _tensor), **map_aggregate(kwargs, _tensor))
    except Exception as error:  # the user's own module or shape
        shapes = ", ".join(str(tuple(value.tensor.shape)) for value in _values((args, kwargs)))
        raise site.refusal(
            f"fails on its input of shape {shapes} ({first_line(error)})", "check the input shape"
        ) from None


def _call_module(
    path: str, root: torch.nn.Module, args: Sequence[Any], kwargs: dict[str, Any]
) -> Value:
    module = root.get_submodule(path)
    site = Site(path, kind_of(module).__name__)
    values = _values((args, kwargs))
    if len(values) != 1:
        raise site.refusal(f"takes {len(values)} tensors made from the input", ONE_CHAIN)
    check_input(site, values[0])
    site = replace(site, out=_run(site, module, args, kwargs))
    return module_handler(site, module)(site, values[0])


def _call(site: Site, node: torch.fx.Node, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """A function or a method; one that touches no value, or only a shape, is simply executed."""
    if "input" in kwargs:
        args, kwargs = (kwargs["input"], *args), {k: v for k, v in kwargs.items() if k != "input"}
    function = _method(node.target) if isinstance(node.target, str) else node.target
    values = _values((args, kwargs))
    if not values or _asks_shape(site.kind, args):
        return _run(site, function, args, kwargs)
    if len(values) > (2 if site.kind in ("add", "sub") else 1):
        raise site.refusal("combines two tensors made from the input", ONE_CHAIN)
    handler = function_handler(site, node.target)
    for value in values:
        check_input(site, value)
    site = replace(site, out=_run(site, function, args, kwargs))
    try:
        inspect.signature(handler).bind(site, *args, **kwargs)
    except TypeError as error:
        raise site.refusal(f"has arguments that are not supported ({error})", SUPPORTED) from None
    return handler(site, *args, **kwargs)


def _method(name: str) -> Callable[..., Any]:
    return lambda owner, *args, **kwargs: getattr(owner, name)(*args, **kwargs)


def _asks_shape(kind: str, args: Sequence[Any]) -> bool:
    attributes = ("shape", "ndim", "dtype", "device")
    return kind in ("size", "dim", "numel") or (kind == "getattr" and args[1] in attributes)
