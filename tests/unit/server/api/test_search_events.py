"""`refine.events`: the steps of a streamed search as data."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import httpx
import pytest

from tests.support.pairs import scripted_pair

Serving = Callable[..., AbstractContextManager[str]]
HELLO = [{"role": "user", "content": "Hi there"}]


@pytest.fixture(scope="module")
def client(serving: Serving) -> Iterator[httpx.Client]:
    with serving(scripted_pair()) as url, httpx.Client(base_url=url) as client:
        yield client


def chunks(client: httpx.Client, path: str = "/v1/chat/completions", **body: Any) -> list[dict[str, Any]]:
    refine = {"events": True, "progress": False, "algorithm": "iterative", **body.pop("refine", {})}
    request = {"model": "pair", "messages": HELLO, "stream": True, "refine_budget": 2, "refine": refine, **body}
    response = client.post(path, json=request)
    assert response.status_code == 200, response.text
    *data, done = [line.removeprefix("data: ") for line in response.text.split("\n") if line.startswith("data: ")]
    assert done == "[DONE]"
    return [json.loads(text) for text in data]


def steps(received: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [chunk["spar"]["event"] for chunk in received if "event" in chunk.get("spar", {})]


def test_each_step_of_the_search_is_an_event_in_order(client: httpx.Client) -> None:
    received = steps(chunks(client))
    found = [step for step in received if step["type"] != "call"]
    kinds = ["draft", *["vote"] * 3, "judgement", "node", "refinement", *["vote"] * 3, "judgement", "finish"]
    assert [step["type"] for step in found] == kinds
    draft, vote, judgement, node, refinement, finish = (found[at] for at in (0, 1, 4, 5, 6, -1))
    assert (draft["text"], draft["usage"]["completion"]) == ("a plain draft", 3)
    assert (vote["path"], vote["verdict"], vote["error"]) == ([], "no", None)
    assert judgement["critique"] == node["critique"] == vote["critique"]
    assert (judgement["accepted"], judgement["value"], judgement["yes"], judgement["no"]) == (False, 0.0, 0, 3)
    assert (refinement["path"], refinement["text"], refinement["failure"]) == ([0], "better answer", None)
    assert found[-2]["accepted"] is True
    assert finish == {
        "type": "finish",
        "stop_reason": "refined_accepted",
        "answer": [0],
        "accepted": True,
        "improved": True,
        "nodes": 1,
    }


def test_each_model_call_is_an_event_with_its_times_when_it_is_over(client: httpx.Client) -> None:
    calls = [step for step in steps(chunks(client)) if step["type"] == "call"]
    assert [(call["role"], call["path"]) for call in calls] == [
        ("actor", []), ("judge", []), ("refiner", [0]), ("judge", [0]),
    ]  # fmt: skip
    assert [call["count"] for call in calls] == [1, 3, 1, 3]
    assert all(call["outcome"] == "finished" and "messages" not in call for call in calls)
    times = [time for call in calls for time in (call["started_ms"], call["ended_ms"])]
    assert times == sorted(times)
    assert calls[0]["usage"]["completion"] == 3


def test_calls_have_their_prompts_on_request(client: httpx.Client) -> None:
    calls = [step for step in steps(chunks(client, refine={"prompts": True})) if step["type"] == "call"]
    actor, judge, refiner, _ = (call["messages"] for call in calls)
    assert actor == HELLO
    assert "a plain draft" in judge[0]["content"]
    # A refiner continues the judge's conversation by the critique and the request.
    assert refiner[0] == judge[0]
    assert [message["role"] for message in refiner] == ["user", "assistant", "user"]


def test_events_come_before_the_answer_in_chunks_without_choices(client: httpx.Client) -> None:
    received = chunks(client)
    with_events = [number for number, chunk in enumerate(received) if "event" in chunk.get("spar", {})]
    assert all(received[number]["choices"] == [] for number in with_events)
    answer = next(n for n, chunk in enumerate(received) if any(c["delta"].get("content") for c in chunk["choices"]))
    assert max(with_events) < answer


def test_events_of_several_answers_name_their_search(client: httpx.Client) -> None:
    found = steps(chunks(client, n=2))
    assert {step["choice"] for step in found} == {0, 1}


def test_a_stream_has_no_events_unless_they_are_requested(client: httpx.Client) -> None:
    assert not steps(chunks(client, refine={"events": False}))
    assert not steps(chunks(client, refine={"events": None}))


def test_an_answer_that_is_refined_streams_its_events_too(client: httpx.Client) -> None:
    found = steps(chunks(client, "/v1/refine", response="my answer"))
    assert (found[0]["type"], found[0]["text"]) == ("draft", "my answer")
    assert found[-1]["stop_reason"] == "refined_accepted"


def test_the_responses_api_refuses_them_by_name(client: httpx.Client) -> None:
    body = {"model": "pair", "input": "Hi", "refine_budget": 1, "refine": {"events": True}}
    refused = client.post("/v1/responses", json=body)
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "refine.events")
