"""Several streams heard at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import TypeVar

T = TypeVar("T")


async def side_by_side(streams: Sequence[AsyncGenerator[T, None]]) -> AsyncGenerator[tuple[int, T], None]:
    """What the streams bring, as it comes, each piece with its stream's number; closing it closes them all.

    The first failure of a stream is raised, once the others are closed.
    """
    if len(streams) == 1:
        async with aclosing(streams[0]) as only:
            async for piece in only:
                yield 0, piece
        return
    pieces: asyncio.Queue[tuple[int, T] | None] = asyncio.Queue()

    async def hear(number: int, stream: AsyncGenerator[T, None]) -> None:
        async with aclosing(stream):
            async for piece in stream:
                pieces.put_nowait((number, piece))

    async def hear_all() -> None:
        try:
            async with asyncio.TaskGroup() as group:
                for number, stream in enumerate(streams):
                    group.create_task(hear(number, stream))
        except ExceptionGroup as group_error:
            raise group_error.exceptions[0] from None
        finally:
            pieces.put_nowait(None)

    task = asyncio.create_task(hear_all())
    try:
        while (heard := await pieces.get()) is not None:
            yield heard
        await task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
