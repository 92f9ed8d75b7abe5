"""The deltas of a streamed chat, read from its body without any waiting of their own."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncGenerator, AsyncIterable, Mapping
from contextlib import suppress
from typing import Any, Final

import aiohttp

from spar_core.backends.openai.errors import parsed, read_object
from spar_core.backends.openai.parsing import delta_of, finish_of, first_choice, usage_of
from spar_core.backends.openai.size_limits import SizeLimit
from spar_core.backends.openai.timeouts import Timeouts
from spar_core.errors import BackendProtocol, BackendUnavailable
from spar_core.types import UNCOUNTED, Delta, FinishReason, Usage
from spar_core.unicode import whole


class DataLines:
    """The text after `data:` of every line that has it; comments and other fields are passed over.

    The pieces of the body may break anywhere, also inside a character or a line end. A line may have `longest` bytes.
    """

    def __init__(self, longest: int) -> None:
        self._longest = longest
        # A line's pieces are joined once, at its end: to append to a text copies it.
        self._pending: list[bytes] = []
        self._size = 0

    def feed(self, piece: bytes) -> list[bytes]:
        """What the lines hold that end in this piece.

        Raises:
            BackendProtocol: a line is too long.
        """
        head, end, rest = piece.partition(b"\n")
        self._append(head)
        if not end:
            return []
        *lines, last = rest.split(b"\n")
        lines = [self._take(), *lines]
        self._append(last)
        return [line[5:].strip() for line in lines if line.startswith(b"data:")]

    def _append(self, part: bytes) -> None:
        self._size += len(part)
        if self._size > self._longest:
            raise BackendProtocol("upstream's answer is larger than what was asked for can be")
        if part:
            self._pending.append(part)

    def _take(self) -> bytes:
        line = self._pending[0] if len(self._pending) == 1 else b"".join(self._pending)
        self._pending, self._size = [], 0
        return line

    def end(self) -> list[bytes]:
        """What a last line without an end holds."""
        line = self._take()
        return [line[5:].strip()] if line.startswith(b"data:") else []


async def data_lines(pieces: AsyncIterable[bytes], longest: int) -> AsyncGenerator[bytes, None]:
    """The data of a body that comes in pieces, of lines of at most `longest` bytes."""
    lines = DataLines(longest)
    async for piece in pieces:
        for data in lines.feed(piece):
            yield data
    for data in lines.end():
        yield data


_SURROGATE: Final = re.compile(rb"\\u[dD][89a-fA-F]")


class Deltas:
    """Fed with a body's pieces, of events within `limit`. `done` once the upstream has said so; `broken` by
    what it garbled, after what it said before."""

    def __init__(self, limit: SizeLimit) -> None:
        self.done = False
        self.broken: BackendProtocol | None = None
        self._lines = DataLines(limit.whole)
        self._most_values = limit.values
        self._finish: FinishReason | None = None
        self._usage: Usage | None = None
        # Some servers cut between the two halves of a character.
        self._half = ""

    @property
    def finished(self) -> bool:
        """Whether the answer's text is complete; the usage may still follow."""
        return self._finish is not None

    def read(self, piece: bytes) -> list[Delta]:
        """What a piece of the body adds; nothing follows once it is `done` or `broken`."""
        return self._read(self._lines.feed(piece))

    def end(self) -> list[Delta]:
        """What an end of the body without a last line end still adds."""
        return self._read(self._lines.end())

    def last(self) -> Delta:
        """What ends the stream.

        Raises:
            BackendUnavailable: it was broken off.
        """
        # With neither of them the usage may have been cut off, and what was said would count as nothing.
        if self._finish is None or not (self.done or self._usage):
            raise BackendUnavailable("upstream broke off its stream")
        return Delta(whole(self._half), finish_reason=self._finish, usage=self._usage or UNCOUNTED)

    def _read(self, lines: list[bytes]) -> list[Delta]:
        deltas: list[Delta] = []
        try:
            for data in lines:
                if data == b"[DONE]":
                    self.done = True
                    break
                if self._half or _SURROGATE.search(data):
                    data = self._joined(data)
                if (delta := self._delta(read_object(data, self._most_values))) is not None:
                    deltas.append(delta)
        except BackendProtocol as error:
            self.broken = error
        return deltas

    def _joined(self, data: bytes) -> bytes:
        """The chunk with the half character that the one before ended with, and without one at its own end."""
        try:
            chunk = parsed(data)
            delta = chunk["choices"][0]["delta"]
            text = self._half + delta["content"]
        except (ValueError, LookupError, TypeError):
            return data
        self._half = text[-1:] if "\ud800" <= text[-1:] <= "\udbff" else ""
        delta["content"] = text.removesuffix(self._half)
        return whole(json.dumps(chunk, ensure_ascii=False)).encode()

    def _delta(self, chunk: Mapping[str, Any]) -> Delta | None:
        if chunk.get("usage"):
            self._usage = usage_of(chunk)
        if (choice := first_choice(chunk)) is None:
            return None
        self._finish = finish_of(choice) or self._finish
        return delta_of(choice)


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
