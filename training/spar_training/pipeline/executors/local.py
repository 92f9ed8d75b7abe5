"""Run a stage in this process."""

from __future__ import annotations

from functools import partial
from typing import Any

from spar_core.backends.base import Backend
from spar_training.inference.client import open_backend
from spar_training.pipeline.executors.base import StageRun
from spar_training.pipeline.stage import Stage
from spar_training.storage.files import Row


class LocalExecutor:
    """One process with many calls in flight."""

    async def run(self, run: StageRun) -> list[Row]:
        """As `Executor.run`."""
        model = run.model
        opening = open_backend(model.model, urls=model.urls, in_flight=run.policy.in_flight, answer_s=model.answer_s)
        async with opening as backend:
            return await run.run_items(partial(_work, run.stage, backend))


async def _work(stage: Stage[Any], backend: Backend, item: Any) -> dict[str, Any]:
    return await stage.work(item, backend)
