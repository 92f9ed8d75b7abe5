"""Server-sent events: when a stream starts, how it is kept alive, and how it ends."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Mapping
from typing import Final

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from spar_core.errors import BackendError, RequestError
from spar_server.errors import ApiError, ClientGoneError, api_error, internal_error
from spar_server.http.disconnect import until_disconnect

logger = logging.getLogger(__name__)

# Load balancers drop a stream that is silent for 60 s.
COMMENT_EVERY_S: Final = 10.0
_COMMENT: Final = b": waiting\n\n"
_HEADERS: Final = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    # Keeps nginx from holding the stream back.
    (b"x-accel-buffering", b"no"),
)


class LastFrames(str):
    """The frames that end a stream. They are sent with the end of the response, in one write."""

    __slots__ = ()


class EventStream(Response):
    """A `text/event-stream` of `frames`. The generator is closed as soon as the client disconnects.

    The stream starts with the first frame, or with a comment if there is none for long. An error before that is
    raised, so that it becomes a status; a later one becomes the last frame, rendered by `failure`. An empty frame is
    not sent: it marks that the request is admitted. No comment is sent before it, because a refusal must be a status.
    """

    def __init__(
        self,
        frames: AsyncGenerator[str, None],
        failure: Callable[[ApiError], str],
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self._frames = frames
        self._failure = failure
        self.status_code = 200
        self.background = None
        added = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in (headers or {}).items()]
        self.raw_headers = [*_HEADERS, *added]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        channel = _Channel(send, self.raw_headers, comment_every_s=COMMENT_EVERY_S)
        try:
            await until_disconnect(scope, receive, self._send(channel))
        except ClientGoneError:
            if not channel.started:
                raise

    async def _send(self, channel: _Channel) -> None:
        last = b""
        try:
            async for text in self._frames:
                if isinstance(text, LastFrames):
                    await channel.finish_comment()
                    last = _encode(text)
                elif text:
                    await channel.send(_encode(text))
                else:
                    channel.keep_alive()
        except Exception as error:
            # Catch everything here: to a client, a stream that just ends looks complete.
            if not channel.started:
                raise
            await channel.finish_comment()
            last = _encode(self._failure(_to_api_error(error)))
        finally:
            await channel.close()
            await self._frames.aclose()
        await channel.end(last)


class _Channel:
    """Sends frames to the client, and comments while there are none. A single timer checks for silence."""

    def __init__(self, send: Send, headers: list[tuple[bytes, bytes]], *, comment_every_s: float) -> None:
        self.started = False
        self._send = send
        self._headers = headers
        self._every_s = comment_every_s
        self._loop = asyncio.get_running_loop()
        self._sent_at = self._loop.time()
        self._sending = False
        self._timer: asyncio.TimerHandle | None = None
        self._comment: asyncio.Task[None] | None = None

    async def send(self, body: bytes) -> None:
        # One message at a time.
        await self.finish_comment()
        await self._put(body)

    async def finish_comment(self) -> None:
        """Wait until no comment is being sent."""
        if self._comment is not None:
            comment, self._comment = self._comment, None
            await comment

    async def _put(self, body: bytes) -> None:
        self._sending = True
        await self._start()
        await self._send({"type": "http.response.body", "body": body, "more_body": True})
        self._sending = False
        self._sent_at = self._loop.time()

    async def _start(self) -> None:
        if not self.started:
            self.started = True
            await self._send({"type": "http.response.start", "status": 200, "headers": self._headers})

    async def end(self, body: bytes) -> None:
        """End the response with `body`. The channel must be closed."""
        await self._start()
        await self._send({"type": "http.response.body", "body": body, "more_body": False})

    def keep_alive(self) -> None:
        """From now on send a comment after every silence, including the time before this call."""
        self._timer = self._loop.call_at(self._sent_at + self._every_s, self._check_silence)

    async def close(self) -> None:
        """Stop sending comments."""
        if self._timer is not None:
            self._timer.cancel()
        if self._comment is not None:
            self._comment.cancel()
            await asyncio.gather(self._comment, return_exceptions=True)

    def _check_silence(self) -> None:
        now, due = self._loop.time(), self._sent_at + self._every_s
        # If the client is not reading, more output would only pile up.
        if now >= due and not self._sending:
            self._comment = self._loop.create_task(self._put(_COMMENT))
        self._timer = self._loop.call_at(due if due > now else now + self._every_s, self._check_silence)


def _encode(frames: str) -> bytes:
    """Encode `frames`, escaping line separators, which only occur in JSON strings but end a line for some clients."""
    if not frames.isascii():
        frames = frames.replace("\x85", "\\u0085").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
    return frames.encode()


def _to_api_error(error: Exception) -> ApiError:
    if isinstance(error, ApiError | RequestError | BackendError):
        return api_error(error)
    logger.error("a stream broke", exc_info=error)
    return internal_error()
