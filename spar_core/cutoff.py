"""A moment at which searches end with what they have. One object serves many searches, while they run."""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager
from types import TracebackType


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

    def timeout(self, seconds: float | None) -> AbstractAsyncContextManager[None]:
        """Like `asyncio.timeout`, and no longer than to the cutoff.

        Raises:
            TimeoutError: either came first.
        """
        return _Scope(self._scopes, asyncio.timeout(0 if self.reached else seconds))


class _Scope(AbstractAsyncContextManager[None]):
    """One time-out, among `scopes` while it runs."""

    __slots__ = ("_scopes", "_timeout")

    def __init__(self, scopes: set[asyncio.Timeout], timeout: asyncio.Timeout) -> None:
        self._scopes = scopes
        self._timeout = timeout

    async def __aenter__(self) -> None:
        await self._timeout.__aenter__()
        self._scopes.add(self._timeout)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._scopes.discard(self._timeout)
        await self._timeout.__aexit__(kind, error, trace)
