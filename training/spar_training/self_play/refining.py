"""A refiner after an iteration: as a judge, and as a refiner by verifiers and by its own word."""

from __future__ import annotations

from dataclasses import dataclass

from spar_training.evals.intervals import Interval
from spar_training.self_play import pooled
from spar_training.self_play.outcomes import Outcomes


@dataclass(frozen=True, slots=True, kw_only=True)
class Refining:
    """On the first pair's drafts, the same ones after each iteration; gains are over the start's refiner.

    `success` is of the bad drafts that it judged No, which differ from one judge to another; `mended` is of all bad
    drafts, those that it let pass included.
    """

    arm: str
    iteration: int
    accuracy: Interval
    accuracy_gain: Interval
    f1: Interval
    f1_gain: Interval
    success: Interval
    success_by_own_judge: Interval
    mended: Interval
    mended_gain: Interval


def refining(outcomes: Outcomes, arm: str, iteration: int) -> Refining:
    """Of an iteration that was measured."""
    ours = pooled.judgements(outcomes.at(arm, iteration))
    start = pooled.judgements(outcomes.at(arm, 0))
    right, mended = pooled.values_of(ours, pooled.judged_right), pooled.values_of(ours, pooled.mended_of_bad)
    return Refining(
        arm=arm,
        iteration=iteration,
        accuracy=pooled.mean(right),
        accuracy_gain=pooled.difference(right, pooled.values_of(start, pooled.judged_right)),
        f1=pooled.f1(ours),
        f1_gain=pooled.f1_difference(ours, start),
        success=pooled.mean(pooled.values_of(ours, pooled.mended)),
        success_by_own_judge=pooled.mean(pooled.values_of(ours, pooled.mended_by_own)),
        mended=pooled.mean(mended),
        mended_gain=pooled.difference(mended, pooled.values_of(start, pooled.mended_of_bad)),
    )
