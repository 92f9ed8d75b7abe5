"""The findings of a study, computed from the results of its runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from spar_training.reports.intervals import Interval
from spar_training.studies.self_play import estimates
from spar_training.studies.self_play.estimates import (
    METRICS,
    ArmComparison,
    Metric,
    Point,
    RefinerEstimate,
    compare_arms,
    gain,
    metric_values,
    point,
    refiner_estimate,
)
from spar_training.studies.self_play.results import Outcomes, PairStatistics, pair_statistics

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchEffect:
    """What the search adds to the last pair, and what self-play adds to the search; errors are strict, by prompt."""

    over_draft: Mapping[Metric, Interval]
    over_first_search: Mapping[Metric, Interval]
    errors_removed: Interval
    errors_removed_by_search_alone: Interval


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """A study's findings. `last` is the reference's last measured iteration; `search` is None if none was measured.

    `contrasts` compares the arms with sampled pairs iteration by iteration; `ablations` compares arms with the
    reference after their last iteration.
    """

    last: int
    points: Sequence[Point]
    refiners: Sequence[RefinerEstimate]
    pairs: Sequence[PairStatistics]
    contrasts: Sequence[ArmComparison]
    ablations: Sequence[ArmComparison]
    search: SearchEffect | None

    def point(self, arm: str, iteration: int, *, searched: bool = False) -> Point | None:
        wanted = (arm, iteration, searched)
        return next((one for one in self.points if (one.arm, one.iteration, one.searched) == wanted), None)

    def last_contrast(self, arm: str) -> ArmComparison | None:
        return next((one for one in reversed(self.contrasts) if one.arm == arm), None)

    def refiner(self, arm: str, iteration: int) -> RefinerEstimate | None:
        return next((one for one in self.refiners if (one.arm, one.iteration) == (arm, iteration)), None)


def analyze(outcomes: Outcomes) -> Findings:
    """Compute the findings from the results that exist."""
    study = outcomes.study
    measured = outcomes.iterations(study.reference.name)
    last = max(measured, default=0)
    ours = [(arm.name, number) for arm in study.arms for number in outcomes.iterations(arm.name)]
    made = [(arm.name, number) for arm in study.arms for number in range(1, arm.recipe.iterations + 1)]
    sampled = [arm for arm in study.arms[1:] if arm.recipe.method.kind == "sampled"]
    final = study.reference.recipe.iterations
    return Findings(
        last=last,
        points=_present(point(outcomes, *one, searched=searched) for one in ours for searched in (False, True)),
        refiners=[refiner_estimate(outcomes, *one) for one in ours],
        pairs=[pair_statistics(*one, by_seed) for one in made if (by_seed := outcomes.pairs(*one))],
        contrasts=_present(
            compare_arms(outcomes, arm, number, base_iteration=number)
            for arm in sampled
            for number in outcomes.iterations(arm.name)
            if number
        ),
        ablations=_present(
            compare_arms(outcomes, arm, arm.recipe.iterations, base_iteration=final)
            for arm in study.arms[1:]
            if study.base_of(arm) is study.reference
        ),
        search=_search(outcomes, last),
    )


def _present(found: Iterable[T | None]) -> list[T]:
    return [one for one in found if one is not None]


def _search(outcomes: Outcomes, last: int) -> SearchEffect | None:
    reference = outcomes.study.reference.name
    start, end = outcomes.at(reference, 0), outcomes.at(reference, last)
    first, searched = estimates.searches(start), estimates.searches(end)
    if not last or not searched:
        return None
    strict = metric_values("prompt strict")
    drafts = estimates.values_of(estimates.drafts(start), strict)
    return SearchEffect(
        over_draft={metric: gain(searched, estimates.drafts(end), metric) for metric in METRICS},
        over_first_search={metric: gain(searched, first, metric) for metric in METRICS},
        errors_removed=estimates.errors_removed(estimates.values_of(searched, strict), drafts),
        errors_removed_by_search_alone=estimates.errors_removed(estimates.values_of(first, strict), drafts),
    )
