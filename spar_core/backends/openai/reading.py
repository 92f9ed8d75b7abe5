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
    """When the next token of a stream is due, on the running loop's clock."""

    def __init__(self, timeouts: Timeouts) -> None:
        self._loop = asyncio.get_running_loop()
        self._between_s = timeouts.between_tokens
        self.due = self._loop.time() + timeouts.first_token

    def ticked(self) -> None:
        """A token came, or the time of the last was not the upstream's."""
        self.due = self._loop.time() + self._between_s


class TimedBody:
    """The body, piece by piece; TimeoutError when a token is overdue. No generator: one would have to be closed."""

    def __init__(self, content: aiohttp.StreamReader, clock: TokenClock) -> None:
        self._content = content
        self._clock = clock

    def __aiter__(self) -> TimedBody:
        return self

    async def __anext__(self) -> bytes:
        async with asyncio.timeout_at(self._clock.due):
            piece = await self._content.readany()
        if not piece:
            raise StopAsyncIteration
        return piece


async def read_rest(content: aiohttp.StreamReader) -> None:
    """Read what is left of a body that nobody needs, so that its connection can be used again."""
    with suppress(TimeoutError, aiohttp.ClientError):
        async with asyncio.timeout(_REST_S):
            while not content.at_eof():
                await content.readany()
