"""What an upstream counts of its tokens reaches the client of an answer that is passed through."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from spar_server.pair import build_pair
from spar_server.settings import Settings

Running = Callable[..., AbstractContextManager[str]]
USAGE: dict[str, Any] = {"prompt_tokens": 30, "completion_tokens": 9, "total_tokens": 39}
DETAILS = {"prompt_tokens_details": {"cached_tokens": 16}, "completion_tokens_details": {"reasoning_tokens": 4}}


def upstream(usage: dict[str, Any]) -> Starlette:
    """Answers as OpenAI does, streamed or not."""

    async def answer(request: Request) -> Response:
        message = {"role": "assistant", "content": "Hi"}
        if not (await request.json()).get("stream"):
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            return JSONResponse({"choices": [choice], "usage": usage})
        chunks = [
            {"choices": [{"index": 0, "delta": message, "finish_reason": "stop"}]},
            {"choices": [], "usage": usage},
        ]
        frames = "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks)
        return Response(f"{frames}data: [DONE]\n\n", media_type="text/event-stream")

    return Starlette(routes=[Route("/v1/chat/completions", answer, methods=["POST"])])


def usages(running: Running, serving: Running, usage: dict[str, Any], **body: Any) -> list[dict[str, Any]]:
    """Of an answer in one piece, and of one that is streamed."""
    asked = {"model": "pair", "messages": [{"role": "user", "content": "Hi"}], **body}
    streamed = asked | {"stream": True, "stream_options": {"include_usage": True}}
    with running(upstream(usage)) as behind:
        settings = Settings(actor={"url": f"{behind}/v1", "model": "m"}, model="pair")  # type: ignore[arg-type]
        with serving(build_pair(settings), settings) as url:
            whole = httpx.post(f"{url}/v1/chat/completions", json=asked).json()
            *_, last, done = httpx.post(f"{url}/v1/chat/completions", json=streamed).text.strip().split("\n\n")
    assert done == "data: [DONE]"
    return [whole["usage"], json.loads(last.removeprefix("data: "))["usage"]]


def test_cached_and_reasoning_tokens_are_passed_on(running: Running, serving: Running) -> None:
    for usage in usages(running, serving, USAGE | DETAILS):
        assert {name: usage[name] for name in USAGE | DETAILS} == USAGE | DETAILS


@pytest.mark.parametrize("details", [None, 7, {}, {"cached_tokens": None, "reasoning_tokens": "many"}])
def test_details_that_are_none_count_as_nothing(running: Running, serving: Running, details: Any) -> None:
    odd = {"prompt_tokens_details": details, "completion_tokens_details": details}
    for usage in usages(running, serving, USAGE | odd):
        assert (usage["prompt_tokens_details"], usage["completion_tokens_details"]) == (
            {"cached_tokens": 0},
            {"reasoning_tokens": 0},
        )


def test_several_answers_have_their_thoughts_counted_together(running: Running, serving: Running) -> None:
    for usage in usages(running, serving, USAGE | DETAILS, n=2):
        assert usage["completion_tokens"] == 18
        assert usage["completion_tokens_details"]["reasoning_tokens"] == 8
        assert (usage["prompt_tokens"], usage["prompt_tokens_details"]["cached_tokens"]) == (30, 16)
