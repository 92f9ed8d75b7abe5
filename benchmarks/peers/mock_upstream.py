"""An OpenAI-compatible upstream that costs next to nothing: one fixed answer, or the same as a stream of TOKENS chunks.

Prints its port.
"""

from __future__ import annotations

import asyncio
import json
from typing import cast

import uvloop

TOKENS = 24
_HEAD = {"id": "chatcmpl-1", "created": 1, "model": "m"}
_USAGE = {"prompt_tokens": 9, "completion_tokens": TOKENS, "total_tokens": 9 + TOKENS}


def _whole() -> bytes:
    message = {"role": "assistant", "content": "word " * TOKENS}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    body = json.dumps({**_HEAD, "object": "chat.completion", "choices": [choice], "usage": _USAGE}).encode()
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def _pieces() -> list[bytes]:
    """The response in the writes that it is sent in."""
    deltas = [{"role": "assistant", "content": ""}, *[{"content": "word "}] * TOKENS, {}]
    chunks = [[{"index": 0, "delta": delta, "finish_reason": None if delta else "stop"}] for delta in deltas]
    head = {**_HEAD, "object": "chat.completion.chunk"}
    frames = [json.dumps({**head, "choices": choices}) for choices in chunks]
    frames += [json.dumps({**head, "choices": [], "usage": _USAGE}), "[DONE]"]
    events = [f"data: {frame}\n\n".encode() for frame in frames]
    sent = [b"%x\r\n%s\r\n" % (len(event), event) for event in events]
    start = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    return [start, *sent, b"0\r\n\r\n"]


class Upstream(asyncio.Protocol):
    """Answers one request after the other; any path."""

    whole, pieces = _whole(), _pieces()

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
        if b'"stream":true' in body.replace(b" ", b""):
            self._send(0)
        else:
            self._transport.write(self.whole)

    def _send(self, number: int) -> None:
        """Each piece in a turn of the loop of its own, as a model's tokens come."""
        if self._transport.is_closing() or number == len(self.pieces):
            return
        self._transport.write(self.pieces[number])
        asyncio.get_running_loop().call_soon(self._send, number + 1)


async def main() -> None:
    server = await asyncio.get_running_loop().create_server(Upstream, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main())
