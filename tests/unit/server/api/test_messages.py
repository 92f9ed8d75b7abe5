"""POST /v1/messages over HTTP: Anthropic's shapes on the same plan and search as chat."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import httpx
import pytest

from spar_core.backends.scripted import ScriptedBackend
from spar_core.errors import BackendOverloaded, BackendTimeout, BackendUnavailable
from spar_core.types import Completion, Usage
from spar_server.auth.keyring import sha256_of
from spar_server.models.pair import ServedPair
from spar_server.settings import Settings
from tests.clients.obedient import obedient
from tests.support.pairs import scripted_pair

Serving = Callable[..., AbstractContextManager[str]]
HELLO = [{"role": "user", "content": "Hi there"}]
WEATHER = {"name": "weather", "description": "The weather in a city", "input_schema": {"type": "object"}}
CALL = {"type": "tool_use", "id": "call_1", "name": "weather", "input": {"city": "Paris"}}


@pytest.fixture(scope="module")
def pair() -> ServedPair:
    return scripted_pair(obedient())


@pytest.fixture(scope="module")
def client(serving: Serving, pair: ServedPair) -> Iterator[httpx.Client]:
    with serving(pair) as url, httpx.Client(base_url=url) as client:
        yield client


def ask(client: httpx.Client, headers: dict[str, str] | None = None, **body: Any) -> httpx.Response:
    message = {"model": "pair", "max_tokens": 64, "messages": HELLO}
    return client.post("/v1/messages", json=message | body, headers=headers)


def heard(pair: ServedPair) -> list[dict[str, Any]]:
    """What the actor was asked last."""
    assert isinstance(pair.actor, ScriptedBackend)
    return [message.to_openai() for message in pair.actor.calls[-1][0]]


def sampled(pair: ServedPair) -> Any:
    assert isinstance(pair.actor, ScriptedBackend)
    return pair.actor.calls[-1][1]


def events(response: httpx.Response) -> list[dict[str, Any]]:
    """The events' data; each stands under its own name."""
    assert response.headers["content-type"].startswith("text/event-stream"), response.text
    blocks = [block.split("\n") for block in response.text.split("\n\n") if block and not block.startswith(":")]
    datas: list[dict[str, Any]] = [json.loads(data.removeprefix("data: ")) for _, data in blocks]
    assert [name for name, _ in blocks] == [f"event: {data['type']}" for data in datas]
    return datas


