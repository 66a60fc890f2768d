"""From a trained torch module to a float network.

The module is traced with :mod:`torch.fx` (our activations are leaves), its graph is walked in
order with a single example, and every operation is either understood exactly or refused by name and
place. Between two activations everything is linear: a sum of branches, each of which merges into
one pooled convolution of its source (:mod:`.merge`). At the end the result is compared with the
module itself, so that a tracing cannot be silently wrong.
"""

from __future__ import annotations

import copy
import inspect
import logging
import operator
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.fx
from torch.nn.utils import parametrize

from spikewright.errors import SpikewrightError
from spikewright.network import (
    INPUT,
    Activation,
    ActivationKind,
    FloatLayer,
    FloatNetwork,
    FloatSynapse,
    InputSpec,
)
from spikewright.sim.ann import ann_forward
from spikewright.sw.activations import LSQ, NQ, QCFS, FakeQuant, QReLU
from spikewright.sw.frontend.merge import (
    Average,
    Linear,
    Maximum,
    Operation,
    PerPosition,
    merge,
    without_shift,
)

__all__ = ["trace"]

Shape = tuple[int, int, int]
Floats = npt.NDArray[np.float64]

TOLERANCE = 1e-4
"""Largest accepted difference from the module, relative to its largest output."""

CHECKED_FRAMES = 4
"""Random frames that the comparison with the module uses besides the example."""

_SUPPORTED = (
    "supported are Conv2d, Linear, BatchNorm, ReLU, ReLU6, Hardtanh(0, a), QCFS, NQ, QReLU, LSQ, "
    "FakeQuant, average and max pooling, Flatten and Dropout"
)
_USE_RELU = "use ReLU or QCFS and retrain"
_FEED_FORWARD = "recurrent layers have no counterpart; use a feed-forward network"
_ONE_CHAIN = "two tensors can be added, and nothing else; remove the branch"
_ADVICE = {
    **dict.fromkeys(("LSTM", "GRU", "RNN", "LSTMCell", "GRUCell", "RNNCell"), _FEED_FORWARD),
    **dict.fromkeys(("GELU", "SiLU", "Tanh", "Sigmoid", "LeakyReLU", "ELU", "PReLU"), _USE_RELU),
    **dict.fromkeys(("gelu", "silu", "tanh", "sigmoid", "leaky_relu", "elu", "prelu"), _USE_RELU),
    **dict.fromkeys(("cat", "concat", "stack", "chunk", "split"), _ONE_CHAIN),
}


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
    shape = _frame_shape(example)
    if input_spec is None:
        input_spec = InputSpec(shape)
    elif input_spec.shape != shape:
        raise SpikewrightError(
            f"input: the specification says {input_spec.shape}, the example has {shape}; make them "
            "equal"
        )
    with warnings.catch_warnings(action="ignore"):  # of the user's module, run a few times here
        copied = _evaluated(module)
        output = _walk(_graph(copied), _Value(example, shape))
        network = FloatNetwork(input_spec, _layers(output, input_spec))
        _compare(copied, network, example, output.tail)
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


def _frame_shape(example: torch.Tensor) -> Shape:
    """(C, H, W) of a batched example; a flat one counts as channels."""
    sizes = (*example.shape[1:], 1, 1)
    return sizes[0], sizes[1], sizes[2]


def _evaluated(module: torch.nn.Module) -> torch.nn.Module:
    """A float64 copy in evaluation mode on the CPU."""
    try:
        copied = copy.deepcopy(module).cpu().double().eval()
    except Exception as error:  # tensors with a history, handles, locks: whatever the user keeps
        raise SpikewrightError(
            f"{type(module).__name__}: cannot be copied ({_first_line(error)}); keep only "
            "parameters, buffers and plain values in the module"
        ) from None
    leaf = _Tracer().is_leaf_module(copied, "")
    return torch.nn.Sequential(copied) if leaf else copied


class _Tracer(torch.fx.Tracer):
    def is_leaf_module(self, m: torch.nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, (QCFS, QReLU, LSQ, FakeQuant)) or super().is_leaf_module(
            m, module_qualified_name
        )


def _graph(module: torch.nn.Module) -> torch.fx.GraphModule:
    try:
        graph = _Tracer().trace(module)
    except Exception as error:  # the user's forward can raise anything
        raise SpikewrightError(
            f"{type(module).__name__}.forward: cannot be traced ({_first_line(error)}); remove "
            "control flow that depends on data or shapes"
        ) from None
    traced = torch.fx.GraphModule(module, graph)
    traced.graph.eliminate_dead_code()
    _check_modules(traced)
    return traced


def _check_modules(module: torch.fx.GraphModule) -> None:
    """Refuse unsupported modules first of all, so that they are named whatever precedes them."""
    for node in module.graph.nodes:
        if node.op != "call_module":
            continue
        kind = _kind(module.get_submodule(node.target))
        if kind not in _MODULES:
            site = _Site(node.target, kind.__name__)
            raise site.refusal("is not supported", _ADVICE.get(kind.__name__, _SUPPORTED))


