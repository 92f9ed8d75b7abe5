"""A served model that is told the same besides in every call: how long an answer may be, and extra keys."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import replace

from spar_core.backends.base import Backend
from spar_core.types import Completion, Delta, Message, Sampling


class DefaultsBackend:
    """`inner`, asked with `always`'s `max_tokens` and `extra`; all else is the call's own."""

    def __init__(self, inner: Backend, always: Sampling) -> None:
        self._inner = inner
        self._always = always

    @property
    def model(self) -> str:
        return self._inner.model

    async def complete(self, messages: Sequence[Message], sampling: Sampling) -> Completion:
        return await self._inner.complete(messages, self._of(sampling))

    async def stream(self, messages: Sequence[Message], sampling: Sampling) -> AsyncGenerator[Delta, None]:
        async with aclosing(self._inner.stream(messages, self._of(sampling))) as deltas:
            async for delta in deltas:
                yield delta

    async def aclose(self) -> None:
        await self._inner.aclose()

    def _of(self, sampling: Sampling) -> Sampling:
        extra = {**sampling.extra, **self._always.extra}
        return replace(sampling, max_tokens=self._always.max_tokens, extra=extra)
