"""Records: the one reader and writer of JSON, from dataclass to file and back.

What is read is checked as a whole before anything is done with it: the schema version, the type,
range and name of every field, no NaN and no infinity, a bounded size and depth. A failure is one
SpikewrightError ``FILE: what, at where; what to do``. A range is stated at its field, as
``Annotated[int, Meta(ge=1, le=8)]``; cross-references are checked by ``__post_init__``.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import typing
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec
import numpy as np

from spikewright.errors import SpikewrightError
from spikewright.files import PathLike, read_bytes, shown, write_text

__all__ = [
    "JSON_BYTES",
    "JSON_DEPTH",
    "SCHEMA",
    "check_fields",
    "check_schema",
    "from_builtins",
    "from_json",
    "read_record",
    "to_builtins",
    "to_json",
    "write_record",
]

SCHEMA = 3
"""Version of everything that is saved."""
JSON_BYTES = 64 * 2**20
"""The largest JSON file that is read."""
JSON_DEPTH = 40
"""The deepest nesting of what is read."""
AGAIN = "write it again with this release (spikewright compile, eval, verify or synth)"

T = TypeVar("T")
Hook = Callable[[Any], Any]


def to_builtins(record: Any, enc_hook: Hook | None = None) -> Any:
    """`record` as dicts, lists, strings, numbers and None; `enc_hook` turns other objects."""
    return msgspec.to_builtins(record, enc_hook=enc_hook)


def from_builtins(
    data: Any,
    kind: type[T],
    where: object,
    *,
    oldest: int | None = SCHEMA,
    newest: int = SCHEMA,
    remedy: str = AGAIN,
    dec_hook: Callable[[type, Any], Any] | None = None,
) -> T:
    """`data` as a `kind` (a dataclass, ``dict[str, Any]``, ...), checked; the inverse of
    :func:`to_builtins`.

    Its field ``schema`` must be from `oldest` to `newest`; `oldest` None: it has none. `where` (a
    file) and `remedy` stand in errors. Fields that `kind` does not have are refused.
    """
    place = shown(where)
    if oldest is not None:
        check_schema(data, place, oldest, remedy, newest)
    _check_depth(data, place, remedy)
    try:
        result = msgspec.convert(data, kind, dec_hook=dec_hook)
        _check_names(data, to_builtins(result, enc_hook=lambda _: None), place, remedy)
        return result
    except SpikewrightError as error:
        message = str(error)
        if message.startswith(f"{place}: "):
            raise
        raise SpikewrightError(f"{place}: {message}") from None
    except (msgspec.MsgspecError, ValueError, OverflowError, MemoryError, RecursionError) as error:
        raise SpikewrightError(f"{place}: {_line(error)}; {remedy}") from None


def from_json(text: str | bytes, kind: type[T], where: object, **options: Any) -> T:
    """:func:`from_builtins` of JSON text; `where` and `options` as there."""
    remedy = options.get("remedy", AGAIN)
    try:
        data = msgspec.json.decode(text)
    except (msgspec.MsgspecError, UnicodeError, RecursionError, MemoryError) as error:
        raise SpikewrightError(
            f"{shown(where)}: is not sound JSON ({_line(error)}); {remedy}"
        ) from None
    return from_builtins(data, kind, where, **options)


def to_json(record: Any, enc_hook: Hook | None = None) -> str:
    """Indented JSON of `record`; a NaN or an infinity is an error (JSON has neither)."""
    try:
        data = to_builtins(record, enc_hook)
        return json.dumps(data, indent=1, allow_nan=False) + "\n"
    except ValueError as error:
        raise SpikewrightError(f"record: cannot be written as JSON ({error})") from None


def read_record(path: PathLike, kind: type[T], **options: Any) -> T:
    """The `kind` that stands in the JSON file `path`; `options` as in :func:`from_builtins`."""
    return from_json(read_bytes(path, JSON_BYTES), kind, path, **options)


def write_record(path: PathLike, record: Any) -> None:
    """Write `record` as JSON, whole or not at all."""
    write_text(path, to_json(record))


def check_fields(record: Any, where: str) -> None:
    """Check the type and range of every field of a dataclass that code is making.

    Words become enumerations, lists tuples, and NumPy's numbers Python's; nothing else changes.
    """
    for name, kind in _fields(type(record)):  # type: ignore[arg-type]
        try:
            value = msgspec.convert(_plain(getattr(record, name)), kind)
            object.__setattr__(record, name, value)
        except (msgspec.MsgspecError, OverflowError) as error:
            raise SpikewrightError(
                f"{where}: {name.replace('_', ' ')} {shown(getattr(record, name))}: {_line(error)}"
            ) from None


@functools.cache
def _fields(kind: type) -> tuple[tuple[str, Any], ...]:
    hints = typing.get_type_hints(kind, include_extras=True)
    return tuple((field.name, hints[field.name]) for field in dataclasses.fields(kind))


def _plain(value: Any) -> Any:
    if isinstance(value, tuple | list):
        return tuple(_plain(item) for item in value)
    return value.item() if isinstance(value, np.generic) else value


def _line(error: BaseException) -> str:
    """A library's message in our style."""
    text = " ".join(str(error).replace("`", "").split()) or type(error).__name__
    text = text if text[:2].isupper() else text[0].lower() + text[1:]
    return text.replace(" - at $", ", at $")[:300]


def check_schema(
    data: Any, where: object, oldest: int = SCHEMA, remedy: str = AGAIN, newest: int = SCHEMA
) -> None:
    """Refuse what has no schema version, or one outside `oldest` to `newest`."""
    place = shown(where)
    version = data.get("schema") if isinstance(data, dict) else None
    if not isinstance(version, int) or isinstance(version, bool):
        raise SpikewrightError(
            f"{place}: has no schema version; it is not one of our files; {remedy}"
        )
    if version > newest:
        raise SpikewrightError(
            f"{place}: schema version {version} is newer than {newest}, which this release reads; "
            "upgrade spikewright"
        )
    if version < oldest:
        raise SpikewrightError(
            f"{place}: schema version {version} is of an older release; {remedy}"
        )


def _check_depth(data: Any, place: str, remedy: str) -> None:
    level = [data]
    for _ in range(JSON_DEPTH):
        level = [
            child
            for item in level
            if isinstance(item, dict | list | tuple)
            for child in (item.values() if isinstance(item, dict) else item)
        ]
        if not level:
            return
    raise SpikewrightError(f"{place}: is nested deeper than {JSON_DEPTH} levels; {remedy}")


def _check_names(data: Any, known: Any, place: str, remedy: str, at: str = "$") -> None:
    if isinstance(data, dict) and isinstance(known, dict):
        for name, value in data.items():
            if name not in known:
                raise SpikewrightError(f"{place}: {name[:80]!r} is no field, at {at}; {remedy}")
            _check_names(value, known[name], place, remedy, f"{at}.{name}")
    elif isinstance(data, list) and isinstance(known, list | tuple):
        for i, (value, other) in enumerate(zip(data, known, strict=False)):
            _check_names(value, other, place, remedy, f"{at}[{i}]")
