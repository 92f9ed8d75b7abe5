"""The gateway in front of vLLM's own servers."""

from __future__ import annotations

import json
import time
from pathlib import Path

import httpx
import pytest

from tests.vllm.asking import MESSAGES, ask, check_search, chunks, text_of, told
from tests.vllm.conftest import Fleet
from tests.vllm.processes import Server, metric, spar_serve, until

pytestmark = [pytest.mark.vllm, pytest.mark.slow]

# Longer than any answer that the model would end by itself.
LONG = {"model": "pair", "messages": MESSAGES, "max_tokens": 440, "ignore_eos": True}


def running(fleet: Fleet) -> float:
    return metric(fleet.actor.url, "vllm:num_requests_running")


def generated(fleet: Fleet) -> float:
    return metric(fleet.actor.url, "vllm:generation_tokens_total")


def test_a_draft_is_vllms_answer(gateway: Server, fleet: Fleet) -> None:
    fields = {"max_tokens": 60, "seed": 7, "temperature": 0.9, "top_p": 0.9}
    answer = ask(gateway.url, **fields)
    plain = ask(fleet.actor.url, model="actor", **fields)
    assert text_of(answer) == text_of(plain)
    assert answer["choices"][0]["finish_reason"] == plain["choices"][0]["finish_reason"]
    for name in ("prompt_tokens", "completion_tokens", "total_tokens"):
        assert answer["usage"][name] == plain["usage"][name]


def test_a_stream_has_the_same_text_in_pieces(gateway: Server) -> None:
    fields = {"max_tokens": 60, "seed": 7, "temperature": 0.9, "top_p": 0.9}
    pieces = list(chunks(gateway.url, **fields))
    answer = ask(gateway.url, **fields)
    assert told(pieces) == text_of(answer)
    # How many tokens come in one piece is up to how busy the server is.
    assert len([piece for piece in pieces if told([piece])]) > 1
    assert pieces[-1]["usage"]["completion_tokens"] == answer["usage"]["completion_tokens"]


def test_stop_strings_and_vllms_own_fields_reach_it(gateway: Server) -> None:
    answer = ask(gateway.url, max_tokens=100, temperature=0, stop=["river"])
    assert "river" not in text_of(answer)
    assert answer["choices"][0]["finish_reason"] == "stop"
    chosen = ask(gateway.url, structured_outputs={"choice": ["lamp", "bell"]})
    assert text_of(chosen) in ("lamp", "bell")


def test_a_search_spends_its_budget_and_reports_it(gateway: Server) -> None:
    for seed in range(3):
        check_search(ask(gateway.url, refine_budget=4, seed=seed, max_tokens=120, temperature=0.9), budget=4)


def test_a_streamed_search_reports_its_progress_and_the_same_answer(gateway: Server) -> None:
    fields = {"refine_budget": 3, "seed": 11, "max_tokens": 100, "temperature": 0.9}
    pieces = list(chunks(gateway.url, **fields))
    assert told(pieces, "reasoning_content")
    assert told(pieces)
    assert pieces[-1]["usage"]["refinement"]["budget"] == 3


@pytest.mark.parametrize("budget", [0, 4])
def test_n_answers_come_with_one_account(gateway: Server, budget: int) -> None:
    answer = ask(gateway.url, n=3, refine_budget=budget, seed=5, max_tokens=60, temperature=1.0)
    assert [choice["index"] for choice in answer["choices"]] == [0, 1, 2]
    assert len({choice["message"]["content"] for choice in answer["choices"]}) > 1
    assert answer["usage"]["refinement"]["calls"]["actor"] == 3


def test_a_format_binds_every_candidate(gateway: Server) -> None:
    schema = {"type": "object", "properties": {"lamp": {"enum": [1, 2]}}, "required": ["lamp"]}
    form = {"type": "json_schema", "json_schema": {"name": "lamp", "schema": schema}}
    for budget in (0, 2):
        answer = ask(gateway.url, response_format=form, refine_budget=budget, max_tokens=80, temperature=0.7)
        assert json.loads(text_of(answer))["lamp"] in (1, 2)


