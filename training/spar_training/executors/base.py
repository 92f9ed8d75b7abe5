"""What an executor is: it runs a stage over items and writes the stage's file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from spar_training.files import Row
from spar_training.items import Policy, Progress
from spar_training.stages.base import Stage


@dataclass(frozen=True, slots=True)
class ModelPlace:
    """Where a model is: a folder for the embedded engine, or its name at one or many OpenAI-compatible URLs.

    `answer_s` are the seconds that an answer of a server may take; None is the backend's own default.
    """

    model: str
    urls: tuple[str, ...] = ()
    answer_s: float | None = None


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
        """The rows of all items in order, as written to `out`; see `spar_training.items.run_items`."""
        ...
