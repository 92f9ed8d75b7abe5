"""`refine.judge: checklist` over HTTP: what decided each item, in answers, events, trees and judgements."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

import httpx
import pytest

from spar_core.backends.scripted import ScriptedBackend, always
from spar_core.checklist import ModelExtractor
from spar_core.types import Message, Sampling
from spar_server.models.pair import ServedPair
from spar_server.schemas import ChatRequest
from spar_server.serving.plan import Plan, build_plan
from spar_server.settings import RefineDefaults
from tests.support.item_votes import item_voter
from tests.support.pairs import scripted_pair

Serving = Callable[..., AbstractContextManager[str]]
MILL = [{"role": "user", "content": "Write about a mill in at least 3 sentences. Do not use commas."}]
GOOD = "A mill turns. It is kind. It stands."
VOTES = item_voter(lambda item, response: item in response or item != "kind")


def refiner(messages: Sequence[Message], sampling: Sampling) -> Any:
    if messages[-1].text == "Refine the response.":
        return f"[[start]]\n{GOOD}\n[[end]]"
    return VOTES.script(messages, sampling)


@pytest.fixture(scope="module")
def pair() -> ServedPair:
    return scripted_pair(always("A mill, old."), refiner)


@pytest.fixture(scope="module")
def client(serving: Serving, pair: ServedPair) -> Iterator[httpx.Client]:
    with serving(pair) as url, httpx.Client(base_url=url) as client:
        yield client


def chat(client: httpx.Client, **refine: Any) -> httpx.Response:
    body = {"model": "pair", "messages": MILL, "refine_budget": 4, "refine": {"judge": "checklist", **refine}}
    return client.post("/v1/chat/completions", json=body | {"stream": refine.get("events", False)})


def test_an_answer_is_refined_until_every_item_passes_without_a_call_of_the_judge(client: httpx.Client) -> None:
    body = chat(client).json()
    assert body["choices"][0]["message"]["content"] == GOOD
    spent = body["usage"]["refinement"]
    assert (spent["judge"], spent["accepted"], spent["value"], spent["draft_value"]) == ("checklist", True, 1.0, 0.0)
    assert spent["calls"]["judge"] == 0
    assert spent["checklist"] == {"by_code": 2, "by_votes": 0, "dropped": 0}
    assert body["spar"]["checklist"]["items"] == [
        {
            "requirement": "at least 3 sentences",
            "source": "rules",
            "passed": True,
            "evidence": "3 sentences",
            "id": "length_constraints:number_sentences",
            "kwargs": {"num_sentences": 3, "relation": "at least"},
            "decided_by": "code",
        },
        {
            "requirement": "no commas",
            "source": "rules",
            "passed": True,
            "evidence": "no comma",
            "id": "punctuation:no_comma",
            "kwargs": {},
            "decided_by": "code",
        },
    ]


def test_the_requests_own_items_come_first_and_words_are_voted_on(client: httpx.Client) -> None:
    checks = [{"id": "length_constraints:number_sentences", "kwargs": {"num_sentences": 4, "relation": "less than"}}]
    body = chat(client, requirements=["kind"], checks=checks, trace="full").json()
    items = body["spar"]["checklist"]["items"]
    assert [(item["requirement"], item["source"], item["decided_by"]) for item in items] == [
        ("fewer than 4 sentences", "request", "code"),
        ("kind", "request", "votes"),
        ("at least 3 sentences", "rules", "code"),
        ("no commas", "rules", "code"),
    ]
    assert (items[1]["yes"], items[1]["no"], items[1]["evidence"]) == (3, 0, "seen")
    draft = body["spar"]["tree"]["nodes"][0]["judgement"]
    assert [item["passed"] for item in draft["checklist"]["items"]] == [True, False, False, False]
    assert draft["report"] == (
        '2. kind: missing -> no\n3. at least 3 sentences: 1 sentence -> no\n4. no commas: comma after "mill" -> no\n'
        "Final Judgement: No"
    )
    assert body["usage"]["refinement"]["calls"]["judge"] > 0
    assert body["usage"]["refinement"]["checklist"] == {"by_code": 3, "by_votes": 1, "dropped": 0}


def test_a_contradicted_extraction_is_reported(client: httpx.Client) -> None:
    checks = [{"id": "keywords:existence", "kwargs": {"keywords": ["old, grey"]}}]
    body = chat(client, checks=checks).json()
    (dropped,) = body["spar"]["checklist"]["dropped"]
    assert body["usage"]["refinement"]["checklist"] == {"by_code": 2, "by_votes": 0, "dropped": 1}
    assert dropped["id"] == "punctuation:no_comma"
    assert '"old, grey" has a comma' in dropped["reason"]


def test_events_and_progress_say_what_decided(client: httpx.Client) -> None:
    frames = chat(client, events=True).text.split("\n\n")
    data = [json.loads(frame.removeprefix("data: ")) for frame in frames if frame.startswith("data: {")]
    steps = [chunk["spar"]["event"] for chunk in data if "event" in chunk.get("spar", {})]
    judged = next(step for step in steps if step["type"] == "judgement")
    assert [item["passed"] for item in judged["checklist"]["items"]] == [False, False]
    shown = "".join(c["delta"].get("reasoning_content", "") for chunk in data for c in chunk["choices"])
    assert "Judged draft: rejected (0 of 2 items met)" in shown


def test_the_judge_endpoint_takes_both_fields(client: httpx.Client) -> None:
    body = {"messages": MILL, "response": "A mill, old.", "judge": "checklist", "requirements": ["kind"]}
    judged = client.post("/v1/judge", json=body).json()
    assert (judged["value"], judged["accepted"], len(judged["votes"])) == (0.0, False, 3)
    assert [item["passed"] for item in judged["checklist"]["items"]] == [False, False, False]
    assert judged["usage"]["completion_tokens"] > 0


def test_requirements_without_the_checklist_judge_are_an_error_that_names_the_fix(client: httpx.Client) -> None:
    response = chat(client, judge="holistic", requirements=["kind"])
    assert response.status_code == 400
    error = response.json()["error"]
    assert error["param"] == "refine.requirements"
    assert 'set refine.judge to "checklist"' in error["message"]


@pytest.mark.parametrize(
    ("field", "value"),
    [("judge", "strict"), ("requirements", [""]), ("requirements", ["x" * 501]), ("requirements", ["kind"] * 33)],
)
def test_malformed_fields_are_named(client: httpx.Client, field: str, value: Any) -> None:
    response = chat(client, **{field: value})
    assert response.status_code == 400
    assert response.json()["error"]["param"].startswith(f"refine.{field}")


def plan(pair: ServedPair, **refine: Any) -> Plan:
    body = {"model": "pair", "messages": MILL, "refine_budget": 2, "refine": refine}
    return build_plan(ChatRequest.model_validate(body), None, pair=pair, defaults=RefineDefaults(votes=5))


def test_the_pairs_judge_is_the_default() -> None:
    assert plan(scripted_pair()).judge_name == "holistic"
    own = replace(scripted_pair(), judge="checklist")
    assert plan(own).judge_name == "checklist"
    assert plan(own, judge="holistic").judge_name == "holistic"


def test_a_checklist_from_a_model_costs_its_calls() -> None:
    holistic = plan(scripted_pair())
    extractors = [ModelExtractor(backend=ScriptedBackend(always("")))]
    assert plan(scripted_pair(), judge="checklist").cost == holistic.cost
    assert plan(replace(scripted_pair(), extractors=extractors), judge="checklist").cost == holistic.cost + 2 + 5
