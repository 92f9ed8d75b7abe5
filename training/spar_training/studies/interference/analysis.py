"""The figures of a task: shares by step, differences at the last step, and DPO's margins.

A figure is called TASK/MEASURE/WHAT: the share at `start`, at `ARM/STEP`, and the differences at the last step, paired
by prompt: `refined - start`, `interfering - start`, `refined - interfering`. The measure `margin` is DPO's: by how much
the implicit rewards of the chosen answers exceed those of the rejected ones, over the steps since the previous one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean

from spar_training.reports.intervals import Interval, difference_interval, interval
from spar_training.storage.files import Row, read_rows
from spar_training.studies.interference.study import Study, Training
from spar_training.studies.interference.tasks import ARMS, Arm
from spar_training.trainers.progress import read_progress
from spar_training.trainers.status import PROGRESS

Figures = Mapping[str, Interval]


def figures_of(study: Study) -> dict[str, Interval]:
    """Compute all figures of a task; samples and seeds are averaged by prompt, then prompts are resampled."""
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
            found[f"{name}/{one} - {other}"] = difference_interval(
                [a - b for a, b in zip(ends[one], ends[other], strict=True)]
            )  # fmt: skip
    return found | dict(_margins(study))


def items_of(study: Study) -> list[Row]:
    """Return the measurements of all answers, one row per model and prompt."""
    names = ["start", *(f"{one.name}-{step}" for one in study.trainings for step in study.settings.preference.steps)]
    return [
        {**row, "id": f"{study.task.name}/{name}/{row['id']}"}
        for name in names
        for row in read_rows(study.measurement(name))
    ]


def _of(study: Study, arm: Arm) -> list[Training]:
    return [one for one in study.trainings if one.arm == arm]


def _shares(study: Study, names: Sequence[str], measure: str) -> list[float]:
    """Return each prompt's share of answers with the measured property, over several measurements, ordered by id."""
    by_prompt: dict[str, list[bool]] = {}
    for name in names:
        for row in read_rows(study.measurement(name)):
            by_prompt.setdefault(row["id"], []).extend(row[measure])
    return [fmean(by_prompt[prompt]) for prompt in sorted(by_prompt)]


def _margins(study: Study) -> Iterator[tuple[str, Interval]]:
    for arm in ARMS:
        logs = [list(read_progress(study.job(one).out / PROGRESS)) for one in _of(study, arm)]
        before = 0
        for step in study.settings.preference.steps:
            means = [_margin(log, before, step) for log in logs]
            # With so few seeds, the interval is their range.
            found = Interval(fmean(means), min(means), max(means), len(means))
            yield f"{study.task.name}/margin/{arm}/{step}", found
            before = step


def _margin(log: Sequence[Row], after: int, until: int) -> float:
    return fmean(
        [row["rewards/margins"] for row in log if after < row["step"] <= until and "rewards/margins" in row]
    )  # fmt: skip
