"""A stream read by a task of its own, as far ahead as it goes, so that what has come is handed on in one batch.

To send costs far more than to make a frame, and a busy upstream's tokens come several at a time.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Final, TypeVar

T = TypeVar("T")
# Further ahead than this of a slow client the stream is not read.
_MOST: Final = 256


async def read_ahead(items: AsyncGenerator[T, None]) -> AsyncGenerator[list[T], None]:
    """The items in as few batches as waiting for none of them allows. A failure comes after all that was before it."""
    waiting: list[T] = []
    came, taken = asyncio.Event(), asyncio.Event()

    async def read() -> None:
        async with aclosing(items):
            async for item in items:
                waiting.append(item)
                came.set()
                if len(waiting) >= _MOST:
                    taken.clear()
                    await taken.wait()

    task = asyncio.create_task(read())
    task.add_done_callback(lambda _: came.set())
    try:
        while not task.done() or waiting:
            await came.wait()
            came.clear()
            taken.set()
            if waiting:
                batch = waiting.copy()
                waiting.clear()
                yield batch
        # Raises what went wrong.
        task.result()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


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
