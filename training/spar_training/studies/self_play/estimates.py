"""Estimates over the seeds of an arm, with intervals over its prompts: actors, refiners, and comparisons of arms.

A prompt is resampled with all its seeds, since its outcomes with different seeds are not independent. Differences are
paired by prompt and seed. Values are numbers by seed and prompt: one for a prompt, or one for each of its instructions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import mean as average
from typing import Literal, get_args

from spar_training.evals.judge.accuracy import judged_right
from spar_training.evals.world.iteration import refined_accepted, refined_good, rejects
from spar_training.reports.intervals import Interval, cluster_interval, statistic_interval
from spar_training.storage.files import Row
from spar_training.studies.self_play.results import Evaluation, Outcomes, Rows
from spar_training.studies.self_play.study import Arm

Metric = Literal["prompt strict", "prompt loose", "instruction strict", "instruction loose"]
METRICS: tuple[Metric, ...] = get_args(Metric)

Values = Mapping[int, Mapping[str, Sequence[float]]]


def values_of(rows: Mapping[int, Rows], value: Callable[[Row], Sequence[float]]) -> Values:
    """Compute the value of each row; rows without one are left out."""
    return {
        seed: {name: found for name, row in of_seed.items() if (found := value(row))} for seed, of_seed in rows.items()
    }


def metric_values(metric: Metric) -> Callable[[Row], Sequence[float]]:
    """Return the function from a row to its values in one of IFEval's accuracies: by prompt or by instruction."""
    level, mode = metric.split()
    if level == "prompt":
        return lambda row: (float(all(row[mode])),)
    return lambda row: [float(passed) for passed in row[mode]]


def mean(values: Values, *, lowest: float = 0.0) -> Interval:
    """Return the mean over all values; they lie between `lowest`, -1 for differences, and 1."""
    return cluster_interval(list(_clusters(values).values()), lowest=lowest)


def difference(ours: Values, base: Values) -> Interval:
    """Return ours minus the base's, over the seeds and prompts that both have."""
    return mean(
        {
            seed: {
                name: [one - other for one, other in zip(ours[seed][name], base[seed][name], strict=True)]
                for name in ours[seed]
                if name in base[seed]
            }
            for seed in ours
            if seed in base
        },
        lowest=-1.0,
    )


def errors_removed(ours: Values, base: Values) -> Interval:
    """Return the share of the base's errors by which ours has fewer; NaN if the base has none."""
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

    return statistic_interval(both if any(b for _, b in both) else [], share, lowest=-1.0)


def judged_correctly(row: Row) -> Sequence[float]:
    return (float(judged_right(row)),)


def refinement_success(row: Row) -> Sequence[float]:
    """Whether the verifiers accept a refinement: of bad responses that the judge rejected."""
    return (float(refined_good(row)),) if "refined" in row else ()


def success_by_own_judge(row: Row) -> Sequence[float]:
    """Whether the pair's own judge accepts a refinement."""
    return (float(refined_accepted(row)),) if "refined" in row else ()


def fixed_of_bad(row: Row) -> Sequence[float]:
    """Whether a bad response is fixed, counting those that the judge accepted: the same responses for every judge."""
    return () if row["good"] else (float(refined_good(row)),)


def f1(judged: Mapping[int, Rows]) -> Interval:
    """Return the judge's F1 at finding bad responses."""
    return statistic_interval(list(_found(judged).values()), _f1)


def f1_difference(ours: Mapping[int, Rows], base: Mapping[int, Rows]) -> Interval:
    shared = [seed for seed in ours if seed in base]
    after, before = (_found({seed: rows[seed] for seed in shared}) for rows in (ours, base))
    both = [(after[name], before[name]) for name in after if name in before]
    return statistic_interval(both, lambda drawn: _f1([a for a, _ in drawn]) - _f1([b for _, b in drawn]), lowest=-1.0)


def drafts(evaluations: Mapping[int, Evaluation]) -> dict[int, Rows]:
    return {seed: one.drafts for seed, one in evaluations.items()}


def judgements(evaluations: Mapping[int, Evaluation]) -> dict[int, Rows]:
    return {seed: one.judged for seed, one in evaluations.items()}


def searches(evaluations: Mapping[int, Evaluation]) -> dict[int, Rows]:
    """Return the searched answers of the seeds whose search was measured."""
    return {seed: one.searched for seed, one in evaluations.items() if one.searched}


def _clusters(values: Values) -> dict[str, list[float]]:
    clusters: dict[str, list[float]] = {}
    for of_seed in values.values():
        for name, found in of_seed.items():
            clusters.setdefault(name, []).extend(found)
    return clusters


