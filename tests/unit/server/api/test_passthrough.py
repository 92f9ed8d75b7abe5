"""/v1/completions and /v1/embeddings over HTTP, in front of a real upstream: passed through as they are."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

import httpx
import openai
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from spar_server.auth.keyring import sha256_of
from spar_server.models.pair import ServedPair, build_pair
from spar_server.settings import ApiKey, Settings
from tests.support.pairs import scripted_pair

Serving = Callable[..., AbstractContextManager[str]]
CHUNKS = [{"model": "big", "choices": [{"index": 0, "text": text, "finish_reason": None}]} for text in ("One", " two")]
USAGE = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}


@dataclass
class Upstream:
    """A server that answers as it is told and remembers what it was asked."""

    bodies: list[dict[str, Any]] = field(default_factory=list)
    says: Callable[[], Response] | None = None
    running: int = 0

    def app(self) -> Starlette:
        return Starlette(routes=[Route(f"/v1/{name}", self._answer, methods=["POST"]) for name in
                                 ("completions", "embeddings")])  # fmt: skip

    async def _answer(self, request: Request) -> Response:
        body = await request.json()
        self.bodies.append(body)
        if self.says:
            return self.says()
        if body.get("stream"):
            return StreamingResponse(self._stream(), media_type="text/event-stream")
        return JSONResponse({"id": "x", "model": "big", "choices": [{"text": "One two"}], "usage": USAGE, "odd": 1})

    async def _stream(self) -> AsyncIterator[str]:
        for chunk in CHUNKS:
            yield f"data: {json.dumps(chunk)}\n\n"
        yield f"data: {json.dumps({'model': 'big', 'choices': [], 'usage': USAGE})}\n\ndata: [DONE]\n\n"

    async def hang(self) -> AsyncIterator[str]:
        self.running += 1
        try:
            yield f"data: {json.dumps(CHUNKS[0])}\n\n"
            await asyncio.sleep(600)
        finally:
            self.running -= 1


@pytest.fixture(scope="module")
def upstream() -> Upstream:
    return Upstream()


@pytest.fixture(scope="module")
def behind(running: Callable[..., AbstractContextManager[str]], upstream: Upstream) -> Iterator[str]:
    with running(upstream.app()) as url:
        yield url


def fronting(behind: str) -> tuple[ServedPair, Settings]:
    """What serves the upstream once, without trying again."""
    actor = {"url": f"{behind}/v1", "model": "big", "retries": 0}
    settings = Settings(actor=actor, model="pair")  # type: ignore[arg-type]
    return build_pair(settings), settings


@pytest.fixture(scope="module")
def url(serving: Serving, behind: str) -> Iterator[str]:
    with serving(*fronting(behind)) as url:
        yield url


@pytest.fixture
def client(url: str, upstream: Upstream) -> Iterator[httpx.Client]:
    upstream.says = None
    upstream.bodies.clear()
    with httpx.Client(base_url=url) as client:
        yield client


def test_every_field_reaches_the_upstream_under_its_own_name_for_the_model(
    client: httpx.Client, upstream: Upstream
) -> None:
    asked = {"prompt": [1, 2], "max_tokens": 0, "echo": True, "logit_bias": {"a": None}, "seed": None}
    answer = client.post("/v1/completions", json={"model": "pair", **asked}).json()
    assert upstream.bodies == [{"model": "big", **asked}]
    assert answer == {"id": "x", "model": "pair", "choices": [{"text": "One two"}], "usage": USAGE, "odd": 1}


def test_a_stream_is_passed_on_chunk_by_chunk(client: httpx.Client, upstream: Upstream) -> None:
    response = client.post("/v1/completions", json={"model": "pair", "prompt": "x", "stream": True})
    *frames, done = [line.removeprefix("data: ") for line in response.text.split("\n") if line]
    assert done == "[DONE]"
    assert [json.loads(frame) for frame in frames[:-1]] == [{**chunk, "model": "pair"} for chunk in CHUNKS]
    assert upstream.bodies[0]["stream"] is True
    assert 'spar_requests_total{kind="completions",outcome="ok"}' in client.get("/metrics").text


def test_the_official_client_completes_streams_and_embeds(client: httpx.Client, url: str, upstream: Upstream) -> None:
    with openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as sdk:
        assert sdk.completions.create(model="pair", prompt="x").choices[0].text == "One two"
        stream = sdk.completions.create(model="pair@0", prompt="x", stream=True)
        assert "".join(chunk.choices[0].text for chunk in stream if chunk.choices) == "One two"
        upstream.says = lambda: JSONResponse({"object": "list", "data": [{"index": 0, "embedding": [0.5]}]})
        assert sdk.embeddings.create(model="pair", input="x", encoding_format="float").data[0].embedding == [0.5]


@pytest.mark.parametrize(
    ("told", "status"),
    [
        ((400, {"error": {"message": "no", "param": "model"}}), 400),
        ((429, {}), 429),
        ((503, {}), 503),
        ((500, {}), 502),
        ((401, {}), 502),
        ((404, {"detail": "Not Found"}), 404),
        ((200, {"error": {"message": "oops"}}), 502),
    ],
)
def test_an_upstream_error_is_reported_as_in_chat(
    serving: Serving, behind: str, upstream: Upstream, told: tuple[int, dict[str, Any]], status: int
) -> None:
    upstream.says = lambda: JSONResponse(told[1], status_code=told[0])
    # A server of its own: one whose upstream failed often enough asks it no more.
    with serving(*fronting(behind)) as url, httpx.Client(base_url=url) as client:
        for path, body in (("completions", {"prompt": "x"}), ("completions", {"prompt": "x", "stream": True}),
                           ("embeddings", {"input": "x"})):  # fmt: skip
            response = client.post(f"/v1/{path}", json={"model": "pair", **body})
            assert response.status_code == status
            assert set(response.json()["error"]) == {"message", "type", "param", "code"}
            if told[0] == 400:
                assert response.json()["error"]["param"] == "model"


def test_a_stream_that_breaks_off_ends_in_an_error(client: httpx.Client, upstream: Upstream) -> None:
    upstream.says = lambda: Response(f"data: {json.dumps(CHUNKS[0])}\n\n", media_type="text/event-stream")
    response = client.post("/v1/completions", json={"model": "pair", "prompt": "x", "stream": True})
    last = response.text.strip().split("\n\n")[-1]
    assert "ended its stream early" in json.loads(last.removeprefix("data: "))["error"]["message"]


def test_many_embeddings_reach_the_client_number_by_number(client: httpx.Client, upstream: Upstream) -> None:
    vector = [0.5, -1e-07, 3] * 10_000
    data = [{"index": 0, "embedding": vector}, {"index": 1, "embedding": "AAAA"}, {"index": 2, "embedding": vector}]
    upstream.says = lambda: Response(json.dumps({"data": data, "object": "list"}), media_type="application/json")
    answer = client.post("/v1/embeddings", json={"model": "pair", "input": ["x"] * 3}).json()
    assert answer == {"data": data, "object": "list", "model": "pair"}


HUGE = "9" * 400
USAGES: list[tuple[str, dict[str, int | None] | None]] = [
    ('{"prompt_tokens": -5, "completion_tokens": 2, "total_tokens": -3}', {"prompt_tokens": 0, "completion_tokens": 2}),
    ('{"prompt_tokens": 3, "completion_tokens": 1e400}', {"prompt_tokens": 3, "completion_tokens": 10**12}),
    ('{"prompt_tokens": 7.0, "total_tokens": 7}', {"prompt_tokens": 7}),
    (f'{{"prompt_tokens": {HUGE}, "completion_tokens": -{HUGE}}}',
     {"prompt_tokens": 10**12, "completion_tokens": 0}),
    ('{"prompt_tokens": 7, "completion_tokens": null, "total_tokens": 7}',
     {"prompt_tokens": 7, "completion_tokens": None, "total_tokens": None}),
    ('{"prompt_tokens": null, "total_tokens": null}', {"prompt_tokens": None, "total_tokens": None}),
    ("null", None),
]  # fmt: skip


def raw_answer(usage: str, *, stream: bool) -> Response:
    """With a usage that no JSON library of ours would write."""
    text = f'{{"id": "x", "choices": [{{"index": 0, "text": "One", "logprobs": NaN}}], "usage": {usage}}}'
    if stream:
        return Response(f"data: {text}\n\ndata: [DONE]\n\n", media_type="text/event-stream")
    return Response(text, media_type="application/json")


@pytest.mark.parametrize(("written", "read"), USAGES)
@pytest.mark.parametrize("path", ["completions", "embeddings"])
def test_a_usage_is_read_as_far_as_it_makes_sense(
    client: httpx.Client, upstream: Upstream, path: str, written: str, read: dict[str, int | None] | None
) -> None:
    upstream.says = lambda: raw_answer(written, stream=False)
    asked = {"completions": "prompt", "embeddings": "input"}[path]
    response = client.post(f"/v1/{path}", json={"model": "pair", asked: "x"})
    assert response.status_code == 200, response.text
    usage = response.json()["usage"]
    if read is None:
        assert usage is None
        return
    assert {name: usage[name] for name in read} == read
    counts = [count for name, count in read.items() if name != "total_tokens"]
    if "total_tokens" in usage:
        assert usage["total_tokens"] == (None if None in counts else sum(count or 0 for count in counts))


@pytest.mark.parametrize(("written", "read"), USAGES)
def test_a_stream_of_an_odd_usage_ends_as_any_other(
    client: httpx.Client, upstream: Upstream, written: str, read: dict[str, int | None] | None
) -> None:
    upstream.says = lambda: raw_answer(written, stream=True)
    response = client.post("/v1/completions", json={"model": "pair", "prompt": "x", "stream": True})
    first, done = [line.removeprefix("data: ") for line in response.text.split("\n") if line]
    assert done == "[DONE]"
    usage = json.loads(first)["usage"]
    assert (usage and {name: usage[name] for name in read or {}}) == read


@pytest.mark.parametrize("usage", ['{"prompt_tokens": NaN}', '{"prompt_tokens": "many"}', "[1]", "7"])
def test_a_usage_that_is_no_count_is_an_upstreams_error(client: httpx.Client, upstream: Upstream, usage: str) -> None:
    upstream.says = lambda: raw_answer(usage, stream=False)
    response = client.post("/v1/completions", json={"model": "pair", "prompt": "x"})
    assert (response.status_code, response.json()["error"]["code"]) == (502, "upstream_error")
    upstream.says = lambda: raw_answer(usage, stream=True)
    response = client.post("/v1/completions", json={"model": "pair", "prompt": "x", "stream": True})
    assert "upstream_error" in response.text


@pytest.mark.parametrize(
    ("path", "body", "status", "param"),
    [
        ("completions", {"model": "pair"}, 400, "prompt"),
        ("completions", {"model": "pair", "prompt": ""}, 400, "prompt"),
        ("completions", {"model": "other", "prompt": "x"}, 404, "model"),
        ("completions", {"model": "pair@4", "prompt": "x"}, 400, "model"),
        ("completions", {"model": "pair", "prompt": "x", "refine_budget": 2}, 400, "refine_budget"),
        ("embeddings", {"model": "pair", "input": []}, 400, "input"),
        ("embeddings", {"model": "pair", "input": "x", "refine": {"votes": 1}}, 400, "refine"),
    ],
)
def test_a_bad_request_names_the_field(
    client: httpx.Client, path: str, body: dict[str, Any], status: int, param: str
) -> None:
    response = client.post(f"/v1/{path}", json=body)
    assert (response.status_code, response.json()["error"]["param"]) == (status, param)


def test_an_actor_without_pass_through_is_an_error(serving: Serving) -> None:
    with serving(scripted_pair()) as url:
        response = httpx.post(f"{url}/v1/embeddings", json={"model": "pair", "input": "x"})
    assert (response.status_code, response.json()["error"]["code"]) == (404, "not_supported")


def wait_until(true: Callable[[], bool]) -> None:
    """Wait for a condition, and fail if it does not come true."""
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_leaves_stops_the_upstream(
    client: httpx.Client, url: str, upstream: Upstream, stream: bool
) -> None:
    upstream.says = lambda: StreamingResponse(upstream.hang(), media_type="text/event-stream")
    body = json.dumps({"model": "pair", "prompt": "x", "stream": stream}).encode()
    head = f"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n"
    with socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2]))) as leaving:
        leaving.sendall(f"{head}Content-Type: application/json\r\n\r\n".encode() + body)
        wait_until(lambda: upstream.running == 1)
        assert upstream.running == 1
    wait_until(lambda: upstream.running == 0)
    assert upstream.running == 0


def test_no_request_takes_more_of_the_upstream_than_its_keys_share(
    serving: Serving, behind: str, upstream: Upstream
) -> None:
    upstream.says = None
    keys = [ApiKey(name=name, sha256=sha256_of(name)) for name in ("a", "b")]
    actor = {"url": f"{behind}/v1", "model": "big", "max_concurrency": 8}
    settings = Settings(actor=actor, model="pair", keys=keys)  # type: ignore[arg-type]
    with serving(build_pair(settings), settings) as url:
        client = httpx.Client(base_url=url, headers={"Authorization": "Bearer a"})
        with client:
            for prompts, status in ((4, 200), (5, 400)):
                response = client.post("/v1/completions", json={"model": "pair", "prompt": ["x"] * prompts})
                assert response.status_code == status
            assert response.json()["error"]["param"] == "prompt"
