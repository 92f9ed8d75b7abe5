"""Train one model of an iteration as a job of its own."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from rich.console import Console

from spar_core.cores import usable_cores
from spar_core.seeds import derive_seed
from spar_training.files import Row
from spar_training.recipe import Recipe
from spar_training.runs import Iteration
from spar_training.stages.base import Role
from spar_training.trainers.job import Job, parse_job
from spar_training.trainers.launch import train


def job_for(recipe: Recipe, iteration: Iteration, role: Role, *, start: Path) -> Job:
    """DPO for an actor, fine-tuning on its own chosen words for a refiner; the recipe's keys go before.

    Raises:
        ConfigError: the recipe's training has a key that is wrong.
    """
    kind, data = ("dpo", "dpo.jsonl") if role == "actor" else ("sft", "rft.jsonl")
    given = dict(recipe.training.actor if role == "actor" else recipe.training.refiner)
    fixed = {
        "kind": kind,
        "model": str(start),
        "data": [str(iteration.file(data))],
        "out": str(iteration.file(role)),
        "seed": derive_seed(recipe.seed, "train", role, iteration.number),
    }
    return parse_job({"threads": usable_cores(), **given, **fixed}, source=f"training.{role}")


def train_role(recipe: Recipe, iteration: Iteration, role: Role, *, start: Path, console: Console) -> None:
    """Train, unless it is done; goes on from the last checkpoint."""
    if role in iteration.steps():
        return
    job = job_for(recipe, iteration, role, start=start)
    last: Row = {}

    def hear(row: Row) -> None:
        if row.get("loss") is not None:
            last.update(row)

    with iteration.step(role) as counts:
        console.print(f"iteration {iteration.number}, {role}: training by {job.kind} from {start}")
        train(job, tell=hear, launcher=_launcher(recipe.training.launcher))
        counts |= {"steps": last.get("step"), "loss": last.get("loss"), **_accuracy(last)}


def _launcher(words: tuple[str, ...]) -> tuple[str, ...]:
    """`python` is this one."""
    return (sys.executable, "-m") if words == ("python",) else words


def _accuracy(row: Row) -> dict[str, Any]:
    return {"pairs_told_apart": row["rewards/accuracies"]} if "rewards/accuracies" in row else {}
