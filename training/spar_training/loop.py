"""The self-play loop (arXiv 2412.11605): sample, judge, search, train both models, measure; again with the new pair.

Everything is in the run's folder, step by step; a run that was stopped, however hard, goes on at the first item that is
not finished.
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
from spar_core.seeds import derive_seed
from spar_training.data.card import card_markdown, card_of
from spar_training.data.preference_pairs import capped, refined_pairs, sampled_pairs
from spar_training.data.refiner_rows import refiner_conversations
from spar_training.evals.world.iteration import PairEval
from spar_training.inference.endpoint import ModelPlace
from spar_training.inference.server import served
from spar_training.methods.spar import Collected, DataStages
from spar_training.methods.training import job_for, launcher_of, train_role
from spar_training.pipeline.executors.base import Executor
from spar_training.pipeline.stage import Role
from spar_training.runs.folder import Iteration, Run
from spar_training.runs.prompts import evaluation_prompts, fresh_prompts
from spar_training.runs.recipe import Recipe
from spar_training.runs.start import Pair, start_pair
from spar_training.stages.validity import few_verdicts_remark
from spar_training.storage.files import write_json, write_rows, write_text


def check(recipe: Recipe) -> None:
    """What is wrong in the recipe is told before a run is begun, not when hours of calls are done.

    Raises:
        ConfigError: a model of the start is missing, or a key of the trainings or the templates is wrong.
        DataError: there are too few prompts, or a row of them is wrong.
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
    """One run, by one executor."""

    run: Run
    executor: Executor
    console: Console

    async def go(self) -> Pair:
        """Run every iteration that is not finished; the last pair.

        Raises:
            ConfigError, DataError: as `check` says.
            DataError: an iteration made nothing to train on, or a file cannot be used.
            BackendError: an upstream failed for good; run again when it is mended.
            TrainingError: a training ended without a model.
        """
        check(self.run.recipe)
        pair = start_pair(self.run.recipe)
        await self._measure(self.run.iteration(0), pair)
        for number in range(1, self.run.recipe.iterations + 1):
            pair = await self._iterate(self.run.iteration(number), pair)
        return pair

    async def _iterate(self, iteration: Iteration, before: Pair) -> Pair:
        self._make_data(iteration, await self._collect(iteration, before))
        for role in ("actor", "refiner"):
            train_role(self.run.recipe, iteration, role, start=before.of(role), console=self.console)
        pair = Pair(iteration.actor, iteration.refiner)
        # With it, `spar serve --pair` serves the iteration's folder as it was trained.
        recipe = self.run.recipe
        settings = {"name": recipe.name, "templates": recipe.templates, "max_tokens": recipe.search.max_tokens}
        write_json(iteration.file("pair.json"), settings)
        await self._measure(iteration, pair)
        return pair

    async def _collect(self, iteration: Iteration, pair: Pair) -> Collected | None:
        if "data" in iteration.steps():
            return None

        @asynccontextmanager
        async def of(role: Role) -> AsyncIterator[ModelPlace]:
            name = f"{self.run.recipe.name}-{role}"
            logs = iteration.file("logs")
            async with served(pair.of(role), self.run.recipe.serving, name=name, logs=logs) as place:
                yield place

        stages = DataStages(recipe=self.run.recipe, iteration=iteration, executor=self.executor, served=of)
        return await stages.run()

    def _make_data(self, iteration: Iteration, collected: Collected | None) -> None:
        if collected is None:
            return
        recipe = self.run.recipe
        seed = derive_seed(recipe.seed, "iteration", iteration.number)
        with iteration.step("data") as counts:
            pairs = (
                refined_pairs(collected.searches)
                if recipe.actor_data.pairs == "refined"
                else sampled_pairs(collected.judged, seed=seed)
            )
            pairs = capped(pairs, recipe.actor_data.most_in(iteration.number), seed=seed)
            conversations, left_out = refiner_conversations(
                collected.judged,
                collected.searches,
                templates=load_templates(recipe.templates),
                caps=recipe.refiner_data.caps(),
                seed=seed,
            )
            card = card_of(pairs, conversations, left_out)
            write_rows(iteration.file("dpo.jsonl"), pairs)
            write_rows(iteration.file("rft.jsonl"), conversations)
            write_json(iteration.file("data_card.json"), card)
            write_text(iteration.file("data_card.md"), card_markdown(card, iteration.steps()))
            judgements = [judgement for item in collected.judged for judgement in item.judgements]
            remark = few_verdicts_remark(judgements, templates=recipe.templates)
            _something(iteration, pairs, conversations, remark)
            counts |= {"pairs": len(pairs), "conversations": len(conversations)}

    async def _measure(self, iteration: Iteration, pair: Pair) -> None:
        recipe = self.run.recipe
        if recipe.evaluation.benchmark == "none" or "evaluation" in iteration.steps():
            return
        evaluation = PairEval(
            folder=iteration.file("evaluation"),
            reference=self.run.iteration(0).file("evaluation"),
            templates=recipe.templates,
            prompts=evaluation_prompts(recipe),
            judged=recipe.evaluation.judged,
            budget=recipe.evaluation.budget,
            seed=recipe.seed,
            **_samplings(recipe),
        )
        with iteration.step("evaluation") as counts:
            counts |= await evaluation.run(
                actor=pair.actor, refiner=pair.refiner, label=f"iteration {iteration.number}"
            )
        self.console.print(f"iteration {iteration.number}: {_told(counts)}", soft_wrap=True, markup=False)


def _samplings(recipe: Recipe) -> dict[str, Any]:
    """The world's own for its prompts, the recipe's for those of a file."""
    if recipe.evaluation.benchmark != "file":
        return {}
    calling = recipe.search.sampling()
    return {"answering": recipe.sample.sampling(), "calling": calling, "in_flight": recipe.in_flight}


def _something(iteration: Iteration, pairs: list[Any], conversations: list[Any], remark: str | None) -> None:
    for name, rows, why in (
        ("dpo.jsonl", pairs, "no response was judged No and then refined until it was judged Yes"),
        ("rft.jsonl", conversations, "no judgement was contested and no refinement accepted"),
    ):
        if not rows:
            remedy = remark or f"see {iteration.file('steps.json')} for what the judge said, and try more prompts"
            raise DataError(f"{iteration.file(name)}: is empty, so there is nothing to train on: {why}; {remedy}")


def _told(figures: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value:.3f}" for name, value in figures.items() if isinstance(value, float))
