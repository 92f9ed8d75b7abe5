"""A stream read by a task of its own, as far ahead as it goes, so that what has come is handed on in one piece.

To send costs far more than to make a frame, and a busy upstream's tokens come several at a time.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, aclosing, nullcontext
from typing import Final

# Further ahead than this of a slow client the stream is not read.
_MOST_FRAMES: Final = 256


async def read_ahead(
    frames: AsyncGenerator[str, None], *, within: AbstractAsyncContextManager[None] | None = None
) -> AsyncGenerator[str, None]:
    """The frames in as few pieces as waiting for none of them allows. A failure comes after all that was before it.

    `within` is the scope that they are read in, such as a timeout.
    """
    waiting: list[str] = []
    came, taken = asyncio.Event(), asyncio.Event()

    async def read() -> None:
        async with within or nullcontext(), aclosing(frames):
            async for frame in frames:
                waiting.append(frame)
                came.set()
                if len(waiting) >= _MOST_FRAMES:
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
                piece = "".join(waiting)
                waiting.clear()
                yield piece
        # Raises what went wrong.
        task.result()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
