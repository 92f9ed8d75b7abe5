"""FollowBench's three figures out of its rows' verdicts.

HSR: the share of instructions all of whose constraints are satisfied. SSR: the mean share of satisfied constraints; a
rule says of all of them together, so a row scored by rule counts 0 or 1, as in the published script. CSL: of how many
levels in a row, from the first on, all constraints are satisfied, on average over the groups.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from spar_training.evals.followbench.rows import LEVELS, Row
from spar_training.reports.intervals import Interval, interval, interval_of


@dataclass(frozen=True, slots=True)
class Scored:
    """A row with what was found. `satisfied` is None where no verdict could be read, or nobody gave one."""

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
    """By level, and means over the levels, whose intervals draw groups. Rows without a verdict are left out."""

    hsr: dict[int, Interval]
    ssr: dict[int, Interval]
    hsr_mean: Interval
    ssr_mean: Interval
    csl: Interval


def figures(groups: Sequence[Sequence[Scored]]) -> Figures:
    """The figures of these groups. A group counts for CSL if the levels up to its first failure have verdicts."""
    by_level = {level: [one for group in groups for one in group if one.row.level == level] for level in LEVELS}
    lengths = [length for group in groups if (length := _consecutive(group)) is not None]
    return Figures(
        hsr={level: interval([one.hard for one in ones if one.hard is not None]) for level, ones in by_level.items()},
        ssr={level: interval([one.soft for one in ones if one.soft is not None]) for level, ones in by_level.items()},
        hsr_mean=_mean([[one.hard for one in group] for group in groups]),
        ssr_mean=_mean([[one.soft for one in group] for group in groups]),
        csl=interval([float(length) for length in lengths]),
    )


def _consecutive(group: Sequence[Scored]) -> int | None:
    """The levels in a row that are satisfied; None when that cannot be told."""
    for passed, one in enumerate(sorted(group, key=lambda one: one.row.level)):
        if one.hard is None:
            return None
        if not one.hard:
            return passed
    return len(group)


def _mean(groups: Sequence[Sequence[float | None]]) -> Interval:
    """The mean of the levels' means, with an interval over groups."""
    known = [group for group in groups if any(value is not None for value in group)]
    return interval_of(known, _mean_of_levels)


def _mean_of_levels(groups: Sequence[Sequence[float | None]]) -> float:
    columns: list[list[float]] = [
        [value for value in column if value is not None] for column in zip(*groups, strict=True)
    ]
    means = [sum(column) / len(column) for column in columns if column]
    return sum(means) / len(means)
