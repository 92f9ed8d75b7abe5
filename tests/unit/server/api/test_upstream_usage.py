"""What an upstream counts of its tokens reaches the client of an answer that is passed through."""

from __future__ import annotations

import asyncio
import itertools
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

from spar_server.models.pair import build_pair
from spar_server.settings import Settings

Running = Callable[..., AbstractContextManager[str]]
USAGE: dict[str, Any] = {"prompt_tokens": 30, "completion_tokens": 9, "total_tokens": 39}
DETAILS = {"prompt_tokens_details": {"cached_tokens": 16}, "completion_tokens_details": {"reasoning_tokens": 4}}


def upstream(usage: dict[str, Any] | None) -> Starlette:
    """Answers as OpenAI does, streamed or not."""

    async def answer(request: Request) -> Response:
        message = {"role": "assistant", "content": "Hi"}
        if not (await request.json()).get("stream"):
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            return JSONResponse({"choices": [choice]} | ({} if usage is None else {"usage": usage}))
        chunks: list[dict[str, Any]] = [{"choices": [{"index": 0, "delta": message, "finish_reason": "stop"}]}]
        if usage is not None:
            chunks.append({"choices": [], "usage": usage})
        frames = "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks)
        return Response(f"{frames}data: [DONE]\n\n", media_type="text/event-stream")

    return Starlette(routes=[Route("/v1/chat/completions", answer, methods=["POST"])])


def usages(running: Running, serving: Running, usage: dict[str, Any] | None, **body: Any) -> list[dict[str, Any]]:
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


@pytest.mark.parametrize("usage", [None, {}, {"total_tokens": 7}])
@pytest.mark.parametrize("body", [{}, {"n": 2}, {"refine_budget": 2}])
def test_what_an_upstream_does_not_count_is_null_and_never_zero(
    running: Running, serving: Running, usage: dict[str, Any] | None, body: dict[str, Any]
) -> None:
    for reported in usages(running, serving, usage, **body):
        assert [reported[f"{kind}_tokens"] for kind in ("prompt", "completion", "total")] == [None, None, None]
        assert reported["prompt_tokens_details"] == {"cached_tokens": None}
        assert reported["completion_tokens_details"] == {"reasoning_tokens": None}
        assert reported["refinement"]["tokens"]["actor"] == {"prompt": None, "completion": None}
        # No call was made in vain: nothing of them is unknown.
        assert reported["refinement"]["tokens"]["refiner"] == {"prompt": 0, "completion": 0}


def test_a_missing_count_is_null_even_if_the_upstream_sends_the_other(running: Running, serving: Running) -> None:
    for reported in usages(running, serving, {"prompt_tokens": 30}):
        assert [reported[f"{kind}_tokens"] for kind in ("prompt", "completion", "total")] == [30, None, None]


def test_a_judgement_without_token_counts_has_a_usage_of_nulls(running: Running, serving: Running) -> None:
    with running(upstream(None)) as behind:
        settings = Settings(actor={"url": f"{behind}/v1", "model": "m"}, model="pair")  # type: ignore[arg-type]
        with serving(build_pair(settings), settings) as url:
            judged = httpx.post(
                f"{url}/v1/judge", json={"messages": [{"role": "user", "content": "Hi"}], "response": "Hello"}
            ).json()
    assert judged["usage"] == {"prompt_tokens": None, "completion_tokens": None, "total_tokens": None}


class CountingUpstream:
    """Judges only refinements good, and finishes what is cancelled: it knows what it was really made to generate."""

    def __init__(self) -> None:
        self.generated = 0
        self._refinements = itertools.count()

    @property
    def app(self) -> Starlette:
        return Starlette(routes=[Route("/v1/chat/completions", self._answer, methods=["POST"])])

    async def _answer(self, request: Request) -> Response:
        body = await request.json()
        said, late_s = self._reply(body["messages"])
        count = body.get("n") or 1
        tokens = len(said.split()) * count
        self.generated += tokens
        await asyncio.sleep(late_s)
        choice = {"message": {"role": "assistant", "content": said}, "finish_reason": "stop"}
        usage = {"prompt_tokens": 5, "completion_tokens": tokens}
        return JSONResponse({"choices": [{"index": index, **choice} for index in range(count)], "usage": usage})

    def _reply(self, messages: list[dict[str, Any]]) -> tuple[str, float]:
        text = "\n".join(message["content"] for message in messages)
        if "[[start" in messages[-1]["content"]:
            number = next(self._refinements)
            return f"[[start]]\nbetter answer {number}\n[[end]]", 0.02 * (number % 3)
        if "Final Judgement" in text:
            return f"Looked at.\nFinal Judgement: {'Yes' if 'better answer' in text else 'No'}", 0.0
        return "a plain draft", 0.0


@pytest.mark.parametrize("stop", ["first", "level"])
def test_what_was_generated_lies_between_the_usage_and_its_bound_for_cancelled_calls(
    running: Running, serving: Running, stop: str
) -> None:
    behind = CountingUpstream()
    body = {"model": "pair", "messages": [{"role": "user", "content": "Hi"}], "refine_budget": 8}
    with running(behind.app) as upstream_url:
        settings = Settings(actor={"url": f"{upstream_url}/v1", "model": "m"}, model="pair")  # type: ignore[arg-type]
        with serving(build_pair(settings), settings) as url, httpx.Client(base_url=url) as client:
            answers = [client.post("/v1/chat/completions", json=body | {"refine": {"stop": stop}}) for _ in range(10)]
    usages = [answer.json()["usage"] for answer in answers]
    assert {usage["refinement"]["stop_reason"] for usage in usages} == {"refined_accepted"}
    reported = sum(usage["completion_tokens"] for usage in usages)
    cancelled = sum(usage["refinement"]["cancelled_calls"] for usage in usages)
    bound = sum(usage["refinement"]["cancelled_tokens_at_most"] for usage in usages)
    assert (cancelled > 0) == (stop == "first")
    assert reported <= behind.generated <= reported + bound
    assert stop == "first" or reported == behind.generated
