"""An answer's body as it comes in, each read bounded by when the next token is due."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Final

import aiohttp

from spar_core.backends.openai.timeouts import Timeouts

# How long the end of a body is waited for whose content is known: enough for what the server has sent already.
_REST_S: Final = 0.1


class TokenClock:
    """When the next token of a stream is due, on the running loop's clock; never later than all of it."""

    def __init__(self, timeouts: Timeouts) -> None:
        self._loop = asyncio.get_running_loop()
        self._between_s = timeouts.between_tokens
        began = self._loop.time()
        self._end = began + timeouts.total
        self.due = min(began + timeouts.first_token, self._end)

    def ticked(self) -> None:
        """A token came, or the time of the last was not the upstream's."""
        self.due = min(self._loop.time() + self._between_s, self._end)


class TimedBody:
    """The body, piece by piece; TimeoutError when a token is overdue. To be closed.

    No generator, which would cost more, and one timer, which looks at the clock when it rings: most pieces come long
    before they are due.
    """

    def __init__(self, content: aiohttp.StreamReader, clock: TokenClock) -> None:
        self._content = content
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._waiting = False

    def __aiter__(self) -> TimedBody:
        return self

    async def __anext__(self) -> bytes:
        due = self._clock.due
        if self._timer is None or self._timer.when() > due:
            self._set(due)
        # The time between two reads is the reader's, but for what bounds the whole.
        if self._loop.time() >= due:
            raise TimeoutError
        self._waiting = True
        try:
            piece = await self._content.readany()
        finally:
            self._waiting = False
        if not piece:
            raise StopAsyncIteration
        return piece

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _set(self, due: float) -> None:
        self.close()
        self._timer = self._loop.call_at(due, self._ring)

    def _ring(self) -> None:
        self._timer = None
        if not self._waiting:
            return
        if self._loop.time() < self._clock.due:
            self._set(self._clock.due)
        else:
            self._content.set_exception(TimeoutError())


async def read_rest(content: aiohttp.StreamReader) -> None:
    """Read what is left of a body that nobody needs, so that its connection can be used again."""
    if content.at_eof():
        return
    with suppress(TimeoutError, aiohttp.ClientError):
        async with asyncio.timeout(_REST_S):
            while not content.at_eof():
                await content.readany()
