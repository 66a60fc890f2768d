"""What an option is: a checked field of a dataclass, from which its argument is made."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from dataclasses import MISSING, Field, field, fields
from functools import partial
from numbers import Integral, Real
from typing import Any, ClassVar

from spikewright.errors import SpikewrightError

__all__ = [
    "VALUES",
    "Options",
    "add_options",
    "argument",
    "check_numbers",
    "check_shape",
    "option",
    "parse_numbers",
    "parse_shape",
    "parse_zmax",
    "python_only",
]

VALUES = 2**20
"""The most values of a frame."""


# ---------------------------------------------------------------------------------- what a value is


def parse_whole(text: str) -> int:
    """A whole number."""
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"{text[:40]!r} is not a whole number") from None


def parse_real(text: str) -> float:
    """A number."""
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"{text[:40]!r} is not a number") from None


def parse_shape(text: str) -> tuple[int, ...]:
    """Channels, height, width."""
    try:
        c, h, w = (int(part) for part in text.split(","))
    except ValueError:
        c = h = w = 0
    if min(c, h, w) < 1:
        raise ValueError(f"{text[:40]!r} is not channels,height,width; write for example 1,28,28")
    return c, h, w


def check_shape(shape: tuple[int, ...]) -> None:
    """Raise ValueError unless it is a frame of bounded size."""
    if len(shape) != 3 or min(shape) < 1:
        raise ValueError(f"{tuple(shape)} is not channels, height, width")
    if math.prod(shape) > VALUES:
        raise ValueError(
            f"{math.prod(shape):,} values are too many for a frame; give {VALUES:,} at most"
        )


def parse_numbers(text: str) -> tuple[float, ...]:
    """Numbers, one a channel."""
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise ValueError(
            f"{text[:40]!r} is not a list of numbers; write for example 0.49,0.48,0.45"
        ) from None


def check_numbers(values: tuple[float, ...]) -> None:
    """Raise ValueError unless all are finite."""
    if not all(map(math.isfinite, values)):
        raise ValueError("a number is not finite")


def parse_zmax(text: str) -> int | str:
    """A whole number, or none."""
    return text if text == "none" else parse_whole(text)


_PARSERS: dict[str, Callable[[str], Any]] = {"int": parse_whole, "float": parse_real}


def _check(value: Any, about: Any) -> None:
    """Raise ValueError unless `value` is what a field's metadata allows."""
    if "check" in about:
        about["check"](value)
    if value not in about.get("choices", (value,)):
        raise ValueError(f"{value!r} is not known; choose {', '.join(about['choices'])}")
    low, above, high = (about.get(name) for name in ("low", "above", "high"))
    if high is None or value == "none":
        return
    whole = isinstance(low, int)
    if not isinstance(value, Integral if whole else Real):
        raise ValueError(f"{value!r} is not a {'whole ' * whole}number")
    if not (value <= high and (low is None or value >= low) and (above is None or value > above)):
        allowed = f"{low} to {high}" if above is None else f"more than {above} and at most {high}"
        shown = f"{value:g}" if isinstance(value, float) else value
        raise ValueError(f"{shown} is out of range; give {allowed}")


# -------------------------------------------------------------------------------- what options are


def option(help: str, default: Any = None, *, group: str | None = None, **about: Any) -> Any:
    """A field: what it means, its default, and in `about` how it is given and what it may be.

    `low` or `above` to `high` bound a number, `choices` are its words, `check` raises ValueError.
    `parse` reads a text that is no plain number, `short`, `name` and `metavar` are the command
    line's. A bool is a switch. None means that the value follows from something else.
    """
    return field(default=default, metadata={"help": help, "group": group, **about})


argument = partial(option, default=MISSING)
"""What must be given: by its place, or with a `name` as an option."""
python_only = partial(option, "", group="python")
"""What no command line can give."""


class Options:
    """The options of one command; they are checked when they are made."""

    purpose: ClassVar[str]
    example: ClassVar[str]
    groups: ClassVar[dict[str, str | None]] = {}

    def __post_init__(self) -> None:
        for one in fields(self):  # type: ignore[arg-type]
            value = getattr(self, one.name)
            if value is None or one.type.startswith("bool"):
                continue
            try:
                _check(value, one.metadata)
            except ValueError as error:
                raise SpikewrightError(f"{one.name}: {error}") from None


def add_options(parser: argparse.ArgumentParser, options: type[Options]) -> None:
    """Make the command line of `options`: an argument for each of its fields."""
    groups = {name: parser.add_argument_group(name, text) for name, text in options.groups.items()}
    for one in fields(options):  # type: ignore[arg-type]
        about = one.metadata
        if about["group"] == "python":
            continue
        required = one.default is MISSING
        word = about.get("name", None if required else "--" + one.name.replace("_", "-"))
        words: dict[str, Any] = {"help": about["help"], "default": one.default}
        if word is None:
            names, words = [one.name], {"help": about["help"]}
            words |= {"nargs": "+"} if one.type.startswith("Sequence") else {}
        else:
            names = [*about.get("short", "").split(), word]
            words |= {"dest": one.name} | ({"required": True} if required else {})
            if one.default not in (None, False, MISSING):
                words["help"] += f" ({one.default})"
        if one.type.startswith("bool"):
            words["action"] = "store_true"
        else:
            words |= {name: about[name] for name in ("metavar", "choices") if name in about}
            words["type"] = partial(_typed, one)
        groups.get(about["group"], parser).add_argument(*names, **words)


def _typed(one: Field[Any], text: str) -> Any:
    parse = one.metadata.get("parse") or _PARSERS.get(str(one.type).split()[0], str)
    try:
        value = parse(text)
        if "choices" not in one.metadata:  # argparse has its own words for these
            _check(value, one.metadata)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return value
