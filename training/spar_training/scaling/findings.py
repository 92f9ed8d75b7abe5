"""All that one run of the bench says, computed from its trials and times."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from spar_training.evals.intervals import Interval, interval
from spar_training.scaling.ablation import Ablation, VoteSaving, ablations, vote_savings
from spar_training.scaling.arm import DEFAULT_METHOD, REFERENCES, SAMPLED, Arm
from spar_training.scaling.comparison import Axis, Comparison, Reference, compare
from spar_training.scaling.curves import Point, by_prompt, point
from spar_training.scaling.trial import Trial

Trials = Mapping[str, Sequence[Trial]]
Seconds = Mapping[str, Mapping[int, float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """`points` are those of methods and oracles. `seconds` are means by arm and budget, empty where not timed.

    `repeated` is the share of prompts among whose samples any text occurs twice: what a majority of texts would need.
    `judge` is how often the judge is right about drafts, on good ones and on bad ones.
    """

    points: Sequence[Point]
    comparisons: Sequence[Comparison]
    ablations: Sequence[Ablation]
    savings: Sequence[VoteSaving]
    seconds: Seconds
    repeated: Interval | None
    judge: tuple[Interval, Interval]

    def at(self, arm: str, budget: int) -> Point | None:
        return next((one for one in self.points if (one.arm, one.budget) == (arm, budget)), None)

    def line(self, arm: str) -> list[Point]:
        return sorted((one for one in self.points if one.arm == arm), key=lambda one: one.budget)


def find(arms: Sequence[Arm], trials: Trials, seconds: Seconds, *, budgets: Sequence[int]) -> Findings:
    """The findings at `budgets`; an arm's own largest budget bounds its line."""
    points = [
        point(arm.name, trials[arm.name], budget)
        for arm in arms
        if arm.group in ("main", "oracle")
        for budget in budgets_of(arm, budgets)
    ]
    has_default = DEFAULT_METHOD in trials
    consensus = next((arm for arm in arms if arm.consensus == "majority"), None)
    return Findings(
        points=points,
        comparisons=_comparisons(arms, trials, budgets),
        ablations=ablations(arms, trials) if has_default else [],
        savings=vote_savings(trials) if has_default else [],
        seconds=seconds,
        repeated=_repeated(trials[consensus.name]) if consensus else None,
        judge=_judge(trials),
    )


def budgets_of(arm: Arm, budgets: Sequence[int]) -> list[int]:
    """The budgets of an arm's line. Best-of-N has its own largest one, too."""
    wanted = {budget for budget in budgets if budget <= arm.search.budget}
    return sorted(wanted | ({arm.search.budget} if arm.name in REFERENCES or arm.greedy else set()))


def _comparisons(arms: Sequence[Arm], trials: Trials, budgets: Sequence[int]) -> list[Comparison]:
    """Every refining method at every budget, against each kind of best-of-N at equal tokens, calls and budget."""
    axes: tuple[Axis, ...] = ("tokens", "calls", "budget")
    references = [arm for name in REFERENCES for arm in arms if arm.name == name]
    return [
        compare(arm.name, trials[arm.name], budget, _reference(reference, trials), axis=axis)
        for axis in axes
        for reference in references
        for arm in arms
        if arm.group == "main" and arm.name not in (*REFERENCES, *SAMPLED) and not arm.greedy
        for budget in budgets_of(arm, budgets)
        # What a kind was not drawn for, it is not compared at.
        if budget > 0 and (axis != "budget" or budget <= reference.search.budget)
    ]


def _reference(arm: Arm, trials: Trials) -> Reference:
    return Reference(arm.name, trials[arm.name], arm.search.budget)


def _repeated(trials: Sequence[Trial]) -> Interval:
    return interval(by_prompt(trials, lambda trial: any(step.outcome == "duplicate" for step in trial.steps)))


def _judge(trials: Trials) -> tuple[Interval, Interval]:
    """How often the judge is right about good drafts and about bad ones, over whatever searches judged them."""
    judged = next(
        (ours for ours in trials.values() if ours and all(trial.steps[0].value is not None for trial in ours)), []
    )
    good = [trial for trial in judged if trial.steps[0].strict]
    bad = [trial for trial in judged if not trial.steps[0].strict]
    return (
        interval(by_prompt(good, lambda trial: trial.steps[0].accepted)),
        interval(by_prompt(bad, lambda trial: not trial.steps[0].accepted)),
    )