def _kind(module: torch.nn.Module) -> type[torch.nn.Module]:
    return parametrize.type_before_parametrizations(module)


def _first_line(error: BaseException) -> str:
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__


# ----------------------------------------------------------------------------------- graph walking


@dataclass(frozen=True)
class _Squash:
    """An activation in the chain of operations."""

    where: str
    kind: ActivationKind
    threshold: float | None = None
    levels: int | None = None
    smax: int | None = None

    def after(self, before: _Squash) -> _Squash | None:
        """The one activation that equals this one directly behind `before`, if there is one."""
        if self.kind is ActivationKind.RELU:
            return before
        if before.kind is ActivationKind.RELU:
            return self
        return None


_Step = Operation | Maximum | _Squash
"""What a value can go through."""


@dataclass(frozen=True)
class _Branch:
    """Linear operations on what one source gives, after its max pools; None is the input frame."""

    source: _Neurons | None
    maxima: tuple[Maximum, ...] = ()
    operations: tuple[Operation, ...] = ()

    @property
    def bare(self) -> bool:
        return not self.maxima and not self.operations


@dataclass(frozen=True, eq=False)
class _Neurons:
    """An activation of a sum of branches: a layer to be."""

    branches: tuple[_Branch, ...]
    squash: _Squash

    @cached_property
    def depth(self) -> int:
        """Layers in front of it, on the longest way."""
        return max((b.source.depth + 1 for b in self.branches if b.source is not None), default=0)


@dataclass(frozen=True)
class _Value:
    """What flows through the graph: the example's value there, and how it was made.

    It is the sum of `branches`, which `where` gave, behind the max pools `maxima`. `shape` is its
    (C, H, W); a flattened `tensor` keeps it, in row-major order. `tail` is a softmax at the end.
    """

    tensor: torch.Tensor
    shape: Shape
    branches: tuple[_Branch, ...] = (_Branch(None),)
    where: str = ""
    maxima: tuple[Maximum, ...] = ()
    tail: Callable[[torch.Tensor], torch.Tensor] | None = None

    @property
    def spatial(self) -> bool:
        return tuple(self.tensor.shape) == (1, *self.shape)

    @property
    def flat(self) -> bool:
        return self.tensor.ndim > 0 and self.tensor.shape[-1] == self.tensor.numel()

    @property
    def terms(self) -> tuple[_Branch, ...]:
        """The branches with the max pools in them, which takes spikes that these can compare."""
        if not self.maxima:
            return self.branches
        first, site = self.branches[0], self.maxima[0].where
        if len(self.branches) > 1 or first.operations:
            raise SpikewrightError(
                f"{site}: pools what {self.where} gives; max pooling compares counts of spikes, "
                "so put it directly before or behind an activation"
            )
        if first.source is None:
            raise SpikewrightError(
                f"{site}: pools the input frame; max pooling compares counts of spikes, so put a "
                "layer with an activation before it"
            )
        return (replace(first, maxima=self.maxima),)

    def fired(self, squash: _Squash) -> _Neurons:
        """Neurons of `squash` behind the branches.

        An activation keeps the order of numbers, so it may as well stand before the max pools.
        """
        before = self.branches[0].source
        if len(self.branches) > 1 or not self.branches[0].bare or before is None:
            return _Neurons(self.branches, squash)
        both = squash.after(before.squash)
        if both is None:
            raise SpikewrightError(
                f"{squash.where}: directly follows {before.squash.where}; keep one of the two"
            )
        return before if both is before.squash else _Neurons(before.branches, both)


@dataclass(frozen=True)
class _Site:
    """The graph node being handled: where it is, and what it gave for the example."""

    name: str
    kind: str
    out: torch.Tensor = field(default_factory=lambda: torch.empty(0))

    @property
    def where(self) -> str:
        return f"{self.name} ({self.kind})"

    def refusal(self, wrong: str, advice: str) -> SpikewrightError:
        return SpikewrightError(f"{self.where}: {wrong}; {advice}")

    def array(self, tensor: torch.Tensor, name: str) -> Floats:
        """`tensor` as finite float64 numbers."""
        values = tensor.detach().cpu().double().numpy()
        bad = ~np.isfinite(values)
        if bad.any():
            first = tuple(int(i) for i in np.argwhere(bad)[0])
            raise self.refusal(
                f"{name} holds {int(bad.sum())} value(s) that are NaN or infinite, the first at "
                f"index {first}",
                "retrain or repair the weights",
            )
        return values

    def then(self, value: _Value, step: _Step, shape: Shape) -> _Value:
        """`value` behind `step`, which gives `shape`."""
        match step:
            case _Squash():
                branch = _Branch(value.fired(step))
                return _Value(self.out, shape, (branch,), self.where, value.maxima)
            case Maximum():
                return replace(value, tensor=self.out, shape=shape, maxima=(*value.maxima, step))
        first, *others = value.terms
        branches = (_behind(first, step), *(_behind(b, without_shift(step)) for b in others))
        return _Value(self.out, shape, branches, self.where)


