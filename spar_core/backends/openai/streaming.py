"""Read a streamed answer: server-sent events, their deltas, and time and size limits of the body."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncGenerator, AsyncIterable, Mapping
from contextlib import suppress
from typing import Any, Final

import aiohttp

from spar_core.backends.openai.errors import parse_lenient, read_object
from spar_core.backends.openai.parsing import delta_of, finish_of, first_choice, plain_text, usage_of
from spar_core.backends.openai.size_limits import SizeLimit
from spar_core.backends.openai.timeouts import Timeouts
from spar_core.errors import BackendProtocol, BackendUnavailable
from spar_core.types import UNCOUNTED, Delta, FinishReason, Usage
from spar_core.unicode import replace_surrogates


class DataLines:
    """Extract the text after `data:` of every such line; comments and other fields are skipped.

    The pieces of the body may break anywhere, even inside a character or a line end. A line has at most `max_bytes`.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        # A line's pieces are joined once, at its end: appending to bytes copies them.
        self._pending: list[bytes] = []
        self._size = 0

    def feed(self, piece: bytes) -> list[bytes]:
        """The data of all lines that end in this piece.

        Raises:
            BackendProtocol: a line is too long.
        """
        if not self._pending and len(piece) <= self._max_bytes and piece.endswith(b"\n"):
            # Fast path for nearly all pieces: they consist of whole lines.
            lines = piece.split(b"\n")
        else:
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
        if self._size > self._max_bytes:
            raise BackendProtocol("the upstream's answer is larger than the request allows")
        if part:
            self._pending.append(part)

    def _take(self) -> bytes:
        line = self._pending[0] if len(self._pending) == 1 else b"".join(self._pending)
        self._pending, self._size = [], 0
        return line

    def end(self) -> list[bytes]:
        """The data of a last line without a line end."""
        line = self._take()
        return [line[5:].strip()] if line.startswith(b"data:") else []


async def data_lines(pieces: AsyncIterable[bytes], max_bytes: int) -> AsyncGenerator[bytes, None]:
    """The data lines of a body that arrives in pieces; a line has at most `max_bytes`."""
    lines = DataLines(max_bytes)
    async for piece in pieces:
        for data in lines.feed(piece):
            yield data
    for data in lines.end():
        yield data


_SURROGATE_ESCAPE: Final = re.compile(rb"\\u[dD][89a-fA-F]")


class DeltaReader:
    """Turns the pieces of a streamed body into deltas; its events are within `limit`.

    `done` is set by the upstream's end mark, `broken` by the first malformed event, after the deltas before it.
    """

    def __init__(self, limit: SizeLimit) -> None:
        self.done = False
        self.broken: BackendProtocol | None = None
        self._lines = DataLines(limit.whole)
        self._max_values = limit.values
        self._finish: FinishReason | None = None
        self._usage: Usage | None = None
        # Some servers split a surrogate pair between two events.
        self._surrogate = ""

    @property
    def finished(self) -> bool:
        """Whether the answer's text is complete; the usage may still follow."""
        return self._finish is not None

    def read(self, piece: bytes) -> list[Delta]:
        """The deltas of a piece of the body; none follow once it is `done` or `broken`."""
        return self._read(self._lines.feed(piece))

    def end(self) -> list[Delta]:
        """The deltas of a last line without a line end."""
        return self._read(self._lines.end())

    def last(self) -> Delta:
        """The final delta.

        Raises:
            BackendUnavailable: the stream ended early.
        """
        # Without an end mark and a usage, the usage may have been cut off, and the tokens would not be counted.
        if self._finish is None or not (self.done or self._usage):
            raise BackendUnavailable("the upstream ended its stream early")
        return Delta(replace_surrogates(self._surrogate), finish_reason=self._finish, usage=self._usage or UNCOUNTED)

    def _read(self, lines: list[bytes]) -> list[Delta]:
        deltas: list[Delta] = []
        try:
            for data in lines:
                if data == b"[DONE]":
                    self.done = True
                    break
                if self._surrogate or (b"\\u" in data and _SURROGATE_ESCAPE.search(data)):
                    data = self._join_surrogates(data)
                chunk = read_object(data, self._max_values)
                # Fast path for nearly all chunks.
                text = plain_text(chunk)
                delta = self._delta(chunk) if text is None else Delta(text) if text else None
                if delta is not None:
                    deltas.append(delta)
        except BackendProtocol as error:
            self.broken = error
        return deltas

    def _join_surrogates(self, data: bytes) -> bytes:
        """The chunk with the lone surrogate that ended the previous one in front, and without one at its own end."""
        try:
            chunk = parse_lenient(data)
            delta = chunk["choices"][0]["delta"]
            text = self._surrogate + delta["content"]
        except (ValueError, LookupError, TypeError):
            return data
        self._surrogate = text[-1:] if "\ud800" <= text[-1:] <= "\udbff" else ""
        delta["content"] = text.removesuffix(self._surrogate)
        return replace_surrogates(json.dumps(chunk, ensure_ascii=False)).encode()

    def _delta(self, chunk: Mapping[str, Any]) -> Delta | None:
        if chunk.get("usage"):
            self._usage = usage_of(chunk)
        if (choice := first_choice(chunk)) is None:
            return None
        self._finish = finish_of(choice) or self._finish
        return delta_of(choice)


