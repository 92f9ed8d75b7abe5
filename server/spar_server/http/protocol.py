"""uvicorn's HTTP/1.1 protocol with limits on buffered bytes and on every wait for a client."""

from __future__ import annotations

import asyncio
import fcntl
import json
import socket
import struct
import termios
import time
import urllib.parse
from collections import deque
from enum import Enum, auto
from http import HTTPStatus
from typing import ClassVar, Final, cast

import httptools
from starlette.types import Scope
from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from spar_server.errors import ApiError
from spar_server.http.connections import ConnectionTable, network_of
from spar_server.http.disconnect import Disconnect
from spar_server.http.exchange import Exchange
from spar_server.metrics.logs import access_log
from spar_server.settings import ConnectionLimits

# After its first `body_s`, a body must have arrived at this average rate, in bytes per second.
_MIN_BODY_RATE: Final = 8192
# After its first `send_s`, an answer must have been read at this average rate, which every line has.
_MIN_READ_RATE: Final = 1024
# After an error, or a response before the end of its request, the client gets this long to read it.
_LINGER_S: Final = 5.0
# The memory overhead of a header field, in bytes.
_FIELD_BYTES: Final = 160
# How many bytes of an answer may wait for a client before it counts as stalled; in all connections together, too, that
# is little.
_UNREAD_BYTES: Final = 4096


class _Part(Enum):
    """The part of a request that is expected next."""

    START = auto()
    HEAD = auto()
    BODY = auto()


class _ExcessError(Exception):
    """Stops the parser in the middle of its input."""


