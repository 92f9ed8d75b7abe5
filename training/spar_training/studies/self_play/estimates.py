"""Figures over the seeds of an arm, with intervals over its prompts.

A prompt is drawn with all its seeds, for its outcomes with two seeds are not independent. Differences are between the
same prompts with the same seeds. Values are numbers by seed and prompt: one for a prompt, or one for each of its
instructions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import mean as average
from typing import Literal, get_args

from spar_training.reports.intervals import Interval, cluster_interval, statistic_interval
from spar_training.storage.files import Row
from spar_training.studies.self_play.results import Evaluation, Outcomes, Rows
from spar_training.studies.self_play.study import Arm

Metric = Literal["prompt strict", "prompt loose", "instruction strict", "instruction loose"]
METRICS: tuple[Metric, ...] = get_args(Metric)

Values = Mapping[int, Mapping[str, Sequence[float]]]


def values_of(rows: Mapping[int, Rows], value: Callable[[Row], Sequence[float]]) -> Values:
    """`value` of each row; rows of which it says nothing are left out."""
    return {
        seed: {name: found for name, row in of_seed.items() if (found := value(row))} for seed, of_seed in rows.items()
    }


def met(metric: Metric) -> Callable[[Row], Sequence[float]]:
    """IFEval's accuracies: of whole prompts, or of single instructions; strictly or loosely checked."""
    level, mode = metric.split()
    if level == "prompt":
        return lambda row: (float(all(row[mode])),)
    return lambda row: [float(passed) for passed in row[mode]]


def mean(values: Values) -> Interval:
    """The mean over everything."""
    return cluster_interval(list(_clusters(values).values()))


def difference(ours: Values, base: Values) -> Interval:
    """Ours less the base's, over the seeds and prompts that both have."""
    return mean(
        {
            seed: {
                name: [one - other for one, other in zip(ours[seed][name], base[seed][name], strict=True)]
                for name in ours[seed]
                if name in base[seed]
            }
            for seed in ours
            if seed in base
        }
    )


def removed(ours: Values, base: Values) -> Interval:
    """The share of the base's errors that ours has fewer; NaN where the base makes none."""
    shared = [seed for seed in ours if seed in base]
    ours, base = {seed: ours[seed] for seed in shared}, {seed: base[seed] for seed in shared}
    wrong, wrong_before = (
        {name: sum(1 - value for value in cluster) for name, cluster in _clusters(values).items()}
        for values in (ours, base)
    )
    both = [(wrong[name], wrong_before[name]) for name in wrong if name in wrong_before]

    def share(drawn: Sequence[tuple[float, float]]) -> float:
        before = sum(b for _, b in drawn)
        # A resample without errors has none to remove.
        return 1 - sum(a for a, _ in drawn) / before if before else 0.0

    return statistic_interval(both if any(b for _, b in both) else [], share)


def judged_right(row: Row) -> Sequence[float]:
    return (float(row["good"] is row["accepted"]),)


def mended(row: Row) -> Sequence[float]:
    """By the verifiers, of those refined: bad responses that the judge turned down."""
    return (float(row["mended"]),) if "refined" in row else ()


def mended_by_own(row: Row) -> Sequence[float]:
    return (float(row["own"]),) if "refined" in row else ()


def mended_of_bad(row: Row) -> Sequence[float]:
    """Of all bad responses, the ones that the judge let pass included: the same ones whatever the judge."""
    return () if row["good"] else (float(row.get("mended", False)),)


def f1(judged: Mapping[int, Rows]) -> Interval:
    """The judge's F1 at finding bad responses."""
    return statistic_interval(list(_found(judged).values()), _f1)


def f1_difference(ours: Mapping[int, Rows], base: Mapping[int, Rows]) -> Interval:
    shared = [seed for seed in ours if seed in base]
    after, before = (_found({seed: rows[seed] for seed in shared}) for rows in (ours, base))
    both = [(after[name], before[name]) for name in after if name in before]
    return statistic_interval(both, lambda drawn: _f1([a for a, _ in drawn]) - _f1([b for _, b in drawn]))


def drafts(evaluations: Mapping[int, Evaluation]) -> dict[int, Rows]:
    return {seed: one.drafts for seed, one in evaluations.items()}


def judgements(evaluations: Mapping[int, Evaluation]) -> dict[int, Rows]:
    return {seed: one.judged for seed, one in evaluations.items()}


def searches(evaluations: Mapping[int, Evaluation]) -> dict[int, Rows]:
    """Of the seeds whose search was measured."""
    return {seed: one.searched for seed, one in evaluations.items() if one.searched}


def _clusters(values: Values) -> dict[str, list[float]]:
    clusters: dict[str, list[float]] = {}
    for of_seed in values.values():
        for name, found in of_seed.items():
            clusters.setdefault(name, []).extend(found)
    return clusters


def _found(judged: Mapping[int, Rows]) -> dict[str, tuple[int, int, int]]:
    """By prompt, over its seeds: bad ones found, bad ones, those called bad."""
    counts: dict[str, tuple[int, int, int]] = {}
    for name, row in ((name, row) for rows in judged.values() for name, row in rows.items()):
        bad, called = not row["good"], not row["accepted"]
        hits, truth, said = counts.get(name, (0, 0, 0))
        counts[name] = (hits + (bad and called), truth + bad, said + called)
    return counts


def _f1(counts: Iterable[tuple[int, int, int]]) -> float:
    hits, both = 0, 0
    for found, truth, said in counts:
        hits, both = hits + found, both + truth + said
    return 2 * hits / max(1, both)


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
    answers = searches(evaluations) if searched else drafts(evaluations)
    if not answers:
        return None
    start = drafts(outcomes.at(arm, 0))
    return Point(
        arm=arm,
        iteration=iteration,
        searched=searched,
        accuracy={metric: mean(values_of(answers, met(metric))) for metric in METRICS},
        gains={metric: gain(answers, start, metric) for metric in METRICS},
        by_seed={seed: _strict(rows) for seed, rows in answers.items()},
        words=average(len(str(row["text"]).split()) for rows in answers.values() for row in rows.values()),
    )


def gain(ours: Mapping[int, Rows], base: Mapping[int, Rows], metric: Metric) -> Interval:
    """The paired difference of one metric."""
    return difference(values_of(ours, met(metric)), values_of(base, met(metric)))


def _strict(rows: Rows) -> float:
    return average(float(all(row["strict"])) for row in rows.values())


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
    ours = judgements(outcomes.at(arm, iteration))
    start = judgements(outcomes.at(arm, 0))
    right, of_bad = values_of(ours, judged_right), values_of(ours, mended_of_bad)
    return Refining(
        arm=arm,
        iteration=iteration,
        accuracy=mean(right),
        accuracy_gain=difference(right, values_of(start, judged_right)),
        f1=f1(ours),
        f1_gain=f1_difference(ours, start),
        success=mean(values_of(ours, mended)),
        success_by_own_judge=mean(values_of(ours, mended_by_own)),
        mended=mean(of_bad),
        mended_gain=difference(of_bad, values_of(start, mended_of_bad)),
    )


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
    answers, base_answers = drafts(ours), drafts(base)
    judged, base_judged = judgements(ours), judgements(base)
    judge, mended = (
        difference(values_of(judged, value), values_of(base_judged, value)) for value in (judged_right, mended_of_bad)
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
