"""95% bootstrap intervals of means and of paired differences."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from operator import itemgetter
from typing import Final

_RESAMPLES: Final = 2000
# Above so many items their places are drawn anew each time: kept, they would fill the memory.
_KEPT_ITEMS: Final = 2000

Resample = Callable[[Sequence[float]], Sequence[float]]


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
    drawn = _kept_resamples(n, seed) if 1 < n <= _KEPT_ITEMS else _resamples(n, seed)
    means = sorted(sum(draw(values)) / n for draw in drawn)
    low, high = means[round(0.025 * _RESAMPLES)], means[round(0.975 * _RESAMPLES) - 1]
    return Interval(sum(values) / n, low, high, n)


def _resamples(n: int, seed: int) -> Iterable[Resample]:
    """Which places each resample takes: a matter of `n` and `seed` alone."""
    rng = random.Random(seed)
    for _ in range(_RESAMPLES):
        # One place alone is taken as a list too.
        yield itemgetter(*rng.choices(range(n), k=n)) if n > 1 else list


@lru_cache(maxsize=4)
def _kept_resamples(n: int, seed: int) -> Sequence[Resample]:
    """Drawing the places is most of the work, and a table of figures has many intervals of equally many items."""
    return tuple(_resamples(n, seed))
