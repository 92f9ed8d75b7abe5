"""POST /v1/judge over HTTP: the judge as a service."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import httpx
import pytest

from spar_core.backends.scripted import ScriptedBackend
from spar_core.errors import BackendOverloaded, BackendRejected, BackendTimeout, BackendUnavailable
from spar_server.models.pair import ServedPair
from tests.support.pairs import scripted_pair

Serving = Callable[..., AbstractContextManager[str]]
HELLO = [{"role": "user", "content": "Hi there"}]
ANSWERED = [*HELLO, {"role": "assistant", "content": "my answer"}]
NO_COMMA = {"id": "punctuation:no_comma"}


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


def judge(client: httpx.Client, **body: Any) -> httpx.Response:
    return client.post("/v1/judge", json={"messages": HELLO} | body)


def test_a_bad_answer_is_judged_with_votes_and_a_critique(client: httpx.Client) -> None:
    body = judge(client, response="my answer", votes=3, early_vote_stop=False, seed=1).json()
    assert (body["object"], body["model"]) == ("judgement", "pair")
    assert (body["value"], body["accepted"], body["abstained"], body["yes"], body["no"]) == (0.0, False, False, 0, 3)
    assert body["critique"] == "1. be better -> no\nFinal Judgement: No"
    assert body["votes"] == [{"verdict": "no", "critique": body["critique"], "error": None}] * 3
    assert body["usage"]["completion_tokens"] == 3 * len(body["critique"].split())


def test_a_good_answer_is_accepted_by_the_fewest_votes_that_decide(client: httpx.Client) -> None:
    body = judge(client, model="pair", response="better answer").json()
    assert (body["value"], body["accepted"], body["yes"], len(body["votes"])) == (1.0, True, 3, 3)


def test_without_a_response_the_last_message_is_judged(client: httpx.Client, pair: ServedPair) -> None:
    judge(client, messages=ANSWERED, votes=1)
    assert isinstance(pair.refiner, ScriptedBackend)
    asked = pair.refiner.calls[-1][0][0].text
    assert "Hi there" in asked
    assert asked.endswith("Response: my answer")


def test_a_failed_check_needs_no_vote(client: httpx.Client) -> None:
    body = judge(client, response="one, two", checks=[NO_COMMA]).json()
    assert (body["value"], body["accepted"], body["votes"]) == (0.0, False, [])
    assert body["checks"] == [
        {"id": "punctuation:no_comma", "kwargs": {}, "passed": False, "evidence": 'comma after "one"'}
    ]
    assert body["critique"]
    assert judge(client, response="better answer", checks=[NO_COMMA]).json()["checks"][0]["passed"] is True


def test_votes_without_a_verdict_abstain(serving: Serving) -> None:
    with serving(scripted_pair(refiner=lambda m, s: "well")) as url, httpx.Client(base_url=url) as client:
        body = judge(client, response="x", votes=2).json()
    assert (body["value"], body["accepted"], body["abstained"], body["critique"]) == (None, False, True, None)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (BackendUnavailable("down"), 502),
        (BackendOverloaded("busy", status=429), 429),
        (BackendRejected("the prompt has 900 tokens; the model's context is 512", status=400), 400),
        (BackendTimeout("late"), 502),
    ],
)
def test_a_judgement_without_any_vote_is_an_error(serving: Serving, error: Exception, status: int) -> None:
    with serving(scripted_pair(refiner=lambda m, s: error)) as url, httpx.Client(base_url=url) as client:
        response = judge(client, response="x")
    assert response.status_code == status
    assert str(error) in response.json()["error"]["message"]


def test_judging_is_measured(serving: Serving) -> None:
    with serving(scripted_pair()) as url, httpx.Client(base_url=url) as client:
        judge(client, response="x", votes=1)
        metrics = client.get("/metrics").text
    for line in ('spar_requests_total{kind="judge",outcome="ok"} 1.0', 'spar_votes_total{verdict="no"} 1.0',
                 'spar_model_calls_total{role="judge"} 1.0'):  # fmt: skip
        assert line in metrics


@pytest.mark.parametrize(
    ("body", "status", "param"),
    [
        ({}, 400, "response"),
        ({"messages": [{"role": "assistant", "content": "x"}]}, 400, "messages"),
        ({"messages": []}, 400, "messages"),
        ({"response": "x", "votes": 26}, 400, "votes"),
        ({"response": "x", "threshold": 1}, 400, "threshold"),
        ({"response": "x", "refine_budget": 1}, 400, "refine_budget"),
        ({"response": "x", "checks": [{"id": "punctuation:no_coma"}]}, 400, "checks.0.id"),
        ({"response": "x", "model": "other"}, 404, "model"),
    ],
)
def test_an_invalid_judge_request_names_the_field(
    client: httpx.Client, body: dict[str, Any], status: int, param: str
) -> None:
    response = judge(client, **body)
    assert (response.status_code, response.json()["error"]["param"]) == (status, param)
