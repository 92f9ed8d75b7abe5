"""uvicorn's HTTP/1.1 protocol with limits: no byte of a stranger's is kept without a bound, and no wait is endless."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from enum import Enum, auto
from http import HTTPStatus
from typing import ClassVar, Final

import httptools
from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from spar_server.errors import ApiError
from spar_server.http.connections import ConnectionTable, network_of
from spar_server.metrics.logs import log_access
from spar_server.settings import ConnectionLimits

# A body that has passed its first `body_s` must have come at this rate: bytes a second on the whole.
_MIN_BODY_RATE: Final = 8192
# After an answer that came before its request had ended, or an error: a client that is still sending gets to read it.
_LINGER_S: Final = 5.0
# What a header field takes besides its text.
_FIELD_BYTES: Final = 160


class _Part(Enum):
    """What of a request comes next."""

    START = auto()
    HEAD = auto()
    BODY = auto()


class _ExcessError(Exception):
    """Stops the parser in the middle of its bytes."""


class BoundedProtocol(HttpToolsProtocol):
    """One connection. `bounded_protocol` makes the class for one server.

    Requests that come before the last one is answered wait in uvicorn's pipeline. What is over the pipeline's limits
    is not read: the requests before it are answered, and the connection is closed.
    """

    limits: ClassVar[ConnectionLimits]
    table: ClassVar[ConnectionTable]

    address = ""
    waiting_since: float | None = None
    _part = _Part.START
    _stopped = False
    # When the connection has to be closed if it is waited for the client; when writing stopped; when closing began.
    _deadline = 0.0
    _stalled_at: float | None = None
    _closing_at: float | None = None
    # Bytes of the head being read; of what the parser was fed since it last had something to show for it.
    _head = 0
    _silent = 0
    # Bytes, at most, of a part of the head, or of a field after the last chunk, that has no end yet.
    _pending = 0
    _moved_on = False
    _body = 0
    _body_began = 0.0
    _refusal: ApiError | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        # Of each request in the pipeline.
        self._queued: deque[int] = deque()
        self.address = network_of(self.client[0]) if self.client else ""
        self._wait(self.limits.head_s)
        if not self.table.admit(self):
            self._refuse(
                ApiError(
                    503,
                    "too many connections; an operator can raise connections.max_per_address or max_connections",
                    "overloaded_error",
                    code="too_many_connections",
                )
            )
            transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self.table.remove(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._stopped:
            return
        self._read(data)
        self.table.hold(self, 0 if self._stopped else self._held)

    def _read(self, data: bytes) -> None:
        self._silent += len(data)
        self._pending += len(data)
        self._moved_on, body = False, self._body
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            """There is no other protocol here: the request is answered as it is, and the connection closed."""
        except httptools.HttpParserError:
            self._refuse(self._refusal or ApiError(400, "this is not valid HTTP/1.1", code="invalid_http"))
            return
        if self._moved_on:
            self._pending = len(data) - max(0, self._body - body)
        if self._part is not _Part.START and self._silent > self.limits.max_head_bytes:
            # A field that has no end yet, of the head or after the last chunk.
            self._refuse(self._too_large())
        elif self._part is _Part.BODY and self.waiting_since is not None and self._unanswered:
            came = self._body_began + self._body / _MIN_BODY_RATE
            self._deadline = self.limits.body_s + min(self.loop.time(), came)

    # What the parser finds

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._part, self._head, self._silent, self._moved_on = _Part.HEAD, 0, 0, True
        if self.waiting_since is not None:
            self._wait(self.limits.head_s)

    def on_url(self, url: bytes) -> None:
        self._silent = 0
        self._head += len(url)
        if self._head > self.limits.max_head_bytes:
            raise self._excess(ApiError(414, self._over("URL"), code="url_too_large"))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._silent = 0
        self._head += len(name) + len(value) + 4
        if self._head > self.limits.max_head_bytes:
            raise self._excess(self._too_large())
        if len(self.headers) >= self.limits.max_header_fields:
            most = self.limits.max_header_fields
            raise self._excess(
                ApiError(431, f"over this server's limit of {most} header fields", code="headers_too_large")
            )
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        behind = self._unanswered
        if behind and len(self.pipeline) >= self.limits.max_pipelined:
            raise self._excess(None)
        if behind:
            self._queue(self._head)
        super().on_headers_complete()
        if self.parser.should_upgrade():
            self.cycle.keep_alive = False
        self._part, self._silent, self._body, self._moved_on = _Part.BODY, 0, 0, True
        self._body_began = self.loop.time()
        self._deadline = self._body_began + self.limits.body_s

    def on_body(self, body: bytes) -> None:
        self._silent, self._moved_on = 0, True
        self._body += len(body)
        if self.pipeline and self._is_queued:
            self._queue(self._queued.popleft() + len(body))
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._part = _Part.START
        super().on_message_complete()
        if self._unanswered:
            self.waiting_since = None
        else:
            # It was answered before it had ended.
            self._wait(self.limits.idle_s)

    # What the application sends

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._running = cycle
        super()._start_asgi_task(cycle, app)

    def on_response_complete(self) -> None:
        """Go on with the request that waits next, or wait for one."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._queued.pop()
            cycle, app = self.pipeline.pop()
            self._start_asgi_task(cycle, app)
            if not self.pipeline and self._part is _Part.BODY:
                self._body_began = self.loop.time()
                self._wait(self.limits.body_s)
            return
        self.cycle.body.clear()
        if self._part is _Part.START:
            self._wait(self.limits.idle_s)
        else:
            self._wait(self.limits.head_s if self._part is _Part.HEAD else self._linger_s)

    def pause_writing(self) -> None:
        self._stalled_at = self.loop.time()
        super().pause_writing()

    def resume_writing(self) -> None:
        self._stalled_at = None
        super().resume_writing()

    # What the table of connections asks

    def expire(self, now: float) -> None:
        """Close the connection if one of its times has passed."""
        if self.transport.is_closing():
            # Closing waits for a client to read what it was sent, which it may never do.
            self._closing_at = self._closing_at or now
            if now - self._closing_at > self.limits.send_s:
                self.abort()
        elif self._stalled_at is not None:
            if now - self._stalled_at > self.limits.send_s:
                self.abort()
        elif now > self._deadline and self._is_awaited:
            self._end()

    def abort(self) -> None:
        """Drop the connection at once, with what was not sent yet."""
        self.transport.abort()

    def _end(self) -> None:
        if self._unanswered or self._stopped or self.transport.get_write_buffer_size():
            self.abort()
            return
        if self._part is _Part.HEAD:
            self._refuse(ApiError(408, f"no whole request within {self.limits.head_s:g} s", code="request_timeout"))
        self.transport.close()

    @property
    def _held(self) -> int:
        """Bytes of what is not the application's yet: a head or a field without its end, and the pipeline."""
        queued = sum(self._queued)
        if self._part is _Part.START:
            return queued
        fields = len(self.headers) if self._part is _Part.HEAD else 0
        return self._pending + fields * _FIELD_BYTES + queued

    @property
    def _unanswered(self) -> bool:
        """Whether there is a request whose head was read and that is not answered."""
        return self.cycle is not None and not self.cycle.response_complete

    @property
    def _is_queued(self) -> bool:
        """Whether the request that was read last is in the pipeline."""
        return bool(self.pipeline) and self.pipeline[0][0] is self.cycle

    @property
    def _is_awaited(self) -> bool:
        """Whether it is the client's turn. A body that the application has not asked for yet is not."""
        return self.waiting_since is not None and not (self._unanswered and self.flow.read_paused)

    @property
    def _linger_s(self) -> float:
        return min(_LINGER_S, self.limits.body_s)

    def _wait(self, seconds: float) -> None:
        """Give the client so long, with nothing to answer in the meantime."""
        self.waiting_since = self.loop.time()
        self._deadline = self.waiting_since + seconds

    def _queue(self, size: int) -> None:
        """Note how much the newest request in the pipeline holds."""
        self._queued.appendleft(size)
        if sum(self._queued) > self.limits.max_head_bytes:
            raise self._excess(None)

    def _too_large(self) -> ApiError:
        return ApiError(431, self._over("request's head"), code="headers_too_large")

    def _over(self, what: str) -> str:
        return f"the {what} is over this server's limit of {self.limits.max_head_bytes} bytes"

    def _excess(self, refusal: ApiError | None) -> _ExcessError:
        self._refusal = refusal
        return _ExcessError()

    def _refuse(self, error: ApiError) -> None:
        """Read no more. The client is told why, unless it has another answer to come first."""
        self._stopped = True
        if self._is_queued and self._part is _Part.BODY:
            # It will never be whole.
            self.pipeline.popleft()
            self._queued.popleft()
            self.cycle = self.pipeline[0][0] if self.pipeline else self._running
        elif self._unanswered and self._part is _Part.BODY:
            # The application finds its client gone.
            self.cycle.disconnected = True
            self.cycle.message_event.set()
            if self.cycle.response_started:
                self.abort()
                return
        if self._unanswered and not self.cycle.disconnected:
            self.cycle.keep_alive = False
            return
        log_access(status=error.status, code=error.code, client=self.address)
        self.transport.write(_encoded(error))
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self._wait(self._linger_s)


def _encoded(error: ApiError) -> bytes:
    body = json.dumps(error.body).encode()
    head = (
        f"HTTP/1.1 {error.status} {HTTPStatus(error.status).phrase}\r\ncontent-type: application/json\r\n"
        f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
    )
    return head.encode() + body


def bounded_protocol(limits: ConnectionLimits) -> type[BoundedProtocol]:
    """The protocol of one server, whose connections share one table; for `uvicorn.Config(http=...)`."""
    return type("BoundedProtocol", (BoundedProtocol,), {"limits": limits, "table": ConnectionTable(limits)})
