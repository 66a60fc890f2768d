"""Which cells a platform has."""

from __future__ import annotations

from typing import Any

__all__ = ["has_ecp5_cells"]


def has_ecp5_cells(platform: Any) -> bool:
    """Whether `platform` is an ECP5: its `device` begins with LFE5U."""
    return getattr(platform, "device", "").startswith("LFE5U")
