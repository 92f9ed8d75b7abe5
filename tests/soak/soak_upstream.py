"""A faulty OpenAI-compatible upstream that records what it did for each request of the soak.

Requests are distinguished by `[#NUMBER]` in their conversation. `[#NUMBER leave]` is a request whose client will
disconnect; its last call takes long.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from aiohttp import web

FAULT_RATE: Final = 0.05
# Each fault, and the status with which the gateway must respond.
FAULTS: Final = {"429": 429, "503": 503, "500": 502, "reset": 502, "truncated": 502, "invalid": 502, "told": 502}
# Longer than any run lasts, so that a call whose client disconnects can only end by being aborted.
_SLOW_S: Final = 60.0
_TAG: Final = re.compile(r"\[#(\d+)( leave)?\]")


@dataclass
class Record:
    """The calls that were made for one request."""

    faults: list[str] = field(default_factory=list)
    tokens: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    begun: int = 0
    finished: int = 0
    aborted: int = 0
    # Slow calls that were not aborted; there must be none.
    outlived: int = 0


class FaultyUpstream:
    """Serves `actor` and `refiner`; five percent of the calls fail."""

    def __init__(self, seed: int) -> None:
        self.records: defaultdict[int, Record] = defaultdict(Record)
        self._random = random.Random(seed)

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        """The context's value is the base URL."""
        app = web.Application()
        app.router.add_post("/v1/chat/completions", self._answer)
        app.router.add_get("/health", self._health)
        runner = web.AppRunner(app, handler_cancellation=True, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        try:
            yield f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
        finally:
            await runner.cleanup()

    async def _health(self, request: web.Request) -> web.Response:
        return web.Response()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        body = json.loads(await request.text())
        tag = _TAG.search(json.dumps(body["messages"]))
        assert tag is not None
        record = self.records[int(tag[1])]
        record.begun += 1
        try:
            return await self._try(request, body, record, leaving=bool(tag[2]))
        except asyncio.CancelledError:
            record.aborted += 1
            raise
        except ConnectionError:
            record.aborted += 1
            return web.Response()

    async def _try(
        self, request: web.Request, body: dict[str, Any], record: Record, *, leaving: bool
    ) -> web.StreamResponse:
        role = _role(body)
        # Clients disconnect from a search while it judges, and from a passed-through request while it is drafted.
        slow = leaving and (role == "judge" or "pass" in body["messages"][-1]["content"])
        if not slow and self._random.random() < FAULT_RATE:
            return await self._fail(request, body, record)
        usage = {"prompt_tokens": self._random.randint(1, 900), "completion_tokens": self._random.randint(1, 90)}
        text = self._text(role)
        if body.get("stream"):
            response = await self._stream(request, text, usage, pause_s=_SLOW_S if slow else 0.001)
        else:
            await asyncio.sleep(_SLOW_S if slow else self._random.uniform(0.001, 0.008))
            choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
            response = web.json_response({"choices": [choice] * (body.get("n") or 1), "usage": usage})
        record.finished += 1
        record.outlived += slow
        record.tokens[role].update(prompt=usage["prompt_tokens"], completion=usage["completion_tokens"])
        return response

    def _text(self, role: str) -> str:
        if role == "judge":
            return f"It could be better.\nFinal Judgement: {'Yes' if self._random.random() < 0.3 else 'No'}"
        text = f"answer {self._random.getrandbits(40)}"
        return f"[[start]]\n{text}\n[[end]]" if role == "refiner" else text

    async def _stream(
        self, request: web.Request, text: str, usage: dict[str, int], *, pause_s: float
    ) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(_frame({"role": "assistant", "content": ""}))
        for word in text.split(" "):
            await response.write(_frame({"content": f"{word} "}))
            await asyncio.sleep(pause_s)
        await response.write(_frame({}, "stop"))
        await response.write(f"data: {json.dumps({'choices': [], 'usage': usage})}\n\ndata: [DONE]\n\n".encode())
        return response

    async def _fail(self, request: web.Request, body: dict[str, Any], record: Record) -> web.StreamResponse:
        fault = self._random.choice(list(FAULTS))
        record.faults.append(fault)
        match fault:
            case "429" | "503" | "500":
                return web.json_response({"error": {"message": "a fault"}}, status=int(fault))
            case "invalid":
                return web.Response(text="data: {\n\n" if body.get("stream") else "{", content_type="text/plain")
            case "told":
                told = json.dumps({"error": {"message": "a fault"}})
                return web.Response(text=f"data: {told}\n\n" if body.get("stream") else told)
            case "truncated":
                response = web.StreamResponse(headers={"Content-Length": "1000"})
                await response.prepare(request)
                await response.write(_frame({"content": "half "}) if body.get("stream") else b'{"choices": [')
        assert request.transport is not None
        request.transport.abort()  # type: ignore[attr-defined]
        return web.Response()


def _role(body: dict[str, Any]) -> str:
    if body["model"] == "actor":
        return "actor"
    return "refiner" if len(body["messages"]) > 1 else "judge"


def _frame(delta: dict[str, Any], finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return f"data: {json.dumps({'choices': [choice]})}\n\n".encode()
