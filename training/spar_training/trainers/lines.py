"""How far a training is, as lines for whoever waits for it.

train(job, tell=TrainingLines("actor", print))     # actor: step 50 of 240, loss 1.532, 12:30 left
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from spar_training.storage.files import Row

_EVERY_S: Final = 10.0


class TrainingLines:
    """Takes the rows that `train` tells; says a line at most every 10 seconds, and always the first and the last."""

    def __init__(self, label: str, say: Callable[[str], None], *, clock: Callable[[], float] = time.monotonic) -> None:
        self._label = label
        self._say = say
        self._clock = clock
        self._said_at = float("-inf")
        # Where the process began that trains now: its first step here, and its seconds then.
        self._start: tuple[int, float] | None = None
        self._seconds = 0.0

    def __call__(self, row: Row) -> None:
        step, total, seconds = int(row["step"]), int(row["total"]), float(row.get("seconds", 0.0))
        if self._start is None or seconds < self._seconds:
            # Seconds count anew where a training was resumed.
            self._start = (step, seconds)
        self._seconds = seconds
        now = self._clock()
        if row.get("loss") is None or (step < total and now - self._said_at < _EVERY_S):
            return
        self._said_at = now
        loss = f"loss {row['loss']:.3f}"
        parts = [f"step {step:,} of {total:,}", loss, *self._left(step, total, seconds)]
        self._say(f"{self._label}: {', '.join(parts)}")

    def _left(self, step: int, total: int, seconds: float) -> list[str]:
        assert self._start is not None
        first, before = self._start
        if step >= total or step <= first or seconds <= before:
            return []
        minutes, rest = divmod(round((seconds - before) / (step - first) * (total - step)), 60)
        hours, minutes = divmod(minutes, 60)
        return [f"{hours}:{minutes:02}:{rest:02} left" if hours else f"{minutes}:{rest:02} left"]
