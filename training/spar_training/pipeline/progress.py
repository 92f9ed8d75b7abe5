"""How far a long job over items is: a live bar on a terminal, a plain line now and then where output is kept.

with item_progress("sample") as tell:
    await run_items(prompts, work, out=out, on_progress=tell)
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

from spar_training.pipeline.runner import Progress

Tell = Callable[[Progress], None]
# An extra figure, told after each item, e.g. the share that was accepted.
Live = Callable[[Progress], str]

_LINE_EVERY_S: Final = 10.0
# The rate is that of the latest seconds: the time left follows an upstream that slows down.
_WINDOW_S: Final = 60.0


@contextmanager
def item_progress(
    label: str,
    *,
    console: Console | None = None,
    live: Live | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[Tell]:
    """Show what `run_items` tells: done of total, items per second, time left, failed ones, and what `live` says.

    Goes to stderr unless a console is given. Where that is no terminal, a line is printed at the first item, then at
    most every 10 seconds, and at the end. Items of an earlier run count as done, but not into the rate.
    """
    screen = console or Console(stderr=True)
    status = _Status(label, live, clock)
    with _bar(status, screen) if screen.is_terminal else _lines(status, screen) as tell:
        yield tell


@contextmanager
def _bar(status: _Status, console: Console) -> Iterator[Tell]:
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[told]}"))
    with Bars(*columns, console=console) as bars:
        task = bars.add_task(status.label, total=None, told="", visible=False)

        def tell(progress: Progress) -> None:
            told = status.told(progress)
            bars.update(task, completed=progress.done, total=progress.total, told=told, visible=True)

        yield tell


@contextmanager
def _lines(status: _Status, console: Console) -> Iterator[Tell]:
    printed_at = float("-inf")
    unsaid: str | None = None

    def say(told: str) -> None:
        # As text: brackets in it are no markup, and a log's lines are not wrapped.
        console.print(Text(f"{status.label}: {told}"), soft_wrap=True)

    def tell(progress: Progress) -> None:
        nonlocal printed_at, unsaid
        unsaid = status.told(progress)
        if status.now - printed_at >= _LINE_EVERY_S:
            say(unsaid)
            printed_at, unsaid = status.now, None

    try:
        yield tell
    finally:
        if unsaid is not None:
            say(unsaid)


class _Status:
    """The words for a state of progress, and the rate behind them."""

    def __init__(self, label: str, live: Live | None, clock: Callable[[], float]) -> None:
        self.label = label
        self.now = clock()
        self._live = live
        self._clock = clock
        self._started = self.now
        # When how many were done, over the window.
        self._history: deque[tuple[float, int]] = deque()

    def told(self, progress: Progress) -> str:
        self.now = self._clock()
        rate = self._rate(progress.done)
        parts = [f"{progress.done:,} of {progress.total:,}", f"{rate:,.1f}/s", _left(progress, rate)]
        if progress.failed:
            parts.append(f"{progress.failed:,} failed")
        if self._live:
            parts.append(self._live(progress))
        return ", ".join(part for part in parts if part)

    def _rate(self, done: int) -> float:
        """Items per second over the window; the first item heard of is the first of this run."""
        if not self._history:
            self._history.append((self._started, done - 1))
        self._history.append((self.now, done))
        while len(self._history) > 2 and self._history[1][0] <= self.now - _WINDOW_S:
            self._history.popleft()
        since, before = self._history[0]
        return (done - before) / max(self.now - since, 1e-9)


def _left(progress: Progress, rate: float) -> str:
    """The time left as 4:05 or 1:02:03; nothing when all is done."""
    if progress.done >= progress.total:
        return ""
    minutes, seconds = divmod(round((progress.total - progress.done) / max(rate, 1e-9)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02} left" if hours else f"{minutes}:{seconds:02} left"
