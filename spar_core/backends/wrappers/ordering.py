"""Release the completions of one search in the order in which they were asked for.

Siblings that turn out equal are one response and its duplicates, and which is which depends on who comes first. In
order, that is no longer a matter of timing, so a search's tree is a function of its seed alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from spar_core.backends.base import Backend
from spar_core.backends.wrappers.base import NonStreamingBackend
from spar_core.types import Completion, Message, Sampling


class OrderedBackend(NonStreamingBackend):
    """One for each search: every call of it still runs at once, and returns when all that were asked before have."""

    def __init__(self, inner: Backend) -> None:
        self._inner = inner
        self._last: asyncio.Future[None] | None = None

    @property
    def model(self) -> str:
        return self._inner.model

    async def complete(self, messages: Sequence[Message], sampling: Sampling) -> Completion:
        before, mine = self._last, asyncio.get_running_loop().create_future()
        self._last = mine
        try:
            completion = await self._inner.complete(messages, sampling)
            if before is not None:
                await asyncio.wait([before])
            return completion
        finally:
            # The next one wakes after this one's caller has gone on: a waiter is called by the loop, later.
            mine.set_result(None)

    async def aclose(self) -> None:
        await self._inner.aclose()
