"""POST /v1/chat/completions over HTTP: what is asked, what is answered, what is refused."""

from __future__ import annotations

import json
import re
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

import httpx
import pytest

from spar_core.backends.scripted import ScriptedBackend
from spar_core.errors import BackendOverloaded, BackendRejected, BackendTimeout, BackendUnavailable
from spar_core.types import Sampling
from spar_server.models.pair import ServedPair
from spar_server.serving.runner import STATUS_WITHIN_S
from spar_server.settings import Settings
from tests.support.pairs import scripted_pair

Serving = Callable[..., AbstractContextManager[str]]
HELLO = [{"role": "user", "content": "Hi there"}]
WRONG_SCHEMA = {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "strin"}}}}


@pytest.fixture(scope="module")
def client(serving: Serving) -> Iterator[httpx.Client]:
    with serving(scripted_pair()) as url, httpx.Client(base_url=url) as client:
        yield client


def ask(client: httpx.Client, headers: dict[str, str] | None = None, **body: Any) -> httpx.Response:
    return client.post("/v1/chat/completions", json={"model": "pair", "messages": HELLO} | body, headers=headers)


def test_budget_zero_is_the_actors_answer_untouched(client: httpx.Client) -> None:
    body = ask(client).json()
    assert body["object"] == "chat.completion"
    assert body["choices"] == [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "a plain draft", "refusal": None},
            "finish_reason": "stop",
            "logprobs": None,
        }
    ]
    usage = body["usage"]
    assert (usage["prompt_tokens"], usage["completion_tokens"], usage["total_tokens"]) == (2, 3, 5)
    assert usage["refinement"]["stop_reason"] == "pass_through"
    assert usage["refinement"]["calls"] == {"actor": 1, "refiner": 0, "judge": 0}


def test_a_budget_buys_a_refined_answer_and_usage_says_what_it_cost(client: httpx.Client) -> None:
    body = ask(client, refine_budget=4).json()
    assert body["choices"][0]["message"]["content"] == "better answer"
    usage = body["usage"]
    refinement = usage["refinement"]
    assert (refinement["stop_reason"], refinement["accepted"], refinement["improved"]) == (
        "refined_accepted",
        True,
        True,
    )
    assert (refinement["value"], refinement["draft_value"], refinement["depth"]) == (1.0, 0.0, 1)
    generated = sum(tokens["completion"] for tokens in refinement["tokens"].values())
    assert usage["completion_tokens"] == generated
    assert usage["completion_tokens_details"]["reasoning_tokens"] == generated - 4
    assert usage["prompt_tokens"] == 2


@pytest.mark.parametrize(
    ("headers", "body", "budget"),
    [
        ({}, {}, 0),
        ({}, {"reasoning_effort": "medium"}, 6),
        ({}, {"reasoning_effort": "minimal"}, 0),
        ({}, {"model": "pair@3", "reasoning_effort": "high"}, 3),
        ({"X-Refine-Budget": "2"}, {"model": "pair@3"}, 2),
        ({"X-Refine-Budget": "2"}, {"model": "pair@3", "refine_budget": 1}, 1),
    ],
)
def test_the_budget_comes_from_body_header_suffix_or_effort_in_this_order(
    client: httpx.Client, headers: dict[str, str], body: dict[str, Any], budget: int
) -> None:
    assert ask(client, headers, **body).json()["usage"]["refinement"]["budget"] == budget


