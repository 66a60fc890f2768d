"""Reading and writing files so that nothing is ever left half written."""

from __future__ import annotations

import io
import os
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from spikewright.errors import SpikewrightError

__all__ = ["read_npz", "write_bytes", "write_npz", "write_text"]


def write_bytes(path: str | os.PathLike[str], data: bytes) -> None:
    """Write `data` under a temporary name beside `path`, then rename; raises SpikewrightError."""
    target = Path(path)
    temporary = None
    try:
        handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)
        os.replace(temporary, target)
    except OSError as error:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
        raise SpikewrightError(
            f"{target}: cannot be written ({error.strerror}); free space or choose another folder"
        ) from None


def write_text(path: str | os.PathLike[str], text: str) -> None:
    write_bytes(path, text.encode())


def write_npz(path: str | os.PathLike[str], arrays: dict[str, npt.NDArray[Any]]) -> None:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    write_bytes(path, buffer.getvalue())


def read_npz(path: str | os.PathLike[str]) -> dict[str, npt.NDArray[Any]]:
    """All arrays of an ``.npz``, without pickles; raises SpikewrightError."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except FileNotFoundError:
        raise SpikewrightError(f"{path}: no such file") from None
    except (OSError, ValueError, zipfile.BadZipFile, EOFError, AttributeError) as error:
        raise SpikewrightError(f"{path}: is not a readable .npz file ({error})") from None
