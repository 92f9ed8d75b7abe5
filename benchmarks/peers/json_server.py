"""A JSON server without a framework, for upstreams whose own cost must not affect a benchmark."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast


class JsonServer(asyncio.Protocol):
    """One connection: takes one request after the other, and answers what its subclass says."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._read = b""

    def data_received(self, data: bytes) -> None:
        self._read += data
        head, end, body = self._read.partition(b"\r\n\r\n")
        length = next((line[15:] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), b"0")
        if not end or len(body) < int(length):
            return
        self._read = b""
        method, path, _ = head.split(b" ", 2)
        self.asked(method.decode(), path.decode(), body)

    def asked(self, method: str, path: str, body: bytes) -> None:
        """A request is here whole."""
        raise NotImplementedError

    def send(self, body: bytes) -> None:
        """Answer with JSON, if there is still someone to answer."""
        if not self._transport.is_closing():
            self._transport.write(whole(body))


def whole(body: bytes) -> bytes:
    """A response with `body`."""
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


async def serve(connection: Callable[[], JsonServer]) -> None:
    """Serve on a free port, which is printed."""
    server = await asyncio.get_running_loop().create_server(connection, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()
