"""A minimal proxy for chat completions: FastAPI and aiohttp, without any checks or metrics.

Arguments: the upstream's base URL and the port to listen on.
"""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import Response, StreamingResponse


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as app.state.client:
        yield


app = FastAPI(lifespan=lifespan)


@app.post("/v1/chat/completions")
async def chat(request: Request) -> Response:
    body = json.loads(await request.body())
    client: aiohttp.ClientSession = request.app.state.client
    upstream = await client.post(f"{sys.argv[1]}/chat/completions", json=body)
    if body.get("stream"):
        return StreamingResponse(_pieces(upstream), media_type="text/event-stream")
    async with upstream:
        return Response(await upstream.read(), upstream.status, media_type="application/json")


async def _pieces(upstream: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    async with upstream:
        async for piece in upstream.content.iter_any():
            yield piece


if __name__ == "__main__":
    uvicorn.run(app, port=int(sys.argv[2]), log_level="warning")
