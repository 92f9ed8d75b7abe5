"""Run a stage in this process."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from spar_training.inference.client import opened
from spar_training.inference.endpoint import ModelPlace
from spar_training.pipeline.runner import Policy, Progress, run_items
from spar_training.pipeline.stage import Stage
from spar_training.storage.files import Row


class LocalExecutor:
    """One process, many calls in flight."""

    async def run(
        self,
        stage: Stage[Any],
        items: Sequence[Any],
        *,
        model: ModelPlace,
        out: Path,
        policy: Policy,
        tell: Callable[[Progress], None],
    ) -> list[Row]:
        async with opened(model.model, urls=model.urls, in_flight=policy.in_flight, answer_s=model.answer_s) as backend:
            return await run_items(items, partial(_work, stage, backend), out=out, policy=policy, on_progress=tell)


async def _work(stage: Stage[Any], backend: Any, item: Any) -> dict[str, Any]:
    return await stage.work(item, backend)
