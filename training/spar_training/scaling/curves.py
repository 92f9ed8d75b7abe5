"""What an arm's trials say at one budget: quality by the verifiers, the judge's own opinion, and what was spent."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from spar_training.evals.intervals import Interval, interval
from spar_training.scaling.trial import Trial


@dataclass(frozen=True, slots=True)
class Point:
    """One arm at one budget. Shares of 1; what was spent is the mean of an answer.

    `strict` and `loose`: all constraints met, by the verifiers. `accepted` and `value`: what the judge says of the
    same answers, at budget 0 too, where a server does not ask it (and is not charged for it here).
    """

    arm: str
    budget: int
    strict: Interval
    loose: Interval
    accepted: Interval
    value: float
    calls: float
    tokens: float
    judge_calls: float
    judge_tokens: float
    nodes: float

    @property
    def self_deception(self) -> float:
        """By how much the judge thinks better of the answers than the verifiers do."""
        return self.accepted.mean - self.strict.mean


def by_prompt(trials: Sequence[Trial], figure: Callable[[Trial], float]) -> list[float]:
    """The figure of each prompt, its seeds averaged, in the order of the prompts: what a bootstrap may resample.

    Seeds of one prompt are not independent of one another; prompts are.
    """
    prompts: dict[int, list[float]] = defaultdict(list)
    for trial in trials:
        prompts[trial.index].append(figure(trial))
    return [mean(prompts[index]) for index in sorted(prompts)]


def mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else float("nan")


def point(arm: str, trials: Sequence[Trial], budget: int) -> Point:
    """The point of `trials`, which are one arm's.

    An answer that the judge has not seen (a greedy draft) has no opinion on it and counts in none.
    """
    spent = [trial.spent(budget) for trial in trials]
    judged = [trial for trial in trials if trial.answer(budget).value is not None]
    return Point(
        arm=arm,
        budget=budget,
        strict=interval(by_prompt(trials, lambda trial: trial.answer(budget).strict)),
        loose=interval(by_prompt(trials, lambda trial: trial.answer(budget).loose)),
        accepted=interval(by_prompt(judged, lambda trial: trial.answer(budget).accepted)),
        value=mean([trial.answer(budget).value or 0.0 for trial in judged]),
        calls=mean([one.calls for one in spent]),
        tokens=mean([one.tokens for one in spent]),
        judge_calls=mean([one.judge_calls for one in spent]),
        judge_tokens=mean([one.judge_tokens for one in spent]),
        nodes=mean([one.nodes for one in spent]),
    )


def mean_tokens(trials: Sequence[Trial], budget: int) -> float:
    return mean([trial.spent(budget).tokens for trial in trials])


def mean_calls(trials: Sequence[Trial], budget: int) -> float:
    return mean([trial.spent(budget).calls for trial in trials])
