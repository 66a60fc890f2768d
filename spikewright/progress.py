"""A progress bar on standard error, on a terminal, for what takes longer than a moment."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import TextIO

__all__ = ["Progress", "Report", "silent"]

Report = Callable[[str, float | None], None]
"""Called with what is being done and the finished share of it, 0..1, or None if unknown."""


def silent(label: str, done: float | None) -> None:
    """Shows nothing."""


class Progress:
    """A :data:`Report` that draws one line, redrawn while time passes and erased at the end.

    The time left is that of a steady pace. A label whose share is greater than the last one's goes
    on with that; any other begins something, of which nothing is drawn for `delay` seconds. Nothing
    is ever drawn on a stream that is no terminal.
    """

    WIDTH = 24

    def __init__(self, stream: TextIO | None = None, delay: float = 2.0) -> None:
        self._stream = stream or sys.stderr
        self._delay = delay
        self._live = self._stream.isatty()
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._label = ""
        self._done: float | None = None
        self._since = 0.0
        self._first = 0.0
        self._drawn = False
        self._thread: threading.Thread | None = None

    def __call__(self, label: str, done: float | None = None) -> None:
        if not self._live:
            return
        with self._lock:
            grows = done is not None and self._done is not None and 0 < self._done < done
            if label != self._label and not grows:
                self._erase()
                self._since, self._first = time.monotonic(), done or 0.0
            self._label, self._done = label, done
        if self._thread is None:
            self._thread = threading.Thread(target=self._redraw, daemon=True)
            self._thread.start()

    def clear(self) -> None:
        """Erase the line, so that something else can be printed; the next label starts anew."""
        with self._lock:
            self._erase()
            self._label, self._done = "", None

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        self.clear()

    def line(self, elapsed: float) -> str:
        """What the bar shows `elapsed` seconds after what is being done began."""
        clock = _clock(elapsed)
        if self._done is None:
            return f"{self._label} ... {clock}"
        share = min(max(self._done, 0.0), 1.0)
        full = round(share * self.WIDTH)
        bar = "#" * full + "." * (self.WIDTH - full)
        gone = share - self._first
        left = f", {_clock(elapsed * (1 - share) / gone)} left" if gone > 0 else ""
        return f"{self._label} [{bar}] {share:4.0%} {clock}{left}"

    def _redraw(self) -> None:
        while not self._stop.wait(0.2):
            with self._lock:
                elapsed = time.monotonic() - self._since
                if self._label and elapsed >= self._delay:
                    self._stream.write(f"\r\x1b[2K{self.line(elapsed)}")
                    self._stream.flush()
                    self._drawn = True

    def _erase(self) -> None:
        if self._drawn:
            self._stream.write("\r\x1b[2K")
            self._stream.flush()
            self._drawn = False


def _clock(seconds: float) -> str:
    """Minutes and seconds, with hours where there are any."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
