"""Run the data stages of an iteration, each finished before the next, and resume where an earlier run stopped."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from spar_core.errors import DataError
from spar_training.data.prompts import write_prompts
from spar_training.methods import method_of
from spar_training.methods.base import StageItems
from spar_training.pipeline.executors.base import Executor, StageRun
from spar_training.pipeline.progress import item_progress
from spar_training.pipeline.runner import Policy, Progress, failed_file
from spar_training.pipeline.session import ModelSession, OpenModel
from spar_training.pipeline.stage import DataStage
from spar_training.runs.folder import Iteration
from spar_training.runs.prompts import fresh_prompts
from spar_training.runs.recipe import Recipe
from spar_training.storage.files import read_rows


@dataclass(frozen=True, kw_only=True)
class DataStages:
    """The stages of a recipe's method. `open_model` serves the model of a role for as long as stages call it."""

    recipe: Recipe
    iteration: Iteration
    executor: Executor
    open_model: OpenModel

    async def run(self) -> None:
        """Run the stages that are not finished yet.

        Raises:
            DataError: none of the actor's answers is complete, none of the refiner's votes has a verdict, or a file
                cannot be used.
            BackendError: an upstream failed for good.
        """
        self._draw_prompts()
        async with ModelSession(self.open_model) as models:
            for work in method_of(self.recipe).stages(self.iteration):
                if work.stage.name not in self.iteration.steps():
                    await self._run_stage(models, work)

    def _draw_prompts(self) -> None:
        if "prompts" in self.iteration.steps():
            return
        with self.iteration.step("prompts") as counts:
            prompts = fresh_prompts(self.recipe, self.iteration.number)
            write_prompts(self.iteration.file("prompts.jsonl"), prompts)
            counts["prompts"] = len(prompts)

    async def _run_stage(self, models: ModelSession, work: StageItems) -> None:
        stage, path = work.stage, self.iteration.file(work.stage.file)
        label = f"iteration {self.iteration.number}, {stage.name}"
        with (
            self.iteration.step(stage.name) as counts,
            item_progress(label, live=_share_accepted(stage)) as on_progress,
        ):
            rows = await self.executor.run(
                StageRun(
                    stage=stage,
                    items=work.items,
                    model=await models.endpoint_of(stage.role),
                    out=path,
                    policy=Policy(in_flight=self.recipe.in_flight),
                    on_progress=on_progress,
                )
            )
            if problem := stage.problem(rows):
                # Moved away, so that the stage runs again once the cause is fixed.
                moved = path.rename(path.with_suffix(".useless.jsonl"))
                raise DataError(f"{moved}: {problem}. Fix that and run again")
            failed = len(list(read_rows(failed_file(path))))
            counts |= {"items": len(work.items), "failed": failed, **stage.counts(rows)}


def _share_accepted(stage: DataStage[Any]) -> Callable[[Progress], str]:
    """The share accepted so far, of the items finished in this run; empty where nothing is judged."""
    total = accepted = 0

    def live(progress: Progress) -> str:
        nonlocal total, accepted
        if progress.row is not None:
            verdicts = stage.verdicts(progress.row)
            total, accepted = total + len(verdicts), accepted + sum(verdicts)
        return f"{accepted / total:.1%} accepted" if total else ""

    return live