def _behind(branch: _Branch, operation: Operation) -> _Branch:
    return replace(branch, operations=(*branch.operations, operation))


def _walk(module: torch.fx.GraphModule, example: _Value) -> _Value:
    """Execute `module` on the example, node by node, and return what leaves it."""
    environment: dict[torch.fx.Node, Any] = {}
    inputs = [example]
    for node in module.graph.nodes:
        args = torch.fx.node.map_arg(node.args, environment.__getitem__)
        kwargs = torch.fx.node.map_arg(node.kwargs, environment.__getitem__)
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


def _placeholder(node: torch.fx.Node, inputs: list[_Value], default: Sequence[Any]) -> Any:
    if inputs:
        return inputs.pop()
    if not default:
        raise SpikewrightError(
            f"forward: takes a second input, '{node.target}'; a network has exactly one"
        )
    return default[0]


def _output(value: Any) -> _Value:
    if isinstance(value, _Value):
        return value
    kind = type(value).__name__.removeprefix("immutable_")  # as the graph holds lists and dicts
    raise SpikewrightError(
        f"forward: returns something of type {kind} and not one tensor made from "
        "the input; return the outputs of the last layer alone"
    )


def _site(node: torch.fx.Node) -> _Site:
    """Where a function or a method is called.

    Its name is the path of the module that owns its weight, if it has one, else the path of the
    calling module and the name of the node.
    """
    path = next(reversed(node.meta.get("nn_module_stack") or {"": None}))
    name = f"{path}.{node.name}" if path else node.name
    for argument in node.args[1:2]:
        if isinstance(argument, torch.fx.Node) and argument.op == "get_attr":
            name = str(argument.target).rpartition(".")[0] or name
    return _Site(name, _operation_name(node.target))


def _operation_name(target: Any) -> str:
    """One name for the function, the method, their in-place forms and the exported operator."""
    name = target if isinstance(target, str) else getattr(target, "__name__", str(target))
    name = name.split(".")[0].rstrip("_")
    return {"iadd": "add", "isub": "sub", "imul": "mul", "itruediv": "truediv"}.get(name, name)


def _values(arguments: Any) -> list[_Value]:
    if isinstance(arguments, _Value):
        return [arguments]
    if isinstance(arguments, dict):
        arguments = arguments.values()
    elif not isinstance(arguments, (tuple, list)):
        return []
    return [value for argument in arguments for value in _values(argument)]


def _tensors(arguments: Any) -> Any:
    """`arguments` with the example's tensors in place of values."""
    if isinstance(arguments, _Value):
        return arguments.tensor
    if isinstance(arguments, dict):
        return {key: _tensors(argument) for key, argument in arguments.items()}
    if isinstance(arguments, (tuple, list)):
        return type(arguments)(_tensors(argument) for argument in arguments)
    return arguments


def _run(
    site: _Site, function: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any]
) -> Any:
    try:
        with torch.no_grad():
            return function(*_tensors(args), **_tensors(kwargs))
    except Exception as error:  # the user's own module or shape
        shapes = ", ".join(str(tuple(value.tensor.shape)) for value in _values((args, kwargs)))
        raise site.refusal(
            f"fails on its input of shape {shapes} ({_first_line(error)})", "check the input shape"
        ) from None


def _call_module(
    path: str, root: torch.nn.Module, args: Sequence[Any], kwargs: dict[str, Any]
) -> _Value:
    module = root.get_submodule(path)
    kind = _kind(module)
    site = _Site(path, kind.__name__)
    values = _values((args, kwargs))
    if len(values) != 1:
        raise site.refusal(f"takes {len(values)} tensors made from the input", _ONE_CHAIN)
    _check_input(site, values[0])
    site = replace(site, out=_run(site, module, args, kwargs))
    return _MODULES[kind](site, values[0], module)


