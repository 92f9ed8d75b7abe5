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

    It runs in the task that calls this, as under `asyncio.timeout`, which costs one task less than to run it beside.

    Raises:
        ClientGoneError: it did. Whatever `work` raises is raised as it is.
    """
    task = asyncio.current_task()
    assert task is not None
    gone = False

    async def watch() -> None:
        nonlocal gone
        while (await receive())["type"] != "http.disconnect":
            pass
        gone = True
        task.cancel()

    watching = asyncio.create_task(watch())
    try:
        return await work
    finally:
        watching.cancel()
        # Someone else may have cancelled the task too: then that is not ours to hide.
        if gone and task.uncancel() == 0:
            raise ClientGoneError


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
