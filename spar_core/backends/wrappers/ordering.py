"""Return the completions of one search in the order of their calls.

Of equal siblings the first to arrive is judged and the others are its duplicates. With a fixed order this does not
depend on timing, so a search's tree is a function of its seed alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from spar_core.backends.base import Backend
from spar_core.backends.wrappers.base import NonStreamingBackend
from spar_core.types import Completion, Message, Sampling


class OrderedBackend(NonStreamingBackend):
    """Use one per search: its calls still run concurrently, and each returns after all earlier ones have returned."""

    def __init__(self, inner: Backend) -> None:
        self._inner = inner
        self._last: asyncio.Future[None] | None = None

    @property
    def model(self) -> str:
        return self._inner.model

    async def complete(self, messages: Sequence[Message], sampling: Sampling) -> Completion:
        previous, mine = self._last, asyncio.get_running_loop().create_future()
        self._last = mine
        try:
            completion = await self._inner.complete(messages, sampling)
            if previous is not None:
                await asyncio.wait([previous])
            return completion
        finally:
            # The next call returns after this one's caller has continued: the loop wakes waiters later.
            mine.set_result(None)

    async def aclose(self) -> None:
        await self._inner.aclose()