@pytest.mark.parametrize(
    ("body", "status", "param", "says"),
    [
        ({"messages": []}, 400, "messages", "at least 1"),
        ({"messages": None}, 400, "messages", "list"),
        ({"messages": [{"role": "boss", "content": ""}]}, 400, "messages.0.role", "'system'"),
        ({"temperature": 3}, 400, "temperature", "2"),
        ({"refine_budget": -1}, 400, "refine_budget", "0"),
        ({"refine_budget": 1000}, 400, "refine_budget", "limit of 64"),
        ({"refine_budget": "many"}, 400, "refine_budget", "integer"),
        ({"refine": {"brunch": 3}}, 400, "refine.brunch", "unknown key"),
        ({"refine": {"algorithm": "astar"}}, 400, "refine.algorithm", "'bfs'"),
        ({"refine": {"checks": [{"id": "punctuation:no_coma"}]}}, 400, "refine.checks.0.id", "no_comma"),
        ({"refine": {"checks": [{"id": "keywords:existence"}]}}, 400, "refine.checks.0.keywords", "needs"),
        ({"model": "other"}, 404, "model", "'pair'"),
        ({"model": "pair@many"}, 400, "model", "whole number"),
        ({"n": 0}, 400, "n", "1"),
        ({"n": 129}, 400, "n", "128"),
        ({"n": 3, "refine": {"max_search_tokens": 20}}, 400, "refine.max_search_tokens", "24"),
        ({"refine_budget": 1, "logit_bias": {"5": -100}}, 400, "logit_bias", "refine_budget"),
        ({"response_format": {"type": "xml"}}, 400, "response_format.type", "json_schema"),
        ({"response_format": {"type": "json_schema"}}, 400, "response_format.json_schema.schema", "needed"),
        (WRONG_SCHEMA | {"refine_budget": 1}, 400, "response_format.json_schema.schema", "strin"),
        ({"refine_budget": 1, "logprobs": True}, 400, "logprobs", "refine_budget"),
        ({"refine": {"max_search_tokens": 7}}, 400, "refine.max_search_tokens", "8"),
        ({"refine": {"deadline_s": 1000}}, 400, "refine.deadline_s", "limit of 280"),
        ({"stream": True, "stream_options": {"usage": True}}, 400, "stream_options.usage", "unknown key"),
        ({"stream_options": {"include_usage": True}}, 400, "stream_options", "stream"),
        ({"model": "pair@" + "9" * 5000}, 400, "model", "whole number"),
    ],
)
def test_a_bad_request_names_the_field_in_openais_shape(
    client: httpx.Client, body: dict[str, Any], status: int, param: str, says: str
) -> None:
    response = ask(client, **body)
    assert response.status_code == status
    error = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["param"] == param
    assert says in error["message"]
    assert isinstance(error["code"], str)


def test_a_schema_that_no_candidate_is_held_against_is_left_to_the_engine(client: httpx.Client) -> None:
    assert ask(client, **WRONG_SCHEMA).status_code == 200


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '"x"'])
def test_a_body_that_is_no_request_is_a_400(client: httpx.Client, content: str) -> None:
    response = client.post("/v1/chat/completions", content=content, headers={"Content-Type": "application/json"})
    assert response.status_code == 400
    assert response.json()["error"]["type"] == "invalid_request_error"


@pytest.mark.parametrize(
    "body",
    [
        {"stream": None, "stream_options": None},
        {"stream": True, "stream_options": {"include_usage": None}},
        {"refine_budget": 1, "refine": {"checks": None, "progress": None, "trace": None}},
    ],
)
def test_null_is_as_good_as_left_out(client: httpx.Client, body: dict[str, Any]) -> None:
    assert ask(client, **body).status_code == 200


def test_of_two_lengths_the_smaller_holds(serving: Serving) -> None:
    pair = scripted_pair()
    with serving(pair) as url, httpx.Client(base_url=url) as client:
        for lengths in ((5, 20), (20, 5)):
            ask(client, max_tokens=lengths[0], max_completion_tokens=lengths[1])
            assert sampled(pair).max_tokens == 5


def sampled(pair: ServedPair) -> Sampling:
    """How the actor was asked last."""
    assert isinstance(pair.actor, ScriptedBackend)
    return pair.actor.calls[-1][1]