def test_a_prompt_that_does_not_fit_is_the_clients_mistake(gateway: Server) -> None:
    body = {"model": "pair", "messages": [{"role": "user", "content": "river " * 2000}]}
    response = httpx.post(f"{gateway.url}/v1/chat/completions", json=body, timeout=60)
    assert response.status_code == 400
    assert response.json()["error"]["code"] == "context_length_exceeded"


def test_a_stream_that_is_left_is_aborted_in_vllm(gateway: Server, fleet: Fleet) -> None:
    before = generated(fleet)
    url = f"{gateway.url}/v1/chat/completions"
    with httpx.stream("POST", url, json={**LONG, "stream": True}, timeout=60) as response:
        until(lambda: running(fleet) == 1, 60)
        next(response.iter_lines())
    until(lambda: running(fleet) == 0, 30)
    assert generated(fleet) - before < LONG["max_tokens"]


def test_a_request_that_is_left_is_aborted_in_vllm(gateway: Server, fleet: Fleet) -> None:
    before = generated(fleet)
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{gateway.url}/v1/chat/completions", json=LONG, timeout=0.5)
    until(lambda: running(fleet) == 0, 30)
    assert generated(fleet) - before < LONG["max_tokens"]


def test_a_search_that_is_left_is_aborted_in_both(gateway: Server, fleet: Fleet) -> None:
    def at_work(server: Server) -> float:
        return metric(server.url, "vllm:num_requests_running")

    body = {**LONG, "n": 4, "refine_budget": 16, "stream": True}
    with httpx.stream("POST", f"{gateway.url}/v1/chat/completions", json=body, timeout=60):
        until(lambda: at_work(fleet.refiner) > 0, 60)
    until(lambda: at_work(fleet.actor) + at_work(fleet.refiner) == 0, 30)
    said = [metric(server.url, "vllm:generation_tokens_total") for server in (fleet.actor, fleet.refiner)]
    # Nothing of it comes later either.
    time.sleep(1)
    assert said == [metric(server.url, "vllm:generation_tokens_total") for server in (fleet.actor, fleet.refiner)]


def test_the_votes_of_a_round_are_one_request(gateway: Server, fleet: Fleet) -> None:
    def asked() -> float:
        return metric(gateway.url, 'spar_upstream_calls_total{endpoint="0",outcome="ok",role="refiner"}')

    before, said = asked(), metric(fleet.refiner.url, "vllm:generation_tokens_total")
    body = {"messages": MESSAGES, "response": "The lamp.", "votes": 7, "early_vote_stop": False, "seed": 3}
    judgement = httpx.post(f"{gateway.url}/v1/judge", json=body, timeout=60).json()
    assert asked() - before == 1
    assert all(vote["error"] is None for vote in judgement["votes"])
    assert len(judgement["votes"]) == 7
    assert judgement["usage"]["completion_tokens"] == metric(fleet.refiner.url, "vllm:generation_tokens_total") - said


def test_the_choices_of_one_request_are_independent_under_a_seed(fleet: Fleet) -> None:
    """What votes in one request rest on."""
    answer = ask(fleet.actor.url, model="actor", n=4, seed=3, temperature=1.5, max_tokens=40)
    assert len({choice["message"]["content"] for choice in answer["choices"]}) == 4


def test_actor_and_refiner_as_two_adapters_on_one_base(folder: Path, fleet: Fleet) -> None:
    flags = (
        "--actor-url", f"{fleet.actor.url}/v1", "--actor-model", "actor-lora",
        "--refiner-url", f"{fleet.actor.url}/v1", "--refiner-model", "refiner-lora",
        "--templates", "compact", "--model", "pair", "--config", str(folder / "small.toml"),
    )  # fmt: skip
    fields = {"max_tokens": 40, "temperature": 0}
    with spar_serve(folder, *flags) as server:
        answer = text_of(ask(server.url, **fields))
        assert answer == text_of(ask(fleet.actor.url, model="actor-lora", **fields))
        assert answer != text_of(ask(fleet.actor.url, model="actor", **fields))
        searched = ask(server.url, refine_budget=2, **fields)
        assert searched["usage"]["refinement"]["calls"]["judge"] >= 1
        assert searched["usage"]["refinement"]["degraded"] is False
    assert "refiner-lora" in httpx.get(f"{fleet.actor.url}/metrics").text
