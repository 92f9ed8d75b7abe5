"""An engine in this process as a backend, which passes text completions through."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Protocol

from spar_core.backends.base import constrains
from spar_core.backends.in_process.completions import CompletionCall, read_completion
from spar_core.backends.in_process.request import Request
from spar_core.errors import BackendError, BackendRejected
from spar_core.types import Completion, Delta, Message, Sampling


class Engine(Protocol):
    """A model in this process that takes requests from an event loop and answers them from a thread of its own."""

    @property
    def alive(self) -> bool:
        """Whether it takes requests: it was not closed and has not broken."""
        ...

    def submit(self, asked: Sequence[Message] | str, sampling: Sampling, *, streamed: bool = True) -> Request:
        """Queue a completion of a chat or of a text; its deltas arrive on the request's queue."""
        ...

    def close(self) -> None:
        """Stop; running and waiting requests fail with BackendUnavailable."""
        ...


@dataclass(frozen=True)
class InProcessBackend:
    """One model name over one engine; several backends may share an engine."""

    engine: Engine
    model: str

    async def complete(self, messages: Sequence[Message], sampling: Sampling) -> Completion:
        only = await self._only(tuple(messages), sampling)
        assert only.finish_reason is not None
        assert only.usage is not None
        return Completion(only.text, only.finish_reason, only.usage, only.extra)

    def stream(self, messages: Sequence[Message], sampling: Sampling) -> AsyncGenerator[Delta, None]:
        return self._deltas(tuple(messages), sampling, streamed=True)

    async def forward(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        call = self._completion(path, body)
        return call.whole(await self._only(call.prompt, call.sampling))

    async def forward_stream(self, path: str, body: Mapping[str, Any]) -> AsyncGenerator[dict[str, Any], None]:
        call = self._completion(path, body)
        async with aclosing(self._deltas(call.prompt, call.sampling, streamed=True)) as deltas:
            async for delta in deltas:
                yield call.chunk(delta)
                if call.include_usage and delta.usage is not None:
                    yield call.usage_chunk(delta.usage)

    def _completion(self, path: str, body: Mapping[str, Any]) -> CompletionCall:
        if path != "/completions":
            raise BackendRejected(
                f"the embedded engine has no {path}; front a server that has it with --actor-url", status=400
            )
        return read_completion(body, self.model)

    async def _only(self, said: tuple[Message, ...] | str, sampling: Sampling) -> Delta:
        """The whole answer as one piece."""
        async with aclosing(self._deltas(said, sampling, streamed=False)) as deltas:
            return await anext(deltas)

    async def _deltas(
        self, said: tuple[Message, ...] | str, sampling: Sampling, *, streamed: bool
    ) -> AsyncGenerator[Delta, None]:
        request = self.engine.submit(said, sampling, streamed=streamed)
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

    @property
    def constrains(self) -> bool:
        return constrains(self.engine)

    async def ready(self) -> bool:
        return self.engine.alive

    async def aclose(self) -> None:
        """Close the engine, and with it every backend that shares it."""
        # Closing waits for the step under way; the loop must not.
        await asyncio.to_thread(self.engine.close)
