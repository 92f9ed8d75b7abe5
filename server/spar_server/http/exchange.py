"""A request and its response on a connection, as uvicorn keeps them, with fewer writes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from spar_server.http.disconnect import Disconnect

if TYPE_CHECKING:
    from uvicorn._types import ASGISendEvent, HTTPResponseBodyEvent, HTTPResponseStartEvent

# What no header may contain: in a name anything but a token's characters, in a value control characters except tabs.
_NOT_IN_NAMES: Final = re.compile(rb"[^!#$%&'*+\-.^_`|~0-9A-Za-z]")
_NOT_IN_VALUES: Final = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
# A longer beginning of a body is not copied behind the head.
_MAX_JOINED: Final = 64 * 1024
_NO_BODY: Final = (204, 304)


class Exchange(RequestResponseCycle):
    """A request and its response, as an ASGI application sees them.

    The head of a response is written together with the beginning of its body: a write is a large part of what a small
    answer costs, and it wakes the client.
    """

    # Tells the application when the client disconnects. Set once, by the protocol.
    client: Disconnect
    # The head of a response whose body has not begun.
    _head = b""

    def disconnect(self) -> None:
        """Tell the application that the client is gone."""
        self.disconnected = True
        self.message_event.set()
        self.client.notify()

    async def send(self, message: ASGISendEvent) -> None:
        if self.flow.write_paused and not self.disconnected:
            await self.flow.drain()
        if self.disconnected:
            return
        if message["type"] == "http.response.body" and self.response_started and not self.response_complete:
            self._send_body(message)
        elif message["type"] == "http.response.start" and not self.response_started:
            self._start(message)
        else:
            raise RuntimeError(f"unexpected message {message['type']!r}")

    def _start(self, message: HTTPResponseStartEvent) -> None:
        self.response_started = True
        self.waiting_for_100_continue = False
        status = message["status"]
        headers = [*self.default_headers, *message.get("headers", ())]
        _check(headers)
        lines = [STATUS_LINE[status]]
        closes = False
        for name, value in headers:
            name = name.lower()
            if name == b"content-length" and self.chunked_encoding is None:
                self.expected_content_length, self.chunked_encoding = int(value), False
            elif name == b"transfer-encoding" and value.lower() == b"chunked":
                self.expected_content_length, self.chunked_encoding = 0, True
            elif name == b"connection" and b"close" in [token.strip() for token in value.lower().split(b",")]:
                self.keep_alive, closes = False, True
            lines += (name, b": ", value, b"\r\n")
        if not self.keep_alive and not closes:
            lines.append(b"connection: close\r\n")
        if self.chunked_encoding is None and self.scope["method"] != "HEAD" and status not in _NO_BODY:
            self.chunked_encoding = True
            lines.append(b"transfer-encoding: chunked\r\n")
        lines.append(b"\r\n")
        self._head = b"".join(lines)

    def _send_body(self, message: HTTPResponseBodyEvent) -> None:
        body, more = message.get("body", b""), message.get("more_body", False)
        if self.scope["method"] == "HEAD":
            self.expected_content_length, body = 0, b""
        elif self.chunked_encoding:
            chunk = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
            body = chunk if more else chunk + b"0\r\n\r\n"
        else:
            self.expected_content_length -= len(body)
            if self.expected_content_length < 0:
                raise RuntimeError("the response's body is longer than its Content-Length")
        self._write(body)
        if more:
            return
        if self.expected_content_length:
            raise RuntimeError("the response's body is shorter than its Content-Length")
        self.response_complete = True
        self.message_event.set()
        if not self.keep_alive:
            self.transport.close()
        self.on_response()

    def _write(self, body: bytes) -> None:
        head, self._head = self._head, b""
        if head and len(body) > _MAX_JOINED:
            self.transport.write(head)
            self.transport.write(body)
        else:
            self.transport.write(head + body)


def _check(headers: Sequence[tuple[Any, Any]]) -> None:
    """Raise RuntimeError if a header could end early and start another one."""
    names, values = zip(*headers, strict=True) if headers else ((), ())
    if _NOT_IN_NAMES.search(b"-".join(names)) or _NOT_IN_VALUES.search(b"\t".join(values)):
        raise RuntimeError("a header of the response has an invalid name or value")