def test_forwarded_fields_reach_the_actor(serving: Serving) -> None:
    pair = scripted_pair()
    tools = [{"type": "function", "function": {"name": "f"}}]
    shape = {"type": "json_object"}
    with serving(pair) as url, httpx.Client(base_url=url) as client:
        ask(
            client,
            frequency_penalty=0.5,
            tools=tools,
            response_format=shape,
            logprobs=True,
            stop="x",
            seed=3,
            max_completion_tokens=9,
            top_k=5,
            nothing=None,
        )
    assert sampled(pair) == Sampling(
        temperature=None,
        top_p=None,
        stop=("x",),
        seed=3,
        max_tokens=9,
        extra={"frequency_penalty": 0.5, "tools": tools, "response_format": shape, "logprobs": True, "top_k": 5},
    )


@pytest.mark.parametrize(
    ("given", "expected"), [({}, 0.3), ({"frequency_penalty": None}, 0.3), ({"frequency_penalty": 0}, 0)]
)
def test_the_pairs_own_penalty_holds_where_a_request_gives_none(
    serving: Serving, given: dict[str, Any], expected: float
) -> None:
    pair = replace(scripted_pair(), actor_sampling=Sampling(extra={"frequency_penalty": 0.3}))
    with serving(pair) as url, httpx.Client(base_url=url) as client:
        ask(client, **given)
    assert sampled(pair).extra == {"frequency_penalty": expected}


def test_max_search_tokens_bounds_a_passed_through_answer_too(serving: Serving) -> None:
    pair = scripted_pair()
    with serving(pair) as url, httpx.Client(base_url=url) as client:
        for stream in (False, True):
            ask(client, stream=stream, max_tokens=9, refine={"max_search_tokens": 8})
            assert sampled(pair).max_tokens == 8


@pytest.mark.parametrize("wish", [{}, {"reasoning_effort": "high"}])
def test_a_default_budget_gives_way_to_fields_that_only_the_actor_supports(
    serving: Serving, wish: dict[str, str]
) -> None:
    settings = Settings(refine={"refine_budget": 2})  # type: ignore[arg-type]
    with serving(scripted_pair(), settings) as url, httpx.Client(base_url=url) as client:
        refinement = ask(client, logprobs=True, **wish).json()["usage"]["refinement"]
    assert (refinement["budget"], refinement["stop_reason"]) == (0, "pass_through")


def test_checks_of_the_request_are_enforced(client: httpx.Client) -> None:
    check = {"id": "keywords:existence", "kwargs": {"keywords": ["better"]}}
    body = ask(client, refine_budget=2, refine={"checks": [check], "trace": "full"}).json()
    draft = body["spar"]["tree"]["nodes"][0]
    assert draft["judgement"]["findings"] == [{"passed": False, "evidence": "better missing"}]
    assert body["choices"][0]["message"]["content"] == "better answer"


def test_the_trace_is_returned_on_request(client: httpx.Client) -> None:
    assert set(ask(client, refine_budget=1).json()["spar"]) == {"trace_id", "degraded"}
    tree = ask(client, refine_budget=1, refine={"trace": "summary"}).json()["spar"]["tree"]
    assert [node["path"] for node in tree["nodes"]] == [[], [0]]


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (BackendUnavailable("down"), 502),
        (BackendOverloaded("busy", retry_after=7), 503),
        (BackendOverloaded("busy", status=429, retry_after=7), 429),
        (BackendTimeout("late"), 504),
        (BackendRejected("this model's maximum context length is 512 tokens; the prompt has 900", status=400), 400),
    ],
)
def test_an_actor_that_fails_is_an_error_never_a_200(serving: Serving, error: Exception, status: int) -> None:
    with serving(scripted_pair(actor=lambda m, s: error)) as url, httpx.Client(base_url=url) as client:
        for body in ({}, {"stream": True}, {"refine_budget": 2}, {"refine_budget": 2, "stream": True}):
            response = ask(client, **body)
            assert response.status_code == status
            assert str(error) in response.json()["error"]["message"]
            if status in (429, 503):
                assert response.headers["Retry-After"] == "7"
            # What took long already is not worth the client's two retries.
            assert (response.headers.get("x-should-retry") == "false") == (status == 504)


