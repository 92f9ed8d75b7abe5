"""POST /v1/responses over HTTP, and by the official client: the same plan and search as chat, in other words."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import httpx
import openai
import pytest
from pydantic import BaseModel

from spar_core.backends.scripted import ScriptedBackend
from spar_core.errors import BackendOverloaded, BackendUnavailable
from spar_core.types import Message
from spar_server.models.pair import ServedPair
from spar_server.serving.runner import STATUS_WITHIN_S
from tests.support.pairs import scripted_pair

Serving = Callable[..., AbstractContextManager[str]]


@pytest.fixture(scope="module")
def url(serving: Serving) -> Iterator[str]:
    with serving(scripted_pair()) as url:
        yield url


@pytest.fixture(scope="module")
def client(url: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=url) as client:
        yield client


@pytest.fixture
def sdk(url: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as sdk:
        yield sdk


def ask(client: httpx.Client, headers: dict[str, str] | None = None, **body: Any) -> httpx.Response:
    return client.post("/v1/responses", json={"model": "pair", "input": "Hi there"} | body, headers=headers)


def heard(pair: ServedPair) -> list[Message]:
    """What the actor was asked last."""
    assert isinstance(pair.actor, ScriptedBackend)
    return list(pair.actor.calls[-1][0])


def events(response: httpx.Response) -> list[dict[str, Any]]:
    """The events' data; each stands under its own name and number."""
    blocks = [block for block in response.text.split("\n\n") if block and not block.startswith(":")]
    pairs = [block.split("\n") for block in blocks]
    datas = [json.loads(data.removeprefix("data: ")) for _, data in pairs]
    assert [name for name, _ in pairs] == [f"event: {data['type']}" for data in datas]
    assert [data["sequence_number"] for data in datas] == list(range(len(datas)))
    return datas


def test_a_plain_response_is_the_actors_answer(client: httpx.Client) -> None:
    body = ask(client, metadata={"team": "a"}, temperature=0.5).json()
    assert (body["object"], body["status"], body["model"]) == ("response", "completed", "pair")
    [message] = body["output"]
    assert (message["type"], message["role"], message["status"]) == ("message", "assistant", "completed")
    assert message["content"] == [{"type": "output_text", "text": "a plain draft", "annotations": [], "logprobs": []}]
    usage = body["usage"]
    assert (usage["input_tokens"], usage["output_tokens"], usage["total_tokens"]) == (2, 3, 5)
    assert usage["refinement"]["stop_reason"] == "pass_through"
    assert (body["metadata"], body["temperature"], body["store"]) == ({"team": "a"}, 0.5, False)


def test_a_budget_buys_a_refined_answer(client: httpx.Client) -> None:
    body = ask(client, refine_budget=1, refine={"trace": "summary"}).json()
    assert body["output"][0]["content"][0]["text"] == "better answer"
    assert body["usage"]["refinement"]["stop_reason"] == "refined_accepted"
    assert body["usage"]["output_tokens_details"]["reasoning_tokens"] == body["usage"]["output_tokens"] - 4
    assert [node["path"] for node in body["spar"]["tree"]["nodes"]] == [[], [0]]


@pytest.mark.parametrize(
    ("headers", "body", "budget"),
    [
        ({}, {"reasoning": {"effort": "medium"}}, 6),
        ({}, {"model": "pair@3", "reasoning": {"effort": "high"}}, 3),
        ({"X-Refine-Budget": "2"}, {"model": "pair@3"}, 2),
        ({"X-Refine-Budget": "2"}, {"refine_budget": 1}, 1),
    ],
)
def test_the_budget_has_the_precedence_that_it_has_in_chat(
    client: httpx.Client, headers: dict[str, str], body: dict[str, Any], budget: int
) -> None:
    assert ask(client, headers, **body).json()["usage"]["refinement"]["budget"] == budget


def test_the_actor_gets_the_conversation_as_chat_messages(serving: Serving) -> None:
    pair = scripted_pair()
    items = [
        {"role": "user", "content": [{"type": "input_text", "text": "One"}]},
        {"id": "rs_1", "type": "reasoning", "summary": []},
        {
            "type": "message",
            "role": "assistant",
            "content": [{"type": "output_text", "text": "Two", "annotations": []}],
        },
        {"role": "user", "content": "Three"},
    ]
    with serving(pair) as url, httpx.Client(base_url=url) as client:
        ask(client, input=items, instructions="Be brief", max_output_tokens=9, top_k=5, user="ann")
    assert heard(pair) == [
        Message("system", "Be brief"),
        Message("user", "One"),
        Message("assistant", "Two"),
        Message("user", "Three"),
    ]
    assert isinstance(pair.actor, ScriptedBackend)
    sampling = pair.actor.calls[-1][1]
    assert (sampling.max_tokens, sampling.extra) == (9, {"top_k": 5, "user": "ann"})


