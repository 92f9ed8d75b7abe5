"""The protocol of an executor: it runs a stage over items and writes the stage's file.

rows = await executor.run(StageRun(stage=stage, items=prompts, model=endpoint, out=folder / "samples.jsonl"))
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from spar_training.inference.endpoint import ModelEndpoint
from spar_training.pipeline.runner import DEFAULT_POLICY, OnProgress, Policy, Work, ignore_progress, run_items
from spar_training.pipeline.stage import Stage
from spar_training.storage.files import Row


@dataclass(frozen=True, slots=True, kw_only=True)
class StageRun:
    """A stage over `items` with the model at an endpoint; its rows are written to `out`."""

    stage: Stage[Any]
    items: Sequence[Any]
    model: ModelEndpoint
    out: Path
    policy: Policy = DEFAULT_POLICY
    on_progress: OnProgress = ignore_progress

    async def run_items(self, work: Work[Any]) -> list[Row]:
        """Do `work` on every item in this process; see `spar_training.pipeline.runner.run_items`."""
        return await run_items(self.items, work, out=self.out, policy=self.policy, on_progress=self.on_progress)


class Executor(Protocol):
    """Runs stages. Every executor writes the same file."""

    async def run(self, run: StageRun) -> list[Row]:
        """The rows of all items in order, as written to `run.out`.

        Raises:
            BackendUnavailable: item after item failed, or all the last ones.
            DataError: a file cannot be written or read.
        """
        ...
