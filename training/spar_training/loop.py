"""The self-play loop: make training data from the current pair, train both models on it, measure, and repeat.

    pair = await Loop(run=open_run(folder, recipe), executor=LocalExecutor(), console=Console()).run_iterations()

How data is made is the recipe's method (`spar_training.methods`); every step is recorded in the run's folder, and a run
that was stopped, however abruptly, resumes at the first unfinished item.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from rich.console import Console

from spar_core.errors import DataError
from spar_core.prompts import load_templates
from spar_training.data.card import card_markdown
from spar_training.evals.world.iteration import PairEval
from spar_training.inference.endpoint import ModelEndpoint
from spar_training.inference.server import serve_model
from spar_training.methods import method_of
from spar_training.methods.base import TrainingSet
from spar_training.methods.training import job_for, launcher_of, train_role
from spar_training.pipeline.executors.base import Executor
from spar_training.pipeline.stage import Role
from spar_training.runs.counts import counts_line
from spar_training.runs.folder import Iteration, Run
from spar_training.runs.prompts import evaluation_prompts, fresh_prompts
from spar_training.runs.recipe import Recipe
from spar_training.runs.start import ModelPair, start_pair
from spar_training.stages.iteration import DataStages
from spar_training.storage.files import write_json, write_rows, write_text


def check_recipe(recipe: Recipe) -> None:
    """Find errors in a recipe before its run starts, rather than after hours of calls.

    Raises:
        ConfigError: a model of the start pair is missing, or a key of the trainings or the templates is invalid.
        DataError: there are too few prompts, or a row is malformed.
    """
    start, first = start_pair(recipe), Iteration(1, Path())
    load_templates(recipe.templates)
    launcher_of(recipe)
    for role in get_args(Role):
        job_for(recipe, first, role, start=start.of(role))
    if recipe.prompts.file is not None:
        fresh_prompts(recipe, recipe.iterations)
    evaluation_prompts(recipe)


@dataclass(frozen=True, kw_only=True)
class Loop:
    """The iterations of a run. Its recipe must have passed `check_recipe`."""

    run: Run
    executor: Executor
    console: Console

    async def run_iterations(self) -> ModelPair:
        """Run the iterations that are not finished; returns the last pair.

        Raises:
            ConfigError: a model of the start pair is missing.
            DataError: an iteration yields no training data, or a file cannot be used.
            BackendError: an upstream failed for good; run again once it is fixed.
            TrainingError: a training ended without a model.
        """
        pair = start_pair(self.run.recipe)
        await self._measure(self.run.iteration(0), pair)
        for number in range(1, self.run.recipe.iterations + 1):
            pair = await self._iterate(self.run.iteration(number), pair)
        return pair

    async def _iterate(self, iteration: Iteration, before: ModelPair) -> ModelPair:
        recipe = self.run.recipe
        if "data" not in iteration.steps():
            await self._run_stages(iteration, before)
            self._make_data(iteration)
        for role in method_of(recipe).roles:
            train_role(recipe, iteration, role, start=before.of(role), console=self.console)
        pair = ModelPair(iteration.actor, iteration.refiner)
        # Lets `spar serve --pair` serve the iteration's folder with the settings of its training.
        settings = {"name": recipe.name, "templates": recipe.templates, "max_tokens": recipe.search.max_tokens}
        if recipe.judge.kind != "holistic":
            settings["judge"] = recipe.judge.kind
        write_json(iteration.file("pair.json"), settings)
        await self._measure(iteration, pair)
        return pair

    async def _run_stages(self, iteration: Iteration, pair: ModelPair) -> None:
        recipe = self.run.recipe

        @asynccontextmanager
        async def open_model(role: Role) -> AsyncIterator[ModelEndpoint]:
            name, logs = f"{recipe.name}-{role}", iteration.file("logs")
            async with serve_model(pair.of(role), recipe.serving, name=name, logs=logs) as endpoint:
                yield endpoint

        await DataStages(recipe=recipe, iteration=iteration, executor=self.executor, open_model=open_model).run()

    def _make_data(self, iteration: Iteration) -> None:
        method = method_of(self.run.recipe)
        with iteration.step("data") as counts:
            data = method.training_data(iteration)
            for role, rows in data.rows.items():
                write_rows(iteration.file(method.roles[role].file), rows)
            write_json(iteration.file("data_card.json"), data.card)
            write_text(iteration.file("data_card.md"), card_markdown(data.card, iteration.steps()))
            for role, rows in data.rows.items():
                if not rows:
                    raise _no_rows(iteration, method.roles[role], data.remedy)
            counts |= data.counts

    async def _measure(self, iteration: Iteration, pair: ModelPair) -> None:
        recipe = self.run.recipe
        if recipe.evaluation.benchmark == "none" or "evaluation" in iteration.steps():
            return
        evaluation = PairEval(
            folder=iteration.file("evaluation"),
            reference=self.run.iteration(0).file("evaluation"),
            templates=recipe.templates,
            judge=recipe.judge.kind,
            prompts=evaluation_prompts(recipe),
            judged_prompts=recipe.evaluation.judged_prompts,
            budget=recipe.evaluation.budget,
            seed=recipe.seed,
            **_samplings(recipe),
        )
        with iteration.step("evaluation") as counts:
            counts |= await evaluation.run(
                actor=pair.actor, refiner=pair.refiner, label=f"iteration {iteration.number}"
            )
        self.console.print(f"iteration {iteration.number}: {counts_line(counts)}", soft_wrap=True, markup=False)


def _samplings(recipe: Recipe) -> dict[str, Any]:
    """Sampling by the recipe for prompts of a file; the world's prompts have settings of their own."""
    if recipe.evaluation.benchmark != "file":
        return {}
    return {
        "actor_sampling": recipe.sample.sampling(),
        "refiner_sampling": recipe.search.sampling(),
        "in_flight": recipe.in_flight,
    }


def _no_rows(iteration: Iteration, data: TrainingSet, remedy: str | None) -> DataError:
    remedy = remedy or f"see {iteration.file('steps.json')} for the judgements, and try more prompts"
    return DataError(f"{iteration.file(data.file)}: is empty, so there is nothing to train on: {data.empty}; {remedy}")
