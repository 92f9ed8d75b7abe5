"""Well-behaved and faulty upstreams on loopback for tests of the HTTP backend."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

from spar_core.backends.openai import OpenAIBackend
from spar_core.types import Message

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
HELLO = [Message("user", "Hi", {"name": "ann"})]
DONE = b"data: [DONE]\n\n"


@asynccontextmanager
async def upstream(
    handler: Handler,
    *,
    path: str = "/v1/chat/completions",
    routes: dict[str, Handler] | None = None,
    **settings: Any,
) -> AsyncIterator[OpenAIBackend]:
    app = web.Application()
    app.router.add_post(path, handler)
    for each, get in (routes or {}).items():
        app.router.add_get(each, get)
    runner = web.AppRunner(app, handler_cancellation=True)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = site._server.sockets[0].getsockname()[1]  # type: ignore[union-attr]
    backend = OpenAIBackend(base_url=f"http://127.0.0.1:{port}/v1/", model="m", **settings)
    try:
        yield backend
    finally:
        await backend.aclose()
        await runner.cleanup()


def answer(**changed: Any) -> dict[str, Any]:
    return {
        "choices": [{"message": {"role": "assistant", "content": "Hello"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 3, "completion_tokens": 2},
    } | changed


def replying(body: Any, status: int = 200, headers: dict[str, str] | None = None) -> Handler:
    async def handle(request: web.Request) -> web.Response:
        text = body if isinstance(body, str) else json.dumps(body)
        return web.Response(text=text, status=status, headers=headers, content_type="application/json")

    return handle


def streaming(*pieces: bytes, reset: bool = False) -> Handler:
    async def handle(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for piece in pieces:
            await response.write(piece)
            await asyncio.sleep(0.01)
        if reset and request.transport is not None:
            request.transport.abort()  # type: ignore[attr-defined]
        return response

    return handle


def chunk(**delta: Any) -> bytes:
    finish = delta.pop("finish", None)
    return f"data: {json.dumps({'choices': [{'delta': delta, 'finish_reason': finish}]})}\n\n".encode()
