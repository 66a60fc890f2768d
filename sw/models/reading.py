"""From what a user names on the command line to a module or a float network."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from spikewright.errors import SpikewrightError
from spikewright.network import FloatNetwork

__all__ = ["load_model", "load_saved"]

_FORMS = (
    "give package.module:callable or file.py:callable, a network saved by spikewright "
    "(.safetensors), or a float network (.npz)"
)


def load_model(
    spec: str, *, weights: Path | None = None, trust: bool = False
) -> torch.nn.Module | FloatNetwork:
    """The model that `spec` names.

    ``package.module:callable`` or ``path/to/file.py:callable``: the callable returns a module (or
    is one), whose weights are then read from `weights`, a ``.safetensors`` file with exactly its
    names and shapes. The current directory is searched. ``NAME.safetensors``: a network that our
    own training saved. ``NAME.npz``: a saved FloatNetwork. ``NAME.pt``, ``.pth`` (a pickled module)
    and ``.pt2`` (torch.export) run code when read, so only with `trust`.

    Raises SpikewrightError for a missing file, module or callable, whatever the user's code raises,
    a file that is not what its name says, and weights that do not fit.
    """
    if ":" in spec:
        module = _call(spec)
        if weights is not None:
            _fill(module, weights)
        return module
    path = Path(spec)
    suffix = path.suffix.lower()
    if suffix == ".nir":
        raise SpikewrightError(f"{path}: NIR graphs are not supported yet; {_FORMS}")
    if suffix not in (".safetensors", ".npz", ".pt", ".pth", ".pt2"):
        raise SpikewrightError(f"{spec}: is not a model; {_FORMS}")
    if not path.is_file():
        raise SpikewrightError(f"{path}: no such file; check the path of the model")
    if weights is not None:
        raise SpikewrightError(
            f"{weights}: {path} holds its own weights; leave --weights out, or give module:callable"
        )
    if suffix == ".safetensors":
        return _saved_network(path)
    if suffix == ".npz":
        return FloatNetwork.load(path)
    if not trust:
        raise SpikewrightError(
            f"{path}: {suffix} files run code when they are read; save the weights as .safetensors "
            "and give module:callable, or pass --trust if you know who wrote it"
        )
    return _exported(path) if suffix == ".pt2" else _pickled(path)


# -------------------------------------------------------------------------------------- user code


def _call(spec: str) -> torch.nn.Module:
    source, _, attribute = spec.rpartition(":")
    if not source or not attribute:
        raise SpikewrightError(f"{spec}: is not a model; {_FORMS}")
    with _current_directory_first():
        module = _from_file(Path(source)) if source.endswith(".py") else _from_name(source)
        try:
            factory = getattr(module, attribute)
        except AttributeError:
            raise SpikewrightError(
                f"{spec}: {source} has no '{attribute}'; name a function or class that is in it"
            ) from None
        if isinstance(factory, torch.nn.Module):
            return factory
        if not callable(factory):
            raise SpikewrightError(
                f"{spec}: has the type {type(factory).__name__} and cannot be called; name a "
                "function that returns a torch.nn.Module"
            )
        try:
            made = factory()
        except (Exception, SystemExit) as error:  # the user's code
            raise SpikewrightError(
                f"{spec}: raises {_described(error)}; it is called without arguments"
            ) from None
    if not isinstance(made, torch.nn.Module):
        raise SpikewrightError(
            f"{spec}: returns something of type {type(made).__name__}; it must return a "
            "torch.nn.Module"
        )
    return made


@contextlib.contextmanager
def _current_directory_first() -> Iterator[None]:
    before = list(sys.path)
    sys.path.insert(0, str(Path.cwd()))
    try:
        yield
    finally:
        sys.path[:] = before


def _from_name(name: str) -> ModuleType:
    try:
        importlib.invalidate_caches()
        return importlib.import_module(name)
    except (Exception, SystemExit) as error:  # the user's code
        if isinstance(error, ModuleNotFoundError) and f"{name}.".startswith(f"{error.name}."):
            raise SpikewrightError(
                f"{name}: no such module; run from the folder that holds it, or install it"
            ) from None
        raise SpikewrightError(
            f"{name}: importing it raises {_described(error)}; repair that first"
        ) from None


def _from_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise SpikewrightError(f"{path}: no such file; check the path of the model")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise SpikewrightError(f"{path}: is not a Python file; {_FORMS}")
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(path.parent.resolve()))
    known = sys.modules.setdefault(path.stem, module)
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # the user's code
        if known is module:
            del sys.modules[path.stem]
        raise SpikewrightError(
            f"{path}: importing it raises {_described(error)}; repair that first"
        ) from None
    return module


def _described(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


# ------------------------------------------------------------------------------------------- files


def _safetensors(path: Path) -> tuple[dict[str, torch.Tensor], Mapping[str, str]]:
    """The tensors and the metadata of a file."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            names = file.keys()
            return {name: file.get_tensor(name) for name in names}, file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise SpikewrightError(
            f"{path}: is not a readable .safetensors file ({_described(error)}); save it again "
            "with safetensors.torch.save_file"
        ) from None


