"""The findings of the bench, computed from its trials and times: curves, comparisons and ablations."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from spar_training.reports.intervals import Interval, difference_interval, interval
from spar_training.studies.scaling.arms import ABLATION_BUDGET, CONSENSUS_METHODS, DEFAULT_METHOD, REFERENCES, Arm
from spar_training.studies.scaling.trial import Trial


@dataclass(frozen=True, slots=True)
class Point:
    """An arm at a budget: shares as fractions of 1, and mean costs per answer.

    `strict` and `loose`: all constraints met, according to the verifiers. `accepted` and `value`: the judge's verdict
    on the same answers, also at budget 0, where a server does not ask the judge and no cost is counted here.
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
        """By how much the share that the judge accepts exceeds the share that the verifiers accept."""
        return self.accepted.mean - self.strict.mean


def prompt_means(trials: Sequence[Trial], figure: Callable[[Trial], float]) -> list[float]:
    """Average the figure over the seeds of each prompt, in the order of the prompts, for the bootstrap to resample.

    Prompts are independent of each other, but the seeds of a prompt are not.
    """
    prompts: dict[int, list[float]] = defaultdict(list)
    for trial in trials:
        prompts[trial.index].append(figure(trial))
    return [mean(prompts[index]) for index in sorted(prompts)]


def mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else float("nan")


def point(arm: str, trials: Sequence[Trial], budget: int) -> Point:
    """Compute the point of an arm's trials.

    An answer that was not judged (a greedy draft) is left out of `accepted` and `value`.
    """
    cost = [trial.cost(budget) for trial in trials]
    judged = [trial for trial in trials if trial.answer(budget).value is not None]
    return Point(
        arm=arm,
        budget=budget,
        strict=interval(prompt_means(trials, lambda trial: trial.answer(budget).strict)),
        loose=interval(prompt_means(trials, lambda trial: trial.answer(budget).loose)),
        accepted=interval(prompt_means(judged, lambda trial: trial.answer(budget).accepted)),
        value=mean([trial.answer(budget).value or 0.0 for trial in judged]),
        calls=mean([one.calls for one in cost]),
        tokens=mean([one.tokens for one in cost]),
        judge_calls=mean([one.judge_calls for one in cost]),
        judge_tokens=mean([one.judge_tokens for one in cost]),
        nodes=mean([one.nodes for one in cost]),
    )


def mean_tokens(trials: Sequence[Trial], budget: int) -> float:
    return mean([trial.cost(budget).tokens for trial in trials])


def mean_calls(trials: Sequence[Trial], budget: int) -> float:
    return mean([trial.cost(budget).calls for trial in trials])


Axis = Literal["tokens", "calls", "budget"]
Mean = Callable[[Sequence[Trial], int], float]
_MEANS: dict[str, Mean] = {"tokens": mean_tokens, "calls": mean_calls}


@dataclass(frozen=True, slots=True)
class Reference:
    """A kind of best-of-N, with its trials up to its `largest` budget."""

    name: str
    trials: Sequence[Trial]
    largest: int


@dataclass(frozen=True, slots=True)
class Comparison:
    """A comparison of a method with best-of-N; `difference` is the paired difference in strict accuracy.

    `reference` is the kind of best-of-N and `reference_budget` its budget, the number of samples after the draft.
    `cost` and `reference_cost` are means on the axis. `equal` is False if best-of-N costs less even at its largest
    budget.
    """

    method: str
    budget: int
    axis: Axis
    reference: str
    reference_budget: int
    cost: float
    reference_cost: float
    equal: bool
    difference: Interval

    @property
    def n(self) -> int:
        """Best-of-N's N: the maximum number of samples, including the draft."""
        return self.reference_budget + 1

    @property
    def verdict(self) -> Literal["method", "reference", "open"]:
        """Which side is ahead; open if the interval contains zero."""
        if self.difference.low > 0:
            return "method"
        return "reference" if self.difference.high < 0 else "open"


def compare(method: str, trials: Sequence[Trial], budget: int, reference: Reference, *, axis: Axis) -> Comparison:
    """Compare the method at `budget` with best-of-N at the smallest N whose mean on the axis is at least the method's.

    So best-of-N never gets less, and at most one sample more. On the axis "budget" both have the same budget.
    """
    if axis == "budget":
        theirs, cost, reference_cost = budget, float(budget), float(budget)
    else:
        mean = _MEANS[axis]
        cost = mean(trials, budget)
        enough = (b for b in range(reference.largest + 1) if mean(reference.trials, b) >= cost)
        theirs = next(enough, reference.largest)
        reference_cost = mean(reference.trials, theirs)
    return Comparison(
        method=method,
        budget=budget,
        axis=axis,
        reference=reference.name,
        reference_budget=theirs,
        cost=cost,
        reference_cost=reference_cost,
        equal=reference_cost >= cost,
        difference=difference(trials, budget, reference.trials, theirs),
    )


def difference(one: Sequence[Trial], budget: int, other: Sequence[Trial], other_budget: int) -> Interval:
    """Return the difference in strict accuracy, paired over the prompts and seeds that both have."""
    common = {(trial.index, trial.seed) for trial in one} & {(trial.index, trial.seed) for trial in other}
    ours = prompt_means([t for t in one if (t.index, t.seed) in common], lambda t: t.answer(budget).strict)
    theirs = prompt_means([t for t in other if (t.index, t.seed) in common], lambda t: t.answer(other_budget).strict)
    return difference_interval([a - b for a, b in zip(ours, theirs, strict=True)])


