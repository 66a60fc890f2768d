"""Reading and writing files: nothing is left half written, nothing but sound files is read.

A file that is read must be a regular one (no folder, pipe or device) and no larger than stated.
"""

from __future__ import annotations

import io
import math
import os
import stat
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from spikewright.errors import SpikewrightError

__all__ = [
    "FILE_BYTES",
    "NPZ_BYTES",
    "check_file",
    "read_bytes",
    "read_npz",
    "read_text",
    "shown",
    "write_bytes",
    "write_npz",
    "write_text",
]

FILE_BYTES = 256 * 2**20
"""The largest file that is read, unless a reader states its own bound."""
NPZ_BYTES = 2 * 2**30
"""The largest ``.npz``, and the most that its arrays hold together once unpacked."""

PathLike = str | os.PathLike[str]


def shown(path: object) -> str:
    """`path` as a message shows it: on one line and not without end."""
    text = str(path)
    text = text if text.isprintable() else repr(text)
    return text if len(text) <= 240 else f"{text[:200]}...{text[-36:]}"


def _open(path: PathLike, limit: int) -> int:
    """A descriptor of the regular file `path`; a pipe or a device is never waited for."""
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    try:
        handle = os.open(path, flags)
        state = os.fstat(handle)
    except FileNotFoundError:
        raise SpikewrightError(f"{shown(path)}: no such file; check the path") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise SpikewrightError(
            f"{shown(path)}: cannot be read ({reason}); name a readable file"
        ) from None
    if stat.S_ISREG(state.st_mode) and state.st_size <= limit:
        return handle
    os.close(handle)
    if stat.S_ISREG(state.st_mode):
        raise _too_large(path, limit)
    kind = "a folder" if stat.S_ISDIR(state.st_mode) else "a pipe or a device"
    raise SpikewrightError(f"{shown(path)}: is {kind}; name a regular file")


def _too_large(path: PathLike, limit: int) -> SpikewrightError:
    return SpikewrightError(
        f"{shown(path)}: is larger than {limit / 2**20:g} MiB, the most that is read; is it the "
        "right file?"
    )


def check_file(path: PathLike, limit: int = FILE_BYTES) -> None:
    """Raise SpikewrightError unless `path` is a readable regular file of at most `limit` bytes."""
    os.close(_open(path, limit))


def read_bytes(path: PathLike, limit: int = FILE_BYTES) -> bytes:
    """All of a regular file of at most `limit` bytes; raises SpikewrightError."""
    try:
        with os.fdopen(_open(path, limit), "rb") as file:
            size = os.fstat(file.fileno()).st_size  # read() takes memory for all it is asked for
            data = file.read(min(size, limit) + 1)
    except (OSError, MemoryError) as error:
        raise SpikewrightError(
            f"{shown(path)}: cannot be read ({error}); name a readable file"
        ) from None
    if len(data) > limit:
        raise _too_large(path, limit)
    return data


def read_text(path: PathLike, limit: int = FILE_BYTES) -> str:
    """All of a UTF-8 file, as :func:`read_bytes`."""
    try:
        return read_bytes(path, limit).decode()
    except UnicodeDecodeError as error:
        raise SpikewrightError(
            f"{shown(path)}: is not UTF-8 text (byte {error.start}); is it the right file?"
        ) from None


def write_bytes(path: PathLike, data: bytes) -> None:
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
    except (OSError, ValueError) as error:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
        reason = getattr(error, "strerror", None) or error
        raise SpikewrightError(
            f"{shown(target)}: cannot be written ({reason}); free space or choose another folder"
        ) from None


def write_text(path: PathLike, text: str) -> None:
    """As :func:`write_bytes`, in UTF-8."""
    write_bytes(path, text.encode())


def write_npz(path: PathLike, arrays: dict[str, npt.NDArray[Any]]) -> None:
    """As :func:`write_bytes`, one compressed ``.npz`` of `arrays` by name."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    write_bytes(path, buffer.getvalue())


def read_npz(path: PathLike) -> dict[str, npt.NDArray[Any]]:
    """All arrays of an ``.npz``, without pickles; raises SpikewrightError.

    Each array holds exactly what its header declares, which is checked before memory is taken.
    """
    data = read_bytes(path, NPZ_BYTES)
    # zipfile, zlib and numpy's header parser raise nearly anything on damaged bytes.
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > NPZ_BYTES:
                raise ValueError(f"unpacked, it is larger than {NPZ_BYTES / 2**20:g} MiB")
            names = archive.namelist()
            if len(set(names)) != len(names):
                raise ValueError("two arrays have one name")
            return {name.removesuffix(".npy"): _array(name, archive.read(name)) for name in names}
    except Exception as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise SpikewrightError(
            f"{shown(path)}: is not a readable .npz file ({reason}); write it again"
        ) from None


def _array(name: str, data: bytes) -> npt.NDArray[Any]:
    """The array of one ``.npy`` entry."""
    file = io.BytesIO(data)
    header = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }[np.lib.format.read_magic(file)]
    shape, _, dtype = header(file)
    if dtype.hasobject:
        raise ValueError(f"{name!r} holds Python objects")
    if math.prod(shape) * dtype.itemsize != len(data) - file.tell():
        raise ValueError(f"{name!r} declares shape {shape} and holds another number of bytes")
    file.seek(0)
    result: npt.NDArray[Any] = np.lib.format.read_array(file, allow_pickle=False)
    return result
