"""What the measurements of a task say: shares along the steps, how they end, and how the pairs were told apart.

A figure is called TASK/MEASURE/WHAT: the share at `start`, at `ARM/STEP`, and the differences of the last step, paired
by prompt: `refined - start`, `interfering - start`, `refined - interfering`. A measure called `margin` is DPO's: by how
much the chosen answers' implicit rewards are above the rejected ones', over the steps since the step before.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean

from spar_training.reports.intervals import Interval, interval
from spar_training.storage.files import Row, read_rows
from spar_training.studies.interference.study import Study, Training
from spar_training.studies.interference.tasks import ARMS, Arm
from spar_training.trainers.progress import read_progress
from spar_training.trainers.status import PROGRESS

Figures = Mapping[str, Interval]


def figures_of(study: Study) -> dict[str, Interval]:
    """All figures of a task; a prompt's samples and seeds are averaged, then the prompts are resampled."""
    found: dict[str, Interval] = {}
    for measure in study.task.measures:
        name = f"{study.task.name}/{measure}"
        shares = {"start": _shares(study, ["start"], measure)}
        for arm in ARMS:
            for step in study.settings.preference.steps:
                names = [f"{one.name}-{step}" for one in _of(study, arm)]
                shares[f"{arm}/{step}"] = _shares(study, names, measure)
        found |= {f"{name}/{what}": interval(values) for what, values in shares.items()}
        last = study.settings.preference.steps[-1]
        ends = {"start": shares["start"]}
        for arm in ARMS:
            ends[arm] = shares[f"{arm}/{last}"]
        for one, other in (("refined", "start"), ("interfering", "start"), ("refined", "interfering")):
            found[f"{name}/{one} - {other}"] = interval(
                [a - b for a, b in zip(ends[one], ends[other], strict=True)]
            )  # fmt: skip
    return found | dict(_margins(study))


def items_of(study: Study) -> list[Row]:
    """What is true of each answer, a row a model and prompt."""
    names = ["start", *(f"{one.name}-{step}" for one in study.trainings for step in study.settings.preference.steps)]
    return [
        {**row, "id": f"{study.task.name}/{name}/{row['id']}"}
        for name in names
        for row in read_rows(study.measured(name))
    ]


def _of(study: Study, arm: Arm) -> list[Training]:
    return [one for one in study.trainings if one.arm == arm]


def _shares(study: Study, names: Sequence[str], measure: str) -> list[float]:
    """Of each prompt, the share of its answers that have what is measured, over several measurements; by its id."""
    by_prompt: dict[str, list[bool]] = {}
    for name in names:
        for row in read_rows(study.measured(name)):
            by_prompt.setdefault(row["id"], []).extend(row[measure])
    return [fmean(by_prompt[prompt]) for prompt in sorted(by_prompt)]


def _margins(study: Study) -> Iterator[tuple[str, Interval]]:
    for arm in ARMS:
        logs = [list(read_progress(study.job(one).out / PROGRESS)) for one in _of(study, arm)]
        before = 0
        for step in study.settings.preference.steps:
            means = [_margin(log, before, step) for log in logs]
            # The seeds are few, so there is no interval of them but their range.
            found = Interval(fmean(means), min(means), max(means), len(means))
            yield f"{study.task.name}/margin/{arm}/{step}", found
            before = step


def _margin(log: Sequence[Row], after: int, until: int) -> float:
    return fmean(
        [row["rewards/margins"] for row in log if after < row["step"] <= until and "rewards/margins" in row]
    )  # fmt: skip
