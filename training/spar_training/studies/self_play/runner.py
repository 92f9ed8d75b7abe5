"""Run the unfinished runs of a study one after another, sharing work between arms; finished runs are only read."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from rich.console import Console

from spar_core.errors import ConfigError
from spar_training.evals.world.iteration import figures
from spar_training.pipeline.runner import failed_file
from spar_training.runs.folder import Iteration, Run, open_run, read_run
from spar_training.runs.recipe import Recipe
from spar_training.storage.files import write_json
from spar_training.studies.self_play.study import Arm, Study, run_folder

_FIRST_STEPS = {"prompts": "prompts.jsonl", "sample": "samples.jsonl", "judge": "judgements.jsonl"}


def copy_shared_work(donor: Run, run: Run) -> list[str]:
    """Copy from `donor` the files that would be the same in `run` and are missing; return their names."""
    taken = _share_evaluation(donor, run) if _same_start(donor.recipe, run.recipe) else []
    if _same_beginning(donor.recipe, run.recipe):
        taken += _share_first_steps(donor.iteration(1), run.iteration(1))
    return taken


def _same_start(one: Recipe, other: Recipe) -> bool:
    """Whether the start's drafts and their judgements in the evaluation are the same."""
    keys = ("start", "seed", "templates")
    measured = ("benchmark", "split", "prompts", "judged_prompts")
    return all(getattr(one, key) == getattr(other, key) for key in keys) and all(
        getattr(one.evaluation, key) == getattr(other.evaluation, key) for key in measured
    )


def _same_beginning(one: Recipe, other: Recipe) -> bool:
    keys = ("start", "seed", "templates", "prompts", "sample", "judge")
    return all(getattr(one, key) == getattr(other, key) for key in keys)


def _share_evaluation(donor: Run, run: Run) -> list[str]:
    ours, theirs = run.iteration(0), donor.iteration(0)
    if "evaluation" in ours.steps() or "evaluation" not in theirs.steps():
        return []
    budget = run.recipe.evaluation.budget
    searched = budget > 0 and budget == donor.recipe.evaluation.budget
    names = [f"evaluation/{name}.jsonl" for name in ("drafts", "judged", *(["searched"] if searched else []))]
    _take(theirs, ours, names)
    if searched or budget == 0:
        write_json(
            ours.file("steps.json"),
            {**ours.steps(), "evaluation": {"seconds": 0.0, **figures(ours.file("evaluation"))}},
        )
    return names


def _share_first_steps(theirs: Iteration, ours: Iteration) -> list[str]:
    if ours.steps() or not _FIRST_STEPS.keys() <= theirs.steps().keys():
        return []
    names = list(_FIRST_STEPS.values())
    _take(theirs, ours, names)
    steps = {name: {**theirs.steps()[name], "seconds": 0.0} for name in _FIRST_STEPS}
    write_json(ours.file("steps.json"), steps)
    return names


def _take(theirs: Iteration, ours: Iteration, names: Sequence[str]) -> None:
    """Link or copy the files with their failed items, and delete the journals of the same work."""
    for name in names:
        for part in (failed_file(Path(name)), Path(name)):
            if (source := theirs.folder / part).exists():
                _link(source, ours.folder / part)
        ours.file(f"{name}.journal").unlink(missing_ok=True)
    write_json(ours.file("shared.json"), {"from": str(theirs.folder), "files": list(names)})


def _link(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    scratch = target.with_name(f"{target.name}.{os.getpid()}.tmp")
    try:
        # Files are replaced and never modified, so that hard links are safe.
        os.link(source, scratch)
    except OSError:
        shutil.copyfile(source, scratch)
    os.replace(scratch, target)


class RunLoop(Protocol):
    """Executes a run to its end."""

    async def __call__(self, run: Run) -> None: ...


@dataclass(frozen=True, kw_only=True)
class StudyRunner:
    """Runs a study in the folder `out`."""

    study: Study
    out: Path
    run_loop: RunLoop
    console: Console

    async def run(self) -> None:
        """Run every arm with every seed, the reference first, since the others share its work and its number of pairs.

        Raises:
            ConfigError: a folder holds an unfinished run with another recipe.
            DataError, BackendError, TrainingError: a run failed.
        """
        for seed in self.study.seeds:
            for arm in self.study.arms:
                await self._run_arm(arm, seed)

    async def _run_arm(self, arm: Arm, seed: int) -> None:
        folder = run_folder(self.out, arm, seed)
        if is_finished(folder, arm):
            self.console.print(f"{folder.name}: finished before", soft_wrap=True, markup=False)
            return
        run = open_run(folder, recipe_for(self.study, arm, seed, out=self.out))
        for donor in self._donors(arm, seed):
            if copied := copy_shared_work(donor, run):
                self.console.print(
                    f"{folder.name}: shares {', '.join(copied)} with {donor.folder.name}",
                    soft_wrap=True,
                    markup=False,
                )
        self.console.print(f"{folder.name}: {arm.label}, seed {seed}", soft_wrap=True, markup=False)
        await self.run_loop(run)

    def _donors(self, arm: Arm, seed: int) -> list[Run]:
        folders = [run_folder(self.out, other, seed) for other in self.study.arms if other is not arm]
        return [read_run(folder) for folder in folders if (folder / "run.json").exists()]


def is_finished(folder: Path, arm: Arm) -> bool:
    """Whether the run in the folder has been measured after each of the arm's iterations."""
    if not (folder / "run.json").exists():
        return False
    run = read_run(folder)
    return all("evaluation" in run.iteration(number).steps() for number in range(arm.recipe.iterations + 1))


def recipe_for(study: Study, arm: Arm, seed: int, *, out: Path) -> Recipe:
    """Return the recipe of an arm's run with a seed, including the caps of its pairs.

    Raises:
        ConfigError: the arm that it is to have as many pairs as has not collected them.
    """
    values = {**arm.recipe.model_dump(), "seed": seed}
    if arm.equal_pairs_to is not None:
        values["actor_data"] |= {"max_pairs": pair_caps(study, arm, seed, out=out)}
    return Recipe.model_validate(values)


def pair_caps(study: Study, arm: Arm, seed: int, *, out: Path) -> list[int]:
    """Return how many pairs the arm may have in each iteration, from the arm that `equal_pairs_to` names.

    Raises:
        ConfigError: that arm has not collected them.
    """
    other = study.arm(str(arm.equal_pairs_to))
    folder = run_folder(out, other, seed)
    pairs: list[int] = []
    for number in range(1, other.recipe.iterations + 1):
        made = Run(folder, other.recipe).iteration(number).steps().get("data")
        if made is None:
            raise ConfigError(
                f"{folder}: iteration {number} has no pairs yet, but {arm.name} needs their number; finish it first"
            )
        pairs.append(int(made["pairs"]))
    return [sum(pairs)] if arm.recipe.iterations == 1 else pairs
