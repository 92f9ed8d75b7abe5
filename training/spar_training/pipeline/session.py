"""Keep a model served from one stage to the next, as long as they call the same one.

Starting the server of a large model takes minutes, and judging and searching both call the refiner.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from types import TracebackType

from spar_training.inference.endpoint import ModelEndpoint
from spar_training.pipeline.stage import Role

# Serves the model of a role for as long as its block runs.
OpenModel = Callable[[Role], AbstractAsyncContextManager[ModelEndpoint]]


class ModelSession:
    """An async context manager that serves one model at a time.

    async with ModelSession(open_model) as session:
        endpoint = await session.endpoint_of("refiner")
    """

    def __init__(self, open_model: OpenModel) -> None:
        self._open_model = open_model
        self._stack = AsyncExitStack()
        self._role: Role | None = None
        self._endpoint: ModelEndpoint | None = None

    async def __aenter__(self) -> ModelSession:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.__aexit__(kind, error, trace)

    async def endpoint_of(self, role: Role) -> ModelEndpoint:
        """Where the role's model is served, until another role's is requested."""
        if self._endpoint is None or role != self._role:
            await self._stack.aclose()
            self._endpoint = None
            self._endpoint = await self._stack.enter_async_context(self._open_model(role))
            self._role = role
        return self._endpoint
