"""The command line: reads options, runs the command's module, prints what it returns."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shlex
import sys
import warnings
from collections.abc import Iterator, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any, NoReturn

from spikewright import __version__
from spikewright.app.fields import add_options
from spikewright.app.options import COMMANDS
from spikewright.errors import SpikewrightError

if TYPE_CHECKING:
    from spikewright.app.progress import Bar

__all__ = ["main"]


class _Parser(argparse.ArgumentParser):
    """Reports a wrong option in one line."""

    def error(self, message: str) -> NoReturn:
        message = " ".join(message.split())
        self.exit(2, f"spikewright: error: {message}; see {self.prog} --help\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="spikewright",
        description="A trained PyTorch network in, a spiking FPGA accelerator out, equal to its "
        "model bit for bit.",
        epilog="start with: spikewright demo",
    )
    parser.add_argument("--version", action="version", version=f"spikewright {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, options in COMMANDS.items():
        purpose = options.purpose
        sub = commands.add_parser(
            name,
            help=purpose,
            description=f"{purpose[0].upper()}{purpose[1:]}.",
            epilog=f"example: {options.example}",
        )
        sub.add_argument("--json", action="store_true", help="print JSON on standard output")
        add_options(sub, options)
    return parser


def _run(args: argparse.Namespace, words: Sequence[str], bar: Bar) -> bool:
    """Run a command and print its result; whether that is what the user hopes for."""
    name = COMMANDS[args.command].__name__.lower()
    module = import_module(f"spikewright.app.{name}")

    def done(stage: str, result: Any) -> None:
        bar.clear()
        print(f"== {stage}")
        module.STAGES[stage](result)
        sys.stdout.flush()

    options = {key: value for key, value in vars(args).items() if key not in ("command", "json")}
    if name == "demo" and not args.json:
        options["done"] = done
    command = shlex.join(["spikewright", *words])
    result = getattr(module, name)(**options, command=command, progress=bar)
    if name == "compile":
        result = module.facts_of(result)
    bar.clear()
    if args.json:
        print(json.dumps(result, indent=1))
    else:
        module.show(result)
    sys.stdout.flush()
    verdict = result["verify"] if name == "demo" else result
    return bool(verdict.get("equal", True))


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the exit status is 0 for success."""
    words = list(sys.argv[1:] if argv is None else argv)
    args = _parser().parse_args(words)
    from spikewright.app.progress import Bar

    try:
        with Bar() as bar, _warned(bar):
            return 0 if _run(args, words, bar) else 1
    except SpikewrightError as error:
        message = str(error)
    except KeyboardInterrupt:
        print("spikewright: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader of our output has gone; keep Python from complaining when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except OSError as error:
        message = f"{error.filename or args.command}: {error.strerror or error}; check the path"
    except MemoryError:
        message = f"{args.command}: out of memory; give fewer images, or a smaller network"
    print(f"spikewright: error: {message}", file=sys.stderr)
    return 1


@contextlib.contextmanager
def _warned(bar: Bar) -> Iterator[None]:
    """Print our own warnings; those of libraries are not the user's business."""

    def show(message: Warning | str, *_: Any, **more: Any) -> None:
        if type(message).__module__.startswith("spikewright."):
            bar.clear()
            print(f"spikewright: warning: {message}", file=sys.stderr)

    with warnings.catch_warnings():
        warnings.simplefilter("default")
        warnings.showwarning = show
        yield
