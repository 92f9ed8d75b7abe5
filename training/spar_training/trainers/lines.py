"""Progress of a training as lines of text.

train(job, on_progress=TrainingLines("actor", print))     # actor: step 50 of 240, loss 1.532, 12:30 left
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from spar_training.storage.files import Row

_EVERY_S: Final = 10.0


class TrainingLines:
    """Prints progress rows: at most one line every 10 seconds, and always the first and the last."""

    def __init__(
        self, label: str, print_line: Callable[[str], None], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._label = label
        self._print_line = print_line
        self._clock = clock
        self._printed_at = float("-inf")
        # First step and seconds seen of the current training process.
        self._start: tuple[int, float] | None = None
        self._seconds = 0.0

    def __call__(self, row: Row) -> None:
        step, total, seconds = int(row["step"]), int(row["total"]), float(row.get("seconds", 0.0))
        if self._start is None or seconds < self._seconds:
            # A resumed training counts seconds from zero.
            self._start = (step, seconds)
        self._seconds = seconds
        now = self._clock()
        if row.get("loss") is None or (step < total and now - self._printed_at < _EVERY_S):
            return
        self._printed_at = now
        loss = f"loss {row['loss']:.3f}"
        parts = [f"step {step:,} of {total:,}", loss, *self._left(step, total, seconds)]
        self._print_line(f"{self._label}: {', '.join(parts)}")

    def _left(self, step: int, total: int, seconds: float) -> list[str]:
        assert self._start is not None
        first, before = self._start
        if step >= total or step <= first or seconds <= before:
            return []
        minutes, rest = divmod(round((seconds - before) / (step - first) * (total - step)), 60)
        hours, minutes = divmod(minutes, 60)
        return [f"{hours}:{minutes:02}:{rest:02} left" if hours else f"{minutes}:{rest:02} left"]
