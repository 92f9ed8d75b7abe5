"""95% bootstrap intervals of means, of ratios over clusters, of any statistic, and of paired differences."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from operator import itemgetter
from typing import Any, Final, TypeVar

_RESAMPLES: Final = 2000
# Above so many items their places are drawn anew each time: kept, they would fill the memory.
_KEPT_ITEMS: Final = 2000

Resample = Callable[[Sequence[Any]], Sequence[Any]]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean with its 95% interval; `n` items."""

    mean: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        return f"{self.percent()} (n={self.n})"

    def percent(self) -> str:
        """As `12.3 [10.1, 14.5]`, without the number of items; a dash where there is none."""
        return f"{100 * self.mean:.1f} [{100 * self.low:.1f}, {100 * self.high:.1f}]" if self.n else "–"

    def signed(self) -> str:
        """A difference in percentage points, as `+2.3 [−0.1, +4.5]`; a dash where there is none."""
        if not self.n:
            return "–"
        told = f"{100 * self.mean:+.1f} [{100 * self.low:+.1f}, {100 * self.high:+.1f}]"
        return told.replace("-", "−")


def interval(values: Sequence[float], *, seed: int = 0) -> Interval:
    """The mean of `values` with its percentile bootstrap interval; NaN for none.

    Give the differences of paired items for a paired interval.
    """
    return interval_of(values, lambda drawn: sum(drawn) / len(drawn), seed=seed)


def clustered(clusters: Sequence[Sequence[float]], *, seed: int = 0) -> Interval:
    """The mean over all values of all clusters; whole clusters are drawn, for what is in one is not independent.

    `n` is the number of values.
    """
    # Its sum and its size are all that a draw needs of a cluster.
    sums = [(sum(cluster), len(cluster)) for cluster in clusters if cluster]
    found = interval_of(sums, lambda drawn: sum(s for s, _ in drawn) / sum(n for _, n in drawn), seed=seed)
    return Interval(found.mean, found.low, found.high, sum(n for _, n in sums))


def interval_of(items: Sequence[T], statistic: Callable[[Sequence[T]], float], *, seed: int = 0) -> Interval:
    """A statistic of independent items with its percentile bootstrap interval; NaN for no items."""
    n = len(items)
    if n == 0:
        return Interval(float("nan"), float("nan"), float("nan"), 0)
    draws = _kept_resamples(n, seed) if 1 < n <= _KEPT_ITEMS else _resamples(n, seed)
    drawn = sorted(statistic(draw(items)) for draw in draws)
    low, high = drawn[round(0.025 * _RESAMPLES)], drawn[round(0.975 * _RESAMPLES) - 1]
    return Interval(statistic(items), low, high, n)


def mean_of_strata(strata: Sequence[Sequence[Sequence[float]]], *, seed: int = 0) -> Interval:
    """The mean of the strata's means, each stratum weighing the same; clusters are drawn within each. NaN without any.

    `n` is the number of values.
    """
    sums = [[(sum(cluster), len(cluster)) for cluster in stratum if cluster] for stratum in strata]
    if not sums or not all(sums):
        return Interval(float("nan"), float("nan"), float("nan"), 0)

    def mean(drawn: Sequence[Sequence[tuple[float, int]]]) -> float:
        return sum(sum(s for s, _ in one) / sum(n for _, n in one) for one in drawn) / len(drawn)

    rng = random.Random(seed)
    means = sorted(mean([rng.choices(stratum, k=len(stratum)) for stratum in sums]) for _ in range(_RESAMPLES))
    low, high = means[round(0.025 * _RESAMPLES)], means[round(0.975 * _RESAMPLES) - 1]
    return Interval(mean(sums), low, high, sum(n for stratum in sums for _, n in stratum))


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
