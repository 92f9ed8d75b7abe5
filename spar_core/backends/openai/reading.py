"""An answer's body as it comes in, each read bounded by when the next token is due."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Final

import aiohttp

from spar_core.backends.openai.timeouts import Timeouts
from spar_core.errors import BackendProtocol

# How long the end of a body is waited for whose content is known: enough for what the server has sent already.
_REST_S: Final = 0.1
_REST_BYTES: Final = 2**16
# Whoever sends faster than this is read, and unpacked, without a pause: others need their turn.
_TURN_BYTES: Final = 2**18


class SizeCheck:
    """Counts the bytes of an answer, of which there may be `most`."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._size = 0
        self._turn = _TURN_BYTES

    async def count(self, piece: bytes) -> None:
        """Take note of a piece that came, and let other tasks run now and then.

        Raises:
            BackendProtocol: there is more than there may be.
        """
        self._size += len(piece)
        if self._size > self._most:
            raise BackendProtocol("upstream's answer is larger than what was asked for can be")
        if self._size > self._turn:
            self._turn = self._size + _TURN_BYTES
            await asyncio.sleep(0)


async def read_whole(content: aiohttp.StreamReader, most: int) -> bytes:
    """A body in one piece.

    Raises:
        BackendProtocol: it has more than `most` bytes, unpacked.
    """
    pieces: list[bytes] = []
    check = SizeCheck(most)
    while piece := await content.readany():
        await check.count(piece)
        pieces.append(piece)
    return b"".join(pieces)


async def read_beginning(content: aiohttp.StreamReader, most: int) -> bytes:
    """The first `most` bytes of a body, or all of a shorter one."""
    read = b""
    while len(read) < most and (piece := await content.readany()):
        read += piece
    return read[:most]


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
    """The body, piece by piece, of `most` bytes at most; TimeoutError when a token is overdue. To be closed.

    No generator, which would cost more, and one timer, which looks at the clock when it rings: most pieces come long
    before they are due.
    """

    def __init__(self, content: aiohttp.StreamReader, clock: TokenClock, most: int) -> None:
        self._content = content
        self._check = SizeCheck(most)
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
        await self._check.count(piece)
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
    read = 0
    with suppress(TimeoutError, aiohttp.ClientError):
        async with asyncio.timeout(_REST_S):
            while read < _REST_BYTES and not content.at_eof():
                read += len(await content.readany())
