"""Modules from the user's own Python code, and one clear line for whatever it raises."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import torch

from spikewright.errors import SpikewrightError
from spikewright.files import check_file

__all__ = ["FORMS", "call", "current_directory_first", "described"]

FORMS = (
    "give package.module:callable or file.py:callable, a network saved by spikewright "
    "(.safetensors), or a float network (.npz)"
)


def call(spec: str) -> torch.nn.Module:
    """The module that ``package.module:callable`` or ``path/to/file.py:callable`` names.

    Raises SpikewrightError for a missing module or callable, and for whatever the code raises.
    """
    source, _, attribute = spec.rpartition(":")
    if not source or not attribute:
        raise SpikewrightError(f"{spec}: is not a model; {FORMS}")
    with current_directory_first():
        module = _from_file(Path(source)) if source.endswith(".py") else _from_name(source)
        if not hasattr(module, attribute):
            raise SpikewrightError(
                f"{spec}: {source} has no '{attribute}'; name a function or class that is in it"
            )
        made = getattr(module, attribute)
        if callable(made) and not isinstance(made, torch.nn.Module):
            try:
                made = made()
            except (Exception, SystemExit) as error:  # the user's code
                raise SpikewrightError(
                    f"{spec}: raises {described(error)}; it is called without arguments"
                ) from None
    if not isinstance(made, torch.nn.Module):
        raise SpikewrightError(
            f"{spec}: gives something of type {type(made).__name__}; name a function that returns "
            "a torch.nn.Module"
        )
    return made


@contextlib.contextmanager
def current_directory_first() -> Iterator[None]:
    """With the current directory the first that is searched for modules."""
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
            f"{name}: importing it raises {described(error)}; repair that first"
        ) from None


def _from_file(path: Path) -> ModuleType:
    check_file(path)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise SpikewrightError(f"{path}: is not a Python file; {FORMS}")
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(path.parent.resolve()))
    known = sys.modules.setdefault(path.stem, module)
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # the user's code
        if known is module:
            del sys.modules[path.stem]
        raise SpikewrightError(
            f"{path}: importing it raises {described(error)}; repair that first"
        ) from None
    return module


def described(error: BaseException) -> str:
    """The type and the first line of an error of other code."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
