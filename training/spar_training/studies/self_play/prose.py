"""The report's sentences: what the findings say, computed, whatever comes out."""

from __future__ import annotations

from collections.abc import Sequence

from spar_training.reports.intervals import Interval
from spar_training.studies.self_play.analysis import Findings
from spar_training.studies.self_play.estimates import Against, Point
from spar_training.studies.self_play.results import Outcomes
from spar_training.studies.self_play.study import Arm


def place(iteration: int, *, searched: bool = False) -> str:
    """What the rows of tables are called."""
    return (f"iteration {iteration}" if iteration else "start") + (" + search" if searched else "")


def told(gain: Interval) -> str:
    """A difference with what it shows."""
    if not gain.n:
        return "not measured"
    shown = "no difference shown" if gain.low <= 0 <= gain.high else "above zero" if gain.low > 0 else "below zero"
    return f"{gain.signed()} points ({shown})"


def listed(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers))


def summary(outcomes: Outcomes, findings: Findings) -> str:
    """The study in short."""
    name = outcomes.study.reference.name
    start, end = findings.point(name, 0), findings.point(name, findings.last)
    actor: list[str] = []
    if start:
        actor.append(f"The start's actor meets all constraints of {_strict(start)} percent of the prompts.")
    if end and findings.last:
        actor.append(f"After iteration {findings.last} it is {_strict(end)}: {told(end.gains['prompt strict'])}.")
    paragraphs = [" ".join([*actor, *_searched(outcomes, findings)])]
    if refiner := findings.refiner(name, findings.last) if findings.last else None:
        paragraphs.append(
            f"The judge is right about {refiner.accuracy.percent()} percent of the start's drafts: "
            f"{told(refiner.accuracy_gain)} since the start."
        )
    beside = [findings.last_contrast(arm.name) for arm in outcomes.study.arms[1:]]
    others = [one for one in beside if one and one.base != name]
    paragraphs.append("\n".join(f"- {_compared(outcomes, one)}" for one in [*findings.ablations, *others]))
    if outcomes.missing() or outcomes.differing():
        paragraphs.append("The study is not complete: what is missing stands at the end.")
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
        f"With the search at budget {reference.recipe.evaluation.budget} on top it is {_strict(searched)}: "
        f"{told(search.over_draft['prompt strict'])} over its drafts.",
        f"Together they remove {removed.percent()} percent of the start's errors; the search alone removes "
        f"{alone.percent()}, so self-play adds {told(search.over_first_search['prompt strict'])} to the search.",
    ]


def _strict(point: Point) -> str:
    return point.accuracy["prompt strict"].percent()


def _compared(outcomes: Outcomes, one: Against) -> str:
    label, base = (outcomes.study.arm(arm).label for arm in (one.arm, one.base))
    return f"{label[:1].upper()}{label[1:]}: {told(one.prompt)} against {base}."


def most(arm: Arm) -> str:
    """How many pairs an iteration trains on at most, where that is one number for all."""
    cap = arm.recipe.actor_data.max_pairs
    return f", at most {cap} an iteration" if isinstance(cap, int) else ""


def contrast(contrasts: Sequence[Against]) -> str:
    """One sentence: after which iterations refined pairs are ahead, and where nothing is shown."""
    ahead = [one.iteration for one in contrasts if one.prompt.high < 0]
    behind = [one.iteration for one in contrasts if one.prompt.low > 0]
    open_ = [one.iteration for one in contrasts if one.prompt.low <= 0 <= one.prompt.high]
    parts = [
        f"{what} after iteration {listed(numbers)}"
        for what, numbers in (
            ("refined pairs are ahead", ahead),
            ("sampled pairs are ahead", behind),
            ("no difference is shown", open_),
        )
        if numbers
    ]
    return f"Strictly, by prompt: {'; '.join(parts)}." if parts else ""
