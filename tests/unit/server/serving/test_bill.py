"""The headers that say what an answer took."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

import httpx
import pytest

from spar_core.backends.scripted import ScriptedBackend, always
from spar_core.errors import BackendTimeout, BackendUnavailable
from spar_core.types import UNCOUNTED, Completion, Message, Sampling
from spar_server.settings import Settings
from tests.support.pairs import scripted_pair

Serving = Callable[..., AbstractContextManager[str]]
HELLO = [{"role": "user", "content": "Hi there"}]
BILL = {
    *("x-spar-algorithm", "x-spar-nodes", "x-spar-depth", "x-spar-stop-reason", "x-spar-latency-ms"),
    *("x-spar-prompt-tokens", "x-spar-completion-tokens", "x-spar-trace-id"),
}


@pytest.fixture(scope="module")
def client(serving: Serving) -> Iterator[httpx.Client]:
    settings = Settings(cors_origins="https://chat.example")  # type: ignore[arg-type]
    with serving(scripted_pair(), settings) as url, httpx.Client(base_url=url) as client:
        yield client


def ask(client: httpx.Client, path: str = "/v1/chat/completions", **body: Any) -> httpx.Response:
    chat = {"model": "pair", "messages": HELLO}
    return client.post(path, json=chat | body, headers={"Origin": "https://chat.example"})


def bill(response: httpx.Response) -> dict[str, str]:
    return {name: value for name, value in response.headers.items() if name.startswith("x-spar-")}


def test_a_refined_answer_repeats_its_usage_in_headers(client: httpx.Client) -> None:
    response = ask(client, refine_budget=4)
    usage, headers = response.json()["usage"], bill(response)
    refinement = usage["refinement"]
    assert int(headers.pop("x-spar-latency-ms")) >= 0
    assert headers == {
        "x-spar-algorithm": refinement["algorithm"],
        "x-spar-nodes": str(refinement["nodes"]),
        "x-spar-depth": str(refinement["depth"]),
        "x-spar-stop-reason": "refined_accepted",
        "x-spar-prompt-tokens": str(usage["prompt_tokens"]),
        "x-spar-completion-tokens": str(usage["completion_tokens"]),
        "x-spar-trace-id": response.json()["spar"]["trace_id"],
    }


def test_all_endpoints_that_refine_have_them(client: httpx.Client) -> None:
    assert set(bill(ask(client, "/v1/refine", response="my answer"))) == BILL
    responses = client.post("/v1/responses", json={"model": "pair", "input": "Hi", "refine_budget": 2})
    assert set(bill(responses)) == BILL


def test_an_answer_that_is_passed_through_has_only_its_trace_id(client: httpx.Client) -> None:
    assert set(bill(ask(client))) == {"x-spar-trace-id"}


def test_the_head_of_a_stream_has_what_is_known_before_the_search(client: httpx.Client) -> None:
    assert set(bill(ask(client, stream=True, refine_budget=2))) == {"x-spar-trace-id", "x-spar-algorithm"}
    assert set(bill(ask(client, stream=True))) == {"x-spar-trace-id"}


def test_a_web_page_can_read_them(client: httpx.Client) -> None:
    exposed = ask(client, refine_budget=2).headers["access-control-expose-headers"].split(", ")
    assert set(exposed) >= BILL


class Uncounted(ScriptedBackend):
    """An upstream that sends no usage."""

    async def complete(self, messages: Sequence[Message], sampling: Sampling) -> Completion:
        return replace(await super().complete(messages, sampling), usage=UNCOUNTED)


def test_tokens_that_no_upstream_counted_are_left_out(serving: Serving) -> None:
    pair = replace(scripted_pair(), actor=Uncounted(always("a plain draft")))
    with serving(pair) as url, httpx.Client(base_url=url) as client:
        assert set(bill(ask(client, refine_budget=2))) == BILL - {"x-spar-prompt-tokens", "x-spar-completion-tokens"}


@pytest.mark.parametrize(
    ("error", "status", "reason"),
    [(BackendUnavailable("down"), 502, "upstream"), (BackendTimeout("late"), 504, "deadline")],
)
@pytest.mark.parametrize("stream", [False, True])
def test_a_search_that_fails_says_what_it_took(
    serving: Serving, error: Exception, status: int, reason: str, stream: bool
) -> None:
    with serving(scripted_pair(actor=lambda m, s: error)) as url, httpx.Client(base_url=url) as client:
        response = ask(client, refine_budget=2, stream=stream)
        assert response.status_code == status
        headers = bill(response)
        assert set(headers) == BILL - {"x-spar-prompt-tokens", "x-spar-completion-tokens"}
        assert (headers["x-spar-nodes"], headers["x-spar-stop-reason"]) == ("0", reason)
        assert not bill(ask(client))


def test_an_error_before_anything_is_spent_has_none(client: httpx.Client) -> None:
    assert not bill(ask(client, refine_budget=2, temperature=9))


def test_a_judgement_has_its_time_and_tokens_and_so_has_one_that_fails(client: httpx.Client, serving: Serving) -> None:
    judged = ask(client, "/v1/judge", response="my answer")
    usage, headers = judged.json()["usage"], bill(judged)
    assert set(headers) == {"x-spar-latency-ms", "x-spar-prompt-tokens", "x-spar-completion-tokens"}
    assert headers["x-spar-completion-tokens"] == str(usage["completion_tokens"])
    pair = scripted_pair(refiner=lambda m, s: BackendUnavailable("down"))
    with serving(pair) as url, httpx.Client(base_url=url) as failing:
        response = ask(failing, "/v1/judge", response="my answer")
    assert response.status_code == 502
    assert bill(response)["x-spar-completion-tokens"] == "0"
