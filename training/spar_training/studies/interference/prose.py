"""The report's sentences, computed from the figures."""

from __future__ import annotations

from typing import Final

from spar_training.reports.intervals import Interval
from spar_training.studies.interference.analysis import Figures

ABOUT: Final = {
    "letters": (
        "The prompt asks for an exact number of copies of a letter and leaves the case open; the start model was "
        "taught both cases. A rejected answer is one of its own, in lower case and of the wrong length. The refined "
        "chosen answer has the right length, in lower case; the interfering one has the same length, in capitals."
    ),
    "story": (
        "The prompt gives a story's first and last sentence. A rejected answer is one of the start model's own that "
        "lacks one or both of them. The refined chosen answer is the same story with these sentences inserted; the "
        "interfering one is another correct story with as many sentences."
    ),
}
TITLES: Final = {"letters": "copies of a letter", "story": "a story between two sentences"}


def effect(change: Interval) -> str:
    """Say what pairs do to a share, by whether the interval of the change excludes zero."""
    return "raise it to" if change.low > 0 else "lower it to" if change.high < 0 else "leave it near"


def percent(value: Interval) -> str:
    return f"{100 * value.mean:.1f}%"


def outcome(figures: Figures, task: str, measure: str, last: int) -> str:
    """Say how a measure starts and ends in both arms."""
    name = f"{task}/{measure}"
    parts = [
        f"{arm} pairs {effect(figures[f'{name}/{arm} - start'])} {percent(figures[f'{name}/{arm}/{last}'])} "
        f"({figures[f'{name}/{arm} - start'].signed()})"
        for arm in ("refined", "interfering")
    ]
    return f"{measure.capitalize()}: {percent(figures[f'{name}/start'])} at the start; {parts[0]}, {parts[1]}."


def verdict(figures: Figures, task: str) -> str:
    """Say whether the paper's finding is confirmed, by the intervals of paired differences."""
    return _letters(figures) if task == "letters" else _story(figures)


def _letters(figures: Figures) -> str:
    ahead = figures["letters/right length/refined - interfering"]
    taught_case = figures["letters/lower case/interfering - start"].high < 0
    taught_length = figures["letters/right length/interfering - start"].low > 0
    case = "the interfering pairs teach capitals" if taught_case else "the interfering pairs do not teach capitals"
    length = "and the length as well" if taught_length else "and not the length"
    return (
        f"{_ahead(ahead, 'right length')} The paper finds that interfering pairs teach the case, not the length: "
        f"here {case} {length}."
    )


def _story(figures: Figures) -> str:
    ahead = figures["story/both/refined - interfering"]
    change = figures["story/both/interfering - start"]
    below = (
        "so they do here"
        if change.high < 0
        else f"here they end above it ({change.signed()})"
        if change.low > 0
        else f"here no change is shown ({change.signed()})"
    )
    return f"{_ahead(ahead, 'both sentences')} In the paper, interfering pairs end below the start model: {below}."


def _ahead(difference: Interval, what: str) -> str:
    if difference.low > 0:
        return f"As in the paper, refined pairs end ahead of interfering ones in {what}: {difference.signed()}."
    if difference.high < 0:
        return f"Unlike in the paper, interfering pairs end ahead of refined ones in {what}: {difference.signed()}."
    return (
        f"The paper's order is not confirmed: refined minus interfering pairs in {what} is {difference.signed()}, an "
        "interval that includes zero."
    )
