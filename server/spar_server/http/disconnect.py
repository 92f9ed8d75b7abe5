"""Cancel the work on a request when its client disconnects."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final, Protocol, Self, TypeVar

from starlette.types import Receive, Scope

from spar_server.errors import ClientGoneError

T = TypeVar("T")
# Where a scope keeps its `Disconnect`.
_KEY: Final = "spar.disconnect"


class _Flow(Protocol):
    """The flow control of a connection."""

    def resume_reading(self) -> None: ...


class Disconnect:
    """Tells the work on one request when its client disconnects.

    This server's HTTP protocol puts one into each scope, which costs a fraction of a task that waits for
    `http.disconnect`.
    """

    __slots__ = ("_callback", "_flow", "_happened")

    def __init__(self, flow: _Flow) -> None:
        self._flow = flow
        self._happened = False
        self._callback: Callable[[], None] | None = None

    @classmethod
    def of(cls, scope: Scope, flow: _Flow) -> Self:
        """Create one for the request with this scope."""
        disconnect = scope[_KEY] = cls(flow)
        return disconnect

    def notify(self) -> None:
        """The client has disconnected. Only the first call counts."""
        if not self._happened:
            self._happened = True
            if self._callback is not None:
                self._callback()

    def watch(self, callback: Callable[[], None]) -> None:
        """Call `callback` when the client disconnects; at once if it has."""
        self._callback = callback
        # A connection that is not read does not show that it has ended.
        self._flow.resume_reading()
        if self._happened:
            callback()

    def unwatch(self) -> None:
        self._callback = None


async def until_disconnect(scope: Scope, receive: Receive, work: Coroutine[Any, Any, T]) -> T:
    """Return the result of `work`, which is cancelled if the client disconnects. The body must have been received.

    It runs in the calling task, as under `asyncio.timeout`, which saves a task.

    Raises:
        ClientGoneError: the client disconnected. Errors of `work` are raised unchanged.
    """
    task = asyncio.current_task()
    assert task is not None
    gone = False

    def leave() -> None:
        nonlocal gone
        gone = True
        task.cancel()

    disconnect = scope.get(_KEY) or _Receiving(receive)
    disconnect.watch(leave)
    try:
        return await work
    finally:
        disconnect.unwatch()
        # If the task was cancelled from elsewhere too, that cancellation must propagate.
        if gone and task.uncancel() == 0:
            raise ClientGoneError


class _Receiving:
    """Like `Disconnect`, for requests of other ASGI servers: waits for the message."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive

    def watch(self, callback: Callable[[], None]) -> None:
        self._waiting = asyncio.create_task(self._wait(callback))

    def unwatch(self) -> None:
        self._waiting.cancel()

    async def _wait(self, callback: Callable[[], None]) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        callback()
