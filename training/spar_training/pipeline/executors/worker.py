"""One process of a cluster that works on a stage's items."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Any

from spar_core.backends.base import Backend
from spar_core.cpu import usable_cores
from spar_training.inference.client import opened
from spar_training.inference.endpoint import ModelPlace
from spar_training.pipeline.stage import Stage


class Worker:
    """Has the stage's model open, at most `in_flight` calls at each place. `on_a_node` workers share its CPU cores."""

    def __init__(self, stage: Stage[Any], model: ModelPlace, in_flight: int, on_a_node: int) -> None:
        self._stage = stage
        self._model = model
        self._in_flight = in_flight
        self._threads = max(1, usable_cores() // on_a_node)
        # Its end is that of the process.
        self._open = AsyncExitStack()
        self._backend: Backend | None = None

    async def open(self) -> None:
        """Open the model.

        Raises:
            ConfigError: it is not here.
        """
        model = self._model
        opening = opened(
            model.model, urls=model.urls, in_flight=self._in_flight, threads=self._threads, answer_s=model.answer_s
        )
        self._backend = await self._open.enter_async_context(opening)

    async def work(self, item: Any) -> dict[str, Any]:
        """As `Stage.work`."""
        assert self._backend is not None
        return await self._stage.work(item, self._backend)
