"""The progress bar."""

import contextlib
import os
import time

from spikewright.app.progress import Bar


def test_nothing_is_drawn_on_a_pipe(capsys):
    with Bar(delay=0) as bar:
        bar("working", 0.5)
        time.sleep(0.5)
    assert capsys.readouterr().err == ""


def screen(draw):
    """What `draw`, given the stream of a terminal, has written there."""
    ours, theirs = os.openpty()
    with open(theirs, "w") as terminal:
        draw(terminal)
    written = b""
    with open(ours, "rb", buffering=0) as end, contextlib.suppress(OSError):
        while part := end.read(4096):  # until the other end, now closed, is empty
            written += part
    return written.decode()


def test_bar_on_a_terminal(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")

    def draw(terminal):
        with Bar(terminal, delay=0) as bar:
            bar("working", 0.25)
            time.sleep(0.2)
            bar("working", 0.5)
            time.sleep(0.3)

    drawn = screen(draw)
    assert "working" in drawn
    assert " 50%" in drawn
    assert "0:00:0" in drawn  # what is left
    assert drawn.endswith("\x1b[1A\x1b[2K")  # the line is erased


def test_a_moment_is_not_worth_a_bar(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")

    def draw(terminal):
        with Bar(terminal) as bar:
            bar("quick", None)
            time.sleep(0.3)

    assert "quick" not in screen(draw)


def test_time_left_goes_on_with_the_share():
    """As in training, whose label tells the epoch while its share is that of all of them."""
    now = [100.0]

    def draw(terminal):
        bar = Bar(terminal)
        bar.get_time = lambda: now[0]
        bar("epoch 1", 0.1)
        now[0] = 160.0
        bar("epoch 2", 0.4)
        (task,) = bar.tasks
        assert (task.description, task.elapsed, task.time_remaining) == ("epoch 2", 60, 120)
        for label, done in (("another", 0.4), ("smaller", 0.3), ("unknown", None), ("new", 0.5)):
            now[0] += 1
            bar(label, done)
            (task,) = bar.tasks
            assert (task.description, task.elapsed, task.time_remaining) == (label, 0, None)
        bar.stop()

    screen(draw)
