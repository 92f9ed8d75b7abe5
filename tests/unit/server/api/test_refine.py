"""POST /v1/refine over HTTP: the refiner as a service."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import httpx
import pytest

from spar_core.backends.scripted import ScriptedBackend
from spar_core.types import Message, Sampling
from spar_server.models.pair import ServedPair
from spar_server.settings import Settings
from tests.support.pairs import scripted_pair

Serving = Callable[..., AbstractContextManager[str]]
HELLO = [{"role": "user", "content": "Hi there"}]
ANSWERED = [*HELLO, {"role": "assistant", "content": "my answer"}]


@pytest.fixture(scope="module")
def pair() -> ServedPair:
    return scripted_pair()


@pytest.fixture(scope="module")
def client(serving: Serving, pair: ServedPair) -> Iterator[httpx.Client]:
    with serving(pair) as url, httpx.Client(base_url=url) as client:
        yield client


def calls(backend: object) -> int:
    assert isinstance(backend, ScriptedBackend)
    return len(backend.calls)


def refine(client: httpx.Client, headers: dict[str, str] | None = None, **body: Any) -> httpx.Response:
    asked = {"model": "pair", "messages": HELLO, "response": "my answer"} | body
    return client.post("/v1/refine", json=asked, headers=headers)


def test_a_supplied_answer_is_judged_and_improved_without_the_actor(client: httpx.Client, pair: ServedPair) -> None:
    before = calls(pair.actor)
    body = refine(client, refine_budget=2, refine={"trace": "full"}).json()
    assert body["object"] == "chat.completion"
    assert body["choices"][0]["message"]["content"] == "better answer"
    refinement = body["usage"]["refinement"]
    assert (refinement["stop_reason"], refinement["improved"]) == ("refined_accepted", True)
    assert body["spar"]["tree"]["nodes"][0]["text"] == "my answer"
    assert calls(pair.actor) == before


def test_the_answer_may_be_the_last_message(client: httpx.Client) -> None:
    body = refine(client, messages=ANSWERED, response=None, refine={"trace": "full"}).json()
    assert body["spar"]["tree"]["nodes"][0]["text"] == "my answer"


def test_a_supplied_critique_replaces_the_first_judgement(serving: Serving) -> None:
    critiques: list[str] = []

    def refiner(messages: list[Message], sampling: Sampling) -> str:
        if messages[-1].text != "Refine the response.":
            return "Final Judgement: Yes"
        critiques.append(messages[-2].text)
        return "[[start]]\nshorter\n[[end]]"

    with serving(scripted_pair(refiner=refiner)) as url, httpx.Client(base_url=url) as client:  # type: ignore[arg-type]
        body = refine(client, critique="too long", refine_budget=1).json()
    assert critiques == ["too long"]
    assert body["choices"][0]["message"]["content"] == "shorter"
    # The votes are the refined answer's alone.
    assert body["usage"]["refinement"]["calls"] == {"actor": 0, "refiner": 1, "judge": 3}


def test_a_good_answer_comes_back_as_it_was(client: httpx.Client) -> None:
    body = refine(client, response="better answer").json()
    assert body["choices"][0]["message"]["content"] == "better answer"
    assert body["usage"]["refinement"]["stop_reason"] == "draft_accepted"
    assert refine(client, refine_budget=0).json()["choices"][0]["message"]["content"] == "my answer"


@pytest.mark.parametrize(
    ("headers", "body", "budget"),
    [
        ({}, {}, 1),
        ({}, {"reasoning_effort": "low"}, 2),
        ({"X-Refine-Budget": "3"}, {"model": "pair@4"}, 3),
        ({}, {"model": "pair@4"}, 4),
    ],
)
def test_the_budget_is_at_least_one_unless_it_is_explicit(
    client: httpx.Client, headers: dict[str, str], body: dict[str, Any], budget: int
) -> None:
    assert refine(client, headers, **body).json()["usage"]["refinement"]["budget"] == budget


def test_the_servers_default_holds_for_refining_too(serving: Serving) -> None:
    settings = Settings(refine={"refine_budget": 3})  # type: ignore[arg-type]
    with serving(scripted_pair(), settings) as url, httpx.Client(base_url=url) as client:
        assert refine(client).json()["usage"]["refinement"]["budget"] == 3


def test_refining_streams_as_chat_does(client: httpx.Client) -> None:
    for budget, said in ((2, "better answer"), (0, "my answer")):
        text = refine(client, refine_budget=budget, stream=True).text
        assert text.endswith("data: [DONE]\n\n")
        chunks = [json.loads(line[6:]) for line in text.split("\n") if line.startswith("data: {")]
        deltas = [choice["delta"] for chunk in chunks for choice in chunk["choices"]]
        assert "".join(delta.get("content", "") for delta in deltas) == said


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"response": None}, "response"),
        ({"n": 2}, "n"),
        ({"critique": ""}, "critique"),
        ({"logprobs": True}, "logprobs"),
        ({"refine": {"brunch": 1}}, "refine.brunch"),
    ],
)
def test_an_invalid_refine_request_names_the_field(client: httpx.Client, body: dict[str, Any], param: str) -> None:
    response = refine(client, **body)
    assert (response.status_code, response.json()["error"]["param"]) == (400, param)
