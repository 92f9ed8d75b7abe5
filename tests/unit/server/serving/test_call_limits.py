"""A request costs the model calls that it can make, and how many those may be is limited for each key and server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from spar_core.backends.scripted import ScriptedBackend, always
from spar_core.errors import RequestError
from spar_core.types import Message, Sampling
from spar_server.auth.keyring import sha256_of
from spar_server.models.pair import ServedPair
from spar_server.schemas import ChatRequest
from spar_server.serving.call_limits import CallLimits
from spar_server.serving.plan import Allowance, build_plan
from spar_server.settings import ApiKey, Limits, RefineDefaults, Settings
from tests.support.pairs import RawScripted, refiner_script, scripted_pair

Serving = Callable[..., AbstractContextManager[str]]
HELLO = [{"role": "user", "content": "Hi there"}]
CHAT = {"model": "pair", "messages": HELLO}
JUDGE = {"messages": HELLO, "response": "An answer."}
COMPLETE = {"model": "pair", "prompt": "Once"}


def key(name: str, **bounds: Any) -> ApiKey:
    """A key whose secret is its name."""
    return ApiKey(name=name, sha256=sha256_of(name), **bounds)


def pair(latency_s: float = 0.0) -> ServedPair:
    actor = RawScripted(always("a plain draft"), latency_s=latency_s)
    return replace(scripted_pair(), actor=actor, refiner=ScriptedBackend(refiner_script, latency_s=latency_s))


@pytest.fixture(scope="module")
def client(serving: Serving) -> Iterator[httpx.Client]:
    keys = (
        key("plain"),
        key("small", max_n=2, max_votes=3, max_prompts=2, max_calls=8),
        key("single", concurrent_searches=1),
    )
    settings = Settings(keys=keys, limits={"max_n": 10, "max_votes": 7, "max_prompts": 5, "max_calls": 60})  # type: ignore[arg-type]
    with serving(pair(), settings) as url, httpx.Client(base_url=url) as client:
        yield client


def ask(client: httpx.Client, secret: str, path: str, body: dict[str, Any]) -> httpx.Response:
    return client.post(path, json=body, headers={"Authorization": f"Bearer {secret}"})


@pytest.mark.parametrize(
    ("secret", "path", "body", "param", "limit"),
    [
        ("plain", "/v1/chat/completions", CHAT | {"n": 11}, "n", "this server's limit of 10"),
        ("small", "/v1/chat/completions", CHAT | {"n": 3}, "n", "this key's limit of 2"),
        ("plain", "/v1/chat/completions", CHAT | {"refine_budget": 1, "refine": {"votes": 8}}, "refine.votes", "7"),
        ("small", "/v1/chat/completions", CHAT | {"refine_budget": 1, "refine": {"votes": 4}}, "refine.votes", "3"),
        ("plain", "/v1/judge", JUDGE | {"votes": 8}, "votes", "this server's limit of 7"),
        ("small", "/v1/judge", JUDGE | {"votes": 4}, "votes", "this key's limit of 3"),
        ("plain", "/v1/chat/completions", CHAT | {"n": 10, "refine_budget": 1}, "n", "66 model calls"),
        ("small", "/v1/chat/completions", CHAT | {"refine_budget": 2}, "refine_budget", "12 model calls"),
        ("small", "/v1/refine", CHAT | {"response": "x", "refine_budget": 2}, "refine_budget", "11 model calls"),
        ("plain", "/v1/completions", COMPLETE | {"prompt": ["x"] * 6}, "prompt", "this server's limit of 5"),
        ("small", "/v1/completions", COMPLETE | {"prompt": [[1, 2]] * 3}, "prompt", "this key's limit of 2"),
        ("plain", "/v1/completions", COMPLETE | {"best_of": 11}, "best_of", "10"),
        ("small", "/v1/completions", COMPLETE | {"n": 3}, "n", "this key's limit of 2"),
        ("plain", "/v1/completions", COMPLETE | {"n": "many"}, "n", "whole number"),
        ("plain", "/v1/embeddings", {"model": "pair", "input": ["x"] * 2049}, "input", "2048"),
    ],
)
def test_over_a_limit_is_a_400_that_names_the_field_and_the_limit(
    client: httpx.Client, secret: str, path: str, body: dict[str, Any], param: str, limit: str
) -> None:
    response = ask(client, secret, path, body)
    error = response.json()["error"]
    assert (response.status_code, error["param"]) == (400, param)
    assert limit in error["message"]


def test_up_to_the_limits_requests_are_served(client: httpx.Client) -> None:
    for secret, path, body in (
        ("plain", "/v1/chat/completions", CHAT | {"n": 10}),
        ("plain", "/v1/judge", JUDGE | {"votes": 7}),
        ("small", "/v1/chat/completions", CHAT | {"refine_budget": 1}),
        ("small", "/v1/judge", JUDGE),
        ("plain", "/v1/completions", COMPLETE | {"prompt": ["x"] * 5}),
        # A list of tokens is one prompt.
        ("small", "/v1/completions", COMPLETE | {"prompt": [1] * 500}),
        ("plain", "/v1/embeddings", {"model": "pair", "input": ["x"] * 2048}),
    ):
        assert ask(client, secret, path, body).status_code == 200, (path, body)


@pytest.mark.parametrize("in_process", [False, True])
def test_the_largest_n_and_budget_fit_with_the_usual_votes_on_every_engine(in_process: bool) -> None:
    request = ChatRequest.model_validate(CHAT | {"n": 128, "refine_budget": 64})
    plan = build_plan(request, None, pair=_verdict_pair(constrains=in_process), defaults=RefineDefaults())
    assert plan.calls_per_vote == (2 if in_process else 1)
    CallLimits(Limits(), key("any")).check_plan(plan)


def test_a_refusal_says_that_votes_can_take_two_calls() -> None:
    request = ChatRequest.model_validate(CHAT | {"n": 128, "refine_budget": 64, "refine": {"votes": 6}})
    plan = build_plan(request, None, pair=_verdict_pair(constrains=True), defaults=RefineDefaults())
    message = r"6 votes \(two calls for each .* can take 2496 model calls, over .* of 2304"
    with pytest.raises(RequestError, match=message):
        CallLimits(Limits(), key("any")).check_plan(plan)
    CallLimits(Limits(), key("any")).check_plan(
        build_plan(request, None, pair=_verdict_pair(constrains=False), defaults=RefineDefaults())
    )


def _verdict_pair(*, constrains: bool) -> ServedPair:
    """A pair whose refiner may be constrained to a verdict, as an engine in this process is."""

    class Refiner(ScriptedBackend):
        @property
        def constrains(self) -> bool:
            return constrains

    return replace(scripted_pair(), refiner=Refiner(refiner_script))


# What a request costs


class Counted:
    """A script that counts its calls."""

    def __init__(self, says: Callable[[list[Message], Sampling], str]) -> None:
        self.says = says
        self.calls = 0

    def __call__(self, messages: list[Message], sampling: Sampling) -> str:
        self.calls += 1
        return self.says(messages, sampling)


@hypothesis_settings(deadline=None, max_examples=40)
@given(
    n=st.integers(1, 4),
    budget=st.integers(0, 30),
    votes=st.integers(1, 7),
    algorithm=st.sampled_from(["bfs", "dfs", "best_first", "iterative", "best_of_n"]),
)
async def test_a_search_makes_no_more_calls_than_it_costs(n: int, budget: int, votes: int, algorithm: str) -> None:
    numbers = iter(range(10**6))

    def never_good(messages: list[Message], sampling: Sampling) -> str:
        if messages[-1].text == "Refine the response.":
            return f"[[start]]\nanswer {next(numbers)}\n[[end]]"
        return "Final Judgement: No"

    actor = Counted(lambda messages, sampling: f"draft {next(numbers)}")
    refiner = Counted(never_good)
    options = {"votes": votes, "algorithm": algorithm, "early_vote_stop": False, "stop": "level"}
    request = ChatRequest.model_validate(CHAT | {"n": n, "refine_budget": budget, "refine": options})
    plan = build_plan(request, None, pair=scripted_pair(actor, refiner), defaults=RefineDefaults())  # type: ignore[arg-type]
    await plan.run(Allowance(budget, 60.0))
    assert actor.calls + refiner.calls <= plan.cost
    if algorithm == "best_of_n":
        assert actor.calls + refiner.calls == plan.cost


# Requests of several calls count as searches


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/judge", JUDGE | {"votes": 5}),
        ("/v1/judge", JUDGE | {"votes": 1}),
        ("/v1/chat/completions", CHAT | {"n": 4}),
        ("/v1/refine", CHAT | {"response": "x"}),
        ("/v1/completions", COMPLETE | {"prompt": ["x", "y"]}),
    ],
)
def test_a_key_limited_to_one_search_has_one_request_with_several_calls_at_a_time(
    serving: Serving, path: str, body: dict[str, Any]
) -> None:
    settings = Settings(keys=(key("single", concurrent_searches=1), key("other")))
    with (
        serving(pair(latency_s=1.0), settings) as url,
        httpx.Client(base_url=url, timeout=60) as client,
        ThreadPoolExecutor() as threads,
    ):
        answers = list(threads.map(lambda _: ask(client, "single", path, body), range(4)))
        assert sorted(answer.status_code for answer in answers) == [200, 429, 429, 429]
        assert ask(client, "single", "/v1/chat/completions", CHAT).status_code == 200
        assert ask(client, "other", path, body).status_code == 200
