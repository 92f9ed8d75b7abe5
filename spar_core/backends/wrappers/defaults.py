"""A backend with fixed parameters in every call: the length of answers, and extra request fields."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import replace

from spar_core.backends.base import Backend
from spar_core.types import Completion, Delta, Message, Sampling


class DefaultsBackend:
    """`inner` with the `max_tokens` and `extra` of `defaults` in every call; all else is the call's own."""

    def __init__(self, inner: Backend, defaults: Sampling) -> None:
        self._inner = inner
        self._defaults = defaults

    @property
    def model(self) -> str:
        return self._inner.model

    async def complete(self, messages: Sequence[Message], sampling: Sampling) -> Completion:
        return await self._inner.complete(messages, self._with_defaults(sampling))

    async def stream(self, messages: Sequence[Message], sampling: Sampling) -> AsyncGenerator[Delta, None]:
        async with aclosing(self._inner.stream(messages, self._with_defaults(sampling))) as deltas:
            async for delta in deltas:
                yield delta

    async def aclose(self) -> None:
        await self._inner.aclose()

    def _with_defaults(self, sampling: Sampling) -> Sampling:
        extra = {**sampling.extra, **self._defaults.extra}
        return replace(sampling, max_tokens=self._defaults.max_tokens, extra=extra)
