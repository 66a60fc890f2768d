"""The place in the graph that is being handled: its name, its refusals, what it gave."""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from spikewright.errors import SpikewrightError
from spikewright.sw.frontend.merge import Maximum, Operation, without_shift
from spikewright.sw.frontend.values import Branch, Shape, Squash, Value, frame_shape

__all__ = ["ONE_CHAIN", "SUPPORTED", "Floats", "Site", "first_line"]

Floats = npt.NDArray[np.float64]

SUPPORTED = (
    "supported are Conv2d, Linear, BatchNorm, ReLU, ReLU6, Hardtanh(0, a), QCFS, NQ, QReLU, LSQ, "
    "FakeQuant, average and max pooling, Flatten and Dropout"
)
ONE_CHAIN = "two tensors can be added, and nothing else; remove the branch"

_USE_RELU = "use ReLU or QCFS and retrain"
_FEED_FORWARD = "recurrent layers have no counterpart; use a feed-forward network"
_ADVICE = {
    **dict.fromkeys(("lstm", "gru", "rnn", "lstmcell", "grucell", "rnncell"), _FEED_FORWARD),
    **dict.fromkeys(("gelu", "silu", "tanh", "sigmoid", "leakyrelu", "elu", "prelu"), _USE_RELU),
    **dict.fromkeys(("cat", "concat", "stack", "chunk", "split"), ONE_CHAIN),
}
"""By the name of a module or a function, in small letters and without underscores."""


def first_line(error: BaseException) -> str:
    """What `error` says, for a message of one line."""
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__


@dataclass(frozen=True)
class Site:
    """A module, function or method called in the graph, and the tensor `out` that it gave."""

    name: str
    kind: str
    out: torch.Tensor = field(default_factory=lambda: torch.empty(0))

    @property
    def where(self) -> str:
        """Its path and what it is, as messages name it."""
        return f"{self.name} ({self.kind})"

    def refusal(self, wrong: str, advice: str) -> SpikewrightError:
        """The error to raise: what is wrong here, and what to do."""
        return SpikewrightError(f"{self.where}: {wrong}; {advice}")

    def unsupported(self) -> SpikewrightError:
        """The refusal of what has no counterpart."""
        advice = _ADVICE.get(self.kind.lower().replace("_", ""), SUPPORTED)
        return self.refusal("is not supported", advice)

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

    def bias(self, tensor: torch.Tensor | None, channels: int) -> Floats:
        """One number a channel; zeros where there is no bias."""
        return np.zeros(channels) if tensor is None else self.array(tensor, "bias")

    def then(self, value: Value, step: Operation | Maximum, shape: Shape | None = None) -> Value:
        """`value` behind `step`, which gives `shape`: that of the output unless one is given."""
        shape = frame_shape(self.out) if shape is None else shape
        if isinstance(step, Maximum):
            return replace(value, tensor=self.out, shape=shape, maxima=(*value.maxima, step))
        first, *others = value.terms
        branches = (first.then(step), *(branch.then(without_shift(step)) for branch in others))
        return Value(self.out, shape, branches, self.where)

    def fires(self, value: Value, *activation: Any) -> Value:
        """`value` behind the :class:`Squash` of this place."""
        branch = Branch(value.fired(Squash(self.where, *activation)))
        return Value(self.out, value.shape, (branch,), self.where, value.maxima)

    def same(self, value: Value) -> Value:
        """`value` in the shape that the place gave it, otherwise unchanged."""
        return replace(value, tensor=self.out)
