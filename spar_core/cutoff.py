"""A moment at which searches end with what they have. One object serves many searches, while they run."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager


class Cutoff:
    """Not reached until `now` is called, if ever."""

    def __init__(self) -> None:
        self.reached = False
        self._calls: dict[object, Callable[[], None]] = {}

    def now(self) -> None:
        """End everything that runs under it; what starts under it later ends at its first wait."""
        self.reached = True
        for call in tuple(self._calls.values()):
            call()

    @contextmanager
    def calls(self, end: Callable[[], None]) -> Iterator[None]:
        """`end` is called at the cutoff, should that come before the context ends."""
        mark = object()
        self._calls[mark] = end
        try:
            yield
        finally:
            del self._calls[mark]

    @asynccontextmanager
    async def timeout(self, seconds: float | None) -> AsyncIterator[None]:
        """Like `asyncio.timeout`, and no longer than to the cutoff.

        Raises:
            TimeoutError: either came first.
        """
        async with asyncio.timeout(0 if self.reached else seconds) as scope:

            def end() -> None:
                if not scope.expired():
                    scope.reschedule(asyncio.get_running_loop().time())

            with self.calls(end):
                yield
