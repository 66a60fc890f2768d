"""From what a user names on the command line to a module or a float network."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from spikewright.errors import SpikewrightError
from spikewright.files import check_file, shown
from spikewright.network import FloatNetwork
from spikewright.records import from_json
from spikewright.sw.models import nets
from spikewright.sw.models.user_code import FORMS, call, current_directory_first, described

__all__ = ["load_model", "load_saved"]

_BYTES = 4 * 2**30
"""The largest file of weights that is read."""


def load_model(
    spec: str, *, weights: Path | None = None, trust: bool = False
) -> torch.nn.Module | FloatNetwork:
    """The model that `spec` names.

    ``package.module:callable`` or ``path/to/file.py:callable``: the callable returns a module (or
    is one), whose weights are then read from `weights`, a ``.safetensors`` file with exactly its
    names and shapes, of finite floating-point numbers. The current directory is searched.
    ``NAME.safetensors``: a network that our own training saved. ``NAME.npz``: a saved FloatNetwork.
    ``NAME.pt``, ``.pth`` (a pickled module) and ``.pt2`` (torch.export) run code when read, so only
    with `trust`.

    Raises SpikewrightError for a missing file, module or callable, whatever the user's code raises,
    a file that is not what its name says, and weights that do not fit.
    """
    if ":" in spec:
        module = call(spec)
        if weights is not None:
            _fill(module, weights)
        return module
    path = Path(spec)
    suffix = path.suffix.lower()
    if suffix == ".nir":
        raise SpikewrightError(f"{path}: NIR graphs are not supported yet; {FORMS}")
    if suffix not in (".safetensors", ".npz", ".pt", ".pth", ".pt2"):
        raise SpikewrightError(f"{shown(spec)}: is not a model; {FORMS}")
    check_file(path, _BYTES)
    if weights is not None:
        raise SpikewrightError(
            f"{weights}: {path} holds its own weights; leave --weights out, or give module:callable"
        )
    if suffix == ".safetensors":
        return load_saved(path)[0]
    if suffix == ".npz":
        return FloatNetwork.load(path)
    if not trust:
        raise SpikewrightError(
            f"{path}: {suffix} files run code when they are read; save the weights as .safetensors "
            "and give module:callable, or pass --trust if you know who wrote it"
        )
    return _exported(path) if suffix == ".pt2" else _pickled(path)


def load_saved(path: Path) -> tuple[torch.nn.Module, Mapping[str, Any]]:
    """A network of our own, and the metadata that say how to build it and how it was trained.

    Raises SpikewrightError for a missing file, and one that our own training did not write.
    """
    tensors, stored = _safetensors(path)
    if "spikewright" not in stored:
        raise SpikewrightError(
            f"{path}: holds weights alone; give module:callable as the model and this as --weights"
        )
    metadata = from_json(
        stored["spikewright"], dict[str, Any], path, oldest=None, remedy="save the network again"
    )
    try:
        with torch.device("meta"):  # no memory is taken for what the file does not hold
            module = nets.build(metadata)
    except SpikewrightError as error:
        raise SpikewrightError(f"{path}: {error}") from None
    module.load_state_dict(_fitting(module, tensors, path), assign=True)
    return module, metadata


def _safetensors(path: Path) -> tuple[dict[str, torch.Tensor], Mapping[str, str]]:
    """The tensors and the metadata of a file."""
    check_file(path, _BYTES)
    try:
        with safe_open(path, framework="pt") as file:
            names = file.keys()
            return {name: file.get_tensor(name) for name in names}, file.metadata() or {}
    except (SafetensorError, OSError, MemoryError) as error:
        raise SpikewrightError(
            f"{path}: is not a readable .safetensors file ({described(error)}); save it again "
            "with safetensors.torch.save_file"
        ) from None


def _fill(module: torch.nn.Module, path: Path) -> None:
    """Put the weights in `path` into `module`."""
    if path.suffix != ".safetensors":
        raise SpikewrightError(
            f"{shown(path)}: weights are read from .safetensors files only; save them with "
            "safetensors.torch.save_file(module.state_dict(), ...)"
        )
    module.load_state_dict(_fitting(module, _safetensors(path)[0], path))


def _fitting(
    module: torch.nn.Module, tensors: Mapping[str, torch.Tensor], path: Path
) -> dict[str, torch.Tensor]:
    """`tensors` in the types of `module`: the same names and shapes, nothing else, all finite."""
    expected = module.state_dict()
    missing = sorted(expected.keys() - tensors.keys())
    unexpected = sorted(tensors.keys() - expected.keys())
    faults = [f"lacks {', '.join(missing)}"] if missing else []
    faults += [f"has {', '.join(unexpected)} besides"] if unexpected else []
    fault = " and ".join(faults) or next(
        filter(None, (_fault(name, tensors[name], own) for name, own in expected.items())), ""
    )
    if fault:
        raise SpikewrightError(f"{path}: {fault}; give the weights of {type(module).__name__}")
    return {name: tensors[name].to(own.dtype) for name, own in expected.items()}


def _fault(name: str, tensor: torch.Tensor, own: torch.Tensor) -> str:
    """Why `tensor` cannot be what `own` is in the module, nothing where it can."""
    if own.shape != tensor.shape:
        return f"{name} has the shape {tuple(tensor.shape)}, the module expects {tuple(own.shape)}"
    real = own.is_floating_point() and tensor.is_floating_point()
    if own.dtype != tensor.dtype and not real:
        return f"{name} holds {tensor.dtype}, the module expects {own.dtype}"
    if not torch.isfinite(tensor.to(own.dtype)).all():
        return f"{name} holds numbers that are not finite"
    return ""


def _pickled(path: Path) -> torch.nn.Module:
    with current_directory_first():
        try:
            loaded = torch.load(path, map_location="cpu", weights_only=False)
        except Exception as error:  # a pickle can raise anything
            raise SpikewrightError(
                f"{path}: cannot be unpickled ({described(error)}); save the weights as "
                ".safetensors and give module:callable"
            ) from None
    if not isinstance(loaded, torch.nn.Module):
        raise SpikewrightError(
            f"{path}: holds something of type {type(loaded).__name__} and not a module; save the "
            "weights as .safetensors and give module:callable"
        )
    return loaded


def _exported(path: Path) -> torch.nn.Module:
    try:
        return torch.export.load(path).module()
    except Exception as error:  # torch.export documents no exceptions
        raise SpikewrightError(
            f"{path}: is not a readable torch.export file ({described(error)}); export it again, "
            "or give module:callable"
        ) from None
