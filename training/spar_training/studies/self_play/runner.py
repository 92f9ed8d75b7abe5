"""Run what is not finished of a study, one run after another; a run that is finished is only read."""

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
from spar_training.studies.self_play.study import Arm, Study, folder_of

_FIRST_STEPS = {"prompts": "prompts.jsonl", "sample": "samples.jsonl", "judge": "judgements.jsonl"}


def share(donor: Run, run: Run) -> list[str]:
    """Take over from `donor` what is the same in `run` and not there yet; the names of what was taken."""
    taken = _share_evaluation(donor, run) if _same_start(donor.recipe, run.recipe) else []
    if _same_beginning(donor.recipe, run.recipe):
        taken += _share_first_steps(donor.iteration(1), run.iteration(1))
    return taken


def _same_start(one: Recipe, other: Recipe) -> bool:
    """Whether the start pair's drafts and their judgements in the evaluation are the same."""
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
    """Link or copy the files, with what was set aside; a half-done piece of the same work is no longer needed."""
    for name in names:
        for part in (failed_file(Path(name)), Path(name)):
            if (source := theirs.folder / part).exists():
                _link(source, ours.folder / part)
        ours.file(f"{name}.journal").unlink(missing_ok=True)
    write_json(ours.file("shared.json"), {"from": str(theirs.folder), "files": list(names)})


def _link(source: Path, place: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    scratch = place.with_name(f"{place.name}.{os.getpid()}.tmp")
    try:
        # Files are replaced, never changed, so two names for one are safe.
        os.link(source, scratch)
    except OSError:
        shutil.copyfile(source, scratch)
    os.replace(scratch, place)


class Go(Protocol):
    """Runs a run to its end."""

    async def __call__(self, run: Run) -> None: ...


@dataclass(frozen=True, kw_only=True)
class Playing:
    """The runs of a study under `out`."""

    study: Study
    out: Path
    go: Go
    console: Console

    async def all(self) -> None:
        """Every arm with every seed, the reference first: the others take over from it, and are given as many pairs.

        Raises:
            ConfigError: a folder holds a run that is not finished and was begun with another recipe.
            DataError, BackendError, TrainingError: as a run says.
        """
        for seed in self.study.seeds:
            for arm in self.study.arms:
                await self._one(arm, seed)

    async def _one(self, arm: Arm, seed: int) -> None:
        folder = folder_of(self.out, arm, seed)
        if is_finished(folder, arm):
            self.console.print(f"{folder.name}: finished before", soft_wrap=True, markup=False)
            return
        run = open_run(folder, wanted(self.study, arm, seed, out=self.out))
        for donor in self._donors(arm, seed):
            if taken := share(donor, run):
                self.console.print(
                    f"{folder.name}: takes over {', '.join(taken)} from {donor.folder.name}",
                    soft_wrap=True,
                    markup=False,
                )
        self.console.print(f"{folder.name}: {arm.label}, seed {seed}", soft_wrap=True, markup=False)
        await self.go(run)

    def _donors(self, arm: Arm, seed: int) -> list[Run]:
        folders = [folder_of(self.out, other, seed) for other in self.study.arms if other is not arm]
        return [read_run(folder) for folder in folders if (folder / "run.json").exists()]


def is_finished(folder: Path, arm: Arm) -> bool:
    """Whether the run in the folder has been measured after each of the arm's iterations."""
    if not (folder / "run.json").exists():
        return False
    run = read_run(folder)
    return all("evaluation" in run.iteration(number).steps() for number in range(arm.recipe.iterations + 1))


def wanted(study: Study, arm: Arm, seed: int, *, out: Path) -> Recipe:
    """The recipe of an arm's run with a seed, with its caps.

    Raises:
        ConfigError: the arm whose number of pairs it is to have has not made them.
    """
    values = {**arm.recipe.model_dump(), "seed": seed}
    if arm.equal_pairs_to is not None:
        values["actor_data"] |= {"max_pairs": caps(study, arm, seed, out=out)}
    return Recipe.model_validate(values)


def caps(study: Study, arm: Arm, seed: int, *, out: Path) -> list[int]:
    """How many pairs the arm may have in each iteration, by what `equal_pairs_to` had.

    Raises:
        ConfigError: that arm has not made them.
    """
    other = study.arm(str(arm.equal_pairs_to))
    folder = folder_of(out, other, seed)
    pairs: list[int] = []
    for number in range(1, other.recipe.iterations + 1):
        made = Run(folder, other.recipe).iteration(number).steps().get("data")
        if made is None:
            raise ConfigError(
                f"{folder}: iteration {number} has no pairs yet, and {arm.name} is to have as many; finish it first"
            )
        pairs.append(int(made["pairs"]))
    return [sum(pairs)] if arm.recipe.iterations == 1 else pairs
