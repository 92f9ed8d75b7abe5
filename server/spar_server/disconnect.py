"""Stop working for a client that has gone, whether its answer is streamed or not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Coroutine
from typing import Any, TypeVar

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

T = TypeVar("T")


class ClientGoneError(Exception):
    """The client closed the connection before its answer was ready."""


async def until_disconnect(receive: Receive, work: Coroutine[Any, Any, T]) -> T:
    """Run `work`; cancel it, and wait until it has ended, when the client goes.

    Raises:
        ClientGoneError: it did. Whatever `work` raises is raised as it is.
    """
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_disconnected(receive))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientGoneError
        return task.result()
    finally:
        for each in (task, gone):
            each.cancel()
        await asyncio.gather(task, gone, return_exceptions=True)


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


class EventStream(Response):
    """A `text/event-stream` of `frames`; their generator is closed as soon as the client goes."""

    def __init__(self, frames: AsyncGenerator[str, None]) -> None:
        self._frames = frames
        self.status_code = 200
        self.background = None
        # X-Accel-Buffering keeps nginx from holding the stream back.
        self.init_headers(
            {
                "content-type": "text/event-stream; charset=utf-8",
                "cache-control": "no-cache",
                "x-accel-buffering": "no",
            }
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await until_disconnect(receive, self._send(send))
        except ClientGoneError:
            return

    async def _send(self, send: Send) -> None:
        try:
            # Begun before the client can be waited for: only what has begun is closed by closing it.
            first = await anext(self._frames)
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            await send({"type": "http.response.body", "body": first.encode(), "more_body": True})
            async for text in self._frames:
                await send({"type": "http.response.body", "body": text.encode(), "more_body": True})
        finally:
            await self._frames.aclose()
        await send({"type": "http.response.body", "body": b"", "more_body": False})
