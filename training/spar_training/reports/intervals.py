"""95% bootstrap intervals of means, of clustered and stratified means, and of any other statistic."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from operator import itemgetter
from typing import Any, Final, TypeVar

_RESAMPLES: Final = 2000
# The 97.5% quantile of the normal distribution.
_Z: Final = 1.959964
# Resamples of more items than this are not cached: they would take too much memory.
_CACHED_ITEMS: Final = 2000

Resample = Callable[[Sequence[Any]], Sequence[Any]]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Interval:
    """A statistic, usually a mean, of `n` items with its 95% interval."""

    mean: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        return f"{self.percent()} (n={self.n})"

    def percent(self) -> str:
        """Format as `12.3 [10.1, 14.5]`, without the number of items; a dash if there are none."""
        return f"{100 * self.mean:.1f} [{100 * self.low:.1f}, {100 * self.high:.1f}]" if self.n else "–"

    def signed(self) -> str:
        """Format a difference in percentage points as `+2.3 [−0.1, +4.5]`; a dash if there are no items."""
        if not self.n:
            return "–"
        text = f"{100 * self.mean:+.1f} [{100 * self.low:+.1f}, {100 * self.high:+.1f}]"
        return text.replace("-", "−")


def interval(values: Sequence[float], *, seed: int = 0) -> Interval:
    """Return the mean of `values` with its percentile bootstrap interval; NaN if there are none.

    For a paired interval, pass the differences of the paired items.
    """
    return statistic_interval(values, lambda drawn: sum(drawn) / len(drawn), seed=seed)


def proportion_interval(outcomes: Sequence[bool]) -> Interval:
    """The share of independent outcomes that are true, with its 95% Wilson interval; NaN for none.

    Unlike a bootstrap interval, it has a width if all outcomes are equal: 10 of 10 is [0.72, 1].
    """
    n = len(outcomes)
    if n == 0:
        return Interval(float("nan"), float("nan"), float("nan"), 0)
    share, z2 = sum(outcomes) / n, _Z * _Z
    middle = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = _Z / (1 + z2 / n) * (share * (1 - share) / n + z2 / (4 * n * n)) ** 0.5
    return Interval(share, max(0.0, middle - half), min(1.0, middle + half), n)


def cluster_interval(clusters: Sequence[Sequence[float]], *, seed: int = 0) -> Interval:
    """Return the mean over the values of all clusters, with an interval that resamples whole clusters.

    Values in one cluster are not independent. `n` is the number of values.
    """
    # A resample needs only the sum and the size of each cluster.
    sums = [(sum(cluster), len(cluster)) for cluster in clusters if cluster]
    found = statistic_interval(sums, lambda drawn: sum(s for s, _ in drawn) / sum(n for _, n in drawn), seed=seed)
    return Interval(found.mean, found.low, found.high, sum(n for _, n in sums))


def statistic_interval(items: Sequence[T], statistic: Callable[[Sequence[T]], float], *, seed: int = 0) -> Interval:
    """Return a statistic of independent items with its percentile bootstrap interval; NaN if there are no items."""
    n = len(items)
    if n == 0:
        return Interval(float("nan"), float("nan"), float("nan"), 0)
    draws = _cached_resamples(n, seed) if 1 < n <= _CACHED_ITEMS else _resamples(n, seed)
    drawn = sorted(statistic(draw(items)) for draw in draws)
    low, high = drawn[round(0.025 * _RESAMPLES)], drawn[round(0.975 * _RESAMPLES) - 1]
    return Interval(statistic(items), low, high, n)


def stratified_interval(strata: Sequence[Sequence[Sequence[float]]], *, seed: int = 0) -> Interval:
    """Return the unweighted mean of the strata's means, with an interval that resamples clusters within each stratum.

    NaN if a stratum has no values. `n` is the number of values.
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
    """Yield functions that each pick a resample; they depend on `n` and `seed` only."""
    rng = random.Random(seed)
    for _ in range(_RESAMPLES):
        # itemgetter with a single index would return the item, not a sequence.
        yield itemgetter(*rng.choices(range(n), k=n)) if n > 1 else list


@lru_cache(maxsize=4)
def _cached_resamples(n: int, seed: int) -> Sequence[Resample]:
    """Drawing the indices is most of the work, and the intervals of one table often have the same number of items."""
    return tuple(_resamples(n, seed))
