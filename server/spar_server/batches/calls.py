"""Requests that this server makes to itself: the whole way of a client's, but for the network and the secret."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any, Final

from starlette.types import ASGIApp, Message

from spar_server.http.headers import REQUEST_OF
from spar_server.settings import ApiKey


@dataclass(frozen=True, slots=True)
class Answer:
    """A response; the names of its `headers` are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


_FAILED: Final = Answer(500, {}, b'{"error":{"message":"internal error","type":"api_error","param":null,"code":"500"}}')


async def post(app: ASGIApp, path: str, body: bytes, key: ApiKey) -> Answer:
    """POST a JSON body on behalf of `key`. Quotas, limits, admission, traces and metrics are those of any request."""
    # In a task of its own, because the middleware binds the context of model calls to the task.
    return await asyncio.create_task(_post(app, path, body, key))


async def _post(app: ASGIApp, path: str, body: bytes, key: ApiKey) -> Answer:
    sent = False
    status, headers, parts = 0, {}, []

    async def receive() -> Message:
        nonlocal sent
        if sent:
            # The client never leaves.
            await asyncio.Event().wait()
        sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Message) -> None:
        nonlocal status, headers
        if message["type"] == "http.response.start":
            status = message["status"]
            headers = {str(name, "latin-1").lower(): str(value, "latin-1") for name, value in message["headers"]}
        else:
            parts.append(message.get("body", b""))

    await app(_scope(path, len(body), key), receive, send)
    return Answer(status, headers, b"".join(parts)) if status else _FAILED


def _scope(path: str, length: int, key: ApiKey) -> dict[str, Any]:
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [
            (b"host", b"localhost"),
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % length),
        ],
        "client": None,
        "server": ("127.0.0.1", 0),
        "state": {},
        REQUEST_OF: key,
    }
