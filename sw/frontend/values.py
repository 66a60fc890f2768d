"""What flows through the graph: tensors that know how they were made.

Between two activations everything is linear, so a value is a sum of branches, each of which is a
chain of linear operations on what one source gives.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch

from spikewright.errors import SpikewrightError
from spikewright.network import ActivationKind
from spikewright.sw.frontend.merge import Maximum, Operation

__all__ = ["Branch", "Neurons", "Shape", "Squash", "Value", "frame_shape"]

Shape = tuple[int, int, int]


def frame_shape(tensor: torch.Tensor) -> Shape:
    """(C, H, W) of one batched value; a flat one counts as channels."""
    sizes = (*tensor.shape[1:], 1, 1)
    return sizes[0], sizes[1], sizes[2]


@dataclass(frozen=True)
class Squash:
    """An activation in the chain of operations; `where` names it in messages."""

    where: str
    kind: ActivationKind
    threshold: float | None = None
    levels: int | None = None
    smax: int | None = None

    def after(self, before: Squash) -> Squash | None:
        """The one activation that equals this one directly behind `before`, if there is one."""
        if self.kind is ActivationKind.RELU:
            return before
        return self if before.kind is ActivationKind.RELU else None


@dataclass(frozen=True)
class Branch:
    """Linear operations on what one source gives, after its max pools; None is the input frame."""

    source: Neurons | None
    maxima: tuple[Maximum, ...] = ()
    operations: tuple[Operation, ...] = ()

    @property
    def bare(self) -> bool:
        """Whether nothing happens to what the source gives."""
        return not self.maxima and not self.operations

    def then(self, operation: Operation) -> Branch:
        """The branch with `operation` behind it."""
        return replace(self, operations=(*self.operations, operation))


@dataclass(frozen=True, eq=False)
class Neurons:
    """An activation of a sum of branches: a layer to be.

    `depth` counts the layers in front of it, on the longest way.
    """

    branches: tuple[Branch, ...]
    squash: Squash
    depth: int = field(init=False)

    def __post_init__(self) -> None:
        # Counted as they are made: asking the sources on demand would nest a call for every layer.
        sources = [branch.source for branch in self.branches if branch.source is not None]
        depth = max((source.depth + 1 for source in sources), default=0)
        object.__setattr__(self, "depth", depth)


@dataclass(frozen=True)
class Value:
    """The example's value at a place in the graph, and how it was made.

    It is the sum of `branches`, which `where` gave, behind the max pools `maxima`. `shape` is its
    (C, H, W); a flattened `tensor` keeps it, in row-major order. `tail` is a softmax at the end.
    """

    tensor: torch.Tensor
    shape: Shape
    branches: tuple[Branch, ...] = (Branch(None),)
    where: str = ""
    maxima: tuple[Maximum, ...] = ()
    tail: Callable[[torch.Tensor], torch.Tensor] | None = None

    @property
    def spatial(self) -> bool:
        """Whether the tensor is ``(1, C, H, W)``."""
        return tuple(self.tensor.shape) == (1, *self.shape)

    @property
    def flat(self) -> bool:
        """Whether all numbers lie along the last axis."""
        return self.tensor.ndim > 0 and self.tensor.shape[-1] == self.tensor.numel()

    @property
    def terms(self) -> tuple[Branch, ...]:
        """The branches with the max pools in them, which takes spikes that these can compare."""
        if not self.maxima:
            return self.branches
        first, refused = self.branches[0], None
        if len(self.branches) > 1 or first.operations:
            refused = f"what {self.where} gives", "it directly before or behind an activation"
        elif first.source is None:
            refused = "the input frame", "a layer with an activation before it"
        if refused:
            raise SpikewrightError(
                f"{self.maxima[0].where}: pools {refused[0]}; max pooling compares counts of "
                f"spikes, so put {refused[1]}"
            )
        return (replace(first, maxima=self.maxima),)

    def fired(self, squash: Squash) -> Neurons:
        """Neurons of `squash` behind the branches.

        An activation keeps the order of numbers, so it may as well stand before the max pools.
        """
        before = self.branches[0].source
        if len(self.branches) > 1 or not self.branches[0].bare or before is None:
            return Neurons(self.branches, squash)
        both = squash.after(before.squash)
        if both is None:
            raise SpikewrightError(
                f"{squash.where}: directly follows {before.squash.where}; keep one of the two"
            )
        return before if both is before.squash else Neurons(before.branches, both)
