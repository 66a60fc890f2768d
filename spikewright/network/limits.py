"""The bounds of a network, stated once; whoever computes checks them first."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

__all__ = ["CHANNELS", "LAYERS", "STEPS", "VALUES", "WEIGHT_BITS", "ZMAX", "Name", "Size"]

STEPS = 4096
"""The most time steps, all phases together."""
WEIGHT_BITS = (2, 8)
"""The least and most bits of a weight."""
LAYERS = 256
"""The most layers."""
CHANNELS = 2**16
"""The most channels, rows and columns, each."""
VALUES = 2**24
"""The most values of a layer or frame, and the most weights of a synapse group."""
ZMAX = 2**16 - 1
"""The greatest bound of a count, and the most levels of an activation."""

Size = Annotated[int, Meta(ge=-CHANNELS, le=CHANNELS)]
Name = Annotated[str, Meta(min_length=1, max_length=200)]