def _call(site: _Site, node: torch.fx.Node, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """A function or a method; one that touches no value, or only a shape, is simply executed."""
    if "input" in kwargs:
        args, kwargs = (kwargs["input"], *args), {k: v for k, v in kwargs.items() if k != "input"}
    function = _method(node.target) if isinstance(node.target, str) else node.target
    values = _values((args, kwargs))
    if not values or _asks_shape(site.kind, args):
        return _run(site, function, args, kwargs)
    if len(values) > (2 if site.kind in ("add", "sub") else 1):
        raise site.refusal("combines two tensors made from the input", _ONE_CHAIN)
    handler = _TARGETS.get(node.target) or _FUNCTIONS.get(site.kind)
    if handler is None:
        raise site.refusal("is not supported", _ADVICE.get(site.kind, _SUPPORTED))
    for value in values:
        _check_input(site, value)
    site = replace(site, out=_run(site, function, args, kwargs))
    try:
        inspect.signature(handler).bind(site, *args, **kwargs)
    except TypeError as error:
        raise site.refusal(f"has arguments that are not supported ({error})", _SUPPORTED) from None
    return handler(site, *args, **kwargs)


def _method(name: str) -> Callable[..., Any]:
    return lambda owner, *args, **kwargs: getattr(owner, name)(*args, **kwargs)


def _asks_shape(kind: str, args: Sequence[Any]) -> bool:
    attributes = ("shape", "ndim", "dtype", "device")
    return kind in ("size", "dim", "numel") or (kind == "getattr" and args[1] in attributes)


def _check_input(site: _Site, value: _Value) -> None:
    """Refuse what torch would compute, but not as a layer, or refuse less clearly."""
    if site.kind in _ON_FRAMES and not value.spatial:
        raise site.refusal(
            f"has an input of shape {tuple(value.tensor.shape)} and not (1, C, H, W)",
            "put it in front of the flattening",
        )
    if value.tail is not None:
        raise site.refusal("follows a softmax", "a softmax must be the last operation; remove it")


# ---------------------------------------------------------------------------------- linear handlers


def _pair(value: Any) -> tuple[int, int]:
    if isinstance(value, int):
        return value, value
    values = tuple(int(v) for v in value)
    return (values[0], values[-1])


def _conv2d(
    site: _Site,
    x: _Value,
    weight: torch.Tensor,
    bias: torch.Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> _Value:
    if _pair(dilation) != (1, 1):
        raise site.refusal(f"has dilation {_pair(dilation)}", "use dilation=1 and retrain")
    kernel = (weight.shape[2], weight.shape[3])
    if padding == "same":
        if kernel[0] % 2 == 0 or kernel[1] % 2 == 0:
            raise site.refusal(
                f"pads 'same' around an even {kernel[0]}x{kernel[1]} kernel, so one side more than "
                "the other",
                "use an odd kernel or a number as padding",
            )
        padding = (kernel[0] // 2, kernel[1] // 2)
    pads = (0, 0) if padding == "valid" else _pair(padding)
    if pads[0] >= kernel[0] or pads[1] >= kernel[1]:
        raise site.refusal(
            f"pads {pads} around a {kernel[0]}x{kernel[1]} kernel, so outputs see padding alone",
            "pad less than the kernel",
        )
    out, height, width = weight.shape[0], *site.out.shape[2:]
    operation = Linear.grouped(
        site.where,
        site.array(weight, "weight"),
        _bias(site, bias, out),
        _pair(stride),
        pads,
        groups=groups,
    )
    return site.then(x, operation, (out, height, width))


def _conv_module(site: _Site, x: _Value, m: torch.nn.Conv2d) -> _Value:
    if m.padding_mode != "zeros":
        raise site.refusal(
            f"pads with padding_mode='{m.padding_mode}'", "use padding_mode='zeros' and retrain"
        )
    return _conv2d(site, x, m.weight, m.bias, m.stride, m.padding, m.dilation, m.groups)


def _bias(site: _Site, bias: torch.Tensor | None, channels: int) -> Floats:
    return np.zeros(channels) if bias is None else site.array(bias, "bias")


def _linear(
    site: _Site, x: _Value, weight: torch.Tensor, bias: torch.Tensor | None = None
) -> _Value:
    """A convolution whose kernel covers its source, in the (channel, y, x) order of flattening."""
    if not x.flat:
        raise site.refusal(
            f"acts on the last axis of an input of shape {tuple(x.tensor.shape)}",
            "put torch.nn.Flatten() in front of it",
        )
    out = weight.shape[0]
    kernel = site.array(weight, "weight").reshape(out, *x.shape)
    return site.then(x, Linear(site.where, kernel, _bias(site, bias, out)), (out, 1, 1))


def _scaled(site: _Site, x: _Value, scale: Any, shift: Any) -> _Value:
    """``scale * x + shift``, where both broadcast to x."""
    if site.out.shape != x.tensor.shape:
        raise site.refusal(
            f"makes {tuple(site.out.shape)} of {tuple(x.tensor.shape)}",
            "use constants that keep the shape",
        )
    constants = (site.array(torch.as_tensor(v), "a constant") for v in (scale, shift))
    factors, offsets = (np.broadcast_to(v, x.tensor.shape).reshape(x.shape) for v in constants)
    if all((v == v[:, :1, :1]).all() for v in (factors, offsets)):
        operation: Operation = Linear.pointwise(site.where, factors[:, 0, 0], offsets[:, 0, 0])
    else:
        operation = PerPosition(site.where, factors, offsets)
    return site.then(x, operation, x.shape)


def _batch_norm(
    site: _Site,
    x: _Value,
    running_mean: torch.Tensor | None,
    running_var: torch.Tensor | None,
    weight: torch.Tensor | None = None,
    bias: torch.Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> _Value:
    """``(x - mean) / sqrt(var + eps) * weight + bias`` per channel."""
    if running_mean is None or running_var is None or training:
        raise site.refusal(
            "normalises with the statistics of its batch",
            "use track_running_stats=True and evaluation mode",
        )
    mean = site.array(running_mean, "running_mean")
    gain = 1.0 / np.sqrt(site.array(running_var, "running_var") + eps)
    if weight is not None:
        gain = gain * site.array(weight, "weight")
    shift = _bias(site, bias, len(mean)) - mean * gain
    axes = (-1, *(1,) * (x.tensor.ndim - 2))
    return _scaled(site, x, torch.tensor(gain.reshape(axes)), torch.tensor(shift.reshape(axes)))


def _aten_batch_norm(
    site: _Site,
    x: _Value,
    weight: torch.Tensor | None,
    bias: torch.Tensor | None,
    running_mean: torch.Tensor | None,
    running_var: torch.Tensor | None,
    training: bool,
    momentum: float,
    eps: float,
    cudnn_enabled: bool = False,
) -> _Value:
    """The same with the parameters in the order of ``torch.batch_norm``."""
    return _batch_norm(site, x, running_mean, running_var, weight, bias, training, momentum, eps)


def _batch_norm_module(site: _Site, x: _Value, m: torch.nn.BatchNorm2d) -> _Value:
    return _batch_norm(site, x, m.running_mean, m.running_var, m.weight, m.bias, eps=m.eps)


def _sum(site: _Site, a: _Value, b: _Value) -> _Value:
    """Both at once, into the same neurons."""
    shapes = [tuple(value.tensor.shape) for value in (a, b)]
    if shapes[0] == shapes[1]:
        shapes = [a.shape, b.shape]
    if shapes[0] != shapes[1]:
        raise site.refusal(
            f"adds tensors of shape {shapes[0]} and {shapes[1]}",
            "give both the same channels, height and width",
        )
    branches = (*a.terms, *b.terms)
    if len({branch.source is None for branch in branches}) > 1:
        raise site.refusal(
            "adds the input frame to spikes, which no layer takes together",
            "put an activation into the branch from the input",
        )
    return _Value(site.out, a.shape, branches, site.where)


def _add(site: _Site, a: Any, b: Any) -> _Value:
    if isinstance(a, _Value) and isinstance(b, _Value):
        return _sum(site, a, b)
    return _scaled(site, a, 1.0, b) if isinstance(a, _Value) else _scaled(site, b, 1.0, a)


def _sub(site: _Site, a: Any, b: Any) -> _Value:
    if isinstance(a, _Value) and isinstance(b, _Value):
        return _sum(site, a, _scaled(replace(site, out=b.tensor), b, -1.0, 0.0))
    if isinstance(a, _Value):
        return _scaled(site, a, 1.0, -torch.as_tensor(b))
    return _scaled(site, b, -1.0, a)


def _mul(site: _Site, a: Any, b: Any) -> _Value:
    return _scaled(site, a, b, 0.0) if isinstance(a, _Value) else _scaled(site, b, a, 0.0)


def _div(site: _Site, a: Any, b: Any) -> _Value:
    if not isinstance(a, _Value):
        raise site.refusal("divides by a tensor made from the input", "divide by constants only")
    return _scaled(site, a, 1.0 / torch.as_tensor(b, dtype=torch.float64), 0.0)


def _neg(site: _Site, x: _Value) -> _Value:
    return _scaled(site, x, -1.0, 0.0)


def _avg_pool2d(
    site: _Site,
    x: _Value,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> _Value:
    size = _pair(kernel_size)
    steps = size if stride is None or stride == [] else _pair(stride)
    if _pair(padding) != (0, 0):
        raise site.refusal(
            f"pads its {size[0]}x{size[1]} windows by {_pair(padding)}",
            "a padded average pool is not exact; use padding=0 and retrain",
        )
    if divisor_override not in (None, size[0] * size[1]):
        raise site.refusal(
            f"divides by divisor_override={divisor_override}", "leave divisor_override out"
        )
    height, width = ((n - k) // s + 1 for n, k, s in zip(x.shape[1:], size, steps, strict=True))
    if tuple(site.out.shape[2:]) != (height, width):
        raise site.refusal(
            f"makes windows that reach over the edge of its {x.shape[1]}x{x.shape[2]} input",
            "use ceil_mode=False and retrain",
        )
    return site.then(x, Average(site.where, size, steps), (x.shape[0], height, width))


def _adaptive_avg_pool2d(site: _Site, x: _Value, output_size: Any) -> _Value:
    size = _equal_windows(site, x)
    return site.then(x, Average(site.where, size, size), (x.shape[0], *site.out.shape[2:]))


def _equal_windows(site: _Site, x: _Value) -> tuple[int, int]:
    """The windows of an adaptive pool."""
    height, width = site.out.shape[2:]
    size = x.shape[1] // height, x.shape[2] // width
    if (size[0] * height, size[1] * width) != x.shape[1:]:
        raise site.refusal(
            f"makes {height}x{width} of {x.shape[1]}x{x.shape[2]} with unequal windows",
            "use an output size that divides the input, such as 1",
        )
    return size


def _max_pool2d(
    site: _Site,
    x: _Value,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> _Value:
    size = _pair(kernel_size)
    steps = size if stride is None or stride == [] else _pair(stride)
    windows = f"{size[0]}x{size[1]} windows"
    if return_indices:
        raise site.refusal("returns indices", "leave return_indices out")
    if _pair(dilation) != (1, 1):
        raise site.refusal(f"dilates its {windows}", "use dilation=1 and retrain")
    if _pair(padding) != (0, 0):
        raise site.refusal(f"pads its {windows} by {_pair(padding)}", "use padding=0 and retrain")
    if steps != size:
        kind = "overlap" if steps[0] < size[0] or steps[1] < size[1] else "leave gaps"
        raise site.refusal(
            f"has {windows} every {steps[0]}x{steps[1]}, which {kind}",
            "a spike can belong to one window only; use a stride equal to kernel_size and retrain",
        )
    height, width = x.shape[1] // size[0], x.shape[2] // size[1]
    if tuple(site.out.shape[2:]) != (height, width):
        raise site.refusal(
            f"makes windows that reach over the edge of its {x.shape[1]}x{x.shape[2]} input",
            "use ceil_mode=False and retrain",
        )
    return site.then(x, Maximum(site.where, size), (x.shape[0], height, width))


def _max_pool_module(site: _Site, x: _Value, m: torch.nn.MaxPool2d) -> _Value:
    settings = m.kernel_size, m.stride, m.padding, m.dilation, m.ceil_mode, m.return_indices
    return _max_pool2d(site, x, *settings)


def _adaptive_max_pool2d(
    site: _Site, x: _Value, output_size: Any, return_indices: bool = False
) -> _Value:
    if return_indices:
        raise site.refusal("returns indices", "leave return_indices out")
    maximum = Maximum(site.where, _equal_windows(site, x))
    return site.then(x, maximum, (x.shape[0], *site.out.shape[2:]))


def _mean(site: _Site, x: _Value, dim: Any = None, keepdim: bool = False) -> _Value:
    axes = {d % 4 for d in ((dim,) if isinstance(dim, int) else dim or ())}
    if axes != {2, 3}:
        raise site.refusal(f"averages over axes {dim}", "average over (2, 3), the height and width")
    size = x.shape[1:]
    return site.then(x, Average(site.where, size, size), (x.shape[0], 1, 1))


def _reshape(site: _Site, x: _Value, *args: Any, **kwargs: Any) -> _Value:
    """Anything that keeps the row-major order, as long as it only flattens."""
    value = replace(x, tensor=site.out)
    if value.spatial or site.out.numel() in site.out.shape:
        return value
    raise site.refusal(
        f"makes {tuple(site.out.shape)} of {tuple(x.tensor.shape)}",
        "only flattening to (1, N) is supported",
    )


def _identity(site: _Site, x: _Value, *args: Any, **kwargs: Any) -> _Value:
    return replace(x, tensor=site.out)


def _dropout(
    site: _Site, x: _Value, p: float = 0.5, training: bool = True, inplace: bool = False
) -> _Value:
    if training:
        raise site.refusal("stays active in evaluation", "pass training=self.training")
    return _identity(site, x)


# ------------------------------------------------------------------------------ activation handlers


def _relu(site: _Site, x: _Value, inplace: bool = False) -> _Value:
    return site.then(x, _Squash(site.where, ActivationKind.RELU), x.shape)


def _clip(site: _Site, x: _Value, low: Any, high: Any) -> _Value:
    for bound in (low, high):
        if not (bound is None or isinstance(bound, (int, float))):
            raise site.refusal("has a bound that is not a number", "clip to 0 and one number")
    if low != 0:
        raise site.refusal(f"clips at {low} from below", "the lower bound must be 0")
    if high is None or high == float("inf"):
        return _relu(site, x)
    if not high > 0:
        raise site.refusal(f"clips at {high} from above", "the upper bound must be positive")
    return site.then(x, _Squash(site.where, ActivationKind.CLIP, float(high)), x.shape)


def _relu6(site: _Site, x: _Value, inplace: bool = False) -> _Value:
    return _clip(site, x, 0, 6)


def _hardtanh(
    site: _Site, x: _Value, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False
) -> _Value:
    return _clip(site, x, min_val, max_val)


def _clamp(site: _Site, x: _Value, min: Any = None, max: Any = None) -> _Value:
    return _clip(site, x, min, max)


def _clamp_min(site: _Site, x: _Value, min: Any) -> _Value:
    return _clip(site, x, min, None)


def _rounded(name: str) -> Callable[[_Site, _Value, QCFS | LSQ | FakeQuant], _Value]:
    """Activations of so many levels that round to nearest; `name` is what sets their threshold."""

    def handler(site: _Site, x: _Value, m: QCFS | LSQ | FakeQuant) -> _Value:
        site.array(getattr(m, name), name)
        squash = _Squash(site.where, ActivationKind.QCFS, m.threshold.item(), m.levels)
        return site.then(x, squash, x.shape)

    return handler


def _qrelu(site: _Site, x: _Value, m: QReLU) -> _Value:
    site.array(m.lam, "lam")
    squash = _Squash(site.where, ActivationKind.QRELU, m.threshold.item(), m.levels, m.smax)
    return site.then(x, squash, x.shape)


def _tail(function: Callable[..., torch.Tensor]) -> Callable[..., _Value]:
    def softmax(
        site: _Site, x: _Value, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None
    ) -> _Value:
        if not x.flat or (dim is not None and dim % x.tensor.ndim != x.tensor.ndim - 1):
            raise site.refusal("does not run over all outputs", "use it on (1, N) with dim=1")
        logging.getLogger(__name__).warning(
            "%s: dropped; the outputs are those in front of it, in the same order", site.where
        )
        return replace(x, tensor=site.out, tail=lambda outputs: function(outputs, 1))

    return softmax


_softmax, _log_softmax = _tail(torch.softmax), _tail(torch.log_softmax)

_MODULES: dict[type, Callable[[_Site, _Value, Any], _Value]] = {
    torch.nn.Conv2d: _conv_module,
    torch.nn.Linear: lambda s, x, m: _linear(s, x, m.weight, m.bias),
    torch.nn.BatchNorm1d: _batch_norm_module,
    torch.nn.BatchNorm2d: _batch_norm_module,
    torch.nn.ReLU: lambda s, x, m: _relu(s, x),
    torch.nn.ReLU6: lambda s, x, m: _relu6(s, x),
    torch.nn.Hardtanh: lambda s, x, m: _clip(s, x, m.min_val, m.max_val),
    QCFS: _rounded("lam"),
    NQ: _rounded("lam"),
    LSQ: _rounded("step"),
    FakeQuant: _rounded("range"),
    QReLU: _qrelu,
    torch.nn.AvgPool2d: lambda s, x, m: _avg_pool2d(
        s, x, m.kernel_size, m.stride, m.padding, divisor_override=m.divisor_override
    ),
    torch.nn.AdaptiveAvgPool2d: lambda s, x, m: _adaptive_avg_pool2d(s, x, m.output_size),
    torch.nn.MaxPool2d: _max_pool_module,
    torch.nn.AdaptiveMaxPool2d: lambda s, x, m: _adaptive_max_pool2d(
        s, x, m.output_size, m.return_indices
    ),
    torch.nn.Softmax: lambda s, x, m: _softmax(s, x, m.dim),
    torch.nn.LogSoftmax: lambda s, x, m: _log_softmax(s, x, m.dim),
    **dict.fromkeys((torch.nn.Flatten, torch.nn.Unflatten), _reshape),
    **dict.fromkeys(
        (
            torch.nn.Identity,
            torch.nn.Dropout,
            torch.nn.Dropout1d,
            torch.nn.Dropout2d,
            torch.nn.AlphaDropout,
            torch.nn.FeatureAlphaDropout,
        ),
        _identity,
    ),
}
"""Handlers by the exact type of a leaf module."""

_FUNCTIONS: dict[str, Callable[..., _Value]] = {
    "conv2d": _conv2d,
    "linear": _linear,
    "batch_norm": _batch_norm,
    "add": _add,
    "sub": _sub,
    "mul": _mul,
    "truediv": _div,
    "div": _div,
    "neg": _neg,
    "avg_pool2d": _avg_pool2d,
    "adaptive_avg_pool2d": _adaptive_avg_pool2d,
    "max_pool2d": _max_pool2d,
    "adaptive_max_pool2d": _adaptive_max_pool2d,
    "mean": _mean,
    "relu": _relu,
    "relu6": _relu6,
    "hardtanh": _hardtanh,
    "clamp": _clamp,
    "clip": _clamp,
    "clamp_min": _clamp_min,
    "softmax": _softmax,
    "log_softmax": _log_softmax,
    **dict.fromkeys(("dropout", "dropout1d", "dropout2d", "alpha_dropout"), _dropout),
    **dict.fromkeys(("contiguous", "clone", "detach"), _identity),
    **dict.fromkeys(
        ("flatten", "view", "reshape", "squeeze", "unsqueeze", "ravel", "unflatten"), _reshape
    ),
}
"""Handlers by the name of a function or a method; their parameters are those of torch."""

_ON_FRAMES = (
    *("Conv2d", "AvgPool2d", "AdaptiveAvgPool2d", "BatchNorm2d"),
    *("MaxPool2d", "AdaptiveMaxPool2d", "max_pool2d", "adaptive_max_pool2d"),
    *("conv2d", "avg_pool2d", "adaptive_avg_pool2d", "mean"),
)
"""What takes ``(1, C, H, W)`` and nothing else."""

_TARGETS: dict[Any, Callable[..., _Value]] = dict.fromkeys(
    (torch.batch_norm, torch.ops.aten.batch_norm.default), _aten_batch_norm
)
"""Functions whose parameters differ from those of the same name in torch.nn.functional."""


# ------------------------------------------------------------------------------------------ layers


_Sum = tuple[tuple[_Branch, ...], _Squash | None]


def _layers(output: _Value, spec: InputSpec) -> tuple[FloatLayer, ...]:
    """One layer for every activation, and the last one where none stands at the end."""
    neurons = _needed(output.terms)
    sums: list[_Sum] = [(n.branches, n.squash) for n in neurons]
    if len(output.terms) > 1 or not output.terms[0].bare:
        sums.append((output.terms, None))
    operations = [op for branches, _ in sums for branch in branches for op in branch.operations]
    if not any(isinstance(operation, (Linear, Average)) for operation in operations):
        raise SpikewrightError(
            "module: has no linear layer; give a network with at least one Conv2d or Linear"
        )
    places: dict[_Neurons | None, int] = {None: INPUT, **{n: i for i, n in enumerate(neurons)}}
    layers: list[FloatLayer] = []
    for branches, squash in sums:
        groups = []
        for branch in branches:
            place = places[branch.source]
            source = spec.shape if place == INPUT else layers[place].shape
            synapse, bias = _group(branch, place, source, spec)
            shape = synapse.output_shape(source)
            groups.append((synapse, bias))
        layers.append(
            FloatLayer(
                _unique(_layer_name(branches, squash, output), [layer.name for layer in layers]),
                shape,
                tuple(synapse for synapse, _ in groups),
                np.sum([bias for _, bias in groups], axis=0),
                _activation(squash, shape[0]),
            )
        )
    return tuple(layers)


def _needed(branches: tuple[_Branch, ...]) -> list[_Neurons]:
    """The neurons that `branches` come from, sources first."""
    found: dict[_Neurons, None] = {}
    waiting = [branches]
    while waiting:
        for branch in waiting.pop():
            if branch.source is not None and branch.source not in found:
                found[branch.source] = None
                waiting.append(branch.source.branches)
    return sorted(found, key=lambda neurons: neurons.depth)


def _group(
    branch: _Branch, source: int, shape: Shape, spec: InputSpec
) -> tuple[FloatSynapse, Floats]:
    """The synapses and the bias that equal `branch` on a source of `shape`."""
    pool, linear = merge(branch.operations, shape, branch.maxima)
    if source == INPUT and linear.padding != (0, 0) and any(spec.mean):
        raise SpikewrightError(
            f"{linear.where}: pads zeros around an input of mean {spec.mean} pixel steps, and "
            "a mean under zero padding is not exact; set padding=0 or use a mean of 0"
        )
    synapse = FloatSynapse(source, linear.weight, linear.stride, linear.padding, pool)
    return synapse, linear.bias


def _layer_name(branches: tuple[_Branch, ...], squash: _Squash | None, output: _Value) -> str:
    """The path of the first operation with weights of its own, else of what there is."""
    steps = [step for branch in branches for step in (*branch.maxima, *branch.operations)]
    weighted = [
        step
        for step in steps
        if isinstance(step, Linear) and not (step.depthwise and step.is_pointwise)
    ]
    names = [step.where for step in (*weighted, *steps, squash) if step is not None]
    return [*names, output.where][0].split(" ")[0]


def _unique(name: str, taken: Sequence[str]) -> str:
    """A module that is used twice gives two layers."""
    candidate, use = name, 1
    while candidate in taken:
        use += 1
        candidate = f"{name}:{use}"
    return candidate


def _activation(squash: _Squash | None, channels: int) -> Activation:
    if squash is None:
        return Activation(ActivationKind.NONE)
    threshold = None if squash.threshold is None else np.full(channels, squash.threshold)
    return Activation(squash.kind, threshold, squash.levels, squash.smax)


# -------------------------------------------------------------------------------------- comparison


def _compare(
    module: torch.nn.Module,
    network: FloatNetwork,
    example: torch.Tensor,
    tail: Callable[[torch.Tensor], torch.Tensor] | None,
) -> None:
    """Refuse a network whose outputs differ from the module's."""
    spec = network.input
    pixels = np.random.default_rng(0).integers(0, spec.maximum + 1, (CHECKED_FRAMES, *spec.shape))
    mean, scale = (np.array(v)[:, None, None] for v in (spec.mean, spec.scale))
    frames = [example, *torch.tensor((pixels - mean) * scale)]
    for frame in frames:
        frame = frame.reshape(example.shape)
        with torch.no_grad():
            expected = module(frame).reshape(1, -1)
        got = ann_forward(network, frame.reshape(1, *spec.shape))
        got = got if tail is None else tail(got)
        if got.shape != expected.shape:
            raise SpikewrightError(
                f"module: gives {expected.shape[1]} outputs, its trace {got.shape[1]}; make "
                "forward do the same for every input"
            )
        difference = float((got - expected).abs().max() / expected.abs().max().clamp_min(1e-9))
        if not difference <= TOLERANCE:
            raise SpikewrightError(
                f"module: differs from its trace by {difference:.2g} of the largest output; make "
                "forward do the same for every input, without random numbers or state"
            )
