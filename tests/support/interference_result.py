"""A made-up result of `spar bench interference`."""

from __future__ import annotations

from spar_training.reports.intervals import Interval
from spar_training.reports.result import Result
from spar_training.studies.interference.recipe import load_experiment
from spar_training.studies.interference.tasks import ARMS, TASKS

UP, SHARE = Interval(0.2, 0.1, 0.3, 72), Interval(0.5, 0.4, 0.6, 72)


def result() -> Result:
    """A result with all figures of the shipped experiment."""
    experiment = load_experiment("small-pair")
    figures: dict[str, Interval | float] = {}
    for task, settings in experiment.tasks.items():
        for measure in TASKS[task].measures:
            name = f"{task}/{measure}"
            figures[f"{name}/start"] = SHARE
            figures |= {f"{name}/{arm}/{step}": SHARE for arm in ARMS for step in settings.preference.steps}
            for pair in ("refined - start", "interfering - start", "refined - interfering"):
                figures[f"{name}/{pair}"] = UP
        figures |= {
            f"{task}/margin/{arm}/{step}": Interval(1, 0.9, 1.1, 3)
            for arm in ARMS
            for step in settings.preference.steps
        }
    return Result(name="interference", config=experiment.model_dump(mode="json"), models={}, figures=figures, items=[])