# The target of early vote stop: the share of the judge's tokens to save at equal accuracy.
SAVING_TARGET: Final = 0.30


@dataclass(frozen=True, slots=True)
class Ablation:
    """A changed setting; `difference` is in strict accuracy from the default search, as a fraction of 1."""

    factor: str
    setting: str
    point: Point
    difference: Interval


@dataclass(frozen=True, slots=True)
class VoteSaving:
    """The shares of the judge's tokens and calls that early vote stop saves compared with all `votes`."""

    votes: int
    tokens_saved: float
    calls_saved: float
    difference: Interval

    @property
    def equal_accuracy(self) -> bool:
        return self.difference.low <= 0 <= self.difference.high

    @property
    def met(self) -> bool:
        return self.tokens_saved >= SAVING_TARGET and self.equal_accuracy


def ablations(arms: Sequence[Arm], trials: Mapping[str, Sequence[Trial]]) -> list[Ablation]:
    """Compute the ablations that have trials; the default comes first."""
    base = trials[DEFAULT_METHOD]
    default = point(DEFAULT_METHOD, base, ABLATION_BUDGET)
    rows = [Ablation("default", "", default, difference(base, ABLATION_BUDGET, base, ABLATION_BUDGET))]
    for arm in arms:
        if arm.group == "ablation" and (ours := trials.get(arm.name)):
            budget = arm.search.budget
            gain = difference(ours, budget, base, ABLATION_BUDGET)
            rows.append(Ablation(arm.factor, arm.setting, point(arm.name, ours, budget), gain))
    return rows


def vote_savings(trials: Mapping[str, Sequence[Trial]]) -> list[VoteSaving]:
    """Compute what early stop saves for each number of votes that was run with and without it."""
    budget = ABLATION_BUDGET
    savings: list[VoteSaving] = []
    for votes in (3, 5, 9):
        early = trials.get(DEFAULT_METHOD if votes == 5 else f"votes={votes}")
        full = trials.get(f"votes={votes}, all asked")
        if not early or not full:
            continue
        shared = {(trial.index, trial.seed) for trial in full}
        paired = [trial for trial in early if (trial.index, trial.seed) in shared]
        ours, theirs = point("", paired, budget), point("", full, budget)
        savings.append(
            VoteSaving(
                votes,
                1 - ours.judge_tokens / theirs.judge_tokens,
                1 - ours.judge_calls / theirs.judge_calls,
                difference(paired, budget, full, budget),
            )
        )
    return savings


Trials = Mapping[str, Sequence[Trial]]
Seconds = Mapping[str, Mapping[int, float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """The bench's findings. `points` are those of methods and oracles; `seconds` are means, empty if not timed.

    `repeated` is the share of prompts with two equal samples, without which there is no majority of texts. `judge` is
    the judge's accuracy on good drafts and on bad ones.
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


def analyze(arms: Sequence[Arm], trials: Trials, seconds: Seconds, *, budgets: Sequence[int]) -> Findings:
    """Compute the findings at `budgets`; an arm's line ends at its own largest budget."""
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
    """Return the budgets of an arm's line, which for best-of-N include its own largest one."""
    shared = {budget for budget in budgets if budget <= arm.search.budget}
    return sorted(shared | ({arm.search.budget} if arm.name in REFERENCES or arm.greedy else set()))


def _comparisons(arms: Sequence[Arm], trials: Trials, budgets: Sequence[int]) -> list[Comparison]:
    """Compare every refining method at every budget with each kind of best-of-N at equal tokens, calls and budget."""
    axes: tuple[Axis, ...] = ("tokens", "calls", "budget")
    references = [arm for name in REFERENCES for arm in arms if arm.name == name]
    return [
        compare(arm.name, trials[arm.name], budget, _reference(reference, trials), axis=axis)
        for axis in axes
        for reference in references
        for arm in arms
        if arm.group == "main" and arm.name not in (*REFERENCES, *CONSENSUS_METHODS) and not arm.greedy
        for budget in budgets_of(arm, budgets)
        # Only up to the budget that the kind was run at.
        if budget > 0 and (axis != "budget" or budget <= reference.search.budget)
    ]


def _reference(arm: Arm, trials: Trials) -> Reference:
    return Reference(arm.name, trials[arm.name], arm.search.budget)


def _repeated(trials: Sequence[Trial]) -> Interval:
    return interval(prompt_means(trials, lambda trial: any(step.outcome == "duplicate" for step in trial.steps)))


def _judge(trials: Trials) -> tuple[Interval, Interval]:
    """Return the judge's accuracy on good drafts and on bad ones, from any arm whose searches judged them all."""
    judged = next(
        (ours for ours in trials.values() if ours and all(trial.steps[0].value is not None for trial in ours)), []
    )
    good = [trial for trial in judged if trial.steps[0].strict]
    bad = [trial for trial in judged if not trial.steps[0].strict]
    return (
        interval(prompt_means(good, lambda trial: trial.steps[0].accepted)),
        interval(prompt_means(bad, lambda trial: not trial.steps[0].accepted)),
    )
