"""A study's report as plain values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from spar_training.reports.intervals import Interval
from spar_training.reports.page import Report, Section, Table
from spar_training.reports.result import Result
from spar_training.studies.self_play.analysis import Findings
from spar_training.studies.self_play.criteria import Bar, bars
from spar_training.studies.self_play.estimates import Against
from spar_training.studies.self_play.prose import listed, summary
from spar_training.studies.self_play.results import Outcomes, Rows
from spar_training.studies.self_play.sections import ablation_section, contrast_sections, progress_section


def method_section(outcomes: Outcomes, config: Mapping[str, Any]) -> Section:
    """The method in words, times, versions, and the command."""
    study = outcomes.study
    recipe = study.reference.recipe
    lines = [
        f"Recipe `{config['recipe']}`, seeds {listed(study.seeds)}. A seed is that of the run's prompts, samples, "
        "votes, searches and trainings, and of the evaluation's drafts.",
        f"Each iteration: {recipe.prompts.per_iteration} fresh prompts, {recipe.sample.responses} answers to each, "
        f"{recipe.judge.votes} votes on each answer, and from one answer judged No of each prompt a search "
        f"({recipe.search.algorithm}, branch {recipe.search.branch}, beam {recipe.search.beam}, depth "
        f"{recipe.search.max_depth}).",
        "The labels of all training data are the refiner's own votes. Verifiers (`spar_core/checks`) measure; they "
        "choose, sort and weigh no row of it.",
        f"Evaluation: {_measured_on(outcomes)}. They are of the small world; their seeds and combinations of "
        "constraints occur in no training prompt.",
        "Intervals: 95%, percentile bootstrap over prompts, a prompt with all its seeds; differences are between the "
        "same prompts with the same seeds. They tell what other prompts would change, not what other trainings would: "
        "for that the seeds stand side by side. Each interval is for itself, and of twenty one may miss by chance.",
        *[f"Arm `{arm.name}` ({arm.label}){_caps(arm.equal_pairs_to)}" for arm in study.arms],
        *[f"Made with {made}." for made in _once(run.made_with for run in outcomes.runs)],
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
    return "; ".join(f"{prompts} for {', '.join(_once(names))}" for prompts, names in arms.items())


def _once(told: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(told))


def _caps(other: str | None) -> str:
    return f": at most as many pairs as `{other}` had." if other else "."


def _times(outcomes: Outcomes) -> Table:
    arms = {arm.name: outcomes.seconds(arm.name) for arm in outcomes.study.arms if outcomes.of(arm.name)}
    steps = _once(step for of_arm in arms.values() for step in of_arm)
    rows = [
        [arm, *(f"{of_arm.get(step, 0) / 60:.1f}" for step in steps), f"{sum(of_arm.values()) / 60:.1f}"]
        for arm, of_arm in arms.items()
    ]
    return Table(["arm", *steps, "all"], rows, "Minutes by step, all seeds and iterations; what arms share counts once")


def missing_section(outcomes: Outcomes) -> Section | None:
    """What the study asks for and the folders have not; None where all is there."""
    lines = [*outcomes.missing(), *outcomes.differing()]
    if not lines:
        return None
    text = "The figures are those of what is there; each table says which seeds."
    return Section("What is missing", text + "\n\n" + "\n".join(f"- {line}" for line in lines))


def to_report(
    outcomes: Outcomes, findings: Findings, *, config: Mapping[str, Any], extra: Sequence[Section] = ()
) -> Report:
    """The report; a part that was not run is left out, and said to be missing. `extra` stands before the method."""
    found = bars(outcomes, findings)
    sections = [
        _bars_section(found),
        progress_section(outcomes, findings),
        *contrast_sections(outcomes, findings),
        ablation_section(outcomes, findings),
        *extra,
        missing_section(outcomes),
        method_section(outcomes, config),
    ]
    return Report("Self-play", summary(outcomes, findings), [section for section in sections if section])


def _bars_section(found: Sequence[Bar]) -> Section:
    text = (
        "Accuracies are strict, by prompt. `not shown` means that the interval holds zero, so that the difference may "
        "be chance."
    )
    return Section(
        "What was to be shown",
        text,
        [Table(["claim", "measured", "verdict"], [[b.claim, b.measured, b.verdict] for b in found])],
    )


def to_result(outcomes: Outcomes, findings: Findings, *, config: Mapping[str, Any]) -> Result:
    """The result. An item is an evaluation: its outcomes as strings of digits, 1 for all constraints met.

    The n-th digit is that of the n-th of `prompts`. `good` and `judged_right` are of the start's drafts.
    """
    return Result(
        name="self-play",
        config={**config, "bars": [[bar.claim, bar.measured, bar.verdict] for bar in bars(outcomes, findings)]},
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
                "judged_right": _joined(row["good"] is row["accepted"] for row in one.judged.values()),
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
    for refiner in findings.refining:
        name = f"{refiner.arm}@{refiner.iteration}/refiner"
        for key in ("accuracy", "f1", "success", "success_by_own_judge", "mended"):
            figures[f"{name}/{key}"] = getattr(refiner, key)
        for key in ("accuracy_gain", "f1_gain", "mended_gain"):
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
    figures |= _against("by iteration", findings.contrasts)
    return figures | _against("ablation", findings.ablations)


def _against(kind: str, found: Iterable[Against]) -> dict[str, Interval | float]:
    return {
        f"{kind}: {one.arm}@{one.iteration} - {one.base}/{key}": getattr(one, key)
        for one in found
        for key in ("prompt", "instruction", "judge", "mended")
    }


def _digits(rows: Rows, mode: str) -> str:
    return _joined(all(row[mode]) for row in rows.values())


def _joined(values: Iterable[bool]) -> str:
    return "".join("1" if value else "0" for value in values)
