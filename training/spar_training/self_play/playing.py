"""Run what is not finished of a study, one run after another; a run that is finished is only read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from rich.console import Console

from spar_core.errors import ConfigError
from spar_training.recipe import Recipe
from spar_training.runs import Run, open_run, read_run
from spar_training.self_play.sharing import share
from spar_training.self_play.study import Arm, Study, folder_of


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
        values["actor_data"] |= {"most": caps(study, arm, seed, out=out)}
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