def _fill(module: torch.nn.Module, path: Path) -> None:
    """Put the weights in `path` into `module`: the same names, the same shapes, nothing else."""
    if path.suffix != ".safetensors":
        raise SpikewrightError(
            f"{path}: weights are read from .safetensors files only; save them with "
            "safetensors.torch.save_file(module.state_dict(), ...)"
        )
    if not path.is_file():
        raise SpikewrightError(f"{path}: no such file; check the path of the weights")
    tensors, _ = _safetensors(path)
    _assign(module, tensors, path)


def _assign(module: torch.nn.Module, tensors: Mapping[str, torch.Tensor], path: Path) -> None:
    expected = module.state_dict()
    missing = sorted(expected.keys() - tensors.keys())
    unexpected = sorted(tensors.keys() - expected.keys())
    if missing or unexpected:
        parts = [f"lacks {', '.join(missing)}"] if missing else []
        parts += [f"has {', '.join(unexpected)} besides"] if unexpected else []
        raise SpikewrightError(
            f"{path}: {' and '.join(parts)}; give the weights of {type(module).__name__}"
        )
    for name, tensor in expected.items():
        if tensor.shape != tensors[name].shape:
            raise SpikewrightError(
                f"{path}: {name} has the shape {tuple(tensors[name].shape)}, the module expects "
                f"{tuple(tensor.shape)}; give the weights of {type(module).__name__}"
            )
    module.load_state_dict(tensors)


def _saved_network(path: Path) -> torch.nn.Module:
    return load_saved(path)[0]


def load_saved(path: Path) -> tuple[torch.nn.Module, Mapping[str, Any]]:
    """A network of our own, and the metadata that say how to build it and how it was trained.

    Raises SpikewrightError for a missing file, and one that our own training did not write.
    """
    from spikewright.sw.models.nets import build

    if not path.is_file():
        raise SpikewrightError(f"{path}: no such file; check the path of the model")
    tensors, metadata = _safetensors(path)
    if "spikewright" not in metadata:
        raise SpikewrightError(
            f"{path}: holds weights alone; give module:callable as the model and this as --weights"
        )
    try:
        description: Any = json.loads(metadata["spikewright"])
    except ValueError:
        description = None
    if not isinstance(description, dict):
        raise SpikewrightError(
            f"{path}: its 'spikewright' metadata is not a JSON object; save the network again"
        )
    try:
        module = build(description)
    except SpikewrightError as error:
        raise SpikewrightError(f"{path}: {error}") from None
    _assign(module, tensors, path)
    return module, description


def _pickled(path: Path) -> torch.nn.Module:
    with _current_directory_first():
        try:
            loaded = torch.load(path, map_location="cpu", weights_only=False)
        except Exception as error:  # a pickle can raise anything
            raise SpikewrightError(
                f"{path}: cannot be unpickled ({_described(error)}); save the weights as "
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
            f"{path}: is not a readable torch.export file ({_described(error)}); export it again, "
            "or give module:callable"
        ) from None
