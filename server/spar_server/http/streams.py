"""Combinators for streams: read ahead in batches, and merge several streams.

Sending costs far more than rendering a frame, and a busy upstream's tokens arrive several at a time, so they are sent
in batches.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Final, TypeVar

T = TypeVar("T")
# Maximum number of items that are read ahead of a slow client.
_MAX_AHEAD: Final = 256


async def read_ahead(items: AsyncGenerator[T, None]) -> AsyncGenerator[list[T], None]:
    """Yield all items that have arrived as one batch, without waiting for more. An error is raised after them."""
    waiting: list[T] = []
    arrived, drained = asyncio.Event(), asyncio.Event()

    async def read() -> None:
        async with aclosing(items):
            async for item in items:
                waiting.append(item)
                arrived.set()
                if len(waiting) >= _MAX_AHEAD:
                    drained.clear()
                    await drained.wait()

    task = asyncio.create_task(read())
    task.add_done_callback(lambda _: arrived.set())
    try:
        while not task.done() or waiting:
            await arrived.wait()
            arrived.clear()
            drained.set()
            if waiting:
                batch = waiting.copy()
                waiting.clear()
                yield batch
        # Raises the error of the stream, if any.
        task.result()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def merge_streams(streams: Sequence[AsyncGenerator[T, None]]) -> AsyncGenerator[tuple[int, T], None]:
    """Yield (index, item) as the items of all streams arrive. Closing the generator closes all streams.

    The first error of a stream is raised once the others are closed.
    """
    if len(streams) == 1:
        async with aclosing(streams[0]) as only:
            async for piece in only:
                yield 0, piece
        return
    pieces: asyncio.Queue[tuple[int, T] | None] = asyncio.Queue()

    async def read(index: int, stream: AsyncGenerator[T, None]) -> None:
        async with aclosing(stream):
            async for piece in stream:
                pieces.put_nowait((index, piece))

    async def read_all() -> None:
        try:
            async with asyncio.TaskGroup() as group:
                for index, stream in enumerate(streams):
                    group.create_task(read(index, stream))
        except ExceptionGroup as group_error:
            raise group_error.exceptions[0] from None
        finally:
            pieces.put_nowait(None)

    task = asyncio.create_task(read_all())
    try:
        while (item := await pieces.get()) is not None:
            yield item
        await task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
