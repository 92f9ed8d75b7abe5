"""Stop working for a client that has gone, whether its answer is streamed or not."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from starlette.types import Receive

from spar_server.errors import ClientGoneError

T = TypeVar("T")


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
