"""An OpenAI-compatible upstream that costs next to nothing: one fixed answer, or the same as a stream of TOKENS chunks.

Prints its port.
"""

from __future__ import annotations

import asyncio
import json

import uvloop
from json_server import JsonServer, serve, whole

TOKENS = 24
_HEAD = {"id": "chatcmpl-1", "created": 1, "model": "m"}
_USAGE = {"prompt_tokens": 9, "completion_tokens": TOKENS, "total_tokens": 9 + TOKENS}


def _whole() -> bytes:
    message = {"role": "assistant", "content": "word " * TOKENS}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return whole(json.dumps({**_HEAD, "object": "chat.completion", "choices": [choice], "usage": _USAGE}).encode())


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


class Upstream(JsonServer):
    """Answers one request after the other; any path."""

    whole, pieces = _whole(), _pieces()

    def asked(self, method: str, path: str, body: bytes) -> None:
        if b'"stream":true' in body.replace(b" ", b""):
            self._send_piece(0)
        else:
            self._transport.write(self.whole)

    def _send_piece(self, number: int) -> None:
        """Each piece in a turn of the loop of its own, as a model's tokens come."""
        if self._transport.is_closing() or number == len(self.pieces):
            return
        self._transport.write(self.pieces[number])
        asyncio.get_running_loop().call_soon(self._send_piece, number + 1)


if __name__ == "__main__":
    uvloop.run(serve(Upstream))