def _found(judged: Mapping[int, Rows]) -> dict[str, tuple[int, int, int]]:
    """Count by prompt, over its seeds: bad responses that were rejected, bad responses, rejected responses."""
    counts: dict[str, tuple[int, int, int]] = {}
    for name, row in ((name, row) for rows in judged.values() for name, row in rows.items()):
        is_bad, is_rejected = not row["good"], rejects(row)
        hits, bad, rejected = counts.get(name, (0, 0, 0))
        counts[name] = (hits + (is_bad and is_rejected), bad + is_bad, rejected + is_rejected)
    return counts


def _f1(counts: Iterable[tuple[int, int, int]]) -> float:
    total_hits, total = 0, 0
    for hits, bad, rejected in counts:
        total_hits, total = total_hits + hits, total + bad + rejected
    return 2 * total_hits / max(1, total)


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """The accuracy of an iteration's answers over the seeds that have it; `gains` are over the start's actor alone.

    `by_seed` is the strict accuracy by prompt with each seed, since intervals over prompts do not cover the variation
    over sampling and training. `words` is the mean length of an answer.
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
    """Compute the point of an iteration; None if no seed has it."""
    evaluations = outcomes.at(arm, iteration)
    answers = searches(evaluations) if searched else drafts(evaluations)
    if not answers:
        return None
    start = drafts(outcomes.at(arm, 0))
    return Point(
        arm=arm,
        iteration=iteration,
        searched=searched,
        accuracy={metric: mean(values_of(answers, metric_values(metric))) for metric in METRICS},
        gains={metric: gain(answers, start, metric) for metric in METRICS},
        by_seed={seed: _strict(rows) for seed, rows in answers.items()},
        words=average(len(str(row["text"]).split()) for rows in answers.values() for row in rows.values()),
    )


def gain(ours: Mapping[int, Rows], base: Mapping[int, Rows], metric: Metric) -> Interval:
    """Return the paired difference in one metric."""
    return difference(values_of(ours, metric_values(metric)), values_of(base, metric_values(metric)))


def _strict(rows: Rows) -> float:
    return average(float(all(row["strict"])) for row in rows.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class RefinerEstimate:
    """A refiner's figures on the first pair's drafts, the same for all iterations; gains are over the start's refiner.

    `success` is the share of fixed drafts among the bad drafts judged No, which differ between judges; `fixed` is their
    share among all bad drafts, including those that the judge accepted.
    """

    arm: str
    iteration: int
    accuracy: Interval
    accuracy_gain: Interval
    f1: Interval
    f1_gain: Interval
    success: Interval
    success_by_own_judge: Interval
    fixed: Interval
    fixed_gain: Interval


def refiner_estimate(outcomes: Outcomes, arm: str, iteration: int) -> RefinerEstimate:
    """Compute the refiner's figures after an iteration that was measured."""
    ours = judgements(outcomes.at(arm, iteration))
    start = judgements(outcomes.at(arm, 0))
    right, of_bad = values_of(ours, judged_correctly), values_of(ours, fixed_of_bad)
    return RefinerEstimate(
        arm=arm,
        iteration=iteration,
        accuracy=mean(right),
        accuracy_gain=difference(right, values_of(start, judged_correctly)),
        f1=f1(ours),
        f1_gain=f1_difference(ours, start),
        success=mean(values_of(ours, refinement_success)),
        success_by_own_judge=mean(values_of(ours, success_by_own_judge)),
        fixed=mean(of_bad),
        fixed_gain=difference(of_bad, values_of(start, fixed_of_bad)),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmComparison:
    """The differences between two arms, each after its own iteration.

    `prompt` and `instruction` are the actor's strict accuracies; `fixed` is as in `RefinerEstimate`.
    """

    arm: str
    base: str
    iteration: int
    seeds: tuple[int, ...]
    prompt: Interval
    instruction: Interval
    judge: Interval
    fixed: Interval


def compare_arms(outcomes: Outcomes, arm: Arm, iteration: int, *, base_iteration: int) -> ArmComparison | None:
    """Compare an arm with its base; None if no seed has both iterations."""
    other = outcomes.study.base_of(arm).name
    ours, base = outcomes.at(arm.name, iteration), outcomes.at(other, base_iteration)
    seeds = tuple(seed for seed in ours if seed in base)
    if not seeds:
        return None
    answers, base_answers = drafts(ours), drafts(base)
    judged, base_judged = judgements(ours), judgements(base)
    judge, fixed = (
        difference(values_of(judged, value), values_of(base_judged, value))
        for value in (judged_correctly, fixed_of_bad)
    )
    return ArmComparison(
        arm=arm.name,
        base=other,
        iteration=iteration,
        seeds=seeds,
        prompt=gain(answers, base_answers, "prompt strict"),
        instruction=gain(answers, base_answers, "instruction strict"),
        judge=judge,
        fixed=fixed,
    )
