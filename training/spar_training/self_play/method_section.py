"""How a study's figures came about, what is missing, and how to make them again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from spar_training.reports.page import Section, Table
from spar_training.self_play.outcomes import Outcomes
from spar_training.self_play.wording import listed


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
