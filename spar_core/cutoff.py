"""A moment at which searches end with what they have. One object serves many searches, while they run."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Cutoff:
    """Not reached until `now` is called, if ever."""

    def __init__(self) -> None:
        self.reached = False
        self._scopes: set[asyncio.Timeout] = set()

    def now(self) -> None:
        """End everything that runs under it; what starts under it later ends at its first wait."""
        self.reached = True
        moment = asyncio.get_running_loop().time()
        for scope in self._scopes:
            if not scope.expired():
                scope.reschedule(moment)

    @asynccontextmanager
    async def timeout(self, seconds: float | None) -> AsyncIterator[None]:
        """Like `asyncio.timeout`, and no longer than to the cutoff.

        Raises:
            TimeoutError: either came first.
        """
        async with asyncio.timeout(0 if self.reached else seconds) as scope:
            self._scopes.add(scope)
            try:
                yield
            finally:
                self._scopes.discard(scope)
