"""A study's report and result as plain values, built from its results and findings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from spar_training.evals.judge.accuracy import judged_right
from spar_training.reports.intervals import Interval
from spar_training.reports.page import Report, Section, Table
from spar_training.reports.result import Result
from spar_training.studies.self_play.analysis import Findings
from spar_training.studies.self_play.criteria import Criterion, criteria
from spar_training.studies.self_play.estimates import ArmComparison
from spar_training.studies.self_play.prose import join_numbers, summary
from spar_training.studies.self_play.results import Outcomes, Rows
from spar_training.studies.self_play.sections import ablation_section, contrast_sections, progress_section


def method_section(outcomes: Outcomes, config: Mapping[str, Any]) -> Section:
    """Describe the method, with times, versions and the command."""
    study = outcomes.study
    recipe = study.reference.recipe
    lines = [
        f"Recipe `{config['recipe']}`, seeds {join_numbers(study.seeds)}. A seed determines the run's prompts, "
        "samples, votes, searches and trainings, and the evaluation's drafts.",
        f"Each iteration: {recipe.prompts.per_iteration} fresh prompts, {recipe.sample.responses} answers to each, "
        f"{recipe.judge.votes} votes on each answer, and for each prompt a search from one answer judged No "
        f"({recipe.search.algorithm}, branch {recipe.search.branch}, beam {recipe.search.beam}, depth "
        f"{recipe.search.max_depth}).",
        "All training data is labelled by the refiner's own votes. Verifiers (`spar_core/checks`) only measure; they "
        "do not select, order or weight any of it.",
        f"Evaluation: {_measured_on(outcomes)}. They are from the synthetic world; their seeds and combinations of "
        "constraints occur in no training prompt.",
        "Intervals: 95%, percentile bootstrap over prompts, each with all its seeds; differences are paired by prompt "
        "and seed. They cover the variation over prompts, but not over trainings; for that, see the figures by seed. "
        "Each interval stands alone, and about one in twenty misses by chance.",
        *[f"Arm `{arm.name}` ({arm.label}){_caps(arm.equal_pairs_to)}" for arm in study.arms],
        *[f"Made with {made}." for made in _unique(run.made_with for run in outcomes.runs)],
    ]
    command = f"    {config['command']}"
    return Section(
        "How it was measured", "\n".join(f"- {line}" for line in lines) + f"\n\n{command}", [_times(outcomes)]
    )


def _measured_on(outcomes: Outcomes) -> str:
    arms: dict[str, list[str]] = {}
    for run in outcomes.runs:
        arms.setdefault(run.measured_on, []).append(f"`{run.arm}`")
    if len(arms) == 1:
        return next(iter(arms))
    return "; ".join(f"{prompts} for {', '.join(_unique(names))}" for prompts, names in arms.items())


def _unique(texts: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(texts))


def _caps(other: str | None) -> str:
    return f": at most as many pairs as `{other}` had." if other else "."


def _times(outcomes: Outcomes) -> Table:
    arms = {arm.name: outcomes.seconds(arm.name) for arm in outcomes.study.arms if outcomes.of(arm.name)}
    steps = _unique(step for of_arm in arms.values() for step in of_arm)
    rows = [
        [arm, *(f"{of_arm.get(step, 0) / 60:.1f}" for step in steps), f"{sum(of_arm.values()) / 60:.1f}"]
        for arm, of_arm in arms.items()
    ]
    return Table(
        ["arm", *steps, "all"], rows, "Minutes by step, over all seeds and iterations; work that arms share counts once"
    )


def missing_section(outcomes: Outcomes) -> Section | None:
    """List the parts of the study that have not been measured; None if it is complete."""
    lines = [*outcomes.missing(), *outcomes.differing()]
    if not lines:
        return None
    text = "The figures cover what has been measured; each table names its seeds."
    return Section("What is missing", text + "\n\n" + "\n".join(f"- {line}" for line in lines))


def to_report(
    outcomes: Outcomes, findings: Findings, *, config: Mapping[str, Any], extra: Sequence[Section] = ()
) -> Report:
    """Build the report; parts that were not run are left out and listed as missing. `extra` comes before the method."""
    found = criteria(outcomes, findings)
    sections = [
        _criteria_section(found),
        progress_section(outcomes, findings),
        *contrast_sections(outcomes, findings),
        ablation_section(outcomes, findings),
        *extra,
        missing_section(outcomes),
        method_section(outcomes, config),
    ]
    return Report("Self-play", summary(outcomes, findings), [section for section in sections if section])


def _criteria_section(found: Sequence[Criterion]) -> Section:
    text = (
        "Accuracies are strict, by prompt. `not shown` means that the interval contains zero, so the difference may be "
        "due to chance."
    )
    return Section(
        "Criteria",
        text,
        [
            Table(
                ["claim", "measured", "verdict"],
                [[criterion.claim, criterion.measured, criterion.verdict] for criterion in found],
            )
        ],
    )


def to_result(outcomes: Outcomes, findings: Findings, *, config: Mapping[str, Any]) -> Result:
    """Build the result. An item is an evaluation, with its outcomes as strings of digits: 1 if all constraints are met.

    The n-th digit belongs to the n-th of `prompts`. `good` and `judged_right` are about the start's drafts.
    """
    return Result(
        name="self-play",
        config={
            **config,
            "bars": [
                [criterion.claim, criterion.measured, criterion.verdict] for criterion in criteria(outcomes, findings)
            ],
        },
        models={},
        figures=_figures(findings),
        items=[
            {
                "id": f"{run.arm}-{run.seed}/iteration-{iteration}",
                "prompts": " ".join(one.drafts),
                "strict": _digits(one.drafts, "strict"),
                "loose": _digits(one.drafts, "loose"),
                "searched_strict": _digits(one.searched, "strict"),
                "searched_loose": _digits(one.searched, "loose"),
                "good": _joined(row["good"] for row in one.judged.values()),
                "judged_right": _joined(map(judged_right, one.judged.values())),
            }
            for run in outcomes.runs
            for iteration, one in run.evaluations.items()
        ],
    )


def _figures(findings: Findings) -> dict[str, Interval | float]:
    figures: dict[str, Interval | float] = {}
    for point in findings.points:
        name = f"{point.arm}@{point.iteration}{'+search' if point.searched else ''}"
        for metric, value in point.accuracy.items():
            figures |= {f"{name}/{metric}": value, f"{name} - start/{metric}": point.gains[metric]}
        figures |= {f"{name}/prompt strict, seed {seed}": value for seed, value in point.by_seed.items()}
        figures[f"{name}/words"] = point.words
    for refiner in findings.refiners:
        name = f"{refiner.arm}@{refiner.iteration}/refiner"
        for key in ("accuracy", "f1", "success", "success_by_own_judge", "fixed"):
            figures[f"{name}/{key}"] = getattr(refiner, key)
        for key in ("accuracy_gain", "f1_gain", "fixed_gain"):
            figures[f"{name}/{key}"] = getattr(refiner, key)
    for made in findings.pairs:
        name = f"{made.arm}@{made.iteration}/pairs"
        for key in ("similarity", "chosen_right", "rejected_wrong", "both", "chosen_words", "rejected_words"):
            figures[f"{name}/{key}"] = getattr(made, key)
        figures |= {f"{name}/count, seed {seed}": float(count) for seed, count in made.counts.items()}
    if search := findings.search:
        figures |= {f"search - draft@{findings.last}/{metric}": value for metric, value in search.over_draft.items()}
        figures |= {f"search@{findings.last} - search@0/{metric}": v for metric, v in search.over_first_search.items()}
        figures["errors removed"] = search.errors_removed
        figures["errors removed by the search alone"] = search.errors_removed_by_search_alone
    figures |= _comparison_figures("by iteration", findings.contrasts)
    return figures | _comparison_figures("ablation", findings.ablations)


def _comparison_figures(kind: str, found: Iterable[ArmComparison]) -> dict[str, Interval | float]:
    return {
        f"{kind}: {one.arm}@{one.iteration} - {one.base}/{key}": getattr(one, key)
        for one in found
        for key in ("prompt", "instruction", "judge", "fixed")
    }


def _digits(rows: Rows, mode: str) -> str:
    return _joined(all(row[mode]) for row in rows.values())


def _joined(values: Iterable[bool]) -> str:
    return "".join("1" if value else "0" for value in values)
