"""An actor after an iteration, alone or with the search."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import mean

from spar_training.evals.intervals import Interval
from spar_training.self_play import pooled
from spar_training.self_play.outcomes import Outcomes
from spar_training.self_play.played import Rows
from spar_training.self_play.pooled import METRICS, Metric, met


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """Over the seeds that have it. `gains` are over the start's actor alone.

    `by_seed` is the strict accuracy by prompt with each seed: what another seed of sampling and training changes, an
    interval over prompts does not know. `words` is the mean length of an answer.
    """

    arm: str
    iteration: int
    searched: bool
    accuracy: Mapping[Metric, Interval]
    gains: Mapping[Metric, Interval]
    by_seed: Mapping[int, float]
    words: float

    @property
    def seeds(self) -> tuple[int, ...]:
        return tuple(self.by_seed)


def point(outcomes: Outcomes, arm: str, iteration: int, *, searched: bool) -> Point | None:
    """None where no seed has it."""
    evaluations = outcomes.at(arm, iteration)
    answers = pooled.searches(evaluations) if searched else pooled.drafts(evaluations)
    if not answers:
        return None
    start = pooled.drafts(outcomes.at(arm, 0))
    return Point(
        arm=arm,
        iteration=iteration,
        searched=searched,
        accuracy={metric: pooled.mean(pooled.values_of(answers, met(metric))) for metric in METRICS},
        gains={metric: gain(answers, start, metric) for metric in METRICS},
        by_seed={seed: _strict(rows) for seed, rows in answers.items()},
        words=mean(len(str(row["text"]).split()) for rows in answers.values() for row in rows.values()),
    )


def gain(ours: Mapping[int, Rows], base: Mapping[int, Rows], metric: Metric) -> Interval:
    """The paired difference of one metric."""
    return pooled.difference(pooled.values_of(ours, met(metric)), pooled.values_of(base, met(metric)))


def _strict(rows: Rows) -> float:
    return mean(float(all(row["strict"])) for row in rows.values())