def contents(stream: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The blocks that the events build, opened, filled and closed in order."""
    blocks: list[dict[str, Any]] = []
    is_open = False
    for event in stream:
        if event["type"] == "content_block_start":
            assert not is_open
            assert event["index"] == len(blocks)
            blocks.append({**event["content_block"], "json": ""})
            is_open = True
        elif event["type"] == "content_block_delta":
            assert is_open
            assert event["index"] == len(blocks) - 1
            delta = event["delta"]
            name = {"text_delta": "text", "thinking_delta": "thinking", "input_json_delta": "partial_json"}[
                delta["type"]
            ]
            blocks[-1]["json" if name == "partial_json" else name] += delta[name]
        elif event["type"] == "content_block_stop":
            assert is_open
            is_open = False
    assert not is_open
    return blocks


def test_budget_zero_is_the_actors_answer(client: httpx.Client) -> None:
    body = ask(client).json()
    assert (body["type"], body["role"], body["model"]) == ("message", "assistant", "pair")
    assert body["content"] == [{"type": "text", "text": "a plain draft"}]
    assert (body["stop_reason"], body["stop_sequence"]) == ("end_turn", None)
    usage = body["usage"]
    assert (usage["input_tokens"], usage["output_tokens"], usage["cache_read_input_tokens"]) == (2, 3, 0)
    assert body["id"] == f"msg_{body['spar']['trace_id']}"


@pytest.mark.parametrize(
    ("headers", "fields", "budget"),
    [
        ({}, {"refine_budget": 4}, 4),
        ({"X-Refine-Budget": "2"}, {}, 2),
        ({}, {"model": "pair@3"}, 3),
        ({}, {"output_config": {"effort": "medium"}}, 6),
        ({}, {"output_config": {"effort": "max"}}, 15),
    ],
)
def test_a_budget_buys_refinement(
    client: httpx.Client, headers: dict[str, str], fields: dict[str, Any], budget: int
) -> None:
    response = ask(client, headers, **fields)
    body = response.json()
    assert body["content"] == [{"type": "text", "text": "better answer"}]
    assert (body["usage"]["refinement"]["budget"], body["usage"]["refinement"]["improved"]) == (budget, True)
    assert response.headers["x-spar-stop-reason"] == "refined_accepted"


def test_a_message_is_a_chat_in_other_words(client: httpx.Client, pair: ServedPair) -> None:
    ask(
        client,
        system=[{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}],
        messages=[
            *HELLO,
            {
                "role": "assistant",
                "content": [
                    {"type": "thinking", "thinking": "hm", "signature": "x"},
                    {"type": "text", "text": "Looking."},
                    CALL,
                ],
            },
            {
                "role": "user",
                "content": [
                    {"type": "tool_result", "tool_use_id": "call_1", "content": [{"type": "text", "text": "sunny"}]},
                    {"type": "tool_result", "tool_use_id": "call_2", "content": "no key", "is_error": True},
                    {"type": "text", "text": "And now?"},
                    {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AA=="}},
                    {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "a page"}},
                ],
            },
        ],
        stop_sequences=["END"],
        temperature=0.5,
        top_k=7,
        tools=[WEATHER],
        tool_choice={"type": "any", "disable_parallel_tool_use": True},
        metadata={"user_id": "u1"},
        service_tier="auto",
        thinking={"type": "disabled"},
    )
    function = {"name": "weather", "arguments": '{"city": "Paris"}'}
    assert heard(pair) == [
        {"role": "system", "content": [{"type": "text", "text": "Be brief."}]},
        {"role": "user", "content": "Hi there"},
        {
            "role": "assistant",
            "content": "Looking.",
            "tool_calls": [{"id": "call_1", "type": "function", "function": function}],
        },
        {"role": "tool", "content": "sunny", "tool_call_id": "call_1"},
        {"role": "tool", "content": "Error: no key", "tool_call_id": "call_2"},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "And now?"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}},
                {"type": "text", "text": "a page"},
            ],
        },
    ]
    sampling = sampled(pair)
    assert (sampling.max_tokens, sampling.temperature, sampling.stop) == (64, 0.5, ("END",))
    assert sampling.extra == {
        "top_k": 7,
        "user": "u1",
        "tool_choice": "required",
        "parallel_tool_calls": False,
        "tools": [
            {
                "type": "function",
                "function": {
                    "name": "weather",
                    "description": "The weather in a city",
                    "parameters": {"type": "object"},
                },
            }
        ],
    }


@pytest.mark.parametrize(("choice", "meaning"), [("auto", "auto"), ("none", "none")])
def test_a_choice_of_tools_is_forwarded(client: httpx.Client, pair: ServedPair, choice: str, meaning: str) -> None:
    ask(client, tools=[WEATHER], tool_choice={"type": choice})
    assert sampled(pair).extra["tool_choice"] == meaning
    ask(client, tools=[WEATHER], tool_choice={"type": "tool", "name": "weather"})
    assert sampled(pair).extra["tool_choice"] == {"type": "function", "function": {"name": "weather"}}


@pytest.mark.parametrize("budget", [0, 2])
def test_a_tool_is_called(client: httpx.Client, budget: int) -> None:
    asked: dict[str, Any] = {
        "messages": [{"role": "user", "content": "weather in Paris?"}],
        "tools": [WEATHER],
        "refine_budget": budget,
    }
    body = ask(client, **asked).json()
    assert (body["content"], body["stop_reason"]) == ([CALL], "tool_use")
    stream = events(ask(client, stream=True, **asked))
    (block,) = contents(stream)
    assert (block["type"], block["id"], block["name"], block["input"]) == ("tool_use", "call_1", "weather", {})
    assert json.loads(block["json"]) == {"city": "Paris"}
    assert stream[-2]["delta"]["stop_reason"] == "tool_use"


def test_a_passed_through_stream_is_token_by_token(client: httpx.Client) -> None:
    stream = events(ask(client, stream=True))
    assert [event["type"] for event in stream] == [
        *("message_start", "content_block_start", *["content_block_delta"] * 3, "content_block_stop"),
        *("message_delta", "message_stop"),
    ]
    assert stream[0]["message"]["content"] == []
    assert [event["delta"]["text"] for event in stream[2:5]] == ["a", " plain", " draft"]
    assert stream[-2]["delta"] == {"stop_reason": "end_turn", "stop_sequence": None}
    assert (stream[-2]["usage"]["input_tokens"], stream[-2]["usage"]["output_tokens"]) == (2, 3)


def test_a_searched_stream_has_only_the_answer_unless_thinking_is_wanted(client: httpx.Client) -> None:
    stream = events(ask(client, stream=True, refine_budget=2))
    assert [(block["type"], block["text"]) for block in contents(stream)] == [("text", "better answer")]
    assert stream[-2]["usage"]["refinement"]["improved"] is True
    assert stream[-2]["spar"]["trace_id"] in stream[0]["message"]["id"]
    thinking = {"type": "enabled", "budget_tokens": 1024}
    thoughts, answer = contents(events(ask(client, stream=True, refine_budget=2, thinking=thinking)))
    assert thoughts["type"] == "thinking"
    assert "Draft:\na plain draft" in thoughts["thinking"]
    assert answer["text"] == "better answer"


def test_the_actors_own_reasoning_is_shown_if_thinking_is_wanted(serving: Serving) -> None:
    thoughtful = Completion("Blue.", "stop", Usage(), {"reasoning": "What is it?"})
    with serving(scripted_pair(lambda m, s: thoughtful)) as url, httpx.Client(base_url=url) as client:
        for thinking, kinds in (({"type": "adaptive"}, ["thinking", "text"]), ({"type": "disabled"}, ["text"])):
            assert [block["type"] for block in ask(client, thinking=thinking).json()["content"]] == kinds


def test_an_answer_that_is_cut_off_says_so(serving: Serving) -> None:
    with serving(scripted_pair(lambda m, s: "one two three four")) as url, httpx.Client(base_url=url) as client:
        body = ask(client, max_tokens=2).json()
        stream = events(ask(client, max_tokens=2, stream=True))
    assert (body["stop_reason"], stream[-2]["delta"]["stop_reason"]) == ("max_tokens", "max_tokens")


def test_a_format_holds_for_the_answer(client: httpx.Client, pair: ServedPair) -> None:
    schema = {"type": "object"}
    ask(client, output_config={"format": {"type": "json_schema", "schema": schema}})
    wanted = {"type": "json_schema", "json_schema": {"name": "output", "schema": schema}}
    assert sampled(pair).extra["response_format"] == wanted


def said(block: dict[str, Any], role: str = "user") -> dict[str, Any]:
    return {"messages": [{"role": role, "content": [block]}]}


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"messages": []}, "messages: "),
        ({"max_tokens": None}, "max_tokens: "),
        ({"temperature": 1.5}, "temperature: "),
        ({"messages": [{"role": "boss", "content": "x"}]}, "messages.0.role: "),
        ({"messages": [{"role": "user", "content": []}]}, "messages.0.content: is empty"),
        (said({"type": "video"}), "messages.0.content.0.type: 'video'"),
        (said({"type": "text"}), "messages.0.content.0.text: must be a string"),
        (said({"type": "image"}), "messages.0.content.0.source: must be an object"),
        (said({"type": "tool_result"}), "messages.0.content.0.tool_use_id: "),
        (said({"type": "tool_use", "name": "f"}, role="assistant"), "messages.0.content.0.input"),
        ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "tools.0: only tools that the"),
        ({"tool_choice": {"type": "tool"}}, "tool_choice.name: "),
        ({"mcp_servers": [{"type": "url"}]}, "mcp_servers: not supported"),
        ({"max_completion_tokens": 4}, "max_completion_tokens: a field of /v1/chat/completions; here it is max_tokens"),
        ({"n": 2}, "n: a field of /v1/chat/completions that /v1/messages does not have"),
        ({"refine_buget": 2}, "refine_buget: unknown field; did you mean refine_budget?"),
        ({"refine": {"events": True}}, "refine.events: "),
        ({"refine": {"brunch": 3}}, "refine.brunch: unknown key"),
        ({"output_config": {"format": {"type": "json_schema", "schema": {"type": "strin"}}}, "refine_budget": 1},
         "output_config.format"),
    ],
)  # fmt: skip
def test_a_bad_request_is_an_error_in_anthropics_shape(client: httpx.Client, body: dict[str, Any], says: str) -> None:
    response = ask(client, **body)
    assert response.status_code == 400
    error = response.json()
    assert set(error) == {"type", "error", "request_id"}
    assert (error["type"], error["error"]["type"]) == ("error", "invalid_request_error")
    assert error["error"]["message"].startswith(says), error["error"]["message"]
    assert error["request_id"] == response.headers["x-request-id"]


@pytest.mark.parametrize(
    ("error", "status", "kind"),
    [
        (BackendUnavailable("down"), 502, "api_error"),
        (BackendOverloaded("busy", retry_after=7), 503, "overloaded_error"),
        (BackendOverloaded("busy", status=429, retry_after=7), 429, "rate_limit_error"),
        (BackendTimeout("late"), 504, "timeout_error"),
    ],
)
def test_an_actor_that_fails_is_an_error_never_a_200(
    serving: Serving, error: Exception, status: int, kind: str
) -> None:
    with serving(scripted_pair(actor=lambda m, s: error)) as url, httpx.Client(base_url=url) as client:
        for stream in (False, True):
            response = ask(client, stream=stream, refine_budget=2)
            assert (response.status_code, response.json()["error"]["type"]) == (status, kind)


def test_a_model_that_does_not_exist_is_not_found(client: httpx.Client) -> None:
    response = ask(client, model="claude")
    assert (response.status_code, response.json()["error"]["type"]) == (404, "not_found_error")


@pytest.mark.parametrize(
    ("version", "status"), [("2023-06-01", 200), ("2026-10-21", 200), ("2023-01-01", 400), ("latest", 400)]
)
def test_versions_with_another_stream_are_refused(client: httpx.Client, version: str, status: int) -> None:
    assert ask(client, {"anthropic-version": version}).status_code == status


def test_the_key_may_come_as_anthropics_clients_send_it(serving: Serving) -> None:
    settings = Settings(keys=[{"name": "client", "sha256": sha256_of("secret")}])  # type: ignore[list-item]
    with serving(scripted_pair(), settings) as url, httpx.Client(base_url=url) as client:
        assert ask(client, {"x-api-key": "secret"}).status_code == 200
        assert ask(client, {"Authorization": "Bearer secret"}).status_code == 200
        assert ask(client, {"Authorization": "Bearer wrong", "x-api-key": "secret"}).status_code == 401
        for headers in ({}, {"x-api-key": "wrong"}):
            refused = ask(client, headers)
            assert (refused.status_code, refused.json()["error"]["type"]) == (401, "authentication_error")