# How long to wait for the end of a body whose content is complete: enough for what the server has sent already.
_REST_S: Final = 0.1
_REST_BYTES: Final = 2**16
# After so many bytes other tasks get a turn: a fast sender would be read, and decompressed, without a pause.
_TURN_BYTES: Final = 2**18


class SizeCheck:
    """Counts the bytes of an answer, which has at most `max_bytes`."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._size = 0
        self._turn = _TURN_BYTES

    def count(self, piece: bytes) -> bool:
        """Count a piece; return whether other tasks should run before the next one.

        Raises:
            BackendProtocol: the answer is too large.
        """
        self._size = size = self._size + len(piece)
        if size > self._max_bytes:
            raise BackendProtocol("the upstream's answer is larger than the request allows")
        if size <= self._turn:
            return False
        self._turn = size + _TURN_BYTES
        return True


async def read_whole(content: aiohttp.StreamReader, max_bytes: int) -> bytes | bytearray:
    """The complete body.

    Raises:
        BackendProtocol: it has more than `max_bytes`, decompressed.
    """
    check = SizeCheck(max_bytes)
    if check.count(body := await content.readany()):
        await asyncio.sleep(0)
    if not (piece := await content.readany()):
        return body
    # Joining the pieces at the end would block the loop for a tenth of a second where there are 100 MB.
    joined = bytearray(body)
    while piece:
        if check.count(piece):
            await asyncio.sleep(0)
        joined += piece
        piece = await content.readany()
    return joined


async def read_beginning(content: aiohttp.StreamReader, max_bytes: int) -> bytes:
    """The first `max_bytes` of a body, or all of a shorter one."""
    read = b""
    while len(read) < max_bytes and (piece := await content.readany()):
        read += piece
    return read[:max_bytes]


class TokenClock:
    """The time at which the next token of a stream is due, on the running loop's clock; at most the end of `total`."""

    def __init__(self, timeouts: Timeouts) -> None:
        self._loop = asyncio.get_running_loop()
        self._between_s = timeouts.between_tokens
        start = self._loop.time()
        self._end = start + timeouts.total
        self.due = min(start + timeouts.first_token, self._end)

    def ticked(self) -> None:
        """Restart the time for the next token: one arrived, or the upstream is only to send its usage."""
        self.due = min(self._loop.time() + self._between_s, self._end)


class TimedBody:
    """The body, piece by piece, at most `max_bytes`; TimeoutError when a token is overdue. Close it after use.

    A class because a generator costs more, with one timer that checks the clock when it fires: most pieces arrive long
    before they are due.
    """

    def __init__(self, content: aiohttp.StreamReader, clock: TokenClock, max_bytes: int) -> None:
        self._content = content
        self._check = SizeCheck(max_bytes)
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
        # Time that the reader spends between two reads does not count, except towards the total.
        if self._loop.time() >= due:
            raise TimeoutError
        self._waiting = True
        try:
            piece = await self._content.readany()
        finally:
            self._waiting = False
        if not piece:
            raise StopAsyncIteration
        if self._check.count(piece):
            await asyncio.sleep(0)
        return piece

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _set(self, due: float) -> None:
        self.close()
        self._timer = self._loop.call_at(due, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        if not self._waiting:
            return
        if self._loop.time() < self._clock.due:
            self._set(self._clock.due)
        else:
            self._content.set_exception(TimeoutError())


async def read_rest(content: aiohttp.StreamReader) -> None:
    """Read the rest of a body, which no one needs, so that its connection can be reused."""
    if content.at_eof():
        return
    read = 0
    with suppress(TimeoutError, aiohttp.ClientError):
        async with asyncio.timeout(_REST_S):
            while read < _REST_BYTES and not content.at_eof():
                read += len(await content.readany())
