"""95% bootstrap intervals of means and of paired differences."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

_RESAMPLES: Final = 2000


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean with its 95% interval; `n` items."""

    mean: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        return f"{100 * self.mean:.1f} [{100 * self.low:.1f}, {100 * self.high:.1f}] (n={self.n})"


def interval(values: Sequence[float], *, seed: int = 0) -> Interval:
    """The mean of `values` with its percentile bootstrap interval; NaN for none.

    Give the differences of paired items for a paired interval.
    """
    n = len(values)
    if n == 0:
        return Interval(float("nan"), float("nan"), float("nan"), 0)
    rng = random.Random(seed)
    means = sorted(sum(rng.choices(values, k=n)) / n for _ in range(_RESAMPLES))
    low, high = means[round(0.025 * _RESAMPLES)], means[round(0.975 * _RESAMPLES) - 1]
    return Interval(sum(values) / n, low, high, n)
