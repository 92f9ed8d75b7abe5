"""`spar bench interference`: train both arms of each task, measure them by step, and write the report."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, Final, get_args

from rich.console import Console

from spar_core.cpu import usable_cores
from spar_core.errors import ConfigError
from spar_training.evals.run_folder import finish, prepare_folder
from spar_training.reports.result import Result, model_lineage
from spar_training.runs.start import named_model
from spar_training.studies.interference.analysis import figures_of, items_of
from spar_training.studies.interference.recipe import Experiment, TaskName, load_experiment
from spar_training.studies.interference.report import to_report
from spar_training.studies.interference.study import Study
from spar_training.studies.interference.tasks import TASKS
from spar_training.world.prompt import Split

# A training takes about 700 MiB of memory.
_MAX_WORKERS: Final = 8


def run(*, recipe: str, split: str | None, out: Path, console: Console | None = None) -> None:
    """Run or resume the experiment.

    Raises:
        ConfigError: the recipe or the split is invalid, or `out` holds another experiment.
        DataError: the start model gives too few wrong answers, or the training data is invalid.
    """
    screen = console or Console(stderr=True)
    experiment = _with_split(load_experiment(recipe), split)
    model = _model(experiment)
    config: dict[str, Any] = experiment.model_dump(mode="json")
    prepare_folder(out, config)
    studies = [_study(experiment, name, model, out, screen) for name in experiment.tasks]
    # Invalid keys are reported before anything is trained.
    for study in studies:
        study.check()
    for study in studies:
        asyncio.run(study.run())
    result = Result(
        name="interference",
        config=config,
        models={"start from": model_lineage(model)},
        figures={name: value for study in studies for name, value in figures_of(study).items()},
        items=[item for study in studies for item in items_of(study)],
    )
    finish(out, result, to_report(result), console)


def _with_split(experiment: Experiment, split: str | None) -> Experiment:
    if split is None:
        return experiment
    if split not in get_args(Split):
        raise ConfigError(f"--split {split}: choose one of {', '.join(get_args(Split))}")
    return experiment.model_copy(update={"evaluation": experiment.evaluation.model_copy(update={"split": split})})


def _model(experiment: Experiment) -> Path:
    folder = named_model(experiment.model, "actor")
    if not (folder / "config.json").exists():
        raise ConfigError(f"model: there is no model in {folder}")
    return folder


def _study(experiment: Experiment, name: TaskName, model: Path, out: Path, console: Console) -> Study:
    return Study(
        task=TASKS[name],
        settings=experiment.tasks[name],
        evaluation=experiment.evaluation,
        model=model,
        seed=experiment.seed,
        seeds=experiment.seeds,
        folder=out / name,
        workers=max(1, min(_MAX_WORKERS, usable_cores())),
        console=console,
    )