def test_an_answer_cut_off_is_incomplete(client: httpx.Client) -> None:
    body = ask(client, max_output_tokens=2).json()
    assert (body["status"], body["incomplete_details"]) == ("incomplete", {"reason": "max_output_tokens"})
    assert body["output"][0]["status"] == "incomplete"
    assert events(ask(client, max_output_tokens=2, stream=True))[-1]["type"] == "response.incomplete"


@pytest.mark.parametrize(
    ("body", "param", "says"),
    [
        ({"previous_response_id": "resp_1"}, "previous_response_id", "whole conversation"),
        ({"conversation": "c"}, "conversation", "whole conversation"),
        ({"store": True}, "store", "stores no responses"),
        ({"background": True}, "background", "not supported"),
        ({"tools": [{"type": "web_search"}]}, "tools", "chat/completions"),
        ({"include": ["reasoning.encrypted_content"]}, "include", "not supported"),
        ({"truncation": "auto"}, "truncation", "never truncated"),
        ({"messages": []}, "messages", "here it is input"),
        ({"max_tokens": 5}, "max_tokens", "max_output_tokens"),
        ({"n": 2}, "n", "chat/completions"),
        ({"input": []}, "input", "at least 1"),
        ({"input": [{"type": "reasoning"}]}, "input", "no message"),
        ({"input": [{"type": "function_call_output"}]}, "input.0.type", "function_call_output"),
        ({"input": [{"role": "tool", "content": ""}]}, "input.0.role", "developer"),
        ({"input": [{"role": "user"}]}, "input.0.content", "list of parts"),
        (
            {"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "x"}]}]},
            "input.0.content.0.type",
            "input_image",
        ),
        ({"text": {"format": {"type": "yaml"}}}, "text.format.type", "json_schema"),
        ({"text": {"format": {"type": "json_schema", "name": "x"}}}, "text.format.schema", "needed"),
        ({"reasoning": {"effort": "huge"}}, "reasoning.effort", "'high'"),
        ({"temperature": 3}, "temperature", "2"),
        ({"stop": 5}, "stop", "string"),
        ({"refine": {"brunch": 3}}, "refine.brunch", "unknown key"),
        ({"refine_budget": 1000}, "refine_budget", "limit of 64"),
    ],
)
def test_an_unsupported_field_is_refused_by_name(
    client: httpx.Client, body: dict[str, Any], param: str, says: str
) -> None:
    response = ask(client, **body)
    assert response.status_code == 400
    error = response.json()["error"]
    assert error["param"] == param
    assert says in error["message"]


@pytest.mark.parametrize(
    "body",
    [
        {"store": False, "tools": [], "tool_choice": "auto", "background": False, "previous_response_id": None},
        {"parallel_tool_calls": True, "include": [], "truncation": "disabled", "stream": None, "refine": None},
    ],
)
def test_fields_that_ask_for_nothing_are_accepted(client: httpx.Client, body: dict[str, Any]) -> None:
    assert ask(client, **body).status_code == 200


def test_a_passed_through_stream_has_openais_events(client: httpx.Client) -> None:
    response = ask(client, stream=True)
    assert response.headers["content-type"].startswith("text/event-stream")
    received = events(response)
    assert [event["type"] for event in received] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        "response.output_text.delta",
        "response.output_text.delta",
        "response.output_text.delta",
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]
    assert [event["delta"] for event in received[4:7]] == ["a", " plain", " draft"]
    assert received[7]["text"] == "a plain draft"
    assert received[-1]["response"]["output"] == [received[-2]["item"]]
    assert received[-1]["response"]["usage"]["output_tokens"] == 3


