"""Cancel the work on a request when its client disconnects."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from starlette.types import Receive

from spar_server.errors import ClientGoneError

T = TypeVar("T")


async def until_disconnect(receive: Receive, work: Coroutine[Any, Any, T]) -> T:
    """Return the result of `work`, which is cancelled if the client disconnects.

    It runs in the calling task, as under `asyncio.timeout`, which saves a task.

    Raises:
        ClientGoneError: the client disconnected. Errors of `work` are raised unchanged.
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
        # If the task was cancelled from elsewhere too, that cancellation must propagate.
        if gone and task.uncancel() == 0:
            raise ClientGoneError
