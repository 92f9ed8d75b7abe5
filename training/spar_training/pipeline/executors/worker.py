"""A process of a cluster that works on a stage's items."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Any

from spar_core.backends.base import Backend
from spar_core.cpu import usable_cores
from spar_training.inference.client import open_backend
from spar_training.inference.endpoint import ModelEndpoint
from spar_training.pipeline.stage import Stage


class Worker:
    """Holds the stage's model open, with at most `in_flight` calls to each server. The `workers_per_node` workers of a
    node share its CPU cores.
    """

    def __init__(self, stage: Stage[Any], model: ModelEndpoint, in_flight: int, workers_per_node: int) -> None:
        self._stage = stage
        self._model = model
        self._in_flight = in_flight
        self._threads = max(1, usable_cores() // workers_per_node)
        # Never closed: the model stays open until the process ends.
        self._stack = AsyncExitStack()
        self._backend: Backend | None = None

    async def open(self) -> None:
        """Open the model.

        Raises:
            ConfigError: there is no such model on this node.
        """
        model = self._model
        opening = open_backend(
            model.model, urls=model.urls, in_flight=self._in_flight, threads=self._threads, answer_s=model.answer_s
        )
        self._backend = await self._stack.enter_async_context(opening)

    async def work(self, item: Any) -> dict[str, Any]:
        """As `Stage.work`."""
        assert self._backend is not None
        return await self._stage.work(item, self._backend)
