"""The embedded engine as a backend."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass

from spar_core.backends.local.engine import LocalEngine
from spar_core.errors import BackendError
from spar_core.types import Completion, Delta, Message, Sampling


@dataclass(frozen=True)
class LocalBackend:
    """One model name over one engine; several backends may share an engine."""

    engine: LocalEngine
    model: str

    async def complete(self, messages: Sequence[Message], sampling: Sampling) -> Completion:
        async with aclosing(self._deltas(messages, sampling, streamed=False)) as deltas:
            only = await anext(deltas)
        assert only.finish_reason is not None
        assert only.usage is not None
        return Completion(only.text, only.finish_reason, only.usage)

    def stream(self, messages: Sequence[Message], sampling: Sampling) -> AsyncGenerator[Delta, None]:
        return self._deltas(messages, sampling, streamed=True)

    async def _deltas(
        self, messages: Sequence[Message], sampling: Sampling, *, streamed: bool
    ) -> AsyncGenerator[Delta, None]:
        request = self.engine.submit(messages, sampling, streamed=streamed)
        try:
            while True:
                delta = await request.deltas.get()
                if isinstance(delta, BackendError):
                    raise delta
                yield delta
                if delta.finish_reason is not None:
                    return
        finally:
            # Done or not: a finished request ignores it, an unfinished one gives up its slot.
            request.cancelled = True

    async def ready(self) -> bool:
        return self.engine.alive

    async def aclose(self) -> None:
        """Close the engine, and with it every backend that shares it."""
        # Closing waits for the step under way; the loop must not.
        await asyncio.to_thread(self.engine.close)
