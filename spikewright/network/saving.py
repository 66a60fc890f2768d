"""How networks are written to files, and read again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from spikewright.errors import SpikewrightError
from spikewright.network.geometry import Pool, PoolKind
from spikewright.network.input import InputCode, InputSpec

__all__ = [
    "SCHEMA",
    "check_schema",
    "geometry_from_json",
    "geometry_to_json",
    "input_from_json",
    "input_to_json",
]

SCHEMA = 2
"""Version of everything that is saved. A reader refuses a newer one."""


def check_schema(header: Mapping[str, Any], path: Any) -> None:
    """Refuse a file of a newer (or no) schema version."""
    version = header.get("schema")
    if not isinstance(version, int):
        raise SpikewrightError(f"{path}: has no schema version; it is not one of our files")
    if version > SCHEMA:
        raise SpikewrightError(
            f"{path}: schema version {version} is newer than {SCHEMA}, which this release reads; "
            "upgrade spikewright"
        )


def input_to_json(spec: InputSpec) -> dict[str, Any]:
    return {
        "shape": spec.shape,
        "bits": spec.bits,
        "scale": spec.scale,
        "mean": spec.mean,
        "code": spec.code.value,
        "seed": spec.seed,
    }


def input_from_json(data: Mapping[str, Any]) -> InputSpec:
    c, h, w = data["shape"]
    return InputSpec(
        (c, h, w),
        data["bits"],
        tuple(data["scale"]),
        tuple(data["mean"]),
        InputCode(data.get("code", "direct")),
        data.get("seed", 1),
    )


def geometry_to_json(synapse: Any) -> dict[str, Any]:
    return {
        "source": synapse.source,
        "stride": synapse.stride,
        "padding": synapse.padding,
        "pool": {"kind": synapse.pool.kind.value, "size": synapse.pool.size},
    }


def geometry_from_json(data: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "source": int(data["source"]),
        "stride": tuple(data["stride"]),
        "padding": tuple(data["padding"]),
        "pool": Pool(tuple(data["pool"]["size"]), PoolKind(data["pool"]["kind"])),
    }
