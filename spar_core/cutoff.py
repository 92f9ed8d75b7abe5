"""A cutoff ends running searches early, each with its best answer so far. Many searches can share one."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from types import TracebackType
from typing import Any


class Cutoff:
    """Not reached until `now` is called."""

    def __init__(self) -> None:
        self.reached = False
        self._scopes: set[asyncio.Timeout] = set()
        self._waits: set[Wait] = set()

    def now(self) -> None:
        """End everything that runs under the cutoff; anything that starts later ends at its first wait."""
        self.reached = True
        moment = asyncio.get_running_loop().time()
        for scope in self._scopes:
            if not scope.expired():
                scope.reschedule(moment)
        for wait in self._waits:
            wait.end()

    def timeout(self, seconds: float | None) -> AbstractAsyncContextManager[None]:
        """Like `asyncio.timeout`, but ends at the cutoff at the latest.

        Raises:
            TimeoutError: the time is up, or the cutoff is reached.
        """
        return _Scope(self._scopes, asyncio.timeout(0 if self.reached else seconds))

    @contextmanager
    def waits(self) -> Iterator[Wait]:
        """A `Wait` that can be entered again and again, by any task, for one await at a time."""
        wait = Wait(self)
        self._waits.add(wait)
        try:
            yield wait
        finally:
            self._waits.discard(wait)


class Wait:
    """A context in which a task waits until the cutoff at the latest, and then gets a TimeoutError.

    It does the same as `timeout(None)` at a fraction of the cost, for the many waits of a stream.
    """

    __slots__ = ("_cancelling", "_cutoff", "_ended", "_task")

    def __init__(self, cutoff: Cutoff) -> None:
        self._cutoff = cutoff
        self._task: asyncio.Task[Any] | None = None
        self._cancelling = 0
        self._ended = False

    def __enter__(self) -> None:
        if self._cutoff.reached:
            raise TimeoutError
        self._task = task = asyncio.current_task()
        assert task is not None
        self._cancelling = task.cancelling()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        task, self._task = self._task, None
        if self._ended and task is not None:
            self._ended = False
            # The task may have been cancelled by others as well, which must not be hidden.
            if task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
                raise TimeoutError from error

    def end(self) -> None:
        """The cutoff is reached."""
        if self._task is not None:
            self._ended = True
            self._task.cancel()


class _Scope(AbstractAsyncContextManager[None]):
    """One timeout, which is in `scopes` while it runs."""

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
