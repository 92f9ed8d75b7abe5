"""Base class of wrappers that do not stream: they stream a complete answer as one delta."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from typing import Protocol

from spar_core.types import Completion, Delta, Message, Sampling


class _Completes(Protocol):
    async def complete(self, messages: Sequence[Message], sampling: Sampling) -> Completion: ...


class NonStreamingBackend:
    """Streams the result of `complete` as one delta."""

    async def stream(self: _Completes, messages: Sequence[Message], sampling: Sampling) -> AsyncGenerator[Delta, None]:
        completion = await self.complete(messages, sampling)
        yield Delta(completion.text, completion.finish_reason, completion.usage, completion.extra)
