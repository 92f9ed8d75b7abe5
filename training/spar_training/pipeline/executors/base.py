"""What an executor is: it runs a stage over items and writes the stage's file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

from spar_training.inference.endpoint import ModelPlace
from spar_training.pipeline.runner import Policy, Progress
from spar_training.pipeline.stage import Stage
from spar_training.storage.files import Row


class Executor(Protocol):
    """Runs stages. However it does, the file it writes is the same."""

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
        """The rows of all items in order, as written to `out`; see `spar_training.pipeline.runner.run_items`."""
        ...
