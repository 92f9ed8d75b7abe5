"""An arm against the one it is compared with: same prompts, same seeds, the arm's figures less the other's."""

from __future__ import annotations

from dataclasses import dataclass

from spar_training.evals.intervals import Interval
from spar_training.self_play import pooled
from spar_training.self_play.outcomes import Outcomes
from spar_training.self_play.point import gain
from spar_training.self_play.study import Arm


@dataclass(frozen=True, slots=True, kw_only=True)
class Against:
    """Each after its own iteration; `prompt` and `instruction` are the actor's, strict, `mended` as in `Refining`."""

    arm: str
    base: str
    iteration: int
    seeds: tuple[int, ...]
    prompt: Interval
    instruction: Interval
    judge: Interval
    mended: Interval


def against(outcomes: Outcomes, arm: Arm, iteration: int, *, base_iteration: int) -> Against | None:
    """None where no seed has both."""
    other = outcomes.study.base_of(arm).name
    ours, base = outcomes.at(arm.name, iteration), outcomes.at(other, base_iteration)
    seeds = tuple(seed for seed in ours if seed in base)
    if not seeds:
        return None
    answers, base_answers = pooled.drafts(ours), pooled.drafts(base)
    judged, base_judged = pooled.judgements(ours), pooled.judgements(base)
    judge, mended = (
        pooled.difference(pooled.values_of(judged, value), pooled.values_of(base_judged, value))
        for value in (pooled.judged_right, pooled.mended_of_bad)
    )
    return Against(
        arm=arm.name,
        base=other,
        iteration=iteration,
        seeds=seeds,
        prompt=gain(answers, base_answers, "prompt strict"),
        instruction=gain(answers, base_answers, "instruction strict"),
        judge=judge,
        mended=mended,
    )