def test_a_searched_stream_reports_its_progress_as_a_reasoning_summary(client: httpx.Client) -> None:
    received = events(ask(client, stream=True, refine_budget=2))
    kinds = [event["type"] for event in received]
    summary = "".join(event["delta"] for event in received if event["type"].endswith("summary_text.delta"))
    assert "Draft:\na plain draft" in summary
    assert [event["delta"] for event in received if event["type"] == "response.output_text.delta"] == ["better answer"]
    assert kinds.index("response.reasoning_summary_part.done") < kinds.index("response.content_part.added")
    reasoning, message = received[-1]["response"]["output"]
    assert (reasoning["type"], reasoning["summary"][0]["text"]) == ("reasoning", summary)
    assert message["content"][0]["text"] == "better answer"


def test_progress_can_be_switched_off(client: httpx.Client) -> None:
    received = events(ask(client, stream=True, refine_budget=2, refine={"progress": False}))
    assert [item["type"] for item in received[-1]["response"]["output"]] == ["message"]


def test_an_empty_answer_still_has_its_message(serving: Serving) -> None:
    with serving(scripted_pair(actor=lambda m, s: "")) as url, httpx.Client(base_url=url) as client:
        received = events(ask(client, stream=True))
    assert received[-1]["response"]["output"][0]["content"][0]["text"] == ""
    assert "response.content_part.added" in [event["type"] for event in received]


def test_a_stream_that_cannot_begin_is_a_status_and_one_that_breaks_ends_as_failed(serving: Serving) -> None:
    with (
        serving(scripted_pair(actor=lambda m, s: BackendOverloaded("busy", retry_after=7))) as url,
        httpx.Client(base_url=url) as client,
    ):
        assert ask(client, stream=True).status_code == 503
    pair = scripted_pair(actor=lambda m, s: BackendUnavailable("down"), latency_s=STATUS_WITHIN_S + 0.2)
    with serving(pair) as url, httpx.Client(base_url=url) as client:
        last = events(ask(client, stream=True, refine_budget=2))[-1]
    assert (last["type"], last["response"]["status"]) == ("response.failed", "failed")
    assert "down" in last["response"]["error"]["message"]


def test_the_official_client_creates_a_response(sdk: openai.OpenAI) -> None:
    response = sdk.responses.create(model="pair", input="Hi there", extra_body={"refine_budget": 2})
    assert response.output_text == "better answer"
    assert response.status == "completed"
    assert response.usage is not None
    assert response.usage.model_extra is not None
    assert response.usage.model_extra["refinement"]["improved"] is True


@pytest.mark.parametrize("budget", [0, 2])
def test_the_official_client_streams_a_response(sdk: openai.OpenAI, budget: int) -> None:
    wanted = "better answer" if budget else "a plain draft"
    stream = sdk.responses.create(model="pair", input="Hi there", stream=True, extra_body={"refine_budget": budget})
    assert "".join(event.delta for event in stream if event.type == "response.output_text.delta") == wanted
    with sdk.responses.stream(model="pair", input="Hi there", extra_body={"refine_budget": budget}) as helped:
        snapshots = [event.snapshot for event in helped if event.type == "response.output_text.delta"]
        final = helped.get_final_response()
    assert snapshots[-1] == final.output_text == wanted
    assert any(item.type == "reasoning" for item in final.output) == bool(budget)


def test_the_official_client_sends_a_conversation_back(sdk: openai.OpenAI) -> None:
    items: Any = [{"role": "user", "content": "Hi there"}]
    with sdk.responses.stream(model="pair", input=items, extra_body={"refine_budget": 2}) as stream:
        items += [item.model_dump(exclude_none=True) for item in stream.get_final_response().output]
    again = sdk.responses.create(model="pair", input=[*items, {"role": "user", "content": "More"}])
    assert again.output_text == "a plain draft"


class City(BaseModel):
    name: str


def test_the_official_client_parses_a_format(serving: Serving) -> None:
    pair = scripted_pair(actor=lambda m, s: '{"name": "Bern"}')
    with serving(pair) as url, openai.OpenAI(base_url=f"{url}/v1", api_key="none") as sdk:
        parsed = sdk.responses.parse(model="pair", input="A city", text_format=City)
        with pytest.raises(openai.BadRequestError) as refused:
            sdk.responses.create(model="pair", input="x", previous_response_id="resp_1")
    assert parsed.output_parsed == City(name="Bern")
    assert refused.value.param == "previous_response_id"
    assert isinstance(pair.actor, ScriptedBackend)
    assert pair.actor.calls[0][1].extra["response_format"]["json_schema"]["name"] == "City"
