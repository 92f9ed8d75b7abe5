"""95% intervals: Wilson's for proportions, the bootstrap's percentiles for other means and for any other statistic.

A bootstrap interval has no width if all items are equal, however few they are. Wilson's upper bound on the share of
items that could still differ, which after 0 of 10 is 28%, then widens it towards the ends of the figure's range.
"""

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


def interval(values: Sequence[float], *, highest: float = 1.0) -> Interval:
    """Return the mean of values from 0 to `highest` with its interval; NaN if there are none.

    For outcomes, which are 0 or 1, the interval is Wilson's; for other values the percentile bootstrap's.
    """
    if highest == 1.0 and set(values) <= {0.0, 1.0}:
        return proportion_interval([value == 1.0 for value in values])
    return statistic_interval(values, _mean, highest=highest)


def difference_interval(differences: Sequence[float]) -> Interval:
    """Return the mean of the differences of paired items, from -1 to 1, with its percentile bootstrap interval."""
    return statistic_interval(differences, _mean, lowest=-1.0)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def proportion_interval(outcomes: Sequence[bool]) -> Interval:
    """Return the share of independent outcomes that are true, with its 95% Wilson interval; NaN for none.

    It has a width if all outcomes are equal, too: 10 of 10 is [0.72, 1].
    """
    n = len(outcomes)
    return Interval(sum(outcomes) / n, *_wilson(sum(outcomes), n), n) if n else _nothing()


def _nothing() -> Interval:
    return Interval(float("nan"), float("nan"), float("nan"), 0)


def _wilson(successes: int, n: int) -> tuple[float, float]:
    """Wilson, "Probable Inference", Journal of the American Statistical Association 22 (1927)."""
    share, z2 = successes / n, _Z * _Z
    middle = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = _Z / (1 + z2 / n) * (share * (1 - share) / n + z2 / (4 * n * n)) ** 0.5
    # At the ends, rounding would leave the share outside its own interval.
    return (middle - half if successes else 0.0), (middle + half if successes < n else 1.0)


def cluster_interval(clusters: Sequence[Sequence[float]], *, lowest: float = 0.0) -> Interval:
    """Return the mean over the values of all clusters, with an interval that resamples whole clusters.

    Values in one cluster are not independent; they lie between `lowest`, -1 for differences, and 1. `n` is the number
    of values.
    """
    if lowest == 0.0 and all(len(cluster) == 1 for cluster in clusters):
        return interval([value for (value,) in clusters])
    # A resample needs only the sum and the size of each cluster.
    sums = [(sum(cluster), len(cluster)) for cluster in clusters if cluster]
    found = statistic_interval(sums, _mean_of_sums, lowest=lowest)
    return Interval(found.mean, found.low, found.high, sum(n for _, n in sums))


def _mean_of_sums(sums: Sequence[tuple[float, int]]) -> float:
    return sum(s for s, _ in sums) / sum(n for _, n in sums)


def statistic_interval(
    items: Sequence[T],
    statistic: Callable[[Sequence[T]], float],
    *,
    lowest: float = 0.0,
    highest: float = 1.0,
    seed: int = 0,
) -> Interval:
    """Return a statistic of independent items with its percentile bootstrap interval; NaN if there are no items.

    The statistic lies between `lowest` and `highest`.
    """
    n = len(items)
    if n == 0:
        return _nothing()
    draws = _cached_resamples(n, seed) if 1 < n <= _CACHED_ITEMS else _resamples(n, seed)
    drawn = sorted(statistic(draw(items)) for draw in draws)
    if drawn[0] == drawn[-1]:
        return _widened(statistic(items), n, lowest, highest)
    low, high = drawn[round(0.025 * _RESAMPLES)], drawn[round(0.975 * _RESAMPLES) - 1]
    return Interval(statistic(items), low, high, n)


def _widened(value: float, n: int, lowest: float, highest: float) -> Interval:
    """The interval of `n` items that all agree."""
    differing = _wilson(0, n)[1]
    return Interval(value, value - differing * (value - lowest), value + differing * (highest - value), n)


def stratified_interval(strata: Sequence[Sequence[Sequence[float]]], *, lowest: float = 0.0) -> Interval:
    """Return the unweighted mean of the strata's means, each with the interval of its clusters.

    Values lie between `lowest`, -1 for differences, and 1. NaN if a stratum has no values. `n` is the number of values.
    """
    return mean_interval([cluster_interval(stratum, lowest=lowest) for stratum in strata])


def mean_interval(parts: Sequence[Interval]) -> Interval:
    """Return the unweighted mean of independent means, with an interval from theirs; NaN if one of them has no items.

    Zou and Donner, "Construction of confidence limits about effect measures", Statistics in Medicine 27 (2008).
    """
    if not parts or not all(part.n for part in parts):
        return _nothing()
    mean = _mean([part.mean for part in parts])
    below = sum((part.mean - part.low) ** 2 for part in parts) ** 0.5 / len(parts)
    above = sum((part.high - part.mean) ** 2 for part in parts) ** 0.5 / len(parts)
    return Interval(mean, mean - below, mean + above, sum(part.n for part in parts))


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