def test_an_upstream_that_refuses_this_server_is_not_the_clients_mistake(serving: Serving) -> None:
    for status in (401, 403, 404):
        with (
            serving(scripted_pair(actor=lambda m, s, at=status: BackendRejected("no", status=at))) as url,
            httpx.Client(base_url=url) as client,
        ):
            assert ask(client).status_code == 502


def test_a_field_that_the_engine_refuses_is_named(serving: Serving) -> None:
    error = BackendRejected("tools is not supported", status=400, param="tools")
    with serving(scripted_pair(actor=lambda m, s: error)) as url, httpx.Client(base_url=url) as client:
        assert ask(client).json()["error"]["param"] == "tools"


@pytest.mark.parametrize("budget", [0, 2])
def test_a_mistake_of_ours_is_a_500_without_details(serving: Serving, budget: int) -> None:
    with (
        serving(scripted_pair(actor=lambda m, s: ZeroDivisionError("secret"))) as url,
        httpx.Client(base_url=url) as client,
    ):
        for stream in (False, True):
            response = ask(client, stream=stream, refine_budget=budget)
            assert response.status_code == 500
            assert set(response.json()["error"]) == {"message", "type", "param", "code"}
            assert "secret" not in response.text
            assert response.headers["x-should-retry"] == "false"
            assert response.headers["x-request-id"]
        assert 'spar_error_responses_total{status="500"} 2.0' in client.get("/metrics").text


def test_a_failing_refiner_leaves_the_draft_and_a_degraded_answer(serving: Serving) -> None:
    with (
        serving(scripted_pair(refiner=lambda m, s: BackendUnavailable("down"))) as url,
        httpx.Client(base_url=url) as client,
    ):
        body = ask(client, refine_budget=2).json()
    assert body["choices"][0]["message"]["content"] == "a plain draft"
    assert body["usage"]["refinement"]["degraded"] is True


def frames(response: httpx.Response) -> list[Any]:
    lines = [line for line in response.text.split("\n") if line]
    assert all(line.startswith(("data: ", ": ")) for line in lines)
    return [line[6:] if line[6:] == "[DONE]" else json.loads(line[6:]) for line in lines if line.startswith("data: ")]


def test_a_searched_stream_has_the_order_that_clients_need(client: httpx.Client) -> None:
    response = ask(client, stream=True, refine_budget=2, stream_options={"include_usage": True})
    assert response.headers["content-type"].startswith("text/event-stream")
    assert (response.headers["cache-control"], response.headers["x-accel-buffering"]) == ("no-cache", "no")
    *chunks, done = frames(response)
    assert done == "[DONE]"
    assert len({(chunk["id"], chunk["created"], chunk["model"]) for chunk in chunks}) == 1
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks[:-1]]
    assert deltas[0] == {"role": "assistant", "content": ""}
    thoughts = [delta for delta in deltas if "reasoning_content" in delta]
    assert all(delta["reasoning"] == delta["reasoning_content"] for delta in thoughts)
    assert "Draft:\na plain draft" in thoughts[0]["reasoning"]
    assert [delta["content"] for delta in deltas[1:] if "content" in delta] == ["better answer"]
    assert chunks[-2]["choices"][0]["finish_reason"] == "stop"
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"]["refinement"]["improved"] is True
    assert not any("usage" in chunk for chunk in chunks[:-1])


def test_progress_can_be_switched_off(client: httpx.Client) -> None:
    *chunks, _ = frames(ask(client, stream=True, refine_budget=2, refine={"progress": False}))
    assert len(chunks) == 3


def test_a_passed_through_stream_is_token_by_token(client: httpx.Client) -> None:
    *chunks, done = frames(ask(client, stream=True))
    contents = [chunk["choices"][0]["delta"].get("content") for chunk in chunks]
    assert contents == ["", "a", " plain", " draft", None]
    assert chunks[-1]["choices"][0]["finish_reason"] == "stop"
    assert done == "[DONE]"


