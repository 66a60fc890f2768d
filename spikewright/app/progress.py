"""A progress bar on standard error, on a terminal, for what takes longer than a moment."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TextIO

from rich.console import Console, RenderableType
from rich.progress import Progress

__all__ = ["Bar"]


class Bar(Progress):
    """A :data:`~spikewright.progress.Report` that draws one line and erases it at the end.

    A label whose share is greater than the last one's goes on with that; any other begins
    something, of which nothing is drawn for `delay` seconds. Nothing is ever drawn on a stream that
    is no terminal.
    """

    def __init__(self, stream: TextIO | None = None, delay: float = 2.0) -> None:
        self._delay = delay
        console = Console(file=stream, stderr=stream is None)
        super().__init__(
            console=console,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
            speed_estimate_period=86400,  # an epoch can take an hour
            disable=not console.is_terminal,
        )

    def __call__(self, label: str, done: float | None = None) -> None:
        """Say what is being done, and the finished share of it."""
        if self.disable:
            return
        last = self.tasks[-1] if self.tasks else None
        grows = last is not None and done is not None and 0 < last.completed < done
        if last is None or (label != last.description and not grows):
            self.clear()
            self.add_task(label, total=None if done is None else 1.0)
            last = self.tasks[-1]
        self.start()
        self.update(last.id, description=label, completed=done or 0.0)

    def clear(self) -> None:
        """Erase the line, so that something else can be printed; the next label starts anew."""
        self.stop()
        for task in self.tasks:
            self.remove_task(task.id)

    def get_renderables(self) -> Iterable[RenderableType]:
        """What has taken longer than `delay`."""
        shown = [task for task in self.tasks if (task.elapsed or 0) >= self._delay]
        if shown:
            yield self.make_tasks_table(shown)
