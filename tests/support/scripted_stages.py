"""Run data stages with scripted models."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from spar_core.backends.base import Backend
from spar_core.backends.scripted import Script, ScriptedBackend
from spar_training.inference.endpoint import ModelEndpoint
from spar_training.pipeline.executors.base import StageRun
from spar_training.pipeline.stage import Role, Stage
from spar_training.runs.folder import Iteration
from spar_training.runs.recipe import Recipe
from spar_training.stages.iteration import DataStages
from spar_training.storage.files import Row


class ScriptedExecutor:
    """An executor with scripted models by role; `calls` has the stage and item of each call."""

    def __init__(self, actor: Script, refiner: Script) -> None:
        self.models: dict[Role, Backend] = {"actor": ScriptedBackend(actor), "refiner": ScriptedBackend(refiner)}
        self.calls: list[str] = []
        self.opened: list[Role] = []

    async def run(self, run: StageRun) -> list[Row]:
        return await run.run_items(partial(self._work, run.stage))

    async def _work(self, stage: Stage[Any], item: Any) -> dict[str, Any]:
        self.calls.append(f"{stage.name} {item.id}")
        return await stage.work(item, self.models[stage.role])

    @asynccontextmanager
    async def open_model(self, role: Role) -> AsyncIterator[ModelEndpoint]:
        self.opened.append(role)
        yield ModelEndpoint(role)

    async def run_stages(self, recipe: Recipe, iteration: Iteration) -> None:
        """Run all data stages of an iteration."""
        await DataStages(recipe=recipe, iteration=iteration, executor=self, open_model=self.open_model).run()
