"""Train one role of an iteration: its job, and the process that runs it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from rich.console import Console

from spar_core.cpu import usable_cores
from spar_core.errors import ConfigError
from spar_core.seeds import derive_seed
from spar_training.methods import method_of
from spar_training.pipeline.stage import Role
from spar_training.runs.folder import Iteration
from spar_training.runs.recipe import RECIPES, Recipe
from spar_training.storage.files import Row
from spar_training.storage.provenance import data_digest
from spar_training.trainers.job import Job, parse_job
from spar_training.trainers.launch import train
from spar_training.trainers.lines import TrainingLines


def job_for(recipe: Recipe, iteration: Iteration, role: Role, *, start: Path) -> Job:
    """The training of a role from the model in `start`, with the keys of the recipe's `training`.

    Raises:
        ConfigError: a key of the recipe's training is invalid.
    """
    data = method_of(recipe).roles[role]
    settings = recipe.training.actor if role == "actor" else recipe.training.refiner
    fixed = {
        "kind": data.kind,
        "model": str(start),
        "data": [str(iteration.file(data.file))],
        "out": str(iteration.file(role)),
        "seed": derive_seed(recipe.seed, "train", role, iteration.number),
        "recipe": {
            "name": recipe.name,
            "sha256": data_digest(recipe.fingerprint_fields()),
            "seed": recipe.seed,
            "iteration": iteration.number,
        },
    }
    return parse_job({"threads": usable_cores(), **settings, **fixed}, source=f"training.{role}")


def train_role(recipe: Recipe, iteration: Iteration, role: Role, *, start: Path, console: Console) -> None:
    """Train a role unless it is finished; resumes from the last checkpoint."""
    if role in iteration.steps():
        return
    job = job_for(recipe, iteration, role, start=start)
    last: Row = {}
    lines = TrainingLines(
        f"iteration {iteration.number}, {role}", lambda line: console.print(line, soft_wrap=True, markup=False)
    )

    def on_progress(row: Row) -> None:
        lines(row)
        if row.get("loss") is not None:
            last.update(row)

    with iteration.step(role) as counts:
        console.print(
            f"iteration {iteration.number}, {role}: training by {job.kind} from {start}", soft_wrap=True, markup=False
        )
        train(job, on_progress=on_progress, launcher=launcher_of(recipe))
        counts |= {"steps": last.get("step"), "loss": last.get("loss"), **_accuracy(last)}


def launcher_of(recipe: Recipe) -> tuple[str, ...]:
    """The command that starts a training. `python` is this interpreter; a program beside it is found without PATH.

    Raises:
        ConfigError: the command has an unknown field.
    """
    if recipe.training.launcher == ("python",):
        return (sys.executable, "-m")
    try:
        first, *more = (word.format(recipes=RECIPES) for word in recipe.training.launcher)
    except (KeyError, IndexError, ValueError) as error:
        raise ConfigError(f"training.launcher: unknown field {error}; the only field is {{recipes}}") from error
    beside = Path(sys.executable).parent / first
    return (str(beside) if beside.is_file() else first, *more)


def _accuracy(row: Row) -> dict[str, Any]:
    return {"pairs_told_apart": row["rewards/accuracies"]} if "rewards/accuracies" in row else {}