@pytest.mark.parametrize(
    ("error", "says"), [(BackendUnavailable("down"), "down"), (ZeroDivisionError("secret"), "internal error")]
)
def test_a_search_that_fails_after_the_first_byte_ends_in_an_error_frame(
    serving: Serving, error: Exception, says: str
) -> None:
    pair = scripted_pair(actor=lambda m, s: error, latency_s=STATUS_WITHIN_S + 0.2)
    with serving(pair) as url, httpx.Client(base_url=url) as client:
        first, last = frames(ask(client, stream=True, refine_budget=2))
    assert first["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert says in last["error"]["message"]


def wait_until(true: Callable[[], bool]) -> None:
    """Wait for a condition, and fail if it does not come true."""
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("budget", [0, 4])
def test_a_client_that_leaves_stops_the_work(serving: Serving, stream: bool, budget: int) -> None:
    pair: ServedPair = scripted_pair(latency_s=600)
    backend = pair.actor
    assert isinstance(backend, ScriptedBackend)
    body = json.dumps({"model": "pair", "messages": HELLO, "stream": stream, "refine_budget": budget}).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n"
    with serving(pair) as url:
        with socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2]))) as client:
            client.sendall(f"{head}Content-Type: application/json\r\n\r\n".encode() + body)
            wait_until(lambda: backend.running == 1)
        wait_until(lambda: backend.running == 0)
        assert (backend.running, backend.cancelled) == (0, 1)
        wait_until(lambda: 'outcome="cancelled"} 1.0' in httpx.get(f"{url}/metrics").text)
        metrics = httpx.get(f"{url}/metrics").text
    kind = "search" if budget else "pass_through"
    assert f'spar_requests_total{{kind="{kind}",outcome="cancelled"}} 1.0' in metrics
    assert f'spar_requests_running{{kind="{kind}"}} 0.0' in metrics


def test_a_stopping_server_finishes_running_requests(serving: Serving) -> None:
    pair = scripted_pair(latency_s=1.0)
    backend = pair.actor
    assert isinstance(backend, ScriptedBackend)
    question = {"model": "pair", "messages": HELLO}
    with ThreadPoolExecutor() as pool:
        with serving(pair) as url:
            answers = [
                pool.submit(httpx.post, f"{url}/v1/chat/completions", json={**question, "stream": stream})
                for stream in (False, True)
            ]
            wait_until(lambda: len(backend.calls) == 2)
        assert [answer.result().status_code for answer in answers] == [200, 200]
        assert answers[1].result().text.endswith("data: [DONE]\n\n")


