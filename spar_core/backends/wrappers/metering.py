"""Count the tokens of cancelled calls, which no upstream reports."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from spar_core.backends.base import Backend
from spar_core.types import Completion, Delta, Message, Sampling, Usage


class MeteredBackend:
    """Streams every call from `inner` and counts the deltas of cancelled ones as `lost_tokens`.

    A delta may hold more than one token (a character spelled in bytes), so this is a lower bound.
    """

    def __init__(self, inner: Backend) -> None:
        self._inner = inner
        self.lost_tokens = 0

    @property
    def model(self) -> str:
        return self._inner.model

    async def complete(self, messages: Sequence[Message], sampling: Sampling) -> Completion:
        pieces: list[str] = []
        try:
            async with aclosing(self._inner.stream(messages, sampling)) as deltas:
                async for delta in deltas:
                    pieces.append(delta.text)
                    if delta.finish_reason is not None:
                        return Completion("".join(pieces), delta.finish_reason, delta.usage or Usage())
        except asyncio.CancelledError:
            self.lost_tokens += len(pieces)
            raise
        raise AssertionError("unreachable: a stream ends with a reason or an error")

    async def stream(self, messages: Sequence[Message], sampling: Sampling) -> AsyncGenerator[Delta, None]:
        async with aclosing(self._inner.stream(messages, sampling)) as deltas:
            async for delta in deltas:
                yield delta

    async def aclose(self) -> None:
        await self._inner.aclose()
