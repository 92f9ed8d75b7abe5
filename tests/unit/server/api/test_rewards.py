"""The judge as a reward model, called as OpenRLHF and slime call it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import httpx
import pytest

from spar_core.errors import BackendUnavailable
from spar_server.settings import Settings
from tests.support.pairs import scripted_pair

Serving = Callable[..., AbstractContextManager[str]]
NO_COMMA = {"checks": [{"id": "punctuation:no_comma"}]}


@pytest.fixture(scope="module")
def client(serving: Serving) -> Iterator[httpx.Client]:
    with serving(scripted_pair()) as url, httpx.Client(base_url=url) as client:
        yield client


def openrlhf(client: httpx.Client, answers: list[str], labels: Any = None, params: Any = None) -> httpx.Response:
    """A batch as `remote_rm_url` sends it: each query is the prompt with its answer."""
    body = {"query": [f"Hi there{answer}" for answer in answers], "prompts": ["Hi there"] * len(answers)}
    return client.post("/get_reward", json=body | ({} if labels is None else {"labels": labels}), params=params)


def slime(client: httpx.Client, label: Any = None, params: Any = None, **body: Any) -> httpx.Response:
    sample = {"prompt": "Hi there", "response": "better answer", "label": label}
    return client.post("/v1/reward", json=sample | body, params=params)


def test_a_batch_is_rewarded_in_order(client: httpx.Client) -> None:
    body = openrlhf(client, ["bad", "better answer", "worse"]).json()
    assert body["rewards"] == body["scores"] == [0.0, 1.0, 0.0]
    assert body["extra_logs"] == {"accepted": [0.0, 1.0, 0.0], "abstained": [0.0, 0.0, 0.0]}


@pytest.mark.parametrize("end", ["<|im_end|>", "<|im_end|>\n", "</s>", "<|eot_id|>"])
def test_the_token_that_ends_an_answer_is_not_part_of_it(client: httpx.Client, end: str) -> None:
    assert openrlhf(client, [f"better answer{end}"]).json()["rewards"] == [1.0]
    assert slime(client, response=f"better answer{end}").json() == 1.0


def test_one_answer_is_rewarded_with_a_number(client: httpx.Client) -> None:
    assert slime(client).json() == 1.0
    assert slime(client, response="bad").json() == 0.0
    assert slime(client, prompt=[{"role": "user", "content": "Hi there"}]).json() == 1.0


@pytest.mark.parametrize("as_text", [False, True])
def test_a_label_can_be_a_rubric(client: httpx.Client, as_text: bool) -> None:
    label: Any = json.dumps(NO_COMMA) if as_text else NO_COMMA
    broken = {"checks": [{"id": "keywords:existence", "kwargs": {"keywords": ["lamp"]}}]}
    assert openrlhf(client, ["better answer"] * 2, [label, broken]).json()["rewards"] == [1.0, 0.0]
    assert slime(client, label).json() == 1.0


@pytest.mark.parametrize("label", ["42", "a reference answer", 42, None, ["x"], "{not json", {"answer": 42}])
def test_any_other_label_is_no_rubric(client: httpx.Client, label: Any) -> None:
    assert slime(client, label).json() == 1.0


def test_items_in_words_are_decided_one_by_one(serving: Serving) -> None:
    def decide(messages: Any, sampling: Any) -> str:
        return "Yes" if "river" in messages[-1].text else "No"

    with serving(scripted_pair(refiner=decide)) as url, httpx.Client(base_url=url) as client:
        response = slime(client, {"requirements": ["It names a river.", "It rhymes."]})
    assert response.status_code == 200, response.text
    assert 0.0 <= response.json() <= 1.0


def test_all_votes_are_counted(serving: Serving) -> None:
    pair = scripted_pair(refiner=lambda m, s: f"Final Judgement: {'Yes' if (s.seed or 0) % 2 else 'No'}")
    with serving(pair) as url, httpx.Client(base_url=url) as client:
        values = {slime(client, params={"votes": 3}, response=str(number)).json() for number in range(12)}
    assert values <= {0.0, 1 / 3, 2 / 3, 1.0}
    assert values & {1 / 3, 2 / 3}


def test_an_abstention_is_evidence_of_nothing(serving: Serving) -> None:
    with serving(scripted_pair(refiner=lambda m, s: "Hm.")) as url, httpx.Client(base_url=url) as client:
        assert slime(client).json() == 0.5
        body = openrlhf(client, ["better answer"]).json()
    assert (body["rewards"], body["extra_logs"]["abstained"]) == ([0.5], [1.0])


@pytest.mark.parametrize(
    ("body", "param", "says"),
    [
        ({"query": []}, "query", "at least 1"),
        ({"query": ["Hi x"]}, "prompts", "required"),
        ({"query": ["Hi x"], "prompts": []}, "prompts", "0 entries for 1"),
        ({"query": ["Hi x"], "prompts": ["Hi"], "labels": []}, "labels", "0 entries for 1"),
        ({"query": ["Hi x"], "prompts": ["Ho"]}, "query.0", "begin with prompts.0"),
        ({"query": ["Hi x"], "prompts": ["Hi"], "labels": [{"checks": [{"id": "x"}]}]}, "labels.0", "no check 'x'"),
        ({"query": ["Hi x"] * 500, "prompts": ["Hi"] * 500}, "query", "2500 model calls"),
    ],
)
def test_a_bad_batch_names_the_field(client: httpx.Client, body: dict[str, Any], param: str, says: str) -> None:
    response = client.post("/get_reward", json=body)
    assert (response.status_code, response.json()["error"]["param"]) == (400, param)
    assert says in response.json()["error"]["message"].replace("Field required", "required")


@pytest.mark.parametrize(
    ("params", "status"), [({"judge": "checklist"}, 200), ({"votes": "many"}, 400), ({"vote": "3"}, 400)]
)
def test_the_query_string_sets_the_judges_options(client: httpx.Client, params: dict[str, str], status: int) -> None:
    assert slime(client, params=params).status_code == status


def test_a_judge_that_fails_is_an_error_never_a_reward(serving: Serving) -> None:
    pair = scripted_pair(refiner=lambda m, s: BackendUnavailable("down"))
    with serving(pair) as url, httpx.Client(base_url=url) as client:
        assert openrlhf(client, ["a", "b"]).status_code == 502
        assert slime(client).status_code == 502


def test_a_batch_larger_than_the_lane_waits_for_its_turn(serving: Serving) -> None:
    settings = Settings(admission={"search_capacity": 10, "max_queue": 16})  # type: ignore[arg-type]
    with serving(scripted_pair(latency_s=0.001), settings) as url, httpx.Client(base_url=url) as client:
        assert openrlhf(client, ["better answer"] * 60).json()["rewards"] == [1.0] * 60
