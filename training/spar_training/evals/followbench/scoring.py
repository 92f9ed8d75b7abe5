"""FollowBench's three figures.

HSR (hard satisfaction rate): the share of instructions with all constraints satisfied. SSR (soft satisfaction rate):
the mean share of satisfied constraints; a rule decides on all constraints at once, so a row scored by rule counts 0 or
1, as in the published script. CSL (consistent satisfaction levels): the number of consecutive levels from the first
whose constraints are all satisfied, averaged over the groups.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from spar_training.evals.followbench.rows import LEVELS, Row
from spar_training.reports.intervals import Interval, interval, statistic_interval


@dataclass(frozen=True, slots=True)
class ScoredRow:
    """A row with its response and score. `satisfied` is None if there is no verdict, or none that could be parsed."""

    row: Row
    response: str | None
    by: Literal["rule", "judge", "nobody", "nothing to score"]
    satisfied: tuple[bool, ...] | None

    @property
    def hard(self) -> float | None:
        return None if self.satisfied is None else float(all(self.satisfied))

    @property
    def soft(self) -> float | None:
        return None if self.satisfied is None else sum(self.satisfied) / len(self.satisfied)


@dataclass(frozen=True, slots=True)
class Figures:
    """Figures by level, and means over the levels with intervals over groups. Rows without a verdict are left out."""

    hsr: dict[int, Interval]
    ssr: dict[int, Interval]
    hsr_mean: Interval
    ssr_mean: Interval
    csl: Interval


def figures(groups: Sequence[Sequence[ScoredRow]]) -> Figures:
    """Compute the figures. A group counts for CSL if all levels up to its first failure have verdicts."""
    by_level = {level: [one for group in groups for one in group if one.row.level == level] for level in LEVELS}
    lengths = [length for group in groups if (length := _consecutive(group)) is not None]
    return Figures(
        hsr={level: interval([one.hard for one in ones if one.hard is not None]) for level, ones in by_level.items()},
        ssr={level: interval([one.soft for one in ones if one.soft is not None]) for level, ones in by_level.items()},
        hsr_mean=_mean([[one.hard for one in group] for group in groups]),
        ssr_mean=_mean([[one.soft for one in group] for group in groups]),
        csl=interval([float(length) for length in lengths], highest=float(len(LEVELS))),
    )


def _consecutive(group: Sequence[ScoredRow]) -> int | None:
    """Count the consecutive satisfied levels; None if a missing verdict leaves that open."""
    for passed, one in enumerate(sorted(group, key=lambda one: one.row.level)):
        if one.hard is None:
            return None
        if not one.hard:
            return passed
    return len(group)


def _mean(groups: Sequence[Sequence[float | None]]) -> Interval:
    """Return the mean of the levels' means, with an interval over groups."""
    known = [group for group in groups if any(value is not None for value in group)]
    return statistic_interval(known, _mean_of_levels)


def _mean_of_levels(groups: Sequence[Sequence[float | None]]) -> float:
    columns: list[list[float]] = [
        [value for value in column if value is not None] for column in zip(*groups, strict=True)
    ]
    means = [sum(column) / len(column) for column in columns if column]
    return sum(means) / len(means)