def test_a_long_searched_stream_is_kept_alive(serving: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spar_server.http.event_stream.COMMENT_EVERY_S", 0.05)
    monkeypatch.setattr("spar_server.serving.runner.HEARTBEAT_EVERY_S", 0.1)
    with serving(scripted_pair(latency_s=1.0)) as url, httpx.Client(base_url=url) as client:
        response = ask(client, stream=True, refine_budget=1)
    assert response.text.count(": waiting") >= 10
    assert response.text.count('"delta":{}') >= 4


def test_a_search_without_progress_still_sends_comments(serving: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spar_server.http.event_stream.COMMENT_EVERY_S", 0.15)
    refine = {"algorithm": "iterative", "progress": False}
    with serving(scripted_pair(latency_s=0.1)) as url, httpx.Client(base_url=url) as client:
        response = ask(client, stream=True, refine_budget=4, refine=refine)
    assert response.text.count(": waiting") >= 1


def test_the_model_is_listed_and_found_under_its_aliases(client: httpx.Client) -> None:
    assert [model["id"] for model in client.get("/v1/models").json()["data"]] == ["pair"]
    assert client.get("/v1/models/pair@8").json()["id"] == "pair@8"
    for name in ("other", "pair@", "pair@many", "pair@-1", "pair@65", "pair@\u0663", "other@2"):
        missing = client.get(f"/v1/models/{name}")
        assert (missing.status_code, missing.json()["error"]["code"]) == (404, "model_not_found")


def test_operators_get_health_readiness_version_and_metrics(serving: Serving) -> None:
    with serving(scripted_pair()) as url, httpx.Client(base_url=url) as client:
        ask(client, refine_budget=2)
        ask(client, stream=True)
        ask(client, n=0)
        assert client.get("/health").json() == {"status": "ok"}
        assert client.get("/ready").json() == {"ready": True}
        body = client.get("/version").json()
        assert body["version"]
        assert body["pair"] == {"name": "pair"}
        metrics = client.get("/metrics").text
    for line in (
        'spar_requests_total{kind="search",outcome="ok"} 1.0',
        'spar_requests_total{kind="pass_through",outcome="ok"} 1.0',
        'spar_error_responses_total{status="400"} 1.0',
        'spar_search_stops_total{reason="refined_accepted"} 1.0',
        'spar_votes_total{verdict="no"} 3.0',
        'spar_time_to_first_answer_token_seconds_count{kind="pass_through"} 1.0',
        'spar_requests_running{kind="search"} 0.0',
        'spar_improved_total{budget="1-2"} 1.0',
    ):
        assert line in metrics
    assert 'spar_tokens_total{kind="completion",role="judge"}' in metrics


def test_the_request_id_is_echoed_or_made(client: httpx.Client) -> None:
    assert client.get("/health", headers={"X-Request-Id": "abc-1"}).headers["x-request-id"] == "abc-1"


@pytest.mark.parametrize("given", [b"", b"bad id\tx", b"a" * 129, b"a\x80", "grün".encode("latin-1"), "grün".encode()])
def test_a_request_id_that_is_not_short_and_plain_is_replaced(client: httpx.Client, given: bytes) -> None:
    made = client.get("/health", headers=[(b"X-Request-Id", given)]).headers["x-request-id"]
    assert re.fullmatch(r"[0-9a-f]{32}", made)


@pytest.mark.parametrize("path", ["/health", "/ready"])
def test_load_balancers_may_ask_by_head(client: httpx.Client, path: str) -> None:
    full, head = client.get(path), client.head(path)
    assert (head.status_code, head.content) == (full.status_code, b"") == (200, b"")
    assert head.headers["Content-Length"] == full.headers["Content-Length"]


def test_an_unknown_route_is_an_error_in_openais_shape(client: httpx.Client) -> None:
    response = client.get("/v1/nothing")
    assert response.status_code == 404
    assert set(response.json()["error"]) == {"message", "type", "param", "code"}


def test_a_wrong_method_gets_the_allowed_ones(client: httpx.Client) -> None:
    response = client.get("/v1/chat/completions")
    assert (response.status_code, response.headers["allow"]) == (405, "POST")
    assert set(response.json()["error"]) == {"message", "type", "param", "code"}


def test_the_pairs_own_algorithm_searches_where_none_is_named(serving: Serving) -> None:
    pair = replace(scripted_pair(), algorithm="best_of_n")
    named = Settings(refine={"algorithm": "best_first"})  # type: ignore[arg-type]
    for settings, refine, algorithm in (
        (Settings(), {}, "best_of_n"),
        (Settings(), {"algorithm": "dfs"}, "dfs"),
        (named, {}, "best_first"),
    ):
        with serving(pair, settings) as url, httpx.Client(base_url=url) as client:
            spent = ask(client, refine_budget=1, refine=refine).json()["usage"]["refinement"]
        assert spent["algorithm"] == algorithm


def test_the_servers_default_budget_applies_when_none_is_named(serving: Serving) -> None:
    settings = Settings(refine={"refine_budget": 2})  # type: ignore[arg-type]
    with serving(scripted_pair(), settings) as url, httpx.Client(base_url=url) as client:
        assert ask(client).json()["usage"]["refinement"]["budget"] == 2
        assert ask(client, refine_budget=0).json()["usage"]["refinement"]["budget"] == 0
