"""Figures over the seeds of an arm, with intervals over its prompts.

A prompt is drawn with all its seeds, for its outcomes with two seeds are not independent. Differences are between the
same prompts with the same seeds. Values are numbers by seed and prompt: one for a prompt, or one for each of its
instructions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Literal, get_args

from spar_training.evals.intervals import Interval, clustered, interval_of
from spar_training.files import Row
from spar_training.self_play.played import Evaluation, Rows

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
    return clustered(list(_clusters(values).values()))


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

    return interval_of(both if any(b for _, b in both) else [], share)


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
    return interval_of(list(_found(judged).values()), _f1)


def f1_difference(ours: Mapping[int, Rows], base: Mapping[int, Rows]) -> Interval:
    shared = [seed for seed in ours if seed in base]
    after, before = (_found({seed: rows[seed] for seed in shared}) for rows in (ours, base))
    both = [(after[name], before[name]) for name in after if name in before]
    return interval_of(both, lambda drawn: _f1([a for a, _ in drawn]) - _f1([b for _, b in drawn]))


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