class BoundedProtocol(HttpToolsProtocol):
    """A connection. `bounded_protocol` creates the class for a server.

    Requests that arrive before the previous one is answered wait in uvicorn's pipeline. When the pipeline is over its
    limits, the requests in it are answered, nothing more is read, and the connection is closed.
    """

    limits: ClassVar[ConnectionLimits]
    table: ClassVar[ConnectionTable]
    # Copies of two limits, which are needed for every header field.
    max_head_bytes: ClassVar[int]
    max_header_fields: ClassVar[int]

    cycle: Exchange
    address = ""
    waiting_since: float | None = None
    _part = _Part.START
    _stopped = False
    # Loop time when to close the connection while the client is awaited.
    _deadline = 0.0
    # While writing stalls, or closing waits for the client: loop times since when, and up to when what was read would
    # have lasted at the least rate; how much was read since, and how much is left.
    _stalled_at: float | None = None
    _read_until = 0.0
    _read_bytes = 0
    _unread = 0
    # Bytes of the current head, and bytes fed to the parser since its last callback.
    _head = 0
    _silent = 0
    # Upper bound on the bytes of an incomplete part of the head, or of an incomplete trailer field.
    _pending = 0
    _moved_on = False
    _body = 0
    _body_began = 0.0
    _refusal: ApiError | None = None
    # The request that is being answered, or was answered last.
    _running: Exchange | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        transport.set_write_buffer_limits(_UNREAD_BYTES)
        # The size of each request in the pipeline.
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
        if self._running is not None and not self._running.response_complete:
            # uvicorn tells only the newest request of a pipeline, which does not run yet.
            self._running.disconnect()
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
            """Upgrades are not supported: answer the request as it is, and close the connection."""
        except httptools.HttpParserError:
            self._refuse(self._refusal or ApiError(400, "this is not valid HTTP/1.1", code="invalid_http"))
            return
        if self._moved_on:
            self._pending = len(data) - max(0, self._body - body)
        if self._part is not _Part.START and self._silent > self.max_head_bytes:
            # An incomplete field of the head or the trailer.
            self._refuse(self._too_large())
        elif self._part is _Part.BODY and self.waiting_since is not None and self._unanswered:
            due = self._body_began + self._body / _MIN_BODY_RATE
            self._deadline = self.limits.body_s + min(self.loop.time(), due)

    # Callbacks of the parser

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._part, self._head, self._silent, self._moved_on = _Part.HEAD, 0, 0, True
        if self.waiting_since is not None:
            self._wait(self.limits.head_s)

    def on_url(self, url: bytes) -> None:
        self._silent = 0
        self._head += len(url)
        if self._head > self.max_head_bytes:
            raise self._excess(ApiError(414, self._over("URL"), code="url_too_large"))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._silent = 0
        self._head = head = self._head + len(name) + len(value) + 4
        if head > self.max_head_bytes or len(self.headers) >= self.max_header_fields:
            raise self._excess(self._too_large() if head > self.max_head_bytes else self._too_many())
        if name[:1] in b"eE":
            # Only for `Expect` does uvicorn do more.
            super().on_header(name, value)
        else:
            self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        behind = self._unanswered
        if behind and len(self.pipeline) >= self.limits.max_pipelined:
            raise self._excess(None)
        if behind:
            self._queue(self._head)
        self.cycle = exchange = self._new_exchange()
        if behind:
            self.flow.pause_reading()
            self.pipeline.appendleft((exchange, self.app))
        else:
            self._start_asgi_task(exchange, self.app)
        self._part, self._silent, self._body, self._moved_on = _Part.BODY, 0, 0, True
        self._body_began = self.loop.time()
        self._deadline = self._body_began + self.limits.body_s

    def _new_exchange(self) -> Exchange:
        """The request whose head was just read. One for an upgrade is answered as it is, as the last one."""
        parser, scope, url = self.parser, self.scope, httptools.parse_url(self.url)
        path, version = url.path.decode("ascii"), parser.get_http_version()
        scope["method"] = parser.get_method().decode("ascii")
        scope["http_version"] = version
        scope["path"] = self.root_path + (urllib.parse.unquote(path) if "%" in path else path)
        scope["raw_path"] = self.root_path.encode("ascii") + url.path
        scope["query_string"] = url.query or b""
        exchange = Exchange(
            scope=scope,
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=False,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=self.expect_100_continue,
            keep_alive=version != "1.0" and parser.should_keep_alive() and not parser.should_upgrade(),
            on_response=self.on_response_complete,
        )
        exchange.client = Disconnect.of(cast(Scope, scope), self.flow)
        return exchange

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
            # The response was complete before the request.
            self._wait(self.limits.idle_s)

    # Responses of the application

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        assert isinstance(cycle, Exchange)
        self._running = cycle
        super()._start_asgi_task(cycle, app)

    def on_response_complete(self) -> None:
        """Continue with the next request in the pipeline, or wait for one."""
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
        self._stall(self.loop.time())
        super().pause_writing()
        self.table.stall(self, self.transport.get_write_buffer_size())

    def resume_writing(self) -> None:
        self._stalled_at = None
        super().resume_writing()
        self.table.resume(self)
        if self.waiting_since is not None and self._part is _Part.START and not self._stopped:
            # A client sends its next request when it has read the answer.
            self._wait(self.limits.idle_s)

    # The interface for the connection table

    def expire(self, now: float) -> None:
        """Close the connection if one of its timeouts has expired."""
        if self._stalled_at is None and self.transport.is_closing():
            # Closing waits until the client has read everything, which it may never do.
            self._stall(now)
        if self._stalled_at is not None:
            if self._reads_nothing(now):
                self.abort()
        elif now > self._deadline and self._is_awaited:
            self._end()

    def abort(self) -> None:
        """Drop the connection at once, without sending the rest."""
        self.transport.abort()

    def _end(self) -> None:
        if self._unanswered or self._stopped or self.transport.get_write_buffer_size():
            self.abort()
            return
        if self._part is _Part.HEAD:
            self._refuse(ApiError(408, f"no complete request within {self.limits.head_s:g} s", code="request_timeout"))
        self.transport.close()

    @property
    def _held(self) -> int:
        """Bytes that have not reached the application: an incomplete head or field, and the pipeline."""
        queued = sum(self._queued) if self._queued else 0
        if self._part is _Part.START:
            return queued
        fields = len(self.headers) if self._part is _Part.HEAD else 0
        return self._pending + fields * _FIELD_BYTES + queued

    @property
    def _unanswered(self) -> bool:
        """Whether a request whose head was read is not yet answered."""
        return self.cycle is not None and not self.cycle.response_complete

    @property
    def _is_queued(self) -> bool:
        """Whether the latest request is in the pipeline."""
        return bool(self.pipeline) and self.pipeline[0][0] is self.cycle

    @property
    def _is_awaited(self) -> bool:
        """Whether the client has to send something. A body that the application does not read yet does not count."""
        return self.waiting_since is not None and not (self._unanswered and self.flow.read_paused)

    @property
    def _linger_s(self) -> float:
        return min(_LINGER_S, self.limits.body_s)

    def _wait(self, seconds: float) -> None:
        """Give the client `seconds` to send something."""
        # Not the loop's time, which some loops only take at each of their steps: it tells who has waited longest.
        self.waiting_since = time.monotonic()
        self._deadline = self.loop.time() + seconds

    def _stall(self, now: float) -> None:
        self._stalled_at = self._read_until = now
        self._read_bytes, self._unread = 0, self._bytes_unread()

    def _reads_nothing(self, now: float) -> bool:
        """Whether the client of a stalled connection has read nothing, or too little, for `send_s`."""
        assert self._stalled_at is not None
        unread = self._bytes_unread()
        if unread < self._unread:
            self._read_bytes += self._unread - unread
            self._read_until = min(now, self._stalled_at + self._read_bytes / _MIN_READ_RATE)
        self._unread = unread
        return now - self._read_until > self.limits.send_s

    def _bytes_unread(self) -> int:
        """How much of what was written has not reached the client, here and in the kernel, which may hold megabytes."""
        return self.transport.get_write_buffer_size() + _kernel_unread(self.transport.get_extra_info("socket"))

    def _queue(self, size: int) -> None:
        """Record the size of the newest request in the pipeline."""
        self._queued.appendleft(size)
        if sum(self._queued) > self.max_head_bytes:
            raise self._excess(None)

    def _too_large(self) -> ApiError:
        return ApiError(431, self._over("request's head"), code="headers_too_large")

    def _too_many(self) -> ApiError:
        limit = self.max_header_fields
        return ApiError(431, f"over this server's limit of {limit} header fields", code="headers_too_large")

    def _over(self, what: str) -> str:
        return f"the {what} is over this server's limit of {self.max_head_bytes} bytes"

    def _excess(self, refusal: ApiError | None) -> _ExcessError:
        self._refusal = refusal
        return _ExcessError()

    def _refuse(self, error: ApiError) -> None:
        """Stop reading, and send the error unless another response has to come first."""
        self._stopped = True
        if self._is_queued and self._part is _Part.BODY:
            # It will never be complete.
            self.pipeline.popleft()
            self._queued.popleft()
            newest = self.pipeline[0][0] if self.pipeline else self._running
            assert isinstance(newest, Exchange)
            self.cycle = newest
        elif self._unanswered and self._part is _Part.BODY:
            # To the application, the client has disconnected.
            self.cycle.disconnect()
            if self.cycle.response_started:
                self.abort()
                return
        if self._unanswered and not self.cycle.disconnected:
            self.cycle.keep_alive = False
            return
        access_log.write(status=error.status, code=error.code, client=self.address)
        self.transport.write(_encode(error))
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self._wait(self._linger_s)


def _kernel_unread(connection: socket.socket | None) -> int:
    """The bytes that were sent and not yet acknowledged; 0 where the system does not tell."""
    if connection is None:
        return 0
    try:
        return int(struct.unpack("i", fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, bytes(4)))[0])
    except (OSError, ValueError):
        return 0


def _encode(error: ApiError) -> bytes:
    body = json.dumps(error.body).encode()
    head = (
        f"HTTP/1.1 {error.status} {HTTPStatus(error.status).phrase}\r\ncontent-type: application/json\r\n"
        f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
    )
    return head.encode() + body


def bounded_protocol(limits: ConnectionLimits) -> type[BoundedProtocol]:
    """Create a server's protocol class for `uvicorn.Config(http=...)`; its connections share one table."""
    fields = {
        "limits": limits,
        "table": ConnectionTable(limits),
        "max_head_bytes": limits.max_head_bytes,
        "max_header_fields": limits.max_header_fields,
    }
    return type("BoundedProtocol", (BoundedProtocol,), fields)
