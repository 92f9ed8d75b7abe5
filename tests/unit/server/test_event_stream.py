"""A stream is closed however early its client goes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

from spar_server.disconnect import EventStream
from spar_server.streaming import told


async def test_a_client_that_goes_before_the_headers_are_out_stops_the_work() -> None:
    closed = asyncio.Event()

    async def frames() -> AsyncGenerator[str, None]:
        try:
            while True:
                yield "data: 1\n\n"
        finally:
            closed.set()

    async def gone() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    async def never_sent(message: Any) -> None:
        await asyncio.sleep(60)

    stream = frames()
    response = EventStream(told(await anext(stream), stream, str))
    await response({"type": "http"}, gone, never_sent)
    assert closed.is_set()
