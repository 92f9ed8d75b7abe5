"""Show the progress of a long job over items: a live bar on a terminal, occasional plain lines elsewhere.

with item_progress("sample") as on_progress:
    await run_items(prompts, work, out=out, on_progress=on_progress)
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, TextColumn
from rich.progress import Progress as Bars
from rich.text import Text

from spar_training.pipeline.runner import OnProgress, Progress

# An extra figure that is updated after each item, such as the share accepted.
Live = Callable[[Progress], str]

_LINE_EVERY_S: Final = 10.0
# The rate is measured over the latest seconds, so that the time left follows an upstream that slows down.
_WINDOW_S: Final = 60.0


@contextmanager
def item_progress(
    label: str,
    *,
    console: Console | None = None,
    live: Live | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[OnProgress]:
    """Show done of total, items per second, time left, failed items and the figure of `live`.

    Writes to stderr, or to `console`. If that is not a terminal, a line is printed at the first item, then at most
    every 10 seconds, and at the end. Items of an earlier run count as done but not towards the rate.
    """
    screen = console or Console(stderr=True)
    status = _Status(label, live, clock)
    with _bar(status, screen) if screen.is_terminal else _lines(status, screen) as on_progress:
        yield on_progress


@contextmanager
def _bar(status: _Status, console: Console) -> Iterator[OnProgress]:
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[status]}"))
    with Bars(*columns, console=console) as bars:
        task = bars.add_task(status.label, total=None, status="", visible=False)

        def on_progress(progress: Progress) -> None:
            text = status.format(progress)
            bars.update(task, completed=progress.done, total=progress.total, status=text, visible=True)

        yield on_progress


@contextmanager
def _lines(status: _Status, console: Console) -> Iterator[OnProgress]:
    printed_at = float("-inf")
    pending: str | None = None

    def print_line(text: str) -> None:
        # As Text: brackets are not markup, and the lines of a log are not wrapped.
        console.print(Text(f"{status.label}: {text}"), soft_wrap=True)

    def on_progress(progress: Progress) -> None:
        nonlocal printed_at, pending
        pending = status.format(progress)
        if status.now - printed_at >= _LINE_EVERY_S:
            print_line(pending)
            printed_at, pending = status.now, None

    try:
        yield on_progress
    finally:
        if pending is not None:
            print_line(pending)


class _Status:
    """Formats progress, and measures its rate."""

    def __init__(self, label: str, live: Live | None, clock: Callable[[], float]) -> None:
        self.label = label
        self.now = clock()
        self._live = live
        self._clock = clock
        self._started = self.now
        # Times and the number of items done by then, over the window.
        self._history: deque[tuple[float, int]] = deque()

    def format(self, progress: Progress) -> str:
        self.now = self._clock()
        rate = self._rate(progress.done)
        parts = [f"{progress.done:,} of {progress.total:,}", f"{rate:,.1f}/s", _left(progress, rate)]
        if progress.failed:
            parts.append(f"{progress.failed:,} failed")
        if self._live:
            parts.append(self._live(progress))
        return ", ".join(part for part in parts if part)

    def _rate(self, done: int) -> float:
        """Items per second over the window, starting with the first item of this run."""
        if not self._history:
            self._history.append((self._started, done - 1))
        self._history.append((self.now, done))
        while len(self._history) > 2 and self._history[1][0] <= self.now - _WINDOW_S:
            self._history.popleft()
        since, before = self._history[0]
        return (done - before) / max(self.now - since, 1e-9)


def _left(progress: Progress, rate: float) -> str:
    """The time left as 4:05 or 1:02:03; empty when all items are done."""
    if progress.done >= progress.total:
        return ""
    minutes, seconds = divmod(round((progress.total - progress.done) / max(rate, 1e-9)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02} left" if hours else f"{minutes}:{seconds:02} left"
