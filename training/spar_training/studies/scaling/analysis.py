"""All that one run of the bench says, computed from its trials and times."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from spar_training.reports.intervals import Interval, interval
from spar_training.studies.scaling.arms import ABLATION_BUDGET, DEFAULT_METHOD, REFERENCES, SAMPLED, Arm
from spar_training.studies.scaling.trial import Trial


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


Axis = Literal["tokens", "calls", "budget"]
Mean = Callable[[Sequence[Trial], int], float]
_MEANS: dict[str, Mean] = {"tokens": mean_tokens, "calls": mean_calls}


@dataclass(frozen=True, slots=True)
class Reference:
    """A kind of best-of-N and its trials up to its `largest` budget."""

    name: str
    trials: Sequence[Trial]
    largest: int


@dataclass(frozen=True, slots=True)
class Comparison:
    """`difference` is the method's strict accuracy less that of best-of-N, paired by prompt.

    `reference` is the kind of best-of-N and `reference_budget` its budget: the samples after the draft. `spent` and
    `reference_spent` are both means on the axis. Where best-of-N at its largest budget spends less than the method,
    `equal` is False: it could not be given as much.
    """

    method: str
    budget: int
    axis: Axis
    reference: str
    reference_budget: int
    spent: float
    reference_spent: float
    equal: bool
    difference: Interval

    @property
    def n(self) -> int:
        """Best-of-N's N: the most samples that it may draw, the draft among them."""
        return self.reference_budget + 1

    @property
    def verdict(self) -> Literal["method", "reference", "open"]:
        """Who is ahead; open where the interval holds zero."""
        if self.difference.low > 0:
            return "method"
        return "reference" if self.difference.high < 0 else "open"


def compare(method: str, trials: Sequence[Trial], budget: int, reference: Reference, *, axis: Axis) -> Comparison:
    """The method at `budget` against best-of-N at the smallest N whose mean on the axis is at least the method's.

    So best-of-N is never given less, and at most one sample more. On the axis "budget" both have the same.
    """
    if axis == "budget":
        theirs, spent, given = budget, float(budget), float(budget)
    else:
        mean = _MEANS[axis]
        spent = mean(trials, budget)
        enough = (b for b in range(reference.largest + 1) if mean(reference.trials, b) >= spent)
        theirs = next(enough, reference.largest)
        given = mean(reference.trials, theirs)
    return Comparison(
        method=method,
        budget=budget,
        axis=axis,
        reference=reference.name,
        reference_budget=theirs,
        spent=spent,
        reference_spent=given,
        equal=given >= spent,
        difference=difference(trials, budget, reference.trials, theirs),
    )


def difference(one: Sequence[Trial], budget: int, other: Sequence[Trial], other_budget: int) -> Interval:
    """Strict accuracy of one less the other's, over the prompts and seeds that both have."""
    common = {(trial.index, trial.seed) for trial in one} & {(trial.index, trial.seed) for trial in other}
    ours = by_prompt([t for t in one if (t.index, t.seed) in common], lambda t: t.answer(budget).strict)
    theirs = by_prompt([t for t in other if (t.index, t.seed) in common], lambda t: t.answer(other_budget).strict)
    return interval([a - b for a, b in zip(ours, theirs, strict=True)])


# The bar of early vote stop: this share of the judge's tokens saved, accuracy as before.
SAVING_BAR: Final = 0.30


@dataclass(frozen=True, slots=True)
class Ablation:
    """`difference` in strict accuracy to the default search at its own budget; shares of 1."""

    factor: str
    setting: str
    point: Point
    difference: Interval


@dataclass(frozen=True, slots=True)
class VoteSaving:
    """Early vote stop against asking all `votes`: the shares saved of the judge's tokens and calls."""

    votes: int
    tokens_saved: float
    calls_saved: float
    difference: Interval

    @property
    def equal_accuracy(self) -> bool:
        return self.difference.low <= 0 <= self.difference.high

    @property
    def met(self) -> bool:
        return self.tokens_saved >= SAVING_BAR and self.equal_accuracy


def ablations(arms: Sequence[Arm], trials: Mapping[str, Sequence[Trial]]) -> list[Ablation]:
    """Every ablation arm that has trials, and the default itself first."""
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
    """What early stop saves for each number of votes that was run both ways."""
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
