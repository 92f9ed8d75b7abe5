"""A stream of events on its way to a client: when it begins, what keeps it alive, and how it ends."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable
from typing import Final

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from spar_core.errors import BackendError, RequestError
from spar_server.errors import ApiError, ClientGoneError, api_error, internal_error
from spar_server.http.disconnect import until_disconnect

logger = logging.getLogger(__name__)

# Load balancers drop a silent stream at 60 s.
COMMENT_EVERY_S: Final = 10.0
_COMMENT: Final = b": waiting\n\n"


class EventStream(Response):
    """A `text/event-stream` of `frames`, whose generator is closed as soon as the client goes.

    It begins with the first frame, or with a comment where there is none for long. What fails before that is raised,
    so that it can still be a status; what fails later is the last frame, in the words of `failure`. An empty frame is
    not sent: it says that the request's turn has come. Before it no comment is sent, for a refusal has to be a status.
    """

    def __init__(self, frames: AsyncGenerator[str, None], failure: Callable[[ApiError], str]) -> None:
        self._frames = frames
        self._failure = failure
        self.status_code = 200
        self.background = None
        # X-Accel-Buffering keeps nginx from holding the stream back.
        self.init_headers(
            {
                "content-type": "text/event-stream; charset=utf-8",
                "cache-control": "no-cache",
                "x-accel-buffering": "no",
            }
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        line = _Line(send, self.raw_headers, comment_every_s=COMMENT_EVERY_S)
        try:
            await until_disconnect(receive, self._send(line))
        except ClientGoneError:
            if not line.begun:
                raise

    async def _send(self, line: _Line) -> None:
        try:
            async for text in self._frames:
                if text:
                    await line.say(_encoded(text))
                else:
                    line.keep_alive()
        except Exception as error:
            # The process's edge: a stream that just ends looks complete to a client.
            if not line.begun:
                raise
            await line.say(_encoded(self._failure(_told(error))))
        finally:
            await line.close()
            await self._frames.aclose()
        await line.end()


class _Line:
    """What has been said to the client and when. One timer looks now and then whether that was long ago."""

    def __init__(self, send: Send, headers: list[tuple[bytes, bytes]], *, comment_every_s: float) -> None:
        self.begun = False
        self._send = send
        self._headers = headers
        self._every_s = comment_every_s
        self._loop = asyncio.get_running_loop()
        self._said_at = self._loop.time()
        self._sending = False
        self._timer: asyncio.TimerHandle | None = None
        self._comment: asyncio.Task[None] | None = None

    async def say(self, body: bytes) -> None:
        if self._comment is not None:
            # One at a time: what is on its way goes first.
            comment, self._comment = self._comment, None
            await comment
        await self._put(body)

    async def _put(self, body: bytes) -> None:
        self._sending = True
        if not self.begun:
            self.begun = True
            await self._send({"type": "http.response.start", "status": 200, "headers": self._headers})
        await self._send({"type": "http.response.body", "body": body, "more_body": True})
        self._sending = False
        self._said_at = self._loop.time()

    async def end(self) -> None:
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    def keep_alive(self) -> None:
        """From now on say something whenever nothing else was said for long, the time before this counted in."""
        self._timer = self._loop.call_at(self._said_at + self._every_s, self._ring)

    async def close(self) -> None:
        """No more comments."""
        if self._timer is not None:
            self._timer.cancel()
        if self._comment is not None:
            self._comment.cancel()
            await asyncio.gather(self._comment, return_exceptions=True)

    def _ring(self) -> None:
        now, due = self._loop.time(), self._said_at + self._every_s
        # A client that does not read what is sent already has no use for more.
        if now >= due and not self._sending:
            self._comment = self._loop.create_task(self._put(_COMMENT))
        self._timer = self._loop.call_at(due if due > now else now + self._every_s, self._ring)


def _encoded(frames: str) -> bytes:
    """`frames` without what some clients take for the end of a line, and which only JSON's strings hold."""
    if not frames.isascii():
        frames = frames.replace("\x85", "\\u0085").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
    return frames.encode()


def _told(error: Exception) -> ApiError:
    if isinstance(error, ApiError | RequestError | BackendError):
        return api_error(error)
    logger.error("a stream broke", exc_info=error)
    return internal_error()
