"""The report's sentences, computed from the findings, whichever way they point."""

from __future__ import annotations

from collections.abc import Sequence

from spar_training.reports.intervals import Interval
from spar_training.studies.self_play.analysis import Findings
from spar_training.studies.self_play.estimates import ArmComparison, Point
from spar_training.studies.self_play.results import Outcomes
from spar_training.studies.self_play.study import Arm


def row_label(iteration: int, *, searched: bool = False) -> str:
    """Return the label of an iteration's row in a table."""
    return (f"iteration {iteration}" if iteration else "start") + (" + search" if searched else "")


def format_gain(gain: Interval) -> str:
    """Format a difference and what it shows."""
    if not gain.n:
        return "not measured"
    shown = "no difference shown" if gain.low <= 0 <= gain.high else "above zero" if gain.low > 0 else "below zero"
    return f"{gain.signed()} points ({shown})"


def join_numbers(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers))


def summary(outcomes: Outcomes, findings: Findings) -> str:
    """Summarize the study."""
    name = outcomes.study.reference.name
    start, end = findings.point(name, 0), findings.point(name, findings.last)
    actor: list[str] = []
    if start:
        actor.append(f"The start's actor meets all constraints in {_strict(start)} percent of the prompts.")
    if end and findings.last:
        actor.append(
            f"After iteration {findings.last} it does so in {_strict(end)}: {format_gain(end.gains['prompt strict'])}."
        )
    paragraphs = [" ".join([*actor, *_searched(outcomes, findings)])]
    if refiner := findings.refiner(name, findings.last) if findings.last else None:
        paragraphs.append(
            f"The judge is right about {refiner.accuracy.percent()} percent of the start's drafts: "
            f"{format_gain(refiner.accuracy_gain)} compared with the start."
        )
    beside = [findings.last_contrast(arm.name) for arm in outcomes.study.arms[1:]]
    others = [one for one in beside if one and one.base != name]
    paragraphs.append("\n".join(f"- {_compared(outcomes, one)}" for one in [*findings.ablations, *others]))
    if outcomes.missing() or outcomes.differing():
        paragraphs.append("The study is incomplete: the missing parts are listed at the end.")
    return "\n\n".join(paragraph for paragraph in paragraphs if paragraph)


def _searched(outcomes: Outcomes, findings: Findings) -> list[str]:
    search = findings.search
    if search is None:
        return []
    reference = outcomes.study.reference
    searched = findings.point(reference.name, findings.last, searched=True)
    assert searched is not None
    removed, alone = search.errors_removed, search.errors_removed_by_search_alone
    return [
        f"With a search at budget {reference.recipe.evaluation.budget} it does so in {_strict(searched)}: "
        f"{format_gain(search.over_draft['prompt strict'])} over its drafts.",
        f"Together, self-play and search remove {removed.percent()} percent of the start's errors; the search alone "
        f"removes {alone.percent()}, "
        f"and self-play adds {format_gain(search.over_first_search['prompt strict'])} to it.",
    ]


def _strict(point: Point) -> str:
    return point.accuracy["prompt strict"].percent()


def _compared(outcomes: Outcomes, one: ArmComparison) -> str:
    label, base = (outcomes.study.arm(arm).label for arm in (one.arm, one.base))
    return f"{label[:1].upper()}{label[1:]}: {format_gain(one.prompt)} compared with {base}."


def cap_suffix(arm: Arm) -> str:
    """Return a suffix with the cap of pairs per iteration, if it is the same for all iterations."""
    cap = arm.recipe.actor_data.max_pairs
    return f", at most {cap} an iteration" if isinstance(cap, int) else ""


def contrast_sentence(contrasts: Sequence[ArmComparison]) -> str:
    """Say in one sentence after which iterations refined pairs are ahead, and where no difference is shown."""
    ahead = [one.iteration for one in contrasts if one.prompt.high < 0]
    behind = [one.iteration for one in contrasts if one.prompt.low > 0]
    open_ = [one.iteration for one in contrasts if one.prompt.low <= 0 <= one.prompt.high]
    parts = [
        f"{what} after iteration {join_numbers(numbers)}"
        for what, numbers in (
            ("refined pairs are ahead", ahead),
            ("sampled pairs are ahead", behind),
            ("no difference is shown", open_),
        )
        if numbers
    ]
    return f"Strictly, by prompt: {'; '.join(parts)}." if parts else ""
