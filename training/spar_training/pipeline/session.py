"""A model that stays where it is served from one stage to the next, as long as the stages call the same one.

Starting a server of a large model takes minutes, and judging and searching both call the refiner.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from types import TracebackType

from spar_training.inference.endpoint import ModelPlace
from spar_training.pipeline.stage import Role

Served = Callable[[Role], AbstractAsyncContextManager[ModelPlace]]


class ModelSession:
    """An async context manager. `served` opens the model of a role; no two are open at once."""

    def __init__(self, served: Served) -> None:
        self._served = served
        self._open = AsyncExitStack()
        self._role: Role | None = None
        self._place: ModelPlace | None = None

    async def __aenter__(self) -> ModelSession:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._open.__aexit__(kind, error, trace)

    async def of(self, role: Role) -> ModelPlace:
        """Where the role's model is served, until another's is asked for."""
        if self._place is None or role != self._role:
            await self._open.aclose()
            self._place = None
            self._place = await self._open.enter_async_context(self._served(role))
            self._role = role
        return self._place
